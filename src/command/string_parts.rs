//! Parts of the strings of plain keys.

use super::{
    arguments::Args,
    context::Context,
    plain::{must_be_plain, string_of, write_plain},
};
use crate::{
    error::{Error, Result},
    feature::PlainChange,
    online::Row,
};
use nowthen_protocol::Reply;

/// `STRLEN key`: how many bytes the string has; 0 without the key.
pub(super) fn strlen(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let bytes = ctx.read_plain(args.next()?, |row| Ok(string_of(row)?.map_or(0, <[u8]>::len)))?;
    reply.integer(bytes as i64);
    Ok(())
}

/// `GETRANGE key first last`: that part of the string; negative places count from its end.
pub(super) fn getrange(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (key, first, last) = (args.next()?, args.integer()?, args.integer()?);
    ctx.read_plain(key, |row| {
        reply.bulk(part(string_of(row)?.unwrap_or_default(), first, last));
        Ok(())
    })
}

fn part(value: &[u8], first: i64, last: i64) -> &[u8] {
    if first < 0 && last < 0 && first > last {
        return &[];
    }
    let bytes = value.len() as i64;
    let place = |at: i64| if at < 0 { (bytes + at.max(-bytes)).max(0) } else { at };
    let (first, last) = (place(first), place(last).min(bytes - 1));
    if first > last {
        return &[];
    }
    value.get(first as usize..=last as usize).unwrap_or_default()
}

/// `APPEND key value`: how many bytes the string has now.
pub(super) fn append(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (key, value) = (args.next()?, args.next()?);
    must_be_plain(ctx, "APPEND", [key])?;
    let bytes_max = ctx.app.settings.bulk_bytes_max.bytes();
    let bytes = write_plain(ctx, key, |row, _| {
        let old = string_of(row)?.unwrap_or_default();
        check_length(old.len(), value.len(), bytes_max)?;
        let value = [old, value].concat();
        let bytes = value.len();
        Ok((Some(same_end(row, value)), bytes))
    })?;
    reply.integer(bytes as i64);
    Ok(())
}

/// `SETRANGE key place value`: writes over that part of the string, filling up with zero bytes;
/// how many bytes it has now.
pub(super) fn setrange(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (key, place, value) = (args.next()?, args.integer()?, args.next()?);
    let place = usize::try_from(place).map_err(|_| Error::refused("offset is out of range"))?;
    must_be_plain(ctx, "SETRANGE", [key])?;
    let bytes_max = ctx.app.settings.bulk_bytes_max.bytes();
    let bytes = write_plain(ctx, key, |row, _| {
        let old = string_of(row)?.unwrap_or_default();
        if value.is_empty() {
            return Ok((None, old.len()));
        }
        check_length(place, value.len(), bytes_max)?;
        let end = place + value.len();
        let mut new = old.to_vec();
        new.resize(old.len().max(end), 0);
        if let Some(part) = new.get_mut(place..end) {
            part.copy_from_slice(value);
        }
        let bytes = new.len();
        Ok((Some(same_end(row, new)), bytes))
    })?;
    reply.integer(bytes as i64);
    Ok(())
}

/// No command makes a string longer than what a client may send as one.
fn check_length(bytes: usize, more: usize, bytes_max: usize) -> Result<()> {
    match bytes.checked_add(more) {
        Some(bytes) if bytes <= bytes_max => Ok(()),
        _ => {
            let why = "string exceeds maximum allowed size (proto-max-bulk-len)";
            Err(Error::refused(why))
        }
    }
}

/// The new value of a string that ends when it would have ended.
fn same_end(row: Option<Row<'_>>, value: Vec<u8>) -> PlainChange {
    PlainChange::SetString { value, expires_at: row.and_then(Row::expires_at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_the_one_redis_gives() {
        for (first, last, expected) in [
            (0, -1, "hello"),
            (1, 2, "el"),
            (-3, -2, "ll"),
            (-2, -3, ""),
            (3, 1, ""),
            (4, 100, "o"),
            (5, 9, ""),
            (-100, 0, "h"),
            (-100, -100, "h"),
            (i64::MIN, i64::MAX, "hello"),
        ] {
            assert_eq!(part(b"hello", first, last), expected.as_bytes(), "{first} {last}");
        }
        assert_eq!(part(b"", 0, -1), b"");
    }
}
