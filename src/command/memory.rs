//! MEMORY: what takes how much of it.

use super::{
    arguments::{Args, is_word, syntax},
    context::{Context, entity_of},
    help::help,
    info_text::human_bytes,
    memory_figures::MemoryFigures,
};
use crate::{
    error::Result,
    online::{Row, Shard},
};
use nowthen_protocol::Reply;

/// `MEMORY DOCTOR | MALLOC-STATS | PURGE | STATS | USAGE key [SAMPLES count] | HELP`
pub(super) fn memory(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let subcommand = args.next()?.to_ascii_lowercase();
    match subcommand.as_slice() {
        b"usage" => return usage(ctx, args, reply),
        b"stats" => stats(ctx, reply),
        b"doctor" => reply.verbatim(&report(MemoryFigures::now(ctx))),
        // What Redis says on any allocator but one.
        b"malloc-stats" => reply.bulk_text("Stats not supported for the current allocator"),
        b"purge" => reply.ok(),
        _ => help(ctx, "memory", reply),
    }
    Ok(())
}

/// The bytes of the row and of the slot it stands in. Nothing is sampled: every field is counted.
fn usage(ctx: &mut Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let key = args.next()?;
    while let Some(option) = args.pop() {
        if !is_word(option, "SAMPLES") || args.is_empty() {
            return Err(syntax());
        }
        if args.integer()? < 0 {
            return Err(syntax());
        }
    }
    let schema = ctx.keyspace.schema();
    let key = entity_of(&schema, key).map_or(key.into(), |(_, key)| key);
    match ctx.peek_plain(&key, |row| row.map(Row::memory_bytes)) {
        Some(bytes) => reply.integer((bytes + Shard::SLOT_BYTES) as i64),
        None => reply.null(),
    }
    Ok(())
}

/// The figures of Redis that mean something here, by its names.
fn stats(ctx: &Context<'_>, reply: &mut Reply<'_>) {
    let figures = MemoryFigures::now(ctx);
    let integers = [
        ("peak.allocated", figures.peak as i64),
        ("total.allocated", figures.used as i64),
        ("startup.allocated", 0),
        ("overhead.total", figures.overhead as i64),
        ("keys.count", figures.keys as i64),
        ("keys.bytes-per-key", figures.bytes_per_key() as i64),
        ("dataset.bytes", figures.dataset as i64),
        ("fragmentation.bytes", figures.fragmentation_bytes()),
    ];
    let doubles = [
        ("dataset.percentage", figures.dataset_percent()),
        ("peak.percentage", figures.peak_percent()),
        ("fragmentation", figures.fragmentation()),
    ];
    reply.map(integers.len() + doubles.len());
    for (name, value) in integers {
        reply.bulk_text(name);
        reply.integer(value);
    }
    for (name, value) in doubles {
        reply.bulk_text(name);
        reply.double(value);
    }
}

/// What an operator may want to know, in sentences.
fn report(figures: MemoryFigures) -> String {
    let MemoryFigures { used, peak, keys, resident, .. } = figures;
    let mut report = format!(
        "{keys} keys take {} in rows and slots; the process holds {}.\n",
        human_bytes(used),
        human_bytes(resident)
    );
    if peak / 2 > used {
        report.push_str(&format!(
            "Rows took {} at their peak. The allocator keeps most of what is free by now for \
             rows to come.\n",
            human_bytes(peak)
        ));
    }
    report
}
