//! What a snapshot holds besides rows, in its meta file.

use crate::feature::{CellsWrite, Change, KeyMark, Mark, Timestamp};
use serde::{Deserialize, Serialize};

/// What a snapshot holds besides rows. New variants go to the end.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum MetaEntry {
    /// When it was written, by the clock of the store: when that began, and at the end once more,
    /// since a row may show what may be seen only from then on.
    Clock(Timestamp),
    /// A change that is about no row, with the record that made it.
    Noted { lsn: u64, change: Change },
    /// Cells ahead of the clock, with the record that wrote them.
    Future { lsn: u64, cells: CellsWrite },
    /// The number of the last run of materialization.
    LastRun(u64),
    /// An entity that was forgotten.
    Forgotten(KeyMark, Mark),
}
