//! What is known of the snapshots of a store: the last one, and whether one is being written.

use crate::{feature::Timestamp, log::Lsn};

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

/// The last checkpoint, and whether one is being written.
#[derive(Debug)]
pub(super) struct Checkpoints {
    pub(super) last: Checkpoint,
    pub(super) is_running: bool,
}
