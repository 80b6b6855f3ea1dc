//! Finding the row of a key.

use crate::{
    Result,
    fixture::{Wide, key},
};
use criterion::Criterion;
use nowthen::online::Seen;
use std::hint::black_box;

/// Question: what does it cost to find a row when the table fits the caches, and when it does not?
/// Guess: 60 ns with a thousand rows, and three misses of memory more, 250 ns, with 200,000.
pub(crate) fn look_up(criterion: &mut Criterion) -> Result<()> {
    let wide = Wide::new(10)?;
    for entities in [1_000, 200_000] {
        let table = wide.table(entities);
        let keys: Vec<String> = (0..entities).map(key).collect();
        let find = |key: &str| {
            table.read(key.as_bytes(), Seen::Published, |row| {
                row.map_or(0, nowthen::online::Row::lsn)
            })
        };
        if keys.iter().any(|key| find(key) != 1) || find("user:0") != 0 {
            return Err("a key is missing".into());
        }
        // A step that shares no divisor with either number: each key in turn, none beside the last.
        let mut places = (0..).map(|index: usize| index.wrapping_mul(7_919) % entities);
        criterion.bench_function(&format!("table/look_up/{entities}"), |bench| {
            bench.iter(|| {
                let key = places.next().and_then(|place| keys.get(place));
                black_box(key.map(|key| find(key)))
            });
        });
    }
    Ok(())
}
