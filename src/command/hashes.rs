//! Hashes: of plain keys as in Redis; of registered entities the features of their views.

use super::{
    arguments::{Args, wrong_arity},
    context::{Context, entity_of, get_each_field},
    plain::{hash_of, write_plain},
    typed_value::{write_text, write_texts},
};
use crate::{
    error::Result,
    feature::{PlainChange, Timestamp},
    online::{EntityRow, PlainHash, ValueRef},
    store::{FeatureRead, NamedCell, RowReader, Schema},
};
use nowthen_protocol::Reply;
use serde_bytes::ByteBuf;
use std::sync::Arc;

/// `HSET key field value [field value ...]`: how many fields are new.
pub(super) fn hset(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let new_count = set_fields(ctx, args, "hset")?;
    reply.integer(new_count as i64);
    Ok(())
}

/// `HMSET key field value [field value ...]`: OK.
pub(super) fn hmset(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    set_fields(ctx, args, "hmset")?;
    reply.ok();
    Ok(())
}

fn set_fields(ctx: &mut Context<'_>, args: &mut Args<'_>, name: &str) -> Result<usize> {
    let key = args.next()?;
    if args.is_empty() || !args.len().is_multiple_of(2) {
        return Err(wrong_arity(name));
    }
    let fields = args.in_pairs();
    let schema = ctx.keyspace.schema();
    if let Some(entity) = schema.catalog.entity_of_key(key) {
        let plan = ctx.plan(&schema, entity, fields.clone().map(|(name, _)| name));
        let committed = ctx.keyspace.set_features(&schema, entity, key, &plan, fields)?;
        return Ok(ctx.committed(committed));
    }
    drop(schema);
    write_plain(ctx, key, |row, locked| {
        let hash = hash_of(row, locked.now)?;
        let (mut hint, mut new) = (0, Vec::new());
        for (field, _) in fields.clone() {
            if hash.is_none_or(|hash| hash.get(field, &mut hint).is_none()) {
                new.push(field);
            }
        }
        // A field that is named twice is new once.
        new.sort_unstable();
        new.dedup();
        let new_count = new.len();
        let fields = fields.map(|(f, v)| (ByteBuf::from(f), ByteBuf::from(v))).collect();
        let change = match hash {
            Some(_) => PlainChange::SetFields(fields),
            None => PlainChange::SetHash(fields),
        };
        Ok((Some(change), new_count))
    })
}

/// `HDEL key field [field ...]`: how many were there.
pub(super) fn hdel(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let key = args.next()?;
    let schema = ctx.keyspace.schema();
    let gone = if let Some(entity) = schema.catalog.entity_of_key(key) {
        let committed = ctx.keyspace.delete_features(&schema, entity, key, args.rest())?;
        ctx.committed(committed)
    } else {
        write_plain(ctx, key, |row, locked| {
            let Some(hash) = hash_of(row, locked.now)? else { return Ok((None, 0)) };
            let mut gone: Vec<&[u8]> =
                args.rest().filter(|field| hash.get(field, &mut 0).is_some()).collect();
            gone.sort_unstable();
            gone.dedup();
            let count = gone.len();
            let fields = gone.into_iter().map(ByteBuf::from).collect();
            Ok(((count > 0).then_some(PlainChange::DeleteFields(fields)), count))
        })?
    };
    reply.integer(gone as i64);
    Ok(())
}

/// `HGET key field`: its value, or null.
pub(super) fn hget(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let key = args.next()?;
    let schema = ctx.keyspace.schema();
    read_fields(ctx, &schema, key, args, |_| {}, reply)
}

/// `HMGET key field [field ...]`: a value per field, in the order asked; null where it is absent
/// or, on a registered entity, null or older than its TTL.
pub(super) fn hmget(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let key = args.next()?;
    let schema = ctx.keyspace.schema();
    let count = args.len();
    read_fields(ctx, &schema, key, args, |reply| reply.array(count), reply)
}

/// `begin` writes what stands before the values, once nothing can fail any more.
fn read_fields(
    ctx: &mut Context<'_>,
    schema: &Arc<Schema>,
    key: &[u8],
    args: &Args<'_>,
    begin: impl FnOnce(&mut Reply<'_>),
    reply: &mut Reply<'_>,
) -> Result<()> {
    let Some((entity, key)) = entity_of(schema, key) else {
        let now = ctx.now;
        return ctx.read_plain(key, |row| {
            let hash = hash_of(row, now)?;
            begin(reply);
            let give = |value: Option<&[u8]>| match value {
                Some(value) => reply.bulk(value),
                None => reply.null(),
            };
            match hash {
                Some(hash) => get_each_field(hash, args, give),
                None => args.rest().map(|_| None).for_each(give),
            }
            Ok(())
        });
    };
    let plan = ctx.plan_of_rest(schema, entity, args);
    ctx.app.stats.unknown_fields_total.add(plan.unknown_names as u64);
    let (seen, now) = (ctx.seen(), ctx.now);
    begin(reply);
    let mut is_there = false;
    let scratch = &mut ctx.session.scratch;
    ctx.keyspace.read_entity(&key, seen, |row| {
        let mut row = RowReader::new(row, now);
        for stretch in plan.stretches() {
            is_there |= write_texts(&mut row, stretch, scratch, reply);
        }
    });
    ctx.session.looked_up(is_there);
    Ok(())
}

/// `HEXISTS key field`: 1 or 0.
pub(super) fn hexists(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let key = args.next()?;
    let schema = ctx.keyspace.schema();
    let mut is_there = false;
    if let Some((entity, key)) = entity_of(&schema, key) {
        let plan = ctx.plan_of_rest(&schema, entity, args);
        let (seen, now) = (ctx.seen(), ctx.now);
        let note = |read: FeatureRead<'_>| is_there = read.value.is_some();
        ctx.keyspace.get_online_features(&key, &plan, now, seen, note);
        ctx.session.looked_up(is_there);
    } else {
        let (field, now) = (args.next()?, ctx.now);
        is_there = ctx.read_plain(key, |row| {
            Ok(hash_of(row, now)?.is_some_and(|hash| hash.get(field, &mut 0).is_some()))
        })?;
    }
    reply.integer(i64::from(is_there));
    Ok(())
}

/// `HLEN key`: how many fields.
pub(super) fn hlen(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let mut count = 0;
    each_field(ctx, args.next()?, |all, _| count = all.count)?;
    reply.integer(count as i64);
    Ok(())
}

/// `HGETALL key`: a map of all fields; of a registered entity of those that may be seen.
pub(super) fn hgetall(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    each_field(ctx, args.next()?, |all, scratch| {
        reply.map(all.count);
        all.each(|name, value| {
            reply.bulk(name);
            value.write(scratch, reply);
        });
    })
}

/// `HKEYS key`: all fields.
pub(super) fn hkeys(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    each_field(ctx, args.next()?, |all, _| {
        reply.array(all.count);
        all.each(|name, _| reply.bulk(name));
    })
}

/// `HVALS key`: all values.
pub(super) fn hvals(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    each_field(ctx, args.next()?, |all, scratch| {
        reply.array(all.count);
        all.each(|_, value| value.write(scratch, reply));
    })
}

/// A value of either tier.
pub(super) enum FieldValue<'a> {
    Plain(&'a [u8]),
    Feature(ValueRef<'a>),
}

impl FieldValue<'_> {
    /// Writes it as a bulk string; `scratch` is room for a text.
    pub(super) fn write(&self, scratch: &mut Vec<u8>, reply: &mut Reply<'_>) {
        match self {
            Self::Plain(value) => reply.bulk(value),
            Self::Feature(value) => write_text(*value, scratch, reply),
        }
    }
}

/// The fields of a key that have a value.
struct AllFields<'a> {
    /// How many.
    count: usize,
    of: FieldsOf<'a>,
}

enum FieldsOf<'a> {
    /// Perhaps none.
    Plain(Option<PlainHash<'a>>),
    /// Every feature of an entity, its row and the time.
    Entity(&'a [NamedCell], EntityRow<'a>, Timestamp),
}

impl<'a> AllFields<'a> {
    fn new(of: FieldsOf<'a>) -> Self {
        let mut all = Self { count: 0, of };
        let mut count = 0;
        match &all.of {
            FieldsOf::Plain(hash) => count = hash.map_or(0, PlainHash::len),
            FieldsOf::Entity(..) => all.each(|_, _| count += 1),
        }
        all.count = count;
        all
    }

    /// Calls `visit` with each of them.
    fn each(&self, mut visit: impl FnMut(&'a [u8], FieldValue<'a>)) {
        match &self.of {
            FieldsOf::Plain(hash) => hash.iter().for_each(|hash| {
                hash.each(|field| visit(field.name, FieldValue::Plain(field.value)));
            }),
            FieldsOf::Entity(cells, row, now) => {
                let mut row = RowReader::new(*row, *now);
                for (name, cell) in *cells {
                    if let Some(value) = row.read(cell).value {
                        visit(name.as_bytes(), FieldValue::Feature(value));
                    }
                }
            }
        }
    }
}

/// Calls `visit` with the fields of `key`, and room for a text.
fn each_field(
    ctx: &mut Context<'_>,
    key: &[u8],
    visit: impl FnOnce(AllFields<'_>, &mut Vec<u8>),
) -> Result<()> {
    let schema = ctx.keyspace.schema();
    let mut scratch = std::mem::take(&mut ctx.session.scratch);
    let result = if let Some((entity, key)) = entity_of(&schema, key) {
        let cells = schema.plan_all(entity);
        let (seen, now) = (ctx.seen(), ctx.now);
        let is_there = ctx.keyspace.read_entity(&key, seen, |row| {
            let all = AllFields::new(FieldsOf::Entity(cells, row, now));
            let is_there = all.count > 0;
            visit(all, &mut scratch);
            is_there
        });
        ctx.session.looked_up(is_there);
        Ok(())
    } else {
        let now = ctx.now;
        ctx.read_plain(key, |row| {
            visit(AllFields::new(FieldsOf::Plain(hash_of(row, now)?)), &mut scratch);
            Ok(())
        })
    };
    ctx.session.scratch = scratch;
    result
}

/// The same of all fields side by side.
pub(super) fn every_field(
    ctx: &mut Context<'_>,
    key: &[u8],
    visit: impl FnOnce(&[(&[u8], FieldValue<'_>)], &mut Vec<u8>),
) -> Result<()> {
    each_field(ctx, key, |all, scratch| {
        let mut fields = Vec::with_capacity(all.count);
        all.each(|name, value| fields.push((name, value)));
        visit(&fields, scratch);
    })
}
