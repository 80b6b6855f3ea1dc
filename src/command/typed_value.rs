//! A value of a feature as a reply.

use crate::{
    feature::{Scalar, Value, ValueType},
    online::ValueRef,
    store::{PlanCell, RowReader, Stretch},
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

/// Writes each feature of a stretch as a bulk string of its text, or null. Whether any is there.
#[inline]
pub(super) fn write_texts<'p>(
    reader: &mut RowReader<'_, 'p>,
    (stretch, cells): (&'p Stretch, &'p [Option<PlanCell>]),
    scratch: &mut Vec<u8>,
    reply: &mut Reply<'_>,
) -> bool {
    if let Some(pieces) = reader.floats(stretch, cells, Scalar::Float64) {
        doubles(pieces).for_each(|number| reply.bulk_double(number));
        return true;
    }
    let mut is_there = false;
    reader.read_stretch(stretch, cells, |read| match read.value {
        Some(value) => {
            is_there = true;
            write_text(value, scratch, reply);
        }
        None => reply.null(),
    });
    is_there
}

/// The numbers in pieces of [`RowReader::floats`].
#[inline]
pub(super) fn doubles<'r>(pieces: impl Iterator<Item = &'r [u8]>) -> impl Iterator<Item = f64> {
    let numbers = pieces.flat_map(|piece| piece.as_chunks::<8>().0);
    numbers.map(|number| f64::from_le_bytes(*number))
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
