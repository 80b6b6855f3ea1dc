//! Which percentiles of each command's durations INFO tells, if any.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// The percentiles that INFO tells.
#[derive(Debug)]
pub struct LatencyTracking {
    is_on: AtomicBool,
    percentiles: Mutex<Vec<f64>>,
}

impl Default for LatencyTracking {
    /// Redis' default.
    fn default() -> Self {
        Self { is_on: AtomicBool::new(true), percentiles: Mutex::new(vec![50.0, 99.0, 99.9]) }
    }
}

impl LatencyTracking {
    /// `latency-tracking`: durations are counted in any case, as the calls are.
    pub fn set_on(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    /// Whether INFO tells percentiles.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// `latency-tracking-info-percentiles`, each from 0 to 100.
    pub fn set_percentiles(&self, percentiles: Vec<f64>) {
        *self.percentiles.lock() = percentiles;
    }

    /// Which percentiles, each from 0 to 100.
    pub fn percentiles(&self) -> Vec<f64> {
        self.percentiles.lock().clone()
    }
}
