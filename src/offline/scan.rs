//! Decoding: chosen columns of one row group, batch by batch; and of those keys and times.
//!
//! Invariants
//! - A row group gives as many rows as its footer says, or an error: never a part of an answer.
//! - Text keys come as dictionaries where the file has them so, and are then looked up once per
//!   entry of the dictionary.

use super::{
    chunk::ChunkReader,
    constant::{coded, repeated},
    convert::{Rounding, times_us},
    dataset::DataFile,
    page_index::count_pages,
    parquet_file::{ParquetFile, damaged, guarded},
    reads::Reads,
    source::{Cells, Column, FileColumns, RowGroup, ViewSource},
};
use crate::error::{Error, Result};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
            ParquetRecordBatchReaderBuilder, RowSelection, RowSelectionPolicy,
        },
    },
    basic::{Encoding, Type as PhysicalType},
    errors::ParquetError,
};
use std::{collections::HashMap, ops::Range, sync::Arc};

/// Rows decoded at a time: what a column of them takes stays in the cache of a core.
const BATCH_ROWS: usize = 32 * 1024;

/// Decodes some columns of a row group.
pub(super) struct ColumnReader<'a> {
    file: &'a DataFile,
    reader: ParquetRecordBatchReader,
    /// Where each wanted column stands in a batch.
    positions: Vec<usize>,
    rows_left: u64,
}

impl<'a> ColumnReader<'a> {
    /// Opens `columns` of `row_group`, the rows in `ranges` only, if given.
    pub(super) fn open(
        file: &'a DataFile,
        row_group: &RowGroup,
        columns: &[&Column],
        ranges: Option<&[Range<usize>]>,
        reads: &Reads,
    ) -> Result<Self> {
        Self::open_in_batches(file, row_group, columns, ranges, reads, BATCH_ROWS)
    }

    /// The same, with so many rows decoded at a time.
    pub(super) fn open_in_batches(
        file: &'a DataFile,
        row_group: &RowGroup,
        columns: &[&Column],
        ranges: Option<&[Range<usize>]>,
        reads: &Reads,
        batch_rows: usize,
    ) -> Result<Self> {
        let source = file.open(reads.counter())?;
        let mut roots: Vec<usize> = columns.iter().map(|column| column.root).collect();
        roots.sort_unstable();
        roots.dedup();
        let position = |column: &&Column| roots.binary_search(&column.root).ok();
        let positions = columns.iter().filter_map(position).collect();
        let rows = usize::try_from(row_group.rows).unwrap_or(usize::MAX);
        for leaf in columns.iter().filter_map(|column| column.leaf) {
            let metadata = file.metadata().metadata();
            let (read, skipped) = count_pages(metadata, row_group.index, leaf, ranges);
            reads.add_pages(read, skipped);
        }
        let rows_left = ranges
            .map_or(row_group.rows, |ranges| ranges.iter().map(|range| range.len() as u64).sum());
        let reader = guarded(file.path(), || {
            let metadata = read_as(file.metadata(), row_group.index, columns);
            let builder: ParquetRecordBatchReaderBuilder<ParquetFile> =
                ParquetRecordBatchReaderBuilder::new_with_metadata(source, metadata);
            let mask = ProjectionMask::roots(builder.parquet_schema(), roots.iter().copied());
            let mut builder = builder
                .with_row_groups(vec![row_group.index])
                .with_projection(mask)
                .with_batch_size(batch_rows);
            if let Some(ranges) = ranges {
                let ranges = ranges.iter().cloned();
                let selection = RowSelection::from_consecutive_ranges(ranges, rows);
                builder = builder
                    .with_row_selection(selection)
                    .with_row_selection_policy(RowSelectionPolicy::Selectors);
            }
            builder.build()
        })?;
        Ok(Self { file, reader, positions, rows_left })
    }

    /// The next rows, one array per wanted column; `None` after the last.
    pub(super) fn next_batch(&mut self) -> Result<Option<Vec<ArrayRef>>> {
        let next = guarded(self.file.path(), || match self.reader.next() {
            Some(batch) => batch.map(Some).map_err(ParquetError::from),
            None => Ok(None),
        })?;
        let Some(batch) = next else {
            return match self.rows_left {
                0 => Ok(None),
                left => Err(damaged(self.file.path(), &format!("{left} rows are missing"))),
            };
        };
        let rows = batch.num_rows() as u64;
        let left = self.rows_left.checked_sub(rows);
        self.rows_left = left.ok_or_else(|| damaged(self.file.path(), "it has too many rows"))?;
        Ok(Some(in_order(&batch, &self.positions)))
    }
}

fn in_order(batch: &RecordBatch, positions: &[usize]) -> Vec<ArrayRef> {
    positions.iter().filter_map(|position| batch.columns().get(*position)).cloned().collect()
}

/// The metadata with some columns declared differently, for the sake of speed or of range. Where
/// the decoder will not have it so, the file's own types serve as well.
fn read_as(
    metadata: &ArrowReaderMetadata,
    row_group: usize,
    columns: &[&Column],
) -> ArrowReaderMetadata {
    let wanted: HashMap<usize, DataType> = columns
        .iter()
        .filter_map(|column| Some((column.root, better_type(metadata, row_group, column)?)))
        .collect();
    if wanted.is_empty() {
        return metadata.clone();
    }
    let field = |(root, field): (usize, &Arc<Field>)| match wanted.get(&root) {
        Some(data_type) => Arc::new(field.as_ref().clone().with_data_type(data_type.clone())),
        None => Arc::clone(field),
    };
    let schema = metadata.schema();
    let fields: Vec<Arc<Field>> = schema.fields().iter().enumerate().map(field).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let options = ArrowReaderOptions::new().with_schema(schema);
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
        .unwrap_or_else(|_| metadata.clone())
}

fn better_type(
    metadata: &ArrowReaderMetadata,
    row_group: usize,
    column: &Column,
) -> Option<DataType> {
    if column.physical == Some(PhysicalType::INT96) {
        // As ns a year like 9999, which stands for "never" in many tables, would come out as one
        // of the past.
        return Some(DataType::Timestamp(TimeUnit::Microsecond, None));
    }
    let value = match &column.data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        _ => return None,
    };
    let chunk = metadata.metadata().row_groups().get(row_group)?.columns().get(column.leaf?)?;
    let plain_pages = match chunk.page_encoding_stats_mask() {
        Some(data_pages) => data_pages.is_set(Encoding::PLAIN),
        // Writers that say no more list PLAIN for the dictionary itself, if they write version 1.
        None => chunk.encodings_mask().is_set(Encoding::PLAIN),
    };
    let dictionary = chunk.dictionary_page_offset().is_some() && !plain_pages;
    dictionary.then(|| DataType::Dictionary(Box::new(DataType::Int32), Box::new(value)))
}

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

/// Decodes keys and times of one row group; created timestamps if `with_created` says so.
pub(super) fn scan_row_group(
    source: &ViewSource<'_>,
    row_group: &RowGroup,
    with_created: bool,
    reads: &Reads,
    mut each: impl FnMut(&KeysAndTimes) -> Result<()>,
) -> Result<()> {
    let (file, columns): (&DataFile, &FileColumns) = source.file(row_group)?;
    let mut wanted: Vec<&Cells> = columns.keys.iter().collect();
    wanted.push(&columns.event);
    wanted.extend(columns.created.as_ref().filter(|_| with_created));
    let mut reader = RowReader::open(file, row_group, &wanted, columns.keys.len(), reads)?;
    let mut first_order = row_group.first_order;
    while let Some(mut arrays) = reader.next_batch()? {
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
        let batch = KeysAndTimes { keys: arrays, events, created, first_order };
        each(&batch)?;
        first_order += batch.events.len() as u64;
    }
    Ok(())
}

/// Reads keys and times, those that the file has, and puts those beside them that its folders tell.
struct RowReader<'a> {
    /// `None` if the file has none of them.
    stored: Option<KeyReader<'a>>,
    /// One per column: its value, if it is the same in all rows.
    constants: Vec<Option<ArrayRef>>,
    /// The first so many of the columns are join keys.
    keys: usize,
    /// If the file has none of them.
    rows_left: u64,
}

impl<'a> RowReader<'a> {
    fn open(
        file: &'a DataFile,
        row_group: &RowGroup,
        columns: &[&Cells],
        keys: usize,
        reads: &'a Reads,
    ) -> Result<Self> {
        let stored: Vec<&Column> = columns.iter().filter_map(|cells| cells.stored()).collect();
        let stored_keys = columns.iter().take(keys).filter(|key| key.stored().is_some()).count();
        let reader = match stored.is_empty() {
            true => None,
            false => Some(KeyReader::open(file, row_group, &stored, stored_keys, reads)?),
        };
        let constant = |cells: &&Cells| match cells {
            Cells::Constant(value) => Some(Arc::clone(value)),
            Cells::Stored(_) => None,
        };
        let constants = columns.iter().map(constant).collect();
        Ok(Self { stored: reader, constants, keys, rows_left: row_group.rows })
    }

    fn next_batch(&mut self) -> Result<Option<Vec<ArrayRef>>> {
        let (stored, rows) = match &mut self.stored {
            Some(reader) => {
                let Some(stored) = reader.next_batch()? else { return Ok(None) };
                if stored.len() == self.constants.len() {
                    return Ok(Some(stored));
                }
                let rows = stored.first().map_or(0, |column| column.len());
                (stored, rows)
            }
            None => {
                let rows = BATCH_ROWS.min(usize::try_from(self.rows_left).unwrap_or(BATCH_ROWS));
                self.rows_left -= rows as u64;
                (Vec::new(), rows)
            }
        };
        if rows == 0 {
            return Ok(None);
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
        Ok(Some(columns))
    }
}

/// Reads keys and times: page by page where all of them are of a form that this is possible for.
enum KeyReader<'a> {
    Pages { chunks: Vec<ChunkReader<'a>>, keys: usize },
    Columns(ColumnReader<'a>),
}

impl<'a> KeyReader<'a> {
    /// The first `keys` of the columns are join keys.
    fn open(
        file: &'a DataFile,
        row_group: &RowGroup,
        columns: &[&Column],
        keys: usize,
        reads: &'a Reads,
    ) -> Result<Self> {
        let chunk = |column: &&Column| ChunkReader::open(file, row_group, column, reads);
        let chunks: Option<Vec<_>> = columns.iter().map(chunk).collect::<Result<_>>()?;
        Ok(match chunks {
            Some(chunks) => Self::Pages { chunks, keys },
            None => Self::Columns(ColumnReader::open(file, row_group, columns, None, reads)?),
        })
    }

    fn next_batch(&mut self) -> Result<Option<Vec<ArrayRef>>> {
        let (chunks, keys) = match self {
            Self::Columns(reader) => return reader.next_batch(),
            Self::Pages { chunks, keys } => (chunks, *keys),
        };
        let mut rows = BATCH_ROWS;
        for chunk in chunks.iter_mut() {
            rows = rows.min(chunk.rows_in_page()?);
        }
        if rows == 0 {
            // Each has as many rows as the row group, so all are at their ends.
            return Ok(None);
        }
        let chunks = chunks.iter_mut().enumerate();
        chunks.map(|(place, chunk)| chunk.read(rows, place < keys)).collect::<Result<_>>().map(Some)
    }
}

/// The error for a value that does not convert.
pub(super) fn in_column(file: &DataFile, name: &str, why: &str) -> Error {
    Error::refused(format!("{}: column '{name}': {why}", file.path().display()))
}
