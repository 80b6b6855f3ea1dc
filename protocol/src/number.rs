//! Numbers as RESP writes them: integers read strictly, doubles in their shortest exact form.
//!
//! Invariants
//! - An integer has one spelling: no plus, no leading zero, no space, no minus zero (as in Redis).
//! - A double written here reads back to the same bits, not-a-number apart.

use crate::short_number::ShortNumber;

/// The longest text of an `i64`: a minus and nineteen digits.
const INTEGER_BYTES_MAX: usize = 20;

/// The integer that `text` is, if it is one in the strict spelling Redis asks for.
///
/// ```
/// use nowthen_protocol::parse_integer;
/// assert_eq!(parse_integer(b"-17"), Some(-17));
/// assert_eq!(parse_integer(b"+17"), None);
/// assert_eq!(parse_integer(b"017"), None);
/// ```
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    // Counts and lengths in requests have one to three digits nearly always.
    if let [digit @ b'0'..=b'9'] = text {
        return Some(i64::from(digit - b'0'));
    }
    if text.len() > INTEGER_BYTES_MAX {
        return None;
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    // Summed below zero, because the smallest i64 has no positive twin.
    let mut value = 0_i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// Appends `value` as Redis would write it: the fewest digits that read back to the same bits,
/// whole numbers without a fraction, and `inf`, `-inf`, `nan` for what is no number.
///
/// ```
/// let mut text = Vec::new();
/// nowthen_protocol::format_double(17.0, &mut text);
/// assert_eq!(text, b"17");
/// ```
pub fn format_double(value: f64, out: &mut Vec<u8>) {
    match ShortNumber::of_double(value) {
        Some(short) => out.extend_from_slice(short.text()),
        None => out.extend_from_slice(long_text(value, &mut zmij::Buffer::new()).as_bytes()),
    }
}

/// Appends a bulk string of what [`format_double`] writes.
#[inline]
pub(crate) fn push_double(value: f64, out: &mut Vec<u8>) {
    match ShortNumber::of_double(value) {
        Some(short) => short.push_bulk(out),
        None => push_bulk(long_text(value, &mut zmij::Buffer::new()).as_bytes(), out),
    }
}

fn long_text(value: f64, buffer: &mut zmij::Buffer) -> &str {
    if value.is_nan() {
        return "nan";
    }
    let text = buffer.format(value);
    text.strip_suffix(".0").unwrap_or(text)
}

/// Appends a bulk string of the digits of an integer.
#[inline]
pub(crate) fn push_integer(value: i64, out: &mut Vec<u8>) {
    match ShortNumber::of_integer(value) {
        Some(short) => short.push_bulk(out),
        None => push_bulk(itoa::Buffer::new().format(value).as_bytes(), out),
    }
}

/// Appends a bulk string.
#[inline]
pub(crate) fn push_bulk(bytes: &[u8], out: &mut Vec<u8>) {
    write_header(b'$', bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends the line that starts most things in RESP: what it is, and a count or a length.
#[inline]
pub(crate) fn write_header(kind: u8, count: usize, out: &mut Vec<u8>) {
    // One or two digits need no formatter; short rows and short texts are the common case.
    match u8::try_from(count) {
        Ok(digit @ 0..=9) => out.extend_from_slice(&[kind, b'0' + digit, b'\r', b'\n']),
        Ok(two @ 10..=99) => {
            out.extend_from_slice(&[kind, b'0' + two / 10, b'0' + two % 10, b'\r', b'\n']);
        }
        _ => {
            out.push(kind);
            out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn double(value: f64) -> String {
        let mut out = Vec::new();
        format_double(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_integer_has_one_spelling() {
        for text in ["", "-", "+1", "01", "-0", "-01", " 1", "1 ", "1a", "9223372036854775808"] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        }
        for value in [0, 1, 9, 10, -1, i64::MAX, i64::MIN] {
            assert_eq!(parse_integer(value.to_string().as_bytes()), Some(value));
        }
    }

    #[test]
    fn a_whole_double_has_no_fraction_and_the_rest_is_as_redis_has_it() {
        for (value, text) in [
            (17.0, "17"),
            (-3.0, "-3"),
            (0.0, "0"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (12.5, "12.5"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-f64::NAN, "nan"),
        ] {
            assert_eq!(double(value), text);
        }
    }

    #[test]
    fn a_header_says_its_count() {
        for count in (0..1200).chain([usize::MAX]) {
            let mut out = b"before".to_vec();
            write_header(b'*', count, &mut out);
            assert_eq!(out, format!("before*{count}\r\n").into_bytes());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_double_reads_back_to_the_same_bits(bits: u64) {
            let value = f64::from_bits(bits);
            let read: f64 = double(value).parse().unwrap();
            prop_assert!(read.to_bits() == bits || value.is_nan() && read.is_nan());
        }

        #[test]
        fn an_integer_reads_back(value: i64) {
            prop_assert_eq!(parse_integer(value.to_string().as_bytes()), Some(value));
        }
    }
}
