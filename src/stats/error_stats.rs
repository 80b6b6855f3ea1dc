//! How many replies were errors, by their first word.

use super::counter::Counter;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// No more words than this are counted apart. A word is one of this program's own, never a
/// client's, so a server meets far fewer.
const CODES_MAX: usize = 128;

/// Error replies.
#[derive(Debug, Default)]
pub struct ErrorStats {
    total: Counter,
    by_code: Mutex<BTreeMap<&'static str, u64>>,
}

impl ErrorStats {
    /// Counts a reply `-CODE ...`.
    pub fn count(&self, code: &'static str) {
        self.total.increment();
        let mut by_code = self.by_code.lock();
        if by_code.len() < CODES_MAX || by_code.contains_key(code) {
            *by_code.entry(code).or_default() += 1;
        }
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.total.get()
    }

    /// Each code that was met, in alphabetical order, and how often.
    pub fn by_code(&self) -> Vec<(&'static str, u64)> {
        self.by_code.lock().iter().map(|(code, count)| (*code, *count)).collect()
    }

    /// From the beginning.
    pub fn reset(&self) {
        self.total.reset();
        self.by_code.lock().clear();
    }
}
