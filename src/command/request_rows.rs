//! The rows that a request asks for: `ROWS m value ...`.

use super::arguments::Args;
use crate::error::{Error, Result};

/// A text of a join key; `None` for null.
pub type KeyText<'a> = Option<&'a [u8]>;

/// The texts of one row, one per join key.
#[derive(Clone, Copy, Debug)]
pub enum KeyRow<'a> {
    /// Given one by one.
    Texts(&'a [KeyText<'a>]),
    /// The arguments that come next.
    Arguments(ArgumentRow<'a>),
}

/// A row of arguments.
#[derive(Clone, Copy, Debug)]
pub struct ArgumentRow<'a> {
    args: Args<'a>,
    width: usize,
}

impl<'a> KeyRow<'a> {
    /// The text in this column; `None` as well where there is no such column.
    #[inline]
    pub(super) fn get(&self, column: usize) -> KeyText<'a> {
        match self {
            Self::Texts(texts) => texts.get(column).copied().flatten(),
            Self::Arguments(row) => row.args.peek(column).filter(|_| column < row.width),
        }
    }
}

/// Rows of texts, one per join key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    /// They come next.
    args: Args<'a>,
    count: usize,
    /// How many texts a row has.
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
        let rows = Self { args: *args, count, width };
        args.skip(needed);
        Ok(rows)
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Each row.
    pub(super) fn iter(&self) -> impl Iterator<Item = KeyRow<'a>> + Clone + use<'a> {
        self.iter_from(0)
    }

    /// Each row from that one on.
    pub(super) fn iter_from(
        &self,
        first: usize,
    ) -> impl Iterator<Item = KeyRow<'a>> + Clone + use<'a> {
        let Self { args, count, width } = *self;
        (first..count).map(move |row| {
            let mut args = args;
            args.skip(row * width);
            KeyRow::Arguments(ArgumentRow { args, width })
        })
    }
}
