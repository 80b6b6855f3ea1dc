//! Replies as they leave: written straight into the connection's output buffer, as RESP2 or RESP3.
//!
//! ```text
//! reply.map(1)            RESP3  %1\r\n        RESP2  *2\r\n
//! reply.bulk(b"spend")           $5\r\nspend\r\n      $5\r\nspend\r\n
//! reply.double(12.5)             ,12.5\r\n            $4\r\n12.5\r\n
//! ```
//! Invariants
//! - A text inside a line never holds a line end, so no message can pass for the next reply.
//! - A command asks for the same reply in both versions; only this file knows the difference.
//! - Appends only; [`Reply::truncate`] takes back what a command wrote before it failed.
//!
//! Not here: that as many elements follow as a header announced (each command's own duty, checked
//! by tests), when the buffer is sent (`src/server/`).

use crate::number::{format_double, push_bulk, push_double, push_integer, write_header};

/// Which RESP a connection speaks. A connection starts with RESP2, and `HELLO 3` changes that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProtocolVersion {
    /// Strings, integers, errors, arrays; everything else is told by convention.
    #[default]
    Resp2,
    /// Doubles, booleans, nulls, maps, sets and pushes have types of their own.
    Resp3,
}

impl ProtocolVersion {
    /// The version that `HELLO` calls by this number, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        match number {
            2 => Some(Self::Resp2),
            3 => Some(Self::Resp3),
            _ => None,
        }
    }

    /// The number by which `HELLO` calls it.
    pub fn number(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// Writes replies to the end of an output buffer.
///
/// ```
/// use nowthen_protocol::{ProtocolVersion, Reply};
///
/// let mut out = Vec::new();
/// let mut reply = Reply::new(&mut out, ProtocolVersion::Resp3);
/// reply.array(2);
/// reply.double(12.5);
/// reply.null();
/// assert_eq!(out, b"*2\r\n,12.5\r\n_\r\n");
/// ```
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    version: ProtocolVersion,
    bytes_max: usize,
    is_cut: bool,
}

impl<'a> Reply<'a> {
    /// A writer at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>, version: ProtocolVersion) -> Self {
        Self::limited(out, version, usize::MAX)
    }

    /// A writer that drops bulk strings as soon as `out` is longer than `bytes_max`: a short
    /// request may ask for one long value a million times. Then [`Self::is_cut`].
    pub fn limited(out: &'a mut Vec<u8>, version: ProtocolVersion, bytes_max: usize) -> Self {
        Self { out, version, bytes_max, is_cut: false }
    }

    /// Whether the reply became too long and is none.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The version it writes.
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Writes another version from here on: `HELLO` answers in the version it asks for.
    pub fn set_version(&mut self, version: ProtocolVersion) {
        self.version = version;
    }

    /// How many bytes the output buffer holds: a mark to come back to with [`Self::truncate`].
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether the output buffer holds nothing.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Takes back all that was written since the buffer held `bytes` bytes.
    pub fn truncate(&mut self, bytes: usize) {
        self.out.truncate(bytes);
    }

    /// A short text without line ends, such as `OK`. Line ends become spaces.
    pub fn simple(&mut self, text: &str) {
        self.out.push(b'+');
        self.one_line(text);
        self.end_line();
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// An error: a code in capitals that programs look at (`ERR`, `WRONGTYPE`) and a message for
    /// people. Line ends become spaces, so a message that repeats input cannot break the framing.
    pub fn error(&mut self, code: &str, message: &str) {
        self.out.push(b'-');
        self.one_line(code);
        self.out.push(b' ');
        self.one_line(message);
        self.end_line();
    }

    /// A whole number.
    pub fn integer(&mut self, value: i64) {
        self.out.push(b':');
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.end_line();
    }

    /// Any bytes.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        if self.has_room() {
            push_bulk(bytes, self.out);
        }
    }

    /// Whether there is room for one more bulk string; if not, the reply is cut.
    #[inline]
    fn has_room(&mut self) -> bool {
        let has_room = self.out.len() <= self.bytes_max;
        self.is_cut |= !has_room;
        has_room
    }

    /// As many bytes as `length` says, zeros that `fill` writes over in place. `None`, without a
    /// call, if the reply is too long already.
    pub fn bulk_in_place<T>(
        &mut self,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> T,
    ) -> Option<T> {
        if !self.has_room() {
            return None;
        }
        write_header(b'$', length, self.out);
        let start = self.out.len();
        self.out.resize(start.checked_add(length)?, 0);
        let filled = self.out.get_mut(start..).map(fill);
        self.end_line();
        filled
    }

    /// A text of any length, with line ends as they are.
    pub fn bulk_text(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }

    /// A whole number as text: what a field of a hash holds is text in Redis, also a number.
    #[inline]
    pub fn bulk_integer(&mut self, value: i64) {
        if self.has_room() {
            push_integer(value, self.out);
        }
    }

    /// A double as text, for the same reason as [`Self::bulk_integer`].
    #[inline]
    pub fn bulk_double(&mut self, value: f64) {
        if self.has_room() {
            push_double(value, self.out);
        }
    }

    /// No value.
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.version {
            ProtocolVersion::Resp2 => b"$-1\r\n",
            ProtocolVersion::Resp3 => b"_\r\n",
        });
    }

    /// No array, where an array would have stood. RESP2 tells the two nulls apart.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.version {
            ProtocolVersion::Resp2 => b"*-1\r\n",
            ProtocolVersion::Resp3 => b"_\r\n",
        });
    }

    /// An array; its `count` elements follow.
    pub fn array(&mut self, count: usize) {
        write_header(b'*', count, self.out);
    }

    /// A map; `count` times a key and a value follow. In RESP2 an array of twice as many.
    pub fn map(&mut self, count: usize) {
        match self.version {
            ProtocolVersion::Resp2 => write_header(b'*', count * 2, self.out),
            ProtocolVersion::Resp3 => write_header(b'%', count, self.out),
        }
    }

    /// A set; its `count` elements follow. In RESP2 an array.
    pub fn set(&mut self, count: usize) {
        self.header_in_resp3(b'~', count);
    }

    /// A message that nobody asked for; its `count` elements follow. In RESP2 an array.
    pub fn push(&mut self, count: usize) {
        self.header_in_resp3(b'>', count);
    }

    /// What was written to another buffer, in the same version.
    pub fn append(&mut self, written: &[u8]) {
        self.out.extend_from_slice(written);
    }

    /// A double. In RESP2 its text.
    pub fn double(&mut self, value: f64) {
        match self.version {
            ProtocolVersion::Resp2 => self.bulk_double(value),
            ProtocolVersion::Resp3 => {
                self.out.push(b',');
                format_double(value, self.out);
                self.end_line();
            }
        }
    }

    /// True or false. In RESP2 the integers 1 and 0.
    pub fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.version, value) {
            (ProtocolVersion::Resp2, false) => b":0\r\n",
            (ProtocolVersion::Resp2, true) => b":1\r\n",
            (ProtocolVersion::Resp3, false) => b"#f\r\n",
            (ProtocolVersion::Resp3, true) => b"#t\r\n",
        });
    }

    /// A text for people, to be shown as it is (`INFO`, `CLIENT LIST`). In RESP2 a bulk string.
    pub fn verbatim(&mut self, text: &str) {
        match self.version {
            ProtocolVersion::Resp2 => self.bulk_text(text),
            ProtocolVersion::Resp3 => {
                write_header(b'=', VERBATIM_FORMAT.len() + text.len(), self.out);
                self.out.extend_from_slice(VERBATIM_FORMAT);
                self.out.extend_from_slice(text.as_bytes());
                self.end_line();
            }
        }
    }

    /// Appends replies that were written before, for instance those of a transaction.
    pub fn raw(&mut self, replies: &[u8]) {
        self.out.extend_from_slice(replies);
    }

    fn header_in_resp3(&mut self, kind: u8, count: usize) {
        let kind = if self.version == ProtocolVersion::Resp3 { kind } else { b'*' };
        write_header(kind, count, self.out);
    }

    fn one_line(&mut self, text: &str) {
        self.out.extend(text.bytes().map(|byte| match byte {
            b'\r' | b'\n' => b' ',
            other => other,
        }));
    }

    fn end_line(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Plain text, the only format we write. The other one RESP3 knows is `mkd:`.
const VERBATIM_FORMAT: &[u8] = b"txt:";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl Fn(&mut Reply<'_>), resp2: &str, resp3: &str) {
        for (version, wanted) in [(ProtocolVersion::Resp2, resp2), (ProtocolVersion::Resp3, resp3)]
        {
            let mut out = Vec::new();
            write(&mut Reply::new(&mut out, version));
            assert_eq!(out.escape_ascii().to_string(), wanted, "{version:?}");
        }
    }

    fn check_same(write: impl Fn(&mut Reply<'_>), both: &str) {
        check(write, both, both);
    }

    #[test]
    fn what_redis_always_had_is_the_same_in_both_versions() {
        check_same(|reply| reply.ok(), r"+OK\r\n");
        check_same(|reply| reply.simple("PONG"), r"+PONG\r\n");
        check_same(|reply| reply.integer(i64::MIN), r":-9223372036854775808\r\n");
        check_same(|reply| reply.bulk(b""), r"$0\r\n\r\n");
        check_same(|reply| reply.bulk(b"\r\n\0"), r"$3\r\n\r\n\x00\r\n");
        check_same(|reply| reply.bulk_text("spend"), r"$5\r\nspend\r\n");
        let fill = |bytes: &mut [u8]| bytes.copy_from_slice(b"ab\n");
        check_same(|reply| assert!(reply.bulk_in_place(3, fill).is_some()), r"$3\r\nab\n\r\n");
        check_same(|reply| reply.bulk_integer(-10), r"$3\r\n-10\r\n");
        check_same(|reply| reply.bulk_double(12.5), r"$4\r\n12.5\r\n");
        check_same(|reply| reply.array(0), r"*0\r\n");
        check_same(|reply| reply.array(1_048_576), r"*1048576\r\n");
    }

    #[test]
    fn resp3_has_types_where_resp2_has_conventions() {
        check(|reply| reply.null(), r"$-1\r\n", r"_\r\n");
        check(|reply| reply.null_array(), r"*-1\r\n", r"_\r\n");
        check(|reply| reply.map(6), r"*12\r\n", r"%6\r\n");
        check(|reply| reply.set(2), r"*2\r\n", r"~2\r\n");
        check(|reply| reply.push(3), r"*3\r\n", r">3\r\n");
        check(|reply| reply.boolean(true), r":1\r\n", r"#t\r\n");
        check(|reply| reply.boolean(false), r":0\r\n", r"#f\r\n");
        check(|reply| reply.verbatim("a\n"), r"$2\r\na\n\r\n", r"=6\r\ntxt:a\n\r\n");
        check(|reply| reply.double(17.0), r"$2\r\n17\r\n", r",17\r\n");
        check(|reply| reply.double(f64::NEG_INFINITY), r"$4\r\n-inf\r\n", r",-inf\r\n");
    }

    #[test]
    fn a_message_cannot_break_the_framing() {
        check_same(|reply| reply.error("ERR", "no 'a\r\n+OK'"), r"-ERR no \'a  +OK\'\r\n");
        check_same(|reply| reply.simple("a\nb"), r"+a b\r\n");
    }

    #[test]
    fn a_reply_ends_one_string_beyond_its_limit() {
        let mut out = Vec::new();
        let mut reply = Reply::limited(&mut out, ProtocolVersion::Resp2, 10);
        (0..100).for_each(|_| reply.bulk(b"1234567"));
        assert!(reply.is_cut());
        assert_eq!(reply.bulk_in_place(1, |_| ()), None);
        assert_eq!(out, b"$7\r\n1234567\r\n");
    }

    #[test]
    fn what_a_failed_command_wrote_can_be_taken_back() {
        let write = |reply: &mut Reply<'_>| {
            reply.ok();
            let before = reply.len();
            reply.array(2);
            reply.integer(1);
            reply.truncate(before);
            reply.error("ERR", "no such view");
        };
        check_same(write, r"+OK\r\n-ERR no such view\r\n");
    }
}
