//! What is noted of a request once it is answered: counters, slow log, latency events, MONITOR.

use super::{
    app::App, arguments::is_word, description::Description, monitor_feed::line, session::Session,
};
use nowthen_protocol::Arguments;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Well.
    Done,
    /// It was called, and the reply is an error with this first word.
    Failed(&'static str),
    /// It was not called.
    Rejected(&'static str),
    /// It waits for EXEC.
    Queued,
}

/// Notes a request that took `ns`; `place` is that of its counters.
#[inline]
pub(super) fn note(
    app: &App,
    session: &mut Session,
    request: Arguments<'_>,
    (place, outcome): (Option<usize>, Outcome),
    ns: u64,
) {
    let stats = place.and_then(|place| app.stats.commands.get(place));
    match outcome {
        Outcome::Rejected(code) => {
            app.stats.errors.count(code);
            return stats.into_iter().for_each(|stats| stats.rejected.increment());
        }
        Outcome::Failed(code) => {
            app.stats.errors.count(code);
            stats.into_iter().for_each(|stats| stats.failed.increment());
        }
        Outcome::Queued => return,
        Outcome::Done => {}
    }
    let Some(stats) = stats else { return };
    stats.call(ns, app.settings.latency_tracking.get() != 0);
    session.tally.commands += 1;
    if (ns >= app.stats.notable_ns() || app.monitors.is_any())
        && let Some(about) = place.and_then(|place| app.commands.get(place))
    {
        tell(app, session, request, about, ns);
    }
}

/// Tells of a request whoever wants to know.
#[cold]
fn tell(app: &App, session: &Session, request: Arguments<'_>, about: &Description, ns: u64) {
    // Only the clock: a transaction may hold rows that `now` would change.
    let now_us = app.store.clock().now().us();
    if app.monitors.is_any() && !about.has_flag("admin") {
        app.monitors.tell(&line(now_us, session.info.peer, &without_secrets(request)));
    }
    // What EXEC executed is told of in its place.
    if about.name == "exec" {
        return;
    }
    let now_s = now_us / 1_000_000;
    let is_fast = about.has_flag("fast");
    let event = if is_fast { "fast-command" } else { "command" };
    app.stats.latency_monitor.note(event, ns, now_s);
    let slow_log = &app.stats.slow_log;
    if ns >= slow_log.threshold_ns() {
        let words = without_secrets(request);
        let name = session.info.names.lock().name.clone();
        let peer = session.info.peer.to_string();
        slow_log.note(now_s, ns / 1000, words.into_iter(), peer, name);
    }
}

const REDACTED: &[u8] = b"(redacted)";
/// Settings whose values are secrets.
const SECRET_SETTINGS: [&str; 5] =
    ["masterauth", "masteruser", "requirepass", "tls-client-key-file-pass", "tls-key-file-pass"];

/// The words of a request as others may read them.
pub(super) fn without_secrets(request: Arguments<'_>) -> Vec<&[u8]> {
    let mut words: Vec<&[u8]> = request.iter().collect();
    let is = |place: usize, word: &str| request.get(place).is_some_and(|it| is_word(it, word));
    if is(0, "auth") || is(0, "fs.forget") {
        words.iter_mut().skip(1).for_each(|word| *word = REDACTED);
    } else if is(0, "hello") {
        // Every AUTH: the first may be a value, such as the name behind SETNAME.
        for auth in (1..words.len()).filter(|place| is(*place, "auth")) {
            words.iter_mut().skip(auth + 1).take(2).for_each(|word| *word = REDACTED);
        }
    } else if is(0, "acl") && (is(1, "setuser") || is(1, "deluser")) {
        words.iter_mut().skip(2).for_each(|word| *word = REDACTED);
    } else if is(0, "config") && is(1, "set") {
        for place in (2..words.len()).step_by(2) {
            if SECRET_SETTINGS.iter().any(|setting| is(place, setting))
                && let Some(value) = words.get_mut(place + 1)
            {
                *value = REDACTED;
            }
        }
    }
    words
}
