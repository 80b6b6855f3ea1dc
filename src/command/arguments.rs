//! The arguments of a command, taken one after the other, with Redis' error texts.

use crate::{
    error::{Error, Result, echo},
    feature::Timestamp,
};
use nowthen_protocol::{Arguments, parse_integer};
use std::num::NonZeroU64;

/// What is left of a command's arguments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Args<'a> {
    all: Arguments<'a>,
    next: usize,
}

impl<'a> Args<'a> {
    /// Everything behind the name of the command.
    pub(super) fn new(all: Arguments<'a>) -> Self {
        Self { all, next: 1 }
    }

    /// How many are left.
    pub(super) fn len(&self) -> usize {
        self.all.len().saturating_sub(self.next)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next one, if there is one.
    pub(super) fn pop(&mut self) -> Option<&'a [u8]> {
        let argument = self.all.get(self.next)?;
        self.next += 1;
        Some(argument)
    }

    /// The next one, which must be there.
    pub(super) fn next(&mut self) -> Result<&'a [u8]> {
        self.pop().ok_or_else(syntax)
    }

    /// The one behind so many, without taking any.
    #[inline]
    pub(super) fn peek(&self, behind: usize) -> Option<&'a [u8]> {
        self.all.get(self.next.checked_add(behind)?)
    }

    /// Passes over the next `count`.
    pub(super) fn skip(&mut self, count: usize) {
        self.next = self.next.saturating_add(count);
    }

    /// The next one as text.
    pub(super) fn text(&mut self, what: &str) -> Result<&'a str> {
        let bytes = self.next()?;
        std::str::from_utf8(bytes)
            .map_err(|_| Error::refused(format!("{what} {} is not UTF-8", echo(bytes))))
    }

    /// The next one as a whole number.
    pub(super) fn integer(&mut self) -> Result<i64> {
        parse_integer(self.next()?).ok_or_else(not_an_integer)
    }

    /// The next one as an instant.
    pub(super) fn time(&mut self) -> Result<Timestamp> {
        Timestamp::parse(self.text("time")?)
    }

    /// The next one if it is this word, in any case.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let is_it = self.is_next(word);
        self.next += usize::from(is_it);
        is_it
    }

    /// Whether the next one is this word, in any case.
    pub(super) fn is_next(&self, word: &str) -> bool {
        self.all.get(self.next).is_some_and(|next| is_word(next, word))
    }

    /// A count and as many arguments as it says: `FEATURES n f ...`.
    ///
    /// The count is believed only as far as there are arguments.
    pub(super) fn counted(&mut self, what: &str) -> Result<Vec<&'a [u8]>> {
        let count = parse_integer(self.next()?).and_then(|count| usize::try_from(count).ok());
        let count = count.filter(|count| (1..=self.len()).contains(count)).ok_or_else(|| {
            Error::refused(format!(
                "the number of {what} must be from 1 to the {} arguments that follow",
                self.len()
            ))
        })?;
        Ok(self.take(count))
    }

    /// The next `count`, or as many as there are.
    pub(super) fn take(&mut self, count: usize) -> Vec<&'a [u8]> {
        (0..count).map_while(|_| self.pop()).collect()
    }

    /// Takes all of `words` if they come next.
    pub(super) fn take_all(&mut self, words: &[Box<[u8]>]) -> bool {
        let is_next = self.len() >= words.len()
            && self.rest().zip(words).all(|(argument, word)| argument == &**word);
        self.next += if is_next { words.len() } else { 0 };
        is_next
    }

    /// All that are left, without taking them.
    pub(super) fn rest(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        self.all.iter().skip(self.next)
    }

    /// All that are left, two by two, without taking them; they are of an even number.
    pub(super) fn in_pairs(
        &self,
    ) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone + use<'a> {
        let Self { all, next } = *self;
        let argument = move |index: usize| all.get(next + index).unwrap_or_default();
        (0..self.len() / 2).map(move |pair| (argument(2 * pair), argument(2 * pair + 1)))
    }

    /// The number of the list that all that are left are, if it is known: see
    /// [`Arguments::list`].
    pub(super) fn rest_list(&self) -> Option<NonZeroU64> {
        self.all.list().filter(|_| self.next == 2)
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<()> {
        if self.is_empty() { Ok(()) } else { Err(syntax()) }
    }
}

/// Whether `argument` is `word`, in any case.
pub(super) fn is_word(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// The number of a database must be 0: there is no other.
pub(super) fn check_database(text: &[u8]) -> Result<()> {
    let number = parse_integer(text).ok_or_else(not_an_integer)?;
    let (low, high) = (i32::MIN, i32::MAX);
    match i32::try_from(number) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Error::refused("DB index is out of range")),
        Err(_) => {
            let why = format!("value is out of range, value must between {low} and {high}");
            Err(Error::refused(why))
        }
    }
}

pub(super) fn syntax() -> Error {
    Error::refused("syntax error")
}

pub(super) fn not_an_integer() -> Error {
    Error::refused("value is not an integer or out of range")
}

pub(super) fn wrong_type() -> Error {
    let why = "Operation against a key holding the wrong kind of value";
    Error::refused_as("WRONGTYPE", why)
}

pub(super) fn wrong_arity(name: &str) -> Error {
    Error::refused(format!("wrong number of arguments for '{name}' command"))
}
