//! Redis' floating point numbers for INCRBYFLOAT and HINCRBYFLOAT: the `long double` of x86, with a
//! mantissa of 64 bits, computed exactly, so that a sum has the same digits here as there.
//!
//! ```text
//! text --parse--> sign, mantissa * 2^exponent --add, rounded to even--> "%.17Lf", trimmed
//! ```
//! Invariants
//! - No input makes a number of more than 33,000 bits: text and exponents are bounded.
//! - An `f64` would show `0.1 + 0.2` as 0.30000000000000004; clients of Redis see 0.3.

use num_bigint::BigUint;

/// Redis reads at most so many bytes of text as a number.
const TEXT_BYTES_MAX: usize = 5 * 1024;
const MANTISSA_BITS: u64 = 64;
/// The first power of two that is too large.
const EXPONENT_MAX: i64 = 16_384;
/// Below this power of two there is only zero.
const EXPONENT_MIN: i64 = -16_446;
/// No number has a decimal exponent beyond this.
const DECIMAL_EXPONENT_MAX: i64 = 5_000;
const FRACTION_DIGITS: usize = 17;

/// A number that has a value: infinities are read but have none.
#[derive(Clone, Copy, Debug)]
pub(super) struct LongDouble {
    is_negative: bool,
    mantissa: u64,
    exponent: i64,
}

/// What a text says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parsed {
    /// A number.
    Finite(LongDouble),
    /// Infinity, in words.
    Infinite,
}

/// Reads text as Redis does: decimal, hexadecimal, or infinity; all of it, and nothing else.
pub(super) fn parse(text: &[u8]) -> Option<Parsed> {
    if text.len() >= TEXT_BYTES_MAX {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.eq_ignore_ascii_case("inf") || digits.eq_ignore_ascii_case("infinity") {
        return Some(Parsed::Infinite);
    }
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (radix, digits, exponent_signs) = match hexadecimal {
        Some(rest) => (16, rest, ['p', 'P']),
        None => (10, digits, ['e', 'E']),
    };
    let (digits, exponent) = match digits.split_once(exponent_signs) {
        Some((digits, exponent)) => (digits, exponent_of(exponent)?),
        None => (digits, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = [whole, fraction].concat();
    if all.is_empty() || !all.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let mantissa = BigUint::parse_bytes(all.as_bytes(), radix)?;
    let fraction_digits = fraction.len() as i64;
    let rounded = match radix {
        16 => LongDouble::rounded(&mantissa, exponent - 4 * fraction_digits, false),
        _ => from_decimal(&mantissa, exponent - fraction_digits),
    };
    rounded.map(|number| Parsed::Finite(LongDouble { is_negative, ..number }))
}

/// A decimal exponent; one that is out of every bound is as good as another.
fn exponent_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let most = 100 * DECIMAL_EXPONENT_MAX;
    let exponent = digits.parse().unwrap_or(most).min(most);
    Some(if text.starts_with('-') { -exponent } else { exponent })
}

/// `mantissa * 10^exponent`, rounded once.
fn from_decimal(mantissa: &BigUint, exponent: i64) -> Option<LongDouble> {
    let ten = BigUint::from(10_u32);
    let most = 2 * DECIMAL_EXPONENT_MAX + TEXT_BYTES_MAX as i64;
    if mantissa.bits() == 0 {
        return LongDouble::rounded(mantissa, 0, false);
    }
    if !(-most..=DECIMAL_EXPONENT_MAX).contains(&exponent) {
        return None;
    }
    let power = ten.pow(u32::try_from(exponent.abs()).ok()?);
    if exponent >= 0 {
        return LongDouble::rounded(&(mantissa * power), 0, false);
    }
    // Enough bits for the mantissa, and then some to round by.
    let shift = (power.bits() + MANTISSA_BITS + 3).saturating_sub(mantissa.bits());
    let shifted = mantissa << shift;
    let (quotient, remainder) = (&shifted / &power, &shifted % &power);
    LongDouble::rounded(&quotient, -(shift as i64), remainder.bits() > 0)
}

impl LongDouble {
    /// `number * 2^exponent`, and a little more if `has_more`, to the nearest that there is, ties
    /// to even; `None` if it is too large, or not zero but too small.
    fn rounded(number: &BigUint, exponent: i64, has_more: bool) -> Option<Self> {
        let dropped = number.bits().saturating_sub(MANTISSA_BITS);
        let mut kept: BigUint = number >> dropped;
        if dropped > 0 {
            let rest = number - (&kept << dropped);
            let half = BigUint::from(1_u32) << (dropped - 1);
            if rest > half || rest == half && (has_more || kept.bit(0)) {
                kept += 1_u32;
            }
        }
        // Rounding up may make a bit too many, and then the lowest one is 0.
        let carried = kept.bits().saturating_sub(MANTISSA_BITS);
        let mantissa = (kept >> carried).iter_u64_digits().next().unwrap_or(0);
        let exponent = exponent + (dropped + carried) as i64;
        let top = exponent + i64::from(u64::BITS - mantissa.leading_zeros());
        let is_there = mantissa == 0 || (EXPONENT_MIN + 1..=EXPONENT_MAX).contains(&top);
        let exponent = if mantissa == 0 { 0 } else { exponent };
        is_there.then_some(Self { is_negative: false, mantissa, exponent })
    }

    /// The sum; `None` if it is too large.
    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let [a, b] = [self, other]
            .map(|number| BigUint::from(number.mantissa) << (number.exponent - exponent) as u64);
        let (is_negative, sum) = match self.is_negative == other.is_negative {
            true => (self.is_negative, a + b),
            false if a >= b => (self.is_negative, a - b),
            false => (other.is_negative, b - a),
        };
        Some(Self { is_negative, ..Self::rounded(&sum, exponent, false)? })
    }

    /// The text Redis writes: at most 17 digits behind the point, and no zeros at the end.
    pub(super) fn text(self) -> String {
        let scaled = BigUint::from(self.mantissa) * BigUint::from(10_u32).pow(17);
        let places = self.exponent.unsigned_abs();
        let units = if self.exponent >= 0 { scaled << places } else { halved(&scaled, places) };
        let digits = format!("{units:0>width$}", units = units.to_string(), width = 18);
        let (whole, fraction) = digits.split_at(digits.len() - FRACTION_DIGITS);
        let fraction = fraction.trim_end_matches('0');
        let sign = if self.is_negative && units.bits() > 0 { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}")
    }
}

/// `number / 2^times`, rounded, ties to even.
fn halved(number: &BigUint, times: u64) -> BigUint {
    let kept: BigUint = number >> times;
    let rest = number - (&kept << times);
    let half = (BigUint::from(1_u32) << times) >> 1_u32;
    if rest > half || rest == half && kept.bit(0) { kept + 1_u32 } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> String {
        match (parse(a.as_bytes()), parse(b.as_bytes())) {
            (Some(Parsed::Finite(a)), Some(Parsed::Finite(b))) => {
                a.plus(b).map_or("too large".into(), LongDouble::text)
            }
            (Some(_), Some(_)) => "infinite".into(),
            _ => "no number".into(),
        }
    }

    #[test]
    fn sums_have_the_digits_of_redis() {
        for (a, b, expected) in [
            ("0.1", "0.2", "0.3"),
            ("10.5", "0.1", "10.6"),
            ("0", "5000.1", "5000.10000000000000009"),
            ("5000.1", "-5000.1", "0"),
            ("5.0e3", "2.0e2", "5200"),
            ("1", "-0x1.8p1", "-2"),
            (".5", "5.", "5.5"),
            ("-0", "-0.0", "0"),
            ("1e-400", "-1e-30", "0"),
            ("1", "inf", "infinite"),
            ("1", "nan", "no number"),
            ("1", " 1", "no number"),
            ("1", "1e", "no number"),
            ("1", "1e5000", "no number"),
            ("1", "1e-5000", "no number"),
            ("1", "1e99999999999999999999", "no number"),
            ("1.1e4932", "1.1e4932", "too large"),
        ] {
            assert_eq!(sum(a, b), expected, "{a} + {b}");
        }
    }

    #[test]
    fn a_large_number_shows_all_the_digits_of_its_64_bits() {
        assert!(sum("1e400", "0").starts_with("10000000000000000000281880683947586514"));
    }
}
