//! Writes a history file: the pushed cells of one generation of a view as sorted Parquet.
//!
//! Invariants
//! - The rows of a row group are sorted by join keys, event, created and order; equal ones stay in
//!   their order. Row groups come as they are written.
//! - What is written reads back bit for bit, or is refused: nothing is left out.
//! - The same rows give the same bytes.

use super::{
    bucket::Bucket,
    cells::column_of,
    gathered::Gathered,
    history_layout::{
        ABSENT, Kept, NULL, SlotColumn, TOMBSTONE, VALUE, bucket_metadata, file_metadata,
        runs_metadata, schema, slot_columns, stored_type,
    },
    parquet_file::caught,
    pushed::PushedCells,
    sink::{Failure, Sink},
    spine::key_column,
};
use crate::{
    error::{Error, Result},
    feature::{CellWrite, Entity, KeyPart, List, Stamp, Timestamp, Value, View},
};
use arrow_array::{
    ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow_schema::{DataType, Schema, SchemaRef};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding},
    errors::ParquetError,
    file::{
        metadata::SortingColumn,
        properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder},
    },
    schema::types::ColumnPath,
};
use std::{io::Write, sync::Arc};

/// How a file is cut and compressed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Rows of a row group.
    pub(super) row_group_rows: usize,
    /// Rows of a page: to find one key, one page of each column is decoded.
    pub(super) page_rows: usize,
    /// Rows made into columns at a time.
    pub(super) batch_rows: usize,
    /// Bytes of values made into columns at a time, unless one row has more.
    pub(super) batch_bytes: usize,
    pub(super) compression: Compression,
}

impl Limits {
    /// Rows of a page, unless somebody says otherwise.
    pub(super) const PAGE_ROWS: usize = 4 << 10;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            row_group_rows: 256 << 10,
            page_rows: Self::PAGE_ROWS,
            batch_rows: 8 << 10,
            batch_bytes: 64 << 20,
            // Written while the store serves, and mostly merged soon: the cheapest there is, and
            // without the 180 kB that zstd holds for each column.
            compression: Compression::LZ4_RAW,
        }
    }
}

/// A row group is closed at so many encoded bytes, however few its rows are.
const ROW_GROUP_BYTES: usize = 128 << 20;

/// Whoever reads one row decodes the whole dictionary: a longer one costs more than it saves.
const DICTIONARY_BYTES: usize = 64 << 10;

/// One lookup in so many of a key that is not there finds it possible.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// A history file on its way out, piece by piece: no more than a piece is in memory.
pub struct HistoryFileWriter<W: Write + Send> {
    view_name: String,
    entity: Entity,
    slots: Vec<SlotColumn>,
    schema: SchemaRef,
    limits: Limits,
    writer: ArrowWriter<Sink<W>>,
    failure: Failure,
    gathered: Gathered,
}

impl<W: Write + Send> HistoryFileWriter<W> {
    /// Begins a file in `to`. `view` has every feature that its generation ever had.
    pub fn new(view: &View, entity: &Entity, to: W) -> Result<Self> {
        Self::with_slots(view, entity, slot_columns(view, entity, &[]), to, Limits::default())
    }

    /// The same with these columns.
    pub(super) fn with_slots(
        view: &View,
        entity: &Entity,
        slots: Vec<SlotColumn>,
        to: W,
        limits: Limits,
    ) -> Result<Self> {
        let schema = Arc::new(schema(entity, &slots));
        let properties = properties(view, entity, &schema, limits);
        let (sink, failure) = Sink::new(to);
        let writer = ArrowWriter::try_new(sink, Arc::clone(&schema), Some(properties))
            .map_err(|error| unwritten(&view.name, &failure, &error))?;
        let (view_name, entity) = (view.name.clone(), entity.clone());
        Ok(Self {
            view_name,
            entity,
            slots,
            schema,
            limits,
            writer,
            failure,
            gathered: Gathered::default(),
        })
    }

    /// Says that the file holds no entities but those of `bucket`.
    pub(super) fn limit_to(&mut self, bucket: Bucket) {
        if bucket != Bucket::WHOLE {
            self.writer.append_key_value_metadata(bucket_metadata(bucket));
        }
    }

    /// Says what the file has of all that was told.
    pub(super) fn keeps(&mut self, kept: Kept) {
        kept.metadata().for_each(|entry| self.writer.append_key_value_metadata(entry));
    }

    /// Adds rows, in any order, to those that are written next.
    ///
    /// Refused if a key or a value is not of the declared type, or if the cells of a row do not
    /// ascend by slot, or are of one that no feature has.
    pub fn add(&mut self, mut rows: Vec<PushedCells>) -> Result<()> {
        while !rows.is_empty() {
            let rest = rows.split_off(batch_length(&rows, self.limits));
            let batch = self.batch(&rows)?;
            self.gathered.add(batch, rows);
            rows = rest;
        }
        Ok(())
    }

    /// Writes the rows that were added, sorted, as row groups of their own.
    pub fn write_added(&mut self) -> Result<()> {
        let mut gathered = std::mem::take(&mut self.gathered);
        for sorted in gathered.sorted(self.limits.page_rows) {
            let sorted = sorted.map_err(|error| refused(&self.view_name, &error))?;
            self.write_batch(&sorted)?;
        }
        self.end_row_group().map(drop)
    }

    /// Writes a piece that is in its order, as row groups of its own.
    pub(super) fn add_sorted(&mut self, rows: &[PushedCells]) -> Result<()> {
        self.write(rows)?;
        self.end_row_group().map(drop)
    }

    /// Writes rows behind those of the row group that is open.
    pub(super) fn write(&mut self, rows: &[PushedCells]) -> Result<()> {
        let mut rest = rows;
        while !rest.is_empty() {
            let (rows, after) = rest.split_at(batch_length(rest, self.limits));
            let batch = self.batch(rows)?;
            self.write_batch(&batch)?;
            rest = after;
        }
        Ok(())
    }

    fn batch(&self, rows: &[PushedCells]) -> Result<RecordBatch> {
        let Self { entity, slots, schema, .. } = self;
        let batch = Batch { entity, slots, schema, rows };
        batch.build().map_err(|why| refused(&self.view_name, &why))
    }

    fn write_batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let written = caught(|| self.writer.write(batch));
        written.map_err(|error| unwritten(&self.view_name, &self.failure, &error))
    }

    /// Closes the row group that is open, if it has rows; how many row groups there are.
    pub(super) fn end_row_group(&mut self) -> Result<usize> {
        let flushed = caught(|| self.writer.flush());
        flushed.map_err(|error| unwritten(&self.view_name, &self.failure, &error))?;
        Ok(self.writer.flushed_row_groups().len())
    }

    /// [`Self::finish`] for a file that says with which row groups its runs begin.
    pub(super) fn finish_runs(mut self, starts: &[usize]) -> Result<W> {
        self.writer.append_key_value_metadata(runs_metadata(starts));
        self.finish()
    }

    /// Writes what was added, ends the file, and gives back what it was written to.
    pub fn finish(mut self) -> Result<W> {
        self.write_added()?;
        let Self { writer, view_name, failure, .. } = self;
        let sink = caught(|| writer.into_inner());
        Ok(sink.map_err(|error| unwritten(&view_name, &failure, &error))?.to)
    }
}

/// Why Parquet could not write; an error of the disk stays one.
fn unwritten(view_name: &str, failure: &Failure, error: &ParquetError) -> Error {
    let of_the_disk = failure.error("writing the history of", view_name);
    of_the_disk.unwrap_or_else(|| refused(view_name, error))
}

fn refused(view_name: &str, why: &dyn std::fmt::Display) -> Error {
    Error::refused(format!("history of {view_name}: {why}"))
}

/// All of a file in one piece, with columns for slots that the view has lost, too.
#[cfg(test)]
pub(super) fn write_within(
    view: &View,
    entity: &Entity,
    rows: Vec<PushedCells>,
    limits: Limits,
) -> Result<Vec<u8>> {
    let slots = slot_columns(view, entity, &rows);
    let mut writer = HistoryFileWriter::with_slots(view, entity, slots, Vec::new(), limits)?;
    writer.add(rows)?;
    writer.finish()
}

pub(super) fn sort_key(row: &PushedCells) -> (&[KeyPart], Stamp, u64) {
    (&row.key, row.stamp, row.order)
}

fn properties(view: &View, entity: &Entity, schema: &Schema, limits: Limits) -> WriterProperties {
    let key_count = entity.join_keys.len();
    // Join keys, event, created, order.
    let sorted_count = key_count + 3;
    let sorted = (0..sorted_count).filter_map(|index| i32::try_from(index).ok());
    let sorting =
        sorted.map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: true });
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("nowthen ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(limits.compression)
        .set_key_value_metadata(Some(file_metadata(view, entity)))
        .set_sorting_columns(Some(sorting.collect()))
        .set_max_row_group_row_count(Some(limits.row_group_rows))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_data_page_row_count_limit(limits.page_rows)
        .set_write_batch_size(limits.page_rows.min(1024))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for (index, field) in schema.fields().iter().enumerate() {
        let path = ColumnPath::from(field.name().as_str());
        if index < key_count {
            builder = builder
                .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_POSITIVES)
                .set_column_bloom_filter_max_ndv(path.clone(), limits.row_group_rows as u64);
        }
        builder = encoding(builder, path, field.data_type(), index < sorted_count);
    }
    builder.build()
}

/// Sorted columns are searched by page, and a dictionary would have to be read for every search.
/// Of numbers one is rarely shorter than these encodings, and costs memory as it is tried.
fn encoding(
    builder: WriterPropertiesBuilder,
    path: ColumnPath,
    data_type: &DataType,
    is_sorted: bool,
) -> WriterPropertiesBuilder {
    let builder = if is_sorted {
        builder
            .set_column_statistics_enabled(path.clone(), EnabledStatistics::Page)
            .set_column_dictionary_enabled(path.clone(), false)
    } else {
        builder
    };
    let encoding = match data_type {
        DataType::Int32 | DataType::Int64 | DataType::UInt64 | DataType::Timestamp(..) => {
            Encoding::DELTA_BINARY_PACKED
        }
        DataType::Float32 | DataType::Float64 => Encoding::BYTE_STREAM_SPLIT,
        _ => return builder,
    };
    builder.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, encoding)
}

/// How many of `rows` to make into columns at a time; at least one.
fn batch_length(rows: &[PushedCells], limits: Limits) -> usize {
    let mut bytes = 0_usize;
    let fits = |row: &&PushedCells| {
        bytes = bytes.saturating_add(row_bytes(row));
        bytes <= limits.batch_bytes
    };
    rows.iter().take(limits.batch_rows).take_while(fits).count().max(1).min(rows.len())
}

/// How long the values of a row are, about.
pub(super) fn row_bytes(row: &PushedCells) -> usize {
    let cells = row.cells.iter().map(|(_, write)| match write {
        CellWrite::Value(value) => value_bytes(value),
        CellWrite::Null | CellWrite::Tombstone => 0,
    });
    cells.sum()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(List::String(list)) => list.iter().map(String::len).sum(),
        Value::List(List::Bytes(list)) => list.iter().map(|bytes| bytes.len()).sum(),
        Value::List(list) => list.len().saturating_mul(8),
        _ => 8,
    }
}

/// Some rows on their way to columns.
struct Batch<'a> {
    entity: &'a Entity,
    slots: &'a [SlotColumn],
    schema: &'a SchemaRef,
    rows: &'a [PushedCells],
}

impl Batch<'_> {
    fn build(&self) -> Result<RecordBatch, String> {
        let ascends = |row: &PushedCells| row.cells.is_sorted_by(|(a, _), (b, _)| a < b);
        if !self.rows.iter().all(ascends) {
            return Err("the cells of a row do not ascend by slot".to_owned());
        }
        let has_column = |(slot, _): &(u32, CellWrite)| {
            self.slots.binary_search_by_key(slot, |column| column.slot).is_ok()
        };
        if !self.rows.iter().flat_map(|row| &row.cells).all(has_column) {
            return Err("a cell is of a slot that no feature has".to_owned());
        }
        if self.rows.iter().any(|row| row.key.len() != self.entity.join_keys.len()) {
            return Err(format!("a key has not the parts of entity {}", self.entity.name));
        }
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for (place, join_key) in self.entity.join_keys.iter().enumerate() {
            let parts = self.rows.iter().map(|row| row.key.get(place));
            let wrong = || format!("a key is not {} ({})", join_key.key_type.name(), join_key.name);
            arrays.push(key_column(join_key.key_type, parts).ok_or_else(wrong)?);
        }
        let events = self.rows.iter().map(|row| row.stamp.event.us());
        let created = self.rows.iter().map(|row| row.stamp.created.map(Timestamp::us));
        let orders = self.rows.iter().map(|row| row.order);
        let events = TimestampMicrosecondArray::from_iter_values(events);
        let created = created.collect::<TimestampMicrosecondArray>();
        arrays.push(Arc::new(events.with_timezone("UTC")));
        arrays.push(Arc::new(created.with_timezone("UTC")));
        arrays.push(Arc::new(UInt64Array::from_iter_values(orders)));
        let mut letters = vec![String::with_capacity(self.slots.len()); self.rows.len()];
        let features = self.slots.iter().map(|slot| self.feature(slot, &mut letters));
        let features: Vec<ArrayRef> = features.collect::<Result<_, _>>()?;
        arrays.push(Arc::new(StringArray::from_iter_values(letters)));
        arrays.extend(features);
        RecordBatch::try_new(Arc::clone(self.schema), arrays).map_err(|error| error.to_string())
    }

    /// The column of one slot; the state of each cell goes to the end of its row's `letters`.
    fn feature(&self, column: &SlotColumn, letters: &mut [String]) -> Result<ArrayRef, String> {
        let mut values: Vec<Option<&Value>> = Vec::with_capacity(self.rows.len());
        for (row, letters) in self.rows.iter().zip(letters) {
            let place = row.cells.binary_search_by_key(&column.slot, |(slot, _)| *slot).ok();
            let write = place.and_then(|place| row.cells.get(place)).map(|(_, write)| write);
            let (letter, value) = match write {
                None => (ABSENT, None),
                Some(CellWrite::Value(value)) => (VALUE, Some(value)),
                Some(CellWrite::Null) => (NULL, None),
                Some(CellWrite::Tombstone) => (TOMBSTONE, None),
            };
            letters.push(char::from(letter));
            values.push(value);
        }
        let Some(value_type) = column.value_type else {
            return Ok(Arc::new(BooleanArray::from(vec![None; self.rows.len()])));
        };
        let wrong = || format!("a value of {} is not {value_type}", column.name);
        if values.iter().flatten().any(|value| !value.is_of(value_type)) {
            return Err(wrong());
        }
        column_of(&values, stored_type(value_type)).ok_or_else(wrong)
    }
}
