//! Transactions: MULTI, EXEC, DISCARD, and the keys that must not change in between.
//!
//! Commands since MULTI wait in the session's queue. EXEC hands them to `execute.rs`, which knows
//! the table of commands.

use super::{
    arguments::Args,
    context::{Context, entity_of},
    session::Watched,
};
use crate::error::{Error, Result};
use nowthen_protocol::Reply;
use std::sync::atomic::Ordering;

/// `MULTI`: OK; the commands that follow wait for EXEC.
pub(super) fn multi(ctx: &mut Context<'_>, _: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    if ctx.session.queue.is_some() {
        return Err(Error::refused("MULTI calls can not be nested"));
    }
    ctx.session.queue = Some(Box::default());
    ctx.session.info.queued_commands.store(0, Ordering::Relaxed);
    reply.ok();
    Ok(())
}

/// `EXEC`: an array of the replies to the commands since MULTI; null if a watched key changed.
pub(super) fn exec(ctx: &mut Context<'_>, _: &mut Args<'_>, _: &mut Reply<'_>) -> Result<()> {
    let queue = ctx.session.queue.take();
    let queue = queue.ok_or_else(|| Error::refused("EXEC without MULTI"))?;
    if queue.is_refused {
        ctx.session.end_transaction();
        let why = "Transaction discarded because of previous errors.";
        return Err(Error::refused_as("EXECABORT", why));
    }
    ctx.session.due = Some(queue);
    Ok(())
}

/// `DISCARD`: OK; the commands since MULTI are forgotten, and no key is watched.
pub(super) fn discard(
    ctx: &mut Context<'_>,
    _: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    if ctx.session.queue.is_none() {
        return Err(Error::refused("DISCARD without MULTI"));
    }
    ctx.session.end_transaction();
    reply.ok();
    Ok(())
}

/// `WATCH key [key ...]`: OK; EXEC runs only if these keys are then as they are now.
pub(super) fn watch(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    if ctx.session.queue.is_some() {
        return Err(Error::refused("WATCH inside MULTI is not allowed"));
    }
    let schema = ctx.keyspace.schema();
    let bytes_max = ctx.app.settings.request_bytes_max.bytes();
    for key in args.rest() {
        let key = entity_of(&schema, key).map_or_else(|| key.to_vec(), |(_, key)| key.into_owned());
        if ctx.session.watched.versions.contains_key(&key) {
            continue;
        }
        // The state that reads of this connection see: a write on its way to the disk is a change.
        let seen = ctx.seen();
        let version = ctx.keyspace.version(&key, seen, ctx.now);
        ctx.session.watched.add(key, version, bytes_max)?;
    }
    reply.ok();
    Ok(())
}

/// `UNWATCH`: OK; no key is watched.
pub(super) fn unwatch(
    ctx: &mut Context<'_>,
    _: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    ctx.session.watched = Watched::default();
    reply.ok();
    Ok(())
}
