//! Values of fields that are read or written together with their ends, or read and deleted.

use super::{
    arguments::Args,
    context::Context,
    field_arguments::{GetRequest, NOT_A_COUNT, NewEnd, SetRequest, named_fields},
    field_expiry::{Ends, must_be_plain_hash},
    plain::{hash_of, write_plain},
};
use crate::{
    error::Result,
    feature::{EndingField, PlainChange, Timestamp},
    online::PlainHash,
};
use nowthen_protocol::Reply;
use serde_bytes::ByteBuf;

/// `HGETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST] FIELDS n field ...`: per field its
/// value, or null; the fields have another end then.
pub(super) fn hgetex(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (key, now) = (args.next()?, ctx.now);
    let schema = ctx.keyspace.schema();
    must_be_plain_hash(&schema, key)?;
    let values = write_plain(ctx, key, |row, locked| {
        let hash = hash_of(row, locked.now)?;
        let request = GetRequest::parse(args, now)?;
        let end = match request.end {
            NewEnd::At(at) if at <= locked.now => None,
            NewEnd::At(at) => Some(Some(at)),
            NewEnd::Never => Some(None),
            NewEnd::Kept => return Ok((None, values_of(hash, &request.names))),
        };
        Ok(taken(hash, &request.names, end))
    })?;
    reply_values(&values, reply);
    Ok(())
}

/// `HGETDEL key FIELDS n field ...`: per field its value, or null; the fields are gone then. Of a
/// registered entity the features are deleted, as by HDEL.
pub(super) fn hgetdel(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let key = args.next()?;
    let schema = ctx.keyspace.schema();
    let values = if let Some(entity) = schema.catalog.entity_of_key(key) {
        let names = named_fields(args, NOT_A_COUNT)?;
        let committed = ctx.keyspace.take_features(&schema, entity, key, names)?;
        ctx.committed(committed)
    } else {
        write_plain(ctx, key, |row, locked| {
            let hash = hash_of(row, locked.now)?;
            let names = named_fields(args, NOT_A_COUNT)?;
            Ok(taken(hash, &names, None))
        })?
    };
    reply_values(&values, reply);
    Ok(())
}

type Values = Vec<Option<Vec<u8>>>;

fn values_of(hash: Option<PlainHash<'_>>, names: &[&[u8]]) -> Values {
    let mut hint = 0;
    let value = |name: &&[u8]| hash.and_then(|hash| hash.get(name, &mut hint)).map(<[u8]>::to_vec);
    names.iter().map(value).collect()
}

/// The values of fields, and the change after which they have this end, or with `None` are gone.
fn taken<'a>(
    hash: Option<PlainHash<'a>>,
    names: &[&'a [u8]],
    end: Option<Option<Timestamp>>,
) -> (Option<PlainChange>, Values) {
    let (mut ends, mut hint) = (Ends::new(hash), 0);
    let mut take = |name: &&'a [u8]| {
        let standing = ends.standing(name)?;
        if end != Some(standing) {
            ends.change(name, end);
        }
        hash?.get(name, &mut hint).map(<[u8]>::to_vec)
    };
    let values = names.iter().map(&mut take).collect();
    (ends.into_change(end), values)
}

fn reply_values(values: &[Option<Vec<u8>>], reply: &mut Reply<'_>) {
    reply.array(values.len());
    for value in values {
        match value {
            Some(value) => reply.bulk(value),
            None => reply.null(),
        }
    }
}

/// `HSETEX key [FNX | FXX] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL] FIELDS n field value ...`: 1
/// if the fields are set, 0 if one of them is there (FNX) or not (FXX).
pub(super) fn hsetex(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (key, now) = (args.next()?, ctx.now);
    let schema = ctx.keyspace.schema();
    must_be_plain_hash(&schema, key)?;
    let request = SetRequest::parse(args, now)?;
    let is_set = write_plain(ctx, key, |row, locked| {
        let (hash, mut hint) = (hash_of(row, locked.now)?, 0);
        let mut is_there = |name| hash.is_some_and(|hash| hash.get(name, &mut hint).is_some());
        let mut names = request.fields.iter().map(|(name, _)| *name);
        let is_refused = request.only_if_none && names.clone().any(&mut is_there)
            || request.only_if_all && !names.all(&mut is_there);
        if is_refused {
            return Ok((None, false));
        }
        Ok((set_change(hash, &request, locked.now), true))
    })?;
    reply.integer(i64::from(is_set));
    Ok(())
}

/// What HSETEX makes true. Fields of which the end has passed are not there afterwards.
fn set_change(
    hash: Option<PlainHash<'_>>,
    request: &SetRequest<'_>,
    now: Timestamp,
) -> Option<PlainChange> {
    let names = request.fields.iter().map(|(name, _)| *name);
    let mut ends = Ends::new(hash);
    if matches!(request.end, NewEnd::At(at) if at <= now) {
        for name in names {
            if ends.standing(name).is_some() {
                ends.change(name, None);
            }
        }
        return ends.into_change(None);
    }
    let mut end = |name| match request.end {
        NewEnd::At(at) => Some(at),
        NewEnd::Never => None,
        NewEnd::Kept => ends.standing(name).flatten(),
    };
    let ends: Vec<Option<Timestamp>> = names.map(&mut end).collect();
    let fields =
        request.fields.iter().map(|(name, value)| (ByteBuf::from(*name), ByteBuf::from(*value)));
    if ends.iter().all(Option::is_none) {
        let fields = fields.collect();
        return Some(match hash {
            Some(_) => PlainChange::SetFields(fields),
            None => PlainChange::SetHash(fields),
        });
    }
    let fields = fields.zip(ends).map(|((name, value), end)| EndingField { name, value, end });
    Some(PlainChange::SetEndingFields { is_whole: hash.is_none(), fields: fields.collect() })
}
