//! About how many different values there are, in little memory: the smallest hashes are kept.
//!
//! ```text
//! 0 ├─x─x──x─x─xx─x──┤k                                        2^64
//!   the k smallest    of n hashes, spread evenly, the k-th stands at about k / n of the whole
//! ```
//! While fewer than k differ, the count is exact, but for values of one hash. Beyond it is
//! (k - 1) / u, where u is where the k-th stands between 0 and 1: without bias, and with a relative
//! standard error of about 1 / sqrt(k - 2) (Beyer, Haas, Reinwald, Sismanis, Gemulla: On Synopses
//! for Distinct-Value Estimation Under Multiset Operations, SIGMOD 2007, section 3).

use std::collections::BTreeSet;

/// A count of different values.
#[derive(Clone, Debug)]
pub struct Distinct {
    smallest: BTreeSet<u64>,
    kept_max: usize,
    /// Only smaller hashes are of interest: the greatest that is kept, once there are enough.
    below: Option<u64>,
    is_cut: bool,
}

impl Distinct {
    /// Keeps `kept_max` hashes, at least three.
    pub fn new(kept_max: usize) -> Self {
        Self { smallest: BTreeSet::new(), kept_max: kept_max.max(3), below: None, is_cut: false }
    }

    /// Notes a value by its hash.
    pub fn add(&mut self, hash: u64) {
        if let Some(below) = self.below
            && hash >= below
        {
            self.is_cut |= hash > below;
            return;
        }
        if !self.smallest.insert(hash) {
            return;
        }
        if self.smallest.len() > self.kept_max {
            self.smallest.pop_last();
            self.is_cut = true;
        }
        if self.smallest.len() == self.kept_max {
            self.below = self.smallest.last().copied();
        }
    }

    /// How many differ, and the relative standard error of that: 0 while it is exact.
    pub fn count(&self) -> (u64, f64) {
        let kept = self.smallest.len();
        let Some(below) = self.below.filter(|_| self.is_cut) else { return (kept as u64, 0.0) };
        let share = (below as f64 + 1.0) / HASHES;
        let count = (kept - 1) as f64 / share;
        (count.round() as u64, 1.0 / ((kept - 2) as f64).sqrt())
    }
}

/// How many hashes there are.
const HASHES: f64 = 18_446_744_073_709_551_616.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(values: u64, times: u64) -> (u64, f64) {
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let mut distinct = Distinct::new(1024);
        for _ in 0..times {
            (0..values).for_each(|value| distinct.add(hasher.hash_one(value)));
        }
        distinct.count()
    }

    #[test]
    fn few_are_counted_one_by_one_and_many_within_the_error() {
        for values in [0, 1, 2, 3, 1000, 1023, 1024] {
            assert_eq!(counted(values, 3), (values, 0.0));
        }
        for values in [1025, 5000, 100_000, 1_000_000] {
            let (count, error) = counted(values, 1);
            assert!((0.03..0.032).contains(&error));
            let off = (count as f64 - values as f64).abs() / values as f64;
            assert!(off < 4.0 * error, "{values}: {count}");
            assert_eq!(counted(values, 2), (count, error), "what comes again changes nothing");
        }
    }
}
