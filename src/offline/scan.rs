//! Keys and times of the rows of a source that might matter.

use super::{
    convert::{Rounding, times_us},
    dataset::DataFile,
    parquet_file::damaged,
    prune::Bounds,
    reads::Reads,
    row_reader::RowReader,
    source::{Cells, FileColumns, RowGroup, ViewSource},
};
use crate::error::{Error, Result};
use arrow_array::{Array, ArrayRef, Int64Array};
use arrow_buffer::NullBuffer;

/// Keys and times of some rows of a source.
pub(super) struct KeysAndTimes {
    /// One column per join key.
    pub(super) keys: Vec<ArrayRef>,
    /// In µs, never earlier than the event.
    pub(super) events: Int64Array,
    pub(super) created: Option<Int64Array>,
    /// The order of the first row.
    pub(super) first_order: u64,
}

impl KeysAndTimes {
    /// Which rows have an event timestamp and a whole key; `None` for all. The others can never
    /// be seen.
    pub(super) fn usable(&self) -> Option<NullBuffer> {
        let keys = self.keys.iter().map(|key| key.logical_nulls());
        let all = keys.fold(self.events.nulls().cloned(), |all, nulls| {
            NullBuffer::union(all.as_ref(), nulls.as_ref())
        });
        all.filter(|nulls| nulls.null_count() > 0)
    }
}

/// Decodes keys and times of the rows of one row group that `bounds` may want; created timestamps
/// if `with_created` says so. Tells how many rows that were.
pub(super) fn scan_row_group(
    source: &ViewSource<'_>,
    row_group: &RowGroup,
    bounds: &Bounds<'_>,
    with_created: bool,
    reads: &Reads,
    mut each: impl FnMut(&KeysAndTimes) -> Result<()>,
) -> Result<u64> {
    let (file, columns): (&DataFile, &FileColumns) = source.file(row_group)?;
    let mut wanted: Vec<&Cells> = columns.keys.iter().collect();
    wanted.push(&columns.event);
    wanted.extend(columns.created.as_ref().filter(|_| with_created));
    let rows = bounds.rows(source, row_group, reads)?;
    let mut reader = RowReader::open(file, row_group, &wanted, columns.keys.len(), rows, reads)?;
    let mut rows = 0;
    while let Some((first_row, mut arrays)) = reader.next_batch()? {
        let times = arrays.split_off(columns.keys.len().min(arrays.len()));
        let mut times = times.iter();
        let mut next = |name: &str| match times.next() {
            Some(time) => {
                times_us(time, Rounding::Up).map_err(|why| in_column(file, name, &why)).map(Some)
            }
            None => Ok(None),
        };
        let events = next(source.event_name())?
            .ok_or_else(|| damaged(file.path(), "the event timestamps are missing"))?;
        let created = next(source.view.created_timestamp.as_deref().unwrap_or_default())?;
        let first_order = row_group.first_order.saturating_add(first_row as u64);
        rows += events.len() as u64;
        each(&KeysAndTimes { keys: arrays, events, created, first_order })?;
    }
    Ok(rows)
}

/// The error for a value that does not convert.
pub(super) fn in_column(file: &DataFile, name: &str, why: &str) -> Error {
    Error::refused(format!("{}: column '{name}': {why}", file.path().display()))
}
