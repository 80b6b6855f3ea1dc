//! A value of a feature as a reply.

use crate::{
    feature::{Scalar, Value, ValueType},
    online::ValueRef,
};
use nowthen_protocol::{ProtocolVersion, Reply, vector::VectorNumber};

/// RESP3 gives a value its type; in RESP2 everything is text.
pub(super) fn write_value(value: Option<&Value>, reply: &mut Reply<'_>) {
    let Some(value) = value else { return reply.null() };
    let is_typed = reply.version() == ProtocolVersion::Resp3;
    match value {
        Value::Bool(value) if is_typed => reply.boolean(*value),
        Value::Int32(value) if is_typed => reply.integer(i64::from(*value)),
        Value::Int64(value) if is_typed => reply.integer(*value),
        Value::Float32(value) if is_typed => reply.double(f64::from(*value)),
        Value::Float64(value) if is_typed => reply.double(*value),
        Value::List(list) if is_typed => {
            reply.array(list.len());
            for index in 0..list.len() {
                write_value(list.get(index).as_ref(), reply);
            }
        }
        Value::Bytes(bytes) => reply.bulk(bytes),
        other => reply.bulk_text(&other.to_text()),
    }
}

/// [`write_value`] of a value where it stands.
#[inline]
pub(super) fn write_standing(value: ValueRef<'_>, scratch: &mut Vec<u8>, reply: &mut Reply<'_>) {
    if reply.version() == ProtocolVersion::Resp2 {
        return write_text(value, scratch, reply);
    }
    match (value.value_type(), value.number()) {
        (_, Some(VectorNumber::Float64(number))) => reply.double(number),
        (ValueType::Scalar(Scalar::Int32 | Scalar::Int64), Some(VectorNumber::Integer(number))) => {
            reply.integer(number);
        }
        (ValueType::Scalar(Scalar::String | Scalar::Bytes), _) => reply.bulk(value.bytes()),
        _ => write_value(value.to_value().as_ref(), reply),
    }
}

/// Writes a value as a bulk string of its text; the usual types without a copy of it.
#[inline]
pub(super) fn write_text(value: ValueRef<'_>, scratch: &mut Vec<u8>, reply: &mut Reply<'_>) {
    match (value.value_type(), value.number()) {
        (_, Some(VectorNumber::Float64(number))) => reply.bulk_double(number),
        (ValueType::Scalar(Scalar::Int32 | Scalar::Int64), Some(VectorNumber::Integer(number))) => {
            reply.bulk_integer(number);
        }
        (ValueType::Scalar(Scalar::String | Scalar::Bytes), _) => reply.bulk(value.bytes()),
        _ => {
            scratch.clear();
            value.write_text(scratch);
            reply.bulk(scratch);
        }
    }
}
