//! CLIENT PAUSE: requests that wait until it is over.

use parking_lot::Mutex;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};
use tokio::{sync::Notify, time::timeout_at};

/// What is paused; more is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Paused {
    /// Commands that write.
    Writes,
    /// Every command.
    All,
}

/// The pause of a server, if there is one.
#[derive(Debug, Default)]
pub struct Pause {
    /// False if certainly nothing is paused: all that a request looks at otherwise.
    is_on: AtomicBool,
    state: Mutex<Option<(Paused, Instant)>>,
    ended: Notify,
}

impl Pause {
    /// Pauses until `end`. A pause that is on never becomes less or shorter by another one.
    pub(super) fn begin(&self, paused: Paused, end: Instant) {
        let mut state = self.state.lock();
        let before = state.filter(|(_, end)| *end > Instant::now());
        *state =
            Some(before.map_or((paused, end), |before| (before.0.max(paused), before.1.max(end))));
        self.is_on.store(true, Ordering::Relaxed);
    }

    /// Lets everybody go on.
    pub(super) fn end(&self) {
        *self.state.lock() = None;
        self.is_on.store(false, Ordering::Release);
        self.ended.notify_waiters();
    }

    /// Until when a request waits, if it does.
    pub(super) fn holds(&self, is_write: impl FnOnce() -> bool) -> Option<Instant> {
        if !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        let (paused, end) = (*self.state.lock())?;
        if end <= Instant::now() {
            self.end();
            return None;
        }
        (paused == Paused::All || is_write()).then_some(end)
    }

    /// Returns at that instant, or when the pause is ended before it.
    pub async fn over(&self, until: Instant) {
        let ended = self.ended.notified();
        // An end from here on is noticed; one before shows here.
        if self.is_on.load(Ordering::Acquire) {
            // Which of the two it was, the next look tells.
            let _ = timeout_at(until.into(), ended).await;
        }
    }
}
