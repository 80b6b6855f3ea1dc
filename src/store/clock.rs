//! The clock of a store. It never goes back, whatever the machine's clock does: an event timestamp
//! that is less than an earlier one would make the newer write lose.

use crate::feature::Timestamp;
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Where a store takes its time from.
#[derive(Debug)]
pub struct Clock {
    source: Source,
    /// The latest instant told so far.
    latest_us: AtomicI64,
}

#[derive(Debug)]
enum Source {
    /// The machine's clock, moved by that many µs.
    System { shift_us: i64 },
    /// Stands still until it is moved.
    Manual,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::new(Source::System { shift_us: 0 })
    }

    /// A clock that starts at `start` and runs on from there: to serve history as of then.
    pub fn starting_at(start: Timestamp) -> Self {
        Self::new(Source::System { shift_us: start.us().saturating_sub(machine_us()) })
    }

    /// A clock that stands at `start` until [`Clock::advance_to`] moves it: for tests.
    pub fn manual(start: Timestamp) -> Self {
        let clock = Self::new(Source::Manual);
        clock.advance_to(start);
        clock
    }

    fn new(source: Source) -> Self {
        Self { source, latest_us: AtomicI64::new(i64::MIN) }
    }

    /// Now, and never before what was told earlier.
    pub fn now(&self) -> Timestamp {
        let told = match self.source {
            Source::System { shift_us } => machine_us().saturating_add(shift_us),
            Source::Manual => i64::MIN,
        };
        let latest = self.latest_us.fetch_max(told, Ordering::AcqRel);
        Timestamp(latest.max(told))
    }

    /// From here on nothing before `instant` is told: the log may know a later time than a clock
    /// that was set back.
    pub fn advance_to(&self, instant: Timestamp) {
        self.latest_us.fetch_max(instant.us(), Ordering::AcqRel);
    }
}

fn machine_us() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_never_goes_back() {
        let clock = Clock::starting_at(Timestamp::parse("2013-07-04T12:00:00Z").unwrap());
        let noon = clock.now();
        assert!(noon.to_iso().starts_with("2013-07-04T12:00:0"), "{}", noon.to_iso());
        clock.advance_to(noon.plus_us(3_600_000_000));
        assert!(clock.now() >= noon.plus_us(3_600_000_000));
    }
}
