//! What a name meant over time: every definition of it, when it was applied, and when dropped.
//!
//! ```text
//! v1 ├──────┤ replaced by v2 ├─────────┤ dropped      applied again ├──────> v2
//! ```
//! Invariants
//! - A history has at least one entry, and entries only come behind.
//! - `applied_at` never goes back.

use crate::feature::Timestamp;
use std::sync::Arc;

/// One definition, and how long it held.
#[derive(Debug, PartialEq)]
pub struct Applied<T> {
    /// What was defined.
    pub definition: Arc<T>,
    /// From when on it held.
    pub applied_at: Timestamp,
    /// When it was removed without another one in its place.
    pub dropped_at: Option<Timestamp>,
}

impl<T> Clone for Applied<T> {
    fn clone(&self) -> Self {
        Self { definition: Arc::clone(&self.definition), ..*self }
    }
}

/// All definitions of one name, oldest first.
#[derive(Debug, PartialEq)]
pub(super) struct History<T> {
    newest: Applied<T>,
    older: Vec<Applied<T>>,
}

impl<T> Clone for History<T> {
    fn clone(&self) -> Self {
        Self { newest: self.newest.clone(), older: self.older.clone() }
    }
}

impl<T> History<T> {
    pub(super) fn start(definition: Arc<T>, at: Timestamp) -> Self {
        let newest = Applied { definition, applied_at: at, dropped_at: None };
        Self { newest, older: Vec::new() }
    }

    /// From `at` on the name means `definition`.
    pub(super) fn push(&mut self, definition: Arc<T>, at: Timestamp) {
        let newest = Applied { definition, applied_at: at, dropped_at: None };
        self.older.push(std::mem::replace(&mut self.newest, newest));
    }

    /// From `at` on the name means nothing.
    pub(super) fn drop_at(&mut self, at: Timestamp) {
        self.newest.dropped_at.get_or_insert(at);
    }

    /// The last definition, whether it holds or was dropped.
    pub(super) fn newest(&self) -> &Arc<T> {
        &self.newest.definition
    }

    /// The definition that holds now.
    pub(super) fn current(&self) -> Option<&Arc<T>> {
        self.newest.dropped_at.is_none().then_some(&self.newest.definition)
    }

    /// The definition that held at `at`.
    pub(super) fn at(&self, at: Timestamp) -> Option<&Arc<T>> {
        let entry = self.newest_first().find(|entry| entry.applied_at <= at)?;
        let dropped = entry.dropped_at.is_some_and(|dropped_at| dropped_at <= at);
        (!dropped).then_some(&entry.definition)
    }

    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Applied<T>> {
        std::iter::once(&self.newest).chain(self.older.iter().rev())
    }

    pub(super) fn oldest_first(&self) -> impl Iterator<Item = &Applied<T>> {
        self.older.iter().chain(std::iter::once(&self.newest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(history: &History<u32>, at: i64, expected: Option<u32>) {
        assert_eq!(history.at(Timestamp(at)).map(|found| **found), expected, "at {at}");
    }

    #[test]
    fn the_past_is_answered_as_it_was() {
        let mut history = History::start(Arc::new(1), Timestamp(10));
        history.push(Arc::new(2), Timestamp(20));
        history.drop_at(Timestamp(30));
        assert_eq!(history.current(), None);
        history.push(Arc::new(2), Timestamp(40));
        for (at, expected) in [
            (9, None),
            (10, Some(1)),
            (19, Some(1)),
            (20, Some(2)),
            (29, Some(2)),
            (30, None),
            (40, Some(2)),
        ] {
            check(&history, at, expected);
        }
        assert_eq!(history.oldest_first().count(), 3);
    }

    #[test]
    fn of_two_definitions_at_one_instant_the_later_one_holds() {
        let mut history = History::start(Arc::new(1), Timestamp(10));
        history.push(Arc::new(2), Timestamp(10));
        check(&history, 10, Some(2));
    }
}
