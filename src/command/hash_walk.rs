//! Walks over the fields of a hash: step by step, or at random.

use super::{
    arguments::{Args, is_word, syntax},
    context::Context,
    hashes::{FieldValue, every_field},
    pattern::matches,
    random::Random,
    scan_options::{ScanOptions, parse_cursor},
};
use crate::error::{Error, Result};
use nowthen_protocol::{ProtocolVersion, Reply};

/// A hash of so many fields at most is walked in one step.
const ONE_STEP_FIELDS_MAX: usize = 64;
/// A step looks at every field, so it returns at least this part of them: a walk over all costs no
/// more than so many steps.
const STEPS_MAX: usize = 64;
/// So many fields at most come from a negative count, which may name one field again and again.
const REPEATED_FIELDS_MAX: usize = 1024 * 1024;

/// `HSCAN key cursor [MATCH pattern] [COUNT n]`: the next cursor, and some fields with their
/// values. A field that is there from the first step to the last is returned.
pub(super) fn hscan(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let key = args.next()?;
    let cursor = parse_cursor(args.next()?)?;
    let hasher = ctx.keyspace;
    let (mut result, mut names, mut bytes) = (Ok(()), 0, Vec::new());
    let mut step = Reply::new(&mut bytes, reply.version());
    let mut next_cursor = 0;
    every_field(ctx, key, |all, scratch| {
        if all.is_empty() {
            return;
        }
        let options = match ScanOptions::parse(args, false) {
            Ok(options) => options,
            Err(error) => {
                result = Err(error);
                return;
            }
        };
        // The order of a walk is that of the hashes of the names, which no write changes.
        let mut fields: Vec<(u64, &(&[u8], FieldValue<'_>))> =
            all.iter().map(|field| (hasher.hash(field.0), field)).collect();
        if all.len() > ONE_STEP_FIELDS_MAX || cursor != 0 {
            fields.retain(|(place, _)| *place >= cursor);
            fields.sort_unstable_by_key(|(place, _)| *place);
            let count = options.count.max(all.len() / STEPS_MAX);
            if let Some((place, _)) = fields.get(count) {
                // Cursor 0 begins anew; the field of that place is of the first step anyway.
                next_cursor = (*place).max(1);
                // Fields of one hash are one step: a cursor could not stand between them.
                fields.retain(|(place, _)| *place < next_cursor);
            }
        }
        for (_, (name, value)) in fields {
            if options.pattern.is_none_or(|pattern| matches(pattern, name)) {
                step.bulk(name);
                value.write(scratch, &mut step);
                names += 1;
            }
        }
    })?;
    result?;
    reply.array(2);
    reply.bulk_text(&next_cursor.to_string());
    reply.array(2 * names);
    reply.append(&bytes);
    Ok(())
}

/// `HRANDFIELD key [count [WITHVALUES]]`: a field, or `count` different ones; with a negative count
/// so many, of which one may come twice.
pub(super) fn hrandfield(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (key, mut random) = (args.next()?, Random::unforeseen()?);
    if args.is_empty() {
        return every_field(ctx, key, |all, _| match all.get(random.below(all.len())) {
            Some((name, _)) => reply.bulk(name),
            None => reply.null(),
        });
    }
    let (count, has_values) = (args.integer()?, !args.is_empty());
    if count == i64::MIN {
        let (low, high) = (-i64::MAX, i64::MAX);
        let why = format!("value is out of range, value must between {low} and {high}");
        return Err(Error::refused(why));
    }
    if args.len() > 1 || args.rest().any(|word| !is_word(word, "WITHVALUES")) {
        return Err(syntax());
    }
    if has_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(Error::refused("value is out of range"));
    }
    let is_too_many = count < 0 && count.unsigned_abs() > REPEATED_FIELDS_MAX as u64;
    let mut result = Ok(());
    every_field(ctx, key, |all, scratch| {
        let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        let picked: Vec<usize> = if count > 0 {
            distinct(wanted.min(all.len()), all.len(), &mut random)
        } else if all.is_empty() {
            Vec::new()
        } else if is_too_many {
            let why = format!("HRANDFIELD repeats at most {REPEATED_FIELDS_MAX} fields");
            result = Err(Error::refused(why));
            return;
        } else {
            (0..wanted).map(|_| random.below(all.len())).collect()
        };
        let is_paired = has_values && reply.version() == ProtocolVersion::Resp3;
        reply.array(picked.len() * if has_values && !is_paired { 2 } else { 1 });
        for (name, value) in picked.into_iter().filter_map(|place| all.get(place)) {
            if is_paired {
                reply.array(2);
            }
            reply.bulk(name);
            if has_values {
                value.write(scratch, reply);
            }
        }
    })?;
    result
}

/// `count` different numbers below `bound`, in random order.
fn distinct(count: usize, bound: usize, random: &mut Random) -> Vec<usize> {
    let mut all: Vec<usize> = (0..bound).collect();
    for place in 0..count {
        all.swap(place, place + random.below(bound - place));
    }
    all.truncate(count);
    all
}
