//! Features of rows as an Arrow IPC stream, written batch by batch as they are read.
//!
//! ```text
//! join keys │ spend │ spend__status │ spend__ts │ genre │ genre__status │ ...
//! ```
//! `__ts` is what Feast calls the event timestamp of a feature beside it; `__status` goes with it.

use super::{
    cells::column_of, convert::arrow_type, output::unwritable_stream, source::key_value_type,
    spine::key_column,
};
use crate::{
    error::{Error, Result},
    feature::{KeyPart, KeyType, Scalar, Status, Timestamp, Value, ValueType},
};
use arrow_array::{
    ArrayRef, DictionaryArray, Int8Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    types::Int8Type,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use std::{collections::HashSet, sync::Arc};

/// What the status of a feature is called, behind its name.
const STATUS_SUFFIX: &str = "__status";
/// What its event timestamp is called.
const TIME_SUFFIX: &str = "__ts";

/// The statuses in the order of their entries in the dictionary.
const STATUSES: [Status; 4] =
    [Status::Present, Status::NullValue, Status::OutsideMaxAge, Status::NotFound];

/// The columns of a table.
#[derive(Clone, Debug)]
pub struct TableColumns {
    /// The join keys, in order.
    pub keys: Vec<(String, KeyType)>,
    /// The features, in order.
    pub features: Vec<(String, ValueType)>,
    /// Whether a column behind each feature tells its status.
    pub with_status: bool,
    /// Whether a column behind that tells its event timestamp.
    pub with_time: bool,
}

/// One cell: its value, if it is present, its status, its event timestamp.
pub type TableCell<'a> = (Option<&'a Value>, Status, Option<Timestamp>);

/// An IPC stream that is being written.
pub struct FeatureTable {
    columns: TableColumns,
    schema: SchemaRef,
    statuses: ArrayRef,
    writer: StreamWriter<Vec<u8>>,
}

impl FeatureTable {
    /// Begins a stream; refuses columns of one name.
    pub fn new(columns: TableColumns) -> Result<Self> {
        let schema = Arc::new(Schema::new(fields(&columns)));
        let mut names = HashSet::new();
        if let Some(field) = schema.fields().iter().find(|field| !names.insert(field.name())) {
            return Err(Error::refused(format!(
                "two columns would be called '{}': name each feature and each join key once",
                field.name()
            )));
        }
        let names = STATUSES.map(Status::name);
        let writer = StreamWriter::try_new(Vec::new(), &schema)
            .map_err(|error| unwritable_stream(&error))?;
        Ok(Self { columns, schema, statuses: Arc::new(StringArray::from(names.to_vec())), writer })
    }

    /// The bytes written so far.
    pub fn bytes(&self) -> usize {
        self.writer.get_ref().len()
    }

    /// Writes a batch: the keys of some rows, and what `cell` tells of a row of the batch and a
    /// feature, each by its place.
    pub fn write<'a>(
        &mut self,
        keys: &[Vec<KeyPart>],
        cell: impl Fn(usize, usize) -> TableCell<'a>,
    ) -> Result<()> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for (place, (name, key_type)) in self.columns.keys.iter().enumerate() {
            let column = key_column(*key_type, keys.iter().map(|parts| parts.get(place)));
            arrays.push(column.ok_or_else(|| wrong(name, key_type.name()))?);
        }
        for (place, (name, value_type)) in self.columns.features.iter().enumerate() {
            let cells: Vec<TableCell<'a>> = (0..keys.len()).map(|row| cell(row, place)).collect();
            let values: Vec<Option<&Value>> = cells.iter().map(|(value, ..)| *value).collect();
            let column = column_of(&values, *value_type);
            arrays.push(column.ok_or_else(|| wrong(name, &value_type.to_string()))?);
            if self.columns.with_status {
                arrays.push(self.status_column(&cells)?);
            }
            if self.columns.with_time {
                let times = cells.iter().map(|(.., event)| event.map(Timestamp::us));
                let times: TimestampMicrosecondArray = times.collect();
                arrays.push(Arc::new(times.with_timezone("UTC")));
            }
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays);
        batch.and_then(|batch| self.writer.write(&batch)).map_err(|error| unwritable_stream(&error))
    }

    fn status_column(&self, cells: &[TableCell<'_>]) -> Result<ArrayRef> {
        let entry = |status: &Status| STATUSES.iter().position(|each| each == status);
        let entries: Int8Array =
            cells.iter().map(|(_, status, _)| i8::try_from(entry(status)?).ok()).collect();
        let column = DictionaryArray::<Int8Type>::try_new(entries, Arc::clone(&self.statuses));
        Ok(Arc::new(column.map_err(|error| unwritable_stream(&error))?))
    }

    /// The whole stream.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.writer
            .finish()
            .and_then(|()| self.writer.into_inner())
            .map_err(|error| unwritable_stream(&error))
    }
}

fn fields(columns: &TableColumns) -> Vec<Field> {
    let mut fields = Vec::new();
    for (name, key_type) in &columns.keys {
        fields.push(Field::new(name, arrow_type(key_value_type(*key_type)), false));
    }
    for (name, value_type) in &columns.features {
        fields.push(Field::new(name, arrow_type(*value_type), true));
        if columns.with_status {
            let text = arrow_type(ValueType::Scalar(Scalar::String));
            let name = format!("{name}{STATUS_SUFFIX}");
            fields.push(Field::new_dictionary(name, DataType::Int8, text, false));
        }
        if columns.with_time {
            let time = arrow_type(ValueType::Scalar(Scalar::Timestamp));
            fields.push(Field::new(format!("{name}{TIME_SUFFIX}"), time, true));
        }
    }
    fields
}

fn wrong(name: &str, expected: &str) -> Error {
    Error::refused(format!("column '{name}': a value is not {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::{Spine, cell};

    fn columns(with_status: bool, with_time: bool) -> TableColumns {
        TableColumns {
            keys: vec![("user".into(), KeyType::Int64)],
            features: vec![("spend".into(), ValueType::Scalar(Scalar::Float64))],
            with_status,
            with_time,
        }
    }

    #[test]
    fn what_is_written_in_batches_reads_back_as_one_table() {
        let mut table = FeatureTable::new(columns(true, true)).unwrap();
        let value = Value::Float64(12.5);
        table
            .write(&[vec![KeyPart::Int64(7)]], |_, _| {
                (Some(&value), Status::Present, Some(Timestamp(5)))
            })
            .unwrap();
        table.write(&[vec![KeyPart::Int64(8)]], |_, _| (None, Status::NotFound, None)).unwrap();
        assert!(table.bytes() > 0);
        let stream = table.finish().unwrap();
        let read = Spine::from_ipc_stream(&stream, Some("spend__ts")).unwrap();
        let row = |row| (0..4).map(|column| cell(read.batch(), column, row)).collect::<Vec<_>>();
        let text = |text: &str| Some(Value::String(text.into()));
        let time = Some(Value::Timestamp(Timestamp(5)));
        assert_eq!(row(0), [Some(Value::Int64(7)), Some(value.clone()), text("PRESENT"), time]);
        assert_eq!(row(1), [Some(Value::Int64(8)), None, text("NOT_FOUND"), None]);
    }

    #[test]
    fn two_columns_of_one_name_are_refused() {
        let mut twice = columns(true, false);
        twice.features.push(("spend__status".into(), ValueType::Scalar(Scalar::String)));
        let why = FeatureTable::new(twice).err().unwrap().to_string();
        assert!(why.contains("two columns would be called 'spend__status'"), "{why}");
    }
}
