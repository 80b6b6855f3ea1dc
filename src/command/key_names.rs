//! Keys found by pattern or at random, and keys that get another name.

use super::{
    arguments::{Args, check_database, syntax},
    context::Context,
    keys::{exists, visible_type},
    pattern::matches,
    plain::{no_entities, not_for_entities},
    random::Random,
};
use crate::{
    error::{Error, Result},
    feature::{Change, EndingField, PlainChange, Timestamp},
    online::{Body, Field, Row},
};
use nowthen_protocol::Reply;
use serde_bytes::ByteBuf;

/// `TOUCH key [key ...]`: how many are there; nothing notes when a key was read last.
pub(super) fn touch(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    exists(ctx, args, reply)
}

/// So many rows a walk over all keys looks at under one lock. Each step puts the rows of its shard
/// in order, so a step of few rows would do that again and again.
pub(super) const STEP_ROWS: usize = 1024;

/// `KEYS pattern`: all keys that match.
pub(super) fn keys(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let pattern = args.next()?;
    let (schema, seen, now) = (ctx.keyspace.schema(), ctx.seen(), ctx.now);
    let mut keys = Vec::new();
    let mut cursor = 0;
    loop {
        let step = ctx.keyspace.scan(cursor, STEP_ROWS, seen, |row| {
            if matches(pattern, row.key()) && visible_type(&schema, row, now).is_some() {
                keys.push(row.key().to_vec());
            }
        });
        cursor = step.cursor;
        if cursor == 0 {
            break;
        }
    }
    reply.array(keys.len());
    keys.iter().for_each(|key| reply.bulk(key));
    Ok(())
}

/// How many neighbours RANDOMKEY draws one of: each of so few keys is as likely as the others.
const DRAWN_FROM: usize = 16;

/// `RANDOMKEY`: some key, or null if there is none.
pub(super) fn randomkey(
    ctx: &mut Context<'_>,
    _args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (schema, seen, now) = (ctx.keyspace.schema(), ctx.seen(), ctx.now);
    let mut random = Random::unforeseen()?;
    let mut found: Vec<Vec<u8>> = Vec::new();
    // From a random place to the end, and then from the beginning. The first key behind a place
    // would not do: it comes up as often as the gap before it is wide.
    for start in [random.next(), 0] {
        let mut cursor = start;
        while found.len() < DRAWN_FROM {
            let step = ctx.keyspace.scan(cursor, DRAWN_FROM, seen, |row| {
                let is_known = found.iter().any(|key| key == row.key());
                if !is_known && visible_type(&schema, row, now).is_some() {
                    found.push(row.key().to_vec());
                }
            });
            cursor = step.cursor;
            if cursor == 0 {
                break;
            }
        }
    }
    match found.get(random.below(found.len())) {
        Some(key) => reply.bulk(key),
        None => reply.null(),
    }
    Ok(())
}

/// `RENAME key new-key`: OK; what stood under the new name is gone.
pub(super) fn rename(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (from, to) = (args.next()?, args.next()?);
    both_must_be_plain(ctx, "RENAME", from, to)?;
    take_over(ctx, from, to, Taking { replaces: true, moves: true })?.ok_or_else(no_such_key)?;
    reply.ok();
    Ok(())
}

/// `RENAMENX key new-key`: 1, or 0 if something stands under the new name.
pub(super) fn renamenx(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (from, to) = (args.next()?, args.next()?);
    both_must_be_plain(ctx, "RENAMENX", from, to)?;
    let taking = Taking { replaces: false, moves: true };
    let is_moved = take_over(ctx, from, to, taking)?.ok_or_else(no_such_key)?;
    reply.integer(i64::from(is_moved));
    Ok(())
}

/// `COPY key new-key [DB 0] [REPLACE]`: 1, or 0 if there is nothing to copy or something stands
/// under the new name.
pub(super) fn copy(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (from, to) = (args.next()?, args.next()?);
    let mut replaces = false;
    while !args.is_empty() {
        if args.take_word("REPLACE") {
            replaces = true;
        } else if args.len() > 1 && args.take_word("DB") {
            check_database(args.next()?)?;
        } else {
            return Err(syntax());
        }
    }
    if from == to {
        return Err(Error::refused("source and destination objects are the same"));
    }
    both_must_be_plain(ctx, "COPY", from, to)?;
    let is_copied = take_over(ctx, from, to, Taking { replaces, moves: false })?;
    ctx.session.looked_up(is_copied.is_some());
    reply.integer(i64::from(is_copied.unwrap_or(false)));
    Ok(())
}

fn no_such_key() -> Error {
    Error::refused("no such key")
}

fn both_must_be_plain(ctx: &Context<'_>, name: &str, from: &[u8], to: &[u8]) -> Result<()> {
    let schema = ctx.keyspace.schema();
    match [from, to].into_iter().find_map(|key| schema.catalog.entity_of_key(key)) {
        Some(entity) => Err(not_for_entities(&format!("{name} is for plain keys only"), entity)),
        None => Ok(()),
    }
}

/// How one key takes what another has.
#[derive(Clone, Copy, Debug)]
struct Taking {
    replaces: bool,
    moves: bool,
}

/// Lets `to` have what `from` has; whether it does, or `None` if there is nothing.
fn take_over(
    ctx: &mut Context<'_>,
    from: &[u8],
    to: &[u8],
    taking: Taking,
) -> Result<Option<bool>> {
    let keyspace = ctx.keyspace;
    let committed = keyspace.commit(&[from, to], |locked| {
        let Some(row) = locked.row(from) else { return Ok((Vec::new(), None)) };
        no_entities(keyspace, locked, &[from, to])?;
        if !taking.replaces && locked.row(to).is_some() {
            return Ok((Vec::new(), Some(false)));
        }
        if from == to {
            return Ok((Vec::new(), Some(true)));
        }
        Ok((take_over_changes(row, from, to, taking, locked.now), Some(true)))
    })?;
    Ok(ctx.committed(committed))
}

/// The whole of what `to` is then: nothing of what it was stays.
fn take_over_changes(
    row: Row<'_>,
    from: &[u8],
    to: &[u8],
    taking: Taking,
    now: Timestamp,
) -> Vec<Change> {
    let expires_at = row.expires_at();
    let mut at_target = Vec::new();
    match row.body() {
        Some(Body::String(value)) => {
            at_target.push(PlainChange::SetString { value: value.to_vec(), expires_at });
        }
        Some(Body::Hash(hash)) => {
            let fields = hash.at(now).fields();
            at_target.push(match row.has_field_ends() {
                true => {
                    let fields = fields.map(ending_field).collect();
                    PlainChange::SetEndingFields { is_whole: true, fields }
                }
                false => {
                    let fields =
                        fields.map(|field| (ByteBuf::from(field.name), ByteBuf::from(field.value)));
                    PlainChange::SetHash(fields.collect())
                }
            });
            if expires_at.is_some() {
                at_target.push(PlainChange::ExpireAt(expires_at));
            }
        }
        Some(Body::Entity(_)) | None => return Vec::new(),
    }
    let gone = taking.moves.then(|| plain(from, PlainChange::Delete));
    let written = at_target.into_iter().map(|change| plain(to, change));
    gone.into_iter().chain(written).collect()
}

fn ending_field(field: Field<'_>) -> EndingField {
    EndingField {
        name: ByteBuf::from(field.name),
        value: ByteBuf::from(field.value),
        end: field.end,
    }
}

fn plain(key: &[u8], change: PlainChange) -> Change {
    Change::Plain { key: key.to_vec(), change }
}
