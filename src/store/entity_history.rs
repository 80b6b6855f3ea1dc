//! The history of one entity: every write of its features that was acknowledged, oldest first.
//!
//! What sources say and what clients pushed stand in one order, that of who wins: by event
//! timestamp, created timestamp, and arrival. What materialization wrote is in a source already.

use super::{
    engine::Store,
    history::{Opened, open_views},
    pushed_files::{Asked, AskedRows, Wanted},
    schema::Schema,
};
use crate::{
    error::{Error, Result},
    feature::{CellWrite, Entity, KeyPart, Origin, Stamp},
    offline::{PushedCells, Window, history},
    registry::Selected,
};
use std::collections::HashSet;

/// What is asked of the history of one entity.
#[derive(Clone, Debug)]
pub struct HistoryRequest<'a> {
    /// The entity.
    pub entity: &'a Entity,
    /// Which one of its kind: one part per join key.
    pub key: Vec<KeyPart>,
    /// The features, all of this entity.
    pub features: Vec<Selected>,
    /// Only events within.
    pub window: Window,
    /// Only so many writes, the earliest.
    pub rows_max: usize,
    /// Larger values than these together are refused.
    pub bytes_max: usize,
}

/// One write of features of the entity.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryEntry {
    /// When it was true, and when it became known.
    pub stamp: Stamp,
    /// Who wrote it: [`Origin::Materialized`] stands for a row of a source.
    pub origin: Origin,
    /// What it wrote: the place of the feature in the request, and the cell.
    pub cells: Vec<(usize, CellWrite)>,
    /// Settles equal stamps: rows of files before what was pushed, then by arrival.
    order: (bool, u64),
    /// How long its cells are, about; told when it is added.
    bytes: usize,
}

impl Store {
    /// The writes of the features of one entity, in the order of their stamps.
    pub fn history(
        &self,
        schema: &Schema,
        request: &HistoryRequest<'_>,
    ) -> Result<Vec<HistoryEntry>> {
        let opened = open_views(&schema.catalog, &request.features)?;
        let mut earliest = Earliest::new(request);
        for view in &opened {
            self.source_rows(view, request, &mut earliest)?;
        }
        let keys = HashSet::from([request.key.clone()]);
        // What was true then is told as a reply tells what is true now.
        self.acknowledged_blocking(self.log.last())?;
        let begin = |_: &_| Ok(earliest.clone());
        let take = |earliest: &mut Earliest, opened: &Opened, pushed: PushedCells| {
            pushed_entry(opened, request, &pushed).map_or(Ok(()), |entry| earliest.add(entry))
        };
        let rows = AskedRows::Earliest(request.window, request.rows_max);
        self.pushed(&opened, &Wanted::Keys(Asked { keys: &keys, rows }), begin, take)?.finish()
    }

    fn source_rows(
        &self,
        opened: &Opened,
        request: &HistoryRequest<'_>,
        earliest: &mut Earliest,
    ) -> Result<()> {
        let Some(dataset) = &opened.dataset else { return Ok(()) };
        let HistoryRequest { entity, key, window, rows_max, .. } = request;
        let features: Vec<usize> = opened.features.iter().map(|(feature, _)| *feature).collect();
        let forgotten = self.forgotten.load().mark(&entity.key(key));
        let window = match forgotten {
            Some(mark) => window.not_before(mark.at),
            None => *window,
        };
        for row in history(&opened.view, entity, dataset, &features, key, window, *rows_max)? {
            let places = opened.features.iter().map(|(_, place)| *place);
            let cell = |value| match value {
                Some(value) => CellWrite::Value(value),
                None => CellWrite::Null,
            };
            earliest.add(HistoryEntry {
                stamp: row.stamp,
                origin: Origin::Materialized,
                cells: places.zip(row.cells.into_iter().map(cell)).collect(),
                order: (false, row.order),
                bytes: 0,
            })?;
        }
        Ok(())
    }
}

/// A push, if it is of the time that is asked for.
fn pushed_entry(
    opened: &Opened,
    request: &HistoryRequest<'_>,
    pushed: &PushedCells,
) -> Option<HistoryEntry> {
    request.window.holds(pushed.stamp.event).then(|| HistoryEntry {
        stamp: pushed.stamp,
        origin: Origin::Pushed,
        cells: asked_cells(opened, &pushed.cells),
        order: (true, pushed.order),
        bytes: 0,
    })
}

/// The cells of a write that are asked for, in the order asked.
fn asked_cells(opened: &Opened, written: &[(u32, CellWrite)]) -> Vec<(usize, CellWrite)> {
    let asked = opened.features.iter().filter_map(|(feature, place)| {
        let slot = opened.view.features.get(*feature)?.slot;
        let (_, cell) = written.iter().find(|(written, _)| *written == slot)?;
        Some((*place, cell.clone()))
    });
    asked.collect()
}

/// The earliest entries of many.
#[derive(Clone)]
struct Earliest {
    entries: Vec<HistoryEntry>,
    rows_max: usize,
    bytes: usize,
    bytes_max: usize,
}

impl Earliest {
    fn new(request: &HistoryRequest<'_>) -> Self {
        let HistoryRequest { rows_max, bytes_max, .. } = *request;
        Self { entries: Vec::new(), rows_max, bytes: 0, bytes_max }
    }

    fn add(&mut self, mut entry: HistoryEntry) -> Result<()> {
        if entry.cells.is_empty() {
            return Ok(());
        }
        entry.bytes = postcard::to_stdvec(&entry.cells).map_or(0, |bytes| bytes.len());
        self.bytes = self.bytes.saturating_add(entry.bytes);
        self.entries.push(entry);
        if self.entries.len() > self.rows_max.saturating_mul(2) || self.bytes > self.bytes_max {
            self.settle();
        }
        if self.bytes > self.bytes_max {
            return Err(Error::refused(
                "the history is longer than a reply may be: ask for less by FROM, TO or LIMIT",
            ));
        }
        Ok(())
    }

    fn settle(&mut self) {
        self.entries.sort_by_key(|entry| (entry.stamp, entry.order));
        self.entries.truncate(self.rows_max);
        self.bytes = self.entries.iter().map(|entry| entry.bytes).sum();
    }

    fn finish(mut self) -> Result<Vec<HistoryEntry>> {
        self.settle();
        Ok(self.entries)
    }
}
