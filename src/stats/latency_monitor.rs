//! The latency monitor: when something took longer than a threshold, by the kind of event, as in
//! Redis the longest of each second.

use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
};

/// So many seconds with an event are kept of each kind.
const SAMPLES_MAX: usize = 160;

/// The events there were.
#[derive(Debug)]
pub struct LatencyMonitor {
    threshold_ms: AtomicU64,
    threshold_ns: AtomicU64,
    events: Mutex<BTreeMap<&'static str, Series>>,
}

/// The events of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Second since 1970 and the longest event in it in ms, oldest first.
    pub samples: VecDeque<(i64, u64)>,
    /// The longest ever, in ms.
    pub max_ms: u64,
}

impl Default for LatencyMonitor {
    fn default() -> Self {
        Self {
            threshold_ms: AtomicU64::new(0),
            threshold_ns: AtomicU64::new(u64::MAX),
            events: Mutex::default(),
        }
    }
}

impl LatencyMonitor {
    /// Events of at least so many ms are noted from here on; 0: none.
    pub fn set_threshold_ms(&self, ms: u64) {
        let ns = if ms == 0 { u64::MAX } else { ms.saturating_mul(1_000_000) };
        self.threshold_ms.store(ms, Ordering::Relaxed);
        self.threshold_ns.store(ns, Ordering::Relaxed);
    }

    /// `latency-monitor-threshold`
    pub fn threshold_ms(&self) -> u64 {
        self.threshold_ms.load(Ordering::Relaxed)
    }

    /// The same in ns; the greatest number there is for never.
    pub fn threshold_ns(&self) -> u64 {
        self.threshold_ns.load(Ordering::Relaxed)
    }

    /// Notes an event that took `ns`, if that is long.
    pub fn note(&self, event: &'static str, ns: u64, now_s: i64) {
        if ns < self.threshold_ns() {
            return;
        }
        let ms = ns / 1_000_000;
        let mut events = self.events.lock();
        let series = events.entry(event).or_default();
        series.max_ms = series.max_ms.max(ms);
        match series.samples.back_mut() {
            Some((second, longest_ms)) if *second == now_s => *longest_ms = ms.max(*longest_ms),
            _ => {
                series.samples.push_back((now_s, ms));
                if series.samples.len() > SAMPLES_MAX {
                    series.samples.pop_front();
                }
            }
        }
    }

    /// Every kind of event there was.
    pub fn events(&self) -> Vec<(&'static str, Series)> {
        self.events.lock().iter().map(|(event, series)| (*event, series.clone())).collect()
    }

    /// Forgets the events whose kind is `wanted`; how many kinds that were.
    pub fn forget(&self, wanted: impl Fn(&str) -> bool) -> usize {
        let mut events = self.events.lock();
        let count = events.len();
        events.retain(|event, _| !wanted(event));
        count - events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_of_each_second_is_kept_and_the_newest_160_seconds() {
        let monitor = LatencyMonitor::default();
        monitor.note("command", u64::MAX - 1, 1);
        assert!(monitor.events().is_empty(), "without a threshold nothing is noted");
        monitor.set_threshold_ms(3);
        for (ms, second) in [(2, 10), (5, 10), (4, 10), (3, 11)] {
            monitor.note("command", ms * 1_000_000, second);
        }
        let samples = VecDeque::from([(10, 5), (11, 3)]);
        assert_eq!(monitor.events(), [("command", Series { samples, max_ms: 5 })]);
        (0..200).for_each(|second| monitor.note("log-sync", 7_000_000, second));
        let events = monitor.events();
        assert_eq!((events[1].0, events[1].1.samples.len()), ("log-sync", 160));
        assert_eq!(events[1].1.samples[0], (40, 7));
        assert_eq!(monitor.forget(|event| event == "log-sync"), 1);
        assert_eq!(monitor.forget(|_| true), 1);
        assert!(monitor.events().is_empty());
    }
}
