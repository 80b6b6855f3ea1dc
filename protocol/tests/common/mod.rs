//! What several tests need: a decoded value back to the reply it came from.

use nowthen_protocol::{Reply, Value};

/// Writes `value` as a command would have written it.
pub(crate) fn write(value: &Value, reply: &mut Reply<'_>) {
    match value {
        Value::Null => reply.null(),
        Value::Simple(text) => reply.simple(text),
        Value::Error(text) => {
            let (code, message) = text.split_once(' ').expect("a code and a message");
            reply.error(code, message);
        }
        Value::Integer(value) => reply.integer(*value),
        Value::Double(value) => reply.double(*value),
        Value::BigNumber(_) => panic!("we write no big numbers"),
        Value::Boolean(value) => reply.boolean(*value),
        Value::Bulk(bytes) => reply.bulk(bytes),
        Value::Verbatim(text) => reply.verbatim(str::from_utf8(text).expect("UTF-8")),
        Value::Array(values) => {
            reply.array(values.len());
            values.iter().for_each(|value| write(value, reply));
        }
        Value::Set(values) => {
            reply.set(values.len());
            values.iter().for_each(|value| write(value, reply));
        }
        Value::Push(values) => {
            reply.push(values.len());
            values.iter().for_each(|value| write(value, reply));
        }
        Value::Map(pairs) => {
            reply.map(pairs.len());
            for (key, value) in pairs {
                write(key, reply);
                write(value, reply);
            }
        }
    }
}
