//! Reading cells of a row that was found.

use crate::{
    Result,
    fixture::{NOW, Wide, name, order, plain_table, with_first_row},
};
use criterion::Criterion;
use nowthen::online::{Body, CellState};
use std::hint::black_box;

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
/// they stand? Guess: as long as it is packed (to 64 fields) more with each field, 100 ns at 50;
/// beyond, a table, and 40 ns.
pub(crate) fn fields_of_a_plain_hash(criterion: &mut Criterion) -> Result<()> {
    for fields in [1, 10, 50, 200, 10_000] {
        let table = plain_table(fields);
        let names: Vec<String> = order(fields).map(name).collect();
        with_first_row(&table, |row| {
            let Some(Body::Hash(hash)) = row.body() else { return Err("no hash".into()) };
            let bytes = || {
                let mut bytes = 0;
                let names = names.iter().map(|name| name.as_bytes());
                hash.at(NOW).get_each(names, |value| bytes += value.map_or(0, <[u8]>::len));
                bytes
            };
            if hash.at(NOW).len() != fields || bytes() == 0 {
                return Err("a field is missing".into());
            }
            criterion.bench_function(&format!("row/plain_hash/{fields}"), |bench| {
                bench.iter(|| black_box(bytes()));
            });
            Ok(())
        })?;
    }
    Ok(())
}
