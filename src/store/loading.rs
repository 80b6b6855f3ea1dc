//! How far the opening of a store is, for whoever waits for it.
//!
//! Invariants
//! - Written by the threads that load, read by others at any time; it only grows.

use crate::feature::Timestamp;
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// How far the opening of a store is.
#[derive(Debug)]
pub struct LoadProgress {
    /// When it began, by the clock of the store.
    pub started_at: Timestamp,
    started: Instant,
    is_over: AtomicBool,
    /// The newest snapshot, in rows.
    pub snapshot: LoadPart,
    /// The log behind it, in records.
    pub log: LoadPart,
}

/// How far one part of it is.
#[derive(Debug, Default)]
pub struct LoadPart {
    bytes: AtomicU64,
    count: AtomicU64,
    done: AtomicU64,
}

impl LoadPart {
    /// It has so many rows or records, in so many bytes.
    pub(super) fn begin(&self, count: u64, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.count.store(count, Ordering::Relaxed);
    }

    /// So many more rows or records are done.
    pub(super) fn add(&self, count: u64) {
        self.done.fetch_add(count, Ordering::Relaxed);
    }

    /// The rows or records done so far.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// The bytes it has on the disk.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many of its bytes are done, as the share of its rows or records that are.
    pub fn bytes_done(&self) -> u64 {
        let (bytes, count) = (self.bytes(), self.count.load(Ordering::Relaxed));
        let share = u128::from(bytes) * u128::from(self.done().min(count));
        share.checked_div(u128::from(count)).map_or(0, |done| done as u64)
    }
}

impl LoadProgress {
    /// Nothing is done at `now`.
    pub(super) fn from_start(now: Timestamp) -> Self {
        Self {
            started_at: now,
            started: Instant::now(),
            is_over: AtomicBool::new(false),
            snapshot: LoadPart::default(),
            log: LoadPart::default(),
        }
    }

    /// All is loaded.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// Whether all is loaded.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// How long ago it began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The bytes of all parts that are known by now, and how many of them are done.
    pub fn bytes(&self) -> (u64, u64) {
        let parts = [&self.snapshot, &self.log];
        let total = parts.iter().map(|part| part.bytes()).sum();
        (parts.iter().map(|part| part.bytes_done()).sum(), total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_done_by_the_share_of_what_they_hold() {
        let progress = LoadProgress::from_start(Timestamp(0));
        assert_eq!(progress.bytes(), (0, 0));
        progress.snapshot.begin(10, 1000);
        progress.snapshot.add(10);
        progress.log.begin(4, 600);
        progress.log.add(1);
        assert_eq!(progress.bytes(), (1150, 1600));
        progress.log.add(9);
        assert_eq!(progress.bytes(), (1600, 1600), "never more than there are");
        assert!(!progress.is_over());
    }
}
