//! Fields of hashes that are written depending on the value they have. Of registered entities the
//! value is the feature a client sees, and the type of the feature decides what may be added.

use super::{
    arguments::Args,
    context::{Context, entity_of},
    long_double::{LongDouble, Parsed, parse},
    plain::{hash_of, write_plain},
    string_numbers::{not_a_float, not_finite, overflow},
};
use crate::{
    error::{Error, Result},
    feature::{EndingField, PlainChange, Value},
    online::ValueRef,
    store::PlanCell,
};
use nowthen_protocol::{Reply, parse_integer};
use serde_bytes::ByteBuf;

/// `HSTRLEN key field`: how many bytes the value has; 0 without it.
pub(super) fn hstrlen(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let key = args.next()?;
    let schema = ctx.keyspace.schema();
    let (mut bytes, mut is_there) = (0, false);
    if let Some((entity, key)) = entity_of(&schema, key) {
        let plan = ctx.plan_of_rest(&schema, entity, args);
        let (seen, now) = (ctx.seen(), ctx.now);
        let text = &mut ctx.session.scratch;
        ctx.keyspace.get_online_features(&key, &plan, now, seen, |read| {
            text.clear();
            is_there = read.value.is_some();
            read.value.into_iter().for_each(|value| value.write_text(text));
            bytes = text.len();
        });
        ctx.session.looked_up(is_there);
    } else {
        let (field, now) = (args.next()?, ctx.now);
        bytes = ctx.read_plain(key, |row| {
            let value = hash_of(row, now)?.and_then(|hash| hash.get(field, &mut 0));
            Ok(value.map_or(0, <[u8]>::len))
        })?;
    }
    reply.integer(bytes as i64);
    Ok(())
}

/// `HSETNX key field value`: 1 if it is set, 0 if the field had a value.
pub(super) fn hsetnx(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (key, field, value) = (args.next()?, args.next()?, args.next()?);
    let set_feature = |cell: &PlanCell, old: Option<ValueRef<'_>>| {
        let new = cell.parse(value)?;
        Ok((old.is_none().then_some(new), old.is_none()))
    };
    let set_field = |old: Option<&[u8]>| Ok((old.is_none().then(|| value.into()), old.is_none()));
    let is_set = change_field(ctx, key, field, set_feature, set_field)?;
    reply.integer(i64::from(is_set));
    Ok(())
}

/// `HINCRBY key field n`: the number, `n` higher.
pub(super) fn hincrby(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (key, field, count) = (args.next()?, args.next()?, args.integer()?);
    let add_to_feature = |cell: &PlanCell, old: Option<ValueRef<'_>>| {
        // What stands there if nothing does has the type of the feature.
        let old = old.and_then(ValueRef::to_value).map_or_else(|| cell.parse(b"0"), Ok);
        let (new, sum) = match old {
            Ok(Value::Int64(old)) => {
                let sum = old.checked_add(count).ok_or_else(overflow)?;
                (Value::Int64(sum), sum)
            }
            Ok(Value::Int32(old)) => {
                let sum = i64::from(old).checked_add(count).ok_or_else(overflow)?;
                (Value::Int32(i32::try_from(sum).map_err(|_| overflow())?), sum)
            }
            _ => return Err(not_addable("HINCRBY adds to int32 and int64", cell)),
        };
        Ok((Some(new), sum))
    };
    let add_to_field = |old: Option<&[u8]>| {
        let not_a_number = || Error::refused("hash value is not an integer");
        let old = old.map_or(Some(0), parse_integer).ok_or_else(not_a_number)?;
        let sum = old.checked_add(count).ok_or_else(overflow)?;
        Ok((Some(sum.to_string().into_bytes()), sum))
    };
    let sum = change_field(ctx, key, field, add_to_feature, add_to_field)?;
    reply.integer(sum);
    Ok(())
}

/// `HINCRBYFLOAT key field n`: the number, `n` higher, as text.
pub(super) fn hincrbyfloat(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (key, field, text) = (args.next()?, args.next()?, args.next()?);
    let count = match parse(text).ok_or_else(not_a_float)? {
        Parsed::Finite(count) => count,
        Parsed::Infinite => return Err(Error::refused("value is NaN or Infinity")),
    };
    let add_to_feature = |cell: &PlanCell, old: Option<ValueRef<'_>>| {
        let old = old.and_then(ValueRef::to_value).map_or_else(|| cell.parse(b"0"), Ok);
        let count: f64 = count.text().parse().map_err(|_| not_a_float())?;
        let (new, is_finite) = match old {
            Ok(Value::Float64(old)) => (Value::Float64(old + count), (old + count).is_finite()),
            Ok(Value::Float32(old)) => {
                let sum = (f64::from(old) + count) as f32;
                (Value::Float32(sum), sum.is_finite())
            }
            _ => return Err(not_addable("HINCRBYFLOAT adds to float32 and float64", cell)),
        };
        let mut sum = Vec::new();
        new.write_text(&mut sum);
        if is_finite { Ok((Some(new), sum)) } else { Err(not_finite()) }
    };
    let add_to_field = |old: Option<&[u8]>| {
        let not_a_number = || Error::refused("hash value is not a float");
        let sum = match parse(old.unwrap_or(b"0")).ok_or_else(not_a_number)? {
            Parsed::Finite(old) => old.plus(count).map(LongDouble::text),
            Parsed::Infinite => None,
        };
        let sum = sum.ok_or_else(not_finite)?.into_bytes();
        Ok((Some(sum.clone()), sum))
    };
    let sum = change_field(ctx, key, field, add_to_feature, add_to_field)?;
    reply.bulk(&sum);
    Ok(())
}

/// Decides about one field of either tier: the value it has, to a new one and an answer. The end of
/// life that a field has stays.
fn change_field<T>(
    ctx: &mut Context<'_>,
    key: &[u8],
    field: &[u8],
    of_feature: impl FnOnce(&PlanCell, Option<ValueRef<'_>>) -> Result<(Option<Value>, T)>,
    of_field: impl FnOnce(Option<&[u8]>) -> Result<(Option<Vec<u8>>, T)>,
) -> Result<T> {
    let schema = ctx.keyspace.schema();
    if let Some(entity) = schema.catalog.entity_of_key(key) {
        let committed = ctx.keyspace.change_feature(&schema, entity, key, field, of_feature)?;
        return Ok(ctx.committed(committed));
    }
    write_plain(ctx, key, |row, locked| {
        let hash = hash_of(row, locked.now)?;
        let old = hash.and_then(|hash| hash.field(field, &mut 0));
        let (new, answer) = of_field(old.map(|old| old.value))?;
        let change = new.map(|new| match (hash, old.and_then(|old| old.end)) {
            (None, _) => PlainChange::SetHash(vec![(ByteBuf::from(field), new.into())]),
            (Some(_), None) => PlainChange::SetFields(vec![(ByteBuf::from(field), new.into())]),
            (Some(_), end) => {
                let field = EndingField { name: ByteBuf::from(field), value: new.into(), end };
                PlainChange::SetEndingFields { is_whole: false, fields: vec![field] }
            }
        });
        Ok((change, answer))
    })
}

fn not_addable(what: &str, cell: &PlanCell) -> Error {
    let feature = cell.view.features.get(cell.feature);
    let (name, value_type) = feature
        .map_or(("", String::new()), |feature| (&*feature.name, feature.value_type.to_string()));
    let view = &cell.view.name;
    Error::refused(format!("{what} features; {view}:{name} is {value_type}"))
}
