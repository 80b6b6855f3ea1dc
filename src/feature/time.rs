//! Instants and spans: microseconds since 1970, UTC, and the text forms people write them in.

use crate::error::{Error, Result, echo};
use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

/// An instant: microseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The earliest instant.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest instant.
    pub const MAX: Self = Self(i64::MAX);

    /// Microseconds since 1970.
    pub fn us(self) -> i64 {
        self.0
    }

    /// How old this instant is at `at`, in µs; negative if it lies ahead. Never overflows: the
    /// difference of two `i64` is within `i128`.
    pub fn age_us(self, at: Self) -> i128 {
        i128::from(at.0) - i128::from(self.0)
    }

    /// This instant `us` later, or the last one there is.
    pub fn plus_us(self, us: i64) -> Self {
        Self(self.0.saturating_add(us))
    }

    /// Reads ISO-8601 (`2013-07-04T12:00:00Z`, with an offset, or without one for UTC, or a date
    /// alone), or whole microseconds since 1970.
    pub fn parse(text: &str) -> Result<Self> {
        if let Ok(us) = text.parse::<i64>() {
            return Ok(Self(us));
        }
        if let Ok(zoned) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self(zoned.timestamp_micros()));
        }
        for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
            if let Ok(naive) = NaiveDateTime::parse_from_str(text, format) {
                return Ok(Self(naive.and_utc().timestamp_micros()));
            }
        }
        let midnight = NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()
            .and_then(|date| date.and_hms_opt(0, 0, 0));
        midnight.map(|naive| Self(naive.and_utc().timestamp_micros())).ok_or_else(|| {
            Error::refused(format!(
                "{} is no time: expected ISO-8601 such as 2013-07-04T12:00:00Z, or whole \
                 microseconds since 1970",
                echo(text.as_bytes())
            ))
        })
    }

    /// ISO-8601 in UTC with as many fractional digits as needed; the plain number of microseconds
    /// for an instant outside the years that a calendar has.
    pub fn to_iso(self) -> String {
        DateTime::from_timestamp_micros(self.0).map_or_else(
            || self.0.to_string(),
            |instant| instant.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        )
    }
}

/// How long after its event timestamp a cell may be seen. Always more than nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ttl(i64);

impl Ttl {
    /// A TTL of `us` microseconds; `None` if that is not positive.
    pub fn from_us(us: i64) -> Option<Self> {
        (us > 0).then_some(Self(us))
    }

    /// The TTL in microseconds, as wide as an age is.
    pub fn us(self) -> i128 {
        i128::from(self.0)
    }

    /// As it is written in a definition: `6h`, `30d`.
    pub fn text(self) -> String {
        duration_text(self.0)
    }
}

const UNITS: [(&str, i64); 7] = [
    ("w", 7 * 86_400_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Reads a positive span such as `6h`, `30d`, `250ms` as microseconds.
pub fn parse_duration_us(text: &str) -> Result<i64> {
    let refuse = || {
        Error::refused(format!(
            "{} is no duration: expected a whole number and a unit, one of w d h m s ms us, \
             such as 6h",
            echo(text.as_bytes())
        ))
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(refuse)?;
    let number: i64 = number.parse().map_err(|_| refuse())?;
    let (_, us) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refuse)?;
    number.checked_mul(*us).filter(|us| *us > 0).ok_or_else(refuse)
}

/// The shortest exact text of a span, in the largest unit that divides it.
pub fn duration_text(us: i64) -> String {
    let fits = UNITS.iter().skip(1).find(|(_, unit)| us % unit == 0);
    fits.map_or_else(|| format!("{us}us"), |(name, unit)| format!("{}{name}", us / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_same_instant_is_the_same_instant() {
        let noon = Timestamp(1_372_939_200_000_000);
        for text in [
            "2013-07-04T12:00:00Z",
            "2013-07-04T14:00:00+02:00",
            "2013-07-04 12:00:00",
            "2013-07-04T12:00",
            "1372939200000000",
        ] {
            assert_eq!(Timestamp::parse(text).unwrap(), noon, "{text}");
        }
        assert_eq!(noon.to_iso(), "2013-07-04T12:00:00Z");
        assert_eq!(Timestamp::parse("2013-07-04").unwrap().to_iso(), "2013-07-04T00:00:00Z");
    }

    #[test]
    fn what_is_no_time_is_refused_with_an_example() {
        let why = Timestamp::parse("yesterday").unwrap_err().to_string();
        assert!(why.contains("'yesterday'") && why.contains("2013-07-04T12:00:00Z"), "{why}");
    }

    #[test]
    fn durations_read_back_as_written() {
        for text in ["6h", "30d", "250ms", "1us", "90s"] {
            assert_eq!(duration_text(parse_duration_us(text).unwrap()), text);
        }
        for text in ["", "6", "h", "-1h", "0s", "6 h", "99999999999999d"] {
            assert!(parse_duration_us(text).is_err(), "{text}");
        }
    }
}
