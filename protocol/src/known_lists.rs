//! Lists of arguments that were met before: a model asks for the same fields again and again, so
//! what stands behind the key is compared with what stood there in earlier requests, and mostly
//! need not be read once more.
//!
//! ```text
//! *4\r\n $5\r\nHMGET\r\n $6\r\nuser:1\r\n $3\r\nage\r\n $5\r\nspend\r\n
//!                                         |
//!                                         the list: one comparison from here to the end
//! ```
//! Invariants
//! - A list is known only by all of its bytes, so a request reads the same with it and without.
//! - Requests that never repeat push out one another, and none that did: what was met once is on
//!   trial until it is met again.

use crate::arguments::Range;
use std::{
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering},
};

/// How many arguments stand before a list: the command's name and a key.
pub(crate) const LIST_AT: usize = 2;
/// A shorter list is read as fast as it is compared.
pub(crate) const LIST_ARGUMENTS_MIN: usize = 4;
/// A longer list is not kept.
pub(crate) const LIST_BYTES_MAX: usize = 16 * 1024;
/// So many that were met again are kept: each is compared in turn, and mostly differs early.
const PROVEN_MAX: usize = 8;
/// Once so many in a row were not met again, as what clients write is not, a list is on trial for
/// as many requests: to keep each takes longer than to read it. A prime, so that of requests that
/// take turns each comes on trial.
const TRIALS_MAX: u32 = 17;

/// Numbers the lists of the process.
static LISTS: AtomicU64 = AtomicU64::new(1);

/// Lists of arguments that were met before, of any connection.
#[derive(Debug)]
pub struct KnownLists {
    are_kept: bool,
    proven: Vec<KnownList>,
    /// Which of the proven ones goes next.
    oldest: usize,
    on_trial: Option<KnownList>,
    /// How many lists were read since the last one that was met again.
    unmet: u32,
}

/// One list.
#[derive(Debug)]
pub(crate) struct KnownList {
    pub(crate) number: NonZeroU64,
    pub(crate) bytes: Vec<u8>,
    /// The places of its arguments in `bytes`.
    pub(crate) ranges: Vec<Range>,
    /// The longest argument, in bytes.
    pub(crate) bulk_bytes_max: usize,
}

impl Default for KnownLists {
    fn default() -> Self {
        Self::new()
    }
}

impl KnownList {
    fn is_next(&self, count: usize, bytes: &[u8]) -> bool {
        self.ranges.len() == count && bytes.starts_with(&self.bytes)
    }
}

impl KnownLists {
    /// None yet. It allocates nothing.
    pub const fn new() -> Self {
        Self { are_kept: true, proven: Vec::new(), oldest: 0, on_trial: None, unmet: 0 }
    }

    /// Those of a reader that keeps none.
    pub(crate) const fn none() -> Self {
        Self { are_kept: false, proven: Vec::new(), oldest: 0, on_trial: None, unmet: 0 }
    }

    /// Whether lists that are read are to be kept.
    pub(crate) fn are_kept(&self) -> bool {
        self.are_kept
    }

    /// The list of `count` arguments that `bytes` begin with, if it is known.
    #[inline]
    pub(crate) fn find(&mut self, count: usize, bytes: &[u8]) -> Option<&KnownList> {
        match self.proven.iter().position(|list| list.is_next(count, bytes)) {
            Some(index) => self.proven.get(index),
            None => self.prove(count, bytes),
        }
    }

    #[inline(never)]
    fn prove(&mut self, count: usize, bytes: &[u8]) -> Option<&KnownList> {
        let list = self.on_trial.take_if(|list| list.is_next(count, bytes))?;
        self.unmet = 0;
        if self.proven.len() < PROVEN_MAX {
            self.proven.push(list);
            return self.proven.last();
        }
        self.oldest = (self.oldest + 1) % PROVEN_MAX;
        let place = self.proven.get_mut(self.oldest)?;
        *place = list;
        Some(place)
    }

    /// Keeps a list that was read, of which the first byte stands at `start` of `buffer` and the
    /// last before `end`. Its number; `None` if another one stays on trial.
    pub(crate) fn keep(
        &mut self,
        buffer: &[u8],
        (start, end): Range,
        ranges: &[Range],
    ) -> Option<NonZeroU64> {
        self.unmet = self.unmet.wrapping_add(1);
        if self.unmet > TRIALS_MAX && !self.unmet.is_multiple_of(TRIALS_MAX) {
            return None;
        }
        let number = NonZeroU64::new(LISTS.fetch_add(1, Ordering::Relaxed))?;
        let before = self.on_trial.take().map(|list| (list.bytes, list.ranges));
        let (mut bytes, mut places) = before.unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(buffer.get(start..end)?);
        places.clear();
        places.extend(ranges.iter().map(|(from, to)| (from - start, to - start)));
        let bulk_bytes_max = ranges.iter().map(|(from, to)| to - from).max().unwrap_or(0);
        self.on_trial = Some(KnownList { number, bytes, ranges: places, bulk_bytes_max });
        Some(number)
    }
}
