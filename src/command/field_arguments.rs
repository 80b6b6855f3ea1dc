//! What the commands for ends of fields have in common: how they name fields and ends, with the
//! error texts of Redis.

use super::{
    arguments::{Args, not_an_integer, wrong_arity},
    string_options::{invalid_end, whole_ms},
};
use crate::{
    error::{ECHO_BYTES_MAX, Error, Result},
    feature::Timestamp,
};
use nowthen_protocol::parse_integer;

/// The last millisecond since 1970 that may be the end of a field, in the year 4199: Redis has 46
/// bits for it.
const END_MS_MAX: i64 = (1 << 46) - 1;
/// What is wrong with a count of fields, but for HEXPIRE and its like, which say it differently.
pub(super) const NOT_A_COUNT: &str = "Number of fields must be a positive integer";
/// The words of an end: milliseconds per unit, and whether it counts from now.
const UNITS: [(&str, i64, bool); 4] =
    [("EX", 1_000, true), ("PX", 1, true), ("EXAT", 1_000, false), ("PXAT", 1, false)];
/// The words of HSETEX that tell of an end, of which one may stand.
const END_WORDS: [&str; 5] = ["EX", "PX", "EXAT", "PXAT", "KEEPTTL"];

/// `FIELDS n field ...`, and nothing behind it. `not_a_count` tells what is wrong with a count that
/// is no number above 0.
pub(super) fn named_fields<'a>(args: &mut Args<'a>, not_a_count: &str) -> Result<Vec<&'a [u8]>> {
    if !args.take_word("FIELDS") {
        let why = "Mandatory argument FIELDS is missing or not at the right position";
        return Err(Error::refused(why));
    }
    let count = args.pop().and_then(parse_integer).filter(|count| *count > 0);
    let count = count.ok_or_else(|| Error::refused(not_a_count))?;
    if usize::try_from(count) != Ok(args.len()) {
        return Err(Error::refused("The `numfields` parameter must match the number of arguments"));
    }
    Ok(args.rest().collect())
}

/// The instant that lies so many units behind `from_ms`; it may have passed.
pub(super) fn field_end(
    count: &[u8],
    unit_ms: i64,
    from_ms: i64,
    command: &str,
) -> Result<Timestamp> {
    let count = parse_integer(count).ok_or_else(not_an_integer)?;
    if count < 0 {
        return Err(Error::refused("invalid expire time, must be >= 0"));
    }
    let ms = count.checked_mul(unit_ms).and_then(|ms| ms.checked_add(from_ms));
    let us = ms.filter(|ms| *ms <= END_MS_MAX).and_then(|ms| ms.checked_mul(1_000));
    us.map(Timestamp).ok_or_else(|| invalid_end(command))
}

/// What becomes of the ends of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewEnd {
    /// They end then; it may have passed.
    At(Timestamp),
    /// They have none any more.
    Never,
    /// Each keeps its own.
    Kept,
}

/// `[EX s | PX ms | EXAT s | PXAT ms]`, if it stands here.
fn end_option(args: &mut Args<'_>, now: Timestamp, command: &str) -> Option<Result<NewEnd>> {
    let (_, unit_ms, is_relative) = *UNITS.iter().find(|unit| args.take_word(unit.0))?;
    let from_ms = if is_relative { whole_ms(now) } else { 0 };
    let end = args.pop().map(|count| field_end(count, unit_ms, from_ms, command));
    let end = end.unwrap_or_else(|| Err(Error::refused("missing expire time")));
    Some(end.map(NewEnd::At))
}

/// What `HGETEX` was asked for.
#[derive(Debug)]
pub(super) struct GetRequest<'a> {
    pub(super) end: NewEnd,
    pub(super) names: Vec<&'a [u8]>,
}

impl<'a> GetRequest<'a> {
    /// `[EX s | PX ms | EXAT s | PXAT ms | PERSIST] FIELDS n field ...`
    pub(super) fn parse(args: &mut Args<'a>, now: Timestamp) -> Result<Self> {
        let end = match end_option(args, now, "hgetex") {
            Some(end) => end?,
            None if args.take_word("PERSIST") => NewEnd::Never,
            None => NewEnd::Kept,
        };
        let names = named_fields(args, NOT_A_COUNT)?;
        Ok(Self { end, names })
    }
}

/// What `HSETEX` was asked for.
#[derive(Debug)]
pub(super) struct SetRequest<'a> {
    pub(super) end: NewEnd,
    pub(super) only_if_none: bool,
    pub(super) only_if_all: bool,
    /// Names and values; a name may come twice.
    pub(super) fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> SetRequest<'a> {
    /// `[FNX | FXX] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL] FIELDS n field value ...`
    pub(super) fn parse(args: &mut Args<'a>, now: Timestamp) -> Result<Self> {
        let mut request = Self {
            end: NewEnd::Never,
            only_if_none: false,
            only_if_all: false,
            fields: Vec::new(),
        };
        let mut end = None;
        while !args.is_empty() {
            if args.take_word("FIELDS") {
                request.end = end.unwrap_or(NewEnd::Never);
                request.fields = fields_and_values(args)?;
                return Ok(request);
            } else if args.is_next("FXX") || args.is_next("FNX") {
                if request.only_if_none || request.only_if_all {
                    let why = "Only one of FXX or FNX arguments can be specified";
                    return Err(Error::refused(why));
                }
                request.only_if_all = args.take_word("FXX");
                request.only_if_none = !request.only_if_all && args.take_word("FNX");
            } else if END_WORDS.iter().any(|word| args.is_next(word)) {
                if end.is_some() {
                    let why =
                        "Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified";
                    return Err(Error::refused(why));
                }
                let is_kept = args.take_word("KEEPTTL");
                let given = (!is_kept).then(|| end_option(args, now, "hsetex")).flatten();
                end = Some(given.unwrap_or(Ok(NewEnd::Kept))?);
            } else {
                return Err(unknown_argument(args.next()?));
            }
        }
        Err(wrong_arity("hsetex"))
    }
}

fn fields_and_values<'a>(args: &mut Args<'a>) -> Result<Vec<(&'a [u8], &'a [u8])>> {
    if args.len() < 3 {
        return Err(wrong_arity("hsetex"));
    }
    let count =
        parse_integer(args.next()?).filter(|count| (1..=i64::from(i32::MAX)).contains(count));
    let count = count.ok_or_else(|| Error::refused("invalid number of fields"))?;
    if !args.len().is_multiple_of(2) || usize::try_from(count) != Ok(args.len() / 2) {
        return Err(wrong_arity("hsetex"));
    }
    let mut fields = Vec::with_capacity(args.len() / 2);
    while let (Some(name), Some(value)) = (args.pop(), args.pop()) {
        fields.push((name, value));
    }
    Ok(fields)
}

fn unknown_argument(argument: &[u8]) -> Error {
    let cut = argument.get(..ECHO_BYTES_MAX).unwrap_or(argument);
    Error::refused(format!("unknown argument: {}", String::from_utf8_lossy(cut)))
}
