//! The winning row of a source for every slot of the spine: the point-in-time join itself.
//!
//! ```text
//! slots of one entity      10        20              35
//! rows of the history    7→│    12 18→│        22 31→│   38: after all slots, never looked at
//! greatest per slot        7         18              31
//! carried forward          7         18              31     an empty slot takes its predecessor's
//! ```
//! The history is never sorted: each row finds the first slot that may see it, and the greatest
//! stamp stays there. What arrival decides, the order of files, row groups and rows decides.

use super::{
    keys::{DictionaryCache, KeyTable, UNKNOWN},
    parallel::for_each,
    prune::Bounds,
    scan::{KeysAndTimes, in_column, scan_row_group},
    slots::Slots,
    source::{RowGroup, ViewSource},
};
use crate::{
    error::{Error, Result},
    feature::{Stamp, Timestamp},
};
use arrow_array::Array;
use std::sync::{Arc, atomic::AtomicU64};

/// What a training row may know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KnownBy {
    /// All that was true at its time, whenever it became known.
    #[default]
    Event,
    /// Only what had become known as well: what serving would have had.
    Arrival,
}

/// A row of a source, ordered by who wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Winner {
    pub(super) stamp: Stamp,
    /// Its place in the source, from 1.
    pub(super) order: u64,
}

impl Winner {
    /// Less than every row there is.
    pub(super) const NONE: Self =
        Self { stamp: Stamp { event: Timestamp::MIN, created: None }, order: 0 };

    /// The row, if there is one.
    pub(super) fn found(self) -> Option<Self> {
        (self.order > 0).then_some(self)
    }
}

/// The rows of the spine, by the keys of one entity.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) table: KeyTable,
    pub(super) slots: Slots,
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    pub(super) row_groups: u64,
    pub(super) rows: u64,
    pub(super) rows_skipped: u64,
}

/// The winning row for every slot, TTL aside.
pub(super) fn find_winners(
    source: &ViewSource<'_>,
    group: &Group,
    known_by: KnownBy,
    threads: usize,
    bytes_read: &Arc<AtomicU64>,
) -> Result<(Vec<Winner>, Scanned)> {
    let by_arrival = known_by == KnownBy::Arrival;
    if by_arrival && source.view.created_timestamp.is_none() {
        return Err(Error::refused(format!(
            "view {} has no created_timestamp: known_by = arrival cannot tell when its rows became \
             known",
            source.view.name
        )));
    }
    let Some(to) = group.slots.last_time() else { return Ok((Vec::new(), Scanned::default())) };
    let keys = group.table.ranges();
    let bounds = Bounds { keys, from: Timestamp::MIN, to, created: by_arrival };
    let row_groups: Vec<&RowGroup> =
        source.row_groups.iter().filter(|row_group| bounds.reach(source, row_group)).collect();
    let state = || Scan {
        winners: vec![Winner::NONE; group.slots.len()],
        cursors: vec![Cursor::AWAY; group.table.len()],
        entities: Vec::new(),
        caches: Vec::new(),
        rows: 0,
        rows_skipped: 0,
    };
    let scans = for_each(threads, row_groups.len(), state, |scan, item| {
        let Some(row_group) = row_groups.get(item) else { return Ok(()) };
        scan_row_group(source, row_group, bytes_read, |batch| {
            let added = scan.add(group, batch, by_arrival);
            added.map_err(|why| why.named(source, row_group))
        })
    })?;
    let mut scanned = Scanned { row_groups: row_groups.len() as u64, ..Scanned::default() };
    let mut winners = Vec::new();
    for scan in scans {
        scanned.rows += scan.rows;
        scanned.rows_skipped += scan.rows_skipped;
        winners = greatest(winners, scan.finish());
    }
    carry_forward(&mut winners, &group.slots);
    Ok((winners, scanned))
}

fn greatest(mut winners: Vec<Winner>, others: Vec<Winner>) -> Vec<Winner> {
    if winners.is_empty() {
        return others;
    }
    for (winner, other) in winners.iter_mut().zip(others) {
        *winner = other.max(*winner);
    }
    winners
}

fn carry_forward(winners: &mut [Winner], slots: &Slots) {
    for range in slots.ranges() {
        let mut best = Winner::NONE;
        for winner in winners.get_mut(range).into_iter().flatten() {
            best = best.max(*winner);
            *winner = best;
        }
    }
}

/// Why a row cannot be used.
enum Refusal {
    Keys(String),
    NotCreated,
}

impl Refusal {
    fn named(self, source: &ViewSource<'_>, row_group: &RowGroup) -> Error {
        let view = &source.view.name;
        let file = match source.file(row_group) {
            Ok((file, _)) => file,
            Err(error) => return error,
        };
        match self {
            Self::Keys(why) => in_column(file, "join key", &why),
            Self::NotCreated => Error::refused(format!(
                "{}: view {view} has rows without {}: known_by = arrival cannot tell when they \
                 became known",
                file.path().display(),
                source.view.created_timestamp.as_deref().unwrap_or("created timestamp"),
            )),
        }
    }
}

/// What one thread has found so far.
struct Scan {
    /// Per slot, but for what the cursors still hold.
    winners: Vec<Winner>,
    /// Per entity.
    cursors: Vec<Cursor>,
    entities: Vec<u32>,
    caches: Vec<DictionaryCache>,
    rows: u64,
    rows_skipped: u64,
}

impl Scan {
    fn add(
        &mut self,
        group: &Group,
        batch: &KeysAndTimes,
        by_arrival: bool,
    ) -> Result<(), Refusal> {
        let found = group.table.find(&batch.keys, &mut self.caches, &mut self.entities);
        found.map_err(Refusal::Keys)?;
        self.rows += batch.events.len() as u64;
        let usable = batch.usable();
        if let Some(usable) = &usable {
            self.rows_skipped += usable.null_count() as u64;
            for (entity, usable) in self.entities.iter_mut().zip(usable) {
                *entity = if usable { *entity } else { UNKNOWN };
            }
        }
        let events = batch.events.values();
        match &batch.created {
            None => self.keep(group, batch.first_order, events, |_| None, false),
            Some(created) if created.null_count() == 0 => {
                let times = created.values();
                let created = |row: usize| times.get(row).map(|time| Timestamp(*time));
                self.keep(group, batch.first_order, events, created, by_arrival);
            }
            Some(created) => {
                let null = |row| created.is_null(row);
                let usable = |row| usable.as_ref().is_none_or(|usable| usable.is_valid(row));
                if by_arrival && (0..created.len()).any(|row| null(row) && usable(row)) {
                    return Err(Refusal::NotCreated);
                }
                let created = |row| (!null(row)).then(|| Timestamp(created.value(row)));
                self.keep(group, batch.first_order, events, created, by_arrival);
            }
        }
        Ok(())
    }

    /// The hot loop: one step per row of the history.
    #[allow(clippy::indexing_slicing, reason = "one cursor per entity, one winner per slot")]
    #[inline]
    fn keep(
        &mut self,
        group: &Group,
        first_order: u64,
        events: &[i64],
        created: impl Fn(usize) -> Option<Timestamp>,
        by_arrival: bool,
    ) {
        for (row, (entity, event)) in self.entities.iter().zip(events).enumerate() {
            if *entity == UNKNOWN {
                continue;
            }
            let stamp = Stamp::new(Timestamp(*event), created(row));
            let known = match stamp.created {
                Some(created) if by_arrival => created.us().max(*event),
                _ => *event,
            };
            let cursor = &mut self.cursors[*entity as usize];
            if !(cursor.after < known && known <= cursor.until) {
                cursor.leave(&mut self.winners);
                let place = group.slots.interval(*entity, known, cursor.slot);
                (cursor.slot, cursor.after, cursor.until) = place;
                cursor.best = self.winners.get(cursor.slot as usize).map_or(Winner::NONE, |w| *w);
            }
            let candidate = Winner { stamp, order: first_order + row as u64 };
            if candidate > cursor.best {
                cursor.best = candidate;
            }
        }
    }

    fn finish(mut self) -> Vec<Winner> {
        for cursor in &mut self.cursors {
            cursor.leave(&mut self.winners);
        }
        self.winners
    }
}

/// The slot that the last row of an entity fell into: the next row, in a file that is ordered by
/// time, most often falls there as well, and is then settled within this one line of the cache.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    /// Rows known after this and not after `until` belong to `slot`.
    after: i64,
    until: i64,
    best: Winner,
    /// [`UNKNOWN`] for what lies after all slots.
    slot: u32,
}

impl Cursor {
    /// Nowhere yet: no time lies in its interval.
    const AWAY: Self = Self { after: i64::MAX, until: i64::MIN, best: Winner::NONE, slot: UNKNOWN };

    fn leave(&mut self, winners: &mut [Winner]) {
        if let Some(winner) = winners.get_mut(self.slot as usize) {
            *winner = self.best;
        }
    }
}
