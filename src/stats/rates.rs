//! What happens per second at this moment: the mean of the last samples, as in Redis.

use parking_lot::Mutex;
use std::time::Instant;

/// So many samples are kept of each counter, as in Redis.
const SAMPLES: usize = 16;

/// The rates of `N` counters that only grow.
#[derive(Debug)]
pub(super) struct Rates<const N: usize>(Mutex<Samples<N>>);

#[derive(Debug)]
struct Samples<const N: usize> {
    last: Option<(Instant, [u64; N])>,
    per_second: [[f64; N]; SAMPLES],
    next: usize,
}

impl<const N: usize> Samples<N> {
    const NONE: Self = Self { last: None, per_second: [[0.0; N]; SAMPLES], next: 0 };
}

impl<const N: usize> Default for Rates<N> {
    fn default() -> Self {
        Self(Mutex::new(Samples::NONE))
    }
}

impl<const N: usize> Rates<N> {
    /// The counters stand at `totals`.
    pub(super) fn sample(&self, now: Instant, totals: [u64; N]) {
        let mut samples = self.0.lock();
        let Some((then, before)) = samples.last.replace((now, totals)) else { return };
        let seconds = (now - then).as_secs_f64().max(f64::EPSILON);
        let next = samples.next % SAMPLES;
        if let Some(sample) = samples.per_second.get_mut(next) {
            for ((rate, total), before) in sample.iter_mut().zip(totals).zip(before) {
                // A counter that was reset counts from 0 again.
                *rate = total.saturating_sub(before) as f64 / seconds;
            }
        }
        samples.next = next + 1;
    }

    /// The mean of the samples of each counter, per second.
    pub(super) fn per_second(&self) -> [f64; N] {
        let samples = self.0.lock();
        let mut means = [0.0; N];
        for sample in &samples.per_second {
            means.iter_mut().zip(sample).for_each(|(mean, rate)| *mean += rate / SAMPLES as f64);
        }
        means
    }

    /// From the beginning.
    pub(super) fn reset(&self) {
        *self.0.lock() = Samples::NONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_steady_rate_is_told_after_sixteen_samples_and_fades_likewise() {
        let (rates, start) = (Rates::default(), Instant::now());
        let at = |step: u64| start + Duration::from_millis(100 * step);
        (0..=16).for_each(|step| rates.sample(at(step), [step * 10, 7]));
        let [first, second] = rates.per_second();
        assert!((first - 100.0).abs() < 1e-6 && second == 0.0, "{first} {second}");
        (17..25).for_each(|step| rates.sample(at(step), [160, 0]));
        let [half, _] = rates.per_second();
        assert!((half - 50.0).abs() < 1e-6, "{half}");
        rates.reset();
        assert_eq!(rates.per_second(), [0.0, 0.0]);
    }
}
