//! A value of a feature as a reply.

use crate::feature::Value;
use nowthen_protocol::{ProtocolVersion, Reply};

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
