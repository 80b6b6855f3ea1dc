//! Of a history file the rows of one entity that are asked for: what it was at a time, or what was
//! told of it first within a window.
//!
//! ```text
//! rows of an entity in a run   event ──>
//!       9:00 a b │ 9:10 a │ 9:20 a │ 9:30 b │ 9:40 a b       at 9:35
//!                            <─────────────── read until each feature has a cell
//!                  ─────────────────>                        from 9:05, two rows
//! ```
//! An entity of which much is told has rows by the hundred thousand, and one or a few of them are
//! the answer: a run is read page by page, and no further than it must be.
//!
//! Invariants
//! - Of each run and slot the row with the greatest stamp that is not later, and of equal ones the
//!   last, is among what is found, unless it is hidden: then the one before it is.
//! - Of each run the first rows of a window are found, as many as are asked for, hidden ones not
//!   counted.
//! - What is found of a run stands in its order.

use super::{
    column_reader::ColumnReader,
    history_file::HistoryFile,
    history_keys::{AskedKeys, push_range, within},
    history_layout::{FileSlot, runs_of},
    history_write::Limits,
    latest::Window,
    parquet_file::damaged,
    pushed::PushedCells,
    source::RowGroup,
};
use crate::{
    error::Result,
    feature::{KeyPart, Timestamp},
};
use arrow_array::{cast::AsArray, types::TimestampMicrosecondType};
use std::{
    collections::{BTreeSet, HashSet},
    ops::Range,
    sync::Arc,
};

/// Of more rows than these in a piece the times are looked at before anything else is decoded.
const ROWS_FEW: usize = if cfg!(test) { 3 } else { 64 };
/// So many rows are looked at together: those of a page.
const PIECE_ROWS: usize = if cfg!(test) { 5 } else { Limits::PAGE_ROWS };

impl HistoryFile {
    /// The rows of the entity with `key` that tell what `slots` were at `at`, with only those
    /// cells, and some more that do not. Rows that `hides` says so of count as not there.
    pub fn newest_rows(
        &self,
        slots: &[u32],
        key: &[KeyPart],
        at: Timestamp,
        hides: &dyn Fn(&PushedCells) -> bool,
    ) -> Result<Vec<PushedCells>> {
        let window = Window { from: None, to: at };
        self.search(slots, key, window, hides, |search, row_groups, wanted| {
            search.newest(row_groups, wanted)
        })
    }

    /// The first rows of the entity with `key` within `window` that write one of `slots`, with only
    /// those cells: of each run `rows_max`, and some more. Rows that `hides` says so of do not
    /// count.
    pub fn earliest_rows(
        &self,
        slots: &[u32],
        key: &[KeyPart],
        (window, rows_max): (Window, usize),
        hides: &dyn Fn(&PushedCells) -> bool,
    ) -> Result<Vec<PushedCells>> {
        self.search(slots, key, window, hides, |search, row_groups, wanted| {
            search.earliest(row_groups, wanted, rows_max)
        })
    }

    /// What `of_run` finds in the row groups of each run.
    fn search(
        &self,
        slots: &[u32],
        key: &[KeyPart],
        window: Window,
        hides: &dyn Fn(&PushedCells) -> bool,
        of_run: impl Fn(&Search<'_>, &[RowGroup], &[&FileSlot]) -> Result<Vec<PushedCells>>,
    ) -> Result<Vec<PushedCells>> {
        let mut found = Vec::new();
        let wanted = self.wanted(Some(slots));
        if wanted.is_empty() || !self.bucket().holds(key) {
            return Ok(found);
        }
        let keys = HashSet::from([key.to_vec()]);
        let asked = AskedKeys::new(&self.entity, &keys)?;
        let search = Search { file: self, asked, window, hides };
        for run in runs_of(&self.file)? {
            let row_groups = self.row_groups.get(run).unwrap_or_default();
            found.extend(of_run(&search, row_groups, &wanted)?);
        }
        Ok(found)
    }
}

/// What is looked for.
struct Search<'a> {
    file: &'a HistoryFile,
    asked: AskedKeys,
    window: Window,
    hides: &'a dyn Fn(&PushedCells) -> bool,
}

impl Search<'_> {
    fn newest(&self, row_groups: &[RowGroup], wanted: &[&FileSlot]) -> Result<Vec<PushedCells>> {
        let mut sought: BTreeSet<u32> = wanted.iter().map(|slot| slot.written.slot).collect();
        // The last piece first.
        let mut pieces: Vec<Vec<PushedCells>> = Vec::new();
        'run: for row_group in row_groups.iter().rev() {
            for piece in page_by_page(&self.reach(row_group)?).rev() {
                let rows = self.rows_within(row_group, piece)?;
                let last = rows.len().saturating_sub(ROWS_FEW);
                for rows in [rows.get(last..), rows.get(..last)] {
                    let is_sought = |slot: &&&FileSlot| sought.contains(&slot.written.slot);
                    let wanted: Vec<&FileSlot> = wanted.iter().filter(is_sought).copied().collect();
                    let rows = self.read(row_group, rows.unwrap_or_default(), &wanted)?;
                    for (slot, _) in rows.iter().flat_map(|row| &row.cells) {
                        sought.remove(slot);
                    }
                    pieces.push(rows);
                    if sought.is_empty() {
                        break 'run;
                    }
                }
            }
        }
        Ok(pieces.into_iter().rev().flatten().collect())
    }

    fn earliest(
        &self,
        row_groups: &[RowGroup],
        wanted: &[&FileSlot],
        rows_max: usize,
    ) -> Result<Vec<PushedCells>> {
        let mut found = Vec::new();
        for row_group in row_groups {
            for piece in page_by_page(&self.reach(row_group)?) {
                let rows = self.rows_within(row_group, piece)?;
                for rows in rows.chunks(rows_max.max(ROWS_FEW)) {
                    if found.len() >= rows_max {
                        return Ok(found);
                    }
                    found.extend(self.read(row_group, rows, wanted)?);
                }
            }
        }
        Ok(found)
    }

    /// The rows of a row group that may be of the entity and within the window.
    fn reach(&self, row_group: &RowGroup) -> Result<Vec<Range<usize>>> {
        let (file, columns) = (&self.file.file, &self.file.columns);
        let rows = self.asked.rows_in_reach(file, row_group, &columns.keys)?;
        within(file, row_group, &columns.event, rows, self.window)
    }

    /// The rows of the entity in `piece`; if they are many, only those within the window.
    fn rows_within(&self, row_group: &RowGroup, piece: Range<usize>) -> Result<Vec<usize>> {
        let rows = self.file.rows_among(row_group, &[piece], &self.asked)?;
        let mut places = rows.iter().cloned().flatten();
        if rows.iter().map(ExactSizeIterator::len).sum::<usize>() <= ROWS_FEW {
            return Ok(places.collect());
        }
        let (file, event) = (&self.file.file, &self.file.columns.event);
        let mut reader =
            ColumnReader::open(file, row_group, &[event], Some(&rows), &Arc::default())?;
        let mut within = Vec::new();
        while let Some(arrays) = reader.next_batch()? {
            let events = arrays.first().ok_or_else(|| damaged(file.path(), "it has no events"))?;
            let events = events.as_primitive_opt::<TimestampMicrosecondType>();
            let events = events.ok_or_else(|| damaged(file.path(), "its events are no times"))?;
            let holds = events.values().iter().map(|event| self.window.holds(Timestamp(*event)));
            within
                .extend(places.by_ref().zip(holds).filter_map(|(row, holds)| holds.then_some(row)));
        }
        Ok(within)
    }

    /// Of these rows those within the window that write what is wanted and are not hidden.
    fn read(
        &self,
        row_group: &RowGroup,
        rows: &[usize],
        wanted: &[&FileSlot],
    ) -> Result<Vec<PushedCells>> {
        let (mut ranges, mut found) = (Vec::new(), Vec::new());
        rows.iter().for_each(|row| push_range(&mut ranges, *row..row + 1));
        self.file.each_writing(row_group, &ranges, wanted, &mut |row| {
            if self.window.holds(row.stamp.event) && !(self.hides)(&row) {
                found.push(row);
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// `rows`, cut where the pages of a file are that we wrote.
fn page_by_page(rows: &[Range<usize>]) -> impl DoubleEndedIterator<Item = Range<usize>> {
    rows.iter().flat_map(move |rows| {
        let pages = rows.start / PIECE_ROWS..rows.end.div_ceil(PIECE_ROWS);
        let rows = rows.clone();
        pages.map(move |page| {
            let (start, end) = (page * PIECE_ROWS, (page + 1) * PIECE_ROWS);
            start.max(rows.start)..end.min(rows.end)
        })
    })
}
