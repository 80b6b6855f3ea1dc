//! Latencies in buckets that grow with them: 64 to each doubling, so within 2 % of the truth.

use std::time::Duration;

const STEPS_LOG2: u32 = 6;
const STEPS: usize = 1 << STEPS_LOG2;

#[derive(Clone)]
pub(super) struct Histogram {
    buckets: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; STEPS * (u64::BITS as usize)] }
    }
}

impl Histogram {
    pub(super) fn record(&mut self, latency: Duration) {
        let bucket = bucket_of(latency.as_nanos() as u64);
        self.buckets.get_mut(bucket).into_iter().for_each(|count| *count += 1);
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The latency that the given share of all did not exceed.
    pub(super) fn percentile_us(&self, share: f64) -> f64 {
        let wanted = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        let reaches = |count: &u64| {
            seen += count;
            seen >= wanted
        };
        let bucket = self.buckets.iter().position(reaches).unwrap_or_default();
        start_of(bucket) as f64 / 1e3
    }
}

/// Below 64 ns each nanosecond has its own bucket; above, the six bits behind the highest decide.
fn bucket_of(ns: u64) -> usize {
    let doubling = ns.checked_ilog2().unwrap_or(0).saturating_sub(STEPS_LOG2);
    doubling as usize * STEPS + (ns >> doubling) as usize
}

fn start_of(bucket: usize) -> u64 {
    let doubling = (bucket / STEPS).saturating_sub(1);
    ((bucket - doubling * STEPS) as u64) << doubling
}
