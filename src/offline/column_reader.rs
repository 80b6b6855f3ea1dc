//! Decoding: chosen columns of one row group, batch by batch.
//!
//! Invariants
//! - A row group gives as many rows as its footer says, or an error: never a part of an answer.
//! - Text comes as dictionaries where the file has it so.

use super::{
    dataset::DataFile,
    page_index::count_pages,
    parquet_file::{ParquetFile, damaged, guarded},
    reads::Reads,
    source::{Column, RowGroup},
};
use crate::error::Result;
use arrow_array::{ArrayRef, RecordBatch};
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
pub(super) const BATCH_ROWS: usize = 32 * 1024;

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
