//! Keys and times of chosen rows of one row group, batch by batch.
//!
//! ```text
//! wanted        ├──────┤         ├───────────────┤
//! batches       ├──────┤         ├──────────┼────┤     none goes across a gap, so that every row
//! pages     │        │        │        │        │      knows its number
//! ```
//! Invariants
//! - All rows that were wanted come, or an error.
//! - Text keys come as dictionaries where the file has them so, and are then looked up once per
//!   entry of the dictionary.

use super::{
    chunk::ChunkReader,
    column_reader::{BATCH_ROWS, ColumnReader},
    constant::{coded, repeated},
    dataset::DataFile,
    parquet_file::damaged,
    reads::Reads,
    source::{Cells, Column, RowGroup},
};
use crate::error::Result;
use arrow_array::{Array, ArrayRef};
use std::{ops::Range, slice, sync::Arc};

/// Reads keys and times, those that the file has, and puts those beside them that its folders tell.
pub(super) struct RowReader<'a> {
    /// `None` if the file has none of them.
    stored: Option<KeyReader<'a>>,
    /// One per column: its value, if it is the same in all rows.
    constants: Vec<Option<ArrayRef>>,
    /// The first so many of the columns are join keys.
    keys: usize,
    /// The rows to come, the first first.
    wanted: Vec<Range<usize>>,
}

impl<'a> RowReader<'a> {
    /// Opens `columns`, of which the first `keys` are join keys; the rows `wanted`, which ascend.
    pub(super) fn open(
        file: &'a DataFile,
        row_group: &RowGroup,
        columns: &[&Cells],
        keys: usize,
        mut wanted: Vec<Range<usize>>,
        reads: &'a Reads,
    ) -> Result<Self> {
        let stored: Vec<&Column> = columns.iter().filter_map(|cells| cells.stored()).collect();
        let stored_keys = columns.iter().take(keys).filter(|key| key.stored().is_some()).count();
        let reader = match stored.is_empty() || wanted.is_empty() {
            true => None,
            false => Some(KeyReader::open(file, row_group, &stored, stored_keys, &wanted, reads)?),
        };
        let constant = |cells: &&Cells| match cells {
            Cells::Constant(value) => Some(Arc::clone(value)),
            Cells::Stored(_) => None,
        };
        let constants = columns.iter().map(constant).collect();
        wanted.reverse();
        Ok(Self { stored: reader, constants, keys, wanted })
    }

    /// The next rows and the number of the first of them; `None` after the last.
    pub(super) fn next_batch(&mut self) -> Result<Option<(usize, Vec<ArrayRef>)>> {
        while self.wanted.pop_if(|range| range.start >= range.end).is_some() {}
        let Some(range) = self.wanted.last_mut() else {
            self.stored.as_mut().map_or(Ok(()), KeyReader::end)?;
            return Ok(None);
        };
        let first = range.start;
        let mut rows = range.len().min(BATCH_ROWS);
        let stored = match &mut self.stored {
            Some(reader) => {
                let stored = reader.read(first, rows)?;
                rows = stored.first().map_or(rows, |column| column.len());
                stored
            }
            None => Vec::new(),
        };
        range.start += rows;
        if stored.len() == self.constants.len() {
            return Ok(Some((first, stored)));
        }
        let mut stored = stored.into_iter();
        let mut columns = Vec::with_capacity(self.constants.len());
        for (place, constant) in self.constants.iter().enumerate() {
            match constant {
                Some(value) if place < self.keys => columns.push(coded(value, rows)?),
                Some(value) => columns.push(repeated(value, rows)?),
                None => columns.extend(stored.next()),
            }
        }
        Ok(Some((first, columns)))
    }
}

/// Reads keys and times: page by page where all of them are of a form that this is possible for.
enum KeyReader<'a> {
    Pages(PageReader<'a>),
    /// The rows wanted, one after the other, and those that were decoded already.
    Columns(ColumnReader<'a>, Vec<ArrayRef>),
}

struct PageReader<'a> {
    file: &'a DataFile,
    chunks: Vec<ChunkReader<'a>>,
    /// The first so many are join keys.
    keys: usize,
    /// The row that comes next in all of them.
    at: usize,
    rows: usize,
}

impl<'a> KeyReader<'a> {
    fn open(
        file: &'a DataFile,
        row_group: &RowGroup,
        columns: &[&Column],
        keys: usize,
        wanted: &[Range<usize>],
        reads: &'a Reads,
    ) -> Result<Self> {
        let rows = usize::try_from(row_group.rows).unwrap_or(usize::MAX);
        let chunk = |column: &&Column| ChunkReader::open(file, row_group, column, reads);
        let chunks: Option<Vec<_>> = columns.iter().map(chunk).collect::<Result<_>>()?;
        Ok(match chunks {
            Some(chunks) => Self::Pages(PageReader { file, chunks, keys, at: 0, rows }),
            None => {
                let wanted = (wanted != slice::from_ref(&(0..rows))).then_some(wanted);
                let reader = ColumnReader::open(file, row_group, columns, wanted, reads)?;
                Self::Columns(reader, Vec::new())
            }
        })
    }

    /// At most so many rows from row `first` on, and one at least. `first` ascends.
    fn read(&mut self, first: usize, rows_max: usize) -> Result<Vec<ArrayRef>> {
        let (reader, decoded) = match self {
            Self::Pages(reader) => return reader.read(first, rows_max),
            Self::Columns(reader, decoded) => (reader, decoded),
        };
        if decoded.first().is_none_or(|column| column.is_empty()) {
            // The reader knows how many rows it owes.
            *decoded = reader.next_batch()?.unwrap_or_default();
        }
        let left = decoded.first().map_or(0, |column| column.len());
        let rows = left.min(rows_max);
        let read = decoded.iter().map(|column| column.slice(0, rows)).collect();
        decoded.iter_mut().for_each(|column| *column = column.slice(rows, left - rows));
        Ok(read)
    }

    /// Looks whether there is more where the row group should end.
    fn end(&mut self) -> Result<()> {
        match self {
            Self::Pages(reader) => reader.end(),
            Self::Columns(reader, _) => reader.next_batch().map(drop),
        }
    }
}

impl PageReader<'_> {
    fn read(&mut self, first: usize, rows_max: usize) -> Result<Vec<ArrayRef>> {
        let mut rows = rows_max;
        for chunk in &mut self.chunks {
            chunk.skip(first - self.at)?;
            rows = rows.min(chunk.rows_in_page()?);
        }
        if rows == 0 {
            return Err(damaged(self.file.path(), "a column has less rows than its row group"));
        }
        self.at = first + rows;
        let chunks = self.chunks.iter_mut().enumerate();
        chunks.map(|(place, chunk)| chunk.read(rows, place < self.keys)).collect()
    }

    fn end(&mut self) -> Result<()> {
        for chunk in self.chunks.iter_mut().filter(|_| self.at == self.rows) {
            if chunk.rows_in_page()? > 0 {
                return Err(damaged(self.file.path(), "a column has more rows than its row group"));
            }
        }
        Ok(())
    }
}
