//! When fields of hashes end. Of registered entities the TTL of a view decides, so there it can be
//! read and not set.

use super::{
    arguments::Args,
    context::{Context, entity_of},
    field_arguments::{NOT_A_COUNT, field_end, named_fields},
    plain::{hash_of, not_for_entities, write_plain},
    string_options::whole_ms,
};
use crate::{
    error::Result,
    feature::{PlainChange, Status, Timestamp},
    online::PlainHash,
    store::{PlanCell, Schema},
};
use nowthen_protocol::Reply;
use serde_bytes::ByteBuf;
use std::collections::HashMap;

const NO_FIELD: i64 = -2;
const NO_END: i64 = -1;
const UNWANTED: i64 = 0;
const CHANGED: i64 = 1;
const DELETED: i64 = 2;

/// `HEXPIRE key seconds [NX | XX | GT | LT] FIELDS n field ...`: per field 1 if the end is set, 0
/// if not, 2 if the field is deleted because the end has passed, −2 without the field.
pub(super) fn hexpire(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let from_ms = whole_ms(ctx.now);
    end_fields(ctx, args, reply, "hexpire", 1_000, from_ms)
}

/// `HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS n field ...`: as HEXPIRE.
pub(super) fn hpexpire(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let from_ms = whole_ms(ctx.now);
    end_fields(ctx, args, reply, "hpexpire", 1, from_ms)
}

/// `HEXPIREAT key second-since-1970 [NX | XX | GT | LT] FIELDS n field ...`: as HEXPIRE.
pub(super) fn hexpireat(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    end_fields(ctx, args, reply, "hexpireat", 1_000, 0)
}

/// `HPEXPIREAT key millisecond-since-1970 [NX | XX | GT | LT] FIELDS n field ...`: as HEXPIRE.
pub(super) fn hpexpireat(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    end_fields(ctx, args, reply, "hpexpireat", 1, 0)
}

/// When an end may be set: the end that stands, or none, and the new one.
type Condition = fn(Option<Timestamp>, Timestamp) -> bool;

/// No end is later than any end.
const CONDITIONS: [(&str, Condition); 4] = [
    ("NX", |standing, _| standing.is_none()),
    ("XX", |standing, _| standing.is_some()),
    ("GT", |standing, at| standing.is_some_and(|standing| at > standing)),
    ("LT", |standing, at| standing.is_none_or(|standing| at < standing)),
];

fn end_fields(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
    name: &str,
    unit_ms: i64,
    from_ms: i64,
) -> Result<()> {
    let key = args.next()?;
    let schema = ctx.keyspace.schema();
    must_be_plain_hash(&schema, key)?;
    let results = write_plain(ctx, key, |row, locked| {
        // Redis looks at the type of the value before it reads on.
        let hash = hash_of(row, locked.now)?;
        let at = field_end(args.next()?, unit_ms, from_ms, name)?;
        let condition = CONDITIONS.iter().find(|(word, _)| args.take_word(word));
        let names = named_fields(args, "Parameter `numFields` should be greater than 0")?;
        let mut ends = Ends::new(hash);
        let is_over = at <= locked.now;
        let mut set = |name| match ends.standing(name) {
            None => NO_FIELD,
            Some(standing) if condition.is_some_and(|(_, holds)| !holds(standing, at)) => UNWANTED,
            Some(_) if is_over => {
                ends.change(name, None);
                DELETED
            }
            Some(_) => {
                ends.change(name, Some(Some(at)));
                CHANGED
            }
        };
        let results: Vec<i64> = names.into_iter().map(&mut set).collect();
        Ok((ends.into_change((!is_over).then_some(Some(at))), results))
    })?;
    reply_all(&results, reply);
    Ok(())
}

/// `HPERSIST key FIELDS n field ...`: per field 1 if its end was taken away, −1 if it had none, −2
/// without the field.
pub(super) fn hpersist(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let key = args.next()?;
    let schema = ctx.keyspace.schema();
    must_be_plain_hash(&schema, key)?;
    let results = write_plain(ctx, key, |row, locked| {
        let hash = hash_of(row, locked.now)?;
        let names = named_fields(args, NOT_A_COUNT)?;
        let mut ends = Ends::new(hash);
        let mut persist = |name| match ends.standing(name) {
            None => NO_FIELD,
            Some(None) => NO_END,
            Some(Some(_)) => {
                ends.change(name, Some(None));
                CHANGED
            }
        };
        let results: Vec<i64> = names.into_iter().map(&mut persist).collect();
        Ok((ends.into_change(Some(None)), results))
    })?;
    reply_all(&results, reply);
    Ok(())
}

/// Refuses the keys of registered entities for a command that changes ends of fields.
pub(super) fn must_be_plain_hash(schema: &Schema, key: &[u8]) -> Result<()> {
    match schema.catalog.entity_of_key(key) {
        Some(entity) => {
            Err(not_for_entities("TTL belongs to the feature view, not to a field", entity))
        }
        None => Ok(()),
    }
}

/// The ends of the fields of a hash while a command changes them: it may name a field twice, and
/// then meets what it did before.
pub(super) struct Ends<'a> {
    hash: Option<PlainHash<'a>>,
    hint: usize,
    /// `None`: deleted; `Some(None)`: without an end.
    changed: HashMap<&'a [u8], Option<Option<Timestamp>>, ahash::RandomState>,
}

impl<'a> Ends<'a> {
    pub(super) fn new(hash: Option<PlainHash<'a>>) -> Self {
        Self { hash, hint: 0, changed: HashMap::default() }
    }

    /// The end of a field, `Some(None)` without one; `None` without the field.
    pub(super) fn standing(&mut self, name: &[u8]) -> Option<Option<Timestamp>> {
        match self.changed.get(name) {
            Some(changed) => *changed,
            None => self.hash?.field(name, &mut self.hint).map(|field| field.end),
        }
    }

    /// Notes what becomes of a field.
    pub(super) fn change(&mut self, name: &'a [u8], end: Option<Option<Timestamp>>) {
        self.changed.insert(name, end);
    }

    /// What was noted, which is the same for all: `at` is their end, or they are deleted.
    pub(super) fn into_change(self, at: Option<Option<Timestamp>>) -> Option<PlainChange> {
        let is_changed = !self.changed.is_empty();
        let names: Vec<ByteBuf> = self.changed.into_keys().map(ByteBuf::from).collect();
        let change = match at {
            Some(at) => PlainChange::EndFields { names, at },
            None => PlainChange::DeleteFields(names),
        };
        is_changed.then_some(change)
    }
}

/// `HTTL key FIELDS n field ...`: per field the seconds to its end, −1 without an end, −2 without
/// the field. A feature of a registered entity ends when the TTL of its view hides it.
pub(super) fn httl(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let from_ms = whole_ms(ctx.now);
    // Redis rounds up here.
    reply_ends(ctx, args, reply, |ms| (ms - from_ms).saturating_add(999) / 1_000)
}

/// `HPTTL key FIELDS n field ...`: likewise in milliseconds.
pub(super) fn hpttl(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let from_ms = whole_ms(ctx.now);
    reply_ends(ctx, args, reply, |ms| ms - from_ms)
}

/// `HEXPIRETIME key FIELDS n field ...`: per field the second since 1970 of its end, likewise.
pub(super) fn hexpiretime(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    reply_ends(ctx, args, reply, |ms| ms.saturating_add(999) / 1_000)
}

/// `HPEXPIRETIME key FIELDS n field ...`: likewise the millisecond.
pub(super) fn hpexpiretime(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    reply_ends(ctx, args, reply, |ms| ms)
}

fn reply_ends(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
    tell: impl Fn(i64) -> i64,
) -> Result<()> {
    let (key, schema, now) = (args.next()?, ctx.keyspace.schema(), ctx.now);
    let tell = |end: Option<Option<Timestamp>>| match end {
        None => NO_FIELD,
        Some(None) => NO_END,
        Some(Some(end)) => tell(whole_ms(end)),
    };
    let mut results = Vec::new();
    if let Some((entity, key)) = entity_of(&schema, key) {
        let plan = schema.plan(entity, named_fields(args, NOT_A_COUNT)?);
        let seen = ctx.seen();
        ctx.keyspace.read_entity(&key, seen, |row| {
            let end = |cell: &PlanCell| {
                let read = cell.read(row, now);
                let event = read.event.filter(|_| read.status == Status::Present)?;
                Some(cell.view.ttl.map(|ttl| event.plus_us(ttl.us().min(i64::MAX.into()) as i64)))
            };
            let ends = plan.cells.iter().map(|cell| cell.as_ref().and_then(end));
            results.extend(ends.map(tell));
        });
    } else {
        ctx.read_plain(key, |row| -> Result<()> {
            let mut ends = Ends::new(hash_of(row, now)?);
            let names = named_fields(args, NOT_A_COUNT)?;
            results.extend(names.into_iter().map(|name| tell(ends.standing(name))));
            Ok(())
        })?;
    }
    reply_all(&results, reply);
    Ok(())
}

fn reply_all(results: &[i64], reply: &mut Reply<'_>) {
    reply.array(results.len());
    results.iter().for_each(|result| reply.integer(*result));
}
