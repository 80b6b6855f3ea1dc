//! The newest row of every entity of a source: what materialization brings online.
//!
//! Invariants
//! - One linear pass over keys and times; memory is that of the entities, not of the rows.
//! - The winner is that of a point-in-time join at `to`, TTL aside: a reader applies the TTL at
//!   the instant of reading.
//! - Rows come in the order of the source, so that every page is decoded once.

use super::{
    cells::value_at,
    dataset::Dataset,
    gather::{gather_created, gather_rows, join_pieces, wanted_by_row_group},
    keys::{DictionaryCache, KeyTable, UNKNOWN},
    prune::Bounds,
    rank::{Newest, Rank, Winner},
    read_ahead::ReadAhead,
    reads::Reads,
    scan::{KeysAndTimes, in_column, scan_row_group},
    source::{Told, ViewSource},
    ties::{Ties, settle},
};
use crate::{
    error::{Error, Result},
    feature::{Entity, KeyPart, Stamp, Timestamp, Value, View, visible_at},
    parallel::{for_each, thread_count},
};
use arrow_array::{Array, ArrayRef};
use std::{
    hint::black_box,
    num::NonZero,
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Rows whose winners so far are fetched from memory at once.
const STEP_ROWS: usize = 128;

/// The newest row of one entity.
#[derive(Clone, Debug, PartialEq)]
pub struct LatestRow {
    /// One part per join key.
    pub key: Vec<KeyPart>,
    /// When it was true, and when it became known.
    pub stamp: Stamp,
    /// One per feature of the view; `None` is null.
    pub cells: Vec<Option<Value>>,
}

/// The newest rows of a source, to be taken batch by batch.
#[derive(Debug)]
pub struct Latest<'a> {
    source: ViewSource<'a>,
    /// What each decoding reads, and how many of them there were.
    ahead: ReadAhead<'a>,
    decodings: usize,
    table: KeyTable,
    /// The order, the entity and the event of each winner; ascending.
    winners: Vec<(u64, u32, Timestamp)>,
    /// How many of them were handed out.
    taken: usize,
    /// The columns of some winners.
    decoded: Vec<ArrayRef>,
    /// When these became known; empty if no column tells.
    decoded_created: Vec<Option<Timestamp>>,
    /// Which winners.
    decoded_rows: Range<usize>,
    rows_read: u64,
    rows_skipped: u64,
    rows_ahead: u64,
    reads: Reads,
}

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
    let found = (0_u32..).zip(newest).filter_map(|(entity, winner)| {
        winner.found().map(|winner| (winner.order(), entity, winner.event()))
    });
    let mut winners: Vec<_> = found.collect();
    winners.sort_unstable();
    let orders: Vec<u64> = winners.iter().map(|(order, _, _)| *order).collect();
    let row_groups = wanted_by_row_group(&source, &orders);
    let row_groups = row_groups.iter().map(|(row_group, _)| *row_group);
    let ahead = ReadAhead::of_created(&source, row_groups, true, 1)?;
    Ok(Latest {
        ahead,
        decodings: 0,
        source,
        table,
        winners,
        taken: 0,
        decoded: Vec::new(),
        decoded_created: Vec::new(),
        decoded_rows: 0..0,
        rows_read: counts.rows_read,
        rows_skipped: counts.rows_skipped,
        rows_ahead: counts.rows_ahead,
        reads,
    })
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

#[derive(Default)]
struct Counts {
    rows_read: u64,
    rows_skipped: u64,
    rows_ahead: u64,
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
        let row_groups: Vec<_> =
            source.row_groups.iter().filter(|row_group| bounds.reach(source, row_group)).collect();
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

impl Latest<'_> {
    /// How many entities have a row in the window.
    pub fn entities(&self) -> usize {
        self.winners.len()
    }

    /// Rows of all files that were opened, for they may have some.
    pub fn rows_total(&self) -> u64 {
        self.source.rows()
    }

    /// Rows of the source that were looked at.
    pub fn rows_read(&self) -> u64 {
        self.rows_read
    }

    /// Rows among them without event timestamp, or without a part of the key.
    pub fn rows_skipped(&self) -> u64 {
        self.rows_skipped
    }

    /// Rows whose event lies behind the end of the window: a later window may show them.
    pub fn rows_ahead(&self) -> u64 {
        self.rows_ahead
    }

    /// Bytes read from files so far.
    pub fn bytes_read(&self) -> u64 {
        self.reads.bytes()
    }

    /// The rows of the next entities, at least one and at most `entities_max`; `None` after the
    /// last.
    pub fn next_batch(&mut self, entities_max: usize) -> Result<Option<Vec<LatestRow>>> {
        if self.taken >= self.winners.len() {
            return Ok(None);
        }
        if self.taken >= self.decoded_rows.end {
            self.decode()?;
        }
        let end = self.decoded_rows.end.min(self.taken.saturating_add(entities_max.max(1)));
        let rows: Option<Vec<LatestRow>> = (self.taken..end).map(|index| self.row(index)).collect();
        self.taken = end;
        // Winners, keys and columns were all counted when they were made.
        rows.map(Some).ok_or_else(|| Error::refused("an entity without its newest row"))
    }

    fn row(&self, index: usize) -> Option<LatestRow> {
        let (_, entity, event) = *self.winners.get(index)?;
        let row = index.checked_sub(self.decoded_rows.start)?;
        let stamp = Stamp::new(event, self.decoded_created.get(row).copied().flatten());
        let full = self.decoded.iter().all(|column| row < column.len());
        let cells = self.decoded.iter().map(|column| value_at(column, row)).collect();
        Some(LatestRow { key: self.table.key(entity)?, stamp, cells }).filter(|_| full)
    }

    /// Decodes the columns of the winners in the next row group that has some.
    fn decode(&mut self) -> Result<()> {
        let rest = self.winners.get(self.taken..).unwrap_or_default();
        let orders: Vec<u64> = rest.iter().map(|(order, _, _)| *order).collect();
        let groups = wanted_by_row_group(&self.source, &orders);
        let Some((row_group, wanted)) = groups.first() else {
            return Err(Error::refused("a row without its row group"));
        };
        let _fetched = self.ahead.begin(self.decodings)?;
        self.decodings += 1;
        let features = 0..self.source.types.len();
        let pieces = gather_rows(&self.source, row_group, wanted, features, &self.reads)?;
        let columns = pieces.iter().enumerate();
        let decoded: Result<Vec<ArrayRef>> =
            columns.map(|(feature, pieces)| join_pieces(&self.source, feature, pieces)).collect();
        let rows = self.taken..self.taken + wanted.len();
        if self.source.view.created_timestamp.is_some() {
            self.decoded_created = gather_created(&self.source, wanted, 1, &self.reads)?;
        }
        self.decoded = decoded?;
        self.decoded_rows = rows;
        Ok(())
    }
}
