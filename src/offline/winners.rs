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
    rank::{Newest, Rank, Winner},
    scan::{KeysAndTimes, in_column, scan_row_group},
    slots::Slots,
    source::{RowGroup, ViewSource},
    ties::{Ties, settle},
};
use crate::{
    error::{Error, Result},
    feature::Timestamp,
};
use arrow_array::Array;
use std::{
    hint::black_box,
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// What a training row may know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KnownBy {
    /// All that was true at its time, whenever it became known.
    #[default]
    Event,
    /// Only what had become known as well: what serving would have had.
    Arrival,
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
    pub(super) row_groups_skipped: u64,
    pub(super) rows: u64,
    pub(super) rows_skipped: u64,
}

impl Scanned {
    fn add(&mut self, other: Self) {
        self.row_groups += other.row_groups;
        self.rows += other.rows;
        self.rows_skipped += other.rows_skipped;
    }
}

/// The winning row for every slot, TTL aside; of each also its created timestamp.
pub(super) fn find_winners(
    source: &ViewSource<'_>,
    group: &Group,
    known_by: KnownBy,
    threads: usize,
    bytes_read: &Arc<AtomicU64>,
) -> Result<(Vec<Winner>, Scanned)> {
    if known_by == KnownBy::Arrival && source.view.created_timestamp.is_none() {
        return Err(Error::refused(format!(
            "view {} has no created_timestamp: known_by = arrival cannot tell when its rows became \
             known",
            source.view.name
        )));
    }
    let search = Search { source, group, known_by, with_created: true, threads, bytes_read };
    let (mut winners, _, scanned) = search.run()?;
    carry_forward(&mut winners, &group.slots);
    Ok((winners, scanned))
}

/// The winning row for every slot by event, TTL aside. Created timestamps are read for those rows
/// only that have the entity and the event of another one.
pub(super) fn find_newest(
    source: &ViewSource<'_>,
    group: &Group,
    threads: usize,
    bytes_read: &Arc<AtomicU64>,
) -> Result<(Vec<Newest>, Scanned)> {
    let known_by = KnownBy::Event;
    let search = Search { source, group, known_by, with_created: false, threads, bytes_read };
    let (mut winners, ties, mut scanned): (Vec<Newest>, _, _) = search.run()?;
    let Some(ties) = ties else {
        let (all, again) = find_winners(source, group, known_by, threads, bytes_read)?;
        scanned.add(again);
        let newest = |winner: Winner| Newest::new(winner.stamp.event, None, winner.order);
        return Ok((all.into_iter().map(newest).collect(), scanned));
    };
    if source.view.created_timestamp.is_some() {
        settle(source, &mut winners, ties, threads, bytes_read)?;
    }
    carry_forward(&mut winners, &group.slots);
    Ok((winners, scanned))
}

/// One pass over keys and times.
struct Search<'a, 'b> {
    source: &'a ViewSource<'b>,
    group: &'a Group,
    known_by: KnownBy,
    with_created: bool,
    threads: usize,
    bytes_read: &'a Arc<AtomicU64>,
}

impl Search<'_, '_> {
    /// The winning row of each slot, not carried forward yet, and the ties; `None` if there are
    /// too many of them, and then not all was read.
    fn run<R: Rank>(&self) -> Result<(Vec<R>, Option<Ties>, Scanned)> {
        let Self { source, group, .. } = self;
        let by_arrival = self.known_by == KnownBy::Arrival;
        let Some(to) = group.slots.last_time() else {
            return Ok((Vec::new(), Some(Ties::default()), Scanned::default()));
        };
        let keys = group.table.ranges();
        let bounds = Bounds { keys, from: Timestamp::MIN, to, created: by_arrival };
        let row_groups: Vec<&RowGroup> =
            source.row_groups.iter().filter(|row_group| bounds.reach(source, row_group)).collect();
        let is_too_many = AtomicBool::new(false);
        let state = || Scan::<R>::new(group, source.view.created_timestamp.is_some());
        let scans = for_each(self.threads, row_groups.len(), state, |scan, item| {
            let Some(row_group) = row_groups.get(item) else { return Ok(()) };
            if is_too_many.load(Ordering::Relaxed) {
                return Ok(());
            }
            scan_row_group(source, row_group, self.with_created, self.bytes_read, |batch| {
                let added = scan.add(group, batch, by_arrival);
                added.map_err(|why| why.named(source, row_group))
            })?;
            is_too_many.fetch_or(scan.ties.are_too_many(scan.rows), Ordering::Relaxed);
            Ok(())
        })?;
        let (all, read) = (source.row_groups.len() as u64, row_groups.len() as u64);
        let mut scanned =
            Scanned { row_groups: read, row_groups_skipped: all - read, ..Scanned::default() };
        let mut winners = Vec::new();
        let mut ties = Ties::default();
        for mut scan in scans {
            scanned.rows += scan.rows;
            scanned.rows_skipped += scan.rows_skipped;
            ties.append(mem::take(&mut scan.ties));
            winners = greatest(winners, scan.finish(), &mut ties);
        }
        let ties = (!is_too_many.into_inner()).then_some(ties);
        Ok((winners, ties, scanned))
    }
}

fn greatest<R: Rank>(mut winners: Vec<R>, others: Vec<R>, ties: &mut Ties) -> Vec<R> {
    if winners.is_empty() {
        return others;
    }
    for (slot, (winner, other)) in winners.iter_mut().zip(others).enumerate() {
        if other.is_tied(winner) {
            ties.add(slot as u32, &other.min(*winner));
        }
        *winner = other.max(*winner);
    }
    winners
}

fn carry_forward<R: Rank>(winners: &mut [R], slots: &Slots) {
    for range in slots.ranges() {
        let mut best = R::NONE;
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
struct Scan<R> {
    /// Per slot, but for what the cursors still hold.
    winners: Vec<R>,
    /// Per entity.
    cursors: Vec<Cursor<R>>,
    entities: Vec<u32>,
    caches: Vec<DictionaryCache>,
    /// Whether there is something that settles ties.
    has_created: bool,
    ties: Ties,
    rows: u64,
    rows_skipped: u64,
}

impl<R: Rank> Scan<R> {
    fn new(group: &Group, has_created: bool) -> Self {
        Self {
            winners: vec![R::NONE; group.slots.len()],
            cursors: vec![Cursor::AWAY; group.table.len()],
            entities: Vec::new(),
            caches: Vec::new(),
            has_created,
            ties: Ties::default(),
            rows: 0,
            rows_skipped: 0,
        }
    }

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
            if row % TOUCHED_ROWS == 0 {
                touch(&self.cursors, self.entities.get(row..).unwrap_or_default());
            }
            if *entity == UNKNOWN {
                continue;
            }
            let created = created(row);
            let known = match created {
                Some(created) if by_arrival => created.us().max(*event),
                _ => *event,
            };
            let cursor = &mut self.cursors[*entity as usize];
            if !(cursor.after < known && known <= cursor.until) {
                cursor.leave(&mut self.winners);
                let place = group.slots.interval(*entity, known, cursor.slot);
                (cursor.slot, cursor.after, cursor.until) = place;
                cursor.best = self.winners.get(cursor.slot as usize).map_or(R::NONE, |w| *w);
            }
            let candidate = R::new(Timestamp(*event), created, first_order + row as u64);
            if self.has_created && cursor.slot != UNKNOWN && candidate.is_tied(&cursor.best) {
                self.ties.add(cursor.slot, &candidate.min(cursor.best));
            }
            if candidate > cursor.best {
                cursor.best = candidate;
            }
        }
    }

    fn finish(mut self) -> Vec<R> {
        for cursor in &mut self.cursors {
            cursor.leave(&mut self.winners);
        }
        self.winners
    }
}

/// So many rows ahead the cursors are brought from memory.
const TOUCHED_ROWS: usize = 32;

/// Loads the cursors of the next rows all at once: in the loop itself each would wait for the
/// branches of the row before.
#[inline]
fn touch<R>(cursors: &[Cursor<R>], entities: &[u32]) {
    let ahead = entities.iter().take(TOUCHED_ROWS);
    let loaded = ahead.filter_map(|entity| cursors.get(*entity as usize));
    black_box(loaded.fold(0, |all, cursor| all ^ cursor.after));
}

/// The slot that the last row of an entity fell into: the next row, in a file that is ordered by
/// time, most often falls there as well, and is then settled within this one line of the cache.
#[derive(Clone, Copy, Debug)]
struct Cursor<R> {
    /// Rows known after this and not after `until` belong to `slot`.
    after: i64,
    until: i64,
    best: R,
    /// [`UNKNOWN`] for what lies after all slots.
    slot: u32,
}

impl<R: Rank> Cursor<R> {
    /// Nowhere yet: no time lies in its interval.
    const AWAY: Self = Self { after: i64::MAX, until: i64::MIN, best: R::NONE, slot: UNKNOWN };

    fn leave(&mut self, winners: &mut [R]) {
        if let Some(winner) = winners.get_mut(self.slot as usize) {
            *winner = self.best;
        }
    }
}
