//! How far a phase of a join is.

use parking_lot::Mutex;

/// How far a phase is: in row groups where files of a source are searched, in files where what
/// clients pushed is looked through. Whoever holds it may look from any thread.
#[derive(Debug, Default)]
pub struct PhaseProgress(Mutex<(u64, u64)>);

impl PhaseProgress {
    /// How many are done, and how many there are to do: none until that is known.
    pub fn done_of(&self) -> (u64, u64) {
        *self.0.lock()
    }

    /// So many there are to do, from the first one on.
    pub fn begin(&self, total: usize) {
        *self.0.lock() = (0, total as u64);
    }

    /// One more is done.
    pub fn advance(&self) {
        self.0.lock().0 += 1;
    }
}
