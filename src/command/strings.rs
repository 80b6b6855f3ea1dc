//! Strings of plain keys.

use super::{
    arguments::{Args, not_an_integer, syntax},
    context::Context,
    plain::{not_for_entities, string_of, write_plain},
};
use crate::{
    error::{Error, Result},
    feature::{PlainChange, Timestamp},
    online::{Body, Row},
};
use nowthen_protocol::{Reply, parse_integer};

/// `GET key`: the string, or null.
pub(super) fn get(ctx: &mut Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    ctx.read_plain(args.next()?, |row| {
        match string_of(row)? {
            Some(value) => reply.bulk(value),
            None => reply.null(),
        }
        Ok(())
    })
}

/// `MGET key [key ...]`: a string per key; null where there is none.
pub(super) fn mget(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    reply.array(args.len());
    for key in args.rest() {
        ctx.read_plain(key, |row| match row.and_then(Row::body) {
            Some(Body::String(value)) => reply.bulk(value),
            _ => reply.null(),
        });
    }
    Ok(())
}

/// What `SET` was asked for beside key and value.
#[derive(Debug, Default)]
struct SetOptions {
    expires_at: Option<Timestamp>,
    keeps_ttl: bool,
    only_if_absent: bool,
    only_if_there: bool,
    returns_old: bool,
}

/// `SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]`: OK, or null if the
/// condition did not hold; with GET the old value.
pub(super) fn set(ctx: &mut Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let (key, value) = (args.next()?, args.next()?);
    let options = set_options(ctx.now, args)?;
    let schema = ctx.store().schema();
    if let Some(entity) = schema.catalog.entity_of_key(key) {
        return Err(not_for_entities("SET writes plain keys; HSET writes features", entity));
    }
    let (old, is_set) = write_plain(ctx, key, |row, _| {
        let old = match options.returns_old {
            true => string_of(row)?.map(<[u8]>::to_vec),
            false => None,
        };
        let is_set = match row {
            Some(_) => !options.only_if_absent,
            None => !options.only_if_there,
        };
        let kept = row.and_then(Row::expires_at).filter(|_| options.keeps_ttl);
        let expires_at = options.expires_at.or(kept);
        let change = PlainChange::SetString { value: value.to_vec(), expires_at };
        Ok((is_set.then_some(change), (old, is_set)))
    })?;
    match (options.returns_old, old, is_set) {
        (true, Some(old), _) => reply.bulk(&old),
        (true, None, _) | (false, _, false) => reply.null(),
        (false, _, true) => reply.ok(),
    }
    Ok(())
}

fn set_options(now: Timestamp, args: &mut Args<'_>) -> Result<SetOptions> {
    let mut options = SetOptions::default();
    let mut expiry = None;
    while !args.is_empty() {
        let is_timed = expiry.is_some() || options.keeps_ttl;
        if args.take_word("NX") {
            options.only_if_absent = true;
        } else if args.take_word("XX") {
            options.only_if_there = true;
        } else if args.take_word("GET") {
            options.returns_old = true;
        } else if is_timed {
            return Err(syntax());
        } else if args.take_word("KEEPTTL") {
            options.keeps_ttl = true;
        } else {
            expiry = Some(expiry_option(now, args)?);
        }
    }
    if options.only_if_absent && options.only_if_there {
        return Err(syntax());
    }
    // Redis judges the number after all options.
    options.expires_at = expiry.map(Expiry::judge).transpose()?;
    Ok(options)
}

/// A time that `SET` was given and that is not judged yet.
struct Expiry<'a> {
    count: &'a [u8],
    unit_us: i64,
    from_us: i64,
}

fn expiry_option<'a>(now: Timestamp, args: &mut Args<'a>) -> Result<Expiry<'a>> {
    for (word, unit_us, from_us) in [
        ("EX", 1_000_000, now.us()),
        ("PX", 1_000, now.us()),
        ("EXAT", 1_000_000, 0),
        ("PXAT", 1_000, 0),
    ] {
        if args.take_word(word) {
            let count = args.pop().ok_or_else(syntax)?;
            return Ok(Expiry { count, unit_us, from_us });
        }
    }
    Err(syntax())
}

impl Expiry<'_> {
    fn judge(self) -> Result<Timestamp> {
        let count = parse_integer(self.count).ok_or_else(not_an_integer)?;
        let us = count.checked_mul(self.unit_us).filter(|us| *us > 0);
        let us = us.and_then(|us| us.checked_add(self.from_us));
        let refuse = || Error::refused("invalid expire time in 'set' command");
        us.map(Timestamp).ok_or_else(refuse)
    }
}
