//! The arguments of one request: ranges of bytes the caller already holds, so nothing is copied.
//!
//! Invariant: no range is trusted. One that does not fit the bytes reads as an empty argument, so
//! a caller that hands in the wrong buffer gets a wrong answer and never a panic.

use std::{fmt, iter::FusedIterator, num::NonZeroU64, slice};

/// Where an argument lies: first byte, and the byte after its last.
pub(crate) type Range = (usize, usize);

/// The arguments of one request, the command's name first. Copied freely: two pointers.
#[derive(Clone, Copy)]
pub struct Arguments<'a> {
    bytes: &'a [u8],
    ranges: &'a [Range],
    list: Option<NonZeroU64>,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(bytes: &'a [u8], ranges: &'a [Range]) -> Self {
        Self { bytes, ranges, list: None }
    }

    /// The same, of which the list behind the second argument has this number.
    pub(crate) fn with_list(self, list: Option<NonZeroU64>) -> Self {
        Self { list, ..self }
    }

    /// The number of the list behind the second argument, the key, if it is known: requests that
    /// share it have the same arguments there, whoever sent them. See [`crate::KnownLists`].
    #[inline]
    pub fn list(&self) -> Option<NonZeroU64> {
        self.list
    }

    /// How many arguments there are, the command's name included.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is none: the client sent a blank line, or an array of nothing.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at `index`; the command's name is at 0.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.ranges.get(index).map(|range| slice_of(self.bytes, *range))
    }

    /// All arguments in order, the command's name first.
    pub fn iter(&self) -> ArgumentsIter<'a> {
        ArgumentsIter { bytes: self.bytes, ranges: self.ranges.iter() }
    }
}

fn slice_of(bytes: &[u8], (start, end): Range) -> &[u8] {
    bytes.get(start..end).unwrap_or_default()
}

impl fmt::Debug for Arguments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|argument| argument.escape_ascii())).finish()
    }
}

impl<'a> IntoIterator for Arguments<'a> {
    type Item = &'a [u8];
    type IntoIter = ArgumentsIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The arguments of one request with bytes of their own, for as long as the buffer is needed for
/// something else.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedArguments {
    bytes: Box<[u8]>,
    ranges: Box<[Range]>,
}

impl OwnedArguments {
    /// The same arguments.
    pub fn borrow(&self) -> Arguments<'_> {
        Arguments::new(&self.bytes, &self.ranges)
    }

    /// The memory they take, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.ranges)
    }
}

impl From<Arguments<'_>> for OwnedArguments {
    fn from(arguments: Arguments<'_>) -> Self {
        let mut bytes = Vec::with_capacity(arguments.iter().map(<[u8]>::len).sum());
        let mut own = |argument: &[u8]| {
            let start = bytes.len();
            bytes.extend_from_slice(argument);
            (start, bytes.len())
        };
        let ranges = arguments.iter().map(&mut own).collect();
        Self { bytes: bytes.into_boxed_slice(), ranges }
    }
}

impl fmt::Debug for OwnedArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrow().fmt(f)
    }
}

/// Walks [`Arguments`] in order.
#[derive(Clone)]
pub struct ArgumentsIter<'a> {
    bytes: &'a [u8],
    ranges: slice::Iter<'a, Range>,
}

impl<'a> Iterator for ArgumentsIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.ranges.next().map(|range| slice_of(self.bytes, *range))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ranges.size_hint()
    }
}

impl ExactSizeIterator for ArgumentsIter<'_> {}
impl FusedIterator for ArgumentsIter<'_> {}
