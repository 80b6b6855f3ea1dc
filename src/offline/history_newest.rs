//! Of a history file the cells of one entity that were the newest at a time.
//!
//! ```text
//! rows of an entity in a run   event ──>
//!       9:00 a b │ 9:10 a │ 9:20 a │ 9:30 b │ 9:40 a b       at 9:35
//!                            <─────────────── read until each feature has a cell
//! ```
//! An entity of which much is told has rows by the hundred thousand, and one or a few of them are
//! the answer.
//!
//! Invariants
//! - Of each run and slot the row with the greatest stamp that is not later, and of equal ones the
//!   last, is among what is found, unless it is hidden: then the one before it is.
//! - What is found of a run stands in its order.

use super::{
    column_reader::ColumnReader,
    history_file::HistoryFile,
    history_keys::{AskedKeys, not_later, push_range},
    history_layout::{FileSlot, runs_of},
    history_write::Limits,
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
        let mut found = Vec::new();
        let wanted = self.wanted(Some(slots));
        if wanted.is_empty() || !self.bucket().holds(key) {
            return Ok(found);
        }
        let keys = HashSet::from([key.to_vec()]);
        let search = Search { file: self, asked: AskedKeys::new(&self.entity, &keys)?, at, hides };
        for run in runs_of(&self.file)? {
            let row_groups = self.row_groups.get(run).unwrap_or_default();
            found.extend(search.of_run(row_groups, &wanted)?);
        }
        Ok(found)
    }
}

/// What is looked for.
struct Search<'a> {
    file: &'a HistoryFile,
    asked: AskedKeys<'a>,
    at: Timestamp,
    hides: &'a dyn Fn(&PushedCells) -> bool,
}

impl Search<'_> {
    /// What is found in a run, in its order.
    fn of_run(
        &self,
        row_groups: &[RowGroup],
        wanted: &[&FileSlot],
    ) -> Result<impl Iterator<Item = PushedCells> + use<>> {
        let mut sought: BTreeSet<u32> = wanted.iter().map(|slot| slot.written.slot).collect();
        // The last piece first.
        let mut pieces: Vec<Vec<PushedCells>> = Vec::new();
        'run: for row_group in row_groups.iter().rev() {
            let (file, columns) = (&self.file.file, &self.file.columns);
            let reach = self.asked.rows_in_reach(file, row_group, &columns.keys)?;
            let reach = not_later(file, row_group, &columns.event, reach, self.at)?;
            for piece in page_by_page(&reach).rev() {
                let rows = self.file.rows_among(row_group, &[piece], &self.asked)?;
                for rows in self.few_and_others(row_group, rows)? {
                    let is_sought = |slot: &&&FileSlot| sought.contains(&slot.written.slot);
                    let wanted: Vec<&FileSlot> = wanted.iter().filter(is_sought).copied().collect();
                    let rows = self.read(row_group, &rows, &wanted)?;
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
        Ok(pieces.into_iter().rev().flatten())
    }

    /// Of `rows`, which are of one entity, the last few that are not later, and then those before
    /// them; all in one if they are few.
    fn few_and_others(
        &self,
        row_group: &RowGroup,
        rows: Vec<Range<usize>>,
    ) -> Result<Vec<Vec<Range<usize>>>> {
        if rows.iter().map(ExactSizeIterator::len).sum::<usize>() <= ROWS_FEW {
            return Ok(vec![rows]);
        }
        let (file, event) = (&self.file.file, &self.file.columns.event);
        let mut reader =
            ColumnReader::open(file, row_group, &[event], Some(&rows), &Arc::default())?;
        let mut early: Vec<usize> = Vec::new();
        let mut places = rows.into_iter().flatten();
        while let Some(arrays) = reader.next_batch()? {
            let events = arrays.first().ok_or_else(|| damaged(file.path(), "it has no events"))?;
            let events = events.as_primitive_opt::<TimestampMicrosecondType>();
            let events = events.ok_or_else(|| damaged(file.path(), "its events are no times"))?;
            let is_early = events.values().iter().map(|event| *event <= self.at.us());
            early.extend(places.by_ref().zip(is_early).filter_map(|(row, is)| is.then_some(row)));
        }
        let (before, last) = early.split_at(early.len().saturating_sub(ROWS_FEW));
        Ok([last, before].map(ranges).into())
    }

    /// The rows that are not later and not hidden, of those that write what is wanted.
    fn read(
        &self,
        row_group: &RowGroup,
        rows: &[Range<usize>],
        wanted: &[&FileSlot],
    ) -> Result<Vec<PushedCells>> {
        let mut found = Vec::new();
        self.file.read_writing(row_group, rows, wanted, &mut found)?;
        found.retain(|row| row.stamp.event <= self.at && !(self.hides)(row));
        Ok(found)
    }
}

/// `rows`, cut where the pages of a file are that we wrote.
fn page_by_page(rows: &[Range<usize>]) -> impl DoubleEndedIterator<Item = Range<usize>> {
    let page_rows = if cfg!(test) { 5 } else { Limits::default().page_rows };
    rows.iter().flat_map(move |rows| {
        let pages = rows.start / page_rows..rows.end.div_ceil(page_rows);
        let rows = rows.clone();
        pages.map(move |page| {
            let (start, end) = (page * page_rows, (page + 1) * page_rows);
            start.max(rows.start)..end.min(rows.end)
        })
    })
}

/// Rows as ranges.
fn ranges(rows: &[usize]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    rows.iter().for_each(|row| push_range(&mut ranges, *row..row + 1));
    ranges
}
