//! One request: find the command, check what it may have, run it, count it.

use super::{
    app::App,
    arguments::{Args, is_word, wrong_arity},
    context::Context,
    description::Speed,
    session::{Replies, Session},
    table::find,
};
use crate::error::{ECHO_BYTES_MAX, Error};
use nowthen_protocol::{Arguments, Reply};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

/// Whether the request is one that may take long: then it is dispatched beside the threads that
/// serve connections.
///
/// So is a request of very many arguments.
pub fn is_slow(request: Arguments<'_>) -> bool {
    let Some((_, command)) = request.get(0).and_then(find) else { return false };
    match command.about.speed {
        _ if request.len() > ARGUMENTS_QUICK_MAX => true,
        Speed::Quick => false,
        Speed::Slow => true,
        // A value may be the word by chance: then the request takes the longer way, no more.
        Speed::SlowWith(word) => request.iter().any(|argument| is_word(argument, word)),
    }
}

/// A request of more arguments than this would keep other connections of its core waiting.
const ARGUMENTS_QUICK_MAX: usize = 4096;

/// Runs one request and appends its reply to `out`.
pub fn dispatch(
    app: &Arc<App>,
    session: &mut Session,
    request: Arguments<'_>,
    started: Instant,
    out: &mut Vec<u8>,
) -> Instant {
    let reply_at = out.len();
    let replies = session.replies;
    let mut reply = Reply::new(out, session.version);
    let place = run(app, session, request, &mut reply);
    if std::mem::take(&mut session.has_read_latest) {
        // Asked after the read: another client may have written in the middle of it.
        session.must_wait_for(Some(app.store.last_written()));
    }
    let ended = Instant::now();
    if let Some((index, is_failed)) = place
        && let Some(stats) = app.stats.commands.get(index)
    {
        stats.latency.record_ns((ended - started).as_nanos() as u64);
        if is_failed {
            stats.failed.increment();
        }
        session.info.last_command.store(index as u64, Ordering::Relaxed);
    }
    app.stats.commands_total.increment();
    if matches!(replies, Replies::Off | Replies::SkipThis) && session.replies != Replies::On {
        out.truncate(reply_at);
    }
    if session.replies == Replies::SkipNext {
        out.truncate(reply_at);
        session.replies = Replies::SkipThis;
    } else if session.replies == Replies::SkipThis {
        session.replies = Replies::On;
    }
    ended
}

/// The place of the command in the table, if there is one, and whether it failed.
fn run(
    app: &Arc<App>,
    session: &mut Session,
    request: Arguments<'_>,
    reply: &mut Reply<'_>,
) -> Option<(usize, bool)> {
    let name = request.get(0).unwrap_or_default();
    let Some((index, command)) = find(name) else {
        reply.error("ERR", &unknown_command(name, request));
        return None;
    };
    let reply_at = reply.len();
    let result = if command.about.takes(request.len()) {
        let now = app.store.now();
        let mut context = Context { app, session, now };
        (command.handler)(&mut context, &mut Args::new(request), reply)
    } else {
        Err(wrong_arity(command.about.name))
    };
    let is_failed = result.is_err();
    if let Err(error) = result {
        if !matches!(error, Error::Refused { .. }) {
            tracing::error!(%error, command = command.about.name, "a command failed");
        }
        reply.truncate(reply_at);
        reply.error(error.code(), &error.to_string());
    }
    Some((index, is_failed))
}

/// Redis' text: the name and the first arguments, each up to its first zero byte, cut.
fn unknown_command(name: &[u8], request: Arguments<'_>) -> String {
    let cut = |bytes: &[u8], most: usize| {
        let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = String::from_utf8_lossy(bytes.get(..most).unwrap_or(bytes)).into_owned();
        text.replace(['\r', '\n'], " ")
    };
    let mut arguments = String::new();
    for argument in request.iter().skip(1) {
        if arguments.len() >= ECHO_BYTES_MAX {
            break;
        }
        let room = ECHO_BYTES_MAX - arguments.len();
        arguments.push_str(&format!("'{}' ", cut(argument, room)));
    }
    let name = cut(name, ECHO_BYTES_MAX);
    format!("unknown command '{name}', with args beginning with: {arguments}")
}
