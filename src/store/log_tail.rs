//! Which stretches of the log behind the files of the history may tell of an entity, so that a
//! read of its past need not go through all of them: up to a GiB.
//!
//! ```text
//! files of the history │ stretch │ stretch │ stretch │ nobody looked yet    now
//!                      │ of each: a Bloom filter of views and keys, its first and last event
//! ```
//! Whoever reads what nobody has read yet makes them, so it costs those nothing who write.
//!
//! Invariants
//! - What stands in a stretch is known whole: every push from its first to its last LSN.
//! - Stretches follow one another without a gap.

use crate::{
    feature::{Timestamp, ViewId, each_pushed},
    log::Lsn,
    offline::{KeyFilter, Window},
};
use arc_swap::ArcSwap;
use std::sync::Arc;

/// Records of so many bytes are a stretch. A shorter one is read sooner, but there are more.
const STRETCH_BYTES: usize = if cfg!(test) { 150 } else { 128 * 1024 };
/// The stretches of the log that somebody has read, oldest first.
#[derive(Debug, Default)]
pub(super) struct LogTail(ArcSwap<Vec<Arc<Stretch>>>);

/// Records that follow one another.
#[derive(Debug)]
pub(super) struct Stretch {
    pub(super) first: Lsn,
    pub(super) last: Lsn,
    /// What clients pushed in it; `None` if they pushed nothing.
    pushed: Option<StretchPushed>,
}

#[derive(Debug)]
struct StretchPushed {
    events: Events,
    whose: KeyFilter,
}

/// The earliest and the latest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Events {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl Events {
    /// Of all of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// What stands for an entity in a view in the filter of a stretch.
#[derive(Debug)]
pub(super) struct Whose(Vec<u8>);

impl Whose {
    pub(super) fn new(view: ViewId, key: &[u8]) -> Self {
        Self([&view.0.to_le_bytes(), key].concat())
    }
}

impl LogTail {
    /// The stretches from `from` on that may tell of what happened within `window` to one of whom
    /// `may_tell` asks, oldest first, and the last LSN of which that is known.
    pub(super) fn telling(
        &self,
        from: Lsn,
        window: &Window,
        may_tell: impl Fn(&Stretch) -> bool,
    ) -> (Vec<Arc<Stretch>>, Lsn) {
        let known = self.0.load();
        let gone = known.partition_point(|stretch| stretch.last < from);
        let rest = known.get(gone..).unwrap_or_default();
        match (rest.first(), rest.last()) {
            (Some(first), Some(last)) if first.first <= from => {
                let within = rest.iter().filter(|stretch| stretch.reaches(window));
                (within.filter(|stretch| may_tell(stretch)).cloned().collect(), last.last)
            }
            _ => (Vec::new(), from.previous()),
        }
    }

    /// Remembers stretches that follow one another, and no longer those before `from`. Another
    /// reader may have been faster.
    pub(super) fn add(&self, from: Lsn, fresh: &[Arc<Stretch>]) {
        let Some(first) = fresh.first() else { return };
        self.0.rcu(|known| {
            let rest = known.iter().filter(|stretch| stretch.last >= from);
            let before: Vec<_> = rest.take_while(|it| it.last < first.first).cloned().collect();
            let follows = before.last().is_none_or(|last| last.last.next() == first.first);
            let before = if follows { before } else { Vec::new() };
            before.into_iter().chain(fresh.iter().cloned()).collect::<Vec<_>>()
        });
    }

    /// Forgets the stretches before `from`.
    pub(super) fn forget_before(&self, from: Lsn) {
        self.0.rcu(|known| {
            let rest = known.iter().filter(|stretch| stretch.last >= from);
            rest.cloned().collect::<Vec<_>>()
        });
    }
}

impl Stretch {
    /// When all happened that was pushed in it.
    pub(super) fn events(&self) -> Option<Events> {
        Some(self.pushed.as_ref()?.events)
    }

    /// Whether it may tell of this entity in this view.
    pub(super) fn may_tell(&self, whose: &Whose) -> bool {
        self.pushed.as_ref().is_some_and(|pushed| pushed.whose.may_have(&whose.0))
    }

    fn reaches(&self, window: &Window) -> bool {
        let Some(Events { first, last }) = self.events() else { return false };
        first <= window.to && window.from.is_none_or(|from| from <= last)
    }
}

/// Makes stretches of records that are told one by one.
#[derive(Debug)]
pub(super) struct Stretches {
    made: Vec<Arc<Stretch>>,
    /// The first record of the next one.
    first: Lsn,
    bytes: usize,
    whose: AllWhose,
    events: Option<Events>,
}

/// What stands for entities in views, one behind the other, and where each ends.
#[derive(Debug, Default)]
struct AllWhose {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Stretches {
    /// The next record is `first`.
    pub(super) fn new(first: Lsn) -> Self {
        Self { made: Vec::new(), first, bytes: 0, whose: AllWhose::default(), events: None }
    }

    /// Adds the next record; `Err` says in a few words why its bytes hold none.
    pub(super) fn add(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), String> {
        each_pushed(record, |view, key, event| {
            let event = Events { first: event, last: event };
            self.events = Some(self.events.map_or(event, |events| events.and(event)));
            self.whose.add(view, key);
        })?;
        self.bytes += record.len();
        if self.bytes >= STRETCH_BYTES {
            self.end(lsn);
        }
        Ok(())
    }

    fn end(&mut self, last: Lsn) {
        let pushed = self
            .events
            .take()
            .map(|events| StretchPushed { events, whose: self.whose.take_filter() });
        self.made.push(Arc::new(Stretch { first: self.first, last, pushed }));
        (self.first, self.bytes) = (last.next(), 0);
    }

    /// Those that are whole.
    pub(super) fn into_made(self) -> Vec<Arc<Stretch>> {
        self.made
    }
}

impl AllWhose {
    /// As [`Whose::new`].
    fn add(&mut self, view: ViewId, key: &[u8]) {
        self.bytes.extend_from_slice(&view.0.to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    /// The filter of these, which are gone then.
    fn take_filter(&mut self) -> KeyFilter {
        let mut start = 0;
        let whose = self.ends.drain(..).map(|end| {
            let whose = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            whose
        });
        let filter = KeyFilter::of(whose);
        self.bytes.clear();
        filter
    }
}
