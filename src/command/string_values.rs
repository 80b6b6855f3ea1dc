//! Strings of plain keys, written and read as a whole.

use super::{
    arguments::{Args, wrong_arity},
    context::Context,
    plain::{must_be_plain, no_entities, string_of, write_plain},
    string_options::{GetexOptions, end_of_life, whole_ms},
};
use crate::{
    error::Result,
    feature::{Change, PlainChange, Timestamp},
    online::Row,
    store::Locked,
};
use nowthen_protocol::Reply;
use std::collections::BTreeMap;

/// `SETNX key value`: 1 if it is set, 0 if the key was there.
pub(super) fn setnx(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (key, value) = (args.next()?, args.next()?);
    must_be_plain(ctx, "SETNX", [key])?;
    let is_set = write_plain(ctx, key, |row, _| {
        let is_new = row.is_none();
        Ok((is_new.then(|| string(value, None)), is_new))
    })?;
    reply.integer(i64::from(is_set));
    Ok(())
}

/// `SETEX key seconds value`: OK; the key ends after so many seconds.
pub(super) fn setex(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    set_with_end(ctx, args, reply, "setex", 1_000)
}

/// `PSETEX key milliseconds value`: as SETEX.
pub(super) fn psetex(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    set_with_end(ctx, args, reply, "psetex", 1)
}

fn set_with_end(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
    name: &str,
    unit_ms: i64,
) -> Result<()> {
    let (key, count, value) = (args.next()?, args.next()?, args.next()?);
    let at = end_of_life(count, unit_ms, whole_ms(ctx.now), name)?;
    must_be_plain(ctx, &name.to_ascii_uppercase(), [key])?;
    write_plain(ctx, key, |_, _| Ok((Some(string(value, Some(at))), ())))?;
    reply.ok();
    Ok(())
}

/// `GETSET key value`: the old value, or null; the new one has no end.
pub(super) fn getset(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (key, value) = (args.next()?, args.next()?);
    must_be_plain(ctx, "GETSET", [key])?;
    let old = write_plain(ctx, key, |row, _| Ok((Some(string(value, None)), old_value(row)?)))?;
    ctx.session.looked_up(old.is_some());
    bulk_or_null(old.as_deref(), reply);
    Ok(())
}

/// `GETDEL key`: the value, which is gone then, or null.
pub(super) fn getdel(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let key = args.next()?;
    must_be_plain(ctx, "GETDEL", [key])?;
    let old = write_plain(ctx, key, |row, _| {
        let old = old_value(row)?;
        Ok((old.is_some().then_some(PlainChange::Delete), old))
    })?;
    ctx.session.looked_up(old.is_some());
    bulk_or_null(old.as_deref(), reply);
    Ok(())
}

/// `GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]`: the value, or null; the key has
/// another end then.
pub(super) fn getex(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let key = args.next()?;
    let options = GetexOptions::parse(args)?;
    must_be_plain(ctx, "GETEX", [key])?;
    let now = ctx.now;
    let value = write_plain(ctx, key, |row, locked| {
        let Some(value) = old_value(row)? else { return Ok((None, None)) };
        let has_end = row.and_then(Row::expires_at).is_some();
        let change = match options.end {
            Some(end) => {
                let at = end.at(now, "getex")?;
                let is_over = end.is_absolute() && at <= locked.now;
                Some(if is_over { PlainChange::Delete } else { PlainChange::ExpireAt(Some(at)) })
            }
            None => (options.persists && has_end).then_some(PlainChange::ExpireAt(None)),
        };
        Ok((change, Some(value)))
    })?;
    ctx.session.looked_up(value.is_some());
    bulk_or_null(value.as_deref(), reply);
    Ok(())
}

/// `MSET key value [key value ...]`: OK; all at once.
pub(super) fn mset(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    set_all(ctx, args, "mset", |_, _| true)?;
    reply.ok();
    Ok(())
}

/// `MSETNX key value [key value ...]`: 1 if all are set, 0 if one was there and none is set.
pub(super) fn msetnx(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let is_new = |locked: &Locked<'_>, key: &[u8]| locked.row(key).is_none();
    let is_set = set_all(ctx, args, "msetnx", is_new)?;
    reply.integer(i64::from(is_set));
    Ok(())
}

/// Sets all keys if every one of them may be set.
fn set_all(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    name: &str,
    may_be_set: impl Fn(&Locked<'_>, &[u8]) -> bool,
) -> Result<bool> {
    if !args.len().is_multiple_of(2) {
        return Err(wrong_arity(name));
    }
    // Of a key that comes twice the last value stands.
    let mut values = BTreeMap::new();
    while let (Some(key), Some(value)) = (args.pop(), args.pop()) {
        values.insert(key, value);
    }
    let keys: Vec<&[u8]> = values.keys().copied().collect();
    must_be_plain(ctx, &name.to_ascii_uppercase(), keys.iter().copied())?;
    let keyspace = ctx.keyspace;
    let committed = keyspace.commit(&keys, |locked| {
        no_entities(keyspace, locked, &keys)?;
        if !keys.iter().all(|key| may_be_set(locked, key)) {
            return Ok((Vec::new(), false));
        }
        let changes = values
            .iter()
            .map(|(key, value)| Change::Plain { key: key.to_vec(), change: string(value, None) });
        Ok((changes.collect(), true))
    })?;
    Ok(ctx.committed(committed))
}

fn string(value: &[u8], expires_at: Option<Timestamp>) -> PlainChange {
    PlainChange::SetString { value: value.to_vec(), expires_at }
}

fn old_value(row: Option<Row<'_>>) -> Result<Option<Vec<u8>>> {
    Ok(string_of(row)?.map(<[u8]>::to_vec))
}

fn bulk_or_null(value: Option<&[u8]>, reply: &mut Reply<'_>) {
    match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    }
}
