//! Keys, whatever stands under them.

use super::{
    arguments::{Args, is_word, not_an_integer},
    context::{Context, entity_of},
    pattern::matches,
    plain::{not_for_entities, write_plain},
    scan_options::{ScanOptions, parse_cursor},
    string_options::{invalid_end, whole_ms},
};
use crate::{
    error::{ECHO_BYTES_MAX, Error, Result},
    feature::{Change, PlainChange, Status, Timestamp},
    online::{Body, Row},
    store::{RowReader, Schema},
};
use nowthen_protocol::{Reply, parse_integer};
use std::borrow::Cow;

/// `DEL key [key ...]`: how many were there; all at once.
pub(super) fn del(ctx: &mut Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let schema = ctx.keyspace.schema();
    let mut keys: Vec<_> = args
        .rest()
        .map(|key| match entity_of(&schema, key) {
            Some((entity, key)) => (key, Some(entity)),
            None => (key.into(), None),
        })
        .collect();
    keys.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    keys.dedup_by(|(a, _), (b, _)| a == b);
    let locked_keys: Vec<&[u8]> = keys.iter().map(|(key, _)| &**key).collect();
    let committed = ctx.keyspace.commit(&locked_keys, |locked| {
        let (mut changes, mut count) = (Vec::new(), 0);
        for (key, entity) in &keys {
            let row = locked.row(key);
            let (gone, was_there) = match (entity, row) {
                (Some(entity), _) => ctx.keyspace.entity_tombstones(&schema, entity, key, locked),
                (None, None) => (Vec::new(), false),
                // What a dropped entity has there is deleted as before it was dropped, or the
                // history would still tell of it once the entity is applied again.
                (None, Some(row)) if row.is_entity() => {
                    ctx.keyspace.check_unregistered(key)?;
                    let dropped = schema.catalog.entity_ever_of_key(key);
                    let entity = dropped.ok_or_else(|| ctx.keyspace.not_plain(key))?;
                    let gone = ctx.keyspace.entity_tombstones(&schema, entity, key, locked).0;
                    (gone, row.has_value())
                }
                (None, Some(_)) => {
                    let change = PlainChange::Delete;
                    (vec![Change::Plain { key: key.to_vec(), change }], true)
                }
            };
            count += i64::from(was_there);
            changes.extend(gone);
        }
        Ok((changes, count))
    })?;
    let count = ctx.committed(committed);
    reply.integer(count);
    Ok(())
}

/// `EXISTS key [key ...]`: how many are there; a key named twice counts twice.
pub(super) fn exists(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let schema = ctx.keyspace.schema();
    // One key is looked up as it stands; several at one moment, under the locks of all.
    if args.len() == 1 {
        let is_there = type_name(ctx, &schema, args.next()?).is_some();
        reply.integer(i64::from(is_there));
        return Ok(());
    }
    let canonical = |key| entity_of(&schema, key).map_or(Cow::Borrowed(key), |(_, key)| key);
    let keys: Vec<Cow<'_, [u8]>> = args.rest().map(canonical).collect();
    let now = ctx.now;
    let count = ctx.read_together(keys.iter().map(|key| &**key), |rows| {
        let is_there = |key: &&Cow<'_, [u8]>| {
            rows.row(key).is_some_and(|row| visible_type(&schema, row, now).is_some())
        };
        keys.iter().filter(is_there).count()
    });
    ctx.session.looked_up_all(keys.len(), count);
    reply.integer(count as i64);
    Ok(())
}

/// `TYPE key`: `string`, `hash` or `none`.
pub(super) fn type_of(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let schema = ctx.keyspace.schema();
    reply.simple(type_name(ctx, &schema, args.next()?).unwrap_or("none"));
    Ok(())
}

/// What stands under `key`; an entity without a feature that may be seen is not there. Counts the
/// read.
pub(super) fn type_name(
    ctx: &mut Context<'_>,
    schema: &Schema,
    key: &[u8],
) -> Option<&'static str> {
    let (seen, now) = (ctx.seen(), ctx.now);
    let key = entity_of(schema, key).map_or(key.into(), |(_, key)| key);
    let name = ctx.keyspace.read(&key, seen, |row| visible_type(schema, row?, now));
    ctx.session.looked_up(name.is_some());
    name
}

pub(super) fn visible_type(schema: &Schema, row: Row<'_>, now: Timestamp) -> Option<&'static str> {
    match row.body()? {
        _ if row.is_expired(now) => None,
        Body::String(_) => Some("string"),
        Body::Hash(_) => Some("hash"),
        Body::Entity(features) => {
            let entity = schema.catalog.entity_of_key(row.key())?;
            let mut features = RowReader::new(features, now);
            let mut cells = schema.plan_all(entity).iter();
            let is_seen = cells.any(|(_, cell)| features.read(cell).status == Status::Present);
            is_seen.then_some("hash")
        }
    }
}

/// `TTL key`: seconds to its end, −1 without an end, −2 without the key.
pub(super) fn ttl(ctx: &mut Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let from_ms = whole_ms(ctx.now);
    // Redis rounds to the nearest second.
    reply_end(ctx, args, reply, |ms| (ms - from_ms).max(0).saturating_add(500) / 1_000)
}

/// `PTTL key`: milliseconds to its end, −1 without an end, −2 without the key.
pub(super) fn pttl(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let from_ms = whole_ms(ctx.now);
    reply_end(ctx, args, reply, |ms| (ms - from_ms).max(0))
}

/// `EXPIRETIME key`: the second since 1970 of its end, −1 without an end, −2 without the key.
pub(super) fn expiretime(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    reply_end(ctx, args, reply, |ms| ms.saturating_add(500) / 1_000)
}

/// `PEXPIRETIME key`: the millisecond since 1970 of its end, likewise.
pub(super) fn pexpiretime(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    reply_end(ctx, args, reply, |ms| ms)
}

/// What `tell` makes of the end of a key, or Redis' code for having none. The TTL of a registered
/// entity belongs to its views; the key itself has no end.
fn reply_end(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
    tell: impl FnOnce(i64) -> i64,
) -> Result<()> {
    let (key, schema) = (args.next()?, ctx.keyspace.schema());
    if type_name(ctx, &schema, key).is_none() {
        reply.integer(-2);
        return Ok(());
    }
    let end = ctx.peek_plain(key, |row| row.and_then(Row::expires_at));
    reply.integer(end.map_or(-1, |end| tell(whole_ms(end))));
    Ok(())
}

/// `EXPIRE key seconds [NX | XX | GT | LT]`: 1 if the end is set, 0 if not.
pub(super) fn expire(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let from_ms = whole_ms(ctx.now);
    expire_at(ctx, args, reply, "expire", 1_000, from_ms)
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`: as EXPIRE.
pub(super) fn pexpire(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let from_ms = whole_ms(ctx.now);
    expire_at(ctx, args, reply, "pexpire", 1, from_ms)
}

/// `EXPIREAT key second-since-1970 [NX | XX | GT | LT]`: as EXPIRE.
pub(super) fn expireat(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    expire_at(ctx, args, reply, "expireat", 1_000, 0)
}

/// `PEXPIREAT key millisecond-since-1970 [NX | XX | GT | LT]`: as EXPIRE.
pub(super) fn pexpireat(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    expire_at(ctx, args, reply, "pexpireat", 1, 0)
}

#[derive(Debug, Default)]
struct Conditions {
    only_without: bool,
    only_with: bool,
    only_later: bool,
    only_earlier: bool,
}

fn expire_at(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
    name: &str,
    unit_ms: i64,
    from_ms: i64,
) -> Result<()> {
    let key = args.next()?;
    let count = args.next()?;
    let conditions = conditions(args)?;
    let count = parse_integer(count).ok_or_else(not_an_integer)?;
    let ms = count.checked_mul(unit_ms).and_then(|ms| ms.checked_add(from_ms));
    let ms = ms.ok_or_else(|| invalid_end(name))?;
    // What lies too far back for our microseconds is over all the same.
    let is_past = ms < 0;
    let us = ms.checked_mul(1_000).or(is_past.then_some(i64::MIN));
    let at = us.map(Timestamp).ok_or_else(|| invalid_end(name))?;
    let schema = ctx.keyspace.schema();
    if let Some(entity) = schema.catalog.entity_of_key(key) {
        return Err(not_for_entities("TTL belongs to the feature view, not to the key", entity));
    }
    let is_set = write_plain(ctx, key, |row, locked| {
        let Some(row) = row else { return Ok((None, false)) };
        let standing = row.expires_at();
        // No end is later than any end.
        let is_unwanted = conditions.only_without && standing.is_some()
            || conditions.only_with && standing.is_none()
            || conditions.only_later && standing.is_none_or(|standing| at <= standing)
            || conditions.only_earlier && standing.is_some_and(|standing| at >= standing);
        let is_wanted = !is_unwanted;
        let change = match at <= locked.now {
            true => PlainChange::Delete,
            false => PlainChange::ExpireAt(Some(at)),
        };
        Ok((is_wanted.then_some(change), is_wanted))
    })?;
    reply.integer(i64::from(is_set));
    Ok(())
}

fn conditions(args: &mut Args<'_>) -> Result<Conditions> {
    let mut conditions = Conditions::default();
    while !args.is_empty() {
        if args.take_word("NX") {
            conditions.only_without = true;
        } else if args.take_word("XX") {
            conditions.only_with = true;
        } else if args.take_word("GT") {
            conditions.only_later = true;
        } else if args.take_word("LT") {
            conditions.only_earlier = true;
        } else {
            let option = args.next()?;
            let cut = option.get(..ECHO_BYTES_MAX).unwrap_or(option);
            let option = String::from_utf8_lossy(cut).into_owned();
            return Err(Error::refused(format!("Unsupported option {option}")));
        }
    }
    let Conditions { only_without, only_with, only_later, only_earlier } = conditions;
    if only_without && (only_with || only_later || only_earlier) {
        let why = "NX and XX, GT or LT options at the same time are not compatible";
        return Err(Error::refused(why));
    }
    if only_later && only_earlier {
        return Err(Error::refused("GT and LT options at the same time are not compatible"));
    }
    Ok(conditions)
}

/// `PERSIST key`: 1 if its end was taken away, 0 if it had none.
pub(super) fn persist(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let key = args.next()?;
    let schema = ctx.keyspace.schema();
    let is_plain = schema.catalog.entity_of_key(key).is_none();
    let is_changed = is_plain
        && write_plain(ctx, key, |row, _| {
            let has_end = row.and_then(Row::expires_at).is_some();
            Ok((has_end.then_some(PlainChange::ExpireAt(None)), has_end))
        })?;
    reply.integer(i64::from(is_changed));
    Ok(())
}

/// `SCAN cursor [MATCH pattern] [COUNT n] [TYPE type]`: the next cursor, and some keys. A key that
/// is there from the first step to the last is returned.
pub(super) fn scan(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let cursor = parse_cursor(args.next()?)?;
    let options = ScanOptions::parse(args, true)?;
    let schema = ctx.keyspace.schema();
    let (seen, now, mut keys) = (ctx.seen(), ctx.now, Vec::new());
    let step = ctx.keyspace.scan(cursor, options.count, seen, |row| {
        let Some(type_name) = visible_type(&schema, row, now) else { return };
        let is_wanted = options.pattern.is_none_or(|pattern| matches(pattern, row.key()))
            && options.type_name.is_none_or(|wanted| is_word(wanted, type_name));
        if is_wanted {
            keys.push(row.key().to_vec());
        }
    });
    reply.array(2);
    reply.bulk_text(&step.cursor.to_string());
    reply.array(keys.len());
    keys.iter().for_each(|key| reply.bulk(key));
    Ok(())
}

/// `DBSIZE`: how many keys there are; those past their end count until they are swept away.
pub(super) fn dbsize(
    ctx: &mut Context<'_>,
    _args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let seen = ctx.seen();
    reply.integer(ctx.keyspace.live_rows(seen) as i64);
    Ok(())
}

/// `FLUSHALL [ASYNC | SYNC]`: OK, and no key is left. Definitions stay, and so does the history.
pub(super) fn flushall(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let _ = args.take_word("ASYNC") || args.take_word("SYNC");
    args.end()?;
    let committed = ctx.keyspace.flush_all()?;
    ctx.committed(committed);
    reply.ok();
    Ok(())
}
