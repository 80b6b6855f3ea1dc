//! Column chunks of a store on their way while others are decoded.
//!
//! ```text
//! tasks      0    1    2    3    4          two threads decode 0 and 1
//! fetched    ══   ══   ··   ··              the chunks of 2 and 3 are on their way
//! ```
//! Invariants
//! - A task decodes bytes that have arrived: what the store refuses is told before, by its name.
//! - Held are the chunks of as many tasks as are decoded, and of as many that come next.
//! - Of files on a disk nothing is fetched: the kernel reads ahead.

use super::{
    data_file::DataFile,
    parquet_file::failed,
    source::{Cells, RowGroup, ViewSource},
};
use crate::{error::Result, objects::Fetched};
use parking_lot::Mutex;
use std::{mem, ops::Range};

/// What a list of tasks will read.
#[derive(Debug)]
pub(super) struct ReadAhead<'a> {
    tasks: Vec<Task<'a>>,
    at_once: usize,
}

#[derive(Debug)]
struct Task<'a> {
    file: &'a DataFile,
    row_group: usize,
    /// The places of the columns among the top-level columns.
    roots: Vec<usize>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Waiting,
    Begun(Option<Fetched>),
    Taken,
}

impl<'a> ReadAhead<'a> {
    /// Tasks that read keys and times of row groups.
    pub(super) fn of_keys(
        source: &ViewSource<'a>,
        row_groups: &[&RowGroup],
        with_created: bool,
        threads: usize,
    ) -> Result<Self> {
        Self::new(source, threads, row_groups.iter().copied(), |_, columns| {
            let created = columns.created.as_ref().filter(|_| with_created);
            roots(columns.keys.iter().chain([&columns.event]).chain(created))
        })
    }

    /// Tasks that read these features of row groups.
    pub(super) fn of_features<'t>(
        source: &ViewSource<'a>,
        tasks: &'t [(&'t RowGroup, Range<usize>)],
        threads: usize,
    ) -> Result<Self> {
        let row_groups = tasks.iter().map(|(row_group, _)| *row_group);
        Self::new(source, threads, row_groups, |task, columns| {
            let features = tasks.get(task).map(|(_, features)| features.clone());
            roots(columns.features.get(features.unwrap_or_default()).unwrap_or_default())
        })
    }

    /// Tasks that read created timestamps of row groups, and all features if `with_features`.
    pub(super) fn of_created<'t>(
        source: &ViewSource<'a>,
        row_groups: impl Iterator<Item = &'t RowGroup>,
        with_features: bool,
        threads: usize,
    ) -> Result<Self> {
        Self::new(source, threads, row_groups, |_, columns| {
            let features = columns.features.iter().filter(|_| with_features);
            roots(columns.created.iter().chain(features))
        })
    }

    fn new<'t>(
        source: &ViewSource<'a>,
        at_once: usize,
        row_groups: impl Iterator<Item = &'t RowGroup>,
        roots: impl Fn(usize, &super::source::FileColumns) -> Vec<usize>,
    ) -> Result<Self> {
        let mut tasks = Vec::new();
        if source.is_in_store() {
            for (task, row_group) in row_groups.enumerate() {
                let (file, columns) = source.file(row_group)?;
                let (row_group, roots) = (row_group.index, roots(task, columns));
                tasks.push(Task { file, row_group, roots, state: Mutex::default() });
            }
        }
        Ok(Self { tasks, at_once: at_once.max(1) })
    }

    /// Waits for what a task reads, while that of a later one is begun. To be kept as long as the
    /// task reads.
    pub(super) fn begin(&self, task: usize) -> Result<Option<Fetched>> {
        let Some(own) = self.tasks.get(task) else { return Ok(None) };
        own.begin();
        if let Some(next) = self.tasks.get(task + self.at_once) {
            next.begin();
        }
        match mem::replace(&mut *own.state.lock(), State::Taken) {
            State::Begun(Some(fetched)) => {
                let arrived = fetched.wait();
                arrived.map_err(|failure| failed("reading", own.file.path(), &failure))?;
                Ok(Some(fetched))
            }
            _ => Ok(None),
        }
    }
}

impl Task<'_> {
    fn begin(&self) {
        let mut state = self.state.lock();
        if let State::Waiting = *state {
            *state = State::Begun(self.file.fetch(self.row_group, &self.roots));
        }
    }
}

fn roots<'t>(columns: impl IntoIterator<Item = &'t Cells>) -> Vec<usize> {
    let stored = columns.into_iter().filter_map(Cells::stored);
    stored.map(|column| column.root).collect()
}
