//! The whole online store: many small shards, each under a short lock of its own.
//!
//! Each shard grows by itself, so no growth moves more than a few thousand rows, and a walk over
//! all rows (SCAN, snapshot, expiry) holds one small lock at a time.
//!
//! A scan goes through the rows in the order of their hash, whose top bits number the shard. That
//! order does not depend on how full a shard is, so a cursor stays good while the table grows: a
//! row that stands from the first step to the last is returned.

use super::{
    edit::Edit,
    key_hash::{SHARD_BITS, first_of_shard, shard_of},
    layout::Layout,
    owned_row::OwnedRow,
    row::Row,
    shard::{Seen, Shard},
    shared::Shared,
};
use crate::feature::Timestamp;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::{ops::Range, sync::Arc};

/// So many fields at most are swept out of a large hash under one lock.
const SWEPT_FIELDS_MAX: usize = 1024;
/// So many rows at most are swept out of a shard under one lock.
const SWEPT_ROWS_MAX: usize = 1024;

/// So many rows are looked at to tell how long rows live on the mean, and so many of each shard.
const SAMPLED_ROWS: usize = 1024;
const SAMPLED_ROWS_PER_SHARD: usize = 64;

/// All shards.
#[derive(Debug)]
pub struct Table {
    shards: Box<[RwLock<Shard>]>,
    shared: Arc<Shared>,
}

/// Where a scan goes on, and what it met.
#[derive(Debug, Default)]
pub struct ScanStep {
    /// The cursor of the next step; 0 when the scan is done.
    pub cursor: u64,
    /// How many rows this step looked at.
    pub rows_seen: usize,
}

/// What a step of sweeping did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// How many rows it removed for their own end.
    pub rows: usize,
    /// How many fields it removed.
    pub fields: usize,
    /// Whether nothing is left that was over.
    pub is_done: bool,
}

impl Table {
    /// How many shards there are.
    pub const SHARD_COUNT: usize = 1 << SHARD_BITS;

    /// An empty table; `seed` makes hashes that a client cannot foresee.
    pub fn new(seed: [u64; 4]) -> Self {
        let shared = Arc::new(Shared::new(seed));
        let shard = |_| RwLock::new(Shard::new(Arc::clone(&shared)));
        Self { shards: (0..Self::SHARD_COUNT).map(shard).collect(), shared }
    }

    /// A shard of its own, for rows of this table that stand beside it.
    pub fn empty_shard(&self) -> Shard {
        Shard::new(Arc::clone(&self.shared))
    }

    /// Rows of these layouts are kept with words in the place of text that comes often, from when
    /// they are written next.
    pub fn know<'l>(&self, layouts: impl Iterator<Item = &'l Arc<Layout>>) {
        self.shared.dictionary.words.know(layouts);
    }

    /// The hash of `key`.
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.shared.hasher.hash(key)
    }

    /// The number of the shard of a hash.
    pub fn shard_index(hash: u64) -> usize {
        shard_of(hash)
    }

    /// How many shards there are; their numbers count from 0.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// The shard of that number, to read.
    ///
    /// # Panics
    /// If `index` is no number of a shard.
    pub fn shard(&self, index: usize) -> RwLockReadGuard<'_, Shard> {
        self.lock_of(index).read()
    }

    /// The shard of that number, to write.
    ///
    /// # Panics
    /// If `index` is no number of a shard.
    pub fn shard_mut(&self, index: usize) -> RwLockWriteGuard<'_, Shard> {
        self.lock_of(index).write()
    }

    /// The shard of that number, and its lock.
    #[allow(clippy::indexing_slicing, reason = "a shard number comes from shard_index or a range")]
    #[inline]
    pub(super) fn lock_of(&self, index: usize) -> &RwLock<Shard> {
        &self.shards[index]
    }

    /// Calls `read` with the row of `key`, under the lock of its shard.
    pub fn read<R>(&self, key: &[u8], seen: Seen, read: impl FnOnce(Option<Row<'_>>) -> R) -> R {
        let hash = self.hash(key);
        read(self.shard(Self::shard_index(hash)).get(hash, key, seen))
    }

    /// Applies `edit` as record `lsn` to what readers see.
    pub fn apply(&self, lsn: u64, edit: Edit<'_>) {
        let hash = self.hash(edit.key());
        self.shard_mut(Self::shard_index(hash)).apply(hash, lsn, edit);
    }

    /// Record `lsn` is durable: shows readers what `edit` did.
    pub fn publish(&self, lsn: u64, edit: Edit<'_>) {
        let hash = self.hash(edit.key());
        self.shard_mut(Self::shard_index(hash)).publish(hash, lsn, edit);
    }

    /// Applies a cell whose time has come, if nobody has removed it meanwhile, which is asked under
    /// the lock of its row: see [`Shard::admit`].
    pub fn admit(&self, lsn: u64, edit: Edit<'_>, is_gone: impl FnOnce() -> bool) {
        let hash = self.hash(edit.key());
        let mut shard = self.shard_mut(Self::shard_index(hash));
        if !is_gone() {
            shard.admit(hash, lsn, edit);
        }
    }

    /// Removes every row older than record `lsn`.
    pub fn flush(&self, lsn: u64) {
        for shard in &self.shards {
            shard.write().flush(lsn);
        }
    }

    /// Puts a row that a snapshot holds.
    pub fn load(&self, row: OwnedRow) {
        let hash = self.hash(row.as_row().key());
        self.shard_mut(Self::shard_index(hash)).load(hash, row);
    }

    /// How many rows of the state that `seen` means have a value.
    pub fn live_rows(&self, seen: Seen) -> usize {
        self.shards.iter().map(|shard| shard.read().live_rows(seen)).sum()
    }

    /// How many rows have fields with an end of life.
    pub fn ending_rows(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().ending_rows(Seen::Published)).sum()
    }

    /// How many rows have an end of life of their own.
    pub fn expiring_rows(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().expiring_rows(Seen::Published)).sum()
    }

    /// The bytes of all rows and of what holds them.
    pub fn memory_bytes(&self) -> usize {
        let shards: usize = self.shards.iter().map(|shard| shard.read().memory_bytes()).sum();
        shards + self.shared.dictionary.memory_bytes()
    }

    /// How long rows with an end live on after `now`, in ms: the mean of a sample; 0 of none: the
    /// first that stand in each shard.
    pub fn mean_ttl_ms(&self, now: Timestamp) -> i64 {
        let (mut seen_rows, mut count, mut sum_ms) = (0, 0, 0_i64);
        for shard in &self.shards {
            let shard = shard.read();
            if shard.expiring_rows(Seen::Published) == 0 {
                continue;
            }
            for row in shard.iter().take(SAMPLED_ROWS_PER_SHARD) {
                seen_rows += 1;
                let left_us = row.expires_at().map(|end| end.us().saturating_sub(now.us()));
                if let Some(left_us) = left_us.filter(|left_us| *left_us > 0) {
                    count += 1;
                    sum_ms = sum_ms.saturating_add(left_us / 1000);
                }
            }
            if seen_rows >= SAMPLED_ROWS && count > 0 {
                break;
            }
        }
        sum_ms.checked_div(count).unwrap_or(0)
    }

    /// The bytes of all rows, without the tables that hold them.
    pub fn row_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().row_bytes()).sum()
    }

    /// Removes plain rows past their end of life from the shard of that number, and fields past
    /// theirs: of many rows and of a large hash a part, so that no lock is held for long.
    pub fn sweep(&self, index: usize, now: Timestamp) -> Swept {
        let over = self.shard(index).keys_over(now, SWEPT_ROWS_MAX);
        let rows = match over.rows.is_empty() {
            true => 0,
            false => self.shard_mut(index).remove_expired(&over.rows, now),
        };
        let (mut fields, mut is_done) = (0, !over.may_be_more);
        for (hash, key) in over.of_fields {
            let count = SWEPT_FIELDS_MAX;
            let removed = self.shard_mut(index).remove_fields_over(hash, &key, now, count);
            fields += removed;
            is_done &= removed < SWEPT_FIELDS_MAX;
        }
        Swept { rows, fields, is_done }
    }

    /// Calls `visit` with at least `count` rows from `cursor` on, as far as there are any, of the
    /// state that `seen` means.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        seen: Seen,
        mut visit: impl FnMut(Row<'_>),
    ) -> ScanStep {
        let mut step = ScanStep::at(cursor);
        for index in step.shards() {
            let shard = self.shard(index);
            let (rows, end) = shard.rows_from(seen, step.cursor, step.left_of(count), |_| true);
            if step.walk_shard(index, count, rows, end, &mut visit) {
                break;
            }
        }
        step
    }
}

impl ScanStep {
    /// A step that begins at `cursor`.
    pub fn at(cursor: u64) -> Self {
        Self { cursor, rows_seen: 0 }
    }

    /// The shards from the cursor on.
    pub fn shards(&self) -> Range<usize> {
        shard_of(self.cursor)..Table::SHARD_COUNT
    }

    /// How many rows this step still looks at, at least, if it looks at `count`.
    pub fn left_of(&self, count: usize) -> usize {
        count.saturating_sub(self.rows_seen).max(1)
    }

    /// Goes on through `rows` of shard `index` with their hashes, none before the cursor, in no
    /// order; `end` is where there may be more. Whether the step is over: it is if there is an end
    /// and as many rows as [`ScanStep::left_of`] said.
    pub fn walk_shard(
        &mut self,
        index: usize,
        count: usize,
        mut rows: Vec<(u64, Row<'_>)>,
        end: Option<u64>,
        mut visit: impl FnMut(Row<'_>),
    ) -> bool {
        rows.sort_unstable_by_key(|(hash, _)| *hash);
        let mut last = None;
        for (hash, row) in rows {
            // Rows of one hash are one step: a cursor could not stand between them.
            if self.rows_seen >= count && last.is_some_and(|last| last != hash) {
                self.cursor = hash;
                return true;
            }
            visit(row);
            self.rows_seen += 1;
            last = Some(hash);
        }
        if let Some(end) = end {
            self.cursor = end;
            return true;
        }
        let is_last = index + 1 == Table::SHARD_COUNT;
        self.cursor = if is_last { 0 } else { first_of_shard(index + 1) };
        is_last || self.rows_seen >= count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::PlainChange;
    use std::collections::HashMap;

    fn set(table: &Table, lsn: u64, key: &str, value: &str) {
        let change = PlainChange::SetString { value: value.into(), expires_at: None };
        table.apply(lsn, Edit::Plain(key.as_bytes(), &change));
    }

    #[test]
    fn a_scan_returns_each_row_that_stands_throughout_while_the_table_grows() {
        let table = Table::new([1, 2, 3, 4]);
        (0..500).for_each(|i| set(&table, 1, &format!("old:{i}"), "x"));
        let (mut cursor, mut seen, mut steps) = (0, HashMap::new(), 0);
        loop {
            let step = table.scan(cursor, 7, Seen::Published, |row| {
                *seen.entry(row.key().to_vec()).or_insert(0) += 1;
            });
            (0..40).for_each(|i| set(&table, 2, &format!("new:{steps}:{i}"), "y"));
            steps += 1;
            cursor = step.cursor;
            if cursor == 0 {
                break;
            }
        }
        assert!(seen.values().all(|count| *count == 1), "no row comes twice");
        assert!((0..500).all(|i| seen.contains_key(format!("old:{i}").as_bytes())));
    }

    #[test]
    fn a_flush_leaves_what_later_records_wrote() {
        let table = Table::new([1, 2, 3, 4]);
        let keys = |table: &Table| {
            let mut keys = Vec::new();
            table.scan(0, 9, Seen::Published, |row| keys.push(row.key().to_vec()));
            keys
        };
        set(&table, 3, "early", "x");
        let large = (0..100).map(|field: u8| (vec![field].into(), vec![field].into())).collect();
        table.apply(4, Edit::Plain(b"large", &PlainChange::SetHash(large)));
        // A snapshot may hold it while the log behind the flush is replayed.
        let field = PlainChange::SetFields(vec![(b"f".to_vec().into(), b"v".to_vec().into())]);
        table.apply(9, Edit::Plain(b"large", &field));
        table.flush(5);
        assert_eq!(keys(&table), [b"large"]);
        set(&table, 10, "late", "y");
        table.flush(10);
        assert!(keys(&table).is_empty() && table.row_bytes() == 0);
    }

    #[test]
    fn readers_see_a_pending_write_only_once_it_is_published() {
        let table = Table::new([1, 2, 3, 4]);
        let value = |seen| table.read(b"k", seen, |row| row.map(Row::lsn));
        let change = |value: &str| PlainChange::SetString { value: value.into(), expires_at: None };
        let hash = table.hash(b"k");
        let shard = || table.shard_mut(Table::shard_index(hash));
        for lsn in [1, 2] {
            shard().apply_pending(hash, lsn, Edit::Plain(b"k", &change("v")));
        }
        assert_eq!((value(Seen::Published), value(Seen::Latest)), (None, Some(2)));
        table.publish(1, Edit::Plain(b"k", &change("v")));
        assert_eq!((value(Seen::Published), value(Seen::Latest)), (Some(1), Some(2)));
        let walked = |seen| {
            let mut lsns = Vec::new();
            table.scan(0, 9, seen, |row| lsns.push(row.lsn()));
            lsns
        };
        assert_eq!((walked(Seen::Published), walked(Seen::Latest)), (vec![1], vec![2]));
        shard().flush_pending(3);
        assert_eq!((walked(Seen::Published), walked(Seen::Latest)), (vec![1], vec![]));
        assert_eq!((value(Seen::Published), value(Seen::Latest)), (Some(1), None));
        table.publish(2, Edit::Plain(b"k", &change("v")));
        assert_eq!((value(Seen::Published), value(Seen::Latest)), (Some(2), None));
        table.flush(3);
        assert_eq!((value(Seen::Published), value(Seen::Latest)), (None, None));
        assert_eq!(table.live_rows(Seen::Published), 0);
    }

    #[test]
    fn a_step_of_a_sweep_takes_no_more_rows_than_it_may_and_the_next_steps_the_rest() {
        let table = Table::new([1, 2, 3, 4]);
        let set = |key: &str, lsn, expires_at: Option<i64>| {
            let value = b"v".to_vec();
            let change = PlainChange::SetString { value, expires_at: expires_at.map(Timestamp) };
            table.apply(lsn, Edit::Plain(key.as_bytes(), &change));
        };
        let expiring = 2 * SWEPT_ROWS_MAX + 100;
        let of_shard = (0..).map(|number: u32| format!("user:{number}"));
        let mut of_shard =
            of_shard.filter(|key| Table::shard_index(table.hash(key.as_bytes())) == 7);
        // Between those that end stand some that stay, and some that end later.
        let keys: Vec<String> = of_shard.by_ref().take(expiring * 3 / 2).collect();
        for (number, key) in keys.iter().enumerate() {
            let of_third = if number > 600 { None } else { Some(90) };
            set(key, 1, if number % 3 == 2 { of_third } else { Some(10) });
        }
        let waiting = of_shard.next().unwrap();
        set(&waiting, 1, Some(10));
        let change = PlainChange::ExpireAt(None);
        let hash = table.hash(waiting.as_bytes());
        table.shard_mut(7).apply_pending(hash, 2, Edit::Plain(waiting.as_bytes(), &change));

        let sweep = |now| {
            let mut steps = Vec::new();
            // One that does not get on ends here, too.
            while steps.len() < 10 {
                let swept = table.sweep(7, Timestamp(now));
                steps.push(swept.rows);
                if swept.is_done {
                    break;
                }
            }
            steps
        };
        assert_eq!(sweep(9), [0]);
        assert_eq!(sweep(10), [SWEPT_ROWS_MAX, SWEPT_ROWS_MAX, 100]);
        assert_eq!(sweep(10), [0]);
        assert_eq!(table.live_rows(Seen::Published), keys.len() - expiring + 1);
    }
}
