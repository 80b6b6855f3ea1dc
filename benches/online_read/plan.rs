//! From the names of a request to places in rows.

use crate::{
    Result,
    fixture::{Wide, name, order},
};
use criterion::Criterion;
use nowthen::store::PlanCache;
use std::hint::black_box;

/// Question: what does a list of names cost that was asked for before, and what does it save?
/// Guess: 10 ns for each name to hash and compare, against 100 ns to resolve it.
pub(crate) fn plan_again(criterion: &mut Criterion) -> Result<()> {
    for features in [10, 50, 200] {
        let wide = Wide::new(features)?;
        let names: Vec<String> = order(features).map(name).collect();
        let names = || names.iter().map(|name| name.as_bytes());
        let mut cache = PlanCache::default();
        let mut again = || cache.plan(&wide.schema, &wide.entity, names());
        let afresh = || wide.schema.plan(&wide.entity, names());
        if (again().unknown_names, afresh().cells.len()) != (0, features) {
            return Err("a name is unknown".into());
        }
        criterion.bench_function(&format!("plan/again/{features}"), |bench| {
            bench.iter(|| black_box(again()));
        });
        criterion.bench_function(&format!("plan/afresh/{features}"), |bench| {
            bench.iter(|| black_box(afresh()));
        });
    }
    Ok(())
}
