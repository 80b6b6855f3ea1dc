//! ROLE, WAIT, WAITAOF: there are no replicas, but there is a disk to wait for.

use super::{arguments::Args, context::Context};
use crate::error::{Error, Result};
use nowthen_protocol::{Reply, parse_integer};
use std::time::{Duration, Instant};

/// `ROLE`: a master without replicas.
pub(super) fn role(_: &mut Context<'_>, _: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    reply.array(3);
    reply.bulk_text("master");
    reply.integer(0);
    reply.array(0);
    Ok(())
}

/// `WAIT replicas timeout`: 0 replicas, once what was written is on the disk or the time is over.
/// It never waits for replicas: none will come.
pub(super) fn wait(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    args.integer()?;
    let deadline = deadline(args.next()?)?;
    ctx.app.store.sync_until(until(ctx, deadline))?;
    reply.integer(0);
    Ok(())
}

/// `WAITAOF local replicas timeout`: whether what was written is on the disk, and 0 replicas.
pub(super) fn waitaof(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let local = args.integer()?;
    if !(0..=1).contains(&local) {
        return Err(Error::refused("value is out of range, value must between 0 and 1"));
    }
    if args.integer()? < 0 {
        return Err(Error::refused("value is out of range, must be positive"));
    }
    let deadline = deadline(args.next()?)?;
    // Who asks for none is told how it stands.
    let deadline = if local == 0 { Some(Instant::now()) } else { until(ctx, deadline) };
    let is_synced = ctx.app.store.sync_until(deadline)?;
    reply.array(2);
    reply.integer(i64::from(is_synced));
    reply.integer(0);
    Ok(())
}

/// A transaction waits for nothing: it keeps others from its keys, and is itself not written yet.
fn until(ctx: &Context<'_>, deadline: Option<Instant>) -> Option<Instant> {
    if ctx.keyspace.is_transaction() { Some(Instant::now()) } else { deadline }
}

/// Milliseconds from now; 0 is never.
fn deadline(timeout: &[u8]) -> Result<Option<Instant>> {
    let not_a_time = || Error::refused("timeout is not an integer or out of range");
    let timeout_ms = parse_integer(timeout).ok_or_else(not_a_time)?;
    match u64::try_from(timeout_ms) {
        Err(_) => Err(Error::refused("timeout is negative")),
        Ok(0) => Ok(None),
        Ok(ms) => {
            let end = Instant::now().checked_add(Duration::from_millis(ms));
            end.map(Some).ok_or_else(not_a_time)
        }
    }
}
