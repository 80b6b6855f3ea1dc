//! The newest row of every entity of a source: what materialization brings online.
//!
//! Invariants
//! - One linear pass over keys and times; memory is that of the entities, not of the rows.
//! - The winner is that of a point-in-time join at `to`, TTL aside: a reader applies the TTL at
//!   the instant of reading.

use super::{
    dataset::Dataset,
    keys::{DictionaryCache, KeyTable, UNKNOWN},
    latest_rows::{Counts, Latest},
    prune::Bounds,
    rank::{Newest, Rank, Winner},
    read_ahead::ReadAhead,
    reads::Reads,
    scan::{KeysAndTimes, in_column, scan_row_group},
    source::{Told, ViewSource},
    ties::{Ties, settle},
};
use crate::{
    error::Result,
    feature::{Entity, Timestamp, View, visible_at},
    parallel::{for_each, thread_count},
};
use arrow_array::Array;
use std::{
    hint::black_box,
    num::NonZero,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Rows whose winners so far are fetched from memory at once.
const STEP_ROWS: usize = 128;

/// Which rows of a source are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// No row with an earlier event timestamp.
    pub from: Option<Timestamp>,
    /// No row with a later one.
    pub to: Timestamp,
}

impl Window {
    /// The same without events before `from`.
    #[must_use]
    pub fn not_before(self, from: Timestamp) -> Self {
        Self { from: self.from.max(Some(from)), ..self }
    }

    /// Whether it has a row with that event timestamp.
    pub fn holds(&self, event: Timestamp) -> bool {
        visible_at(event, self.to, None) && self.from.is_none_or(|from| event >= from)
    }
}

/// How far a search for newest rows is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Rows that were looked at.
    pub rows: u64,
    /// Rows of all files that may have some.
    pub rows_total: u64,
    /// Bytes that were read.
    pub bytes: u64,
}

/// Finds the newest row of every entity within the window. `progress` is told, from any thread,
/// how far that is.
pub fn latest<'a>(
    view: &'a View,
    entity: &Entity,
    dataset: &'a Dataset,
    window: Window,
    threads: Option<NonZero<usize>>,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Latest<'a>> {
    let features: Vec<usize> = (0..view.features.len()).collect();
    let threads = thread_count(threads);
    // What lies ahead is counted, where that can be said: for this such files are opened.
    let to = if window.from.is_none() { Timestamp::MAX } else { window.to };
    let bounds = Bounds::new(None, window.from.unwrap_or(Timestamp::MIN), to);
    let reaches = |told: &Told| bounds.reach_file(told);
    let source = ViewSource::open(view, entity, dataset, &features, &reaches, threads)?;
    let reads = Reads::default();
    progress(Progress { rows: 0, rows_total: source.rows(), bytes: 0 });
    let search = Search { source: &source, entity, window, threads, reads: &reads, progress };
    let (table, newest, counts) = search.newest()?;
    Latest::new(source, table, newest, counts, reads, threads)
}

/// One pass over keys and times.
struct Search<'a, 'b> {
    source: &'a ViewSource<'b>,
    entity: &'a Entity,
    window: Window,
    threads: usize,
    reads: &'a Reads,
    progress: &'a (dyn Fn(Progress) + Sync),
}

impl Search<'_, '_> {
    /// The newest row of each entity. Created timestamps are read for those rows only that have
    /// the entity and the event of another one, unless there are many of them.
    fn newest(&self) -> Result<(KeyTable, Vec<Newest>, Counts)> {
        let (table, mut newest, ties, counts) = self.run::<Newest>(false)?;
        let Some(ties) = ties else {
            let (table, all, _, counts) = self.run::<Winner>(true)?;
            let newest = |winner: Winner| Newest::new(winner.event(), None, winner.order());
            return Ok((table, all.into_iter().map(newest).collect(), counts));
        };
        if self.source.view.created_timestamp.is_some() {
            settle(self.source, &mut newest, ties, self.threads, self.reads)?;
        }
        Ok((table, newest, counts))
    }

    fn run<R: Rank>(&self, with_created: bool) -> Result<(KeyTable, Vec<R>, Option<Ties>, Counts)> {
        let Self { source, window, reads, .. } = *self;
        let from = window.from.unwrap_or(Timestamp::MIN);
        let bounds = Bounds::new(None, from, window.to);
        let row_groups = bounds.row_groups(source, self.threads, reads)?;
        let all = source.rows();
        let (rows_passed, rows_read) = (AtomicU64::new(0), AtomicU64::new(0));
        let is_too_many = AtomicBool::new(false);
        let ahead = ReadAhead::of_keys(source, &row_groups, with_created, self.threads)?;
        let state = || Scan::<R>::new(self.entity, source.view.created_timestamp.is_some());
        let scans = for_each(self.threads, row_groups.len(), state, |scan, item| {
            let Some(row_group) = row_groups.get(item) else { return Ok(()) };
            if is_too_many.load(Ordering::Relaxed) {
                return Ok(());
            }
            let _fetched = ahead.begin(item)?;
            let read = scan_row_group(source, row_group, &bounds, with_created, reads, |batch| {
                scan.add(batch, window).map_err(|why| match source.file(row_group) {
                    Ok((file, _)) => in_column(file, "join key", &why),
                    Err(error) => error,
                })
            })?;
            is_too_many.fetch_or(scan.ties.are_too_many(scan.rows), Ordering::Relaxed);
            rows_read.fetch_add(read, Ordering::Relaxed);
            let rows = rows_passed.fetch_add(row_group.rows, Ordering::Relaxed) + row_group.rows;
            (self.progress)(Progress { rows, rows_total: all, bytes: reads.bytes() });
            Ok(())
        })?;
        // What is not even read lies ahead, if nothing but the end of the window can keep it out.
        let rows_read = rows_read.into_inner();
        let rows_ahead = if window.from.is_none() { all - rows_read } else { 0 };
        let counts = Counts {
            rows_read,
            rows_skipped: scans.iter().map(|scan| scan.rows_skipped).sum(),
            rows_ahead: rows_ahead + scans.iter().map(|scan| scan.rows_ahead).sum::<u64>(),
        };
        let (table, winners, ties) = merge(scans, self.entity);
        Ok((table, winners, (!is_too_many.into_inner()).then_some(ties), counts))
    }
}

fn merge<R: Rank>(scans: Vec<Scan<R>>, entity: &Entity) -> (KeyTable, Vec<R>, Ties) {
    let mut scans = scans.into_iter();
    let (mut table, mut best, mut ties) = match scans.next() {
        Some(scan) => (scan.table, scan.winners, scan.ties),
        None => (KeyTable::new(entity), Vec::new(), Ties::default()),
    };
    for mut scan in scans {
        let numbers = table.absorb(&scan.table);
        best.resize(table.len(), R::NONE);
        scan.ties.renumber(&numbers);
        ties.append(scan.ties);
        for (winner, number) in scan.winners.into_iter().zip(numbers) {
            if let Some(best) = best.get_mut(number as usize) {
                if winner.is_tied(best) {
                    ties.add(number, &winner.min(*best));
                }
                *best = winner.max(*best);
            }
        }
    }
    (table, best, ties)
}

/// Reads all of these at once: one by one each would be waited for.
fn fetch<'a, R: Rank + 'a>(winners: impl Iterator<Item = &'a R>) {
    black_box(winners.fold(0, |all, winner| all ^ winner.event().us()));
}

/// What one thread has found so far.
struct Scan<R> {
    table: KeyTable,
    winners: Vec<R>,
    entities: Vec<u32>,
    caches: Vec<DictionaryCache>,
    /// Whether there is something that settles ties.
    has_created: bool,
    ties: Ties,
    rows: u64,
    rows_skipped: u64,
    rows_ahead: u64,
}

impl<R: Rank> Scan<R> {
    fn new(entity: &Entity, has_created: bool) -> Self {
        Self {
            table: KeyTable::new(entity),
            winners: Vec::new(),
            entities: Vec::new(),
            caches: Vec::new(),
            has_created,
            ties: Ties::default(),
            rows: 0,
            rows_skipped: 0,
            rows_ahead: 0,
        }
    }

    fn add(&mut self, batch: &KeysAndTimes, window: Window) -> Result<(), String> {
        self.table.intern(&batch.keys, &mut self.caches, &mut self.entities)?;
        self.winners.resize(self.table.len(), R::NONE);
        self.rows += batch.events.len() as u64;
        let usable = batch.usable();
        self.rows_skipped += usable.as_ref().map_or(0, |usable| usable.null_count() as u64);
        let events = batch.events.values();
        let rows = self.entities.iter().zip(events).enumerate();
        for (row, (entity, event)) in rows {
            if row % STEP_ROWS == 0 {
                let ahead = self.entities.iter().skip(row).take(STEP_ROWS);
                fetch(ahead.filter_map(|entity| self.winners.get(*entity as usize)));
            }
            let event = Timestamp(*event);
            if *entity == UNKNOWN || usable.as_ref().is_some_and(|usable| usable.is_null(row)) {
                continue;
            }
            if !window.holds(event) {
                self.rows_ahead += u64::from(event > window.to);
                continue;
            }
            let created = batch.created.as_ref().filter(|created| created.is_valid(row));
            let created = created.map(|created| Timestamp(created.value(row)));
            let candidate = R::new(event, created, batch.first_order + row as u64);
            if let Some(winner) = self.winners.get_mut(*entity as usize) {
                if self.has_created && candidate.is_tied(winner) {
                    self.ties.add(*entity, &candidate.min(*winner));
                }
                *winner = candidate.max(*winner);
            }
        }
        Ok(())
    }
}
