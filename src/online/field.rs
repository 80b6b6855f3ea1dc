//! A field of a plain hash: name, value, end of life.

use crate::feature::Timestamp;

/// How no end of life stands in bytes.
pub(super) const NEVER_US: i64 = i64::MAX;

/// A field of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// When it is gone; `None` for never.
    pub end: Option<Timestamp>,
}

impl Field<'_> {
    /// Whether it is past its end of life at `now`.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.end.is_some_and(|end| end <= now)
    }
}

/// The end of life that stands in bytes as `us`.
pub(super) fn end_of(us: i64) -> Option<Timestamp> {
    (us != NEVER_US).then_some(Timestamp(us))
}

/// How an end of life stands in bytes.
pub(super) fn end_us(end: Option<Timestamp>) -> i64 {
    end.map_or(NEVER_US, Timestamp::us)
}
