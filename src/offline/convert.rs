//! From the types that files have to ours: exactly, or not at all.
//!
//! ```text
//! declared     accepted
//! int32        int8 int16 int32 uint8 uint16
//! int64        those, int64, uint32
//! float64      float64 float32, and the integers up to 32 bits
//! string       utf8, large_utf8, utf8view                       (each also as a dictionary)
//! bytes        binary, large_binary, binaryview, fixed_size_binary
//! timestamp    s, ms, µs, ns with a zone or without (then UTC), date32, date64
//! T[] T[n]     list, large_list, fixed_size_list of what T accepts
//! ```
//!
//! Invariants
//! - No conversion changes a value; the one exception is ns, which are rounded as the caller says.
//! - What does not fit (a time beyond the years that µs reach) is an error, never null.

use super::lists::{Lists, list_child};
use crate::feature::{Scalar, ValueType};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, Int64Array, PrimitiveArray, TimestampMicrosecondArray,
    cast::AsArray,
    types::{
        Date32Type, Date64Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType,
    },
};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, TimeUnit};
use std::sync::Arc;

/// Where a time between two microseconds goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    /// To the later one: an event must not be seen before it happened.
    Up,
    /// To the earlier one: a question must not see what happened after it.
    Down,
}

/// The type of the column that holds values of `value_type`.
pub fn arrow_type(value_type: ValueType) -> DataType {
    match value_type {
        ValueType::Scalar(scalar) => scalar_type(scalar),
        ValueType::List { element, length: None } => DataType::List(item_field(element)),
        ValueType::List { element, length: Some(length) } => {
            let length = i32::try_from(length).unwrap_or(i32::MAX);
            DataType::FixedSizeList(item_field(element), length)
        }
    }
}

/// Whether a column of type `from` can stand where `to` is declared.
pub(super) fn converts(from: &DataType, to: ValueType) -> bool {
    match (from, to) {
        (_, ValueType::Scalar(scalar)) => converts_scalar(from, scalar),
        (
            DataType::List(item) | DataType::LargeList(item),
            ValueType::List { element, length: _ },
        ) => converts_scalar(item.data_type(), element),
        (DataType::FixedSizeList(item, n), ValueType::List { element, length }) => {
            let fits = length.is_none_or(|length| u32::try_from(*n) == Ok(length));
            fits && converts_scalar(item.data_type(), element)
        }
        _ => false,
    }
}

fn converts_scalar(from: &DataType, to: Scalar) -> bool {
    use DataType as D;
    if let D::Dictionary(_, values) = from {
        return !matches!(**values, D::Dictionary(..)) && converts_scalar(values, to);
    }
    let small = matches!(from, D::Int8 | D::Int16 | D::Int32 | D::UInt8 | D::UInt16);
    match to {
        Scalar::Bool => matches!(from, D::Boolean),
        Scalar::Int32 => small,
        Scalar::Int64 => small || matches!(from, D::Int64 | D::UInt32),
        Scalar::Float32 => matches!(from, D::Float32),
        Scalar::Float64 => small || matches!(from, D::Float64 | D::Float32 | D::UInt32),
        Scalar::String => matches!(from, D::Utf8 | D::LargeUtf8 | D::Utf8View),
        Scalar::Bytes => {
            matches!(from, D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_))
        }
        Scalar::Timestamp => is_time(from),
    }
}

/// Whether a column of this type tells instants.
pub(super) fn is_time(from: &DataType) -> bool {
    matches!(from, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
}

/// `array` as a column of `to`; an error says what in it does not fit. The type has been checked
/// with [`converts`].
pub(super) fn convert(array: &ArrayRef, to: ValueType) -> Result<ArrayRef, String> {
    match to {
        ValueType::Scalar(scalar) => convert_scalar(array, scalar),
        ValueType::List { element, length } => convert_list(array, element, length),
    }
}

fn convert_scalar(array: &ArrayRef, to: Scalar) -> Result<ArrayRef, String> {
    let wanted = scalar_type(to);
    if *array.data_type() == wanted {
        return Ok(Arc::clone(array));
    }
    if let DataType::Dictionary(_, values) = array.data_type() {
        return convert_scalar(&cast(array, values)?, to);
    }
    if to == Scalar::Timestamp {
        let us = times_us(array, Rounding::Down)?;
        let (_, values, nulls) = us.into_parts();
        return Ok(Arc::new(TimestampMicrosecondArray::new(values, nulls).with_timezone("UTC")));
    }
    cast(array, &wanted)
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, String> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &options).map_err(|error| error.to_string())
}

fn convert_list(
    array: &ArrayRef,
    element: Scalar,
    length: Option<u32>,
) -> Result<ArrayRef, String> {
    if *array.data_type() == arrow_type(ValueType::List { element, length })
        && list_child(array).is_some_and(|child| child.null_count() == 0)
    {
        return Ok(Arc::clone(array));
    }
    let mut lists = Lists::of(array)?;
    lists.child = convert_scalar(&lists.child, element)?;
    lists.refuse_null_elements()?;
    match length {
        None => lists.into_list(item_field(element)),
        Some(length) => lists.into_fixed(item_field(element), length),
    }
}

fn item_field(element: Scalar) -> Arc<Field> {
    Arc::new(Field::new_list_field(scalar_type(element), true))
}

fn scalar_type(scalar: Scalar) -> DataType {
    match scalar {
        Scalar::Bool => DataType::Boolean,
        Scalar::Int32 => DataType::Int32,
        Scalar::Int64 => DataType::Int64,
        Scalar::Float32 => DataType::Float32,
        Scalar::Float64 => DataType::Float64,
        Scalar::String => DataType::Utf8,
        Scalar::Bytes => DataType::Binary,
        Scalar::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    }
}

/// How the numbers of a time column become µs.
#[derive(Clone, Copy, Debug)]
enum Scale {
    Times(i64),
    DividedBy(i64),
}

impl Scale {
    fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Timestamp(TimeUnit::Second, _) => Self::Times(1_000_000),
            DataType::Timestamp(TimeUnit::Millisecond, _) | DataType::Date64 => Self::Times(1_000),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Self::Times(1),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => Self::DividedBy(1_000),
            DataType::Date32 => Self::Times(86_400_000_000),
            _ => return None,
        })
    }

    fn us(self, number: i64, rounding: Rounding) -> Option<i64> {
        match self {
            Self::Times(factor) => number.checked_mul(factor),
            Self::DividedBy(by) => {
                let late = rounding == Rounding::Up && number.rem_euclid(by) != 0;
                Some(number.div_euclid(by) + i64::from(late))
            }
        }
    }
}

/// One number of a time column as µs; `None` if that is no time or lies beyond what µs reach.
pub(super) fn time_us(number: i64, data_type: &DataType, rounding: Rounding) -> Option<i64> {
    Scale::of(data_type)?.us(number, rounding)
}

/// A time column as µs since 1970, UTC. Nulls stay null.
pub(super) fn times_us(array: &dyn Array, rounding: Rounding) -> Result<Int64Array, String> {
    let scale = Scale::of(array.data_type())
        .ok_or_else(|| format!("{} is no timestamp", array.data_type()))?;
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            scaled(array.as_primitive::<TimestampSecondType>(), scale, rounding)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            scaled(array.as_primitive::<TimestampMillisecondType>(), scale, rounding)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let times = array.as_primitive::<TimestampMicrosecondType>();
            Ok(Int64Array::new(times.values().clone(), times.nulls().cloned()))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            scaled(array.as_primitive::<TimestampNanosecondType>(), scale, rounding)
        }
        DataType::Date64 => scaled(array.as_primitive::<Date64Type>(), scale, rounding),
        _ => {
            let days = array.as_primitive::<Date32Type>().unary::<_, Int64Type>(i64::from);
            scaled(&days, scale, rounding)
        }
    }
}

fn scaled<T: ArrowPrimitiveType<Native = i64>>(
    times: &PrimitiveArray<T>,
    scale: Scale,
    rounding: Rounding,
) -> Result<Int64Array, String> {
    times.try_unary::<_, Int64Type, _>(|number| {
        scale
            .us(number, rounding)
            .ok_or_else(|| format!("{number} lies beyond the times that microseconds reach"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{
        Date32Array, FixedSizeListArray, Float32Array, Int8Array, LargeListArray, ListArray,
        StringArray, TimestampNanosecondArray, TimestampSecondArray,
        types::{Float32Type, Int32Type},
    };

    #[test]
    fn an_event_in_ns_is_rounded_up_and_a_question_down() {
        let ns = TimestampNanosecondArray::from(vec![Some(-1001), Some(1), None, Some(2000)]);
        let us = |rounding| times_us(&ns, rounding).unwrap().iter().collect::<Vec<_>>();
        assert_eq!(us(Rounding::Up), [Some(-1), Some(1), None, Some(2)]);
        assert_eq!(us(Rounding::Down), [Some(-2), Some(0), None, Some(2)]);
    }

    #[test]
    fn a_time_beyond_what_us_reach_is_an_error() {
        let seconds = TimestampSecondArray::from(vec![i64::MAX / 1000]);
        assert!(times_us(&seconds, Rounding::Up).unwrap_err().contains("beyond"));
        let days = Date32Array::from(vec![1, -1]);
        let us = times_us(&days, Rounding::Up).unwrap();
        assert_eq!(us.values(), &[86_400_000_000, -86_400_000_000]);
    }

    #[test]
    fn only_exact_conversions_are_accepted() {
        let accepts = |from: DataType, to: &str| converts(&from, ValueType::parse(to).unwrap());
        assert!(accepts(DataType::Int8, "int32") && accepts(DataType::UInt32, "int64"));
        assert!(accepts(DataType::Int32, "float64") && accepts(DataType::Float32, "float64"));
        assert!(!accepts(DataType::UInt32, "int32") && !accepts(DataType::Int64, "float64"));
        assert!(!accepts(DataType::Float64, "float32") && !accepts(DataType::Utf8, "int64"));
        let narrow: ArrayRef = Arc::new(Int8Array::from(vec![Some(-3), None]));
        let wide = convert(&narrow, ValueType::Scalar(Scalar::Int64)).unwrap();
        assert_eq!(wide.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(-3), None]);
    }

    #[test]
    fn a_dictionary_of_text_becomes_text() {
        let dictionary: arrow_array::DictionaryArray<Int32Type> =
            vec![Some("a"), None, Some("a")].into_iter().collect();
        let array: ArrayRef = Arc::new(dictionary);
        let text = convert(&array, ValueType::Scalar(Scalar::String)).unwrap();
        assert_eq!(text.as_string::<i32>(), &StringArray::from(vec![Some("a"), None, Some("a")]));
    }

    #[test]
    fn lists_of_every_kind_become_the_declared_kind() {
        let rows =
            || vec![Some(vec![Some(1.0), Some(2.0)]), None, Some(vec![Some(3.0), Some(4.0)])];
        let large: ArrayRef =
            Arc::new(LargeListArray::from_iter_primitive::<Float32Type, _, _>(rows()));
        let fixed: ArrayRef =
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows(), 2));
        for array in [large, fixed] {
            for slice in [Arc::clone(&array), array.slice(1, 2)] {
                for to in ["float32[]", "float32[2]"] {
                    let to = ValueType::parse(to).unwrap();
                    let lists = convert(&slice, to).unwrap();
                    assert_eq!(lists.data_type(), &arrow_type(to));
                    assert_eq!((lists.len(), lists.null_count()), (slice.len(), 1));
                    let last = list_child(&lists).unwrap();
                    let last = last.slice(last.len() - 2, 2);
                    assert_eq!(
                        last.as_primitive::<Float32Type>(),
                        &Float32Array::from(vec![3.0, 4.0])
                    );
                }
            }
        }
    }

    #[test]
    fn a_list_of_wrong_length_or_with_a_null_element_is_refused() {
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>([
            Some(vec![Some(1.0), None]),
        ]));
        let why = |to| convert(&lists, ValueType::parse(to).unwrap()).unwrap_err();
        assert_eq!(why("float32[]"), "a list has a null element");
        let short: ArrayRef =
            Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>([Some(vec![Some(1.0)])]));
        let why = convert(&short, ValueType::parse("float32[2]").unwrap()).unwrap_err();
        assert_eq!(why, "a list has 1 elements, not 2");
    }
}
