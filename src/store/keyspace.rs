//! What a command may do with keys: at once and alone, or as a part of a transaction.

use super::{
    engine::Store,
    locked::{Held, Locked, Reach},
    read_features::{FeatureRead, RowReader, entity_row},
    read_plan::ReadPlan,
    schema::Schema,
    transaction::Transaction,
};
use crate::{
    feature::Timestamp,
    online::{Ahead, EntityRow, Row, ScanStep, Seen, Shard},
};
use arc_swap::Guard;
use std::sync::Arc;

/// The keys of a store, as one command meets them. Copied freely.
///
/// In a transaction the rows it reaches are held: then everything here reads them as they are held,
/// with what the transaction changed so far, and never takes a lock.
#[derive(Clone, Copy, Debug)]
pub struct Keyspace<'a> {
    pub(super) store: &'a Store,
    pub(super) transaction: Option<&'a Transaction<'a>>,
    /// The time of the command, if it was asked for.
    pub(super) now: Option<Timestamp>,
    /// Of `store.registration`, before any schema that a decision upon these keys is made by.
    pub(super) epoch: u64,
}

impl Store {
    /// The keys, for one command.
    pub fn keyspace(&self) -> Keyspace<'_> {
        Keyspace { store: self, transaction: None, now: None, epoch: self.registration.epoch() }
    }

    /// The same for one that runs at `now`, which the clock of the store told: its decisions need
    /// not ask again.
    pub fn keyspace_at(&self, now: Timestamp) -> Keyspace<'_> {
        Keyspace { now: Some(now), ..self.keyspace() }
    }
}

impl<'a> Keyspace<'a> {
    /// The definitions and layouts: of this moment, or those a transaction began with.
    pub fn schema(self) -> Guard<Arc<Schema>> {
        match self.transaction {
            None => self.store.schema(),
            Some(transaction) => Guard::from_inner(Arc::clone(&transaction.schema)),
        }
    }

    /// Whether this is a part of a transaction.
    pub fn is_transaction(self) -> bool {
        self.transaction.is_some()
    }

    /// For the keys of rows that will be read soon.
    pub fn ahead(self) -> Ahead<'a> {
        Ahead::new(&self.store.table)
    }

    /// Calls `read` with the row of `key`, of the state that `seen` means.
    pub fn read<R>(self, key: &[u8], seen: Seen, read: impl FnOnce(Option<Row<'_>>) -> R) -> R {
        match self.transaction {
            None => self.store.table.read(key, seen, read),
            Some(transaction) => transaction.with_rows(|rows| read(rows.row(key))),
        }
    }

    /// Calls `read` with the features of `key`.
    pub fn read_entity<R>(
        self,
        key: &[u8],
        seen: Seen,
        read: impl FnOnce(EntityRow<'_>) -> R,
    ) -> R {
        self.read(key, seen, |row| read(entity_row(row)))
    }

    /// Calls `visit` with what each feature of `plan` is for `key`, in the order of the plan.
    pub fn get_online_features(
        self,
        key: &[u8],
        plan: &ReadPlan,
        now: Timestamp,
        seen: Seen,
        visit: impl FnMut(FeatureRead<'_>),
    ) {
        self.read_entity(key, seen, |row| {
            RowReader::new(row, now).read_all(plan, visit);
        });
    }

    /// Calls `read` with the rows of `keys` as they stand at one moment.
    pub fn read_together<'k, R>(
        self,
        keys: impl IntoIterator<Item = &'k [u8]>,
        seen: Seen,
        now: Timestamp,
        read: impl FnOnce(&Locked<'_>) -> R,
    ) -> R {
        match self.transaction {
            None => {
                let table = &self.store.table;
                let held = Held::new(table, &Reach::read(table, keys), seen, || now);
                read(&held.rows(None))
            }
            Some(transaction) => transaction.with_rows(read),
        }
    }

    /// Calls `visit` with at least `count` rows from `cursor` on, as far as there are any, of the
    /// state that `seen` means.
    pub fn scan(
        self,
        cursor: u64,
        count: usize,
        seen: Seen,
        visit: impl FnMut(Row<'_>),
    ) -> ScanStep {
        match self.transaction {
            None => self.store.table.scan(cursor, count, seen, visit),
            Some(transaction) => transaction.with_rows(|rows| rows.scan(cursor, count, visit)),
        }
    }

    /// How many rows have a value, of the state that `seen` means.
    pub fn live_rows(self, seen: Seen) -> usize {
        match self.transaction {
            None => self.store.table.live_rows(seen),
            Some(transaction) => transaction.with_rows(|rows| rows.live_rows()),
        }
    }

    /// How many rows have an end of life.
    pub fn expiring_rows(self) -> usize {
        match self.transaction {
            None => self.store.table.expiring_rows(),
            Some(transaction) => transaction.with_rows(|rows| rows.expiring_rows()),
        }
    }

    /// How many rows have fields with an end of life.
    pub fn ending_rows(self) -> usize {
        match self.transaction {
            None => self.store.table.ending_rows(),
            Some(transaction) => transaction.with_rows(|rows| rows.ending_rows()),
        }
    }

    /// The bytes of all rows, without the tables that hold them.
    pub fn row_bytes(self) -> usize {
        match self.transaction {
            None => self.store.table.row_bytes(),
            Some(transaction) => transaction.held.sum(Shard::row_bytes),
        }
    }

    /// How long keys with an end live on from now, in ms: the mean of a sample. 0 if there is none,
    /// and in a transaction, which holds the rows.
    pub fn mean_ttl_ms(self, now: Timestamp) -> i64 {
        if self.is_transaction() { 0 } else { self.store.table.mean_ttl_ms(now) }
    }

    /// The bytes of all rows and of the tables that hold them.
    pub fn memory_bytes(self) -> usize {
        match self.transaction {
            None => self.store.table.memory_bytes(),
            Some(transaction) => transaction.held.sum(Shard::memory_bytes),
        }
    }

    /// A number of `name` that stays the same as long as the store is open.
    pub fn hash(self, name: &[u8]) -> u64 {
        self.store.table.hash(name)
    }

    /// Which record wrote what stands under `key`; `None` if nothing does.
    pub fn version(self, key: &[u8], seen: Seen, now: Timestamp) -> Option<u64> {
        self.read(key, seen, |row| row.filter(|row| !row.is_expired(now)).map(Row::lsn))
    }
}
