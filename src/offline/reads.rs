//! What a query read of files, counted by all its threads, and how far it is.

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
    scan: Arc<ScanProgress>,
}

/// How far the search for the winning rows of a view is. Whoever holds it may look from any thread.
#[derive(Debug, Default)]
pub struct ScanProgress {
    row_groups: AtomicU64,
    row_groups_total: AtomicU64,
}

impl ScanProgress {
    /// Row groups whose keys and times were read.
    pub fn row_groups(&self) -> u64 {
        self.row_groups.load(Ordering::Relaxed)
    }

    /// Row groups that may hold an answer; 0 until that is known.
    pub fn row_groups_total(&self) -> u64 {
        self.row_groups_total.load(Ordering::Relaxed)
    }

    /// So many row groups will be read.
    pub(super) fn begin(&self, row_groups: usize) {
        self.row_groups.store(0, Ordering::Relaxed);
        self.row_groups_total.store(row_groups as u64, Ordering::Relaxed);
    }

    /// One more is read.
    pub(super) fn advance(&self) {
        self.row_groups.fetch_add(1, Ordering::Relaxed);
    }
}

impl Reads {
    /// The search of another view is about to begin; how far it is can be seen there.
    pub(super) fn next_scan(&self) -> Arc<ScanProgress> {
        self.scan.begin(0);
        Arc::clone(&self.scan)
    }

    /// How far the search is that goes on.
    pub(super) fn scan(&self) -> &ScanProgress {
        &self.scan
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
