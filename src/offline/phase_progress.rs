//! How far a phase of a join is.

use std::sync::atomic::{AtomicU64, Ordering};

/// How far a phase is: in row groups where files of a source are searched, in files where what
/// clients pushed is looked through. Whoever holds it may look from any thread.
#[derive(Debug, Default)]
pub struct PhaseProgress {
    done: AtomicU64,
    total: AtomicU64,
}

impl PhaseProgress {
    /// How many are done.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// How many there are to do; 0 until that is known.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// So many there are to do, from the first one on.
    pub fn begin(&self, total: usize) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total as u64, Ordering::Relaxed);
    }

    /// One more is done.
    pub fn advance(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}
