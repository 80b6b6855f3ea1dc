//! Training sets in the making: how far each is, for whoever watches the server, and what it sees,
//! for whoever would take that away.

use crate::{log::Lsn, offline::Phase};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// The training sets that are made right now, by number: the first of a process has 1.
#[derive(Debug, Default)]
pub(super) struct TrainingSets(Mutex<Making>);

#[derive(Debug, Default)]
struct Making {
    last: u64,
    sets: BTreeMap<u64, Arc<TrainingProgress>>,
}

/// How far a training set is.
#[derive(Debug)]
pub struct TrainingProgress {
    /// When it was begun.
    pub started: Instant,
    /// The last record it sees.
    until: Lsn,
    rows: AtomicU64,
    phase: Mutex<Phase>,
}

/// Counts a training set among those in the making until it is dropped.
pub(super) struct InTheMaking<'a> {
    sets: &'a TrainingSets,
    number: u64,
    progress: Arc<TrainingProgress>,
}

impl TrainingProgress {
    /// What its maker is at.
    pub fn phase(&self) -> Phase {
        self.phase.lock().clone()
    }

    /// The rows of its spine; 0 until these are looked at.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}

impl TrainingSets {
    /// One more is begun, which sees all up to the record `until`.
    pub(super) fn begin(&self, until: Lsn) -> InTheMaking<'_> {
        let mut making = self.0.lock();
        let progress = Arc::new(TrainingProgress {
            started: Instant::now(),
            until,
            rows: AtomicU64::new(0),
            phase: Mutex::new(Phase::Spine),
        });
        making.last += 1;
        let number = making.last;
        making.sets.insert(number, Arc::clone(&progress));
        InTheMaking { sets: self, number, progress }
    }

    /// Whether one of them sees record `lsn`.
    pub(super) fn see(&self, lsn: Lsn) -> bool {
        self.0.lock().sets.values().any(|set| lsn <= set.until)
    }

    /// Those in the making, the first begun first.
    pub(super) fn all(&self) -> Vec<(u64, Arc<TrainingProgress>)> {
        let making = self.0.lock();
        making.sets.iter().map(|(number, set)| (*number, Arc::clone(set))).collect()
    }
}

impl InTheMaking<'_> {
    /// The last record that the set sees.
    pub(super) fn until(&self) -> Lsn {
        self.progress.until
    }

    /// So many rows its spine has.
    pub(super) fn has_rows(&self, rows: u64) {
        self.progress.rows.store(rows, Ordering::Relaxed);
    }

    /// A phase begins.
    pub(super) fn enter(&self, phase: &Phase) {
        self.progress.phase.lock().clone_from(phase);
    }
}

impl Drop for InTheMaking<'_> {
    fn drop(&mut self) {
        self.sets.0.lock().sets.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::PhaseProgress;

    #[test]
    fn sets_are_told_of_while_they_are_made() {
        let sets = TrainingSets::default();
        let (first, second) = (sets.begin(Lsn(7)), sets.begin(Lsn(9)));
        let progress = Arc::new(PhaseProgress::default());
        second.has_rows(20);
        second.enter(&Phase::Pushed { progress: Arc::clone(&progress) });
        progress.begin(3);
        progress.advance();
        let told: Vec<_> = sets.all().iter().map(|(number, set)| (*number, set.rows())).collect();
        assert_eq!(told, [(1, 0), (2, 20)]);
        drop(first);
        let [(2, set)] = &sets.all()[..] else { panic!() };
        let Phase::Pushed { progress } = set.phase() else { panic!() };
        assert_eq!(progress.done_of(), (1, 3));
        drop(second);
        assert!(sets.all().is_empty());
        assert_eq!(sets.begin(Lsn(9)).number, 3);
    }

    #[test]
    fn a_set_sees_what_was_there_when_it_was_begun() {
        let sets = TrainingSets::default();
        let (set, _earlier) = (sets.begin(Lsn(7)), sets.begin(Lsn(3)));
        assert_eq!([1, 7, 8].map(|lsn| sets.see(Lsn(lsn))), [true, true, false]);
        drop(set);
        assert_eq!([1, 3, 4].map(|lsn| sets.see(Lsn(lsn))), [true, true, false]);
    }
}
