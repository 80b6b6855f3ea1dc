//! The rows of some keys, held at one moment: for a decision about them, or to read them together.
//!
//! A transaction stages its changes beside the rows, so that its later commands see what its
//! earlier ones did, and nobody else does before all of it is in the log.

use crate::{
    feature::Timestamp,
    log::Lsn,
    online::{Edit, Found, Row, ScanStep, Seen, Shard, Table},
};
use parking_lot::{RwLockReadGuard, RwLockWriteGuard};
use std::{
    cell::Cell,
    collections::HashSet,
    ops::{Deref, DerefMut},
};

/// Which rows are held, and what for.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    shards: OneOrMany<usize>,
    is_write: bool,
    /// The hash of the key, if it is one.
    sole: Option<u64>,
}

/// Most decisions are about one key: they need no vector.
#[derive(Clone, Debug)]
enum OneOrMany<T> {
    One([T; 1]),
    Many(Vec<T>),
}

impl<T> Deref for OneOrMany<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }
}

impl<T> DerefMut for OneOrMany<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }
}

impl Reach {
    /// The rows of `keys`, to be changed.
    pub(super) fn write<'k>(table: &Table, keys: impl IntoIterator<Item = &'k [u8]>) -> Self {
        Self { is_write: true, ..Self::read(table, keys) }
    }

    /// The rows of `keys`, to be read.
    pub(super) fn read<'k>(table: &Table, keys: impl IntoIterator<Item = &'k [u8]>) -> Self {
        let mut hashes = keys.into_iter().map(|key| table.hash(key));
        let first = match (hashes.next(), hashes.next()) {
            (Some(one), None) => {
                let shards = OneOrMany::One([Table::shard_index(one)]);
                return Self { sole: Some(one), ..Self::of(shards) };
            }
            first => <[_; 2]>::from(first),
        };
        let hashes = first.into_iter().flatten().chain(hashes);
        let mut shards: Vec<usize> = hashes.map(Table::shard_index).collect();
        // Always in ascending order, so that two who hold several never wait for each other.
        shards.sort_unstable();
        shards.dedup();
        Self::of(OneOrMany::Many(shards))
    }

    fn of(shards: OneOrMany<usize>) -> Self {
        Self { shards, is_write: false, sole: None }
    }

    /// Every row.
    pub(super) fn everything(is_write: bool) -> Self {
        Self { is_write, ..Self::of(OneOrMany::Many((0..Table::SHARD_COUNT).collect())) }
    }
}

/// What a write does with a row that it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Showing {
    /// Readers see it at once.
    AtOnce,
    /// The next write sees it; readers once it is durable.
    Later,
    /// It is durable: what stood aside is shown to readers.
    Durable,
}

/// The shards of some keys, held at one moment.
#[derive(Debug)]
pub(super) struct Held<'a> {
    table: &'a Table,
    shards: OneOrMany<(usize, HeldShard<'a>)>,
    /// The hash of the key, if one is held.
    sole: Option<u64>,
    /// Where the row of that key stands, once somebody looked and until it is changed.
    found: Cell<Option<Option<Found>>>,
    seen: Seen,
    pub(super) now: Timestamp,
}

#[derive(Debug)]
enum HeldShard<'a> {
    Read(RwLockReadGuard<'a, Shard>),
    Write(RwLockWriteGuard<'a, Shard>),
}

impl Deref for HeldShard<'_> {
    type Target = Shard;

    fn deref(&self) -> &Shard {
        match self {
            Self::Read(shard) => shard,
            Self::Write(shard) => shard,
        }
    }
}

/// The rows that are held, as a decision sees them.
#[derive(Clone, Copy, Debug)]
pub struct Locked<'a> {
    held: &'a Held<'a>,
    staged: Option<&'a Staged>,
    /// The time of the decision.
    pub now: Timestamp,
}

/// What a transaction has changed so far.
#[derive(Debug)]
pub(super) struct Staged {
    /// The rows it touched, as it left them; of a key that is touched and not here nothing is left.
    rows: Shard,
    touched: HashSet<Vec<u8>, ahash::RandomState>,
    /// It began anew with nothing.
    is_flushed: bool,
}

/// Newer than every record: what is staged is staged upon everything that stands.
const STAGED_LSN: u64 = u64::MAX;

impl<'a> Held<'a> {
    /// Holds what `reach` says; the time is taken once it is held.
    pub(super) fn new(
        table: &'a Table,
        reach: &Reach,
        seen: Seen,
        now: impl FnOnce() -> Timestamp,
    ) -> Self {
        let hold = |index: &usize| match reach.is_write {
            true => (*index, HeldShard::Write(table.shard_mut(*index))),
            false => (*index, HeldShard::Read(table.shard(*index))),
        };
        let shards = match &reach.shards {
            OneOrMany::One([index]) => OneOrMany::One([hold(index)]),
            OneOrMany::Many(shards) => OneOrMany::Many(shards.iter().map(hold).collect()),
        };
        Self { table, shards, sole: reach.sole, found: Cell::new(None), seen, now: now() }
    }

    /// The hash of a key that is held.
    fn hash(&self, key: &[u8]) -> u64 {
        let hash = self.sole.unwrap_or_else(|| self.table.hash(key));
        debug_assert_eq!(hash, self.table.hash(key), "only keys that are held are asked for");
        hash
    }

    /// The rows as they stand, or as a transaction has left them so far.
    pub(super) fn rows<'l>(&'l self, staged: Option<&'l Staged>) -> Locked<'l> {
        Locked { held: self, staged, now: self.now }
    }

    /// Whether the row of `key` is held so that it may be changed.
    pub(super) fn may_write(&self, key: &[u8]) -> bool {
        let hash = self.table.hash(key);
        let shard = self.held_shard(Table::shard_index(hash));
        self.sole.is_none_or(|sole| sole == hash)
            && shard.is_some_and(|shard| matches!(shard, HeldShard::Write(_)))
    }

    /// Whether anything of `key` waits for its sync.
    pub(super) fn is_pending(&self, key: &[u8]) -> bool {
        let index = Table::shard_index(self.hash(key));
        self.shard(index).is_some_and(|shard| shard.is_pending(key))
    }

    /// Sums up what `count` says of the shards that are held.
    pub(super) fn sum(&self, count: impl Fn(&Shard) -> usize) -> usize {
        self.shards.iter().map(|(_, shard)| count(shard)).sum()
    }

    /// Applies `edit` as record `lsn`.
    pub(super) fn edit(&mut self, lsn: Lsn, edit: Edit<'_>, showing: Showing) {
        let hash = self.hash(edit.key());
        let index = Table::shard_index(hash);
        let place = self.shards.binary_search_by_key(&index, |(index, _)| *index);
        let found = self.found.take();
        match place.ok().and_then(|place| self.shards.get_mut(place)) {
            Some((_, HeldShard::Write(shard))) => match showing {
                Showing::AtOnce => {
                    let found = found.unwrap_or_else(|| shard.find(hash, edit.key()));
                    shard.apply_at(found, hash, lsn.0, edit);
                }
                Showing::Later => shard.apply_pending(hash, lsn.0, edit),
                Showing::Durable => shard.publish(hash, lsn.0, edit),
            },
            Some((_, HeldShard::Read(_))) | None => {
                debug_assert!(false, "a decision changes only keys that were locked for it");
            }
        }
    }

    /// Removes every row older than record `lsn`; all of them are held.
    pub(super) fn flush(&mut self, lsn: Lsn, showing: Showing) {
        self.found.take();
        for (_, shard) in self.shards.iter_mut() {
            match (shard, showing) {
                (HeldShard::Write(shard), Showing::Later) => shard.flush_pending(lsn.0),
                (HeldShard::Write(shard), Showing::AtOnce | Showing::Durable) => {
                    shard.flush(lsn.0);
                }
                (HeldShard::Read(_), _) => debug_assert!(false, "a flush changes every row"),
            }
        }
    }

    fn held_shard(&self, index: usize) -> Option<&HeldShard<'a>> {
        let place = self.shards.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        self.shards.get(place).map(|(_, shard)| shard)
    }

    fn shard(&self, index: usize) -> Option<&Shard> {
        self.held_shard(index).map(|shard| &**shard)
    }

    fn row(&self, hash: u64, key: &[u8]) -> Option<Row<'_>> {
        let shard = self.shard(Table::shard_index(hash))?;
        if self.sole.is_none() {
            return shard.get(hash, key, self.seen);
        }
        let found = self.found.get().unwrap_or_else(|| shard.find(hash, key));
        self.found.set(Some(found));
        shard.get_at(found, key, self.seen)
    }
}

impl<'a> Locked<'a> {
    /// The row of `key`, which is one of the keys that are held; a plain key past its end of life
    /// is no row. What is written where none is must say all there is: replay does not know the
    /// time of the write, and may find a row that was over.
    pub fn row(&self, key: &[u8]) -> Option<Row<'a>> {
        let hash = self.held.hash(key);
        let row = match self.staged.filter(|staged| staged.covers(key)) {
            Some(staged) => staged.rows.get(hash, key, Seen::Published),
            None => self.held.row(hash, key),
        };
        row.filter(|row| !row.is_expired(self.now))
    }

    /// Whether a transaction has removed all that stood.
    pub(super) fn is_flushed(&self) -> bool {
        self.staged.is_some_and(|staged| staged.is_flushed)
    }

    /// Calls `visit` with at least `count` rows from `cursor` on: see [`Table::scan`].
    pub(super) fn scan(
        &self,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(Row<'_>),
    ) -> ScanStep {
        let Held { table, seen, .. } = self.held;
        let is_staged = |row: Row<'_>| self.staged.is_some_and(|staged| staged.covers(row.key()));
        let mut step = ScanStep::at(cursor);
        for index in step.shards() {
            let (first, left) = (step.cursor, step.left_of(count));
            let standing = self.held.shard(index);
            let standing =
                standing.map(|shard| shard.rows_from(*seen, first, left, |row| !is_staged(row)));
            let (mut rows, end) = standing.unwrap_or_default();
            let staged = self.staged.into_iter().flat_map(|staged| staged.rows.iter());
            let staged = staged.map(|row| (table.hash(row.key()), row));
            rows.extend(staged.filter(|(hash, _)| {
                Table::shard_index(*hash) == index
                    && *hash >= first
                    && end.is_none_or(|end| *hash < end)
            }));
            if step.walk_shard(index, count, rows, end, &mut visit) {
                break;
            }
        }
        step
    }

    /// How many of the rows that are held have a value.
    pub(super) fn live_rows(&self) -> usize {
        self.count(Shard::live_rows, |row| row.has_value())
    }

    /// How many of the rows that are held have an end of life of their own.
    pub(super) fn expiring_rows(&self) -> usize {
        self.count(Shard::expiring_rows, |row| row.expires_at().is_some())
    }

    /// How many of the rows that are held have fields with an end of life.
    pub(super) fn ending_rows(&self) -> usize {
        self.count(Shard::ending_rows, |row| row.has_field_ends())
    }

    /// How many are such rows; `of_shard` knows it of a shard.
    fn count(&self, of_shard: fn(&Shard, Seen) -> usize, is_such: fn(Row<'_>) -> bool) -> usize {
        let standing = self.held.sum(|shard| of_shard(shard, self.held.seen));
        let Some(staged) = self.staged else { return standing };
        let new = of_shard(&staged.rows, Seen::Published);
        if staged.is_flushed {
            return new;
        }
        let was_such =
            |key: &&Vec<u8>| self.held.row(self.held.table.hash(key), key).is_some_and(is_such);
        standing - staged.touched.iter().filter(was_such).count() + new
    }
}

impl Staged {
    /// Nothing is staged yet.
    pub(super) fn new(held: &Held<'_>) -> Self {
        let (rows, touched) = (held.table.empty_shard(), HashSet::default());
        Self { rows, touched, is_flushed: false }
    }

    /// Whether what stands under `key` is told here and not in the table.
    fn covers(&self, key: &[u8]) -> bool {
        self.is_flushed || self.touched.contains(key)
    }

    /// Makes `edit` true for the commands behind it.
    pub(super) fn stage(&mut self, held: &Held<'_>, edit: Edit<'_>) {
        let (key, hash) = (edit.key(), held.hash(edit.key()));
        if !self.covers(key)
            && let Some(row) = held.row(hash, key)
        {
            self.rows.load(hash, row.into());
        }
        self.touched.insert(key.to_vec());
        self.rows.apply(hash, STAGED_LSN, edit);
    }

    /// Makes it true for the commands behind it that nothing stands.
    pub(super) fn flush(&mut self, held: &Held<'_>) {
        *self = Self { is_flushed: true, ..Self::new(held) };
    }
}
