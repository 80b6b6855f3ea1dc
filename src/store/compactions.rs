//! Whether the history is being compacted, who may, and what was found that cannot be.

use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// The turn to compact the history.
#[derive(Debug, Default)]
pub(super) struct Compactions {
    /// Held by whoever compacts, and by whoever keeps others from it; the names of files that were
    /// found damaged, and are left as they are until the next start.
    turn: Mutex<HashSet<String>>,
    /// How many wait for the one that is running to end.
    stops: AtomicUsize,
    is_running: AtomicBool,
}

/// A compaction that is running, until it is dropped.
pub(super) struct Running<'a> {
    of: &'a Compactions,
    pub(super) left_out: MutexGuard<'a, HashSet<String>>,
}

impl Compactions {
    /// Begins one; `None` if one is running, or none may.
    pub(super) fn begin(&self) -> Option<Running<'_>> {
        let left_out = self.turn.try_lock()?;
        self.is_running.store(true, Ordering::Relaxed);
        Some(Running { of: self, left_out })
    }

    /// Ends the one that is running, and lets none begin as long as this is held.
    pub(super) fn stop(&self) -> impl Drop {
        self.stops.fetch_add(1, Ordering::SeqCst);
        let turn = self.turn.lock();
        self.stops.fetch_sub(1, Ordering::SeqCst);
        turn
    }

    /// Whether the one that is running is to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.stops.load(Ordering::SeqCst) > 0
    }

    /// Whether nobody has the turn.
    pub(super) fn is_free(&self) -> bool {
        !self.turn.is_locked()
    }

    /// Whether one is running.
    pub(super) fn is_running(&self) -> bool {
        self.is_running.load(Ordering::Relaxed)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.of.is_running.store(false, Ordering::Relaxed);
    }
}
