//! Strings of plain keys as numbers.

use super::{
    arguments::{Args, not_an_integer},
    context::Context,
    long_double::{Parsed, parse},
    plain::{must_be_plain, string_of, write_plain},
};
use crate::{
    error::{Error, Result},
    feature::PlainChange,
    online::Row,
};
use nowthen_protocol::{Reply, parse_integer};

/// `INCR key`: the number, one higher.
pub(super) fn incr(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    add(ctx, "INCR", args.next()?, 1, reply)
}

/// `DECR key`: the number, one lower.
pub(super) fn decr(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    add(ctx, "DECR", args.next()?, -1, reply)
}

/// `INCRBY key n`: the number, `n` higher.
pub(super) fn incrby(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    add(ctx, "INCRBY", args.next()?, args.integer()?, reply)
}

/// `DECRBY key n`: the number, `n` lower.
pub(super) fn decrby(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (key, count) = (args.next()?, args.integer()?);
    let count = count.checked_neg().ok_or_else(|| Error::refused("decrement would overflow"))?;
    add(ctx, "DECRBY", key, count, reply)
}

fn add(
    ctx: &mut Context<'_>,
    name: &str,
    key: &[u8],
    count: i64,
    reply: &mut Reply<'_>,
) -> Result<()> {
    must_be_plain(ctx, name, [key])?;
    let sum = write_plain(ctx, key, |row, _| {
        let old = match string_of(row)? {
            Some(value) => parse_integer(value).ok_or_else(not_an_integer)?,
            None => 0,
        };
        let sum = old.checked_add(count).ok_or_else(overflow)?;
        Ok((Some(same_end(row, sum.to_string())), sum))
    })?;
    reply.integer(sum);
    Ok(())
}

/// `INCRBYFLOAT key n`: the number, `n` higher, as text.
pub(super) fn incrbyfloat(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (key, count) = (args.next()?, args.next()?);
    must_be_plain(ctx, "INCRBYFLOAT", [key])?;
    let sum = write_plain(ctx, key, |row, _| {
        let old = string_of(row)?.unwrap_or(b"0");
        let old = parse(old).ok_or_else(not_a_float)?;
        let count = parse(count).ok_or_else(not_a_float)?;
        let sum = match (old, count) {
            (Parsed::Finite(old), Parsed::Finite(count)) => old.plus(count),
            _ => None,
        };
        let sum = sum.ok_or_else(not_finite)?.text();
        Ok((Some(same_end(row, sum.clone())), sum))
    })?;
    reply.bulk_text(&sum);
    Ok(())
}

fn same_end(row: Option<Row<'_>>, value: String) -> PlainChange {
    PlainChange::SetString { value: value.into(), expires_at: row.and_then(Row::expires_at) }
}

pub(super) fn overflow() -> Error {
    Error::refused("increment or decrement would overflow")
}

pub(super) fn not_a_float() -> Error {
    Error::refused("value is not a valid float")
}

pub(super) fn not_finite() -> Error {
    Error::refused("increment would produce NaN or Infinity")
}
