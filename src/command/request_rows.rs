//! The rows that a request asks for: `ROWS m value ...`.

use super::arguments::Args;
use crate::error::{Error, Result};
use std::slice::ChunksExact;

/// A text of a join key; `None` for null.
pub(super) type KeyText<'a> = Option<&'a [u8]>;

/// Rows of texts, one per join key, in one piece of memory.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    texts: Vec<KeyText<'a>>,
    /// How many texts a row has; at least one.
    width: usize,
}

impl<'a> Rows<'a> {
    /// Takes `ROWS m value ...`: at least one row of `width` values, and at most `most`.
    pub(super) fn parse(args: &mut Args<'a>, width: usize, most: usize) -> Result<Self> {
        if !args.take_word("ROWS") {
            return Err(Error::refused("expected ROWS m value ... here"));
        }
        let count = args.integer()?;
        let count = usize::try_from(count).ok().filter(|count| (1..=most).contains(count));
        let count = count.ok_or_else(|| {
            Error::refused(format!("the number of rows must be from 1 to {most}"))
        })?;
        let needed = count.checked_mul(width).filter(|needed| *needed <= args.len());
        let needed = needed.ok_or_else(|| {
            Error::refused(format!(
                "{count} rows of {width} values each need more than the {} arguments that follow",
                args.len()
            ))
        })?;
        let texts = args.take(needed).into_iter().map(Some).collect();
        Ok(Self { texts, width: width.max(1) })
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.texts.len() / self.width
    }

    /// Each row.
    pub(super) fn iter(&self) -> ChunksExact<'_, KeyText<'a>> {
        self.texts.chunks_exact(self.width)
    }
}
