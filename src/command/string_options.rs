//! The options of SET and GETEX, and when a key ends that a command gives an end.

use super::arguments::{Args, not_an_integer, syntax};
use crate::{
    error::{Error, Result},
    feature::Timestamp,
};
use nowthen_protocol::parse_integer;

/// An end as options give it: word, milliseconds per unit, whether it counts from now.
type Unit = (&'static str, i64, bool);
const UNITS: [Unit; 4] =
    [("EX", 1_000, true), ("PX", 1, true), ("EXAT", 1_000, false), ("PXAT", 1, false)];

/// What `SET` was asked for beside key and value.
#[derive(Debug, Default)]
pub(super) struct SetOptions<'a> {
    pub(super) end: Option<End<'a>>,
    pub(super) keeps_ttl: bool,
    pub(super) only_if_absent: bool,
    pub(super) only_if_there: bool,
    pub(super) returns_old: bool,
}

/// What `GETEX` was asked for.
#[derive(Debug, Default)]
pub(super) struct GetexOptions<'a> {
    pub(super) end: Option<End<'a>>,
    pub(super) persists: bool,
}

/// An end that was named but not looked at yet: Redis does that later, with checks in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct End<'a> {
    unit: Unit,
    count: &'a [u8],
}

impl<'a> SetOptions<'a> {
    /// `[NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]`, in any order.
    pub(super) fn parse(args: &mut Args<'a>) -> Result<Self> {
        let mut options = Self::default();
        while !args.is_empty() {
            if !options.only_if_there && args.take_word("NX") {
                options.only_if_absent = true;
            } else if !options.only_if_absent && args.take_word("XX") {
                options.only_if_there = true;
            } else if args.take_word("GET") {
                options.returns_old = true;
            } else if options.end.is_none() && args.take_word("KEEPTTL") {
                options.keeps_ttl = true;
            } else if options.keeps_ttl {
                return Err(syntax());
            } else {
                options.end = Some(End::parse(options.end, args)?);
            }
        }
        Ok(options)
    }
}

impl<'a> GetexOptions<'a> {
    /// `[EX s | PX ms | EXAT s | PXAT ms | PERSIST]`.
    pub(super) fn parse(args: &mut Args<'a>) -> Result<Self> {
        let mut options = Self::default();
        while !args.is_empty() {
            if options.end.is_none() && args.take_word("PERSIST") {
                options.persists = true;
            } else if options.persists {
                return Err(syntax());
            } else {
                options.end = Some(End::parse(options.end, args)?);
            }
        }
        Ok(options)
    }
}

impl<'a> End<'a> {
    /// The next two arguments; a word may come again, and then the last one counts.
    fn parse(earlier: Option<Self>, args: &mut Args<'a>) -> Result<Self> {
        for unit in UNITS {
            let is_free = earlier.is_none_or(|earlier| earlier.unit == unit);
            if is_free && args.take_word(unit.0) {
                return Ok(Self { unit, count: args.next()? });
            }
        }
        Err(syntax())
    }

    /// The instant it means.
    pub(super) fn at(self, now: Timestamp, command: &str) -> Result<Timestamp> {
        let (_, unit_ms, is_relative) = self.unit;
        end_of_life(self.count, unit_ms, if is_relative { whole_ms(now) } else { 0 }, command)
    }

    /// Whether it is given as an instant; then it may have passed.
    pub(super) fn is_absolute(self) -> bool {
        !self.unit.2
    }
}

/// The instant that lies so many units behind `from_ms`, which must lie in the future of it.
pub(super) fn end_of_life(
    count: &[u8],
    unit_ms: i64,
    from_ms: i64,
    command: &str,
) -> Result<Timestamp> {
    let count = parse_integer(count).ok_or_else(not_an_integer)?;
    let ms = count.checked_mul(unit_ms).filter(|ms| *ms > 0);
    let us = ms.and_then(|ms| ms.checked_add(from_ms)).and_then(|ms| ms.checked_mul(1_000));
    us.map(Timestamp).ok_or_else(|| invalid_end(command))
}

/// The millisecond of an instant: what Redis counts in.
pub(super) fn whole_ms(instant: Timestamp) -> i64 {
    instant.us().div_euclid(1_000)
}

pub(super) fn invalid_end(command: &str) -> Error {
    Error::refused(format!("invalid expire time in '{command}' command"))
}
