//! A key belongs to one tier: it is plain, or of a registered entity. What is decided by
//! definitions that count no more is refused under the locks of its keys.
//!
//! - Registered since: a plain change is refused (`registration.rs`).
//! - Dropped: what the entity left there stays, its deletion too, and no plain key takes its place.
//!   If the time of a deletion were lost, what is older could come back with the entity, against
//!   the history. Nor do features of it, decided before the drop, take the place of a plain key.

use super::{
    engine::{Store, Unpublished},
    keyspace::Keyspace,
    locked::Locked,
};
use crate::{
    error::{Error, Result, echo},
    feature::Change,
};

impl Keyspace<'_> {
    /// Refuses what was decided about `key` as of no registered entity, if it is of one by now.
    pub fn check_unregistered(self, key: &[u8]) -> Result<()> {
        self.store.check_plain_key(key)
    }

    /// The refusal of a plain write to `key`, where features of an entity stand.
    #[cold]
    pub fn not_plain(self, key: &[u8]) -> Error {
        self.store.not_plain(key)
    }
}

impl Store {
    /// Refuses `changes` if a key that they take as plain may belong to an entity by now; `epoch`
    /// was asked before they were decided, and the locks of their keys are held.
    pub(super) fn check_tier(&self, epoch: u64, changes: &[Change]) -> Result<()> {
        if self.registration.is_unchanged(epoch) { Ok(()) } else { self.check_plain(changes) }
    }

    /// Refuses `changes` that would write over what is of the other tier. Only where an entity was
    /// dropped, be it applied again by now, can that be.
    #[inline]
    pub(super) fn check_rows(&self, changes: &[Change], locked: &Locked<'_>) -> Result<()> {
        match self.registration.had_drop() {
            true => changes.iter().try_for_each(|change| self.check_row(change, locked)),
            false => Ok(()),
        }
    }

    #[cold]
    fn check_row(&self, change: &Change, locked: &Locked<'_>) -> Result<()> {
        match change {
            Change::Plain { key, .. } => {
                let has_row = locked.row(key).is_some_and(|row| row.is_entity());
                if has_row || self.has_waiting(key, locked) {
                    return Err(self.not_plain(key));
                }
            }
            Change::Cells(write) => {
                let is_plain = locked.row(&write.key).is_some_and(|row| !row.is_entity());
                let is_of_none = || self.schema().catalog.entity_of_key(&write.key).is_none();
                // What waits for its time stands in no row that would keep a plain key away.
                if is_plain || write.stamp.event > locked.now && is_of_none() {
                    let key = echo(&write.key);
                    return Err(try_again(&format!("the entity of {key} was dropped meanwhile")));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether cells ahead of the clock wait for `key`, of an entity that was dropped; those that
    /// are not durable yet among them.
    fn has_waiting(&self, key: &[u8], locked: &Locked<'_>) -> bool {
        if locked.is_flushed() || self.schema().catalog.entity_ever_of_key(key).is_none() {
            return false;
        }
        for Unpublished { record, decided_at, .. } in self.unpublished.lock().iter().rev() {
            for change in record.changes.iter().rev() {
                match change {
                    Change::FlushAll => return false,
                    Change::Forget { key: forgotten, .. } if forgotten == key => return false,
                    Change::Cells(write) if write.key == key && write.stamp.event > *decided_at => {
                        return true;
                    }
                    _ => {}
                }
            }
        }
        self.future.has(key)
    }

    fn not_plain(&self, key: &[u8]) -> Error {
        if let Err(error) = self.check_plain_key(key) {
            return error;
        }
        let what = format!("{} has features of an entity that was dropped", echo(key));
        let why = "or their deletion; apply the entity again, or free the key by FS.FORGET";
        Error::refused_as("WRONGTYPE", format!("{what}, {why}"))
    }

    #[cold]
    fn check_plain(&self, changes: &[Change]) -> Result<()> {
        let plain = changes.iter().filter_map(|change| match change {
            Change::Plain { key, .. } => Some(key),
            _ => None,
        });
        plain.into_iter().try_for_each(|key| self.check_plain_key(key))
    }

    fn check_plain_key(&self, key: &[u8]) -> Result<()> {
        // The names before the schema: one that is no longer among them is in the schema already.
        let names = self.registration.names();
        let schema = self.schema();
        let is_of = |name: &&String| {
            key.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b':'))
        };
        let registered = schema.catalog.entity_of_key(key).map(|entity| &entity.name);
        match registered.or_else(|| names.iter().find(is_of)) {
            Some(name) => Err(try_again(&format!("entity {name} was registered meanwhile"))),
            None => Ok(()),
        }
    }
}

fn try_again(why: &str) -> Error {
    Error::refused_as("TRYAGAIN", format!("{why}; nothing was written"))
}
