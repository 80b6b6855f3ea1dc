//! The one rule of visibility: which cell may be seen at an instant, and which of several wins.
//!
//! ```text
//!  hidden: not yet true │ visible                │ hidden: too old
//! ──────────────────────┼────────────────────────┼──────────────────> t
//!                       e                      e + ttl      (both ends inclusive)
//! ```
//! Online read, point-in-time join, materialization and log replay all call these functions; that
//! is why what a model is trained on is what it is served.

use super::time::{Timestamp, Ttl};
use serde::{Deserialize, Serialize};

/// May a cell with event timestamp `event` be seen at `at` under `ttl`?
///
/// If and only if `event <= at` and (`ttl` is absent or `at - event <= ttl`).
#[inline]
pub fn visible_at(event: Timestamp, at: Timestamp, ttl: Option<Ttl>) -> bool {
    event <= at && ttl.is_none_or(|ttl| event.age_us(at) <= ttl.us())
}

/// Orders the cells of one feature: of those visible the greatest wins.
///
/// Event timestamp first, then created timestamp, where a missing one loses to a present one.
/// Equal stamps are settled by arrival: the later one wins, so compare with `>=` on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// When the fact was true in the world.
    pub event: Timestamp,
    /// When it became known; `None` sorts before every instant.
    pub created: Option<Timestamp>,
}

impl Stamp {
    /// A stamp of both times.
    pub fn new(event: Timestamp, created: Option<Timestamp>) -> Self {
        Self { event, created }
    }
}

/// What a read met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// A value is there and may be seen.
    Present,
    /// The winning cell is null.
    NullValue,
    /// A cell exists, but its TTL hides it.
    OutsideMaxAge,
    /// No cell exists at that time.
    NotFound,
}

impl Status {
    /// The name on the wire, as Feast's feature server writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Present => "PRESENT",
            Self::NullValue => "NULL_VALUE",
            Self::OutsideMaxAge => "OUTSIDE_MAX_AGE",
            Self::NotFound => "NOT_FOUND",
        }
    }
}

/// The status of the winning cell: `event` is that of the newest cell at or before `at`, if any,
/// and `is_null` tells whether it holds null. A tombstone counts as no cell.
pub fn status_at(
    event: Option<Timestamp>,
    is_null: bool,
    at: Timestamp,
    ttl: Option<Ttl>,
) -> Status {
    match event {
        Some(event) if event <= at => {
            if !visible_at(event, at, ttl) {
                Status::OutsideMaxAge
            } else if is_null {
                Status::NullValue
            } else {
                Status::Present
            }
        }
        _ => Status::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_the_ttl_are_inclusive() {
        let ttl = Ttl::from_us(10);
        let seen = |at| visible_at(Timestamp(100), Timestamp(at), ttl);
        assert_eq!([99, 100, 110, 111].map(seen), [false, true, true, false]);
    }

    #[test]
    fn without_a_ttl_a_cell_is_visible_for_ever_and_no_age_overflows() {
        assert!(visible_at(Timestamp::MIN, Timestamp::MAX, None));
        assert!(!visible_at(Timestamp::MIN, Timestamp::MAX, Ttl::from_us(i64::MAX)));
    }

    #[test]
    fn a_missing_created_timestamp_loses_to_a_present_one() {
        let event = Timestamp(5);
        assert!(Stamp::new(event, None) < Stamp::new(event, Some(Timestamp::MIN)));
        assert!(Stamp::new(event, Some(Timestamp(9))) < Stamp::new(Timestamp(6), None));
    }
}
