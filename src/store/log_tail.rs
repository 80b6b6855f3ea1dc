//! Which stretches of the log behind the files of the history may tell of an entity, so that a
//! read of its past need not go through all of them: up to a GiB.
//!
//! ```text
//! files of the history │ stretch │ stretch │ stretch │ nobody looked yet    now
//!                      │ of each, a few times over: first and last event, and a filter of
//!                      │ the views and keys of which something happened in between
//! ```
//! Most of a stretch happened within minutes, and a few rows came late by days: those are told of
//! apart, or every stretch might tell of every time.
//! Whoever reads what nobody has read yet makes all this, so it costs those nothing who write.
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
use std::{ops::Range, sync::Arc};

/// Records of so many bytes are a stretch. A shorter one is read sooner, but there are more.
const STRETCH_BYTES: usize = if cfg!(test) { 150 } else { 128 * 1024 };
/// So often a part of a stretch is split in two: into eight at most.
const SPLITS_MAX: u32 = 3;

/// The stretches of the log that somebody has read, oldest first.
#[derive(Debug, Default)]
pub(super) struct LogTail(ArcSwap<Vec<Arc<Stretch>>>);

/// Records that follow one another.
#[derive(Debug)]
pub(super) struct Stretch {
    pub(super) first: Lsn,
    pub(super) last: Lsn,
    /// What clients pushed in it, by when it happened.
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    events: Events,
    whose: KeyFilter,
}

/// The earliest and the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Events {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

/// What stands for an entity in a view in the filters of a stretch.
#[derive(Debug)]
pub(super) struct Whose(Vec<u8>);

impl Whose {
    pub(super) fn new(view: ViewId, key: &[u8]) -> Self {
        Self([&view.0.to_le_bytes(), key].concat())
    }
}

impl LogTail {
    /// The stretches from `from` on of which `tells` says when all that it may tell of happened,
    /// oldest first, and the last LSN that is known.
    pub(super) fn telling(
        &self,
        from: Lsn,
        tells: impl Fn(&Stretch) -> Option<Events>,
    ) -> (Vec<(Arc<Stretch>, Events)>, Lsn) {
        let known = self.0.load();
        let gone = known.partition_point(|stretch| stretch.last < from);
        let rest = known.get(gone..).unwrap_or_default();
        match (rest.first(), rest.last()) {
            (Some(first), Some(last)) if first.first <= from => {
                let telling =
                    rest.iter().filter_map(|stretch| Some((Arc::clone(stretch), tells(stretch)?)));
                (telling.collect(), last.last)
            }
            _ => (Vec::new(), from.previous()),
        }
    }

    /// Remembers stretches that follow one another, unless another reader was faster or a
    /// checkpoint moved on.
    pub(super) fn add(&self, fresh: &[Arc<Stretch>]) {
        let (Some(first), Some(last)) = (fresh.first(), fresh.last()) else { return };
        self.0.rcu(|known| {
            let is_known = known.last().is_some_and(|known| known.last >= last.last);
            if is_known || known.first().is_some_and(|known| known.first > first.first) {
                return Arc::clone(known);
            }
            let before = known.iter().take_while(|known| known.last < first.first);
            let before: Vec<_> = before.cloned().collect();
            let follows = before.last().is_none_or(|last| last.last.next() == first.first);
            let before = if follows { before } else { Vec::new() };
            Arc::new(before.into_iter().chain(fresh.iter().cloned()).collect())
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
    /// When all happened that it may tell of this entity in this view, as far as a part of it lies
    /// within `window`.
    pub(super) fn tells(&self, whose: &Whose, window: &Window) -> Option<Events> {
        let within = self.parts.iter().filter(|part| part.events.meet(window));
        let telling = within.filter(|part| part.whose.may_have(&whose.0));
        telling.map(|part| part.events).reduce(Events::and)
    }
}

impl Events {
    /// Of all of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }

    fn meet(&self, window: &Window) -> bool {
        self.first <= window.to && window.from.is_none_or(|from| from <= self.last)
    }
}

/// Makes stretches of records that are told one by one.
#[derive(Debug)]
pub(super) struct Stretches {
    made: Vec<Arc<Stretch>>,
    /// The first record of the next one.
    first: Lsn,
    bytes: usize,
    pushes: Vec<Push>,
    /// Of each push what stands for its view and entity, one behind the other.
    whose: Vec<u8>,
}

#[derive(Debug)]
struct Push {
    event: Timestamp,
    whose: Range<usize>,
}

impl Stretches {
    /// The next record is `first`.
    pub(super) fn new(first: Lsn) -> Self {
        Self { made: Vec::new(), first, bytes: 0, pushes: Vec::new(), whose: Vec::new() }
    }

    /// Adds the next record; `Err` says in a few words why its bytes hold none.
    pub(super) fn add(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), String> {
        each_pushed(record, |view, key, event| {
            let start = self.whose.len();
            // As `Whose::new`.
            self.whose.extend_from_slice(&view.0.to_le_bytes());
            self.whose.extend_from_slice(key);
            self.pushes.push(Push { event, whose: start..self.whose.len() });
        })?;
        self.bytes += record.len();
        if self.bytes >= STRETCH_BYTES {
            self.end(lsn);
        }
        Ok(())
    }

    fn end(&mut self, last: Lsn) {
        self.pushes.sort_unstable_by_key(|push| push.event);
        let mut parts = Vec::new();
        split(&self.pushes, SPLITS_MAX, &mut |pushes, events| {
            let whose = |push: &Push| self.whose.get(push.whose.clone()).unwrap_or_default();
            parts.push(Part { events, whose: KeyFilter::of(pushes.iter().map(whose)) });
        });
        self.made.push(Arc::new(Stretch { first: self.first, last, parts }));
        (self.first, self.bytes) = (last.next(), 0);
        self.pushes.clear();
        self.whose.clear();
    }

    /// Those that are whole.
    pub(super) fn into_made(self) -> Vec<Arc<Stretch>> {
        self.made
    }
}

/// Gives `pushes`, which are in the order of their events, in one part, or in several if those
/// together would be looked into a quarter as often: how often is about how much happened in a
/// part, times how long that took.
fn split(pushes: &[Push], splits_max: u32, give: &mut impl FnMut(&[Push], Events)) {
    let Some(events) = events_of(pushes) else { return };
    let cost = |pushes: &[Push]| match events_of(pushes) {
        Some(Events { first, last }) => {
            pushes.len() as f64 * (last.us() as f64 - first.us() as f64)
        }
        None => 0.0,
    };
    let both = |at: &usize| pushes.split_at_checked(*at).map_or(0.0, |(a, b)| cost(a) + cost(b));
    let best = (1..pushes.len()).min_by(|a, b| both(a).total_cmp(&both(b)));
    match best.filter(|at| splits_max > 0 && both(at) * 4.0 < cost(pushes)) {
        Some(at) => {
            let (before, behind) = pushes.split_at(at);
            split(before, splits_max - 1, give);
            split(behind, splits_max - 1, give);
        }
        None => give(pushes, events),
    }
}

fn events_of(pushes: &[Push]) -> Option<Events> {
    Some(Events { first: pushes.first()?.event, last: pushes.last()?.event })
}
