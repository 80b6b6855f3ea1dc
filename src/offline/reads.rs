//! What a query read of files, counted by all its threads, and how far it is.

use super::phase_progress::PhaseProgress;
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// How much was read so far.
#[derive(Debug, Default)]
pub(super) struct Reads {
    bytes: Arc<AtomicU64>,
    pages: AtomicU64,
    pages_skipped: AtomicU64,
    scan: Mutex<Arc<PhaseProgress>>,
}

impl Reads {
    /// The search of another view is about to begin; how far it is can be seen there.
    pub(super) fn next_scan(&self) -> Arc<PhaseProgress> {
        let next: Arc<PhaseProgress> = Arc::default();
        *self.scan.lock() = Arc::clone(&next);
        next
    }

    /// How far the search is that goes on.
    pub(super) fn scan(&self) -> Arc<PhaseProgress> {
        Arc::clone(&self.scan.lock())
    }

    /// Where a file adds the bytes that are read of it.
    pub(super) fn counter(&self) -> &Arc<AtomicU64> {
        &self.bytes
    }

    /// Adds pages that were decompressed, and pages that were passed over within their column
    /// chunk.
    pub(super) fn add_pages(&self, read: u64, skipped: u64) {
        self.pages.fetch_add(read, Ordering::Relaxed);
        self.pages_skipped.fetch_add(skipped, Ordering::Relaxed);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn pages(&self) -> u64 {
        self.pages.load(Ordering::Relaxed)
    }

    pub(super) fn pages_skipped(&self) -> u64 {
        self.pages_skipped.load(Ordering::Relaxed)
    }
}
