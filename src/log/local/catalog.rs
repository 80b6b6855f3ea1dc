//! The segments of a running log: which records are where.
//!
//! Invariants
//! - Numbers and LSNs follow each other without a gap; only the last segment may be unsealed.
//! - Segments are added at the end and removed at the start.

use super::landmarks::Landmarks;
use crate::log::contract::{Lsn, SegmentInfo};
use parking_lot::Mutex;
use std::{path::PathBuf, sync::Arc};

/// A segment and where it is.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) info: SegmentInfo,
    pub(super) path: PathBuf,
    pub(super) landmarks: Arc<Landmarks>,
}

impl Entry {
    pub(super) fn new(info: SegmentInfo, path: PathBuf) -> Self {
        Self { info, path, landmarks: Arc::default() }
    }
}

/// All segments, oldest first.
#[derive(Debug)]
pub(super) struct Catalog {
    entries: Mutex<Vec<Entry>>,
}

impl Catalog {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        Self { entries: Mutex::new(entries) }
    }

    pub(super) fn infos(&self) -> Vec<SegmentInfo> {
        self.entries.lock().iter().map(|entry| entry.info).collect()
    }

    /// The LSN the log begins with, if it has a segment.
    pub(super) fn first_lsn(&self) -> Option<Lsn> {
        self.entries.lock().first().map(|entry| entry.info.base_lsn)
    }

    /// The segments with a record at or after `from`.
    pub(super) fn from(&self, from: Lsn) -> Vec<Entry> {
        let entries = self.entries.lock();
        entries.iter().filter(|entry| entry.info.last_lsn >= from).cloned().collect()
    }

    pub(super) fn add(&self, path: PathBuf, number: u64, base_lsn: Lsn, bytes: u64) {
        let info =
            SegmentInfo { number, base_lsn, last_lsn: base_lsn.previous(), bytes, sealed: false };
        self.entries.lock().push(Entry::new(info, path));
    }

    /// Changes what is known of the last segment.
    pub(super) fn update_last(&self, update: impl FnOnce(&mut SegmentInfo)) {
        if let Some(entry) = self.entries.lock().last_mut() {
            update(&mut entry.info);
        }
    }

    /// The oldest segment, if it may go: sealed, all before `to`.
    pub(super) fn removable(&self, to: Lsn) -> Option<Entry> {
        let entries = self.entries.lock();
        let oldest = entries.first()?;
        let info = oldest.info;
        let may_go = info.sealed && info.last_lsn < to;
        // The newest stays: it tells the next process where the log stands.
        (may_go && entries.len() > 1).then(|| oldest.clone())
    }

    /// Forgets the oldest segment if it is this one.
    pub(super) fn forget(&self, number: u64) {
        let mut entries = self.entries.lock();
        if entries.first().is_some_and(|oldest| oldest.info.number == number) {
            entries.remove(0);
        }
    }
}
