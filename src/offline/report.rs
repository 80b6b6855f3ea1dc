//! What a join tells of itself: how far it is, and what it read and found.

use super::answers::FeatureCounts;

/// What a join is doing: one after the other, for each view, but that the last two take turns where
/// many rows are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It sorts the spine by entity and time.
    Group,
    /// It looks for the winning rows, by keys and times.
    Scan,
    /// It decodes features of winning rows.
    Gather,
    /// It brings values to the rows of the spine.
    Fill,
}

/// What a join read and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinReport {
    /// Rows of the spine, and of the result.
    pub rows: u64,
    /// Files of all sources.
    pub files: u64,
    /// Row groups whose keys and times were read.
    pub row_groups: u64,
    /// Row groups that by their statistics hold no answer.
    pub row_groups_skipped: u64,
    /// Rows in them.
    pub rows_scanned: u64,
    /// Rows among them that can never be seen: without event timestamp, or a part of the key.
    pub rows_skipped: u64,
    /// Rows whose features were decoded because a row of the spine sees them.
    pub winners: u64,
    /// Bytes read from files.
    pub bytes: u64,
    /// One per feature, in the order of the columns.
    pub features: Vec<FeatureCounts>,
}
