//! Rows that a client pushes as an Arrow IPC stream, checked against their view.
//!
//! ```text
//! join keys │ event timestamp │ features: those that have a column are written, null as null
//! ```
//! Invariants
//! - No conversion changes a value, and no column is passed over: one that means nothing to the
//!   view is refused, because a misspelt feature would be missing for ever.
//! - Held at a time: the stream, one batch of it, and a piece of that batch as rows.

use super::{
    cells::{key_part, value_at},
    convert::{Rounding, convert, converts, is_time, times_us},
    ipc_stream::IpcStream,
    parquet_file::{available, caught},
    source::key_value_type,
};
use crate::{
    error::{Error, Result, echo},
    feature::{CellWrite, Entity, KeyPart, Timestamp, ValueType, View},
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema};
use parquet::errors::ParquetError;

/// The column of the event timestamp where the definition of the view names none, as in Feast.
const EVENT_COLUMN: &str = "event_timestamp";

/// So many rows are converted at a time: an entry of a dictionary may be long, and shared.
const PIECE_ROWS: usize = 256;

/// A batch, decompressed, may take so many bytes.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// What an error calls the bytes.
const STREAM: &str = "the stream";

/// One row that is pushed.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedRow {
    /// One part per join key.
    pub key: Vec<KeyPart>,
    /// When it was true.
    pub event: Timestamp,
    /// The cells, by slot, ascending.
    pub cells: Vec<(u32, CellWrite)>,
}

/// A column of the stream, and what it is to the view.
#[derive(Clone, Debug)]
struct Column {
    index: usize,
    name: String,
    value_type: ValueType,
}

/// A stream whose columns fit a view.
#[derive(Debug)]
pub struct LoadStream<'a> {
    bytes: &'a [u8],
    /// One per join key.
    keys: Vec<Column>,
    event: usize,
    event_name: String,
    /// With the slot of each, ascending.
    features: Vec<(u32, Column)>,
}

impl<'a> LoadStream<'a> {
    /// Looks at the columns of a stream; an error names the column and what was expected.
    pub fn open(view: &View, entity: &Entity, bytes: &'a [u8]) -> Result<Self> {
        let stream = IpcStream::open(bytes, STREAM, Some(BATCH_BYTES_MAX))?;
        stream.refuse_without_end()?;
        let finder = Finder { view, entity, schema: &stream.schema() };
        finder.refuse_unknown()?;
        let keys = entity.join_keys.iter().map(|join_key| {
            let value_type = key_value_type(join_key.key_type);
            finder.column(&join_key.name, "join key", value_type)
        });
        let event_name = finder.event_name().to_owned();
        let mut features = Vec::new();
        for feature in &view.features {
            if finder.schema.fields().find(&feature.name).is_some() {
                let column = finder.column(&feature.name, "feature", feature.value_type)?;
                features.push((feature.slot, column));
            }
        }
        if features.is_empty() {
            let names = view.features.iter().map(|feature| feature.name.as_str());
            return Err(Error::refused(format!(
                "{STREAM} has no column of a feature of view {}: expected some of {}",
                view.name,
                names.collect::<Vec<_>>().join(", ")
            )));
        }
        features.sort_unstable_by_key(|(slot, _)| *slot);
        let (keys, event) = (keys.collect::<Result<_>>()?, finder.event()?);
        Ok(Self { bytes, keys, event, event_name, features })
    }

    /// Calls `each` with all rows, some at a time, and with the number of the first of them,
    /// counted from 1. An error names column and row.
    pub fn for_each(&self, mut each: impl FnMut(u64, Vec<LoadedRow>) -> Result<()>) -> Result<()> {
        let mut stream = IpcStream::open(self.bytes, STREAM, Some(BATCH_BYTES_MAX))?;
        let mut first = 1_u64;
        while let Some(batch) = stream.next_batch()? {
            for start in (0..batch.num_rows()).step_by(PIECE_ROWS) {
                let piece = batch.slice(start, PIECE_ROWS.min(batch.num_rows() - start));
                let rows = self.rows(&piece, first)?;
                let count = rows.len() as u64;
                each(first, rows)?;
                first = first.saturating_add(count);
            }
        }
        Ok(())
    }

    fn rows(&self, piece: &RecordBatch, first: u64) -> Result<Vec<LoadedRow>> {
        let keys = self.keys.iter().map(|column| converted(piece, column, first));
        let keys: Vec<ArrayRef> = keys.collect::<Result<_>>()?;
        let features = self.features.iter().map(|(_, column)| converted(piece, column, first));
        let features: Vec<ArrayRef> = features.collect::<Result<_>>()?;
        let events = self.events(piece, first)?;
        let row = |row: usize| {
            let parts = keys.iter().zip(&self.keys).map(|(array, column)| {
                let part = value_at(array, row).and_then(key_part);
                part.ok_or_else(|| {
                    let expected = column.value_type.to_string();
                    in_row(&column.name, first, row, &format!("null, expected {expected}"))
                })
            });
            let cell = |(array, (slot, _)): (&ArrayRef, &(u32, Column))| {
                (*slot, value_at(array, row).map_or(CellWrite::Null, CellWrite::Value))
            };
            Ok(LoadedRow {
                key: parts.collect::<Result<_>>()?,
                event: events.get(row).copied().unwrap_or(Timestamp::MAX),
                cells: features.iter().zip(&self.features).map(cell).collect(),
            })
        };
        (0..piece.num_rows()).map(row).collect()
    }

    fn events(&self, piece: &RecordBatch, first: u64) -> Result<Vec<Timestamp>> {
        let array = piece.columns().get(self.event).ok_or_else(without_column)?;
        let us = |array: &ArrayRef| times_us(array, Rounding::Up);
        let times = us(array).map_err(|why| {
            let row = first_refused(array, |part| us(part).is_ok());
            in_row(&self.event_name, first, row, &why)
        })?;
        let event = |row: usize| match times.is_null(row) {
            true => Err(in_row(&self.event_name, first, row, "null, expected an event timestamp")),
            false => Ok(Timestamp(times.value(row))),
        };
        (0..times.len()).map(event).collect()
    }
}

/// Looks for the columns of a view in the schema of a stream.
struct Finder<'a> {
    view: &'a View,
    entity: &'a Entity,
    schema: &'a Schema,
}

impl Finder<'_> {
    fn event_name(&self) -> &str {
        self.view.event_timestamp.as_deref().unwrap_or(EVENT_COLUMN)
    }

    /// Every column must be something to the view, and only one of it.
    fn refuse_unknown(&self) -> Result<()> {
        let (view, event) = (self.view, self.event_name());
        if view.feature(event).is_some() {
            return Err(Error::refused(format!(
                "feature {event} of view {} is called as its event timestamp: give the view an \
                 event_timestamp of another name",
                view.name
            )));
        }
        let keys = self.entity.join_keys.iter().map(|join_key| join_key.name.as_str());
        let features = view.features.iter().map(|feature| feature.name.as_str());
        let known: Vec<&str> = keys.chain([event]).chain(features).collect();
        for (index, field) in self.schema.fields().iter().enumerate() {
            let name = field.name();
            if Some(name) == view.created_timestamp.as_ref() {
                return Err(Error::refused(format!(
                    "column {}: what is pushed is created when it arrives; leave the column out",
                    echo(name.as_bytes())
                )));
            }
            if !known.contains(&name.as_str()) {
                let names = available(name, known.iter().copied(), "expected");
                return Err(Error::refused(format!(
                    "column {} is nothing to view {}{names}",
                    echo(name.as_bytes()),
                    view.name
                )));
            }
            if self.schema.fields().iter().skip(index + 1).any(|other| other.name() == name) {
                return Err(Error::refused(format!("{STREAM} has column '{name}' twice")));
            }
        }
        Ok(())
    }

    fn event(&self) -> Result<usize> {
        let name = self.event_name();
        let (index, data_type) = self.find(name, "event timestamp", "timestamp")?;
        if is_time(data_type) {
            return Ok(index);
        }
        Err(self.wrong_type(name, "event timestamp", data_type, "timestamp"))
    }

    fn column(&self, name: &str, role: &str, value_type: ValueType) -> Result<Column> {
        let expected = value_type.to_string();
        let (index, data_type) = self.find(name, role, &expected)?;
        if !converts(data_type, value_type) {
            return Err(self.wrong_type(name, role, data_type, &expected));
        }
        Ok(Column { index, name: name.to_owned(), value_type })
    }

    fn find(&self, name: &str, role: &str, expected: &str) -> Result<(usize, &DataType)> {
        let fields = self.schema.fields();
        let found = fields.find(name).map(|(index, field)| (index, field.data_type()));
        found.ok_or_else(|| {
            let names = fields.iter().map(|field| field.name().as_str());
            Error::refused(format!(
                "{STREAM} has no column '{name}' ({role} of view {}, {expected}){}",
                self.view.name,
                available(name, names, "it has")
            ))
        })
    }

    fn wrong_type(&self, name: &str, role: &str, holds: &DataType, expected: &str) -> Error {
        Error::refused(format!(
            "column '{name}' ({role} of view {}) holds {holds}, expected {expected}",
            self.view.name
        ))
    }
}

fn converted(piece: &RecordBatch, column: &Column, first: u64) -> Result<ArrayRef> {
    let array = piece.columns().get(column.index).ok_or_else(without_column)?;
    let converted = |array: &ArrayRef| {
        let done = caught(|| convert(array, column.value_type).map_err(ParquetError::General));
        done.map_err(|error| match error {
            ParquetError::General(why) => why,
            other => other.to_string(),
        })
    };
    converted(array).map_err(|why| {
        let row = first_refused(array, |part| converted(part).is_ok());
        let expected = column.value_type;
        in_row(&column.name, first, row, &format!("{why}, expected {expected}"))
    })
}

/// The first row with which the rows before it are refused.
fn first_refused(array: &ArrayRef, is_taken: impl Fn(&ArrayRef) -> bool) -> usize {
    let (mut taken, mut refused) = (0, array.len());
    while taken + 1 < refused {
        let middle = taken.midpoint(refused);
        if is_taken(&array.slice(0, middle)) { taken = middle } else { refused = middle }
    }
    refused.saturating_sub(1)
}

fn in_row(name: &str, first: u64, row: usize, why: &str) -> Error {
    let row = first.saturating_add(row as u64);
    Error::refused(format!("column '{name}', row {row}: {why}"))
}

/// Cannot happen: every batch of a stream has the columns of its schema.
fn without_column() -> Error {
    Error::refused(format!("{STREAM}: a batch has other columns than its schema"))
}
