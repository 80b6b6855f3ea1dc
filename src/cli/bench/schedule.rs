//! When each request is due: request n of a rate r at n / r seconds after the start, to the
//! nanosecond, whatever happened to the requests before it.

use std::num::NonZero;

const NS_PER_SECOND: u128 = 1_000_000_000;

/// When requests are due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    per_second: NonZero<u64>,
}

impl Schedule {
    pub(super) fn new(per_second: NonZero<u64>) -> Self {
        Self { per_second }
    }

    /// When request `number` is due, in ns after the start. Computed afresh for each, so that
    /// rounding does not add up.
    pub(super) fn due_ns(&self, number: u64) -> u64 {
        let ns = u128::from(number) * NS_PER_SECOND / u128::from(self.per_second.get());
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// How many requests are due before `ns` after the start.
    pub(super) fn count_before(&self, ns: u64) -> u64 {
        let requests = u128::from(ns) * u128::from(self.per_second.get());
        u64::try_from(requests.div_ceil(NS_PER_SECOND)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn due(per_second: u64, numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let schedule = Schedule::new(NonZero::new(per_second).unwrap());
        numbers.into_iter().map(|number| schedule.due_ns(number)).collect()
    }

    #[test]
    fn requests_are_due_at_these_very_times() {
        assert_eq!(due(1_000, 0..4), [0, 1_000_000, 2_000_000, 3_000_000]);
        assert_eq!(due(3, 0..5), [0, 333_333_333, 666_666_666, 1_000_000_000, 1_333_333_333]);
        // A day at a rate that divides no second evenly: still not one nanosecond off.
        assert_eq!(due(7, [7 * 86_400]), [86_400_000_000_000]);
        assert_eq!(due(1, [u64::MAX]), [u64::MAX]);
    }

    proptest! {
        #[test]
        fn as_many_are_due_before_a_time_as_there_are(
            rate in 1u64..3_000_000_000, ns in 0u64..100_000_000_000,
        ) {
            let schedule = Schedule::new(NonZero::new(rate).unwrap());
            let count = schedule.count_before(ns);
            prop_assert!(schedule.due_ns(count) >= ns);
            prop_assert!(count == 0 || schedule.due_ns(count - 1) < ns);
        }

        #[test]
        fn each_second_has_as_many_requests_as_the_rate_says(
            rate in 1u64..5_000, second in 0u64..1_000_000,
        ) {
            let schedule = Schedule::new(NonZero::new(rate).unwrap());
            let first = second * rate;
            prop_assert_eq!(schedule.due_ns(first), second * 1_000_000_000);
            prop_assert!(schedule.due_ns(first + rate - 1) < (second + 1) * 1_000_000_000);
            prop_assert!(schedule.due_ns(first) < schedule.due_ns(first + 1));
        }
    }
}
