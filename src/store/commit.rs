//! Commit: the only way anything changes.
//!
//! ```text
//! lock the shards of the keys ─> decide ─> append to the log ─┬─> apply          (interval, never)
//!                                                             └─> apply pending, publish when
//!                                                                 durable        (always)
//! ```
//! The locks are held from the decision to the append, so for every key the order of the log is
//! the order in which its writes were decided. A transaction decides several times under the same
//! locks, and appends once.

use super::{
    engine::{Store, Unpublished},
    keyspace::Keyspace,
    locked::{Held, Locked, Reach, Showing},
    schema::Schema,
    transaction::Transaction,
};
use crate::{
    error::{Error, Result},
    feature::{Change, PlainChange, Record, Timestamp, write_record},
    log::Lsn,
    online::{Edit, Seen},
    planted::planted,
};
use std::{cell::RefCell, ops::Deref, sync::Arc};

/// The room for a record that a thread keeps for the next one.
const ENCODED_BYTES_KEPT: usize = 64 * 1024;

thread_local! {
    /// The bytes of the record that is appended.
    static ENCODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What was decided, and what must be durable before a client may hear of it.
#[derive(Debug)]
pub struct Committed<T> {
    /// What the decision returned.
    pub value: T,
    /// The record to wait for; `None` if everything it drew on is durable, or if the transaction
    /// that this is a part of will know.
    pub wait_for: Option<Lsn>,
}

/// A record that is in the log.
pub(super) enum Appended {
    /// It is true at once.
    Now(Record),
    /// It waits until it is durable.
    Waiting(Arc<Record>),
}

impl Deref for Appended {
    type Target = Record;

    fn deref(&self) -> &Record {
        match self {
            Self::Now(record) => record,
            Self::Waiting(record) => record,
        }
    }
}

/// The keys a transaction may touch.
#[derive(Clone, Debug)]
pub enum TransactionKeys {
    /// These, in the one spelling that a registered entity gives them.
    Some(Vec<Vec<u8>>),
    /// Any.
    All,
}

/// What a transaction does with its keys.
#[derive(Clone, Copy, Debug)]
pub enum TransactionKind {
    /// It may change them.
    Writes,
    /// It reads this state of them.
    Reads(Seen),
}

impl Keyspace<'_> {
    /// Decides about `keys` and makes the decision true: all of its changes or none.
    ///
    /// `decide` sees the newest rows of `keys`, durable or not, and returns the changes, which are
    /// about no other key, and what the caller wants to know.
    pub fn commit<T>(
        self,
        keys: &[&[u8]],
        decide: impl FnOnce(&Locked<'_>) -> Result<(Vec<Change>, T)>,
    ) -> Result<Committed<T>> {
        let store = self.store;
        let decide = |locked: &Locked<'_>| {
            let (changes, value) = decide(locked)?;
            store.check_rows(&changes, locked)?;
            Ok((changes, value))
        };
        if let Some(transaction) = self.transaction {
            let value = transaction.commit(keys, decide)?;
            return Ok(Committed { value, wait_for: None });
        }
        let mut held = store.hold(&Reach::write(&store.table, keys.iter().copied()), self.now);
        let (changes, value) = decide(&held.rows(None))?;
        if changes.is_empty() {
            let is_pending = keys.iter().any(|key| held.is_pending(key));
            return Ok(Committed { value, wait_for: is_pending.then(|| store.log.last()) });
        }
        store.check_tier(self.epoch, &changes)?;
        if changes.iter().any(|change| matches!(change, Change::Cells(_))) {
            store.schema().check_layouts(&changes)?;
        }
        let lsn = store.append_and_apply(&mut held, changes)?;
        Ok(Committed { value, wait_for: Some(lsn) })
    }

    /// Removes every key.
    pub fn flush_all(self) -> Result<Committed<()>> {
        if let Some(transaction) = self.transaction {
            transaction.commit(&[], |_| Ok((vec![Change::FlushAll], ())))?;
            return Ok(Committed { value: (), wait_for: None });
        }
        let store = self.store;
        let _no_checkpoint_between = store.noting.lock();
        let mut held = store.hold(&Reach::everything(true), self.now);
        let lsn = store.append_and_apply(&mut held, vec![Change::FlushAll])?;
        Ok(Committed { value: (), wait_for: Some(lsn) })
    }
}

impl Store {
    /// Runs a transaction: nobody else sees `keys` before it or in the middle of it, and all it
    /// changed is one record of the log. If the record cannot be appended, or a key is no longer
    /// plain that was when it began, nothing has changed.
    ///
    /// `run` decides which commands run, on the keyspace it is given; all else that it does with
    /// keys would wait for its own locks.
    pub fn transaction<T>(
        &self,
        keys: impl FnOnce(&Schema) -> TransactionKeys,
        kind: TransactionKind,
        run: impl FnOnce(Keyspace<'_>, Timestamp) -> T,
    ) -> Result<Committed<T>> {
        self.now();
        let epoch = self.registration.epoch();
        let schema = self.schema.load_full();
        let keys = keys(&schema);
        let (is_write, seen) = match kind {
            TransactionKind::Writes => (true, Seen::Latest),
            TransactionKind::Reads(seen) => (false, seen),
        };
        let (reach, _no_checkpoint_between) = match &keys {
            TransactionKeys::All => {
                (Reach::everything(is_write), is_write.then(|| self.noting.lock()))
            }
            TransactionKeys::Some(keys) => {
                let keys = keys.iter().map(Vec::as_slice);
                let reach = if is_write { Reach::write } else { Reach::read };
                (reach(&self.table, keys), None)
            }
        };
        let transaction = Transaction::new(schema, self.hold_seen(&reach, seen));
        let now = transaction.held.now;
        let value = run(
            Keyspace { store: self, transaction: Some(&transaction), now: Some(now), epoch },
            now,
        );
        let (mut held, changes) = transaction.into_parts();
        if changes.is_empty() {
            // What it read may wait for its sync.
            let wait_for = (seen == Seen::Latest).then(|| self.log.last());
            return Ok(Committed { value, wait_for });
        }
        self.check_tier(epoch, &changes)?;
        let lsn = self.append_and_apply(&mut held, changes)?;
        Ok(Committed { value, wait_for: Some(lsn) })
    }

    /// Holds the newest rows; what was waiting for the time of the decision is among them. That is
    /// no time before `asked`, if that was asked for, nor any that others decided at before.
    fn hold(&self, reach: &Reach, asked: Option<Timestamp>) -> Held<'_> {
        loop {
            let now = || asked.map_or_else(|| self.clock.now(), |now| self.clock.not_before(now));
            let held = Held::new(&self.table, reach, Seen::Latest, now);
            let now = held.now;
            if !self.future.is_due(now) {
                return held;
            }
            drop(held);
            self.admit_due(now);
        }
    }

    fn hold_seen(&self, reach: &Reach, seen: Seen) -> Held<'_> {
        Held::new(&self.table, reach, seen, || self.clock.now())
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

    /// Makes `changes` one record, and true.
    fn append_and_apply(&self, held: &mut Held<'_>, changes: Vec<Change>) -> Result<Lsn> {
        if changes.len() > 1 && planted("transaction in pieces") {
            let mut pieces = changes.into_iter();
            return pieces.try_fold(Lsn(0), |_, one| self.append_and_apply(held, vec![one]));
        }
        let flushes = changes.iter().any(|change| matches!(change, Change::FlushAll));
        let (lsn, record) = self.append(Record { changes }, held.now)?;
        if flushes {
            self.jobs.lock().flush_begins(lsn.0);
        }
        let is_later = self.is_deferred() && !planted("publish before durable");
        let showing = if is_later { Showing::Later } else { Showing::AtOnce };
        let now = held.now;
        self.apply_held(held, lsn, &record, now, showing)?;
        Ok(lsn)
    }

    /// Appends a record; in mode `always` it is also queued until it is durable, under the same
    /// lock, so that both have one order.
    pub(super) fn append(&self, record: Record, decided_at: Timestamp) -> Result<(Lsn, Appended)> {
        ENCODED.with_borrow_mut(|bytes| {
            bytes.clear();
            write_record(&record, bytes);
            let (lsn, record) = if self.is_deferred() {
                let mut unpublished = self.unpublished.lock();
                let lsn = self.log.append_unhurried(bytes)?;
                let record = Arc::new(record);
                let waiting = Arc::clone(&record);
                unpublished.push_back(Unpublished { lsn, decided_at, record: waiting });
                (lsn, Appended::Waiting(record))
            } else {
                (self.log.append_unhurried(bytes)?, Appended::Now(record))
            };
            if bytes.capacity() > ENCODED_BYTES_KEPT {
                *bytes = Vec::new();
            }
            Ok((lsn, record))
        })
    }

    /// Applies the changes of record `lsn`, which are about rows that are held. Cells that lie
    /// ahead of `now` are kept aside.
    pub(super) fn apply_held(
        &self,
        held: &mut Held<'_>,
        lsn: Lsn,
        record: &Record,
        now: Timestamp,
        showing: Showing,
    ) -> Result<()> {
        // Who writes plain keys alone needs none.
        let mut schema = None;
        let is_shown = showing != Showing::Later;
        for change in &record.changes {
            match change {
                Change::Cells(write) if write.stamp.event > now => {
                    if is_shown {
                        self.future.keep(lsn.0, write.clone());
                    }
                }
                Change::Cells(write) => {
                    let schema = schema.get_or_insert_with(|| self.schema());
                    let layout = schema.layout_of(write).map_err(Error::refused)?;
                    debug_assert!(layout.accepts(write), "it was looked at before it was appended");
                    held.edit(lsn, Edit::Cells(layout, write), showing);
                }
                Change::Plain { key, change } => {
                    held.edit(lsn, Edit::Plain(key, change), showing);
                }
                Change::Forget { key, at } => {
                    held.edit(lsn, Edit::Plain(key, &PlainChange::Delete), showing);
                    self.note_forgotten(key, lsn, *at);
                }
                Change::FlushAll => {
                    held.flush(lsn, showing);
                    if is_shown {
                        self.future.flush(lsn.0);
                        self.jobs.lock().note(lsn.0, change);
                    }
                }
                Change::Apply { .. } | Change::RunEnded(_) => {
                    debug_assert!(false, "a decision about keys changes rows only");
                }
            }
        }
        Ok(())
    }
}
