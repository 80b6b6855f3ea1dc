//! Inline commands: a line typed into telnet, split into arguments as Redis splits it.
//!
//! ```text
//! SET user:1 "a \"b\"\x21\n" 'it\'s'   -->   SET | user:1 | a "b"! and a line feed | it's
//! ```
//! Invariants
//! - A closing quote is followed by white space or the end, or the line is refused.
//! - What a line decodes to is never longer than the line.
//!
//! Not here: where the line ends (`request.rs`).

use crate::{arguments::Range, error::ProtocolError};

/// Splits `line` (without its line end) into arguments. Their bytes go to `text`, their places in
/// it to `ranges`; both are emptied first.
pub(crate) fn split(
    line: &[u8],
    text: &mut Vec<u8>,
    ranges: &mut Vec<Range>,
) -> Result<(), ProtocolError> {
    text.clear();
    ranges.clear();
    // Redis handles the line as C text, so a zero byte ends it.
    let mut rest = line.split(|byte| *byte == 0).next().unwrap_or_default();
    loop {
        rest = without_leading_space(rest);
        if rest.is_empty() {
            return Ok(());
        }
        let start = text.len();
        rest = argument(rest, text)?;
        ranges.push((start, text.len()));
    }
}

/// Appends the argument at the start of `rest` to `text`, and gives what follows it.
fn argument<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    let mut quote = Quote::None;
    loop {
        let (byte, tail) = match (quote, rest) {
            (Quote::None, [] | [b' ' | b'\n' | b'\r' | b'\t', ..]) => return Ok(rest),
            (Quote::None, [b'"', tail @ ..]) => {
                quote = Quote::Double;
                rest = tail;
                continue;
            }
            (Quote::None, [b'\'', tail @ ..]) => {
                quote = Quote::Single;
                rest = tail;
                continue;
            }
            (Quote::Double, [b'"', tail @ ..]) | (Quote::Single, [b'\'', tail @ ..]) => {
                return after_quote(tail);
            }
            (Quote::Double, [b'\\', escaped @ ..]) if !escaped.is_empty() => unescape(escaped),
            (Quote::Single, [b'\\', b'\'', tail @ ..]) => (b'\'', tail),
            (_, [byte, tail @ ..]) => (*byte, tail),
            (_, []) => return Err(ProtocolError::UnbalancedQuotes),
        };
        text.push(byte);
        rest = tail;
    }
}

#[derive(Clone, Copy)]
enum Quote {
    None,
    Double,
    Single,
}

fn after_quote(tail: &[u8]) -> Result<&[u8], ProtocolError> {
    match tail.first() {
        Some(byte) if !is_space(*byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(tail),
    }
}

/// The byte that `escaped` (what follows a backslash) stands for, and what follows that.
fn unescape(escaped: &[u8]) -> (u8, &[u8]) {
    match escaped {
        [b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            (hex_digit(*high) << 4 | hex_digit(*low), tail)
        }
        [b'n', tail @ ..] => (b'\n', tail),
        [b'r', tail @ ..] => (b'\r', tail),
        [b't', tail @ ..] => (b'\t', tail),
        [b'b', tail @ ..] => (0x08, tail),
        [b'a', tail @ ..] => (0x07, tail),
        [byte, tail @ ..] => (*byte, tail),
        [] => (b'\\', escaped),
    }
}

/// The value of a byte that is known to be a hexadecimal digit.
fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20).wrapping_sub(b'a').wrapping_add(10) & 0x0f,
    }
}

fn without_leading_space(line: &[u8]) -> &[u8] {
    let spaces = line.iter().take_while(|byte| is_space(**byte)).count();
    line.get(spaces..).unwrap_or_default()
}

/// `isspace` of C, which knows two more than Rust's `is_ascii_whitespace` and `' '` together.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[u8], wanted: &[&[u8]]) {
        let (mut text, mut ranges) = (Vec::new(), Vec::new());
        split(line, &mut text, &mut ranges).unwrap();
        let got: Vec<&[u8]> = ranges.iter().map(|(start, end)| &text[*start..*end]).collect();
        assert_eq!(got, wanted, "{}", line.escape_ascii());
    }

    fn refused(line: &[u8]) {
        let got = split(line, &mut Vec::new(), &mut Vec::new());
        assert_eq!(got, Err(ProtocolError::UnbalancedQuotes), "{}", line.escape_ascii());
    }

    #[test]
    fn white_space_separates_and_is_dropped_at_both_ends() {
        check(b"", &[]);
        check(b" \t ", &[]);
        check(b"PING", &[b"PING"]);
        check(b"  GET \t user:1  ", &[b"GET", b"user:1"]);
    }

    #[test]
    fn double_quotes_know_escapes_and_single_quotes_only_their_own() {
        check(br#"a "b c" d"#, &[b"a", b"b c", b"d"]);
        check(br#""\n\r\t\b\a\x00\xfF\q\"\\""#, &[b"\n\r\t\x08\x07\x00\xffq\"\\"]);
        check(br#""\xg0 \x1""#, &[b"xg0 x1"]);
        check(br"'it\'s' '\n'", &[b"it's", br"\n"]);
        check(br#""" ''"#, &[b"", b""]);
    }

    #[test]
    fn a_quote_may_open_inside_a_word_but_must_end_it() {
        check(br#"foo"bar" baz"#, &[b"foobar", b"baz"]);
        refused(br#"foo"bar"baz"#);
        refused(b"'a'b");
    }

    #[test]
    fn an_open_quote_is_refused() {
        for line in [&b"\""[..], b"'", br#""a"#, br#""a\"#, br#""a\""#, br"'a\'"] {
            refused(line);
        }
    }

    #[test]
    fn a_zero_byte_ends_the_line_as_in_redis() {
        check(b"GET a\0b c", &[b"GET", b"a"]);
        refused(b"GET \"a\0b\"");
    }
}
