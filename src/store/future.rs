//! Cells whose event lies ahead of the clock, kept aside until their time has come.
//!
//! The online table holds one cell per feature. A cell that may not be seen yet must not push out
//! the one that may, or a read at `t` would answer other than a training row at `t`.

use crate::feature::{CellsWrite, Timestamp};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicI64, Ordering},
};

/// Cells ahead of the clock, by event timestamp and arrival.
///
/// Locks: a writer keeps cells while it holds shards, so whoever holds `waiting` takes no shard;
/// whoever admits takes shards, and holds only `admitting` meanwhile.
#[derive(Debug)]
pub(super) struct Future {
    waiting: Mutex<Waiting>,
    admitting: Mutex<()>,
    /// The first event timestamp among them, to be asked without a lock.
    next_us: AtomicI64,
}

#[derive(Debug, Default)]
struct Waiting {
    cells: BTreeMap<Place, CellsWrite>,
    kept_count: u64,
}

/// Event timestamp, record, and the order of arrival, which no two share.
type Place = (Timestamp, u64, u64);

impl Default for Future {
    fn default() -> Self {
        let next_us = AtomicI64::new(i64::MAX);
        Self { waiting: Mutex::default(), admitting: Mutex::default(), next_us }
    }
}

impl Future {
    /// Keeps `write`, of record `lsn`, until its time has come.
    pub(super) fn keep(&self, lsn: u64, write: CellsWrite) {
        let mut waiting = self.waiting.lock();
        waiting.kept_count += 1;
        let place = (write.stamp.event, lsn, waiting.kept_count);
        waiting.cells.insert(place, write);
        self.note_next(&waiting);
    }

    /// Whether something's time has come. Cheap: the hot path asks with every batch.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.next_us.load(Ordering::Acquire) <= now.us()
    }

    /// Hands to `admit` everything whose time has come, in order. One at a time, so that of two
    /// callers the second returns only when everything due is admitted. Cells stay here until they
    /// are: whoever looks here and then at the table misses none.
    pub(super) fn admit_due(&self, now: Timestamp, mut admit: impl FnMut(u64, &CellsWrite)) {
        let _one_at_a_time = self.admitting.lock();
        while let Some((place, write)) = self.first_due(now) {
            admit(place.1, &write);
            let mut waiting = self.waiting.lock();
            waiting.cells.remove(&place);
            self.note_next(&waiting);
        }
    }

    fn first_due(&self, now: Timestamp) -> Option<(Place, CellsWrite)> {
        let waiting = self.waiting.lock();
        let first = waiting.cells.first_key_value().filter(|((event, ..), _)| *event <= now);
        first.map(|(place, write)| (*place, write.clone()))
    }

    /// Forgets what was written before record `lsn`.
    pub(super) fn flush(&self, lsn: u64) {
        let mut waiting = self.waiting.lock();
        waiting.cells.retain(|(_, written_by, _), _| *written_by > lsn);
        self.note_next(&waiting);
    }

    /// Forgets what was written about `key` before record `lsn`.
    pub(super) fn forget(&self, key: &[u8], lsn: u64) {
        let mut waiting = self.waiting.lock();
        let stays = |written_by: u64, write: &CellsWrite| written_by > lsn || write.key != key;
        waiting.cells.retain(|(_, written_by, _), write| stays(*written_by, write));
        self.note_next(&waiting);
    }

    /// Whether anything waits for `key`.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.waiting.lock().cells.values().any(|write| write.key == key)
    }

    /// Everything that waits, with the record that wrote it.
    pub(super) fn all(&self) -> Vec<(u64, CellsWrite)> {
        let waiting = self.waiting.lock();
        waiting.cells.iter().map(|((_, lsn, _), write)| (*lsn, write.clone())).collect()
    }

    fn note_next(&self, waiting: &Waiting) {
        let first = waiting.cells.first_key_value();
        let next = first.map_or(Timestamp::MAX, |((event, ..), _)| *event);
        self.next_us.store(next.us(), Ordering::Release);
    }
}

#[cfg(test)]
impl Future {
    /// Lets nothing be kept until the guard is dropped.
    pub(super) fn hold(&self) -> impl Drop + '_ {
        self.waiting.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::{Origin, Stamp, ViewId};

    fn write(event: i64) -> CellsWrite {
        CellsWrite {
            key: b"user:1".to_vec(),
            view: ViewId(0),
            generation: 1,
            stamp: Stamp::new(Timestamp(event), None),
            origin: Origin::Pushed,
            cells: Vec::new(),
        }
    }

    #[test]
    fn rows_of_one_record_are_all_kept_while_others_are_admitted() {
        let future = Future::default();
        future.keep(1, write(5));
        future.keep(2, write(9));
        future.admit_due(Timestamp(5), |_, _| {});
        future.keep(2, write(9));
        assert_eq!(future.all().len(), 2);
    }

    /// A writer that keeps a cell holds its shard, and an admission may wait for that shard.
    #[test]
    fn keeping_a_cell_never_waits_for_an_admission() {
        let future = Future::default();
        future.keep(1, write(5));
        future.admit_due(Timestamp(5), |_, _| future.keep(2, write(9)));
        assert_eq!(future.all().iter().map(|(lsn, _)| *lsn).collect::<Vec<_>>(), [2]);
    }
}
