//! A run of a history file, which is sorted as a whole, read from its first row to its last.
//!
//! Invariants
//! - In memory are a batch, and a page of each column.
//! - A row that is less than the one before is refused: the file is not what it says.

use super::{
    column_reader::ColumnReader,
    history_file::{Batch, HistoryFile},
    history_layout::FileSlot,
    history_write::{Limits, sort_key},
    parquet_file::damaged,
    pushed::PushedCells,
};
use crate::error::Result;
use std::{cmp::Ordering, ops::Range, sync::Arc};

/// What reads a column of a run has so many bytes beside the page, roughly: of hundreds of columns
/// that is more than the page of a short run.
const READER_BYTES: u64 = 4 << 10;

/// The next row of a run; the greatest is that which goes out first.
pub(super) struct Head {
    pub(super) row: PushedCells,
    /// The number of the run.
    pub(super) run: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        (sort_key(&other.row), other.run).cmp(&(sort_key(&self.row), self.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

/// A run that is being read, row by row.
pub(super) struct Run<'a> {
    file: &'a HistoryFile,
    slots: &'a [&'a FileSlot],
    /// Those that are not begun.
    row_groups: Range<usize>,
    pub(super) batch_rows: usize,
    reader: Option<ColumnReader<'a>>,
    batch: Option<Batch<'a>>,
    /// The next row of the batch.
    place: usize,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        file: &'a HistoryFile,
        slots: &'a [&'a FileSlot],
        row_groups: Range<usize>,
    ) -> Self {
        Self { file, slots, row_groups, batch_rows: 1, reader: None, batch: None, place: 0 }
    }

    /// The bytes and the rows of the first row group; what the footer says need not be true.
    fn first_row_group(&self) -> (u64, u64) {
        let metadata = self.file.file.metadata().metadata();
        let row_group = metadata.row_groups().get(self.row_groups.start);
        let bytes = row_group.map_or(0, |row_group| row_group.total_byte_size());
        let rows = row_group.map_or(0, |row_group| row_group.num_rows());
        (u64::try_from(bytes).unwrap_or(0), u64::try_from(rows).unwrap_or(0))
    }

    /// About.
    pub(super) fn bytes_of_a_row(&self) -> u64 {
        let (bytes, rows) = self.first_row_group();
        bytes.checked_div(rows).unwrap_or(0)
    }

    /// How long a page of each column is together, about, with what reads them.
    pub(super) fn page_bytes(&self) -> u64 {
        let (bytes, _) = self.first_row_group();
        let columns = self.file.columns_with(self.slots).len() as u64;
        bytes.min(self.bytes_of_a_row().saturating_mul(Limits::PAGE_ROWS as u64))
            + columns * READER_BYTES
    }

    /// The row behind `last`, which must not be less.
    pub(super) fn next_after(&mut self, last: &PushedCells) -> Result<Option<PushedCells>> {
        let next = self.next()?;
        if next.as_ref().is_some_and(|next| sort_key(next) < sort_key(last)) {
            return Err(damaged(self.file.file.path(), "its rows are not in their order"));
        }
        Ok(next)
    }

    pub(super) fn next(&mut self) -> Result<Option<PushedCells>> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|batch| self.place < batch.len()) {
                self.place += 1;
                return batch.row(self.place - 1).map(Some);
            }
            (self.batch, self.place) = (None, 0);
            if let Some(reader) = &mut self.reader {
                match reader.next_batch()? {
                    Some(arrays) => self.batch = Some(Batch::new(self.file, self.slots, arrays)?),
                    None => self.reader = None,
                }
                continue;
            }
            let row_group = self.row_groups.next().map(|index| self.file.row_groups.get(index));
            let Some(row_group) = row_group.flatten() else { return Ok(None) };
            self.reader = Some(ColumnReader::open_in_batches(
                &self.file.file,
                row_group,
                &self.file.columns_with(self.slots),
                None,
                &Arc::default(),
                self.batch_rows,
            )?);
        }
    }
}
