//! What is counted of one command or subcommand.

use super::{counter::Counter, histogram::Histogram};

/// The counters of one command or subcommand.
#[derive(Debug, Default)]
pub struct CommandStats {
    /// `get`, or `config|get`.
    pub name: &'static str,
    /// How long each call took, its wait for the disk aside.
    pub latency: Histogram,
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

    /// Whether there was any request for it.
    pub fn is_used(&self) -> bool {
        self.latency.count() + self.failed.get() + self.rejected.get() > 0
    }

    /// From the beginning.
    pub fn reset(&self) {
        self.latency.reset();
        self.failed.reset();
        self.rejected.reset();
    }
}
