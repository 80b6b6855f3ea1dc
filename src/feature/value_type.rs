//! The types a feature may have, and their names in definitions.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A type of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scalar {
    /// `bool`
    Bool,
    /// `int32`
    Int32,
    /// `int64`
    Int64,
    /// `float32`
    Float32,
    /// `float64`
    Float64,
    /// `string`: UTF-8 text
    String,
    /// `bytes`
    Bytes,
    /// `timestamp`: an instant in µs, UTC
    Timestamp,
}

impl Scalar {
    /// All of them, in the order the documentation lists them.
    pub const ALL: [Self; 8] = [
        Self::Bool,
        Self::Int32,
        Self::Int64,
        Self::Float32,
        Self::Float64,
        Self::String,
        Self::Bytes,
        Self::Timestamp,
    ];

    /// The name in a definition.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamp",
        }
    }

    /// The bytes of a value where every value has as many; `None` for text and bytes.
    pub fn fixed_bytes(self) -> Option<usize> {
        match self {
            Self::Bool => Some(1),
            Self::Int32 | Self::Float32 => Some(4),
            Self::Int64 | Self::Float64 | Self::Timestamp => Some(8),
            Self::String | Self::Bytes => None,
        }
    }
}

/// The type of a feature: one value, or a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ValueType {
    /// One value.
    Scalar(Scalar),
    /// `float32[]`, or `float32[128]` where every list has 128 elements.
    List {
        /// The type of each element; an element is never null.
        element: Scalar,
        /// How many elements every list has, if that is fixed.
        length: Option<u32>,
    },
}

impl ValueType {
    /// Reads `float64`, `float32[]`, `float32[128]`.
    pub fn parse(text: &str) -> Option<Self> {
        let scalar = |name: &str| Scalar::ALL.into_iter().find(|scalar| scalar.name() == name);
        let Some(list) = text.strip_suffix(']') else { return scalar(text).map(Self::Scalar) };
        let (element, length) = list.split_once('[')?;
        let length = match length {
            "" => None,
            digits => Some(digits.parse().ok().filter(|length| *length > 0)?),
        };
        Some(Self::List { element: scalar(element)?, length })
    }

    /// The bytes of a value where every value has as many; `None` otherwise.
    pub fn fixed_bytes(self) -> Option<usize> {
        match self {
            Self::Scalar(scalar) => scalar.fixed_bytes(),
            Self::List { element, length } => {
                element.fixed_bytes()?.checked_mul(usize::try_from(length?).ok()?)
            }
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => f.write_str(scalar.name()),
            Self::List { element, length: None } => write!(f, "{}[]", element.name()),
            Self::List { element, length: Some(length) } => {
                write!(f, "{}[{length}]", element.name())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_reads_back_as_it_is_written() {
        for text in ["bool", "int64", "string", "float32[]", "float32[128]", "timestamp[3]"] {
            assert_eq!(ValueType::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "float", "float64[0]", "float64[-1]", "float64[", "[]", "float64[][]"] {
            assert_eq!(ValueType::parse(text), None, "{text}");
        }
    }
}
