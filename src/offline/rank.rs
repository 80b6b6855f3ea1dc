//! Rows of a source, ordered by who wins.
//!
//! The rule is that of [`Stamp`], then of arrival. Two rows of one entity at one instant are rare,
//! so mostly the event timestamp decides, and created timestamps need not even be read: [`Newest`]
//! tells where they must be (`winners.rs`).

use crate::feature::{Stamp, Timestamp};

/// A row that may win.
pub(super) trait Rank: Copy + Ord + Send + Sync {
    /// Less than every row there is.
    const NONE: Self;

    /// The row with this place in the source, from 1.
    fn new(event: Timestamp, created: Option<Timestamp>, order: u64) -> Self;

    /// When it was true.
    fn event(&self) -> Timestamp;

    /// Its place in the source; 0 if it is none.
    fn order(&self) -> u64;

    /// Whether only created timestamps that were not read tell which of the two wins.
    fn is_tied(&self, other: &Self) -> bool;

    /// The row, if there is one.
    fn found(self) -> Option<Self> {
        (self.order() > 0).then_some(self)
    }
}

/// A row with all that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Winner {
    pub(super) stamp: Stamp,
    /// Its place in the source, from 1.
    pub(super) order: u64,
}

impl Rank for Winner {
    const NONE: Self = Self { stamp: Stamp { event: Timestamp::MIN, created: None }, order: 0 };

    #[inline]
    fn new(event: Timestamp, created: Option<Timestamp>, order: u64) -> Self {
        Self { stamp: Stamp::new(event, created), order }
    }

    fn event(&self) -> Timestamp {
        self.stamp.event
    }

    fn order(&self) -> u64 {
        self.order
    }

    fn is_tied(&self, _other: &Self) -> bool {
        false
    }
}

/// A row without its created timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Newest {
    event: Timestamp,
    order: u64,
}

impl Rank for Newest {
    const NONE: Self = Self { event: Timestamp::MIN, order: 0 };

    #[inline]
    fn new(event: Timestamp, _created: Option<Timestamp>, order: u64) -> Self {
        Self { event, order }
    }

    fn event(&self) -> Timestamp {
        self.event
    }

    fn order(&self) -> u64 {
        self.order
    }

    #[inline]
    fn is_tied(&self, other: &Self) -> bool {
        self.event == other.event && self.order > 0 && other.order > 0
    }
}
