//! What a query read of files, counted by all its threads.

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
}

impl Reads {
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
