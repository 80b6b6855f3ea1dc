//! What is counted of one command or subcommand.

use super::{counter::Counter, histogram::Histogram};

/// The counters of one command or subcommand.
#[derive(Debug, Default)]
pub struct CommandStats {
    /// `get`, or `config|get`.
    pub name: &'static str,
    /// How long each call took, its wait for the disk aside, if that is tracked.
    pub latency: Histogram,
    untracked_calls: Counter,
    untracked_ns: Counter,
    /// Calls that ended in an error.
    pub failed: Counter,
    /// Requests refused before they were called.
    pub rejected: Counter,
}

impl CommandStats {
    /// Counters of the command `name`.
    pub fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    /// Counts a call that took `ns`.
    #[inline]
    pub fn call(&self, ns: u64, is_tracked: bool) {
        if is_tracked {
            return self.latency.record_ns(ns);
        }
        self.untracked_calls.increment();
        self.untracked_ns.add(ns);
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.latency.count() + self.untracked_calls.get()
    }

    /// How long all of them took.
    pub fn total_ns(&self) -> u64 {
        self.latency.sum_ns() + self.untracked_ns.get()
    }

    /// Whether there was any request for it.
    pub fn is_used(&self) -> bool {
        self.calls() + self.failed.get() + self.rejected.get() > 0
    }

    /// From the beginning.
    pub fn reset(&self) {
        self.latency.reset();
        self.untracked_calls.reset();
        self.untracked_ns.reset();
        self.failed.reset();
        self.rejected.reset();
    }
}
