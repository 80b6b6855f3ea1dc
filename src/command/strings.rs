//! Strings of plain keys.

use super::{
    arguments::Args,
    context::Context,
    plain::{must_be_plain, string_of, write_plain},
    string_options::SetOptions,
};
use crate::{
    error::Result,
    feature::PlainChange,
    online::{Body, Row},
};
use nowthen_protocol::Reply;

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
    let there = ctx.read_together(args.rest(), |rows| {
        let mut there = 0;
        for key in args.rest() {
            let body = rows.row(key).and_then(Row::body);
            there += usize::from(body.is_some());
            match body {
                Some(Body::String(value)) => reply.bulk(value),
                _ => reply.null(),
            }
        }
        there
    });
    ctx.session.looked_up_all(args.len(), there);
    Ok(())
}

/// `SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]`: OK, or null if the
/// condition did not hold; with GET the old value.
pub(super) fn set(ctx: &mut Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let (key, value) = (args.next()?, args.next()?);
    let options = SetOptions::parse(args)?;
    let new_end = options.end.map(|end| end.at(ctx.now, "set")).transpose()?;
    must_be_plain(ctx, "SET", [key])?;
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
        let expires_at = new_end.or(kept);
        let change = PlainChange::SetString { value: value.to_vec(), expires_at };
        Ok((is_set.then_some(change), (old, is_set)))
    })?;
    if options.returns_old {
        ctx.session.looked_up(old.is_some());
    }
    match (options.returns_old, old, is_set) {
        (true, Some(old), _) => reply.bulk(&old),
        (true, None, _) | (false, _, false) => reply.null(),
        (false, _, true) => reply.ok(),
    }
    Ok(())
}
