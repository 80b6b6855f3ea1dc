//! One shard of the online store: the rows hashed here, and beside them those not yet durable.
//!
//! ```text
//! Seen::Published   rows            what every reader sees: nothing a crash could undo
//! Seen::Latest      pending, rows   what the next write builds on, durable or not
//! ```
//! A write that waits for its sync is applied to `pending`; once durable, `publish` moves it to
//! `rows`. So no reader ever waits for a disk, and no write for another's sync.

use super::{
    edit::{Edit, Edited, edit_in_place, edited},
    row::Row,
};
use crate::feature::Timestamp;
use hashbrown::{HashTable, hash_table::Entry};
use std::collections::HashMap;

/// Which state a look-up means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// What is durable, or need not be.
    Published,
    /// What was acknowledged or will be.
    Latest,
}

/// The rows of one shard.
#[derive(Debug, Default)]
pub struct Shard {
    rows: HashTable<(u64, Row)>,
    pending: HashMap<Box<[u8]>, Pending, ahash::RandomState>,
    /// A flush that is not durable yet hides `rows` from the next write.
    flushed_at: Option<u64>,
    /// The last flush that readers see: no older cell comes back, however long it waited.
    flushed: u64,
    live_rows: usize,
    expiring_rows: usize,
    /// Rows of which fields have ends of life.
    ending_rows: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Pending {
    lsn: u64,
    /// `None`: the key is gone.
    row: Option<Row>,
}

impl Shard {
    /// The row of `key`, whose hash is `hash`.
    pub fn get(&self, hash: u64, key: &[u8], seen: Seen) -> Option<&Row> {
        if seen == Seen::Latest {
            if let Some(pending) = self.pending.get(key) {
                return pending.row.as_ref();
            }
            if self.flushed_at.is_some() {
                return None;
            }
        }
        self.rows.find(hash, |(_, row)| row.key() == key).map(|(_, row)| row)
    }

    /// Whether anything of `key` waits for its sync.
    pub fn is_pending(&self, key: &[u8]) -> bool {
        self.flushed_at.is_some() || self.pending.contains_key(key)
    }

    /// Applies `edit` as record `lsn` to what readers see.
    pub fn apply(&mut self, hash: u64, lsn: u64, edit: Edit<'_>) {
        if let Edit::Plain(key, change) = edit
            && let Some(row) = self.find_mut(hash, key).filter(|row| row.lsn() <= lsn)
            && let Some(fields) = row.large_fields_mut(lsn)
        {
            let before = (fields.has_ends(), fields.memory_bytes());
            let is_edited = edit_in_place(fields, change);
            let after = (fields.has_ends(), fields.memory_bytes());
            self.recount(before, after);
            if is_edited {
                return;
            }
        }
        match edited(self.get(hash, edit.key(), Seen::Published), lsn, edit) {
            Edited::Keep => {}
            Edited::Replace(row) => self.put(hash, row),
            Edited::Remove => self.remove(hash, edit.key()),
        }
    }

    /// Applies `edit` as record `lsn` to what the next write builds on.
    pub fn apply_pending(&mut self, hash: u64, lsn: u64, edit: Edit<'_>) {
        // A large hash is copied once for all writes that wait, not for each of them.
        if let Edit::Plain(key, change) = edit
            && let Some(pending) = self.pending.get_mut(key)
            && let Some(row) = pending.row.as_mut().filter(|row| row.lsn() <= lsn)
            && let Some(fields) = row.large_fields_mut(lsn)
            && edit_in_place(fields, change)
        {
            pending.lsn = lsn;
            return;
        }
        let row = match edited(self.get(hash, edit.key(), Seen::Latest), lsn, edit) {
            // A write that changes nothing yet waits like any other: its reply must not be
            // overtaken by a read of the row without it.
            Edited::Keep => self.get(hash, edit.key(), Seen::Latest).cloned(),
            Edited::Replace(row) => Some(row),
            Edited::Remove => None,
        };
        self.pending.insert(edit.key().into(), Pending { lsn, row });
    }

    /// Record `lsn` is durable: shows readers what `edit` did.
    pub fn publish(&mut self, hash: u64, lsn: u64, edit: Edit<'_>) {
        match self.pending.get(edit.key()) {
            Some(pending) if pending.lsn == lsn && self.flushed_at.is_none_or(|at| at < lsn) => {
                match self.pending.remove(edit.key()).and_then(|pending| pending.row) {
                    Some(row) => self.put(hash, row),
                    None => self.remove(hash, edit.key()),
                }
            }
            _ => self.apply(hash, lsn, edit),
        }
    }

    /// Applies a cell whose time has come to what readers see, and to what waits for its sync and
    /// will stand in its place.
    pub fn admit(&mut self, hash: u64, lsn: u64, edit: Edit<'_>) {
        if lsn < self.flushed {
            return;
        }
        self.apply(hash, lsn, edit);
        // What is pending behind a flush knows nothing of what was before it.
        let is_flushed = self.flushed_at.is_some_and(|at| lsn < at);
        if !is_flushed
            && let Some(pending) = self.pending.get_mut(edit.key())
            && let Edited::Replace(row) = edited(pending.row.as_ref(), lsn, edit)
        {
            pending.row = Some(row);
        }
    }

    /// Hides every row from the next write, as record `lsn`.
    pub fn flush_pending(&mut self, lsn: u64) {
        self.flushed_at = Some(lsn);
        self.pending.clear();
    }

    /// Removes every row older than record `lsn`.
    pub fn flush(&mut self, lsn: u64) {
        self.flushed = self.flushed.max(lsn);
        if self.flushed_at == Some(lsn) {
            self.flushed_at = None;
        }
        if self.rows.iter().all(|(_, row)| row.lsn() < lsn) {
            self.rows = HashTable::new();
            (self.live_rows, self.expiring_rows, self.ending_rows, self.bytes) = (0, 0, 0, 0);
            return;
        }
        self.retain(|row| row.lsn() > lsn);
    }

    /// Puts a row that a snapshot holds, unless a newer one stands.
    pub fn load(&mut self, hash: u64, row: Row) {
        let lsn = row.lsn();
        self.put_over(hash, row, |standing| standing.lsn() <= lsn);
    }

    /// Keeps the rows for which `keep` says so.
    fn retain(&mut self, mut keep: impl FnMut(&Row) -> bool) {
        let gone: Vec<_> = self.rows.extract_if(|(_, row)| !keep(row)).collect();
        gone.iter().for_each(|(_, row)| self.discount(row));
    }

    /// Takes out the rows past their end of life. What waits for its sync is left: it may know of a
    /// later end.
    pub(super) fn take_expired(&mut self, now: Timestamp) -> Vec<(u64, Row)> {
        if self.flushed_at.is_some() {
            return Vec::new();
        }
        let (rows, pending) = (&mut self.rows, &self.pending);
        let is_gone = |row: &Row| row.is_expired(now) && !pending.contains_key(row.key());
        let gone: Vec<_> = rows.extract_if(|(_, row)| is_gone(row)).collect();
        gone.iter().for_each(|(_, row)| self.discount(row));
        gone
    }

    /// The keys of rows of which a field is past its end of life, with their hashes.
    pub(super) fn keys_with_fields_over(&self, now: Timestamp) -> Vec<(u64, Box<[u8]>)> {
        if self.ending_rows == 0 {
            return Vec::new();
        }
        let is_due = |row: &Row| row.first_field_end().is_some_and(|end| end <= now);
        let due = self.iter().filter(|(_, row)| is_due(row));
        due.map(|(hash, row)| (hash, row.key().into())).collect()
    }

    /// Removes fields past their end of life from the row of `key`, at most `count` of a large
    /// hash, unless something of it waits for its sync; how many.
    pub(super) fn remove_fields_over(
        &mut self,
        hash: u64,
        key: &[u8],
        now: Timestamp,
        count: usize,
    ) -> usize {
        if self.is_pending(key) {
            return 0;
        }
        let Some(row) = self.find_mut(hash, key) else { return 0 };
        if row.first_field_end().is_none_or(|end| end > now) {
            return 0;
        }
        let before = (row.has_field_ends(), row.memory_bytes());
        let (removed, is_empty) = row.remove_over(now, count);
        let after = (row.has_field_ends(), row.memory_bytes());
        self.recount(before, after);
        if is_empty {
            self.remove(hash, key);
        }
        removed
    }

    /// Every row that readers see, with its hash, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Row)> {
        self.rows.iter().map(|(hash, row)| (*hash, row))
    }

    /// Every row of the state that `seen` means, with its hash, in no order; `hash` is the hash of
    /// a key.
    pub fn iter_seen(
        &self,
        seen: Seen,
        hash: impl Fn(&[u8]) -> u64,
    ) -> impl Iterator<Item = (u64, &Row)> {
        let is_latest = seen == Seen::Latest;
        let stands = move |row: &Row| !(is_latest && self.is_pending(row.key()));
        let waiting = self.pending.values().filter(move |_| is_latest);
        let waiting = waiting.filter_map(|pending| pending.row.as_ref());
        let waiting = waiting.map(move |row| (hash(row.key()), row));
        self.iter().filter(move |(_, row)| stands(row)).chain(waiting)
    }

    /// How many rows of the state that `seen` means have a value.
    pub fn live_rows(&self, seen: Seen) -> usize {
        self.count_seen(seen, self.live_rows, Row::has_value)
    }

    /// How many rows of the state that `seen` means have an end of life of their own.
    pub fn expiring_rows(&self, seen: Seen) -> usize {
        self.count_seen(seen, self.expiring_rows, |row| row.expires_at().is_some())
    }

    /// How many rows of the state that `seen` means have fields with an end of life.
    pub fn ending_rows(&self, seen: Seen) -> usize {
        self.count_seen(seen, self.ending_rows, Row::has_field_ends)
    }

    /// How many rows of a state are such rows, of which `published` are published.
    fn count_seen(&self, seen: Seen, published: usize, is_such: fn(&Row) -> bool) -> usize {
        let is_all_published = self.pending.is_empty() && self.flushed_at.is_none();
        match seen {
            Seen::Latest if !is_all_published => {
                self.iter_seen(seen, |_| 0).filter(|(_, row)| is_such(row)).count()
            }
            Seen::Published | Seen::Latest => published,
        }
    }

    /// The bytes of the rows and of the table that holds them.
    pub fn memory_bytes(&self) -> usize {
        self.bytes + self.rows.allocation_size()
    }

    /// What a row takes of the table: its place and its tag, free places aside.
    pub const SLOT_BYTES: usize = size_of::<(u64, Row)>() + 1;

    /// The bytes of the rows alone.
    pub fn row_bytes(&self) -> usize {
        self.bytes
    }

    fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Row> {
        self.rows.find_mut(hash, |(_, row)| row.key() == key).map(|(_, row)| row)
    }

    fn put(&mut self, hash: u64, row: Row) {
        self.put_over(hash, row, |_| true);
    }

    /// Puts a row, if what stands there may be replaced: with one look-up, for to wait for memory
    /// is most of the time of loading.
    fn put_over(&mut self, hash: u64, row: Row, may_replace: impl FnOnce(&Row) -> bool) {
        self.count(&row);
        let entry = self.rows.entry(hash, |(_, old)| old.key() == row.key(), |(hash, _)| *hash);
        match entry {
            Entry::Occupied(standing) if !may_replace(&standing.get().1) => self.discount(&row),
            Entry::Occupied(mut standing) => {
                let (_, old) = std::mem::replace(standing.get_mut(), (hash, row));
                self.discount(&old);
            }
            Entry::Vacant(place) => {
                place.insert((hash, row));
            }
        }
    }

    fn remove(&mut self, hash: u64, key: &[u8]) {
        if let Ok(standing) = self.rows.find_entry(hash, |(_, row)| row.key() == key) {
            let ((_, old), _) = standing.remove();
            self.discount(&old);
        }
    }

    fn count(&mut self, row: &Row) {
        self.live_rows += usize::from(row.has_value());
        self.expiring_rows += usize::from(row.expires_at().is_some());
        self.ending_rows += usize::from(row.has_field_ends());
        self.bytes += row.memory_bytes();
    }

    fn discount(&mut self, row: &Row) {
        self.live_rows -= usize::from(row.has_value());
        self.expiring_rows -= usize::from(row.expires_at().is_some());
        self.ending_rows -= usize::from(row.has_field_ends());
        self.bytes -= row.memory_bytes();
    }

    /// A row was changed in place: whether fields of it have ends of life, and its bytes.
    fn recount(&mut self, before: (bool, usize), after: (bool, usize)) {
        self.ending_rows = self.ending_rows - usize::from(before.0) + usize::from(after.0);
        self.bytes = self.bytes - before.1 + after.1;
    }
}
