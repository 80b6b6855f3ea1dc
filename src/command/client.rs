//! CLIENT: what a connection is, what it wishes, which others there are.

use super::{
    arguments::{Args, is_word, not_an_integer, syntax},
    client_kill::kill,
    client_list::{client_line, list},
    context::Context,
    help::help,
    pause::Paused,
    session::Replies,
};
use crate::error::{Error, Result, echo_word};
use nowthen_protocol::{Reply, parse_integer};
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// `CLIENT CACHING | GETNAME | GETREDIR | ID | INFO | KILL | LIST | NO-EVICT | NO-TOUCH | PAUSE |
/// REPLY | SETINFO | SETNAME | TRACKING | TRACKINGINFO | UNBLOCK | UNPAUSE`
pub(super) fn client(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    match args.next()?.to_ascii_lowercase().as_slice() {
        b"caching" => return Err(Error::refused(NOT_TRACKING)),
        b"getname" => match ctx.session.info.names.lock().name.as_slice() {
            b"" => reply.null(),
            name => reply.bulk(name),
        },
        b"getredir" => reply.integer(-1),
        b"help" => help(ctx, "client", reply),
        b"id" => reply.integer(ctx.session.info.id as i64),
        b"info" => reply.verbatim(&format!("{}\n", client_line(&ctx.session.info, ctx))),
        b"kill" => return kill(ctx, args, reply),
        b"list" => return list(ctx, args, reply),
        b"no-evict" => {
            let is_on = on_or_off(args)?;
            ctx.session.info.is_never_evicted.store(is_on, Ordering::Relaxed);
            reply.ok();
        }
        b"no-touch" => {
            let is_on = on_or_off(args)?;
            ctx.session.info.is_never_touching.store(is_on, Ordering::Relaxed);
            reply.ok();
        }
        b"pause" => return pause(ctx, args, reply),
        b"reply" => return choose_replies(ctx, args, reply),
        b"setinfo" => return set_library(ctx, args, reply),
        b"setname" => {
            let name = client_name(args.next()?)?;
            ctx.session.info.names.lock().name = name;
            reply.ok();
        }
        b"tracking" => return track(args, reply),
        b"trackinginfo" => tell_tracking(reply),
        b"unblock" => return unblock(args, reply),
        b"unpause" => {
            ctx.app.pause.end();
            reply.ok();
        }
        _ => return Err(syntax()),
    }
    Ok(())
}

const NOT_TRACKING: &str = "CLIENT CACHING can be called only when the client is in tracking mode \
                            with OPTIN or OPTOUT mode enabled";

fn on_or_off(args: &mut Args<'_>) -> Result<bool> {
    match args.next()?.to_ascii_lowercase().as_slice() {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err(syntax()),
    }
}

/// `CLIENT PAUSE timeout [WRITE | ALL]`: OK; whoever asks for more than that waits.
fn pause(ctx: &mut Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let timeout = args.next()?;
    let paused = match args.pop() {
        None => Paused::All,
        Some(_) if !args.is_empty() => return Err(wrong_use("PAUSE")),
        Some(word) if is_word(word, "WRITE") => Paused::Writes,
        Some(word) if is_word(word, "ALL") => Paused::All,
        Some(_) => return Err(Error::refused("CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let not_a_time = || Error::refused("timeout is not an integer or out of range");
    let timeout_ms = parse_integer(timeout).ok_or_else(not_a_time)?;
    let timeout_ms =
        u64::try_from(timeout_ms).map_err(|_| Error::refused("timeout is negative"))?;
    // As newer versions of Redis: 7.0 has an end in the past here, and does not pause.
    let now_ms = u64::try_from(ctx.now.us() / 1000).unwrap_or(0);
    let end = Instant::now().checked_add(Duration::from_millis(timeout_ms));
    let end = end.filter(|_| timeout_ms.saturating_add(now_ms) <= i64::MAX as u64);
    let end = end.ok_or_else(|| Error::refused("timeout is out of range"))?;
    ctx.app.pause.begin(paused, end);
    reply.ok();
    Ok(())
}

/// Redis' text where a subcommand has more words than it knows.
fn wrong_use(subcommand: &str) -> Error {
    Error::refused(format!(
        "unknown subcommand or wrong number of arguments for '{subcommand}'. Try CLIENT HELP."
    ))
}

/// `CLIENT REPLY ON|OFF|SKIP`
fn choose_replies(ctx: &mut Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    match args.next()?.to_ascii_lowercase().as_slice() {
        b"on" => {
            ctx.session.replies = Replies::On;
            reply.ok();
        }
        b"off" => ctx.session.replies = Replies::Off,
        b"skip" if ctx.session.replies == Replies::Off => {}
        b"skip" => ctx.session.replies = Replies::SkipNext,
        _ => return Err(syntax()),
    }
    Ok(())
}

/// `CLIENT SETINFO LIB-NAME | LIB-VER value`
fn set_library(ctx: &mut Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let (option, value) = (args.next()?, args.next()?);
    let is_name = is_word(option, "LIB-NAME");
    if !is_name && !is_word(option, "LIB-VER") {
        return Err(Error::refused(format!("Unrecognized option {}", echo_word(option))));
    }
    if !is_printable(value) {
        let option = String::from_utf8_lossy(option);
        let why = "cannot contain spaces, newlines or special characters.";
        return Err(Error::refused(format!("{option} {why}")));
    }
    let mut names = ctx.session.info.names.lock();
    *(if is_name { &mut names.library } else { &mut names.library_version }) = value.to_vec();
    reply.ok();
    Ok(())
}

/// Names stand in `CLIENT LIST`, one client a line: no blanks, no line ends.
fn is_printable(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// A name that a client gives itself.
pub(super) fn client_name(name: &[u8]) -> Result<Vec<u8>> {
    if is_printable(name) {
        return Ok(name.to_vec());
    }
    Err(Error::refused("Client names cannot contain spaces, newlines or special characters."))
}

/// `CLIENT TRACKING ON|OFF ...`: it is off, and stays so.
fn track(args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    if on_or_off(args)? {
        return Err(Error::refused(
            "CLIENT TRACKING is not offered: nobody is told what a client may have cached",
        ));
    }
    reply.ok();
    Ok(())
}

fn tell_tracking(reply: &mut Reply<'_>) {
    reply.map(3);
    reply.bulk_text("flags");
    reply.set(1);
    reply.bulk_text("off");
    reply.bulk_text("redirect");
    reply.integer(-1);
    reply.bulk_text("prefixes");
    reply.array(0);
}

/// `CLIENT UNBLOCK id [TIMEOUT | ERROR]`: 0, as no command here waits for what others write.
fn unblock(args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let id = args.next()?;
    if let Some(reason) = args.pop() {
        if !args.is_empty() {
            return Err(wrong_use("UNBLOCK"));
        }
        if !is_word(reason, "TIMEOUT") && !is_word(reason, "ERROR") {
            return Err(Error::refused("CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
    }
    parse_integer(id).ok_or_else(not_an_integer)?;
    reply.integer(0);
    Ok(())
}
