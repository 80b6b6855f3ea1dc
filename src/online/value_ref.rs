//! A value where it stands in a packed row, and how values are packed.
//!
//! ```text
//! bool               1 byte                    float32              4 bytes, little-endian
//! float64            8 bytes                   string bytes         as they are
//! int32 int64        as few bytes as hold it   timestamp            likewise, µs
//! list of numbers    one after the other, integers in 4 and 8 bytes
//! list of string     u32 length and bytes, one after the other (bytes likewise)
//! ```
//! In as few bytes as hold it: little-endian two's complement, none for 0. In rows of the earlier
//! form every integer has 4 or 8 bytes, which reads alike.

use super::bytes::{bytes_at, push_len, u32_at};
use crate::feature::{List, Scalar, Timestamp, Value, ValueType};
use nowthen_protocol::vector::VectorNumber;
use std::ops::Deref;

/// Most values of these types are small, and stand in as few bytes as hold them.
pub(super) const SHORTENED: [ValueType; 3] = [
    ValueType::Scalar(Scalar::Int32),
    ValueType::Scalar(Scalar::Int64),
    ValueType::Scalar(Scalar::Timestamp),
];

/// A value in a row, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct ValueRef<'a> {
    value_type: ValueType,
    bytes: &'a [u8],
}

impl<'a> ValueRef<'a> {
    /// The value of type `value_type` that `bytes` hold.
    pub(super) fn new(value_type: ValueType, bytes: &'a [u8]) -> Self {
        Self { value_type, bytes }
    }

    /// Its declared type.
    #[inline]
    pub fn value_type(self) -> ValueType {
        self.value_type
    }

    /// The packed bytes: of text and bytes the value itself.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The same with integers in 4 or 8 bytes: those of equal values are equal, whenever the row
    /// was written.
    pub fn with_wide_bytes<R>(self, read: impl FnOnce(&[u8]) -> R) -> R {
        match (self.value_type, self.number()) {
            (ValueType::Scalar(Scalar::Int32), Some(VectorNumber::Integer(number))) => {
                read(&(number as i32).to_le_bytes())
            }
            (
                ValueType::Scalar(Scalar::Int64 | Scalar::Timestamp),
                Some(VectorNumber::Integer(number)),
            ) => read(&number.to_le_bytes()),
            _ => read(self.bytes),
        }
    }

    /// The bytes in the form they are written in now.
    pub(super) fn packed(self) -> PackedValue<'a> {
        match (self.value_type, self.number()) {
            (
                ValueType::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Timestamp),
                Some(VectorNumber::Integer(number)),
            ) => PackedValue::short(number),
            _ => PackedValue::Borrowed(self.bytes),
        }
    }

    /// The value on its own; `None` if the bytes are none of this type, which no row of ours has.
    pub fn to_value(self) -> Option<Value> {
        match self.value_type {
            ValueType::Scalar(scalar) => unpack_scalar(scalar, self.bytes),
            ValueType::List { element, .. } => unpack_list(element, self.bytes).map(Value::List),
        }
    }

    /// The number it is; `None` of a list, of text and of bytes.
    #[inline(always)]
    pub fn number(self) -> Option<VectorNumber> {
        match self.value_type {
            ValueType::Scalar(scalar) => number(scalar, self.bytes),
            ValueType::List { .. } => None,
        }
    }

    /// The numbers it holds, without a copy: one, or the elements of a list. None of text or bytes.
    pub fn numbers(self) -> impl Iterator<Item = VectorNumber> + use<'a> {
        let (scalar, elements) = match self.value_type {
            ValueType::Scalar(scalar) => (scalar, &[][..]),
            ValueType::List { element, .. } => (element, self.bytes),
        };
        let size = scalar.fixed_bytes();
        let elements = size.map_or(&[][..], |_| elements);
        let elements = elements.chunks_exact(size.unwrap_or(1));
        self.number().into_iter().chain(elements.filter_map(move |bytes| number(scalar, bytes)))
    }

    /// Appends the text form: see [`Value::write_text`].
    pub fn write_text(self, out: &mut Vec<u8>) {
        match self.value_type {
            ValueType::Scalar(Scalar::String | Scalar::Bytes) => out.extend_from_slice(self.bytes),
            _ => {
                if let Some(value) = self.to_value() {
                    value.write_text(out);
                }
            }
        }
    }
}

/// The packed bytes of a value: for most of them no allocation is needed.
#[derive(Debug)]
pub(super) enum PackedValue<'a> {
    /// A number: so many of these.
    Few([u8; 8], usize),
    /// They are there already.
    Borrowed(&'a [u8]),
    /// They were put together.
    Owned(Vec<u8>),
}

impl Deref for PackedValue<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Few(bytes, count) => bytes.get(..*count).unwrap_or(bytes),
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl PartialEq for PackedValue<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<'a> PackedValue<'a> {
    /// Packs `value`.
    #[inline]
    pub(super) fn of(value: &'a Value) -> Self {
        match value {
            Value::Int32(value) => Self::short(i64::from(*value)),
            Value::Int64(value) => Self::short(*value),
            Value::Timestamp(value) => Self::short(value.us()),
            Value::Float64(value) => Self::few(value.to_le_bytes()),
            other => Self::of_element(other),
        }
    }

    /// An integer in as few bytes as hold it.
    #[inline]
    fn short(number: i64) -> Self {
        let magnitude = (number ^ (number >> 63)) as u64;
        let bytes = (u64::BITS - magnitude.leading_zeros()) / 8 + 1;
        Self::Few(number.to_le_bytes(), if number == 0 { 0 } else { bytes as usize })
    }

    /// Packs `value` as lists hold it.
    fn of_element(value: &'a Value) -> Self {
        match value {
            Value::Bool(value) => Self::few([u8::from(*value)]),
            Value::Int32(value) => Self::few(value.to_le_bytes()),
            Value::Int64(value) => Self::few(value.to_le_bytes()),
            Value::Float32(value) => Self::few(value.to_le_bytes()),
            Value::Float64(value) => Self::few(value.to_le_bytes()),
            Value::String(value) => Self::Borrowed(value.as_bytes()),
            Value::Bytes(value) => Self::Borrowed(value),
            Value::Timestamp(value) => Self::few(value.us().to_le_bytes()),
            Value::List(list) => {
                let is_sized = list.element().fixed_bytes().is_none();
                let mut out = Vec::new();
                for value in (0..list.len()).filter_map(|index| list.get(index)) {
                    let packed = PackedValue::of_element(&value);
                    if is_sized {
                        push_len(&mut out, packed.len());
                    }
                    out.extend_from_slice(&packed);
                }
                Self::Owned(out)
            }
        }
    }

    fn few<const N: usize>(bytes: [u8; N]) -> Self {
        let mut few = [0; 8];
        few.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Self::Few(few, N)
    }
}

fn unpack_scalar(scalar: Scalar, bytes: &[u8]) -> Option<Value> {
    Some(match scalar {
        Scalar::Bool => Value::Bool(*bytes.first()? != 0),
        Scalar::Int32 => Value::Int32(i32::try_from(integer(bytes)?).ok()?),
        Scalar::Int64 => Value::Int64(integer(bytes)?),
        Scalar::Float32 => Value::Float32(f32::from_le_bytes(bytes.try_into().ok()?)),
        Scalar::Float64 => Value::Float64(f64::from_le_bytes(bytes.try_into().ok()?)),
        Scalar::String => Value::String(String::from_utf8(bytes.to_vec()).ok()?),
        Scalar::Bytes => Value::Bytes(bytes.to_vec()),
        Scalar::Timestamp => Value::Timestamp(Timestamp(integer(bytes)?)),
    })
}

/// The integer in at most 8 bytes, the last of which has the sign.
#[inline]
fn integer(bytes: &[u8]) -> Option<i64> {
    if let Ok(all) = bytes.try_into() {
        return Some(i64::from_le_bytes(all));
    }
    let sign = if bytes.last().is_some_and(|last| *last >= 0x80) { 0xff } else { 0 };
    let mut wide = [sign; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(wide))
}

#[inline]
fn number(scalar: Scalar, bytes: &[u8]) -> Option<VectorNumber> {
    match scalar {
        Scalar::Bool => Some(VectorNumber::Integer(i64::from(*bytes.first()? != 0))),
        Scalar::Int32 | Scalar::Int64 | Scalar::Timestamp => {
            integer(bytes).map(VectorNumber::Integer)
        }
        Scalar::Float32 => Some(VectorNumber::Float32(f32::from_le_bytes(bytes.try_into().ok()?))),
        Scalar::Float64 => Some(VectorNumber::Float64(f64::from_le_bytes(bytes.try_into().ok()?))),
        Scalar::String | Scalar::Bytes => None,
    }
}

fn unpack_list(element: Scalar, mut bytes: &[u8]) -> Option<List> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let (start, count) = match element.fixed_bytes() {
            Some(count) => (0, count),
            None => (4, u32_at(bytes, 0)?),
        };
        values.push(unpack_scalar(element, bytes_at(bytes, start, count)?)?);
        bytes = bytes.get(start + count..)?;
    }
    List::collect(element, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_integer_survives_in_as_few_bytes_as_hold_it(number: i64, shift in 0u32..64) {
            let number = number >> shift;
            let value = Value::Int64(number);
            let packed = PackedValue::of(&value);
            prop_assert_eq!(integer(&packed), Some(number));
            if let Some(shorter) = packed.len().checked_sub(1) {
                prop_assert_ne!(integer(&packed[..shorter]), Some(number));
            }
            let value_type = ValueType::Scalar(Scalar::Int64);
            let (short, wide) = (ValueRef::new(value_type, &packed), number.to_le_bytes());
            let wide = ValueRef::new(value_type, &wide);
            prop_assert_eq!(short.to_value(), wide.to_value());
            prop_assert_eq!(&*wide.packed(), &*packed);
            prop_assert_eq!(short.with_wide_bytes(<[u8]>::to_vec), wide.bytes());
            prop_assert_eq!(short.numbers().collect::<Vec<_>>(), [VectorNumber::Integer(number)]);
        }
    }

    #[test]
    fn every_type_survives_packing() {
        for (text, value_type) in [
            ("true", "bool"),
            ("-7", "int32"),
            ("9007199254740993", "int64"),
            ("1.5", "float32"),
            ("nan", "float64"),
            ("", "string"),
            ("2013-07-04T12:00:00Z", "timestamp"),
            ("[1.5,-2]", "float32[2]"),
            ("[\"\",\"a:b\"]", "string[]"),
            ("[]", "int64[]"),
        ] {
            let value_type = ValueType::parse(value_type).unwrap();
            let value = Value::parse(text.as_bytes(), value_type).unwrap();
            let packed = PackedValue::of(&value);
            assert_eq!(ValueRef::new(value_type, &packed).to_value().as_ref(), Some(&value));
        }
    }
}
