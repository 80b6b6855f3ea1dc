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
    best_rows::BestRows,
    held_rows::HeldRows,
    keys::{DictionaryCache, KeyTable, UNKNOWN},
    prune::Bounds,
    rank::{Newest, Rank, Winner},
    read_ahead::ReadAhead,
    reads::Reads,
    scan::{KeysAndTimes, in_column, scan_row_group},
    slots::Slots,
    source::{RowGroup, ViewSource},
    ties::{Ties, settle},
};
use crate::{
    error::{Error, Result},
    feature::Timestamp,
    parallel::for_each,
};
use arrow_array::Array;
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
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
    pub(super) table: Arc<KeyTable>,
    pub(super) slots: Slots,
}

impl Group {
    /// What the spine asks for: `None` if that is nothing.
    pub(super) fn bounds(&self, known_by: KnownBy) -> Option<Bounds<'_>> {
        let to = self.slots.last_time()?;
        let bounds = Bounds::new(Some(&self.table), Timestamp::MIN, to);
        Some(bounds.created(known_by == KnownBy::Arrival))
    }
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    pub(super) files_skipped: u64,
    pub(super) row_groups: u64,
    pub(super) row_groups_skipped: u64,
    pub(super) rows: u64,
    pub(super) rows_skipped: u64,
}

/// The winning row for every slot, TTL aside; of each also its created timestamp.
pub(super) fn find_winners(
    source: &ViewSource<'_>,
    group: &Group,
    bounds: Option<&Bounds<'_>>,
    known_by: KnownBy,
    threads: usize,
    reads: &Reads,
) -> Result<(Vec<Winner>, Scanned)> {
    if known_by == KnownBy::Arrival && source.view.created_timestamp.is_none() {
        return Err(Error::refused(format!(
            "view {} has no created_timestamp: known_by = arrival cannot tell when its rows became \
             known",
            source.view.name
        )));
    }
    let search = Search { source, group, bounds, known_by, with_created: true, threads, reads };
    let (mut winners, _, scanned) = search.run()?;
    carry_forward(&mut winners, &group.slots, threads)?;
    Ok((winners, scanned))
}

/// The winning row for every slot by event, TTL aside. Created timestamps are read for those rows
/// only that have the entity and the event of another one.
pub(super) fn find_newest(
    source: &ViewSource<'_>,
    group: &Group,
    bounds: Option<&Bounds<'_>>,
    threads: usize,
    reads: &Reads,
) -> Result<(Vec<Newest>, Scanned)> {
    let known_by = KnownBy::Event;
    let search = Search { source, group, bounds, known_by, with_created: false, threads, reads };
    let (mut winners, ties, scanned): (Vec<Newest>, _, _) = search.run()?;
    let Some(ties) = ties else {
        // What the pass that was given up had seen depends on when its threads heard of that.
        let (all, scanned) = find_winners(source, group, bounds, known_by, threads, reads)?;
        let newest = |winner: Winner| Newest::new(winner.stamp.event, None, winner.order);
        return Ok((all.into_iter().map(newest).collect(), scanned));
    };
    if source.view.created_timestamp.is_some() {
        settle(source, &mut winners, ties, threads, reads)?;
    }
    carry_forward(&mut winners, &group.slots, threads)?;
    Ok((winners, scanned))
}

/// One pass over keys and times.
struct Search<'a, 'b> {
    source: &'a ViewSource<'b>,
    group: &'a Group,
    /// `None` if the spine asks for nothing.
    bounds: Option<&'a Bounds<'a>>,
    known_by: KnownBy,
    with_created: bool,
    threads: usize,
    reads: &'a Reads,
}

impl Search<'_, '_> {
    /// The winning row of each slot, not carried forward yet, and the ties; `None` if there are
    /// too many of them, and then not all was read.
    fn run<R: Rank>(&self) -> Result<(Vec<R>, Option<Ties>, Scanned)> {
        let Self { source, group, .. } = self;
        let by_arrival = self.known_by == KnownBy::Arrival;
        let Some(bounds) = self.bounds else {
            return Ok((Vec::new(), Some(Ties::default()), Scanned::default()));
        };
        let row_groups = bounds.row_groups(source, self.threads, self.reads)?;
        let best = BestRows::new(&group.slots, self.has_created(), self.threads)?;
        let is_too_many = AtomicBool::new(false);
        let ahead = ReadAhead::of_keys(source, &row_groups, self.with_created, self.threads)?;
        let progress = self.reads.scan();
        progress.begin(row_groups.len());
        let state = || Scan::new(&best);
        let scans = for_each(self.threads, row_groups.len(), state, |scan, item| {
            let Some(row_group) = row_groups.get(item) else { return Ok(()) };
            if is_too_many.load(Ordering::Relaxed) {
                return Ok(());
            }
            let _fetched = ahead.begin(item)?;
            scan_row_group(source, row_group, bounds, self.with_created, self.reads, |batch| {
                let added = scan.add(&group.table, &best, batch, by_arrival);
                let too_many = added.map_err(|why| why.named(source, row_group))?;
                is_too_many.fetch_or(too_many, Ordering::Relaxed);
                Ok(())
            })?;
            progress.advance();
            Ok(())
        })?;
        let scans: Vec<Mutex<Scan>> = scans.into_iter().map(Mutex::new).collect();
        for_each(
            self.threads,
            scans.len(),
            || (),
            |(), thread| {
                let many = scans.get(thread).is_some_and(|scan| best.flush(&mut scan.lock().held));
                is_too_many.fetch_or(many, Ordering::Relaxed);
                Ok(())
            },
        )?;
        let sum = |count: fn(&Scan) -> u64| scans.iter().map(|scan| count(&scan.lock())).sum();
        let (all, read) = (source.row_groups.len() as u64, row_groups.len() as u64);
        let scanned = Scanned {
            files_skipped: source.files_skipped,
            row_groups: read,
            row_groups_skipped: all - read,
            rows: sum(|scan| scan.rows),
            rows_skipped: sum(|scan| scan.rows_skipped),
        };
        let (winners, ties) = best.finish(self.threads)?;
        let ties = (!is_too_many.into_inner()).then_some(ties);
        Ok((winners, ties, scanned))
    }

    /// Whether there is something that settles ties.
    fn has_created(&self) -> bool {
        self.source.view.created_timestamp.is_some()
    }
}

fn carry_forward<R: Rank>(winners: &mut [R], slots: &Slots, threads: usize) -> Result<()> {
    slots.for_parts(threads, winners, |entities, mut winners| {
        for entity in entities {
            let mut best = R::NONE;
            let own = winners.split_off_mut(..slots.range(entity).len());
            for winner in own.into_iter().flatten() {
                best = best.max(*winner);
                *winner = best;
            }
        }
    })
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

/// What one thread reads rows with.
struct Scan {
    entities: Vec<u32>,
    caches: Vec<DictionaryCache>,
    held: HeldRows,
    rows: u64,
    rows_skipped: u64,
}

impl Scan {
    fn new(best: &BestRows<'_, impl Rank>) -> Self {
        Self {
            entities: Vec::new(),
            caches: Vec::new(),
            held: best.held(),
            rows: 0,
            rows_skipped: 0,
        }
    }

    /// Brings the rows of a batch to `best`. Tells whether there are too many ties.
    fn add<R: Rank>(
        &mut self,
        table: &KeyTable,
        best: &BestRows<'_, R>,
        batch: &KeysAndTimes,
        by_arrival: bool,
    ) -> Result<bool, Refusal> {
        let found = table.find(&batch.keys, &mut self.caches, &mut self.entities);
        found.map_err(Refusal::Keys)?;
        self.rows += batch.events.len() as u64;
        let usable = batch.usable();
        if let Some(usable) = &usable {
            self.rows_skipped += usable.null_count() as u64;
            for (entity, usable) in self.entities.iter_mut().zip(usable) {
                *entity = if usable { *entity } else { UNKNOWN };
            }
        }
        let Some(created) = &batch.created else {
            let events = batch.events.values();
            return Ok(best.add_events(&self.entities, events, batch.first_order, &mut self.held));
        };
        let usable = |row| usable.as_ref().is_none_or(|usable| usable.is_valid(row));
        if by_arrival && (0..created.len()).any(|row| created.is_null(row) && usable(row)) {
            return Err(Refusal::NotCreated);
        }
        let created = |row| created.is_valid(row).then(|| Timestamp(created.value(row)));
        let event = |row| Timestamp(batch.events.value(row));
        let known = |row: usize| match created(row) {
            Some(created) if by_arrival => created.us().max(event(row).us()),
            _ => event(row).us(),
        };
        let candidate =
            |row: usize| R::new(event(row), created(row), batch.first_order + row as u64);
        Ok(best.add(&self.entities, known, candidate, &mut self.held))
    }
}
