//! Training sets in the making, and how far each is, for whoever watches the server.

use crate::offline::Phase;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc, time::Instant};

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
    /// The rows of its spine.
    pub rows: u64,
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
}

impl TrainingSets {
    /// One more is begun, with so many rows in its spine.
    pub(super) fn begin(&self, rows: u64) -> InTheMaking<'_> {
        let phase = Mutex::new(Phase::Spine);
        let progress = Arc::new(TrainingProgress { started: Instant::now(), rows, phase });
        let mut making = self.0.lock();
        making.last += 1;
        let number = making.last;
        making.sets.insert(number, Arc::clone(&progress));
        InTheMaking { sets: self, number, progress }
    }

    /// Those in the making, the first begun first.
    pub(super) fn all(&self) -> Vec<(u64, Arc<TrainingProgress>)> {
        let making = self.0.lock();
        making.sets.iter().map(|(number, set)| (*number, Arc::clone(set))).collect()
    }
}

impl InTheMaking<'_> {
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
        let (first, second) = (sets.begin(10), sets.begin(20));
        let progress = Arc::new(PhaseProgress::default());
        second.enter(&Phase::Pushed { progress: Arc::clone(&progress) });
        progress.begin(3);
        progress.advance();
        let told: Vec<_> = sets.all().iter().map(|(number, set)| (*number, set.rows)).collect();
        assert_eq!(told, [(1, 10), (2, 20)]);
        drop(first);
        let [(2, set)] = &sets.all()[..] else { panic!() };
        let Phase::Pushed { progress } = set.phase() else { panic!() };
        assert_eq!((progress.done(), progress.total()), (1, 3));
        drop(second);
        assert!(sets.all().is_empty());
        assert_eq!(sets.begin(30).number, 3);
    }
}
