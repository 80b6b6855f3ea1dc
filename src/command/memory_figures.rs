//! The figures of memory that INFO and MEMORY STATS tell.
//!
//! The bytes are those of the table: what its rows hold, counted as they change, and the slots they
//! stand in. What the process holds besides (buffers, log, definitions, the allocator's own) is in
//! what the kernel tells of it.

use super::{context::Context, process::resident_bytes};
use crate::online::Seen;

/// How much memory there is of what.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemoryFigures {
    /// Rows and slots.
    pub(super) used: usize,
    /// The most there ever was of that, as far as anybody looked.
    pub(super) peak: usize,
    /// Slots, free ones too.
    pub(super) overhead: usize,
    /// Rows: keys, values and what says which is which.
    pub(super) dataset: usize,
    /// How many keys have a value.
    pub(super) keys: usize,
    /// What the process holds, by the kernel.
    pub(super) resident: usize,
}

impl MemoryFigures {
    /// The figures of this moment.
    pub(super) fn now(ctx: &Context<'_>) -> Self {
        let used = ctx.keyspace.memory_bytes();
        let dataset = ctx.keyspace.row_bytes().min(used);
        ctx.app.stats.peak_rows_bytes.raise_to(used as u64);
        Self {
            used,
            peak: ctx.app.stats.peak_rows_bytes.get() as usize,
            overhead: used - dataset,
            dataset,
            keys: ctx.keyspace.live_rows(Seen::Published),
            resident: resident_bytes(),
        }
    }

    /// Rows in per cent of all.
    pub(super) fn dataset_percent(&self) -> f64 {
        percent(self.dataset, self.used)
    }

    /// What is used in per cent of the most that was.
    pub(super) fn peak_percent(&self) -> f64 {
        percent(self.used, self.peak)
    }

    /// How many times the used bytes the process holds.
    pub(super) fn fragmentation(&self) -> f64 {
        percent(self.resident, self.used) / 100.0
    }

    /// What the process holds besides the used bytes.
    pub(super) fn fragmentation_bytes(&self) -> i64 {
        self.resident as i64 - self.used as i64
    }

    pub(super) fn bytes_per_key(&self) -> usize {
        self.used.checked_div(self.keys).unwrap_or(0)
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
