//! The spine: the table of join keys and times that a training set is built for.
//!
//! Invariants
//! - The spine's own columns are never touched: only a copy of its times is rounded to µs, down,
//!   so that no row sees what happened after it.

use super::{
    convert::{Rounding, converts, is_time, times_us},
    ipc_stream::read_ipc_stream,
    parquet_file::available,
    source::key_value_type,
};
use crate::{
    error::{Error, Result},
    feature::{Entity, KeyPart, KeyType, Scalar, Timestamp, ValueType},
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
    TimestampMicrosecondArray, new_empty_array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat;
use std::sync::Arc;

/// What an error says a spine is that did not come from a file.
const STREAM: &str = "the spine";

/// A table of join keys and times, with whatever other columns it brings.
#[derive(Clone, Debug)]
pub struct Spine {
    batch: RecordBatch,
    /// Where the column of the times stands.
    time_column: usize,
    times: Int64Array,
}

impl Spine {
    /// Reads an Arrow IPC stream.
    pub fn from_ipc_stream(bytes: &[u8], event_timestamp: Option<&str>) -> Result<Self> {
        let (schema, batches) = read_ipc_stream(bytes, STREAM)?;
        Self::from_batches(&schema, batches, event_timestamp)
    }

    /// A handful of entities at one instant, in columns named as the join keys and
    /// `event_timestamp`.
    pub fn from_rows(entity: &Entity, keys: &[Vec<KeyPart>], at: Timestamp) -> Result<Self> {
        let mut fields = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (index, join_key) in entity.join_keys.iter().enumerate() {
            let parts = keys.iter().map(|key| key.get(index));
            let column = key_column(join_key.key_type, parts).ok_or_else(|| {
                let key_type = join_key.key_type.name();
                Error::refused(format!("join key {} is {key_type}", join_key.name))
            })?;
            fields.push(Field::new(&join_key.name, column.data_type().clone(), false));
            columns.push(column);
        }
        let times = TimestampMicrosecondArray::from(vec![at.us(); keys.len()]);
        columns.push(Arc::new(times.with_timezone("UTC")));
        let time_type = super::convert::arrow_type(ValueType::Scalar(Scalar::Timestamp));
        fields.push(Field::new("event_timestamp", time_type, false));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns);
        let batch = batch.map_err(|error| Error::refused(format!("{STREAM}: {error}")))?;
        let time_column = entity.join_keys.len();
        Ok(Self { batch, time_column, times: vec![at.us(); keys.len()].into() })
    }

    fn from_batches(
        schema: &SchemaRef,
        batches: Vec<RecordBatch>,
        event_timestamp: Option<&str>,
    ) -> Result<Self> {
        let batch = match batches.as_slice() {
            [only] => Ok(only.clone()),
            _ => joined(schema, batches),
        };
        let refuse = |error| Error::refused(format!("{STREAM} does not fit: {error}"));
        Self::from_batch(batch.map_err(refuse)?, event_timestamp)
    }

    /// The table as it is, with the named column as times, or its one timestamp column.
    pub fn from_batch(batch: RecordBatch, event_timestamp: Option<&str>) -> Result<Self> {
        if batch.num_rows() >= i32::MAX as usize {
            return Err(Error::refused("the spine has more than 2,147,483,646 rows: split it"));
        }
        let index = time_column(batch.schema_ref(), event_timestamp)?;
        let name = batch.schema_ref().fields().get(index).map(|field| field.name().clone());
        let column = batch.columns().get(index);
        let times = column.map(|column| times_us(column, Rounding::Down)).transpose();
        let times = times.map_err(|why| {
            Error::refused(format!("{STREAM}: column '{}': {why}", name.unwrap_or_default()))
        })?;
        let times = times.unwrap_or_else(|| Vec::<i64>::new().into());
        Ok(Self { batch, time_column: index, times })
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// The table.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// The earliest time of a row; `None` if no row has one.
    pub fn earliest(&self) -> Option<Timestamp> {
        self.times.iter().flatten().min().map(Timestamp)
    }

    /// Where the column of the times stands.
    pub(super) fn time_column(&self) -> usize {
        self.time_column
    }

    /// The time of each row, in µs.
    pub(super) fn times(&self) -> &Int64Array {
        &self.times
    }

    /// The column of each join key of `entity`; `map` lists (join key, spine column) where the
    /// names differ.
    pub(super) fn key_columns(
        &self,
        entity: &Entity,
        map: &[(String, String)],
    ) -> Result<Vec<usize>> {
        let fields = self.batch.schema_ref().fields();
        let find = |join_key: &crate::feature::JoinKey| {
            let mapped = map.iter().find(|(name, _)| *name == join_key.name);
            let name = mapped.map_or(&join_key.name, |(_, column)| column);
            let Some((index, field)) = fields.find(name) else {
                let names = fields.iter().map(|field| field.name().as_str());
                return Err(Error::refused(format!(
                    "the spine has no column '{name}' for join key {} of entity {}{}; say which \
                     column it is with --map {}=COLUMN",
                    join_key.name,
                    entity.name,
                    available(name, names, "it has"),
                    join_key.name,
                )));
            };
            if !key_converts(field.data_type(), join_key.key_type) {
                return Err(Error::refused(format!(
                    "the spine's column '{name}' holds {}, join key {} of entity {} is {}",
                    field.data_type(),
                    join_key.name,
                    entity.name,
                    join_key.key_type.name()
                )));
            }
            Ok(index)
        };
        entity.join_keys.iter().map(find).collect()
    }
}

/// The batches as one; never more than one column of it is in memory twice.
fn joined(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Result<RecordBatch, ArrowError> {
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    let mut columns: Vec<Vec<ArrayRef>> = vec![Vec::new(); schema.fields().len()];
    for batch in batches {
        let (_, arrays, _) = batch.into_parts();
        columns.iter_mut().zip(arrays).for_each(|(column, array)| column.push(array));
    }
    let whole = schema.fields().iter().zip(columns).map(|(field, pieces)| {
        let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
        if pieces.is_empty() {
            return Ok(new_empty_array(field.data_type()));
        }
        concat(&pieces)
    });
    let whole = whole.collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), whole, &options)
}

/// Besides what a source may have, a spine may spell integers as text.
fn key_converts(from: &DataType, key_type: KeyType) -> bool {
    let text = converts(from, ValueType::Scalar(Scalar::String));
    converts(from, key_value_type(key_type)) || (text && key_type != KeyType::String)
}

/// A column of one join key; `None` if a part is of another type.
pub(super) fn key_column<'a>(
    key_type: KeyType,
    parts: impl Iterator<Item = Option<&'a KeyPart>>,
) -> Option<ArrayRef> {
    let bytes = |part: Option<&'a KeyPart>| match part {
        Some(KeyPart::Bytes(bytes)) => Some(bytes.as_slice()),
        _ => None,
    };
    Some(match key_type {
        KeyType::Int64 => {
            let integers = parts.map(|part| match part {
                Some(KeyPart::Int64(integer)) => Some(*integer),
                _ => None,
            });
            Arc::new(Int64Array::from(integers.collect::<Option<Vec<i64>>>()?))
        }
        KeyType::String => {
            let texts = parts.map(|part| std::str::from_utf8(bytes(part)?).ok());
            Arc::new(StringArray::from(texts.collect::<Option<Vec<&str>>>()?))
        }
        KeyType::Bytes => {
            Arc::new(BinaryArray::from(parts.map(bytes).collect::<Option<Vec<&[u8]>>>()?))
        }
    })
}

fn time_column(schema: &SchemaRef, name: Option<&str>) -> Result<usize> {
    let fields = schema.fields();
    if let Some(name) = name {
        let names = fields.iter().map(|field| field.name().as_str());
        let (index, field) = fields.find(name).ok_or_else(|| {
            let names = available(name, names, "it has");
            Error::refused(format!("the spine has no event timestamp column '{name}'{names}"))
        })?;
        if !is_time(field.data_type()) {
            return Err(Error::refused(format!(
                "the spine's event timestamp column '{name}' holds {}, expected timestamp",
                field.data_type()
            )));
        }
        return Ok(index);
    }
    let of = |wanted: fn(&DataType) -> bool| -> Vec<(usize, &str)> {
        let fields = fields.iter().enumerate();
        fields
            .filter(|(_, field)| wanted(field.data_type()))
            .map(|(index, field)| (index, field.name().as_str()))
            .collect()
    };
    let timestamps = of(|data_type| matches!(data_type, DataType::Timestamp(..)));
    let candidates = if timestamps.is_empty() { of(is_time) } else { timestamps };
    match candidates.as_slice() {
        [(index, _)] => Ok(*index),
        [] => {
            let fields = fields.iter();
            let columns: Vec<String> =
                fields.map(|field| format!("{} ({})", field.name(), field.data_type())).collect();
            Err(Error::refused(format!(
                "the spine has no timestamp column; it has {}",
                columns.join(", ")
            )))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|(_, name)| *name).collect();
            Err(Error::refused(format!(
                "the spine has {} timestamp columns ({}): say which one tells the event timestamp",
                names.len(),
                names.join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::{EntityId, JoinKey};
    use arrow_array::TimestampSecondArray;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn seconds(times: Vec<i64>) -> ArrayRef {
        Arc::new(TimestampSecondArray::from(times))
    }

    fn airport() -> Entity {
        Entity {
            id: EntityId(0),
            name: "airport".into(),
            join_keys: vec![JoinKey { name: "origin".into(), key_type: KeyType::String }],
            owner: None,
            description: None,
        }
    }

    fn why(result: Result<impl Sized>) -> String {
        result.err().unwrap().to_string()
    }

    #[test]
    fn the_one_timestamp_column_tells_the_times() {
        let spine =
            batch(vec![("t", seconds(vec![2])), ("x", Arc::new(Int64Array::from(vec![1])))]);
        let spine = Spine::from_batch(spine, None).unwrap();
        assert_eq!(spine.times().values(), &[2_000_000]);
    }

    #[test]
    fn several_or_no_timestamp_columns_are_an_error_that_lists_them() {
        let two = batch(vec![("a", seconds(vec![2])), ("b", seconds(vec![2]))]);
        let text = why(Spine::from_batch(two.clone(), None));
        assert!(text.contains("2 timestamp columns (a, b)"), "{text}");
        assert!(Spine::from_batch(two.clone(), Some("b")).is_ok());
        let text = why(Spine::from_batch(two, Some("c")));
        assert!(text.contains("no event timestamp column 'c'"), "{text}");
        let none = batch(vec![("x", Arc::new(Int64Array::from(vec![1])))]);
        assert!(why(Spine::from_batch(none.clone(), None)).contains("x (Int64)"));
        assert!(why(Spine::from_batch(none, Some("x"))).contains("holds Int64"));
    }

    #[test]
    fn a_missing_key_column_is_named_with_the_nearest_one_and_the_way_to_map_it() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["JFK"]));
        let spine = batch(vec![("t", seconds(vec![2])), ("origins", text)]);
        let spine = Spine::from_batch(spine, None).unwrap();
        let text = why(spine.key_columns(&airport(), &[]));
        assert_eq!(
            text,
            "the spine has no column 'origin' for join key origin of entity airport; did you mean \
             'origins'?; it has t, origins; say which column it is with --map origin=COLUMN"
        );
        let map = |column: &str| [("origin".to_owned(), column.to_owned())];
        assert_eq!(spine.key_columns(&airport(), &map("origins")).unwrap(), [1]);
        let text = why(spine.key_columns(&airport(), &map("t")));
        assert!(text.contains("'t' holds Timestamp(s)"), "{text}");
    }

    #[test]
    fn any_bytes_are_a_stream_or_an_error() {
        for bytes in [&b""[..], b"PAR1", &[0xff; 64], &[0; 64], b"\xff\xff\xff\xff\x10\0\0\0"] {
            assert!(Spine::from_ipc_stream(bytes, None).is_err());
        }
    }
}
