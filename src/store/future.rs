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
#[derive(Debug)]
pub(super) struct Future {
    waiting: Mutex<BTreeMap<(Timestamp, u64, usize), CellsWrite>>,
    /// The first event timestamp among them, to be asked without a lock.
    next_us: AtomicI64,
}

impl Default for Future {
    fn default() -> Self {
        Self { waiting: Mutex::default(), next_us: AtomicI64::new(i64::MAX) }
    }
}

impl Future {
    /// Keeps `write`, of record `lsn`, until its time has come.
    pub(super) fn keep(&self, lsn: u64, write: CellsWrite) {
        let mut waiting = self.waiting.lock();
        let place = (write.stamp.event, lsn, waiting.len());
        waiting.insert(place, write);
        self.note_next(&waiting);
    }

    /// Whether something's time has come. Cheap: the hot path asks with every batch.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.next_us.load(Ordering::Acquire) <= now.us()
    }

    /// Hands to `admit` everything whose time has come, in order. The lock is held throughout, so
    /// that of two callers the second returns only when everything due is admitted.
    pub(super) fn admit_due(&self, now: Timestamp, mut admit: impl FnMut(u64, CellsWrite)) {
        let mut waiting = self.waiting.lock();
        while let Some(first) = waiting.first_entry().filter(|first| first.key().0 <= now) {
            let lsn = first.key().1;
            admit(lsn, first.remove());
        }
        self.note_next(&waiting);
    }

    /// Forgets what was written before record `lsn`.
    pub(super) fn flush(&self, lsn: u64) {
        let mut waiting = self.waiting.lock();
        waiting.retain(|(_, written_by, _), _| *written_by > lsn);
        self.note_next(&waiting);
    }

    /// Everything that waits, with the record that wrote it.
    pub(super) fn all(&self) -> Vec<(u64, CellsWrite)> {
        self.waiting.lock().iter().map(|((_, lsn, _), write)| (*lsn, write.clone())).collect()
    }

    fn note_next(&self, waiting: &BTreeMap<(Timestamp, u64, usize), CellsWrite>) {
        let next = waiting.first_key_value().map_or(Timestamp::MAX, |((event, ..), _)| *event);
        self.next_us.store(next.us(), Ordering::Release);
    }
}
