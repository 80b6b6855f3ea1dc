//! One shard of the online store: the rows hashed here, and beside them those not yet durable.
//!
//! ```text
//! Seen::Published   rows            what every reader sees: nothing a crash could undo
//! Seen::Latest      pending, rows   what the next write builds on, durable or not
//! ```
//! A write that waits for its sync is applied to `pending`; once durable, `publish` moves it to
//! `rows`. So no reader ever waits for a disk, and no write for another's sync.

use super::{
    entity_row::{EntityRow, Merge},
    layout::Layout,
    plain_hash::{Fields, PACKED_FIELDS_MAX, PlainHash},
    row::{Body, Row},
};
use crate::feature::{CellsWrite, PlainChange};
use hashbrown::{HashTable, hash_table::Entry};
use serde_bytes::ByteBuf;
use std::collections::{HashMap, HashSet};

/// Which state a look-up means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// What is durable, or need not be.
    Published,
    /// What was acknowledged or will be.
    Latest,
}

/// What a write does to a row.
#[derive(Clone, Copy, Debug)]
pub enum Edit<'a> {
    /// It writes cells of an entity.
    Cells(&'a Layout, &'a CellsWrite),
    /// It changes a plain key.
    Plain(&'a [u8], &'a PlainChange),
}

impl Edit<'_> {
    /// The key it is about.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Cells(_, write) => &write.key,
            Self::Plain(key, _) => key,
        }
    }
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
            && edit_in_place(fields, change)
        {
            return;
        }
        match edited(self.get(hash, edit.key(), Seen::Published), lsn, edit) {
            Edited::Keep => {}
            Edited::Replace(row) => self.put(hash, row),
            Edited::Remove => self.remove(hash, edit.key()),
        }
    }

    /// Applies `edit` as record `lsn` to what the next write builds on.
    pub fn apply_pending(&mut self, hash: u64, lsn: u64, edit: Edit<'_>) {
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
            (self.live_rows, self.expiring_rows, self.bytes) = (0, 0, 0);
            return;
        }
        self.retain(|row| row.lsn() > lsn);
    }

    /// Puts a row that a snapshot holds, unless a newer one stands.
    pub fn load(&mut self, hash: u64, row: Row) {
        let standing = self.get(hash, row.key(), Seen::Published);
        if standing.is_none_or(|standing| standing.lsn() <= row.lsn()) {
            self.put(hash, row);
        }
    }

    /// Keeps the rows for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&Row) -> bool) {
        let (mut live_rows, mut expiring_rows, mut bytes) = (0, 0, 0);
        self.rows.retain(|(_, row)| {
            let is_kept = keep(row);
            if is_kept {
                live_rows += usize::from(row.has_value());
                expiring_rows += usize::from(row.expires_at().is_some());
                bytes += row.memory_bytes();
            }
            is_kept
        });
        (self.live_rows, self.expiring_rows, self.bytes) = (live_rows, expiring_rows, bytes);
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
        let is_all_published = self.pending.is_empty() && self.flushed_at.is_none();
        match seen {
            Seen::Latest if !is_all_published => {
                self.iter_seen(seen, |_| 0).filter(|(_, row)| row.has_value()).count()
            }
            Seen::Published | Seen::Latest => self.live_rows,
        }
    }

    /// How many rows have an end of life.
    pub fn expiring_rows(&self) -> usize {
        self.expiring_rows
    }

    /// The bytes of the rows and of the table that holds them.
    pub fn memory_bytes(&self) -> usize {
        self.bytes + self.rows.allocation_size()
    }

    fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Row> {
        self.rows.find_mut(hash, |(_, row)| row.key() == key).map(|(_, row)| row)
    }

    fn put(&mut self, hash: u64, row: Row) {
        self.count(&row);
        let entry = self.rows.entry(hash, |(_, old)| old.key() == row.key(), |(hash, _)| *hash);
        match entry {
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
        self.bytes += row.memory_bytes();
    }

    fn discount(&mut self, row: &Row) {
        self.live_rows -= usize::from(row.has_value());
        self.expiring_rows -= usize::from(row.expires_at().is_some());
        // The size of a large hash is an estimate that changed since it was counted.
        self.bytes = self.bytes.saturating_sub(row.memory_bytes());
    }
}

/// Changes a large hash without copying it; false if this change cannot be made so.
fn edit_in_place(fields: &mut Fields, change: &PlainChange) -> bool {
    match change {
        PlainChange::SetFields(written) => {
            let written = written.iter();
            fields.extend(written.map(|(name, value)| (name[..].into(), value[..].into())));
            true
        }
        PlainChange::DeleteFields(gone) if gone.len() < fields.len() => {
            gone.iter().for_each(|name| drop(fields.remove(name.as_slice())));
            true
        }
        _ => false,
    }
}

enum Edited {
    Keep,
    Replace(Row),
    Remove,
}

/// What `edit`, as record `lsn`, makes of `row`. A plain key that a later record already wrote is
/// kept: log replay over a snapshot meets such rows.
fn edited(row: Option<&Row>, lsn: u64, edit: Edit<'_>) -> Edited {
    match edit {
        Edit::Cells(layout, write) => {
            let body = match row.and_then(Row::body) {
                Some(Body::Entity(body)) => body,
                _ => EntityRow(&[]),
            };
            match body.merge(layout, write) {
                Merge::Changed(body) => {
                    let lsn = lsn.max(row.map_or(0, Row::lsn));
                    Edited::Replace(Row::entity(&write.key, lsn, &body))
                }
                Merge::Late | Merge::Unchanged => Edited::Keep,
            }
        }
        Edit::Plain(..) if row.is_some_and(|row| row.lsn() > lsn) => Edited::Keep,
        Edit::Plain(key, change) => edited_plain(row, lsn, key, change),
    }
}

fn edited_plain(row: Option<&Row>, lsn: u64, key: &[u8], change: &PlainChange) -> Edited {
    let hash = row.and_then(Row::plain_hash);
    let expires_at = row.and_then(Row::expires_at);
    match change {
        PlainChange::SetString { value, expires_at } => {
            Edited::Replace(Row::string(key, lsn, *expires_at, value))
        }
        PlainChange::Delete => Edited::Remove,
        PlainChange::ExpireAt(at) => {
            row.and_then(|row| row.with_expiry(lsn, *at)).map_or(Edited::Keep, Edited::Replace)
        }
        PlainChange::SetFields(written) => {
            let fields = with_fields(hash, written);
            Edited::Replace(Row::hash(key, lsn, expires_at, fields.into_iter()))
        }
        PlainChange::SetHash(written) => {
            let fields = with_fields(None, written);
            Edited::Replace(Row::hash(key, lsn, None, fields.into_iter()))
        }
        PlainChange::DeleteFields(gone) => {
            let Some(hash) = hash else { return Edited::Keep };
            let gone: HashSet<&[u8], ahash::RandomState> =
                gone.iter().map(|name| name.as_slice()).collect();
            let fields: Vec<_> = hash.iter().filter(|(name, _)| !gone.contains(name)).collect();
            if fields.is_empty() {
                return Edited::Remove;
            }
            Edited::Replace(Row::hash(key, lsn, expires_at, fields.into_iter()))
        }
    }
}

/// The fields of a hash, where there is one, with those `written` in their places or behind.
fn with_fields<'a>(
    hash: Option<PlainHash<'a>>,
    written: &'a [(ByteBuf, ByteBuf)],
) -> Vec<(&'a [u8], &'a [u8])> {
    let mut fields: Vec<(&[u8], &[u8])> =
        hash.map(|hash| hash.iter().collect()).unwrap_or_default();
    if fields.len() + written.len() <= PACKED_FIELDS_MAX {
        for (name, value) in written {
            match fields.iter_mut().find(|(standing, _)| *standing == name.as_slice()) {
                Some((_, standing)) => *standing = value,
                None => fields.push((name, value)),
            }
        }
        return fields;
    }
    // Comparing each with each would take minutes for a request of a million arguments.
    let mut all: HashMap<&[u8], &[u8], ahash::RandomState> = fields.into_iter().collect();
    all.extend(written.iter().map(|(name, value)| (name.as_slice(), value.as_slice())));
    all.into_iter().collect()
}
