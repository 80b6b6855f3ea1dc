//! Writing features: everything is checked before anything changes.

use super::{
    commit::Committed,
    engine::Store,
    keyspace::Keyspace,
    locked::Locked,
    plan_cell::{CellPlace, PlanCell},
    read_features::{RowReader, entity_row},
    read_plan::ReadPlan,
    schema::Schema,
};
use crate::{
    error::{Error, Result},
    feature::{
        CellWrite, CellsWrite, Change, Entity, Origin, Scalar, Stamp, Status, Timestamp, Value,
        View, ViewId, parse_double,
    },
    online::{Merge, ValueRef},
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

/// What became of the rows of a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteCount {
    /// Rows of which at least one cell is the newest now.
    pub applied: u64,
    /// Rows of which none is: kept in the history, changing nothing online.
    pub late: u64,
}

/// One row to be written to a view.
#[derive(Clone, Debug)]
pub struct FeatureRow {
    /// The canonical key of the entity.
    pub key: Vec<u8>,
    /// When it was true.
    pub event: Timestamp,
    /// When it became known; `None` if nobody says.
    pub created: Option<Timestamp>,
    /// The cells, by slot, ascending.
    pub cells: Vec<(u32, CellWrite)>,
}

impl Keyspace<'_> {
    /// Writes features of one entity as text, at the time of the write: `HSET`. `plan` is that of
    /// the names of `fields`. Returns how many of them had no value before.
    pub fn set_features<'f>(
        self,
        schema: &Schema,
        entity: &Entity,
        key: &[u8],
        plan: &ReadPlan,
        fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Result<Committed<usize>> {
        let key = match entity.is_canonical_key(key) {
            true => Cow::Borrowed(key),
            false => Cow::Owned(entity.canonical_key(key)?),
        };
        // Text is read before anything is locked; the time of the decision is told then.
        let of_write = (&*key, Timestamp::MIN, plan.cells.len());
        let mut writes = Vec::with_capacity(1);
        let mut fields = fields.into_iter();
        for (stretch, cells) in plan.stretches() {
            let Some(first) = cells.first().and_then(Option::as_ref) else {
                let name = fields.next().map_or(&[][..], |(name, _)| name);
                return Err(schema.catalog.unknown_feature(entity.id, name));
            };
            let are_doubles = stretch.floats == Some(Scalar::Float64);
            let generation = (first.view.id, first.view.generation);
            let write = write_to(&mut writes, of_write, generation);
            for (cell, (_, text)) in cells.iter().flatten().zip(&mut fields) {
                let double = if are_doubles { parse_double(text) } else { None };
                let value = match double {
                    Some(value) => Value::Float64(value),
                    None => cell.parse(text)?,
                };
                write.cells.push((cell.slot, CellWrite::Value(value)));
            }
        }
        writes.iter_mut().for_each(|write| order_by_slot(&mut write.cells));
        let plan = plan.distinct();
        self.commit(&[&key], |locked| {
            for write in &mut writes {
                write.stamp = Stamp::new(locked.now, Some(locked.now));
            }
            let row = entity_row(locked.row(&key));
            let new_count = RowReader::new(row, locked.now).count_absent(&plan);
            Ok((changes(writes), new_count))
        })
    }

    /// Decides about one feature of one entity, at the time of the write: the value that is seen,
    /// to a new one and an answer. `HINCRBY`, `HSETNX`.
    pub fn change_feature<T>(
        self,
        schema: &Schema,
        entity: &Entity,
        key: &[u8],
        name: &[u8],
        decide: impl FnOnce(&PlanCell, Option<ValueRef<'_>>) -> Result<(Option<Value>, T)>,
    ) -> Result<Committed<T>> {
        let key = entity.canonical_key(key)?;
        let cell = schema.feature_cell(entity, name)?;
        self.commit(&[&key], |locked| {
            let read = cell.read(entity_row(locked.row(&key)), locked.now);
            let (value, answer) = decide(&cell, read.value)?;
            let mut writes = Vec::new();
            if let Some(value) = value {
                push_cell(&mut writes, (&key, locked.now, 1), &cell, CellWrite::Value(value));
            }
            Ok((changes(writes), answer))
        })
    }

    /// Deletes features of one entity: `HDEL`. Returns how many of them had a value.
    pub fn delete_features<'n>(
        self,
        schema: &Schema,
        entity: &Entity,
        key: &[u8],
        names: impl IntoIterator<Item = &'n [u8]>,
    ) -> Result<Committed<usize>> {
        let key = entity.canonical_key(key)?;
        let plan = schema.plan(entity, names);
        let cells: BTreeMap<_, _> =
            plan.cells.into_iter().flatten().map(|cell| (cell.place(), cell)).collect();
        self.commit(&[&key], |locked| {
            let row = entity_row(locked.row(&key));
            let reads = cells.values().map(|cell| cell.read(row, locked.now));
            let gone = reads.filter(|read| read.status == Status::Present).count();
            Ok((tombstones(&key, locked.now, schema.places_to_delete(&cells, row)), gone))
        })
    }

    /// Reads features of one entity as text and deletes them: `HGETDEL`. A name that comes again
    /// has no value then.
    pub fn take_features<'n>(
        self,
        schema: &Schema,
        entity: &Entity,
        key: &[u8],
        names: impl IntoIterator<Item = &'n [u8]>,
    ) -> Result<Committed<Vec<Option<Vec<u8>>>>> {
        let key = entity.canonical_key(key)?;
        let plan = schema.plan(entity, names);
        self.commit(&[&key], |locked| {
            let row = entity_row(locked.row(&key));
            let mut taken = BTreeMap::new();
            let mut take = |cell: &'_ Option<PlanCell>| {
                let cell = cell.as_ref()?;
                let is_first = taken.insert(cell.place(), cell.clone()).is_none();
                let read = cell.read(row, locked.now);
                let mut text = Vec::new();
                read.value.filter(|_| is_first)?.write_text(&mut text);
                Some(text)
            };
            let values = plan.cells.iter().map(&mut take).collect();
            let places = schema.places_to_delete(&taken, row);
            Ok((tombstones(&key, locked.now, places), values))
        })
    }

    /// The changes that delete the whole entity, if it has any cell, and whether it had a value
    /// that may be seen: part of `DEL`. What TTL hides is deleted too, as by `HDEL`, and what only
    /// earlier versions of a view read, or a view that was dropped and may come again.
    pub fn entity_tombstones(
        self,
        schema: &Schema,
        entity: &Entity,
        key: &[u8],
        locked: &Locked<'_>,
    ) -> (Vec<Change>, bool) {
        let row = entity_row(locked.row(key));
        let mut places = schema.standing_places(row);
        if places.is_empty() {
            return (Vec::new(), false);
        }
        let cells = || schema.plan_all(entity).iter().map(|(_, cell)| cell);
        let is_seen = cells().any(|cell| cell.read(row, locked.now).status == Status::Present);
        places.extend(cells().map(PlanCell::place));
        // Neither a generation that is being filled may bring the entity back when it serves, nor
        // what was dropped when it is materialized again.
        places.extend(schema.places_ever(entity));
        (tombstones(key, locked.now, places), is_seen)
    }

    /// Writes rows that a client pushes to one view, all with their own event timestamps.
    pub fn push_rows(
        self,
        schema: &Schema,
        view: &View,
        rows: Vec<FeatureRow>,
    ) -> Result<Committed<WriteCount>> {
        let latest = self.store.latest_event();
        if let Some(row) = rows.iter().find(|row| row.event > latest) {
            return Err(self.store.ahead_of_clock(row.event));
        }
        self.write_rows(schema, view, rows, Origin::Pushed)
    }

    /// Writes rows that materialization read; those that change nothing are not written at all.
    pub fn materialize_rows(
        self,
        schema: &Schema,
        view: &View,
        rows: Vec<FeatureRow>,
    ) -> Result<Committed<WriteCount>> {
        self.write_rows(schema, view, rows, Origin::Materialized)
    }

    fn write_rows(
        self,
        schema: &Schema,
        view: &View,
        rows: Vec<FeatureRow>,
        origin: Origin,
    ) -> Result<Committed<WriteCount>> {
        let layout = schema
            .layout(view.id, view.generation)
            .ok_or_else(|| Error::refused(format!("view {} is not applied", view.name)))?;
        let keys: Vec<Vec<u8>> = rows.iter().map(|row| row.key.clone()).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let store = self.store;
        self.commit(&keys, |locked| {
            let mut count = WriteCount::default();
            let mut changes = Vec::with_capacity(rows.len());
            // Of a key that comes twice the second row meets what the first one left.
            let mut merged: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
            let forgotten = store.forgotten.load();
            for row in rows {
                if forgotten.keeps_out(&row.key, row.event) {
                    count.late += 1;
                    continue;
                }
                let created = match origin {
                    Origin::Pushed => Some(row.created.unwrap_or(locked.now)),
                    Origin::Materialized => row.created,
                };
                let write = CellsWrite {
                    stamp: Stamp::new(row.event, created),
                    key: row.key,
                    view: view.id,
                    generation: view.generation,
                    origin,
                    cells: row.cells,
                };
                let standing = entity_row(locked.row(&write.key));
                let body = merged.get(&write.key);
                let standing = body.map_or(standing, |body| standing.with_body(body));
                match standing.merge(layout, &write) {
                    Merge::Changed(body) => {
                        count.applied += 1;
                        merged.insert(write.key.clone(), body);
                    }
                    Merge::Late | Merge::Unchanged => {
                        count.late += 1;
                        if origin == Origin::Materialized {
                            continue;
                        }
                    }
                }
                changes.push(Change::Cells(write));
            }
            Ok((changes, count))
        })
    }
}

impl Store {
    /// The latest event that may be pushed now. The clock is asked, not the time of the request:
    /// no later decision is made before what was told here, so a write behind this one is newer.
    pub(super) fn latest_event(&self) -> Timestamp {
        self.clock.now().plus_us(self.max_future_us)
    }

    /// The error for an event that lies too far ahead.
    pub(super) fn ahead_of_clock(&self, event: Timestamp) -> Error {
        Error::refused(format!(
            "event timestamp {} lies more than {} ahead of the server's clock ({})",
            event.to_iso(),
            crate::feature::duration_text(self.max_future_us),
            self.clock.now().to_iso()
        ))
    }
}

impl Schema {
    /// The place of a feature of `entity` that a client writes.
    fn feature_cell(&self, entity: &Entity, name: &[u8]) -> Result<PlanCell> {
        let found = self.catalog.resolve_feature(entity.id, name);
        let cell = found.and_then(|found| self.plan_cell(found.view, found.feature.slot));
        cell.ok_or_else(|| self.catalog.unknown_feature(entity.id, name))
    }
}

impl PlanCell {
    /// Reads the text of a value of this feature.
    pub fn parse(&self, text: &[u8]) -> Result<Value> {
        let Some(feature) = self.view.features.get(self.feature) else {
            return Err(Error::refused("no such feature"));
        };
        Value::parse(text, feature.value_type).map_err(|why| {
            Error::refused(format!("feature {}:{}: {why}", self.view.name, feature.name))
        })
    }
}

/// Adds a cell to the write of its view and generation.
fn push_cell(
    writes: &mut Vec<CellsWrite>,
    of_write: (&[u8], Timestamp, usize),
    cell: &PlanCell,
    written: CellWrite,
) {
    let generation = (cell.view.id, cell.view.generation);
    write_to(writes, of_write, generation).cells.push((cell.slot, written));
}

/// The write of this generation of a view, of which there is one. A new one is about `key`, at the
/// time `now`, and has room for so many cells.
#[allow(clippy::indexing_slicing, reason = "it was found, or is the last")]
fn write_to<'w>(
    writes: &'w mut Vec<CellsWrite>,
    (key, now, room): (&[u8], Timestamp, usize),
    (view, generation): (ViewId, u32),
) -> &'w mut CellsWrite {
    let is_of = |write: &CellsWrite| (write.view, write.generation) == (view, generation);
    let of_view = writes.iter().rposition(is_of);
    let index = of_view.unwrap_or(writes.len());
    if index == writes.len() {
        writes.push(CellsWrite {
            key: key.to_vec(),
            view,
            generation,
            stamp: Stamp::new(now, Some(now)),
            origin: Origin::Pushed,
            cells: Vec::with_capacity(room),
        });
    }
    &mut writes[index]
}

fn changes(writes: Vec<CellsWrite>) -> Vec<Change> {
    writes.into_iter().map(Change::Cells).collect()
}

/// Orders cells by slot; of a slot that comes twice the last value counts.
fn order_by_slot(cells: &mut Vec<(u32, CellWrite)>) {
    // Clients mostly name features in the order of the definition.
    if cells.is_sorted_by(|(a, _), (b, _)| a < b) {
        return;
    }
    cells.sort_by_key(|(slot, _)| *slot);
    cells.dedup_by(|later, earlier| {
        let is_same = later.0 == earlier.0;
        if is_same {
            std::mem::swap(later, earlier);
        }
        is_same
    });
}

/// Deletes what stands in these places, which come in order, each once.
fn tombstones(
    key: &[u8],
    now: Timestamp,
    places: impl IntoIterator<Item = CellPlace>,
) -> Vec<Change> {
    let mut writes = Vec::new();
    for (view, generation, slot) in places {
        let write = write_to(&mut writes, (key, now, 1), (view, generation));
        write.cells.push((slot, CellWrite::Tombstone));
    }
    changes(writes)
}
