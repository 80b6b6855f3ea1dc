//! Where a reply ends, and what the line at the start of each of its parts says.
//!
//! ```text
//! *2\r\n :1\r\n $5\r\n spend\r\n
//! |      |      |      |
//! Header Header Header bytes; then nothing is open: the reply is whole
//! ```
//! Invariants
//! - No byte is read twice, so a long reply that arrives in many pieces is not read again and
//!   again. Values are made once, of a whole reply (`value.rs`).
//! - A count is only ever counted down. What is remembered is one number per open aggregate.

use crate::{error::ProtocolError, number::parse_integer};

/// Arrays, maps and the like may be inside each other this deep.
pub const NESTING_MAX: usize = 32;

/// The first line of a part of a reply.
pub(crate) enum Header<'a> {
    Simple(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Double(f64),
    BigNumber(&'a [u8]),
    Boolean(bool),
    Null,
    /// As many bytes follow, and a line end.
    Text(TextKind, usize),
    /// As many elements follow.
    Aggregate(AggregateKind, usize),
}

pub(crate) enum TextKind {
    Bulk,
    Error,
    Verbatim,
}

#[derive(Clone, Copy)]
pub(crate) enum AggregateKind {
    Array,
    Set,
    Push,
    /// The elements are keys and values in turn.
    Map,
    /// Keys and values in turn that say something about one more element, the last.
    Attributes,
}

/// What `line` says, which comes without its line end.
pub(crate) fn read_header(line: &[u8]) -> Result<Header<'_>, ProtocolError> {
    let Some((kind, text)) = line.split_first() else {
        return Err(ProtocolError::InvalidReply("a type before the line end"));
    };
    Ok(match kind {
        b'+' => Header::Simple(text),
        b'-' => Header::Error(text),
        b':' => Header::Integer(
            parse_integer(text).ok_or(ProtocolError::InvalidReply("an integer after ':'"))?,
        ),
        b',' => Header::Double(read_double(text)?),
        b'(' => Header::BigNumber(read_big_number(text)?),
        b'#' => Header::Boolean(match text {
            b"t" => true,
            b"f" => false,
            _ => return Err(ProtocolError::InvalidReply("'t' or 'f' after '#'")),
        }),
        b'_' if text.is_empty() => Header::Null,
        b'$' | b'*' if text == b"-1" => Header::Null,
        b'$' => Header::Text(TextKind::Bulk, read_count(text)?),
        b'!' => Header::Text(TextKind::Error, read_count(text)?),
        b'=' => Header::Text(TextKind::Verbatim, read_count(text)?),
        b'*' => Header::Aggregate(AggregateKind::Array, read_count(text)?),
        b'~' => Header::Aggregate(AggregateKind::Set, read_count(text)?),
        b'>' => Header::Aggregate(AggregateKind::Push, read_count(text)?),
        b'%' => Header::Aggregate(AggregateKind::Map, read_pairs(text)?),
        b'|' => Header::Aggregate(AggregateKind::Attributes, read_pairs(text)? + 1),
        _ => return Err(ProtocolError::InvalidReply("a type of RESP2 or RESP3")),
    })
}

fn read_count(text: &[u8]) -> Result<usize, ProtocolError> {
    parse_integer(text)
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count <= COUNT_MAX)
        .ok_or(ProtocolError::InvalidReply("a count or a length"))
}

fn read_pairs(text: &[u8]) -> Result<usize, ProtocolError> {
    Ok(read_count(text)? * 2)
}

fn read_double(text: &[u8]) -> Result<f64, ProtocolError> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(ProtocolError::InvalidReply("a double after ','"))
}

fn read_big_number(text: &[u8]) -> Result<&[u8], ProtocolError> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ProtocolError::InvalidReply("digits after '('"));
    }
    Ok(text)
}

/// The line that starts at `position`, without its line end, if its end has arrived. `searched`
/// bytes of it are known to hold none.
pub(crate) fn read_line(
    buffer: &[u8],
    position: usize,
    searched: usize,
) -> Result<Option<&[u8]>, ProtocolError> {
    let rest = buffer.get(position..).unwrap_or_default();
    let unsearched = rest.get(searched..).unwrap_or_default();
    let Some(found) = memchr::memchr(b'\r', unsearched) else { return Ok(None) };
    let line_bytes = searched + found;
    match rest.get(line_bytes + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(rest.get(..line_bytes)),
        Some(_) => Err(ProtocolError::InvalidReply("a line feed after a carriage return")),
    }
}

/// The most a count or length may say. Far above what fits a machine, and far below the point
/// where sums overflow.
const COUNT_MAX: usize = isize::MAX as usize / 8;
pub(crate) const LINE_END: &[u8] = b"\r\n";

/// Finds the end of the reply at the start of a buffer that grows, for those who need not know what
/// is in it. One per connection.
#[derive(Debug, Default)]
pub struct FrameFinder {
    position: usize,
    searched: usize,
    /// For each open aggregate, how many of its elements are still to come.
    open: Vec<usize>,
    /// The bytes of the text whose header has just been read.
    text_bytes: Option<usize>,
}

impl FrameFinder {
    /// How many bytes the reply takes, once all of them are there. Then it starts afresh.
    pub fn find(&mut self, buffer: &[u8]) -> Result<Option<usize>, ProtocolError> {
        loop {
            if !self.element(buffer)? {
                return Ok(None);
            }
            if self.text_bytes.is_none() && self.open.is_empty() {
                let frame_bytes = self.position;
                *self = Self { open: std::mem::take(&mut self.open), ..Self::default() };
                return Ok(Some(frame_bytes));
            }
        }
    }

    /// Steps over a header, or the bytes of a text. Whether they were there.
    fn element(&mut self, buffer: &[u8]) -> Result<bool, ProtocolError> {
        if let Some(text_bytes) = self.text_bytes {
            return self.text(buffer, text_bytes);
        }
        let Some(line) = read_line(buffer, self.position, self.searched)? else {
            // The last byte may be a carriage return whose line feed is still to come.
            let rest_bytes = buffer.len().saturating_sub(self.position);
            self.searched = rest_bytes.saturating_sub(1);
            return Ok(false);
        };
        self.position += line.len() + LINE_END.len();
        self.searched = 0;
        match read_header(line)? {
            Header::Text(_, text_bytes) => self.text_bytes = Some(text_bytes),
            Header::Aggregate(_, count) if count > 0 => {
                if self.open.len() == NESTING_MAX {
                    return Err(ProtocolError::NestedTooDeep);
                }
                self.open.push(count);
            }
            _ => self.close_element(),
        }
        Ok(true)
    }

    fn text(&mut self, buffer: &[u8], text_bytes: usize) -> Result<bool, ProtocolError> {
        let end = self.position + text_bytes;
        let next = end + LINE_END.len();
        let Some(line_end) = buffer.get(end..next) else { return Ok(false) };
        if line_end != LINE_END {
            return Err(ProtocolError::InvalidReply("a line end after a text"));
        }
        self.position = next;
        self.text_bytes = None;
        self.close_element();
        Ok(true)
    }

    /// Counts an element that is whole, and with it every aggregate whose last one it was.
    fn close_element(&mut self) {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
    }
}
