//! A transaction: commands that run one after the other upon rows that are held, and one record.

use super::{
    locked::{Held, Locked, Staged},
    schema::Schema,
};
use crate::{
    error::{Error, Result},
    feature::Change,
    online::Edit,
};
use std::{cell::RefCell, sync::Arc};

/// A transaction that runs.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    pub(super) schema: Arc<Schema>,
    pub(super) held: Held<'a>,
    staged: RefCell<Staged>,
    /// All it did so far: the record it will be.
    changes: RefCell<Vec<Change>>,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(schema: Arc<Schema>, held: Held<'a>) -> Self {
        let staged = RefCell::new(Staged::new(&held));
        Self { schema, held, staged, changes: RefCell::default() }
    }

    /// What is held, and all that was decided.
    pub(super) fn into_parts(self) -> (Held<'a>, Vec<Change>) {
        (self.held, self.changes.into_inner())
    }

    /// Calls `read` with the rows as they are for the next command.
    pub(super) fn with_rows<R>(&self, read: impl FnOnce(&Locked<'_>) -> R) -> R {
        read(&self.held.rows(Some(&self.staged.borrow())))
    }

    /// One command of it: decides, and lets the commands behind it see what was decided.
    pub(super) fn commit<T>(
        &self,
        keys: &[&[u8]],
        decide: impl FnOnce(&Locked<'_>) -> Result<(Vec<Change>, T)>,
    ) -> Result<T> {
        if !keys.iter().all(|key| self.held.may_write(key)) {
            return Err(Error::refused("a key of this command was not known to its transaction"));
        }
        let (changes, value) = self.with_rows(decide)?;
        self.schema.check_layouts(&changes)?;
        let mut staged = self.staged.borrow_mut();
        for change in &changes {
            match change {
                // What lies ahead of the clock is not to be seen yet.
                Change::Cells(write) if write.stamp.event > self.held.now => {}
                Change::Cells(write) => {
                    let layout = self.schema.layout_for(write).map_err(Error::refused)?;
                    staged.stage(&self.held, Edit::Cells(layout, write));
                }
                Change::Plain { key, change } => staged.stage(&self.held, Edit::Plain(key, change)),
                Change::FlushAll => staged.flush(&self.held),
                Change::Apply { .. } | Change::RunEnded(_) | Change::Forget { .. } => {
                    debug_assert!(false, "a decision about keys changes rows only");
                }
            }
        }
        self.changes.borrow_mut().extend(changes);
        Ok(value)
    }
}
