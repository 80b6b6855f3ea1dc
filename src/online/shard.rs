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
    owned_row::OwnedRow,
    row::Row,
    shard_rows::{Found, ShardRows},
    shared::Shared,
    tally::Tally,
};
use crate::feature::Timestamp;
use std::{collections::HashMap, sync::Arc};

/// Which state a look-up means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// What is durable, or need not be.
    Published,
    /// What was acknowledged or will be.
    Latest,
}

/// The rows of one shard.
#[derive(Debug)]
pub struct Shard {
    pub(super) rows: ShardRows,
    pub(super) shared: Arc<Shared>,
    pub(super) pending: HashMap<Box<[u8]>, Pending, ahash::RandomState>,
    /// A flush that is not durable yet hides `rows` from the next write.
    pub(super) flushed_at: Option<u64>,
    /// The last flush that readers see: no older cell comes back, however long it waited.
    flushed: u64,
    /// Of `rows`.
    pub(super) tally: Tally,
    /// No row of `rows` was written by a later record.
    newest: u64,
}

/// What waits for its sync.
#[derive(Debug)]
pub(super) struct Pending {
    lsn: u64,
    /// `None`: the key is gone.
    pub(super) row: Option<OwnedRow>,
}

/// A key and its hash.
pub(super) type HashedKey = (u64, Box<[u8]>);

/// What is past its end of life in a shard, or the first part of it.
#[derive(Debug, Default)]
pub(super) struct Over {
    /// The keys of rows that are over.
    pub(super) rows: Vec<HashedKey>,
    /// The keys of other rows, of which a field is over.
    pub(super) of_fields: Vec<HashedKey>,
    /// The look ended before the last row.
    pub(super) may_be_more: bool,
}

impl Shard {
    /// No rows.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let rows = ShardRows::new(Arc::clone(&shared));
        let (pending, tally) = (HashMap::default(), Tally::default());
        Self { rows, shared, pending, flushed_at: None, flushed: 0, tally, newest: 0 }
    }

    /// The row of `key`, whose hash is `hash`.
    pub fn get(&self, hash: u64, key: &[u8], seen: Seen) -> Option<Row<'_>> {
        self.get_or(key, seen, || self.rows.get(hash, key))
    }

    /// Where the row of `key`, whose hash is `hash`, stands that readers see.
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Found> {
        self.rows.find(hash, key)
    }

    /// The row of `key`, for which [`Shard::find`] found this.
    pub fn get_at(&self, found: Option<Found>, key: &[u8], seen: Seen) -> Option<Row<'_>> {
        self.get_or(key, seen, || self.rows.at(found?))
    }

    fn get_or<'s>(
        &'s self,
        key: &[u8],
        seen: Seen,
        published: impl FnOnce() -> Option<Row<'s>>,
    ) -> Option<Row<'s>> {
        if seen == Seen::Latest {
            if let Some(pending) = self.pending.get(key) {
                return pending.row.as_ref().map(|row| row.with(&self.shared.dictionary));
            }
            if self.flushed_at.is_some() {
                return None;
            }
        }
        published()
    }

    /// Asks for the place in the index of a row of this fingerprint.
    #[inline]
    pub(super) fn fetch_place(&self, fingerprint: u16) {
        self.rows.fetch_place(fingerprint);
    }

    /// Asks for the row of this fingerprint.
    #[inline]
    pub(super) fn fetch_row(&self, fingerprint: u16) {
        self.rows.fetch_row(fingerprint);
    }

    /// Whether anything of `key` waits for its sync.
    pub fn is_pending(&self, key: &[u8]) -> bool {
        self.flushed_at.is_some() || self.pending.contains_key(key)
    }

    /// Applies `edit` as record `lsn` to what readers see.
    pub fn apply(&mut self, hash: u64, lsn: u64, edit: Edit<'_>) {
        let found = self.rows.find(hash, edit.key());
        self.apply_at(found, hash, lsn, edit);
    }

    /// The same where [`Shard::find`] found this for the key.
    pub fn apply_at(&mut self, found: Option<Found>, hash: u64, lsn: u64, edit: Edit<'_>) {
        if let Some(found) = found
            && self.apply_in_place(found, lsn, edit)
        {
            self.newest = self.newest.max(lsn);
            return;
        }
        match edited(found.and_then(|found| self.rows.at(found)), lsn, edit) {
            Edited::Keep => {}
            Edited::Replace(row) => self.put_at(found, hash, row, |_| true),
            Edited::Remove => found.into_iter().for_each(|found| self.remove_at(found)),
        }
    }

    /// Changes the row that was found where it stands; false if `edit` cannot be made so: then
    /// nothing is changed, but the LSN of a large hash.
    fn apply_in_place(&mut self, found: Found, lsn: u64, edit: Edit<'_>) -> bool {
        let Some(row) = self.rows.at(found) else { return false };
        let (is_large, is_later) = (matches!(row, Row::Large(_)), row.lsn() > lsn);
        match edit {
            Edit::Plain(..) if is_later => false,
            Edit::Plain(_, change) if is_large => {
                let Some(row) = self.rows.alone_mut(found) else { return false };
                let before = Tally::of(row.as_row());
                let fields = row.large_fields_mut(lsn);
                let is_edited = fields.is_some_and(|fields| edit_in_place(fields, change));
                self.tally = self.tally - before + Tally::of(row.as_row());
                is_edited
            }
            // As long as before, with the same end of life, and with a value: the tally stays.
            Edit::Plain(..) | Edit::Cells(..) => self.rows.overwrite(found, lsn, edit),
        }
    }

    /// Applies `edit` as record `lsn` to what the next write builds on.
    pub fn apply_pending(&mut self, hash: u64, lsn: u64, edit: Edit<'_>) {
        // A large hash is copied once for all writes that wait, not for each of them.
        if let Edit::Plain(key, change) = edit
            && let Some(pending) = self.pending.get_mut(key)
            && let Some(row) = pending.row.as_mut().filter(|row| row.as_row().lsn() <= lsn)
            && let Some(fields) = row.large_fields_mut(lsn)
            && edit_in_place(fields, change)
        {
            pending.lsn = lsn;
            return;
        }
        let row = match edited(self.get(hash, edit.key(), Seen::Latest), lsn, edit) {
            // A write that changes nothing yet waits like any other: its reply must not be
            // overtaken by a read of the row without it.
            Edited::Keep => self.get(hash, edit.key(), Seen::Latest).map(OwnedRow::from),
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
        let dictionary = &self.shared.dictionary;
        if !is_flushed
            && let Some(pending) = self.pending.get_mut(edit.key())
            && let Edited::Replace(row) =
                edited(pending.row.as_ref().map(|row| row.with(dictionary)), lsn, edit)
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
        if self.newest < lsn {
            self.rows.clear();
            self.tally = Tally::default();
            return;
        }
        let gone = self.rows.iter().filter(|row| row.lsn() <= lsn);
        let keys: Vec<Box<[u8]>> = gone.map(|row| row.key().into()).collect();
        keys.iter().for_each(|key| self.remove(self.shared.hasher.hash(key), key));
    }

    /// Puts a row that a snapshot holds, unless a newer one stands.
    pub fn load(&mut self, hash: u64, row: OwnedRow) {
        let lsn = row.as_row().lsn();
        self.put_over(hash, row, |standing| standing.lsn() <= lsn);
    }

    /// The keys of rows that are past their end of life, or of which a field is past its own, with
    /// their hashes: at most `count`. None of which something waits for its sync: it may know of a
    /// later end.
    pub(super) fn keys_over(&self, now: Timestamp, count: usize) -> Over {
        let mut over = Over::default();
        if self.tally.expiring_rows == 0 && self.tally.ending_rows == 0 {
            return over;
        }
        let field_is_over = |row: Row<'_>| row.first_field_end().is_some_and(|end| end <= now);
        for row in self.iter() {
            let is_expired = row.is_expired(now);
            if !(is_expired || field_is_over(row)) || self.is_pending(row.key()) {
                continue;
            }
            let keys = if is_expired { &mut over.rows } else { &mut over.of_fields };
            keys.push((self.shared.hasher.hash(row.key()), row.key().into()));
            if over.rows.len() + over.of_fields.len() >= count {
                over.may_be_more = true;
                break;
            }
        }
        over
    }

    /// Removes those of `keys` whose rows are past their end of life still; how many. What waits
    /// for its sync is left.
    pub(super) fn remove_expired(&mut self, keys: &[HashedKey], now: Timestamp) -> usize {
        let mut removed = 0;
        for (hash, key) in keys {
            if let Some(found) = self.rows.find(*hash, key)
                && self.rows.at(found).is_some_and(|row| row.is_expired(now))
                && !self.is_pending(key)
            {
                self.remove_at(found);
                removed += 1;
            }
        }
        removed
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
        let Some(found) = self.rows.find(hash, key) else { return 0 };
        let Some(row) = self.rows.at(found) else { return 0 };
        if row.first_field_end().is_none_or(|end| end > now) {
            return 0;
        }
        if let Row::Packed(..) = row {
            let (left, removed) = OwnedRow::without_over(row, now);
            match left {
                Some(left) => self.put(hash, left),
                None => self.remove(hash, key),
            }
            return removed;
        }
        let before = Tally::of(row);
        let Some(row) = self.rows.alone_mut(found) else { return 0 };
        let (removed, is_empty) = row.remove_over(now, count);
        self.tally = self.tally - before + Tally::of(row.as_row());
        if is_empty {
            self.remove(hash, key);
        }
        removed
    }

    /// Every row that readers see, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter()
    }

    /// The bytes of the rows and of what holds them.
    pub fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes() + self.tally.bytes_alone
    }

    /// What a row takes beside its bytes, free places aside.
    pub const SLOT_BYTES: usize = ShardRows::ROW_BYTES;

    /// The bytes of the rows alone.
    pub fn row_bytes(&self) -> usize {
        self.tally.bytes
    }

    fn put(&mut self, hash: u64, row: OwnedRow) {
        self.put_over(hash, row, |_| true);
    }

    /// Puts a row, if what stands there may be replaced.
    fn put_over(&mut self, hash: u64, row: OwnedRow, may_replace: impl FnOnce(Row<'_>) -> bool) {
        let found = self.rows.find(hash, row.as_row().key());
        self.put_at(found, hash, row, may_replace);
    }

    /// The same where the row that stands, if one does, was found.
    fn put_at(
        &mut self,
        found: Option<Found>,
        hash: u64,
        row: OwnedRow,
        may_replace: impl FnOnce(Row<'_>) -> bool,
    ) {
        self.newest = self.newest.max(row.as_row().lsn());
        match found.and_then(|found| Some((found, self.rows.at(found)?))) {
            Some((_, standing)) if !may_replace(standing) => {}
            Some((found, standing)) => {
                self.tally = self.tally - Tally::of(standing);
                let added = self.rows.replace(found, row).map(Tally::of);
                self.tally = self.tally + added.unwrap_or_default();
            }
            None => {
                let added = self.rows.insert(hash, row).map(Tally::of);
                self.tally = self.tally + added.unwrap_or_default();
            }
        }
    }

    /// Removes the row of `key`, if there is one.
    fn remove(&mut self, hash: u64, key: &[u8]) {
        if let Some(found) = self.rows.find(hash, key) {
            self.remove_at(found);
        }
    }

    fn remove_at(&mut self, found: Found) {
        if let Some(row) = self.rows.at(found) {
            self.tally = self.tally - Tally::of(row);
            self.rows.remove(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        feature::PlainChange,
        online::key_hash::{first_of_shard, shard_of},
    };
    use proptest::prelude::*;
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::LazyLock,
    };

    static SHARED: LazyLock<Arc<Shared>> = LazyLock::new(|| Arc::new(Shared::new([1, 2, 3, 4])));
    /// Keys of one shard.
    static KEYS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let keys = (0..60_000).map(|number: u32| number.to_string().into_bytes());
        keys.filter(|key| shard_of(SHARED.hasher.hash(key)) == 5).collect()
    });

    proptest! {
        /// Keys are written, published or not, and deleted; a walk in steps of `count` meets each
        /// that stands once, and at no step many more than it was asked for.
        #[test]
        fn a_walk_in_steps_meets_each_row_of_a_state_once(
            writes in prop::collection::vec((0..50_usize, any::<bool>(), 0..4_u8), 0..120),
            count in 1..9_usize,
        ) {
            let mut shard = Shard::new(Arc::clone(&SHARED));
            let (mut published, mut latest) = (BTreeSet::new(), BTreeMap::new());
            for (lsn, (key, is_pending, kind)) in (1..).zip(writes) {
                let key = &KEYS[key % KEYS.len()];
                let value = vec![0; usize::from(kind) * 100];
                let change = match kind {
                    0 => PlainChange::Delete,
                    _ => PlainChange::SetString { value, expires_at: None },
                };
                let edit = Edit::Plain(key, &change);
                if is_pending {
                    shard.apply_pending(SHARED.hasher.hash(key), lsn, edit);
                    latest.insert(key, kind > 0);
                } else {
                    shard.apply(SHARED.hasher.hash(key), lsn, edit);
                    let _ = if kind > 0 { published.insert(key) } else { published.remove(key) };
                }
            }
            let mut newest = published.clone();
            for (key, stands) in latest {
                let _ = if stands { newest.insert(key) } else { newest.remove(key) };
            }
            for (seen, model) in [(Seen::Published, published), (Seen::Latest, newest)] {
                let (mut met, mut first) = (Vec::new(), first_of_shard(5));
                loop {
                    let (rows, end) = shard.rows_from(seen, first, count, |_| true);
                    prop_assert!(end.is_none() || rows.len() >= count);
                    met.extend(rows.iter().map(|(_, row)| row.key().to_vec()));
                    let hash = |row: &Row<'_>| SHARED.hasher.hash(row.key());
                    prop_assert!(rows.iter().all(|(told, row)| *told == hash(row)));
                    let Some(end) = end else { break };
                    prop_assert!(end > first && rows.iter().all(|(hash, _)| *hash < end));
                    first = end;
                }
                met.sort_unstable();
                let mut model: Vec<_> = model.into_iter().cloned().collect();
                model.sort_unstable();
                prop_assert_eq!(met, model);
            }
        }
    }
}
