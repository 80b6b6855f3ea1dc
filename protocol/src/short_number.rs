//! Numbers of few digits as text, and as a bulk string: no loop, no search, one copy.
//!
//! ```text
//! $ 8 \r \n - 3 1 . 0 0 2 5 \r \n . . .     -31.0025
//!           |                |
//!         text_at           end
//! ```
//! Whole digits and fraction are made eight at a time; which of them belong to the number says
//! where the next part begins, and what stands behind the end is none of it.
//!
//! Why it is the shortest text that reads back to the same bits: decimals of at most 15 digits are
//! told apart by doubles (C11 5.2.4.2.2, `DBL_DIG`), so a double that is the nearest to one of them
//! is the nearest to no other of as many digits or fewer.

/// More than the longest bulk string has: copied as a whole, since the length is known then.
const PIECE_BYTES: usize = 40;
const DIGITS_EIGHT: u32 = 100_000_000;
const ASCII_ZEROS: u64 = 0x3030_3030_3030_3030;

/// Above this, eight decimals would be more than 15 digits.
const MAGNITUDE_MAX: f64 = 1e7;
/// Below this, a double is written with an exponent, or nearly so.
const MAGNITUDE_MIN: f64 = 1e-4;
/// One more and a double has no place for a fraction: what is added to it is rounded.
const NO_FRACTION: f64 = 4_503_599_627_370_496.0;

/// A number as a bulk string.
pub(crate) struct ShortNumber {
    bytes: [u8; PIECE_BYTES],
    /// Where its text begins.
    text_at: usize,
    /// Where its text ends, and the line end begins.
    end: usize,
}

impl ShortNumber {
    /// A double that is a decimal of at most eight places and less than ten million; `None` of
    /// every other one, which a multiplication and a division find out.
    #[inline]
    pub(crate) fn of_double(value: f64) -> Option<Self> {
        let magnitude = value.abs();
        // In this form false for what is not a number.
        let is_short = (MAGNITUDE_MIN..MAGNITUDE_MAX).contains(&magnitude) || magnitude == 0.0;
        if !is_short {
            return None;
        }
        let scale = f64::from(DIGITS_EIGHT);
        let rounded = magnitude * scale + NO_FRACTION;
        // Both sides of the division are exact, so it gives the double nearest to the decimal.
        if (rounded - NO_FRACTION) / scale != magnitude {
            return None;
        }
        let decimal = rounded.to_bits() ^ NO_FRACTION.to_bits();
        let whole = decimal / u64::from(DIGITS_EIGHT);
        let fraction = decimal % u64::from(DIGITS_EIGHT);
        Some(Self::new(value.is_sign_negative(), whole as u32, fraction as u32))
    }

    /// An integer of at most eight digits.
    #[inline]
    pub(crate) fn of_integer(value: i64) -> Option<Self> {
        let magnitude = value.unsigned_abs();
        let is_short = magnitude < u64::from(DIGITS_EIGHT);
        is_short.then(|| Self::new(value < 0, magnitude as u32, 0))
    }

    /// Of `whole` and of `fraction` eight digits.
    #[inline]
    fn new(is_negative: bool, whole: u32, fraction: u32) -> Self {
        let whole = eight_digits(whole);
        // The last digit before the point stays, also if it is zero.
        let skipped = (whole | (1 << 56)).trailing_zeros() / 8;
        let whole_count = 8 - skipped;
        let sign_count = u32::from(is_negative);
        let fraction = if fraction == 0 { 0 } else { eight_digits(fraction) };
        // The point and the digits behind it, without zeros at the end.
        let fraction_count = if fraction == 0 { 0 } else { 9 - fraction.leading_zeros() / 8 };
        let text_count = sign_count + whole_count + fraction_count;

        let (header, text_at) = header(text_count);
        let whole_at = text_at + sign_count;
        let point_at = whole_at + whole_count;
        let end = point_at + fraction_count;
        let mut bytes = [0; PIECE_BYTES];
        put(&mut bytes, 0, header.to_le_bytes());
        put(&mut bytes, text_at, *b"-");
        put(&mut bytes, whole_at, ((whole | ASCII_ZEROS) >> (8 * skipped)).to_le_bytes());
        put(&mut bytes, point_at, *b".");
        put(&mut bytes, point_at + 1, (fraction | ASCII_ZEROS).to_le_bytes());
        put(&mut bytes, end, *b"\r\n");
        Self { bytes, text_at: text_at as usize, end: end as usize }
    }

    /// Its text.
    pub(crate) fn text(&self) -> &[u8] {
        self.bytes.get(self.text_at..self.end).unwrap_or_default()
    }

    /// Appends it as a bulk string.
    #[inline]
    pub(crate) fn push_bulk(self, out: &mut Vec<u8>) {
        let length = out.len() + self.end + 2;
        out.extend_from_slice(&self.bytes);
        out.truncate(length);
    }
}

/// The line before a text of less than a hundred bytes, the first byte in the lowest, and how many
/// it has.
#[inline]
fn header(text_count: u32) -> (u64, u32) {
    let (tens, ones) = (u64::from(text_count / 10), u64::from(text_count % 10));
    let line = u64::from_le_bytes(*b"0\r\n\0\0\0\0\0") + ones;
    match tens {
        0 => ((line << 8) | u64::from(b'$'), 4),
        _ => ((line << 16) | ((u64::from(b'0') + tens) << 8) | u64::from(b'$'), 5),
    }
}

/// Puts `part` at a place that leaves room for it: no number is as long as that.
#[inline]
fn put<const N: usize>(bytes: &mut [u8; PIECE_BYTES], at: u32, part: [u8; N]) {
    const { assert!(N <= 8) };
    // The compiler sees that the place is inside, and checks nothing.
    let at = at as usize % (PIECE_BYTES - 8);
    if let Some(place) = bytes.get_mut(at..at + N) {
        place.copy_from_slice(&part);
    }
}

/// The digits of a number below a hundred million, a byte each, the first in the lowest byte.
///
/// Halves, quarters and digits are divided side by side in one register; a multiplication and a
/// shift divide by 100 and by 10 (Lemire, "Converting integers to fix-digit representations
/// quickly", 2021). Nothing here can overflow: no check is wanted.
#[inline]
fn eight_digits(number: u32) -> u64 {
    let number = u64::from(number);
    let halves = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = (halves.wrapping_mul(10_486) >> 20) & 0x7f_0000_007f;
    let pairs = hundreds | (halves.wrapping_sub(hundreds.wrapping_mul(100)) << 16);
    let tens = (pairs.wrapping_mul(103) >> 10) & 0x000f_000f_000f_000f;
    tens | (pairs.wrapping_sub(tens.wrapping_mul(10)) << 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The text that is the standard for all others.
    fn standard(value: f64) -> String {
        let text = zmij::Buffer::new().format(value).to_owned();
        text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
    }

    fn text(number: &ShortNumber) -> String {
        String::from_utf8(number.text().to_vec()).unwrap()
    }

    fn is_standard(value: f64) -> bool {
        [value, -value].into_iter().all(|value| {
            let short = ShortNumber::of_double(value);
            short.is_none_or(|short| text(&short) == standard(value))
        })
    }

    fn bulk(number: ShortNumber) -> String {
        let mut out = b"before".to_vec();
        number.push_bulk(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn eight_digits_are_those_of_the_number() {
        let numbers = (0..10_000).chain((0..DIGITS_EIGHT).step_by(9973));
        for number in numbers.chain(DIGITS_EIGHT - 10_000..DIGITS_EIGHT) {
            let digits = (eight_digits(number) | ASCII_ZEROS).to_le_bytes();
            assert_eq!(digits, *format!("{number:08}").as_bytes());
        }
    }

    #[test]
    fn usual_decimals_are_short_and_others_are_not() {
        for value in [0.0, -0.0, 0.5, 12.25, 999.9999, 0.0001, 1234567.12345678, 9_999_999.0] {
            assert!(ShortNumber::of_double(value).is_some(), "{value}");
        }
        let others = [1.0 / 3.0, 0.1 + 0.2, 1e7, 1e-5, 5e-324, f64::NAN, f64::INFINITY];
        for value in others {
            assert!(ShortNumber::of_double(value).is_none(), "{value}");
        }
    }

    #[test]
    fn the_limits_and_their_neighbours_have_the_standard_text() {
        let steps = std::iter::successors(Some(MAGNITUDE_MAX), |it| Some(it.next_down())).take(99);
        assert!(steps.into_iter().all(is_standard));
        let around = |value: f64| [value, value.next_up(), value.next_down(), value.recip()];
        assert!((-12..18).map(|exponent| 10_f64.powi(exponent)).flat_map(around).all(is_standard));
        assert!((-60..60).map(|exponent| 2_f64.powi(exponent)).flat_map(around).all(is_standard));
    }

    #[test]
    fn a_bulk_string_is_as_long_as_it_says() {
        for (number, wanted) in [
            (ShortNumber::of_integer(0), "$1\r\n0\r\n"),
            (ShortNumber::of_integer(-17), "$3\r\n-17\r\n"),
            (ShortNumber::of_integer(99_999_999), "$8\r\n99999999\r\n"),
            (ShortNumber::of_integer(-99_999_999), "$9\r\n-99999999\r\n"),
            (ShortNumber::of_double(-0.0), "$2\r\n-0\r\n"),
            (ShortNumber::of_double(12345.5), "$7\r\n12345.5\r\n"),
            (ShortNumber::of_double(-12345.6789), "$11\r\n-12345.6789\r\n"),
            (ShortNumber::of_double(-1234567.12345678), "$17\r\n-1234567.12345678\r\n"),
        ] {
            assert_eq!(bulk(number.unwrap()), format!("before{wanted}"));
        }
        assert!(ShortNumber::of_integer(100_000_000).is_none());
        assert!(ShortNumber::of_integer(i64::MIN).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn decimals_are_short_and_have_the_standard_text(
            decimal in 0_i64..1_000_000_000_000_000,
            places in 0_i32..12,
            shift in 0_u32..50,
        ) {
            let value = (decimal >> shift) as f64 / 10_f64.powi(places);
            prop_assert!(is_standard(value));
            prop_assert!(is_standard(value.next_up()) && is_standard(value.next_down()));
            let is_short = places <= 8 && (MAGNITUDE_MIN..MAGNITUDE_MAX).contains(&value);
            prop_assert!(!is_short || ShortNumber::of_double(value).is_some(), "{}", value);
        }

        #[test]
        fn any_double_has_the_standard_text(bits: u64, fraction in 0_f64..1e7) {
            prop_assert!(is_standard(f64::from_bits(bits)) && is_standard(fraction));
        }

        #[test]
        fn any_integer_has_its_text(value: i64, shift in 0_u32..64) {
            let value = value >> shift;
            if let Some(short) = ShortNumber::of_integer(value) {
                prop_assert_eq!(text(&short), value.to_string());
                let length = value.to_string().len();
                prop_assert_eq!(bulk(short), format!("before${length}\r\n{value}\r\n"));
            }
        }
    }
}
