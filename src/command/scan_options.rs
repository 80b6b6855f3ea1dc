//! What SCAN and HSCAN may have as arguments.

use super::arguments::{Args, syntax};
use crate::error::{Error, Result};

/// So many elements a step returns unless it is told otherwise.
const COUNT: usize = 10;

/// The options of a step.
#[derive(Debug)]
pub(super) struct ScanOptions<'a> {
    pub(super) pattern: Option<&'a [u8]>,
    pub(super) count: usize,
    pub(super) type_name: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    /// `[MATCH pattern] [COUNT n] [TYPE type]`, the last one only of keys.
    pub(super) fn parse(args: &mut Args<'a>, is_of_keys: bool) -> Result<Self> {
        let mut options = Self { pattern: None, count: COUNT, type_name: None };
        while !args.is_empty() {
            if args.len() > 1 && args.take_word("COUNT") {
                let count = usize::try_from(args.integer()?).ok().filter(|count| *count > 0);
                options.count = count.ok_or_else(syntax)?;
            } else if args.take_word("MATCH") {
                options.pattern = Some(args.next()?);
            } else if is_of_keys && args.take_word("TYPE") {
                options.type_name = Some(args.next()?);
            } else {
                return Err(syntax());
            }
        }
        Ok(options)
    }
}

/// Reads a cursor as C does: nothing is 0, and a sign may stand before it.
pub(super) fn parse_cursor(text: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(text).unwrap_or("?");
    let negative = text.strip_prefix('-');
    let digits = negative.or_else(|| text.strip_prefix('+')).unwrap_or(text);
    let cursor = match digits {
        "" if text.is_empty() => Some(0),
        _ if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits.parse::<u64>().ok(),
        _ => None,
    };
    let cursor = cursor.ok_or_else(|| Error::refused("invalid cursor"))?;
    Ok(if negative.is_some() { cursor.wrapping_neg() } else { cursor })
}
