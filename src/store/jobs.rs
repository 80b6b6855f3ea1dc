//! What a store knows besides rows: which definitions were applied, which runs ended, in order.
//!
//! A snapshot holds this list and replays it; the catalog, the cursors of materialization and the
//! history of runs all follow from it.

use crate::feature::{Change, Run, RunState};
use std::collections::{BTreeMap, VecDeque};

/// So many runs are told by FS.RUNS; of older ones only what still matters is kept.
pub const RUNS_KEPT: usize = 1000;

/// Applied definitions and ended runs, and what follows from them.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// Every `Apply`, and the `RunEnded` of the first and the last run that was done of each
    /// generation, and the `FlushAll` after them.
    kept: Vec<(u64, Change)>,
    /// The last record that was noted.
    noted: u64,
    runs: VecDeque<Run>,
    running: BTreeMap<String, Running>,
    last_id: u64,
    /// The last flush that was appended, and the last that was noted: durable, as the mode says.
    flushed: u64,
    flush_noted: u64,
}

/// A run that has not ended.
#[derive(Debug)]
struct Running {
    run: Run,
    /// The last flush before it began.
    flushed: u64,
}

impl Jobs {
    /// Whether record `lsn`, or a later one, was noted.
    pub(super) fn knows(&self, lsn: u64) -> bool {
        lsn <= self.noted
    }

    /// Notes a change of record `lsn` that is about no row.
    pub(super) fn note(&mut self, lsn: u64, change: &Change) {
        self.noted = self.noted.max(lsn);
        match change {
            Change::Apply { .. } => self.kept.push((lsn, change.clone())),
            Change::FlushAll => {
                self.flush_begins(lsn);
                self.flush_noted = self.flush_noted.max(lsn);
                self.kept.retain(|(_, kept)| !matches!(kept, Change::FlushAll));
                self.kept.push((lsn, change.clone()));
            }
            Change::RunEnded(run) => self.note_run(lsn, run),
            Change::Cells(_) | Change::Plain { .. } | Change::Forget { .. } => {}
        }
    }

    fn note_run(&mut self, lsn: u64, run: &Run) {
        self.running.remove(&run.view);
        self.last_id = self.last_id.max(run.id);
        self.runs.push_back(run.clone());
        if self.runs.len() > RUNS_KEPT {
            self.runs.pop_front();
        }
        if run.state != RunState::Done {
            return;
        }
        // The first run of a generation may have switched it, the last one is its cursor.
        let same = |(_, kept): &(u64, Change)| match kept {
            Change::RunEnded(other) => {
                (&other.view, other.generation) == (&run.view, run.generation)
            }
            _ => false,
        };
        if self.kept.iter().filter(|kept| same(kept)).count() > 1
            && let Some(last) = self.kept.iter().rposition(same)
        {
            self.kept.remove(last);
        }
        self.kept.push((lsn, Change::RunEnded(run.clone())));
    }

    /// What a snapshot holds, in order.
    pub(super) fn kept(&self) -> &[(u64, Change)] {
        &self.kept
    }

    /// The number of the last run.
    pub(super) fn last_id(&self) -> u64 {
        self.last_id
    }

    /// Notes the last number that a snapshot knows.
    pub(super) fn set_last_id(&mut self, id: u64) {
        self.last_id = self.last_id.max(id);
    }

    /// Record `lsn` flushes: what runs have written so far will be gone.
    pub(super) fn flush_begins(&mut self, lsn: u64) {
        self.flushed = self.flushed.max(lsn);
    }

    /// The last record that flushed, or is about to.
    pub(super) fn flushed(&self) -> u64 {
        self.flushed
    }

    /// Whether there was a flush since the run of a view began.
    pub(super) fn is_flushed_since_begin(&self, view: &str) -> bool {
        self.running.get(view).is_some_and(|running| running.flushed < self.flushed)
    }

    /// The run of a view that has not ended.
    pub(super) fn running(&self, view: &str) -> Option<&Run> {
        self.running.get(view).map(|running| &running.run)
    }

    /// Begins a run and numbers it; none of the same view runs.
    pub(super) fn begin(&mut self, mut run: Run) -> Run {
        self.last_id += 1;
        run.id = self.last_id;
        let running = Running { run: run.clone(), flushed: self.flushed };
        self.running.insert(run.view.clone(), running);
        run
    }

    /// Notes how far a run is that has not ended.
    pub(super) fn progress(&mut self, run: &Run) {
        if let Some(running) = self.running.get_mut(&run.view) {
            running.run = run.clone();
        }
    }

    /// Forgets a run whose end was never written.
    pub(super) fn abandon(&mut self, run: &Run) {
        if self.running(&run.view).is_some_and(|running| running.id == run.id) {
            self.running.remove(&run.view);
        }
    }

    /// The newest runs first, those that have not ended before all others.
    pub(super) fn runs(&self, view: Option<&str>, count: usize) -> Vec<Run> {
        let all =
            self.running.values().rev().map(|running| &running.run).chain(self.runs.iter().rev());
        all.filter(|run| view.is_none_or(|view| run.view == view)).take(count).cloned().collect()
    }

    /// The last run that brought rows to this generation of a view; `None` if there was none since
    /// the last flush.
    pub(super) fn fed_by(&self, view: &str, generation: u32) -> Option<&Run> {
        self.since_flush().find(|run| (run.view.as_str(), run.generation) == (view, generation))
    }

    /// The runs that are kept and whose rows no flush has removed, the newest first.
    fn since_flush(&self) -> impl Iterator<Item = &Run> {
        let kept = self.kept.iter().rev().map(|(_, kept)| kept);
        kept.take_while(|kept| !matches!(kept, Change::FlushAll)).filter_map(|kept| match kept {
            Change::RunEnded(run) => Some(run),
            _ => None,
        })
    }

    /// The last run of this version and generation, if reading the same again could bring nothing
    /// new at a later time: since the last flush, from the beginning, with nothing ahead.
    pub(super) fn cursor(&self, view: &str, version: u32, generation: u32) -> Option<&Run> {
        if self.flush_noted < self.flushed {
            return None;
        }
        let is_cursor = |run: &&Run| {
            (run.view.as_str(), run.version, run.generation) == (view, version, generation)
                && run.from.is_none()
                && run.rows_ahead == 0
        };
        self.since_flush().find(is_cursor)
    }
}
