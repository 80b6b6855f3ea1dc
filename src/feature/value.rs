//! One value of a feature: how it is read from what a client sent, and written back.
//!
//! Invariants
//! - Two values are equal if and only if they are the same bits: `NaN` equals itself, `0.0` is not
//!   `-0.0`. "Unchanged" and "no skew" are questions about bits.
//! - [`Value::write_text`] is what [`Value::parse`] reads, exactly.

use super::{
    time::Timestamp,
    value_type::{Scalar, ValueType},
};
use crate::error::{Error, Result, echo};
use serde::{Deserialize, Serialize};

/// A value that is there; null is the absence of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Value {
    /// `bool`
    Bool(bool),
    /// `int32`
    Int32(i32),
    /// `int64`
    Int64(i64),
    /// `float32`
    Float32(f32),
    /// `float64`
    Float64(f64),
    /// `string`
    String(String),
    /// `bytes`
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    /// `timestamp`
    Timestamp(Timestamp),
    /// A list of any of them.
    List(List),
}

/// The elements of a list, as plainly as the machine has them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum List {
    /// `bool[]`
    Bool(Vec<bool>),
    /// `int32[]`
    Int32(Vec<i32>),
    /// `int64[]`
    Int64(Vec<i64>),
    /// `float32[]`
    Float32(Vec<f32>),
    /// `float64[]`
    Float64(Vec<f64>),
    /// `string[]`
    String(Vec<String>),
    /// `bytes[]`
    Bytes(Vec<serde_bytes::ByteBuf>),
    /// `timestamp[]`
    Timestamp(Vec<Timestamp>),
}

impl List {
    /// How many elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Bool(list) => list.len(),
            Self::Int32(list) => list.len(),
            Self::Int64(list) => list.len(),
            Self::Float32(list) => list.len(),
            Self::Float64(list) => list.len(),
            Self::String(list) => list.len(),
            Self::Bytes(list) => list.len(),
            Self::Timestamp(list) => list.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the elements.
    pub fn element(&self) -> Scalar {
        match self {
            Self::Bool(_) => Scalar::Bool,
            Self::Int32(_) => Scalar::Int32,
            Self::Int64(_) => Scalar::Int64,
            Self::Float32(_) => Scalar::Float32,
            Self::Float64(_) => Scalar::Float64,
            Self::String(_) => Scalar::String,
            Self::Bytes(_) => Scalar::Bytes,
            Self::Timestamp(_) => Scalar::Timestamp,
        }
    }

    /// The element at `index` as a value of its own.
    pub fn get(&self, index: usize) -> Option<Value> {
        Some(match self {
            Self::Bool(list) => Value::Bool(*list.get(index)?),
            Self::Int32(list) => Value::Int32(*list.get(index)?),
            Self::Int64(list) => Value::Int64(*list.get(index)?),
            Self::Float32(list) => Value::Float32(*list.get(index)?),
            Self::Float64(list) => Value::Float64(*list.get(index)?),
            Self::String(list) => Value::String(list.get(index)?.clone()),
            Self::Bytes(list) => Value::Bytes(list.get(index)?.to_vec()),
            Self::Timestamp(list) => Value::Timestamp(*list.get(index)?),
        })
    }

    /// Collects values of one type; `None` if one is of another type, or itself a list.
    pub fn collect(element: Scalar, values: impl IntoIterator<Item = Value>) -> Option<Self> {
        macro_rules! of {
            ($variant:ident) => {
                Self::$variant(
                    values
                        .into_iter()
                        .map(|value| match value {
                            Value::$variant(value) => Some(value.into()),
                            _ => None,
                        })
                        .collect::<Option<_>>()?,
                )
            };
        }
        Some(match element {
            Scalar::Bool => of!(Bool),
            Scalar::Int32 => of!(Int32),
            Scalar::Int64 => of!(Int64),
            Scalar::Float32 => of!(Float32),
            Scalar::Float64 => of!(Float64),
            Scalar::String => of!(String),
            Scalar::Bytes => of!(Bytes),
            Scalar::Timestamp => of!(Timestamp),
        })
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int32(a), Self::Int32(b)) => a == b,
            (Self::Int64(a), Self::Int64(b)) => a == b,
            (Self::Float32(a), Self::Float32(b)) => a.to_bits() == b.to_bits(),
            (Self::Float64(a), Self::Float64(b)) => a.to_bits() == b.to_bits(),
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            _ => false,
        }
    }
}
impl Eq for Value {}

impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        self.element() == other.element()
            && self.len() == other.len()
            && (0..self.len()).all(|index| self.get(index) == other.get(index))
    }
}
impl Eq for List {}

impl Value {
    /// The type of this value; a list is of no fixed length.
    pub fn value_type(&self) -> ValueType {
        ValueType::Scalar(match self {
            Self::Bool(_) => Scalar::Bool,
            Self::Int32(_) => Scalar::Int32,
            Self::Int64(_) => Scalar::Int64,
            Self::Float32(_) => Scalar::Float32,
            Self::Float64(_) => Scalar::Float64,
            Self::String(_) => Scalar::String,
            Self::Bytes(_) => Scalar::Bytes,
            Self::Timestamp(_) => Scalar::Timestamp,
            Self::List(list) => return ValueType::List { element: list.element(), length: None },
        })
    }

    /// Whether this value may stand where `expected` is declared.
    pub fn is_of(&self, expected: ValueType) -> bool {
        match (self, expected) {
            (Self::List(list), ValueType::List { element, length }) => {
                list.element() == element && length.is_none_or(|n| list.len() == n as usize)
            }
            (Self::List(_), _) | (_, ValueType::List { .. }) => false,
            // By far the most.
            (Self::Float64(_), ValueType::Scalar(scalar)) => scalar == Scalar::Float64,
            _ => self.value_type() == expected,
        }
    }

    /// Reads the text a client sent for a feature of type `expected`.
    ///
    /// Booleans are `true false 1 0`, instants ISO-8601 or µs since 1970, lists JSON arrays. The
    /// error names type and text; the caller adds which feature it was.
    pub fn parse(text: &[u8], expected: ValueType) -> Result<Self> {
        let parsed = match expected {
            ValueType::Scalar(scalar) => parse_scalar(text, scalar),
            ValueType::List { element, length } => parse_list(text, element, length),
        };
        parsed.ok_or_else(|| Error::refused(format!("expected {expected}, got {}", echo(text))))
    }

    /// Appends the text form that [`Value::parse`] reads: the shortest that gives the same bits.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Self::Int32(value) => push_integer(out, i64::from(*value)),
            Self::Int64(value) => push_integer(out, *value),
            Self::Float32(value) => push_float(out, zmij::Buffer::new().format(*value)),
            Self::Float64(value) => nowthen_protocol::format_double(*value, out),
            Self::String(value) => out.extend_from_slice(value.as_bytes()),
            Self::Bytes(value) => out.extend_from_slice(value),
            Self::Timestamp(value) => out.extend_from_slice(value.to_iso().as_bytes()),
            Self::List(list) => write_list(list, out),
        }
    }

    /// [`Value::write_text`] as a string of its own; bytes that are no UTF-8 are replaced.
    pub fn to_text(&self) -> String {
        let mut out = Vec::new();
        self.write_text(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

fn push_integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Redis writes whole numbers without a fraction, and so do we.
fn push_float(out: &mut Vec<u8>, text: &str) {
    let text = text.strip_suffix(".0").unwrap_or(text);
    let text = match text {
        "NaN" => "nan",
        _ => text,
    };
    out.extend_from_slice(text.as_bytes());
}

fn parse_scalar(text: &[u8], scalar: Scalar) -> Option<Value> {
    if scalar == Scalar::Bytes {
        return Some(Value::Bytes(text.to_vec()));
    }
    if scalar == Scalar::Float64 {
        return parse_double(text).map(Value::Float64);
    }
    let text = std::str::from_utf8(text).ok()?;
    Some(match scalar {
        Scalar::Bool => Value::Bool(match text {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => return None,
        }),
        Scalar::Int32 => Value::Int32(text.parse().ok()?),
        Scalar::Int64 => Value::Int64(text.parse().ok()?),
        Scalar::Float32 => Value::Float32(text.parse().ok()?),
        Scalar::String => Value::String(text.to_owned()),
        Scalar::Timestamp => Value::Timestamp(Timestamp::parse(text).ok()?),
        Scalar::Float64 | Scalar::Bytes => return None,
    })
}

/// The double that text means, as [`Value::parse`] reads it.
#[inline]
pub fn parse_double(text: &[u8]) -> Option<f64> {
    fast_float2::parse(text).ok()
}

fn parse_list(text: &[u8], element: Scalar, length: Option<u32>) -> Option<Value> {
    let items: Vec<serde_json::Value> = serde_json::from_slice(text).ok()?;
    if length.is_some_and(|length| items.len() != length as usize) {
        return None;
    }
    let values = items.iter().map(|item| match item {
        serde_json::Value::String(text) => parse_scalar(text.as_bytes(), element),
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
            None
        }
        other => parse_scalar(other.to_string().as_bytes(), element),
    });
    let values: Vec<Value> = values.collect::<Option<_>>()?;
    List::collect(element, values).map(Value::List)
}

fn write_list(list: &List, out: &mut Vec<u8>) {
    out.push(b'[');
    for index in 0..list.len() {
        if index > 0 {
            out.push(b',');
        }
        let Some(value) = list.get(index) else { continue };
        match &value {
            Value::Bool(_) | Value::Int32(_) | Value::Int64(_) => value.write_text(out),
            Value::Float32(float) if float.is_finite() => value.write_text(out),
            Value::Float64(float) if float.is_finite() => value.write_text(out),
            // What JSON has no number for stands as a string.
            _ => out.extend_from_slice(
                serde_json::Value::String(value.to_text()).to_string().as_bytes(),
            ),
        }
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str, value_type: &str) -> Result<Value> {
        Value::parse(text.as_bytes(), ValueType::parse(value_type).unwrap())
    }

    #[test]
    fn text_of_every_type_is_read() {
        for (text, value_type, back) in [
            ("1", "bool", "true"),
            ("-5", "int32", "-5"),
            ("12.0", "float64", "12"),
            ("1e-7", "float64", "1e-7"),
            ("nan", "float64", "nan"),
            ("-inf", "float32", "-inf"),
            ("Zürich", "string", "Zürich"),
            ("0", "timestamp", "1970-01-01T00:00:00Z"),
            ("[1, 2.5]", "float32[2]", "[1,2.5]"),
            ("[\"a\",\"b\"]", "string[]", "[\"a\",\"b\"]"),
            ("[]", "int64[]", "[]"),
        ] {
            assert_eq!(parse(text, value_type).unwrap().to_text(), back);
        }
    }

    #[test]
    fn a_wrong_value_is_refused_with_type_and_text() {
        for (text, value_type) in [
            ("abc", "float64"),
            ("2147483648", "int32"),
            ("", "int64"),
            ("yes", "bool"),
            ("[1,2,3]", "float32[2]"),
            ("[1,null]", "int64[]"),
            ("[[1]]", "int64[]"),
        ] {
            let why = parse(text, value_type).unwrap_err().to_string();
            assert_eq!(why, format!("expected {value_type}, got '{text}'"));
        }
    }

    proptest! {
        #[test]
        fn a_double_is_read_as_the_standard_library_reads_it(
            text in "[-+]?[0-9]{0,25}\\.?[0-9]{0,25}([eE][-+]?[0-9]{0,4})?\
                     |[-+]?(?i)(nan|inf|infinity|in)|[-+.eE0-9 naif\u{e4}]{0,12}",
        ) {
            let expected = text.parse::<f64>().ok().map(f64::to_bits);
            prop_assert_eq!(parse_double(text.as_bytes()).map(f64::to_bits), expected, "{}", text);
        }

        #[test]
        fn a_float_survives_its_text_bit_for_bit(bits: u64, bits32: u32) {
            let double = f64::from_bits(bits);
            prop_assume!(!double.is_nan() && !f32::from_bits(bits32).is_nan());
            for value in [Value::Float64(double), Value::Float32(f32::from_bits(bits32))] {
                let back = Value::parse(value.to_text().as_bytes(), value.value_type()).unwrap();
                prop_assert_eq!(back, value);
            }
        }
    }
}
