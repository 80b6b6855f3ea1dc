//! What came of it: latencies, errors, counts.

use crate::error::{Error, Result};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// An hour; a longer latency counts as one.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;
/// Latencies are told to within a thousandth.
const DIGITS: u8 = 3;
/// How many different errors are told; the others are counted together.
const ERROR_TEXTS_MAX: usize = 20;
const OTHER_ERRORS: &str = "(other errors)";

/// How long requests took, in ns.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> Result<Self> {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX_NS, DIGITS);
        histogram.map(Self).map_err(|error| Error::refused(error.to_string()))
    }

    pub(super) fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub(super) fn record_many(&mut self, ns: u64, count: u64) {
        self.0.saturating_record_n(ns, count);
    }

    pub(super) fn add(&mut self, other: &Self) -> Result<()> {
        self.0.add(&other.0).map_err(|error| Error::refused(error.to_string()))
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(super) fn max_ns(&self) -> u64 {
        self.0.max()
    }

    pub(super) fn mean_ns(&self) -> f64 {
        self.0.mean()
    }

    /// What the share `quantile` (0 to 1) of all did not exceed; 0 if there are none.
    pub(super) fn quantile_ns(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile).min(self.max_ns())
    }
}

/// What one thread measured, or all together. Warm-up is not in it, but for the CPU's window.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) reads: Latencies,
    pub(super) writes: Latencies,
    /// How much later than it could have this program sent requests.
    pub(super) sent_late: Latencies,
    /// Requests that were due in the timed part.
    pub(super) requests: u64,
    /// Of them, requests with an error in a reply, by its text.
    pub(super) errors: BTreeMap<String, u64>,
    /// Of them, requests without all their replies when it was given up. Their latencies are in
    /// the histograms as long as they had been waiting.
    pub(super) unanswered: u64,
    /// Requests whose last reply came in the timed part, whenever they were sent.
    pub(super) replied_in_time: u64,
    pub(super) reply_bytes_in_time: u64,
}

impl Measured {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            reads: Latencies::new()?,
            writes: Latencies::new()?,
            sent_late: Latencies::new()?,
            requests: 0,
            errors: BTreeMap::new(),
            unanswered: 0,
            replied_in_time: 0,
            reply_bytes_in_time: 0,
        })
    }

    pub(super) fn latencies(&mut self, is_write: bool) -> &mut Latencies {
        if is_write { &mut self.writes } else { &mut self.reads }
    }

    pub(super) fn count_error(&mut self, text: String, count: u64) {
        let is_new = !self.errors.contains_key(&text);
        let text = match is_new && self.errors.len() >= ERROR_TEXTS_MAX {
            true => OTHER_ERRORS.to_owned(),
            false => text,
        };
        *self.errors.entry(text).or_default() += count;
    }

    pub(super) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    pub(super) fn add(&mut self, other: Self) -> Result<()> {
        self.reads.add(&other.reads)?;
        self.writes.add(&other.writes)?;
        self.sent_late.add(&other.sent_late)?;
        self.requests += other.requests;
        self.unanswered += other.unanswered;
        self.replied_in_time += other.replied_in_time;
        self.reply_bytes_in_time += other.reply_bytes_in_time;
        other.errors.into_iter().for_each(|(text, count)| self.count_error(text, count));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quantile_is_that_of_the_sorted_list_to_within_a_thousandth(
            mut all in prop::collection::vec(1u64..10_000_000_000, 1..500),
            permille in 0u64..=1000,
        ) {
            let (mut one, mut other) = (Latencies::new().unwrap(), Latencies::new().unwrap());
            for (index, ns) in all.iter().enumerate() {
                if index % 2 == 0 { one.record(*ns) } else { other.record(*ns) }
            }
            one.add(&other).unwrap();
            all.sort_unstable();
            let quantile = permille as f64 / 1000.0;
            let rank = (quantile * all.len() as f64).ceil().max(1.0) as usize - 1;
            let (exact, told) = (all[rank] as f64, one.quantile_ns(quantile) as f64);
            prop_assert!((told - exact).abs() <= exact / 1000.0 + 1.0, "{told}, not {exact}");
            // The greatest of all is told to within a bucket, too.
            let max = *all.last().unwrap() as f64;
            prop_assert!((one.max_ns() as f64 - max).abs() <= max / 1000.0 + 1.0);
            prop_assert_eq!(one.count(), all.len() as u64);
        }
    }

    #[test]
    fn nothing_is_lost_beyond_an_hour_or_beyond_twenty_texts() {
        let mut measured = Measured::new().unwrap();
        measured.latencies(true).record(u64::MAX);
        assert!(measured.writes.max_ns() >= LATENCY_MAX_NS);
        assert_eq!((measured.writes.count(), measured.reads.count()), (1, 0));
        assert_eq!(measured.reads.quantile_ns(0.99), 0);

        (0..50).for_each(|number| measured.count_error(format!("ERR {number}"), 1));
        let mut both = Measured::new().unwrap();
        both.add(measured.clone()).unwrap();
        both.add(measured).unwrap();
        assert_eq!(both.failed(), 100);
        assert!(both.errors.len() <= ERROR_TEXTS_MAX + 1);
        assert_eq!(both.errors.get("ERR 0"), Some(&2));
    }
}
