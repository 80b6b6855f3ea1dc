//! What is known of the snapshots of a store: the last one, and how far one is that is being
//! written.

use crate::{feature::Timestamp, log::Lsn};
use std::time::{Duration, Instant};

/// A snapshot that was written, or failed.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint {
    /// When.
    pub time: Timestamp,
    /// Everything up to this record is in it.
    pub lsn: Lsn,
    /// Whether the last attempt went well.
    pub is_ok: bool,
}

/// How far a snapshot is that is being written.
#[derive(Clone, Copy, Debug)]
pub struct CheckpointProgress {
    /// When it began.
    pub started: Instant,
    /// The rows written so far.
    pub rows_written: u64,
    /// The rows there were when it began.
    pub rows_total: u64,
}

/// What came after the last snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinceCheckpoint {
    /// How long ago it was written; if none was since the start, how long ago that was.
    pub elapsed: Duration,
    /// How long ago the last attempt was, if it failed.
    pub failed: Option<Duration>,
    /// Records of the log.
    pub records: u64,
    /// The bytes of the log that hold them, about.
    pub log_bytes: u64,
}

/// The last checkpoint, and the one that is being written.
#[derive(Debug)]
pub(super) struct Checkpoints {
    pub(super) last: Checkpoint,
    pub(super) running: Option<CheckpointProgress>,
    /// When the last one was written, or the store was opened.
    pub(super) written: Instant,
    /// When the last one ended, if it failed.
    pub(super) failed: Option<Instant>,
}

impl Checkpoints {
    /// There was none before `now`.
    pub(super) fn none_before(now: Timestamp) -> Self {
        let last = Checkpoint { time: now, lsn: Lsn(0), is_ok: true };
        Self { last, running: None, written: Instant::now(), failed: None }
    }

    /// Notes how the one ended that was being written.
    pub(super) fn end(&mut self, written: Option<Checkpoint>) {
        self.running = None;
        match written {
            Some(checkpoint) => {
                self.last = checkpoint;
                self.written = Instant::now();
                self.failed = None;
            }
            None => {
                self.last.is_ok = false;
                self.failed = Some(Instant::now());
            }
        }
    }
}
