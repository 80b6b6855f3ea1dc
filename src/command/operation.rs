//! What an operator does: snapshots, shutdown, looking on.

use super::{
    arguments::{Args, is_word, syntax},
    context::Context,
    settings::Shutdown,
    snapshots::{begin_snapshot, write_snapshot},
};
use crate::error::{Error, Result};
use nowthen_protocol::{Arguments, Reply};
use std::sync::atomic::Ordering;

/// What an operator needs when no ordinary client finds a place any more.
const FOR_OPERATOR: [&str; 17] = [
    "acl", "auth", "bgsave", "client", "command", "config", "hello", "info", "lastsave", "latency",
    "memory", "quit", "reset", "role", "save", "shutdown", "slowlog",
];

/// Whether a request is one for the operator's place beside `maxclients`. To other requests that
/// place is none: they are answered as a client too many.
pub fn is_for_operator(request: Arguments<'_>) -> bool {
    let name = request.get(0).unwrap_or_default();
    FOR_OPERATOR.iter().any(|allowed| is_word(name, allowed))
}

/// `SAVE`: OK once a snapshot is written, read back and named.
pub(super) fn save(ctx: &mut Context<'_>, _: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    write_snapshot(ctx.app)?;
    reply.ok();
    Ok(())
}

/// `BGSAVE [SCHEDULE]`: at once; the snapshot is written beside the work, and after the transaction
/// that this is a part of.
pub(super) fn bgsave(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let _ = args.take_word("SCHEDULE");
    args.end()?;
    let is_later = ctx.keyspace.is_transaction();
    begin_snapshot(ctx.app, is_later)?;
    let when = if is_later { "scheduled" } else { "started" };
    reply.simple(&format!("Background saving {when}"));
    Ok(())
}

/// `LASTSAVE`: second since 1970 of the last snapshot, or of the start if there is none.
pub(super) fn lastsave(
    ctx: &mut Context<'_>,
    _: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    reply.integer(ctx.app.store.last_checkpoint().time.us() / 1_000_000);
    Ok(())
}

/// `SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]`: no reply; the connection closes when the
/// server does. As in Redis it ends with a snapshot if snapshots are scheduled. Without one nothing
/// is lost either: the log holds it. There is nothing to wait for, so NOW and FORCE change nothing.
pub(super) fn shutdown(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    _: &mut Reply<'_>,
) -> Result<()> {
    let (mut saves, mut saves_not, mut others, mut aborts) = (false, false, false, false);
    while !args.is_empty() {
        if args.take_word("SAVE") {
            saves = true;
        } else if args.take_word("NOSAVE") {
            saves_not = true;
        } else if args.take_word("NOW") || args.take_word("FORCE") {
            others = true;
        } else if args.take_word("ABORT") {
            aborts = true;
        } else {
            return Err(syntax());
        }
    }
    if (saves && saves_not) || (aborts && (saves || saves_not || others)) {
        return Err(syntax());
    }
    if aborts {
        return Err(Error::refused("No shutdown in progress."));
    }
    let how = match (saves, saves_not) {
        (true, _) => Shutdown::WithSnapshot,
        (_, true) => Shutdown::Plain,
        (false, false) => ctx.app.settings.ordinary_shutdown(),
    };
    ctx.session.is_closing = true;
    ctx.app.shutdown.send_replace(how);
    Ok(())
}

/// `MONITOR`: OK, and from here on a line for every request of every connection.
pub(super) fn monitor(
    ctx: &mut Context<'_>,
    _: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    if ctx.keyspace.is_transaction() {
        return Err(Error::refused("MONITOR isn't allowed for DENY BLOCKING client"));
    }
    if ctx.session.monitor.is_none() {
        ctx.session.monitor = Some(ctx.app.monitors.begin());
        ctx.session.info.is_monitor.store(true, Ordering::Relaxed);
        reply.ok();
    }
    Ok(())
}

/// `TIME`: seconds since 1970 and microseconds, by the clock of the store.
pub(super) fn time(ctx: &mut Context<'_>, _: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let us = ctx.now.us();
    reply.array(2);
    reply.bulk_text(&us.div_euclid(1_000_000).to_string());
    reply.bulk_text(&us.rem_euclid(1_000_000).to_string());
    Ok(())
}
