//! The keys of requests that have arrived and not been parsed: a hint, never an answer.
//!
//! ```text
//! *12\r\n $5\r\nHMGET\r\n $6\r\nuser:1\r\n [$2\r\nf1\r\n ...]  *12\r\n ...
//!                             the key      the tail            the next request
//! ```
//! A server that knows which rows it will need can ask its memory for all of them at once. Most
//! requests of a pipeline differ in the key alone, so where the tail of the last one would end,
//! the next is looked for first; then at the next `*` that begins a line.

use crate::request::short_line;

/// A bulk string ends in two bytes that are not its own.
const LINE_END_BYTES: usize = 2;

/// The first argument behind the command of each request that a buffer begins with, as far as they
/// are arrays of short bulk strings and whole. What it gives may be no key: the bytes are not
/// checked as a parser does.
///
/// ```
/// use nowthen_protocol::KeysAhead;
///
/// let buffer = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n";
/// let keys: Vec<_> = KeysAhead::new(buffer).collect();
/// assert_eq!(keys, [b"a", b"b"]);
/// ```
#[derive(Debug, Clone)]
pub struct KeysAhead<'a> {
    buffer: &'a [u8],
    position: usize,
    /// Of the last request: how many arguments there were behind the key, and how many bytes.
    tail: Option<(usize, usize)>,
}

impl<'a> KeysAhead<'a> {
    /// The keys of the requests at the start of `buffer`.
    pub fn new(buffer: &'a [u8]) -> Self {
        Self { buffer, position: 0, tail: None }
    }

    /// Where the first request begins whose key was not given.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The bulk string at `at`, and where the next begins.
    #[inline]
    fn bulk(&self, at: usize) -> Option<(&'a [u8], usize)> {
        let rest = self.buffer.get(at..)?;
        let (bulk_bytes, line_bytes) = short_line(b'$', rest)?;
        let bulk = rest.get(line_bytes..line_bytes + bulk_bytes)?;
        Some((bulk, at + line_bytes + bulk_bytes + LINE_END_BYTES))
    }

    /// Where the request ends that has so many arguments from `at` on, or so it seems: a value may
    /// have lines, too.
    #[inline]
    fn end(&mut self, arguments: usize, at: usize) -> Option<usize> {
        if let Some((last_arguments, last_bytes)) = self.tail
            && last_arguments == arguments
            && self.buffer.get(at + last_bytes).is_none_or(|byte| *byte == b'*')
        {
            return Some(at + last_bytes);
        }
        let begins_line =
            |end: &usize| self.buffer.get(..*end).is_some_and(|before| before.ends_with(b"\r\n"));
        let mut stars = memchr::memchr_iter(b'*', self.buffer.get(at..)?).map(|star| at + star);
        let end = stars.find(begins_line)?;
        self.tail = Some((arguments, end - at));
        Some(end)
    }
}

impl<'a> Iterator for KeysAhead<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (arguments, line_bytes) = short_line(b'*', self.buffer.get(self.position..)?)?;
        let behind_key = arguments.checked_sub(2)?;
        let (_, key_at) = self.bulk(self.position + line_bytes)?;
        let (key, tail_at) = self.bulk(key_at)?;
        // Of one that has not arrived whole the key is good to know, and none behind it.
        self.position = self.end(behind_key, tail_at).unwrap_or(self.buffer.len());
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RequestLimits, RequestParser, encode_request};
    use proptest::prelude::*;

    /// The keys that a parser finds.
    fn parsed_keys(buffer: &[u8]) -> Vec<Vec<u8>> {
        let (mut parser, mut at, mut keys) =
            (RequestParser::new(RequestLimits::DEFAULT), 0, Vec::new());
        while let Ok(Some(parsed)) = parser.parse(&buffer[at..]) {
            keys.push(parser.arguments(&buffer[at..]).get(1).unwrap().to_vec());
            at += parsed.consumed;
        }
        keys
    }

    proptest! {
        #[test]
        fn keys_of_like_requests_are_those_that_a_parser_finds(
            keys in prop::collection::vec("[a-z:0-9]{0,40}", 0..20),
            fields in prop::collection::vec("[a-z]{0,20}", 0..60),
            more in prop::collection::vec("[a-z]{0,20}", 0..60),
        ) {
            let mut buffer = Vec::new();
            for (number, key) in keys.iter().enumerate() {
                let fields = if number % 5 == 3 { &more } else { &fields };
                let mut request = vec!["HMGET".as_bytes(), key.as_bytes()];
                request.extend(fields.iter().map(String::as_bytes));
                encode_request(&request, &mut buffer);
            }
            let ahead: Vec<_> = KeysAhead::new(&buffer).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(ahead, parsed_keys(&buffer));
        }

        /// Hostile bytes: it ends, and gives nothing that is not in the buffer.
        #[test]
        fn any_bytes_have_an_end(
            buffer in prop::collection::vec(
                prop::sample::select(b"*$\r\n0123459ab".to_vec()), 0..300,
            ),
        ) {
            let mut keys = KeysAhead::new(&buffer);
            let mut before = 0;
            while let Some(key) = keys.next() {
                prop_assert!(key.len() <= buffer.len() && keys.position() > before);
                before = keys.position();
            }
        }
    }
}
