//! What is told of an entity that was forgotten.

use crate::{
    feature::{KeyMark, Timestamp},
    log::Lsn,
};

/// That an entity was forgotten, and what was erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Stands for its key from here on.
    pub mark: KeyMark,
    /// When.
    pub at: Timestamp,
    /// The record that says so.
    pub lsn: Lsn,
    /// Whether there was anything about it in memory.
    pub was_online: bool,
    /// What was erased.
    pub erased: Erased,
}

/// What was erased from files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Rows of the history.
    pub history_rows: u64,
    /// Files of the history that were written anew, or are gone.
    pub history_files: u64,
    /// Files that earlier starts had set aside: they may tell of anybody, and are gone.
    pub aside_files: u64,
    /// The first record that the log still has.
    pub log_first: Lsn,
}
