//! Commit: the only way anything changes.
//!
//! ```text
//! lock the shards of the keys ─> decide ─> append to the log ─┬─> apply          (interval, never)
//!                                                             └─> apply pending, publish when
//!                                                                 durable        (always)
//! ```
//! The locks are held from the decision to the append, so for every key the order of the log is
//! the order in which its writes were decided.

use super::engine::{Store, Unpublished};
use crate::{
    error::{Error, Result},
    feature::{Change, Origin, Record, Timestamp, encode_record},
    log::Lsn,
    online::{Edit, Row, Seen, Shard, Table},
};
use parking_lot::RwLockWriteGuard;
use std::sync::Arc;

/// What was decided, and what must be durable before a client may hear of it.
#[derive(Debug)]
pub struct Committed<T> {
    /// What the decision returned.
    pub value: T,
    /// The record to wait for; `None` if everything it drew on is durable.
    pub wait_for: Option<Lsn>,
}

/// The rows of some keys while a write about them is decided.
#[derive(Debug)]
pub struct Locked<'a> {
    table: &'a Table,
    shards: Vec<(usize, RwLockWriteGuard<'a, Shard>)>,
    /// The time of the write.
    pub now: Timestamp,
}

impl<'a> Locked<'a> {
    fn new(table: &'a Table, mut indices: Vec<usize>, now: impl FnOnce() -> Timestamp) -> Self {
        // Always in ascending order, so that two writers never wait for each other.
        indices.sort_unstable();
        indices.dedup();
        let shards = indices.into_iter().map(|index| (index, table.shard_mut(index))).collect();
        Self { table, shards, now: now() }
    }

    /// The newest row of `key`, which is one of the keys that were locked; a plain key past its
    /// end of life is no row. What is written where none is must say all there is: replay does not
    /// know the time of the write, and may find a row that was over.
    pub fn row(&self, key: &[u8]) -> Option<&Row> {
        let hash = self.table.hash(key);
        let row = self.shard(hash)?.get(hash, key, Seen::Latest);
        row.filter(|row| !row.is_expired(self.now))
    }

    fn is_pending(&self, key: &[u8]) -> bool {
        self.shard(self.table.hash(key)).is_some_and(|shard| shard.is_pending(key))
    }

    fn shard(&self, hash: u64) -> Option<&Shard> {
        let index = Table::shard_index(hash);
        let place = self.shards.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        self.shards.get(place).map(|(_, shard)| &**shard)
    }

    fn edit(&mut self, lsn: Lsn, edit: Edit<'_>, is_deferred: bool) {
        let hash = self.table.hash(edit.key());
        let index = Table::shard_index(hash);
        let place = self.shards.binary_search_by_key(&index, |(index, _)| *index);
        let shard = place.ok().and_then(|place| self.shards.get_mut(place));
        debug_assert!(shard.is_some(), "a decision changes only keys that were locked");
        match shard {
            Some((_, shard)) if is_deferred => shard.apply_pending(hash, lsn.0, edit),
            Some((_, shard)) => shard.apply(hash, lsn.0, edit),
            None => {}
        }
    }
}

impl Store {
    /// Decides about `keys` and makes the decision true: all of its changes or none.
    ///
    /// `decide` sees the newest rows of `keys`, durable or not, and returns the changes, which are
    /// about no other key, and what the caller wants to know.
    pub fn commit<T>(
        &self,
        keys: &[&[u8]],
        decide: impl FnOnce(&Locked<'_>) -> Result<(Vec<Change>, T)>,
    ) -> Result<Committed<T>> {
        let indices = keys.iter().map(|key| Table::shard_index(self.table.hash(key))).collect();
        self.now();
        let mut locked = Locked::new(&self.table, indices, || self.clock.now());
        let (changes, value) = decide(&locked)?;
        if changes.is_empty() {
            let is_pending = keys.iter().any(|key| locked.is_pending(key));
            return Ok(Committed { value, wait_for: is_pending.then(|| self.log.last()) });
        }
        self.check_layouts(&changes)?;
        let (lsn, record) = self.append(Record { changes }, locked.now)?;
        self.apply_locked(&mut locked, lsn, &record)?;
        Ok(Committed { value, wait_for: Some(lsn) })
    }

    /// Removes every key.
    pub fn flush_all(&self) -> Result<Committed<()>> {
        let _no_checkpoint_between = self.noting.lock();
        let all = (0..self.table.shard_count()).collect();
        let mut locked = Locked::new(&self.table, all, || self.clock.now());
        let (lsn, record) = self.append(Record { changes: vec![Change::FlushAll] }, locked.now)?;
        self.jobs.lock().flush_begins(lsn.0);
        let is_deferred = self.is_deferred();
        for (_, shard) in &mut locked.shards {
            if is_deferred { shard.flush_pending(lsn.0) } else { shard.flush(lsn.0) }
        }
        if !is_deferred {
            // Again for the rows, which is harmless, and for what is no row.
            let now = locked.now;
            drop(locked);
            self.publish(lsn, &record, now)?;
        }
        Ok(Committed { value: (), wait_for: Some(lsn) })
    }

    /// Makes a change true that is about no row, and returns once it is.
    pub(super) fn commit_durably(&self, decide: impl FnOnce() -> Change) -> Result<()> {
        let no_checkpoint_between = self.noting.lock();
        let now = self.clock.now();
        let (lsn, record) = self.append(Record { changes: vec![decide()] }, now)?;
        if self.is_deferred() {
            drop(no_checkpoint_between);
            return self.acknowledged_blocking(lsn);
        }
        self.publish(lsn, &record, now)?;
        drop(no_checkpoint_between);
        self.log.flush()
    }

    /// Appends a record; in mode `always` it is also queued until it is durable, under the same
    /// lock, so that both have one order.
    fn append(&self, record: Record, decided_at: Timestamp) -> Result<(Lsn, Arc<Record>)> {
        let is_history = |change: &Change| match change {
            Change::Cells(write) => write.origin == Origin::Pushed,
            _ => false,
        };
        let holds_history = record.changes.iter().any(is_history);
        let bytes = encode_record(&record);
        let record = Arc::new(record);
        if !self.is_deferred() {
            return Ok((self.log.append(&bytes, holds_history)?, record));
        }
        let mut unpublished = self.unpublished.lock();
        let lsn = self.log.append(&bytes, holds_history)?;
        unpublished.push_back(Unpublished { lsn, decided_at, record: Arc::clone(&record) });
        Ok((lsn, record))
    }

    /// A record that cannot be applied must never reach the log: no store would open upon it.
    fn check_layouts(&self, changes: &[Change]) -> Result<()> {
        let schema = self.schema();
        for change in changes {
            if let Change::Cells(write) = change {
                schema.layout_for(write).map_err(Error::refused)?;
            }
        }
        Ok(())
    }

    fn apply_locked(&self, locked: &mut Locked<'_>, lsn: Lsn, record: &Record) -> Result<()> {
        let is_deferred = self.is_deferred();
        let schema = self.schema();
        for change in &record.changes {
            match change {
                Change::Cells(write) if write.stamp.event > locked.now => {
                    if !is_deferred {
                        self.future.keep(lsn.0, write.clone());
                    }
                }
                Change::Cells(write) => {
                    let layout = schema.layout_for(write).map_err(Error::refused)?;
                    locked.edit(lsn, Edit::Cells(layout, write), is_deferred);
                }
                Change::Plain { key, change } => {
                    locked.edit(lsn, Edit::Plain(key, change), is_deferred);
                }
                Change::FlushAll | Change::Apply { .. } | Change::RunEnded(_) => {
                    debug_assert!(false, "a decision about keys changes rows only");
                }
            }
        }
        Ok(())
    }
}
