//! Replies as a client reads them: any RESP2 or RESP3 into one value.
//!
//! Invariants
//! - Total: any bytes give a value, an error or "more bytes, please".
//! - A value is made of a whole reply only, so lists grow with bytes that have arrived, never with
//!   a count that the server wrote.
//! - Attributes are dropped. Streamed strings and aggregates, which no server sends, are refused.
//!
//! Not here: where a reply ends (`frame.rs`), how long one may be (`client/`).

use crate::{
    error::ProtocolError,
    frame::{AggregateKind, FrameFinder, Header, LINE_END, TextKind, read_header, read_line},
};

pub use crate::frame::NESTING_MAX;

/// What a server replied.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value: the null of RESP3, or either null of RESP2.
    Null,
    /// A short text without line ends, such as `OK`.
    Simple(String),
    /// An error, its code first: `ERR unknown command`.
    Error(String),
    /// A whole number.
    Integer(i64),
    /// A double.
    Double(f64),
    /// A whole number of any size, as its digits.
    BigNumber(String),
    /// True or false.
    Boolean(bool),
    /// Any bytes.
    Bulk(Vec<u8>),
    /// A text for people.
    Verbatim(Vec<u8>),
    /// Values in order.
    Array(Vec<Value>),
    /// Values without order.
    Set(Vec<Value>),
    /// A message that nobody asked for.
    Push(Vec<Value>),
    /// Keys with their values, in the order the server sent.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// The bytes of a bulk string, a verbatim text or a simple text.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) | Self::Verbatim(bytes) => Some(bytes),
            Self::Simple(text) | Self::BigNumber(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// As [`Self::as_bytes`], if they are UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// An integer, also one that RESP2 told as text.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            other => crate::parse_integer(other.as_bytes()?),
        }
    }

    /// A double, also one that was told as an integer or as text.
    pub fn as_double(&self) -> Option<f64> {
        match self {
            Self::Double(value) => Some(*value),
            Self::Integer(value) => Some(*value as f64),
            other => other.as_text()?.parse().ok(),
        }
    }

    /// Whether there is no value.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }
}

/// The reply at the start of `buffer` and how many bytes it takes; `None` asks for more bytes.
/// For replies that arrive in pieces, [`ReplyDecoder`] is faster.
///
/// ```
/// use nowthen_protocol::{Value, decode};
/// assert_eq!(decode(b":17\r\n+OK\r\n"), Ok(Some((Value::Integer(17), 5))));
/// assert_eq!(decode(b":17"), Ok(None));
/// ```
pub fn decode(buffer: &[u8]) -> Result<Option<(Value, usize)>, ProtocolError> {
    ReplyDecoder::default().decode(buffer)
}

/// Decodes replies at the start of a buffer that grows. One per connection.
#[derive(Debug, Default)]
pub struct ReplyDecoder {
    finder: FrameFinder,
}

impl ReplyDecoder {
    /// As [`decode`], of a buffer with the same bytes as last time and perhaps more, or, after a
    /// reply was found, one that starts right behind it.
    pub fn decode(&mut self, buffer: &[u8]) -> Result<Option<(Value, usize)>, ProtocolError> {
        let Some(frame_bytes) = self.finder.find(buffer)? else { return Ok(None) };
        let mut cursor = Cursor { frame: buffer.get(..frame_bytes).unwrap_or_default() };
        Ok(Some((cursor.value()?, frame_bytes)))
    }
}

/// What is left of a reply that is known to be whole, and nested no deeper than it may be.
struct Cursor<'a> {
    frame: &'a [u8],
}

impl Cursor<'_> {
    fn value(&mut self) -> Result<Value, ProtocolError> {
        let line = read_line(self.frame, 0, 0)?.ok_or(CUT_SHORT)?;
        self.step(line.len() + LINE_END.len());
        Ok(match read_header(line)? {
            Header::Simple(text) => Value::Simple(owned_text(text)),
            Header::Error(text) => Value::Error(owned_text(text)),
            Header::Integer(value) => Value::Integer(value),
            Header::Double(value) => Value::Double(value),
            Header::BigNumber(digits) => Value::BigNumber(owned_text(digits)),
            Header::Boolean(value) => Value::Boolean(value),
            Header::Null => Value::Null,
            Header::Text(kind, text_bytes) => self.text(&kind, text_bytes)?,
            Header::Aggregate(kind, count) => self.aggregate(kind, count)?,
        })
    }

    fn text(&mut self, kind: &TextKind, text_bytes: usize) -> Result<Value, ProtocolError> {
        let text = self.frame.get(..text_bytes).ok_or(CUT_SHORT)?;
        self.step(text_bytes + LINE_END.len());
        Ok(match kind {
            TextKind::Bulk => Value::Bulk(text.to_vec()),
            TextKind::Error => Value::Error(owned_text(text)),
            TextKind::Verbatim => match text {
                [_, _, _, b':', text @ ..] => Value::Verbatim(text.to_vec()),
                _ => return Err(ProtocolError::InvalidReply("a format before a verbatim text")),
            },
        })
    }

    fn aggregate(&mut self, kind: AggregateKind, count: usize) -> Result<Value, ProtocolError> {
        Ok(match kind {
            AggregateKind::Array => Value::Array(self.values(count)?),
            AggregateKind::Set => Value::Set(self.values(count)?),
            AggregateKind::Push => Value::Push(self.values(count)?),
            AggregateKind::Map => {
                let mut pairs = Vec::new();
                for _ in 0..count / 2 {
                    pairs.push((self.value()?, self.value()?));
                }
                Value::Map(pairs)
            }
            AggregateKind::Attributes => {
                for _ in 1..count {
                    self.value()?;
                }
                self.value()?
            }
        })
    }

    fn values(&mut self, count: usize) -> Result<Vec<Value>, ProtocolError> {
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value()?);
        }
        Ok(values)
    }

    fn step(&mut self, bytes: usize) {
        self.frame = self.frame.get(bytes..).unwrap_or_default();
    }
}

/// Cannot happen in a whole reply. An error all the same, because the bytes come from outside.
const CUT_SHORT: ProtocolError = ProtocolError::InvalidReply("more bytes");

fn owned_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
