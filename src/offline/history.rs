//! All that a source ever said of one entity, oldest first.
//!
//! Keys and times are scanned as for a join; the features are decoded only where the entity's
//! rows are.

use super::{
    cells::value_at,
    dataset::Dataset,
    gather::gather,
    keys::{DictionaryCache, KeyTable, UNKNOWN},
    latest::Window,
    prune::Bounds,
    rank::Winner,
    read_ahead::ReadAhead,
    reads::Reads,
    scan::{KeysAndTimes, in_column, scan_row_group},
    source::{Told, ViewSource},
    spine::key_column,
};
use crate::{
    error::{Error, Result},
    feature::{Entity, KeyPart, Stamp, Timestamp, Value, View},
    parallel::{for_each, thread_count},
};
use arrow_array::{Array, ArrayRef};

/// One row of a source about the entity.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryRow {
    /// When it was true, and when it became known.
    pub stamp: Stamp,
    /// Its place in the source, from 1.
    pub order: u64,
    /// One per feature asked for; `None` is null.
    pub cells: Vec<Option<Value>>,
}

/// The first `rows_max` rows about the entity with this key within the window, in the order of
/// their stamps; of each the features of `view` with these indexes.
pub fn history(
    view: &View,
    entity: &Entity,
    dataset: &Dataset,
    features: &[usize],
    key: &[KeyPart],
    window: Window,
    rows_max: usize,
) -> Result<Vec<HistoryRow>> {
    let table = table_of(entity, &[key])?;
    let from = window.from.unwrap_or(Timestamp::MIN);
    let bounds = Bounds::new(Some(&table), from, window.to);
    let (threads, reads) = (thread_count(None), Reads::default());
    let reaches = |told: &Told| bounds.reach_file(told);
    let source = ViewSource::open(view, entity, dataset, features, &reaches, threads)?;
    let row_groups = bounds.row_groups(&source, threads, &reads)?;
    let ahead = ReadAhead::of_keys(&source, &row_groups, true, threads)?;
    let state = || Scan { found: Vec::new(), entities: Vec::new(), caches: Vec::new(), rows_max };
    let scans = for_each(threads, row_groups.len(), state, |scan, item| {
        let Some(row_group) = row_groups.get(item) else { return Ok(()) };
        let _fetched = ahead.begin(item)?;
        scan_row_group(&source, row_group, &bounds, true, &reads, |batch| {
            scan.add(&table, batch, window).map_err(|why| match source.file(row_group) {
                Ok((file, _)) => in_column(file, "join key", &why),
                Err(error) => error,
            })
        })
        .map(drop)
    })?;
    let mut found: Vec<Winner> = scans.into_iter().flat_map(|scan| scan.found).collect();
    found.sort_unstable();
    found.truncate(rows_max);
    let mut wanted: Vec<u64> = found.iter().map(|row| row.order).collect();
    wanted.sort_unstable();
    let columns = gather(&source, &wanted, threads, &reads)?;
    let row = |row: &Winner| {
        let place = wanted.binary_search(&row.order).ok()?;
        let full = columns.iter().all(|column| place < column.len());
        let cells = || columns.iter().map(|column| value_at(column, place)).collect();
        full.then(|| HistoryRow { stamp: row.stamp, order: row.order, cells: cells() })
    };
    let rows: Option<Vec<HistoryRow>> = found.iter().map(row).collect();
    // Every row was counted when it was found.
    rows.ok_or_else(|| Error::refused("a row without its values"))
}

/// A table of the entities with these keys.
pub(super) fn table_of(entity: &Entity, keys: &[&[KeyPart]]) -> Result<KeyTable> {
    let refuse = || Error::refused(format!("no key of entity {}", entity.name));
    if keys.iter().any(|key| key.len() != entity.join_keys.len()) {
        return Err(refuse());
    }
    let columns = entity.join_keys.iter().enumerate().map(|(place, join_key)| {
        key_column(join_key.key_type, keys.iter().map(|key| key.get(place)))
    });
    let columns: Vec<ArrayRef> = columns.collect::<Option<_>>().ok_or_else(refuse)?;
    let mut table = KeyTable::new(entity);
    table.intern(&columns, &mut Vec::new(), &mut Vec::new()).map_err(Error::refused)?;
    table.seal();
    Ok(table)
}

/// What one thread has found so far.
struct Scan {
    found: Vec<Winner>,
    entities: Vec<u32>,
    caches: Vec<DictionaryCache>,
    rows_max: usize,
}

impl Scan {
    fn add(
        &mut self,
        table: &KeyTable,
        batch: &KeysAndTimes,
        window: Window,
    ) -> Result<(), String> {
        table.find(&batch.keys, &mut self.caches, &mut self.entities)?;
        let usable = batch.usable();
        for (row, (entity, event)) in self.entities.iter().zip(batch.events.values()).enumerate() {
            let event = Timestamp(*event);
            let is_usable = usable.as_ref().is_none_or(|usable| usable.is_valid(row));
            if *entity == UNKNOWN || !is_usable || !window.holds(event) {
                continue;
            }
            let created = batch.created.as_ref().filter(|created| created.is_valid(row));
            let created = created.map(|created| Timestamp(created.value(row)));
            let order = batch.first_order + row as u64;
            self.found.push(Winner { stamp: Stamp::new(event, created), order });
        }
        // Only the first ones are asked for: what lies behind them need not be kept.
        if self.found.len() > self.rows_max.saturating_mul(2) {
            self.found.sort_unstable();
            self.found.truncate(self.rows_max);
        }
        Ok(())
    }
}
