//! Reading cells of a row that was found.

use crate::{
    Result,
    fixture::{NOW, Wide, name, order, plain_table, with_first_row},
};
use criterion::Criterion;
use nowthen::online::{Body, CellState, FieldPlans};
use std::{hint::black_box, num::NonZeroU64};

/// Question: does each further feature of a packed row cost the same, in any order? Guess: yes,
/// 5 ns each, since every slot stands at a fixed offset.
pub(crate) fn cells(criterion: &mut Criterion) -> Result<()> {
    for features in [1, 10, 50, 200] {
        let wide = Wide::new(features)?;
        let table = wide.table(1);
        with_first_row(&table, |row| {
            let Some(Body::Entity(row)) = row.body() else { return Err("no entity".into()) };
            let present = || {
                let cells = order(features).map(|slot| row.cell(&wide.layout, slot as u32));
                cells.flatten().filter(|cell| cell.state == CellState::Value).count()
            };
            if present() != features {
                return Err("a feature is missing".into());
            }
            criterion.bench_function(&format!("row/cells/{features}"), |bench| {
                bench.iter(|| black_box(present()));
            });
            Ok(())
        })?;
    }
    Ok(())
}

/// Question: what does a field of a plain hash cost, when all are asked for in another order than
/// they stand? Guess: alone in its table and packed (to 64 fields) more with each field, 100 ns at
/// 50; as a map 40 ns; one of many hashes, whose names are a shape, 20 ns; and 3 ns if the list of
/// names is known. With 10,000 fields each is a map.
pub(crate) fn fields_of_a_plain_hash(criterion: &mut Criterion) -> Result<()> {
    let list = NonZeroU64::new(1);
    let kinds = [("plain_hash", 1, None), ("shaped_hash", 40, None), ("planned_hash", 40, list)];
    for (kind, hashes, list) in kinds {
        for fields in [1, 10, 50, 200, 10_000] {
            let table = plain_table(hashes, fields);
            let names: Vec<String> = order(fields).map(name).collect();
            with_first_row(&table, |row| {
                let Some(Body::Hash(hash)) = row.body() else { return Err("no hash".into()) };
                let mut plans = FieldPlans::new();
                let mut bytes = || {
                    let mut bytes = 0;
                    let names = names.iter().map(|name| name.as_bytes());
                    let add = |value: Option<&[u8]>| bytes += value.map_or(0, <[u8]>::len);
                    hash.at(NOW).get_each(names, list, &mut plans, add);
                    bytes
                };
                if hash.at(NOW).len() != fields || bytes() == 0 {
                    return Err("a field is missing".into());
                }
                criterion.bench_function(&format!("row/{kind}/{fields}"), |bench| {
                    bench.iter(|| black_box(bytes()));
                });
                Ok(())
            })?;
        }
    }
    Ok(())
}
