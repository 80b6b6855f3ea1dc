//! Why the store did not give what was asked.

use std::{error::Error as StdError, fmt};

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In words.
    pub why: String,
    /// Whether there is no such thing.
    pub is_missing: bool,
}

impl StdError for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Failure {
    /// One that this room knows in its own words.
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_missing: false }
    }
}
