//! What a join tells of itself: how far it is, and what it read and found.

use super::{answers::FeatureCounts, phase_progress::PhaseProgress, winners::Scanned};
use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::Instant,
};

/// What a join is doing. From `Group` to `Fill` it goes for each view; the last two of these take
/// turns where many rows are wanted.
#[derive(Clone, Debug)]
pub enum Phase {
    /// It reads the spine.
    Spine,
    /// It sorts the spine by entity and time.
    Group,
    /// It looks through what clients pushed.
    Pushed {
        /// How many files of the history are looked through; the log behind them comes after.
        progress: Arc<PhaseProgress>,
    },
    /// It looks for the winning rows of a view, by keys and times.
    Scan {
        /// The view.
        view: String,
        /// How many row groups are read of those that may hold an answer.
        progress: Arc<PhaseProgress>,
    },
    /// It decodes features of winning rows.
    Gather,
    /// It brings values to the rows of the spine.
    Fill,
    /// It splits the spine into parts, each of which goes through all the others.
    Split,
    /// It puts the answers of the parts together, and writes them.
    Merge,
    /// It writes the result.
    Write,
}

impl Phase {
    /// Its name in what people read.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Spine => "spine",
            Self::Group => "group",
            Self::Pushed { .. } => "pushed",
            Self::Scan { .. } => "scan",
            Self::Gather => "gather",
            Self::Fill => "fill",
            Self::Split => "split",
            Self::Merge => "merge",
            Self::Write => "write",
        }
    }
}

/// How long each phase took; one that comes again adds to its time.
#[derive(Debug)]
pub struct PhaseTimes {
    phases: RefCell<Vec<(&'static str, f64)>>,
    current: Cell<(&'static str, Instant)>,
}

impl PhaseTimes {
    /// No phase has begun yet.
    pub fn begin() -> Self {
        Self { phases: RefCell::default(), current: Cell::new(("", Instant::now())) }
    }

    /// A phase with that name begins, and so the one before it has ended.
    pub fn enter(&self, name: &'static str) {
        let now = Instant::now();
        let (before, since) = self.current.replace((name, now));
        if before.is_empty() {
            return;
        }
        let seconds = now.duration_since(since).as_secs_f64();
        let mut phases = self.phases.borrow_mut();
        match phases.iter_mut().find(|(phase, _)| *phase == before) {
            Some((_, sum)) => *sum += seconds,
            None => phases.push((before, seconds)),
        }
    }

    /// The seconds of each phase, in the order of their first times.
    pub fn finish(self) -> Vec<(&'static str, f64)> {
        self.enter("");
        self.phases.into_inner()
    }
}

/// What a join read and found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JoinReport {
    /// Rows of the spine, and of the result.
    pub rows: u64,
    /// In how many pieces the spine was joined; what was read counts for each.
    pub pieces: u64,
    /// Files of all sources, as they were found.
    pub files: u64,
    /// Files among them that were not opened, since by their folders they hold no answer.
    pub files_skipped: u64,
    /// Row groups whose keys and times were read.
    pub row_groups: u64,
    /// Row groups that by their statistics and bloom filters hold no answer.
    pub row_groups_skipped: u64,
    /// Rows in them.
    pub rows_scanned: u64,
    /// Rows among them that can never be seen: without event timestamp, or a part of the key.
    pub rows_skipped: u64,
    /// Rows whose features were decoded because a row of the spine sees them.
    pub winners: u64,
    /// Pages that were decompressed, dictionaries aside, and pages that were passed over within
    /// their column chunk. Of columns that the decoder for all columns reads they are known only
    /// where the file lists its pages.
    pub pages: u64,
    /// See `pages`.
    pub pages_skipped: u64,
    /// Bytes read from files.
    pub bytes: u64,
    /// One per feature, in the order of the columns.
    pub features: Vec<FeatureCounts>,
}

impl JoinReport {
    /// How much was read and skipped, by the names of the fields.
    pub fn read(&self) -> [(&'static str, u64); 11] {
        [
            ("pieces", self.pieces),
            ("files", self.files),
            ("files_skipped", self.files_skipped),
            ("row_groups", self.row_groups),
            ("row_groups_skipped", self.row_groups_skipped),
            ("pages", self.pages),
            ("pages_skipped", self.pages_skipped),
            ("rows_scanned", self.rows_scanned),
            ("rows_skipped", self.rows_skipped),
            ("winners", self.winners),
            ("bytes", self.bytes),
        ]
    }

    /// Adds what the search for the winners of one view read.
    pub(super) fn add_scanned(&mut self, scanned: &Scanned) {
        self.files_skipped += scanned.files_skipped;
        self.row_groups += scanned.row_groups;
        self.row_groups_skipped += scanned.row_groups_skipped;
        self.rows_scanned += scanned.rows;
        self.rows_skipped += scanned.rows_skipped;
    }

    /// Adds what the same join read and found for other rows of the spine.
    pub(super) fn append(&mut self, other: &Self) {
        self.rows += other.rows;
        self.pieces += other.pieces;
        self.files_skipped += other.files_skipped;
        self.row_groups += other.row_groups;
        self.row_groups_skipped += other.row_groups_skipped;
        self.rows_scanned += other.rows_scanned;
        self.rows_skipped += other.rows_skipped;
        self.winners += other.winners;
        self.pages += other.pages;
        self.pages_skipped += other.pages_skipped;
        self.bytes += other.bytes;
        for (counts, other) in self.features.iter_mut().zip(&other.features) {
            counts.append(other);
        }
    }
}
