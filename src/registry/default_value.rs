//! The default of a feature: a TOML value read as the type that the feature has.
//!
//! Invariants
//! - A number beyond the range of its type is refused, never made infinite or cut.

use super::node::{Checked, Node};
use crate::feature::{List, Scalar, Timestamp, Value, ValueType};
use std::str::FromStr;
use toml::de::DeValue;

/// The value that stands at `node`, as one of type `value_type`.
pub(super) fn default_value(node: &Node<'_>, value_type: ValueType) -> Checked<Value> {
    let expected = format!("a default of type {value_type}");
    let (element, length) = match value_type {
        ValueType::Scalar(kind) => {
            return scalar(node.value(), kind).ok_or_else(|| node.unexpected(&expected));
        }
        ValueType::List { element, length } => (element, length),
    };
    let elements = node.elements(&expected)?;
    if let Some(length) = length.filter(|length| *length as usize != elements.len()) {
        let count = elements.len();
        return Err(node.refuse(format!("expected {expected}, got {count} of {length} elements")));
    }
    let values = elements
        .iter()
        .map(|item| scalar(item.value(), element).ok_or_else(|| item.unexpected(element.name())));
    let values = values.collect::<Checked<Vec<Value>>>()?;
    List::collect(element, values).map(Value::List).ok_or_else(|| node.unexpected(&expected))
}

fn scalar(value: &DeValue<'_>, kind: Scalar) -> Option<Value> {
    Some(match (kind, value) {
        (Scalar::Bool, DeValue::Boolean(value)) => Value::Bool(*value),
        (Scalar::String, DeValue::String(text)) => Value::String(text.to_string()),
        (Scalar::Bytes, DeValue::String(text)) => Value::Bytes(text.as_bytes().to_vec()),
        (Scalar::Timestamp, DeValue::String(text)) => {
            Value::Timestamp(Timestamp::parse(text).ok()?)
        }
        (Scalar::Timestamp, DeValue::Datetime(time)) => {
            Value::Timestamp(Timestamp::parse(&time.to_string()).ok()?)
        }
        (Scalar::Timestamp, DeValue::Integer(_)) => Value::Timestamp(Timestamp(integer(value)?)),
        (Scalar::Int32, _) => Value::Int32(integer(value)?.try_into().ok()?),
        (Scalar::Int64, _) => Value::Int64(integer(value)?),
        (Scalar::Float32, _) => Value::Float32(float(value, f32::NAN)?),
        (Scalar::Float64, _) => Value::Float64(float(value, f64::NAN)?),
        _ => return None,
    })
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let DeValue::Integer(integer) = value else { return None };
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// Read from its text, not by way of `f64`: rounding twice may end one bit off. Every way to write
/// `nan` is the one `nan`.
fn float<F: FromStr + Copy + Into<f64>>(value: &DeValue<'_>, nan: F) -> Option<F> {
    let text = match value {
        DeValue::Integer(_) => integer(value)?.to_string(),
        DeValue::Float(float) => float.as_str().to_owned(),
        _ => return None,
    };
    let float: F = text.parse().ok()?;
    let wide: f64 = float.into();
    if wide.is_nan() {
        return Some(nan);
    }
    (wide.is_finite() || text.contains("inf")).then_some(float)
}
