//! `FS.HISTORY`: what was ever written of one entity.

use super::{
    arguments::{Args, syntax},
    context::{Context, entity_of},
    typed_value::write_value,
};
use crate::{
    error::{Error, Result, echo},
    feature::{CellWrite, Entity, Origin, Timestamp},
    offline::Window,
    registry::Selected,
    store::{HistoryEntry, HistoryRequest, Schema},
};
use nowthen_protocol::Reply;
use std::sync::Arc;

/// So many writes one reply may tell of.
const ROWS_MAX: usize = 100_000;

/// `FS.HISTORY entity:key FEATURES n f ... [FROM t] [TO t] [LIMIT n]`: an array per write, oldest
/// event first: `[event timestamp, created timestamp, origin, cells]`, times in µs, and of each
/// cell that was written `[feature, status, value]`.
pub(super) fn history(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let schema = ctx.keyspace.schema();
    let key = args.next()?;
    let (entity, _) = entity_of(&schema, key)
        .ok_or_else(|| Error::refused(format!("{} is no key of a registered entity", echo(key))))?;
    let parts = entity.parts(key)?;
    if !args.take_word("FEATURES") {
        return Err(Error::refused("expected FEATURES n feature ... after the key"));
    }
    let names = args.counted("features")?;
    let features = names.iter().map(|name| selected(&schema, entity, name));
    let mut request = HistoryRequest {
        entity,
        key: parts,
        features: features.collect::<Result<_>>()?,
        window: Window { from: None, to: Timestamp::MAX },
        rows_max: ROWS_MAX,
        bytes_max: ctx.app.settings.reply_bytes_max.bytes(),
    };
    while !args.is_empty() {
        if args.take_word("FROM") {
            request.window.from = Some(args.time()?);
        } else if args.take_word("TO") {
            request.window.to = args.time()?;
        } else if args.take_word("LIMIT") {
            request.rows_max = limit(args)?;
        } else {
            return Err(syntax());
        }
    }
    let entries = ctx.app.store.history(&schema, &request)?;
    reply.array(entries.len());
    entries.iter().for_each(|entry| write_entry(entry, &names, reply));
    Ok(())
}

fn selected(schema: &Schema, entity: &Entity, name: &[u8]) -> Result<Selected> {
    let found = schema.catalog.resolve_feature(entity.id, name);
    let found = found.ok_or_else(|| schema.catalog.unknown_feature(entity.id, name))?;
    Ok(Selected { view: Arc::clone(found.view), feature: found.index })
}

fn limit(args: &mut Args<'_>) -> Result<usize> {
    let count = usize::try_from(args.integer()?).ok();
    count
        .filter(|count| (1..=ROWS_MAX).contains(count))
        .ok_or_else(|| Error::refused(format!("expected LIMIT and a number from 1 to {ROWS_MAX}")))
}

fn write_entry(entry: &HistoryEntry, names: &[&[u8]], reply: &mut Reply<'_>) {
    reply.array(4);
    reply.integer(entry.stamp.event.us());
    match entry.stamp.created {
        Some(created) => reply.integer(created.us()),
        None => reply.null(),
    }
    reply.bulk_text(match entry.origin {
        Origin::Pushed => "PUSHED",
        Origin::Materialized => "SOURCE",
    });
    reply.array(entry.cells.len());
    for (place, cell) in &entry.cells {
        reply.array(3);
        reply.bulk(names.get(*place).copied().unwrap_or_default());
        let (status, value) = match cell {
            CellWrite::Value(value) => ("PRESENT", Some(value)),
            CellWrite::Null => ("NULL_VALUE", None),
            CellWrite::Tombstone => ("DELETED", None),
        };
        reply.bulk_text(status);
        write_value(value, reply);
    }
}
