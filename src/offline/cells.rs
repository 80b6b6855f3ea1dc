//! One cell of a column as a value, and values as a column.

use super::convert::{arrow_type, convert, converts};
use crate::feature::{KeyPart, List, Scalar, Timestamp, Value, ValueType};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array,
    ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
    cast::AsArray,
    types::{Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::DataType;
use std::sync::Arc;

/// The value at `row` of `column`; `None` for null, and for a type that no value has.
pub fn cell(batch: &RecordBatch, column: usize, row: usize) -> Option<Value> {
    let array = batch.columns().get(column).filter(|array| row < array.len())?;
    let value_type = natural_type(array.data_type())?;
    if *array.data_type() == arrow_type(value_type) {
        return value_at(array, row);
    }
    value_at(&convert(&array.slice(row, 1), value_type).ok()?, 0)
}

/// The narrowest of our types that holds every value of a column of this type.
fn natural_type(data_type: &DataType) -> Option<ValueType> {
    let scalar = Scalar::ALL.into_iter().map(ValueType::Scalar);
    let list = Scalar::ALL.into_iter().map(|element| ValueType::List { element, length: None });
    let length = match data_type {
        DataType::FixedSizeList(_, length) => u32::try_from(*length).ok(),
        _ => None,
    };
    let fixed = Scalar::ALL.into_iter().map(|element| ValueType::List { element, length });
    scalar.chain(fixed).chain(list).find(|value_type| converts(data_type, *value_type))
}

/// The value at `row` of a column of one of the types that [`arrow_type`] gives.
pub(super) fn value_at(array: &ArrayRef, row: usize) -> Option<Value> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int32 => Value::Int32(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => Value::Int64(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => Value::Float32(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => Value::Float64(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Value::String(array.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        DataType::Timestamp(..) => {
            Value::Timestamp(Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row)))
        }
        DataType::List(_) => list_of(&array.as_list::<i32>().value(row))?,
        DataType::FixedSizeList(..) => list_of(&array.as_fixed_size_list().value(row))?,
        _ => return None,
    })
}

/// The part of a key that a value is; `None` for a type that no join key has.
pub(super) fn key_part(value: Value) -> Option<KeyPart> {
    match value {
        Value::Int64(integer) => Some(KeyPart::Int64(integer)),
        Value::String(text) => Some(KeyPart::Bytes(text.into_bytes())),
        Value::Bytes(bytes) => Some(KeyPart::Bytes(bytes)),
        _ => None,
    }
}

fn list_of(elements: &ArrayRef) -> Option<Value> {
    if let DataType::Float32 = elements.data_type() {
        // Embeddings are long: no value per element on the way.
        let floats = elements.as_primitive::<Float32Type>().values().to_vec();
        return Some(Value::List(List::Float32(floats)));
    }
    let ValueType::Scalar(element) = natural_type(elements.data_type())? else { return None };
    let values: Option<Vec<Value>> = (0..elements.len()).map(|i| value_at(elements, i)).collect();
    List::collect(element, values?).map(Value::List)
}

/// A column of `value_type` from values; `None` if a value is of another type.
pub(super) fn column_of(values: &[Option<&Value>], value_type: ValueType) -> Option<ArrayRef> {
    if values.iter().flatten().any(|value| !value.is_of(value_type)) {
        return None;
    }
    match value_type {
        ValueType::Scalar(scalar) => Some(scalar_column(values, scalar)),
        ValueType::List { element, .. } => {
            let list = |value: &Option<&Value>| match value {
                Some(Value::List(list)) => Some(list.clone()),
                _ => None,
            };
            let lists: Vec<Option<List>> = values.iter().map(list).collect();
            let lengths = lists.iter().map(|list| list.as_ref().map_or(0, List::len));
            let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
            let present = lists.iter().flatten();
            let flat: Vec<Value> =
                present.flat_map(|list| (0..list.len()).filter_map(|i| list.get(i))).collect();
            let flat: Vec<Option<&Value>> = flat.iter().map(Some).collect();
            let nulls: NullBuffer = lists.iter().map(Option::is_some).collect();
            let DataType::List(item) = arrow_type(ValueType::List { element, length: None }) else {
                return None;
            };
            let column =
                ListArray::try_new(item, offsets, scalar_column(&flat, element), Some(nulls));
            convert(&(Arc::new(column.ok()?) as ArrayRef), value_type).ok()
        }
    }
}

fn scalar_column(values: &[Option<&Value>], scalar: Scalar) -> ArrayRef {
    macro_rules! column {
        ($array:ty, $variant:ident, $read:expr) => {
            Arc::new(
                values
                    .iter()
                    .map(|value| match value {
                        Some(Value::$variant(value)) => Some($read(value)),
                        _ => None,
                    })
                    .collect::<$array>(),
            )
        };
    }
    match scalar {
        Scalar::Bool => column!(BooleanArray, Bool, |value: &bool| *value),
        Scalar::Int32 => column!(Int32Array, Int32, |value: &i32| *value),
        Scalar::Int64 => column!(Int64Array, Int64, |value: &i64| *value),
        Scalar::Float32 => column!(Float32Array, Float32, |value: &f32| *value),
        Scalar::Float64 => column!(Float64Array, Float64, |value: &f64| *value),
        Scalar::String => column!(StringArray, String, String::clone),
        Scalar::Bytes => column!(BinaryArray, Bytes, Vec::clone),
        Scalar::Timestamp => {
            let instants: TimestampMicrosecondArray = values
                .iter()
                .map(|value| match value {
                    Some(Value::Timestamp(instant)) => Some(instant.us()),
                    _ => None,
                })
                .collect();
            Arc::new(instants.with_timezone("UTC"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::UInt16Array;
    use arrow_schema::{Field, Schema};

    #[test]
    fn a_column_of_every_type_gives_back_the_values_it_was_made_of() {
        for (value_type, text) in [
            ("bool", "true"),
            ("int32", "-5"),
            ("int64", "5"),
            ("float32", "nan"),
            ("float64", "-0.5"),
            ("string", "Zürich"),
            ("bytes", "\0a"),
            ("timestamp", "7"),
            ("int64[]", "[]"),
            ("float32[2]", "[1,2]"),
            ("string[]", "[\"a\"]"),
            ("bytes[]", "[\"a\",\"b\"]"),
            ("timestamp[1]", "[\"2013-07-04\"]"),
            ("bool[]", "[true,false]"),
        ] {
            let value_type = ValueType::parse(value_type).unwrap();
            let value = Value::parse(text.as_bytes(), value_type).unwrap();
            let column = column_of(&[None, Some(&value)], value_type).unwrap();
            assert_eq!(column.data_type(), &arrow_type(value_type));
            let field = Field::new("f", column.data_type().clone(), true);
            let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]);
            let batch = batch.unwrap();
            assert_eq!(cell(&batch, 0, 0), None);
            assert_eq!(cell(&batch, 0, 1), Some(value));
            assert_eq!(cell(&batch, 0, 2), None);
        }
    }

    #[test]
    fn a_value_of_another_type_makes_no_column() {
        assert!(column_of(&[Some(&Value::Int32(1))], ValueType::Scalar(Scalar::Int64)).is_none());
    }

    #[test]
    fn a_narrow_column_of_a_spine_is_read_as_well() {
        let column: ArrayRef = Arc::new(UInt16Array::from(vec![9]));
        let field = Field::new("f", DataType::UInt16, true);
        let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]);
        assert_eq!(cell(&batch.unwrap(), 0, 0), Some(Value::Int32(9)));
    }
}
