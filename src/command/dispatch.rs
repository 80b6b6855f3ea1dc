//! One request: find the command, check what it may have, run it or queue it, count it.

use super::{
    app::App,
    arguments::{is_word, wrong_arity},
    description::{Description, Speed},
    execute::{Ground, execute},
    observation::{Outcome, note},
    session::{Replies, Session},
    table::{Asked, Command, Resolved, Unknown, resolve},
};
use crate::error::{ECHO_BYTES_MAX, Error, one_line};
use nowthen_protocol::{Arguments, Reply};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

/// Whether the request is one that may take long: then it is dispatched beside the threads that
/// serve connections.
pub fn is_slow(session: &Session, asked: &Resolved, request: Arguments<'_>) -> bool {
    let Ok(Asked { command, .. }) = asked else { return false };
    match &session.queue {
        None => takes_long(command, request),
        // What is queued takes as long as copying it; EXEC as long as all of it.
        Some(queue) => queue.is_slow && command.about.name == "exec",
    }
}

fn takes_long(command: &Command, request: Arguments<'_>) -> bool {
    match command.about.speed {
        _ if request.len() > ARGUMENTS_QUICK_MAX => true,
        Speed::Quick => false,
        Speed::Slow => true,
        // A value may be the word by chance: then the request takes the longer way, no more.
        Speed::SlowWith(word) => request.iter().any(|argument| is_word(argument, word)),
    }
}

/// Until when the request has to wait, if somebody paused the server.
pub fn paused_until(app: &App, session: &Session, asked: &Resolved) -> Option<Instant> {
    app.pause.holds(|| {
        let Ok(asked) = asked else { return false };
        let is_write = |about: &Description| about.has_flag("write");
        let queue = session.queue.as_ref().filter(|_| asked.about.name == "exec");
        let mut queued = queue.into_iter().flat_map(|queue| &queue.requests);
        is_write(asked.about)
            || queued.any(|each| resolve(each.borrow()).is_ok_and(|asked| is_write(asked.about)))
    })
}

/// A request of more arguments than this would keep other connections of its core waiting; and so
/// would a transaction of more commands.
const ARGUMENTS_QUICK_MAX: usize = 4096;

/// Runs one request, of which `asked` is what it asks for, and appends its reply to `out`.
pub fn dispatch(
    app: &Arc<App>,
    session: &mut Session,
    asked: Resolved,
    request: Arguments<'_>,
    started: Instant,
    out: &mut Vec<u8>,
) -> Instant {
    let reply_at = out.len();
    let replies = session.replies;
    let mut reply = Reply::limited(out, session.version, app.settings.reply_bytes_max.bytes());
    let outcome = run(app, session, asked, request, started, &mut reply);
    if reply.is_cut() {
        reply.truncate(reply_at);
        end_for_length(session);
    }
    if std::mem::take(&mut session.has_read_latest) {
        // Asked after the read: another client may have written in the middle of it.
        session.must_wait_for(Some(app.store.last_written()));
    }
    let ended = Instant::now();
    note(app, session, request, outcome, (ended - started).as_nanos() as u64);
    if matches!(replies, Replies::Off | Replies::SkipThis) && session.replies != Replies::On {
        out.truncate(reply_at);
    }
    if session.replies == Replies::SkipNext {
        session.replies = Replies::SkipThis;
    } else if session.replies == Replies::SkipThis {
        session.replies = Replies::On;
    }
    ended
}

/// Closes a connection that asked for more than a reply may hold.
#[cold]
fn end_for_length(session: &mut Session) {
    let (id, peer) = (session.info.id, session.info.peer);
    tracing::warn!(id, %peer, "a client is closed for a reply longer than reply-max-len");
    session.is_closing = true;
}

/// The place of the command in the table, if there is one, and how the request ended.
fn run(
    app: &Arc<App>,
    session: &mut Session,
    asked: Resolved,
    request: Arguments<'_>,
    started: Instant,
    reply: &mut Reply<'_>,
) -> (Option<usize>, Outcome) {
    let asked = match asked {
        Ok(asked) => asked,
        Err(unknown) => {
            return (None, refuse(session, &unknown_name(unknown, request), reply));
        }
    };
    session.info.last_command.store(asked.counter as u64, Ordering::Relaxed);
    if !asked.about.takes(request.len()) {
        let mut error = wrong_arity(asked.about.name);
        if asked.about.name == "exec" {
            error = aborted(session, &error);
        }
        return (Some(asked.counter), refuse(session, &error, reply));
    }
    if !session.is_authenticated && !asked.about.has_flag("no_auth") {
        let mut error = Error::refused_as("NOAUTH", "Authentication required.");
        if asked.about.name == "exec" {
            let why = format!("Transaction discarded because of: NOAUTH {error}");
            error = Error::refused_as("EXECABORT", why);
        }
        return (Some(asked.counter), refuse(session, &error, reply));
    }
    if app.has_obstacle()
        && let Some(refused) = refuse_for_obstacle(app, session, asked.about, reply)
    {
        return (Some(asked.counter), refused);
    }
    if session.queue.is_some() && !AT_ONCE.contains(&asked.about.name) {
        return (Some(asked.counter), queue(app, session, asked, request, reply));
    }
    let outcome = Ground::at(app, started).call(session, asked.command, request, reply);
    if let Some(queue) = session.due.take() {
        execute(app, session, &queue, reply);
        session.end_transaction();
    }
    (Some(asked.counter), outcome)
}

/// Refuses what cannot be run at this moment.
#[cold]
fn refuse_for_obstacle(
    app: &App,
    session: &mut Session,
    about: &Description,
    reply: &mut Reply<'_>,
) -> Option<Outcome> {
    if app.is_loading() && !about.has_flag("loading") {
        return Some(refuse(session, &Error::loading(), reply));
    }
    let is_full = app.may_be_full() && may_take_memory(session, about) && app.look_at_memory();
    is_full.then(|| refuse_memory(session, about, reply))
}

/// Whether a command may need more memory: by its flags; EXEC by those of its commands; and what is
/// queued takes memory itself.
fn may_take_memory(session: &Session, about: &Description) -> bool {
    match (&session.queue, about.name) {
        (Some(queue), "exec") => {
            let mut queued = queue.requests.iter().filter_map(|each| resolve(each.borrow()).ok());
            queued.any(|asked| asked.about.has_flag("denyoom"))
        }
        (Some(_), "discard" | "quit" | "reset") => false,
        (Some(_), _) => true,
        (None, _) => about.has_flag("denyoom"),
    }
}

fn refuse_memory(session: &mut Session, about: &Description, reply: &mut Reply<'_>) -> Outcome {
    let why = "command not allowed when used memory > 'maxmemory'.";
    if about.name == "exec" {
        session.end_transaction();
        reply.error("EXECABORT", &format!("Transaction discarded because of: OOM {why}"));
        Outcome::Rejected("EXECABORT")
    } else {
        refuse(session, &Error::refused_as("OOM", why), reply)
    }
}

/// What does not wait for EXEC.
const AT_ONCE: [&str; 6] = ["exec", "discard", "multi", "watch", "quit", "reset"];

/// Answers a request that cannot run; if it is a part of a transaction none of that will.
fn refuse(session: &mut Session, error: &Error, reply: &mut Reply<'_>) -> Outcome {
    if let Some(queue) = &mut session.queue {
        queue.is_refused = true;
    }
    reply.error(error.code(), &error.to_string());
    Outcome::Rejected(error.code())
}

/// Ends a transaction that EXEC will not run, and says why.
fn aborted(session: &mut Session, why: &Error) -> Error {
    session.end_transaction();
    Error::refused_as("EXECABORT", format!("Transaction discarded because of: {why}"))
}

/// Keeps a request for EXEC.
fn queue(
    app: &App,
    session: &mut Session,
    Asked { command, about, .. }: Asked,
    request: Arguments<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let Some(queue) = &mut session.queue else { return Outcome::Queued };
    let takes_long = takes_long(command, request);
    // What reads files would keep every other client from the keys of the transaction.
    let is_alone = matches!(command.about.speed, Speed::SlowWith(_)) && takes_long;
    let queued = if about.has_flag("no_multi") || is_alone {
        Err(Error::refused("Command not allowed inside a transaction"))
    } else {
        queue.is_slow |= takes_long || queue.requests.len() >= ARGUMENTS_QUICK_MAX;
        queue.push(request.into(), app.settings.request_bytes_max.bytes(), &session.info)
    };
    match queued {
        Ok(()) => {
            reply.simple("QUEUED");
            Outcome::Queued
        }
        Err(error) => refuse(session, &error, reply),
    }
}

/// Redis' text for a name that is none.
fn unknown_name(unknown: Unknown, request: Arguments<'_>) -> Error {
    let word = |index| request.get(index).unwrap_or_default();
    Error::refused(match unknown {
        Unknown::Command => unknown_command(word(0), request),
        Unknown::SubcommandOf(command) => {
            let name = one_line(word(1), ECHO_BYTES_MAX);
            format!("unknown subcommand '{name}'. Try {} HELP.", command.to_ascii_uppercase())
        }
    })
}

/// Redis' text: the name and the first arguments, cut.
fn unknown_command(name: &[u8], request: Arguments<'_>) -> String {
    let mut arguments = String::new();
    for argument in request.iter().skip(1) {
        if arguments.len() >= ECHO_BYTES_MAX {
            break;
        }
        let room = ECHO_BYTES_MAX - arguments.len();
        arguments.push_str(&format!("'{}' ", one_line(argument, room)));
    }
    let name = one_line(name, ECHO_BYTES_MAX);
    format!("unknown command '{name}', with args beginning with: {arguments}")
}
