//! What a connection waits for, told by its task in one store, judged once a second by its core.
//!
//! ```text
//! task    state = (step << 2) | what it waits for         before it waits, and when it goes on
//! reaper  the same state as a second ago?  one more second without getting on
//! ```
//! Invariants
//! - A task that works, or waits for the disk, is never at fault.
//! - A step moves when the client got on: a whole request, a MiB of one, a byte of a reply taken.
//! - Nothing ends before its time: a second counts only if the state was the same at both ends.

use crate::command::Settings;
use std::sync::atomic::{AtomicU64, Ordering};

const WORKS: u64 = 0;
const WAITS_FOR_REQUEST: u64 = 1;
const WAITS_FOR_REST: u64 = 2;
const WAITS_TO_SEND: u64 = 3;
const KIND_BITS: u32 = 2;

/// What a connection waits for.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    state: AtomicU64,
    unsent_bytes: AtomicU64,
}

impl Pulse {
    /// It works, or waits for what is no fault of its client.
    pub(super) fn works(&self) {
        self.state.store(WORKS, Ordering::Relaxed);
    }

    /// It waits for a request, after `step` of them.
    pub(super) fn waits_for_request(&self, step: u64) {
        self.state.store(step << KIND_BITS | WAITS_FOR_REQUEST, Ordering::Relaxed);
    }

    /// It waits for the rest of a request.
    pub(super) fn waits_for_rest(&self, step: u64) {
        self.state.store(step << KIND_BITS | WAITS_FOR_REST, Ordering::Relaxed);
    }

    /// It waits until its client takes some of `unsent` bytes, after it took `sent` in all.
    pub(super) fn waits_to_send(&self, unsent: usize, sent: u64) {
        self.unsent_bytes.store(unsent as u64, Ordering::Relaxed);
        self.state.store(sent << KIND_BITS | WAITS_TO_SEND, Ordering::Relaxed);
    }
}

/// How long clients may keep us waiting; 0 stands for no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Between requests, in seconds.
    pub(super) idle_s: u64,
    /// For the rest of a request, in seconds.
    pub(super) partial_s: u64,
    /// For any byte of a reply to be taken, in seconds.
    pub(super) send_s: u64,
    /// With more than this unsent, a client must take some every second.
    pub(super) hard_bytes: u64,
    /// With more than this unsent, a client must take as much every `soft_s`.
    pub(super) soft_bytes: u64,
    /// See [`Self::soft_bytes`].
    pub(super) soft_s: u64,
}

impl Patience {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            idle_s: settings.idle_timeout_s.count(),
            partial_s: settings.partial_timeout_s.count(),
            send_s: settings.write_timeout_s.count(),
            hard_bytes: settings.output_hard_bytes.count(),
            soft_bytes: settings.output_soft_bytes.count(),
            soft_s: settings.output_soft_s.count(),
        }
    }
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It asked for nothing.
    Idle,
    /// It began a request and did not end it.
    Partial,
    /// It took too little of its replies.
    Output,
}

/// How long a connection has not got on, as its core counts seconds.
#[derive(Debug, Default)]
pub(super) struct Silence {
    state: u64,
    seconds: u64,
    /// The bytes it had taken when it was seen above the soft limit, and the seconds since.
    above_soft: Option<(u64, u64)>,
}

impl Silence {
    /// To be called once a second: whether the connection is to end, and why.
    pub(super) fn judge(&mut self, pulse: &Pulse, patience: &Patience) -> Option<Fault> {
        let state = pulse.state.load(Ordering::Relaxed);
        self.seconds = if state == self.state { self.seconds.saturating_add(1) } else { 0 };
        self.state = state;
        let kind = state & ((1 << KIND_BITS) - 1);
        if kind != WAITS_TO_SEND {
            self.above_soft = None;
        }
        let is_over = |limit_s: u64| limit_s > 0 && self.seconds >= limit_s;
        match kind {
            WAITS_FOR_REQUEST => is_over(patience.idle_s).then_some(Fault::Idle),
            WAITS_FOR_REST => is_over(patience.partial_s).then_some(Fault::Partial),
            WAITS_TO_SEND => {
                let unsent = pulse.unsent_bytes.load(Ordering::Relaxed);
                let is_stuck = is_over(patience.send_s)
                    || self.seconds > 0 && is_above(unsent, patience.hard_bytes)
                    || self.is_slow(unsent, state >> KIND_BITS, patience);
                is_stuck.then_some(Fault::Output)
            }
            _ => None,
        }
    }

    /// Whether it stayed above the soft limit and took less than that in its time.
    fn is_slow(&mut self, unsent: u64, sent: u64, patience: &Patience) -> bool {
        if !is_above(unsent, patience.soft_bytes) {
            self.above_soft = None;
            return false;
        }
        let (sent_then, seconds) = self.above_soft.map_or((sent, 0), |(then, s)| (then, s + 1));
        self.above_soft = Some((sent_then, seconds));
        if seconds < patience.soft_s {
            return false;
        }
        self.above_soft = Some((sent, 0));
        sent.saturating_sub(sent_then) < patience.soft_bytes
    }
}

fn is_above(bytes: u64, limit_bytes: u64) -> bool {
    limit_bytes > 0 && bytes > limit_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        idle_s: 5,
        partial_s: 3,
        send_s: 7,
        hard_bytes: 1000,
        soft_bytes: 100,
        soft_s: 4,
    };

    /// After how many seconds a connection ends that does this at each of them.
    fn ends(at_second: impl Fn(&Pulse, u64)) -> Option<(u64, Fault)> {
        let (pulse, mut silence) = (Pulse::default(), Silence::default());
        (0..100).find_map(|second| {
            at_second(&pulse, second);
            silence.judge(&pulse, &PATIENCE).map(|fault| (second, fault))
        })
    }

    #[test]
    fn who_works_or_gets_on_stays() {
        assert_eq!(ends(|pulse, _| pulse.works()), None);
        assert_eq!(ends(Pulse::waits_for_request), None);
        assert_eq!(ends(Pulse::waits_for_rest), None);
        // A large reply, taken at the least speed.
        assert_eq!(ends(|pulse, second| pulse.waits_to_send(5000, second * 25)), None);
        assert_eq!(ends(|pulse, second| pulse.waits_to_send(100, second / 6)), None);
    }

    #[test]
    fn who_does_not_get_on_ends_in_its_time() {
        assert_eq!(ends(|pulse, _| pulse.waits_for_request(9)), Some((5, Fault::Idle)));
        assert_eq!(ends(|pulse, _| pulse.waits_for_rest(9)), Some((3, Fault::Partial)));
        assert_eq!(ends(|pulse, _| pulse.waits_to_send(50, 9)), Some((7, Fault::Output)));
        assert_eq!(ends(|pulse, _| pulse.waits_to_send(1001, 9)), Some((1, Fault::Output)));
        let too_slow = |pulse: &Pulse, second| pulse.waits_to_send(500, second * 24);
        assert_eq!(ends(too_slow), Some((4, Fault::Output)));
    }

    #[test]
    fn what_was_counted_is_forgotten_when_it_gets_on() {
        let sometimes = |pulse: &Pulse, second| match second % 4 {
            0 => pulse.works(),
            _ => pulse.waits_to_send(500, 9),
        };
        assert_eq!(ends(sometimes), None);
    }
}
