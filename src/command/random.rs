//! Random choices for commands that make some: HRANDFIELD, RANDOMKEY. Not for secrets.

use crate::error::{Error, Result};

/// A sequence of numbers that a seed determines (SplitMix64).
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    /// A sequence nobody foresees.
    pub(super) fn unforeseen() -> Result<Self> {
        let seed = getrandom::u64();
        seed.map(Self).map_err(|error| Error::refused(format!("no random numbers: {error}")))
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `bound`; 0 if there is none.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> u64::BITS) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_below_the_bound_comes_up() {
        let mut random = Random(1);
        let mut seen = [0; 7];
        (0..700).for_each(|_| seen[random.below(7)] += 1);
        assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }
}
