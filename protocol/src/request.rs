//! Requests as they arrive: arrays of bulk strings, and the lines one types into telnet.
//!
//! ```text
//! *2\r\n $4\r\n HLEN\r\n $6\r\n user:1\r\n          HLEN user:1\r\n
//! |      |      |                                   |
//! Count  Length Bulk  Length    Bulk                Count, then a whole line
//! ```
//! Invariants
//! - No byte is read twice: what a call has learnt is kept for the next one, so a request that
//!   arrives byte by byte costs the same as one that arrives whole.
//! - Arguments are places in the caller's buffer. Nothing is allocated per request once the list
//!   of places has grown to the size of the requests that come.
//! - A number from the client is compared with a limit before anything else is done with it, and
//!   is never an amount of memory.
//! - The same bytes give the same requests and the same error, however they are cut.
//!
//! Not here: how an inline line is split (`inline.rs`), who closes the connection (the caller).

use crate::{
    arguments::{Arguments, Range},
    error::ProtocolError,
    inline,
    known_lists::{KnownLists, LIST_ARGUMENTS_MIN, LIST_AT, LIST_BYTES_MAX},
    limits::RequestLimits,
    number::parse_integer,
};
use std::num::NonZeroU64;

/// One whole request was found. Its arguments are with the parser: [`RequestParser::arguments`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed {
    /// How many bytes at the start of the buffer it took; the caller drops them.
    pub consumed: usize,
    /// How many arguments it has. None: a blank line or an empty array, which is dropped without
    /// a reply, as in Redis.
    pub arguments_count: usize,
}

/// Finds requests at the start of a buffer that grows. One per connection.
///
/// ```
/// use nowthen_protocol::{RequestLimits, RequestParser};
///
/// let mut parser = RequestParser::new(RequestLimits::DEFAULT);
/// let mut buffer = b"*2\r\n$4\r\nHLEN\r\n$6\r\nus".to_vec();
/// assert_eq!(parser.parse(&buffer)?, None); // more bytes, please
///
/// buffer.extend_from_slice(b"er:1\r\nPING\r\n");
/// while let Some(parsed) = parser.parse(&buffer)? {
///     if let Some(name) = parser.arguments(&buffer).get(0) {
///         println!("run {}", name.escape_ascii());
///     }
///     buffer.drain(..parsed.consumed);
/// }
/// # Ok::<(), nowthen_protocol::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct RequestParser {
    limits: RequestLimits,
    stage: Stage,
    /// How many bytes of the buffer are dealt with.
    position: usize,
    /// How many bytes of the buffer are known to hold no end of the line that starts at
    /// `position`.
    searched: usize,
    ranges: Vec<Range>,
    /// The number of the list behind the key, if it is known.
    list: Option<NonZeroU64>,
    /// The decoded arguments of an inline command. Its quotes and escapes stand in the way of
    /// borrowing from the buffer.
    inline_text: Vec<u8>,
    is_inline: bool,
}

/// What stands at `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A `*count` line, or an inline command: the start of a request.
    Count,
    /// A `$length` line.
    Length { arguments_left: usize },
    /// The bytes of an argument, and a line end.
    Bulk { arguments_left: usize, bulk_bytes: usize },
}

/// Lists longer than this are given back to the allocator after use, so that one huge request
/// does not keep its memory for as long as the connection lives.
const KEPT_RANGES_MAX: usize = 4096;
/// As `KEPT_RANGES_MAX`, for the text of inline commands.
const KEPT_INLINE_BYTES_MAX: usize = 4096;
/// A bulk string ends in two bytes that are not its own.
const LINE_END_BYTES: usize = 2;

impl RequestParser {
    /// A parser at the start of a stream. It allocates nothing yet.
    pub fn new(limits: RequestLimits) -> Self {
        Self {
            limits,
            stage: Stage::Count,
            position: 0,
            searched: 0,
            ranges: Vec::new(),
            list: None,
            inline_text: Vec::new(),
            is_inline: false,
        }
    }

    /// Changes what the client may send: after it logged in, or when a setting changed. Holds
    /// from the next count or length that is read.
    pub fn set_limits(&mut self, limits: RequestLimits) {
        self.limits = limits;
    }

    /// Looks for one whole request at the start of `buffer`, which holds the same bytes as last
    /// time and perhaps more, or, after a request was found, starts right behind it.
    ///
    /// `None` asks for more bytes. After an error the stream has no known boundary any more: the
    /// caller tells the client and closes.
    pub fn parse(&mut self, buffer: &[u8]) -> Result<Option<Parsed>, ProtocolError> {
        self.parse_known(buffer, &mut KnownLists::none())
    }

    /// As [`Self::parse`], but what stands behind the key is not read if it is in `lists`, and
    /// comes into them if it is not. What is found is the same.
    pub fn parse_known(
        &mut self,
        buffer: &[u8],
        lists: &mut KnownLists,
    ) -> Result<Option<Parsed>, ProtocolError> {
        if self.stage == Stage::Count && !self.start(buffer)? {
            return Ok(None);
        }
        if !self.is_inline && !self.bulks(buffer, lists)? {
            return Ok(None);
        }
        let parsed = Parsed { consumed: self.position, arguments_count: self.ranges.len() };
        self.stage = Stage::Count;
        self.position = 0;
        self.searched = 0;
        Ok(Some(parsed))
    }

    /// The arguments of the request that [`Self::parse`] has just found, in the same `buffer`
    /// that it was given. Valid until it is called again.
    pub fn arguments<'a>(&'a self, buffer: &'a [u8]) -> Arguments<'a> {
        let bytes = if self.is_inline { &self.inline_text } else { buffer };
        Arguments::new(bytes, &self.ranges).with_list(self.list)
    }

    /// Reads the first line. Whether it was there.
    fn start(&mut self, buffer: &[u8]) -> Result<bool, ProtocolError> {
        self.forget_last();
        let Some(first) = buffer.first() else { return Ok(false) };
        if *first != b'*' {
            return self.inline(buffer);
        }
        let arguments_left = if let Some((count, line_bytes)) = short_line(b'*', buffer) {
            (self.position, self.searched) = (line_bytes, 0);
            count
        } else {
            let Some(line) = self.line(buffer, ProtocolError::TooBigMultibulkCount)? else {
                return Ok(false);
            };
            let count = parse_integer(line).ok_or(ProtocolError::InvalidMultibulkLength)?;
            // A negative count is an empty request, as in Redis.
            usize::try_from(count.max(0)).unwrap_or(usize::MAX)
        };
        if arguments_left > self.limits.arguments_max {
            return Err(if self.limits.authenticated {
                ProtocolError::InvalidMultibulkLength
            } else {
                ProtocolError::UnauthenticatedMultibulkLength
            });
        }
        self.stage = Stage::Length { arguments_left };
        Ok(true)
    }

    fn forget_last(&mut self) {
        self.is_inline = false;
        self.list = None;
        self.ranges.clear();
        self.ranges.shrink_to(KEPT_RANGES_MAX);
        self.inline_text.clear();
        self.inline_text.shrink_to(KEPT_INLINE_BYTES_MAX);
    }

    /// Reads an inline command. Whether its line was there.
    fn inline(&mut self, buffer: &[u8]) -> Result<bool, ProtocolError> {
        let Some(line) = self.find(b'\n', buffer, ProtocolError::TooBigInline)? else {
            return Ok(false);
        };
        self.position = line.len() + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        inline::split(line, &mut self.inline_text, &mut self.ranges)?;
        self.is_inline = true;
        Ok(true)
    }

    /// Reads the arguments of an array. Whether all of them were there.
    fn bulks(&mut self, buffer: &[u8], lists: &mut KnownLists) -> Result<bool, ProtocolError> {
        loop {
            match self.stage {
                Stage::Count | Stage::Length { arguments_left: 0 } => break,
                Stage::Length { arguments_left } => {
                    if self.ranges.len() == LIST_AT
                        && arguments_left >= LIST_ARGUMENTS_MIN
                        && self.take_known(buffer, arguments_left, lists)
                    {
                        return Ok(true);
                    }
                    let taken = self.short_bulks(buffer, arguments_left);
                    if taken > 0 {
                        self.stage = Stage::Length { arguments_left: arguments_left - taken };
                        continue;
                    }
                    let Some(bulk_bytes) = self.bulk_bytes(buffer)? else { return Ok(false) };
                    self.stage = Stage::Bulk { arguments_left, bulk_bytes };
                }
                Stage::Bulk { arguments_left, bulk_bytes } => {
                    // Neither sum overflows: `bulk_bytes` has passed `check_bulk`.
                    let end = self.position + bulk_bytes;
                    if buffer.len() < end + LINE_END_BYTES {
                        return Ok(false);
                    }
                    self.ranges.push((self.position, end));
                    self.position = end + LINE_END_BYTES;
                    self.stage = Stage::Length { arguments_left: arguments_left - 1 };
                }
            }
        }
        self.keep_list(buffer, lists);
        Ok(true)
    }

    /// Takes arguments of less than a hundred bytes, as many as follow each other, but stops where
    /// a list begins. How many.
    #[inline]
    fn short_bulks(&mut self, buffer: &[u8], arguments_left: usize) -> usize {
        let before_list = LIST_AT.checked_sub(self.ranges.len()).filter(|count| *count > 0);
        let most = arguments_left.min(before_list.unwrap_or(arguments_left));
        let bytes_max = buffer.len().min(self.limits.request_bytes_max);
        for taken in 0..most {
            let rest = buffer.get(self.position..).unwrap_or_default();
            let Some((bulk_bytes, line_bytes)) = short_line(b'$', rest) else { return taken };
            let start = self.position + line_bytes;
            let end = start + bulk_bytes;
            // What must be refused is left to the longer way, which says why.
            if end + LINE_END_BYTES > bytes_max || bulk_bytes > self.limits.bulk_bytes_max {
                return taken;
            }
            self.ranges.push((start, end));
            (self.position, self.searched) = (end + LINE_END_BYTES, 0);
        }
        most
    }

    /// Takes the arguments that are left if they are a list that is known.
    #[inline]
    fn take_known(&mut self, buffer: &[u8], count: usize, lists: &mut KnownLists) -> bool {
        let start = self.position;
        let rest = buffer.get(start..).unwrap_or_default();
        let Some(list) = lists.find(count, rest) else { return false };
        // It was read for another client perhaps, which may send more than this one.
        let end = start.saturating_add(list.bytes.len());
        if list.bulk_bytes_max > self.limits.bulk_bytes_max || end > self.limits.request_bytes_max {
            return false;
        }
        self.list = Some(list.number);
        let place = |(from, to): &Range| (from.wrapping_add(start), to.wrapping_add(start));
        self.ranges.extend(list.ranges.iter().map(place));
        self.position = end;
        true
    }

    /// Keeps the list that was read, if it is worth it.
    #[inline]
    fn keep_list(&mut self, buffer: &[u8], lists: &mut KnownLists) {
        if self.ranges.len() < LIST_AT + LIST_ARGUMENTS_MIN || !lists.are_kept() {
            return;
        }
        let Some((before, list)) = self.ranges.split_at_checked(LIST_AT) else { return };
        let start = before.last().map_or(0, |(_, end)| end + LINE_END_BYTES);
        if self.position - start <= LIST_BYTES_MAX {
            self.list = lists.keep(buffer, (start, self.position), list);
        }
    }

    /// Reads a `$length` line.
    fn bulk_bytes(&mut self, buffer: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let rest = buffer.get(self.position..).unwrap_or_default();
        let Some((bulk_bytes, line_bytes)) = short_line(b'$', rest) else {
            return self.long_bulk_bytes(buffer);
        };
        self.position += line_bytes;
        self.searched = 0;
        self.check_bulk(bulk_bytes).map(Some)
    }

    /// As `bulk_bytes`, for every length and for lines that have not arrived whole.
    #[inline(never)]
    fn long_bulk_bytes(&mut self, buffer: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let first = buffer.get(self.position).copied();
        let Some(line) = self.line(buffer, ProtocolError::TooBigBulkCount)? else {
            return Ok(None);
        };
        match first {
            Some(b'$') => {}
            Some(other) => return Err(ProtocolError::ExpectedDollar(other)),
            None => return Ok(None),
        }
        let bulk_bytes = parse_integer(line).and_then(|length| usize::try_from(length).ok());
        self.check_bulk(bulk_bytes.ok_or(ProtocolError::InvalidBulkLength)?).map(Some)
    }

    fn check_bulk(&self, bulk_bytes: usize) -> Result<usize, ProtocolError> {
        if bulk_bytes > self.limits.bulk_bytes_max {
            return Err(if self.limits.authenticated {
                ProtocolError::InvalidBulkLength
            } else {
                ProtocolError::UnauthenticatedBulkLength
            });
        }
        let request_bytes = self.position.saturating_add(bulk_bytes).saturating_add(LINE_END_BYTES);
        if request_bytes > self.limits.request_bytes_max {
            return Err(ProtocolError::TooBigRequest);
        }
        Ok(bulk_bytes)
    }

    /// The line at `position` without its first byte and its line end, and steps over it. As in
    /// Redis, the byte after the carriage return is waited for and not looked at.
    fn line<'a>(
        &mut self,
        buffer: &'a [u8],
        too_big: ProtocolError,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        let Some(line) = self.find(b'\r', buffer, too_big)? else { return Ok(None) };
        let next = self.position + line.len() + LINE_END_BYTES;
        if next > buffer.len() {
            return Ok(None);
        }
        self.position = next;
        self.searched = 0;
        Ok(Some(line.get(1..).unwrap_or_default()))
    }

    /// The bytes from `position` to the next `end`, which is searched for where no call has
    /// searched yet. `too_big` if the line is longer than allowed.
    fn find<'a>(
        &mut self,
        end: u8,
        buffer: &'a [u8],
        too_big: ProtocolError,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        let rest = buffer.get(self.position..).unwrap_or_default();
        let window = rest.get(..=self.limits.inline_bytes_max).unwrap_or(rest);
        let unsearched = window.get(self.searched..).unwrap_or_default();
        if let Some(found) = memchr::memchr(end, unsearched) {
            let line_bytes = self.searched + found;
            return Ok(window.get(..line_bytes));
        }
        if window.len() > self.limits.inline_bytes_max {
            return Err(too_big);
        }
        self.searched = window.len();
        Ok(None)
    }
}

/// The number in the line at the start of `bytes`, if that begins with `kind` and has one digit or
/// two, and how many bytes the line takes.
///
/// Most counts are less than a hundred, and most arguments are shorter than a hundred bytes. To see
/// that at a glance makes parsing twice as fast as looking for the line end first.
#[inline]
pub(crate) fn short_line(kind: u8, bytes: &[u8]) -> Option<(usize, usize)> {
    // What follows the shortest line is looked at with it: one look at the length for all.
    match *bytes.first_chunk()? {
        [first, ones @ b'0'..=b'9', b'\r', _, _] if first == kind => {
            Some((usize::from(ones - b'0'), 4))
        }
        [first, tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', _] if first == kind => {
            Some((usize::from(tens - b'0') * 10 + usize::from(ones - b'0'), 5))
        }
        _ => None,
    }
}
