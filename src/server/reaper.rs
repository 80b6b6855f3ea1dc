//! The connections of a core, looked at once a second: what waits too long is ended.
//!
//! A timer per connection would be set and taken back with every request. Here a request costs two
//! stores, and a thousand connections cost some microseconds a second.

use super::pulse::{Fault, Patience, Pulse, Silence};
use crate::command::{ClientInfo, Settings};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::task::AbortHandle;

/// How often connections are looked at.
pub(super) const PERIOD: Duration = Duration::from_secs(1);
/// Nobody may sit on the operator's place without asking for anything, in seconds.
const OPERATOR_IDLE_S: u64 = 60;

/// A connection, as its core watches it.
pub(super) struct Watched {
    pub(super) info: Arc<ClientInfo>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) task: AbortHandle,
    pub(super) is_operator: bool,
    pub(super) silence: Silence,
    /// How often it was looked at and had not said the password.
    pub(super) login_s: u64,
}

thread_local! {
    /// The connections of this core, by their numbers.
    static WATCHED: RefCell<BTreeMap<u64, Watched>> = RefCell::default();
}

/// Watches a connection from here on.
pub(super) fn watch(watched: Watched) {
    WATCHED.with_borrow_mut(|all| all.insert(watched.info.id, watched));
}

/// A connection ended.
pub(super) fn forget(id: u64) {
    // The thread may be about to end.
    let _ = WATCHED.try_with(|all| all.borrow_mut().remove(&id));
}

/// Ends what waits too long. To be called every [`PERIOD`].
pub(super) fn reap(settings: &Settings) {
    let patience = Patience::of(settings);
    let operator = match patience.idle_s {
        1..OPERATOR_IDLE_S => patience,
        _ => Patience { idle_s: OPERATOR_IDLE_S, ..patience },
    };
    let login_s = settings.login_timeout_s.count();
    WATCHED.with_borrow_mut(|all| {
        for watched in all.values_mut() {
            let is_authenticated = watched.info.is_authenticated.load(Ordering::Relaxed);
            watched.login_s = if is_authenticated { 0 } else { watched.login_s + 1 };
            if login_s > 0 && watched.login_s > login_s {
                let (id, peer) = (watched.info.id, watched.info.peer);
                tracing::warn!(id, %peer, "a client that did not log in is closed");
                watched.task.abort();
                continue;
            }
            let patience = if watched.is_operator { &operator } else { &patience };
            if let Some(fault) = watched.silence.judge(&watched.pulse, patience) {
                tell(&watched.info, fault);
                watched.task.abort();
            }
        }
    });
}

fn tell(info: &ClientInfo, fault: Fault) {
    let (id, peer) = (info.id, info.peer);
    match fault {
        Fault::Idle => tracing::debug!(id, %peer, "an idle client is closed"),
        Fault::Partial => tracing::warn!(id, %peer, "a client that began a request and did not \
                                                    end it is closed"),
        Fault::Output => tracing::warn!(id, %peer, "a client is closed for overcoming of output \
                                                   buffer limits"),
    }
}

/// Ends every connection of this core: the server stops, and replies had time to leave.
pub(super) fn end_all() {
    WATCHED.with_borrow(|all| all.values().for_each(|watched| watched.task.abort()));
}
