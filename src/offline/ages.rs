//! How old the values of a column are: from the event of each to the time of its spine row.
//!
//! Least and greatest are exact, quantiles are rounded up by at most a thousandth: ages of parts of
//! a spine add up to those of the whole without being kept.

use hdrhistogram::Histogram;

/// Quantiles are exact to so many decimal digits.
const DIGITS: u8 = 3;

/// The ages of the values of one column.
#[derive(Clone, Debug, PartialEq)]
pub struct Ages {
    least_us: u64,
    greatest_us: u64,
    histogram: Histogram<u64>,
}

impl Ages {
    /// None yet.
    pub(super) fn new() -> Option<Self> {
        let histogram = Histogram::new(DIGITS).ok()?;
        Some(Self { least_us: u64::MAX, greatest_us: 0, histogram })
    }

    /// Counts a value.
    pub(super) fn add(&mut self, age_us: u64) {
        self.least_us = self.least_us.min(age_us);
        self.greatest_us = self.greatest_us.max(age_us);
        // It grows with what it counts, so there is room for every number.
        let _ = self.histogram.record(age_us);
    }

    /// Counts all of `other`.
    pub(super) fn append(&mut self, other: &Self) {
        self.least_us = self.least_us.min(other.least_us);
        self.greatest_us = self.greatest_us.max(other.greatest_us);
        let _ = self.histogram.add(&other.histogram);
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The age of the youngest value, in µs; `None` if there is no value.
    pub fn least_us(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.least_us)
    }

    /// The age of the oldest value, in µs.
    pub fn greatest_us(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.greatest_us)
    }

    /// The age in µs that a share of `quantile` (0 to 1) of the values does not exceed, rounded up
    /// by at most a thousandth.
    pub fn quantile_us(&self, quantile: f64) -> Option<u64> {
        let age = self.histogram.value_at_quantile(quantile);
        (self.count() > 0).then_some(age.min(self.greatest_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(ages: &[u64]) -> Ages {
        let mut all = Ages::new().unwrap();
        ages.iter().for_each(|age| all.add(*age));
        all
    }

    #[test]
    fn of_no_value_there_is_no_age() {
        let none = of(&[]);
        assert_eq!(
            (none.least_us(), none.greatest_us(), none.quantile_us(0.5)),
            (None, None, None)
        );
        assert_eq!(of(&[0]).quantile_us(0.5), Some(0));
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_the_sorted_ages_but_for_a_thousandth(
            ages in prop::collection::vec(prop_oneof![0..5000_u64, 0..1_u64 << 62], 1..50),
            split in any::<prop::sample::Index>(),
        ) {
            let whole = of(&ages);
            let (left, right) = ages.split_at(split.index(ages.len()));
            let mut parts = of(left);
            parts.append(&of(right));
            prop_assert_eq!(&parts, &whole);
            let mut sorted = ages.clone();
            sorted.sort_unstable();
            prop_assert_eq!(whole.least_us(), sorted.first().copied());
            prop_assert_eq!(whole.greatest_us(), sorted.last().copied());
            for quantile in [0.5, 0.99] {
                let exact = sorted[(quantile * sorted.len() as f64).ceil() as usize - 1];
                let told = whole.quantile_us(quantile).unwrap();
                prop_assert!(told >= exact && told - exact <= exact / 1000, "{} {}", told, exact);
            }
        }
    }
}
