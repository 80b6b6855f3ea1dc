//! Random numbers that a seed repeats, and which entity one of them means.
//!
//! ```text
//! uniform   number --> entity
//! zipf      number --> rank --> entity     the most asked for are not neighbours
//! ```
//! Ranks of Zipf's law come by rejection-inversion, in constant time and memory for any number of
//! entities (Hörmann, Derflinger: Rejection-inversion to generate variates from monotone discrete
//! distributions, ACM TOMACS 6(3), 1996, section 4).

use super::options::Keys;

/// A prime above every number of entities: multiplying by it meets each entity once.
const SCATTER: u64 = 2_654_435_761;

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// Numbers of their own for each `stream` of a seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        Self { state: mix(mix(seed) ^ stream) }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        finish(self.state)
    }

    /// From 0 to below `bound`, which is at least 1; off by less than one in 2^40.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A number that looks random, and is the same for the same number.
pub(super) fn mix(number: u64) -> u64 {
    finish(number.wrapping_add(GOLDEN))
}

fn finish(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// Draws entities, from 0 on.
#[derive(Clone, Debug)]
pub(super) struct Entities {
    count: u64,
    zipf: Option<Zipf>,
}

impl Entities {
    pub(super) fn new(count: u64, keys: Keys) -> Self {
        let zipf = match keys {
            Keys::Uniform => None,
            Keys::Zipf { exponent } => Some(Zipf::new(count, exponent)),
        };
        Self { count, zipf }
    }

    pub(super) fn draw(&self, random: &mut Random) -> u64 {
        match &self.zipf {
            None => random.below(self.count),
            Some(zipf) => {
                let place = u128::from(zipf.rank(random)) * u128::from(SCATTER);
                let entity = place.checked_rem(u128::from(self.count)).unwrap_or(0);
                u64::try_from(entity).unwrap_or(0)
            }
        }
    }
}

/// Ranks from 1 on, each in proportion to 1 / rank^exponent. Names are those of the paper.
#[derive(Clone, Debug)]
struct Zipf {
    exponent: f64,
    rank_max: f64,
    integral_of_first: f64,
    integral_of_last: f64,
    always_taken: f64,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Self {
        let rank_max = count as f64;
        let mut zipf = Self {
            exponent,
            rank_max,
            integral_of_first: 0.0,
            integral_of_last: 0.0,
            always_taken: 0.0,
        };
        zipf.integral_of_first = zipf.integral(1.5) - 1.0;
        zipf.integral_of_last = zipf.integral(rank_max + 0.5);
        zipf.always_taken = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    fn rank(&self, random: &mut Random) -> u64 {
        loop {
            let span = self.integral_of_first - self.integral_of_last;
            let at = self.integral_of_last + random.unit() * span;
            let exact = self.inverse(at);
            let rank = exact.round().clamp(1.0, self.rank_max);
            let is_taken = rank - exact <= self.always_taken
                || at >= self.integral(rank + 0.5) - self.density(rank);
            if is_taken {
                return rank as u64;
            }
        }
    }

    fn density(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// The integral of the density from 1 to `x`.
    fn integral(&self, x: f64) -> f64 {
        let slope = (1.0 - self.exponent) * x.ln();
        // (e^t - 1) / t, which is 1 where t is 0.
        let ratio = if slope.abs() > 1e-8 { slope.exp_m1() / slope } else { 1.0 + slope / 2.0 };
        ratio * x.ln()
    }

    fn inverse(&self, area: f64) -> f64 {
        let slope = (area * (1.0 - self.exponent)).max(-1.0);
        let ratio = if slope.abs() > 1e-8 { slope.ln_1p() / slope } else { 1.0 - slope / 2.0 };
        (ratio * area).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const DRAWS: u64 = 400_000;

    /// How often each rank came, and how often it should by the formula.
    fn check_zipf(count: u64, exponent: f64) {
        let zipf = Zipf::new(count, exponent);
        let mut random = Random::new(42, 0);
        let mut met = vec![0u64; usize::try_from(count).unwrap() + 1];
        (0..DRAWS).for_each(|_| met[usize::try_from(zipf.rank(&mut random)).unwrap()] += 1);
        assert_eq!(met[0], 0);

        let weight = |rank: u64| (rank as f64).powf(-exponent);
        let sum: f64 = (1..=count).map(weight).sum();
        let (mut seen, mut expected) = (0, 0.0);
        for rank in 1..=count {
            seen += met[usize::try_from(rank).unwrap()];
            expected += weight(rank) / sum;
            // Five standard deviations of the count of the first `rank` ranks together.
            let spread = 5.0 * (DRAWS as f64 * expected * (1.0 - expected).max(0.0)).sqrt() + 1.0;
            let off = (seen as f64 - expected * DRAWS as f64).abs();
            assert!(off <= spread, "{count}, {exponent}: ranks to {rank} are {off} off");
        }
    }

    #[test]
    fn ranks_come_as_often_as_the_formula_of_zipf_says() {
        for exponent in [0.5, 0.99, 1.0, 1.5, 3.0] {
            check_zipf(1_000, exponent);
        }
        check_zipf(1, 0.99);
        check_zipf(2, 0.99);
    }

    #[test]
    fn every_entity_has_one_rank() {
        for count in [1u64, 2, 31, 1_000] {
            let entity = |rank: u64| rank * SCATTER % count;
            let met: BTreeSet<u64> = (1..=count).map(entity).collect();
            assert_eq!(met.len() as u64, count);
        }
    }

    #[test]
    fn uniform_entities_come_equally_often() {
        let entities = Entities::new(100, Keys::Uniform);
        let mut random = Random::new(7, 0);
        let mut met = [0u64; 100];
        (0..DRAWS).for_each(|_| met[usize::try_from(entities.draw(&mut random)).unwrap()] += 1);
        let expected = DRAWS as f64 / 100.0;
        assert!(met.iter().all(|count| (*count as f64 - expected).abs() < 6.0 * expected.sqrt()));
    }

    #[test]
    fn a_seed_repeats_its_numbers_and_another_gives_others() {
        let numbers = |seed, stream| {
            let mut random = Random::new(seed, stream);
            (0..8).map(|_| random.next()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(1, 5), numbers(1, 5));
        assert_ne!(numbers(1, 5), numbers(2, 5));
        assert_ne!(numbers(1, 5), numbers(1, 6));
    }
}
