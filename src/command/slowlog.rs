//! SLOWLOG: which requests took long.

use super::{arguments::Args, context::Context, help::help};
use crate::error::{Error, Result};
use nowthen_protocol::{Reply, parse_integer};

/// So many entries are told unless a client asks for another number.
const COUNT: i64 = 10;

/// `SLOWLOG GET [count] | LEN | RESET | HELP`
pub(super) fn slowlog(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let subcommand = args.next()?.to_ascii_lowercase();
    let log = &ctx.app.stats.slow_log;
    match subcommand.as_slice() {
        b"get" if args.len() > 1 => {
            let why =
                "unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.";
            return Err(Error::refused(why));
        }
        b"get" => return get(ctx, args, reply),
        b"len" => reply.integer(log.len() as i64),
        b"reset" => {
            log.clear();
            reply.ok();
        }
        _ => help(ctx, "slowlog", reply),
    }
    Ok(())
}

fn get(ctx: &Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let count = args.pop().map_or(Some(COUNT), parse_integer).filter(|count| *count >= -1);
    let count =
        count.ok_or_else(|| Error::refused("count should be greater than or equal to -1"))?;
    let entries = ctx.app.stats.slow_log.newest(usize::try_from(count).unwrap_or(usize::MAX));
    reply.array(entries.len());
    for entry in entries {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.time_s);
        reply.integer(entry.duration_us as i64);
        reply.array(entry.arguments.len());
        entry.arguments.iter().for_each(|argument| reply.bulk(argument));
        reply.bulk_text(&entry.peer);
        reply.bulk(&entry.client);
    }
    Ok(())
}
