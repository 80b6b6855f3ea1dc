//! A histogram of durations: eight buckets for each power of two, so a quantile is off by at most
//! an eighth, from one nanosecond to centuries, in four kilobytes.

use std::sync::atomic::{AtomicU64, Ordering};

const SUB_BITS: u32 = 3;
const SUB_COUNT: usize = 1 << SUB_BITS;
const BUCKET_COUNT: usize = (u64::BITS as usize - SUB_BITS as usize + 1) * SUB_COUNT;

/// How often which duration was met, in nanoseconds.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKET_COUNT).map(|_| AtomicU64::new(0)).collect(),
            sum_ns: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record_ns(&self, ns: u64) {
        if let Some(bucket) = self.buckets.get(bucket_of(ns)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Forgets all of them.
    pub fn reset(&self) {
        self.buckets.iter().for_each(|bucket| bucket.store(0, Ordering::Relaxed));
        self.sum_ns.store(0, Ordering::Relaxed);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// All of them together.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns.load(Ordering::Relaxed)
    }

    /// How many took at most `ns`, to within a bucket.
    pub fn count_at_most(&self, ns: u64) -> u64 {
        let within = self.buckets.iter().take(bucket_of(ns) + 1);
        within.map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The duration that a share of `quantile` (0 to 1) does not exceed, rounded up to its
    /// bucket's end; 0 if nothing was counted.
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        let count = self.count();
        let rank = (quantile.clamp(0.0, 1.0) * count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket.load(Ordering::Relaxed);
            if seen >= rank {
                return last_of(index);
            }
        }
        0
    }
}

/// Small numbers have a bucket each; of larger ones the top four bits choose it.
fn bucket_of(ns: u64) -> usize {
    let exponent = ns.checked_ilog2().unwrap_or(0);
    if exponent < SUB_BITS {
        return ns as usize;
    }
    let shift = exponent - SUB_BITS;
    ((shift as usize) << SUB_BITS) + (ns >> shift) as usize
}

/// The greatest duration that falls into a bucket.
fn last_of(bucket: usize) -> u64 {
    if bucket < 2 * SUB_COUNT {
        return bucket as u64;
    }
    let shift = (bucket >> SUB_BITS) - 1;
    let first = (SUB_COUNT + bucket % SUB_COUNT) as u64;
    (u128::from(first + 1) << shift).saturating_sub(1).min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bucket_ends_at_most_an_eighth_above_what_falls_into_it(ns: u64) {
            let end = last_of(bucket_of(ns));
            prop_assert!(end >= ns && end - ns <= ns / 8);
            prop_assert!(bucket_of(ns) < BUCKET_COUNT);
        }
    }

    #[test]
    fn quantiles_of_a_hundred_durations() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile_ns(0.5), 0);
        (1..=100).for_each(|us| histogram.record_ns(us * 1000));
        assert_eq!((histogram.count(), histogram.sum_ns()), (100, 5_050_000));
        let p50 = histogram.quantile_ns(0.5);
        assert!((50_000..56_251).contains(&p50), "{p50}");
        assert_eq!(histogram.count_at_most(u64::MAX), 100);
        histogram.reset();
        assert_eq!((histogram.count(), histogram.sum_ns()), (0, 0));
    }
}
