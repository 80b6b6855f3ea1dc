//! Why bytes are not the protocol. After any of these the stream has no known boundary any more.
//!
//! Invariants
//! - The texts for requests are Redis' own, letter for letter, so that clients recognize them.
//! - A text repeats at most one byte of input, and only a printable one.

use std::fmt;

/// Bytes that are no RESP. The only cure is to tell the other side and close the connection.
///
/// [`fmt::Display`] gives the text as Redis has it, without the `ERR ` in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The number after `*` is no number, or is above [`crate::RequestLimits::arguments_max`].
    InvalidMultibulkLength,
    /// The number after `$` is no number, is negative, or is above
    /// [`crate::RequestLimits::bulk_bytes_max`].
    InvalidBulkLength,
    /// As `InvalidMultibulkLength`, under the narrow limit of a client that has not logged in.
    UnauthenticatedMultibulkLength,
    /// As `InvalidBulkLength`, under the narrow limit of a client that has not logged in.
    UnauthenticatedBulkLength,
    /// An argument does not start with `$`, but with this byte.
    ExpectedDollar(u8),
    /// The line of a `*` does not end.
    TooBigMultibulkCount,
    /// The line of a `$` does not end.
    TooBigBulkCount,
    /// An inline command opens a quote and does not close it, or goes on right after closing it.
    UnbalancedQuotes,
    /// An inline command is longer than [`crate::RequestLimits::inline_bytes_max`].
    TooBigInline,
    /// A request is longer than [`crate::RequestLimits::request_bytes_max`].
    TooBigRequest,
    /// A reply is no RESP: what it should have been.
    InvalidReply(&'static str),
    /// The answer of `FS.GET ... AS VECTOR` is no frame of features: what it should have had.
    InvalidVector(&'static str),
    /// Arrays, maps and the like inside each other, deeper than [`crate::value::NESTING_MAX`].
    NestedTooDeep,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        f.write_str(match self {
            Self::InvalidMultibulkLength => "invalid multibulk length",
            Self::InvalidBulkLength => "invalid bulk length",
            Self::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            Self::UnauthenticatedBulkLength => "unauthenticated bulk length",
            Self::ExpectedDollar(got) => {
                return write!(f, "expected '$', got '{}'", printable(*got));
            }
            Self::TooBigMultibulkCount => "too big mbulk count string",
            Self::TooBigBulkCount => "too big bulk count string",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
            Self::TooBigInline => "too big inline request",
            Self::TooBigRequest => "too big request",
            Self::InvalidReply(expected) => {
                return write!(f, "the server's reply is not RESP: expected {expected}");
            }
            Self::InvalidVector(expected) => {
                return write!(f, "the frame of features is damaged: expected {expected}");
            }
            Self::NestedTooDeep => "the server's reply is nested too deep",
        })
    }
}

impl std::error::Error for ProtocolError {}

/// Redis writes the byte as it is and turns line ends into spaces. We do the latter, and do not
/// send a byte that is no text, because clients decode errors as UTF-8.
fn printable(byte: u8) -> char {
    match byte {
        b'\r' | b'\n' => ' ',
        b' '..=b'~' => char::from(byte),
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unprintable_byte_is_not_echoed() {
        let text = |byte| ProtocolError::ExpectedDollar(byte).to_string();
        assert_eq!(text(b'x'), "Protocol error: expected '$', got 'x'");
        assert_eq!(text(b'\r'), "Protocol error: expected '$', got ' '");
        assert_eq!(text(0xff), "Protocol error: expected '$', got '?'");
    }
}
