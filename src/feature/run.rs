//! One run of materialization: what it read, what it wrote, how it ended.

use super::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A source file as a run met it. The list of these is the cursor: what was read, never a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileStamp {
    /// The path as it was opened.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last changed, in ns since 1970: two writes within a µs must not look alike.
    pub modified_ns: i64,
    /// How many row groups it has; 0 if the run did not have to open it.
    pub row_groups: u32,
}

impl FileStamp {
    /// Whether the file is as it was: its row groups are not known before it is opened.
    pub fn is_same_file(&self, other: &Self) -> bool {
        let of = |stamp: &Self| (stamp.bytes, stamp.modified_ns);
        self.path == other.path && of(self) == of(other)
    }
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunState {
    /// It reads or writes.
    Running,
    /// Everything it read is in the online store.
    Done,
    /// It stopped, and why; what it wrote stays, and writing it again is harmless.
    Failed(String),
}

/// A run of one view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Counts up over all runs of the store.
    pub id: u64,
    /// The view, by name.
    pub view: String,
    /// The version of its definition.
    pub version: u32,
    /// The generation its rows were written to.
    pub generation: u32,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; `None` while it runs.
    pub finished: Option<Timestamp>,
    /// Only events at or after this were wanted, if given.
    pub from: Option<Timestamp>,
    /// Only events at or before this were wanted.
    pub to: Timestamp,
    /// Rows of those files of the source that may have some for the run.
    pub rows_total: u64,
    /// Rows of the source that were looked at.
    pub rows_read: u64,
    /// Rows whose event lies after `to`: with one of these, the same files are read again later.
    pub rows_ahead: u64,
    /// Bytes of the files that were looked at.
    pub bytes_read: u64,
    /// Entities whose row changed.
    pub entities_written: u64,
    /// Entities whose row was as new already.
    pub entities_unchanged: u64,
    /// How far it is.
    pub state: RunState,
    /// The files of the source as it found them.
    pub files: Vec<FileStamp>,
}
