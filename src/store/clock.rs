//! The clock of a store. It never goes back, whatever the machine's clock does: an event timestamp
//! that is less than an earlier one would make the newer write lose.

use crate::feature::Timestamp;
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How often the machine's clock is compared with its steady one: what sets the clock shows after
/// that time.
const COMPARED_EVERY_US: i64 = 10_000;

/// Where a store takes its time from.
#[derive(Debug)]
pub struct Clock {
    source: Source,
    /// The latest instant told so far.
    latest_us: AtomicI64,
    /// Since when the steady clock counts.
    start: Instant,
    /// How much the machine's clock was ahead of the steady one when they were compared.
    lead_us: AtomicI64,
    /// When they are to be compared again, by the steady one.
    compare_at_us: AtomicI64,
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
        Self {
            source,
            latest_us: AtomicI64::new(i64::MIN),
            start: Instant::now(),
            lead_us: AtomicI64::new(0),
            compare_at_us: AtomicI64::new(i64::MIN),
        }
    }

    /// Now, and never before what was told earlier.
    pub fn now(&self) -> Timestamp {
        self.tell(machine_us)
    }

    /// The same for those who know already that it is `instant` by the machine's steady clock:
    /// what sets the machine's own clock may show a few ms later.
    pub fn now_at(&self, instant: Instant) -> Timestamp {
        self.tell(|| {
            let steady_us = micros(instant - self.start);
            if steady_us >= self.compare_at_us.load(Ordering::Relaxed) {
                let lead_us = machine_us().saturating_sub(micros(self.start.elapsed()));
                self.lead_us.store(lead_us, Ordering::Relaxed);
                let next_us = steady_us.saturating_add(COMPARED_EVERY_US);
                self.compare_at_us.store(next_us, Ordering::Relaxed);
            }
            steady_us.saturating_add(self.lead_us.load(Ordering::Relaxed))
        })
    }

    /// Now, for those who were told of `now` a moment ago: that, or what others were told since.
    pub(super) fn not_before(&self, now: Timestamp) -> Timestamp {
        now.max(Timestamp(self.latest_us.load(Ordering::Acquire)))
    }

    fn tell(&self, machine_us: impl FnOnce() -> i64) -> Timestamp {
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
    micros(since_1970)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
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

    #[test]
    fn who_was_told_the_time_hears_of_what_was_told_to_others_since() {
        let noon = Timestamp::parse("2013-07-04T12:00:00Z").unwrap();
        let clock = Clock::manual(noon);
        assert_eq!(clock.not_before(noon), noon);
        clock.advance_to(noon.plus_us(5));
        assert_eq!(clock.not_before(noon), noon.plus_us(5));
        assert_eq!(clock.not_before(noon.plus_us(9)), noon.plus_us(9));
    }

    #[test]
    fn what_the_steady_clock_tells_is_the_time_of_the_machine() {
        for _ in 0..3 {
            let before_us = machine_us();
            // A clock of its own each time: what another one told would hold for it too.
            let clock = Clock::system();
            let told_us = [(); 2].map(|()| {
                std::thread::sleep(Duration::from_millis(11));
                clock.now_at(Instant::now()).us()
            });
            // Half a second is what a busy machine may need between two lines.
            let is_near = |us: &i64| (before_us..before_us + 500_000).contains(us);
            assert!(told_us.iter().all(is_near), "{told_us:?} from {before_us} on");
            assert!(told_us.is_sorted());
        }
        let noon = Timestamp::parse("2013-07-04T12:00:00Z").unwrap();
        assert_eq!(Clock::manual(noon).now_at(Instant::now()), noon);
    }
}
