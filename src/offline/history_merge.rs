//! Merges history files of one generation of a view into one that is sorted as a whole, or into
//! one for each bucket of entities.
//!
//! ```text
//! file 1   run │ run │ run      of a checkpoint: every row group is sorted, and a run of its own
//! file 2   run ───────────      merged before: one run
//!           └─┴──┴──┴──> the least row first ──> by the hash of its entity ──> one run each
//! ```
//! Invariants
//! - Every row goes over, with every cell, bit for bit, whether the view still has its slot or not;
//!   but for rows that answer no question about times that are still kept (`keep.rs`).
//! - Rows equal in key, stamp and order stay in the order of the files, and in theirs.
//! - In memory are a batch, and a page of each column, of each of as many runs as
//!   [`MergeLimits`] allows, and the row groups on their way out. Of more runs so many are merged
//!   at a time: then the file has some runs, each as long as those together, and says where they
//!   begin.

use super::{
    bucket::{Bucket, bucket_of},
    history_file::HistoryFile,
    history_layout::{FileSlot, Kept, SlotColumn, free_name, runs_of, stored_type},
    history_run::{Head, Run},
    history_write::{HistoryFileWriter, Limits, row_bytes},
    keep::{Keep, Retention},
    pushed::PushedCells,
};
use crate::{
    error::{Error, Result},
    feature::{Entity, ValueType, View},
    planted::planted,
};
use parquet::basic::{Compression, ZstdLevel};
use std::{
    collections::{BTreeMap, BinaryHeap, HashSet, binary_heap::PeekMut},
    io::Write,
    ops::Range,
};

/// Rows decoded at a time of one run: never more, and never fewer.
const BATCH_ROWS: Range<u64> = 64..4096;
/// So many rows are made into columns at a time.
const PIECE_ROWS: usize = 2048;
/// The same by the length of their values, in all files that are written.
const PIECE_BYTES: usize = 4 << 20;
/// A row group that is shorter costs more than it spares.
const ROW_GROUP_ROWS_LEAST: usize = 8 << 10;

/// How much is in memory at a time, and how the file is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct MergeLimits {
    /// So many runs are merged at a time, at the most.
    pub(super) runs_max: usize,
    /// No more than have pages of so many bytes, about, of which one of each column is in memory.
    pub(super) pages_bytes: u64,
    /// What is decoded of all of them takes so many bytes, about.
    pub(super) batches_bytes: u64,
    pub(super) file: Limits,
}

impl Default for MergeLimits {
    fn default() -> Self {
        let compression = Compression::ZSTD(ZstdLevel::default());
        let file = Limits { row_group_rows: 128 << 10, compression, ..Limits::default() };
        Self { runs_max: 1024, pages_bytes: 128 << 20, batches_bytes: 32 << 20, file }
    }
}

/// Files that were merged.
#[derive(Debug)]
pub struct Merged<W> {
    /// What they were written to, and how many rows.
    pub files: Vec<(W, u64)>,
    /// How many rows answered no question about times that are kept, and stand nowhere now.
    pub given_up: u64,
}

/// Writes the rows of `files`, the oldest first, each to the one of `to` whose bucket, of as many
/// as these are, its entity is in; but for those that tell nothing of what `retention` keeps.
/// `None` if `goes_on`, which is asked every few thousand rows, has said no.
///
/// All must be opened with one view and entity.
pub fn merge_history<W: Write + Send>(
    files: &[HistoryFile],
    to: Vec<W>,
    retention: Option<Retention>,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Merged<W>>> {
    merge_within(files, to, retention, &MergeLimits::default(), goes_on)
}

/// [`merge_history`] within other limits.
pub(super) fn merge_within<W: Write + Send>(
    files: &[HistoryFile],
    to: Vec<W>,
    retention: Option<Retention>,
    limits: &MergeLimits,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Merged<W>>> {
    let is_older = |it: &Retention| files.iter().any(|file| file.is_older_than(it.keep_from));
    let retention = retention.filter(is_older);
    let mut keep = retention.map(|retention| Keep::from(retention.keep_from));
    let mut outputs = outputs(files, to, limits)?;
    let of_files: Vec<(&HistoryFile, Vec<&FileSlot>)> =
        files.iter().map(|file| (file, file.columns.slots.iter().collect())).collect();
    let mut runs = Vec::new();
    for (file, slots) in &of_files {
        for row_groups in runs_of(&file.file)? {
            runs.push(Run::new(file, slots, row_groups));
        }
    }
    while !runs.is_empty() {
        let rest = runs.split_off(runs_at_once(&runs, limits));
        if !merge_runs(runs, keep.as_mut(), &mut outputs, limits, goes_on)? {
            return Ok(None);
        }
        outputs.iter_mut().try_for_each(Output::end_run)?;
        runs = rest;
    }
    let given_up = keep.map_or(0, |keep| keep.gone());
    let rows = files.iter().map(HistoryFile::row_count).sum();
    let from = files.iter().map(|file| file.kept.from).max().flatten();
    let kept = retention.map(|retention| retention.kept(from, given_up, rows));
    let kept = kept.unwrap_or(Kept { from, look_again: None });
    let files = outputs.into_iter().map(|output| output.finish(kept)).collect::<Result<_>>()?;
    Ok(Some(Merged { files, given_up }))
}

/// One file for each bucket. The more there are, the shorter are their row groups: so much as one
/// of a file that is not split is in memory in all.
fn outputs<W: Write + Send>(
    files: &[HistoryFile],
    to: Vec<W>,
    limits: &MergeLimits,
) -> Result<Vec<Output<W>>> {
    let first = files.first().ok_or_else(|| Error::refused("there is no history to merge"))?;
    let (view, entity) = (&first.view, &first.entity);
    let slots = merged_slots(view, entity, files)?;
    let count = to.len().max(1);
    let least_rows = ROW_GROUP_ROWS_LEAST.min(limits.file.row_group_rows);
    let row_group_rows = (limits.file.row_group_rows / count).max(least_rows);
    let file = Limits { row_group_rows, ..limits.file };
    let output = |(bucket, to): (Bucket, W)| {
        let mut writer = HistoryFileWriter::with_slots(view, entity, slots.clone(), to, file)?;
        writer.limit_to(bucket);
        Ok(Output::new(writer, PIECE_BYTES / count))
    };
    Bucket::all(count as u32).zip(to).map(output).collect()
}

/// How many of `runs`, from the first on, are merged in one step: at least two, if there are.
fn runs_at_once(runs: &[Run<'_>], limits: &MergeLimits) -> usize {
    let mut bytes = 0_u64;
    let fits = |run: &&Run<'_>| {
        bytes = bytes.saturating_add(run.page_bytes());
        bytes <= limits.pages_bytes
    };
    let fitting = runs.iter().take_while(fits).count();
    fitting.min(limits.runs_max).max(2).min(runs.len())
}

/// The rows of some runs, to one run of each output. Whether it went on to the end.
fn merge_runs<W: Write + Send>(
    mut runs: Vec<Run<'_>>,
    mut keep: Option<&mut Keep>,
    outputs: &mut [Output<W>],
    limits: &MergeLimits,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<bool> {
    let row_bytes_sum: u64 = runs.iter().map(Run::bytes_of_a_row).sum();
    let batch_rows = limits.batches_bytes.checked_div(row_bytes_sum).unwrap_or(u64::MAX);
    let batch_rows = batch_rows.clamp(BATCH_ROWS.start, BATCH_ROWS.end) as usize;
    let mut heads = BinaryHeap::with_capacity(runs.len());
    for (place, run) in runs.iter_mut().enumerate() {
        run.batch_rows = batch_rows;
        heads.extend(run.next()?.map(|row| Head { row, run: place }));
    }
    let (mut stay, mut taken) = (Vec::new(), 0_usize);
    while let Some(mut least) = heads.peek_mut() {
        let next = match runs.get_mut(least.run) {
            Some(run) => run.next_after(&least.row)?,
            None => None,
        };
        let row = match next {
            Some(next) => std::mem::replace(&mut least.row, next),
            None => PeekMut::pop(least).row,
        };
        match &mut keep {
            Some(keep) => keep.add(row, &mut stay),
            None => stay.push(row),
        }
        taken += 1;
        // Where much goes, little is written.
        let is_due = add_each(&mut stay, outputs)? || taken.is_multiple_of(PIECE_ROWS);
        if is_due && !goes_on() {
            return Ok(false);
        }
    }
    if let Some(keep) = keep {
        keep.end(&mut stay);
    }
    add_each(&mut stay, outputs)?;
    Ok(true)
}

/// Adds each row to the output of its bucket; whether it was time to write some.
fn add_each<W: Write + Send>(
    rows: &mut Vec<PushedCells>,
    outputs: &mut [Output<W>],
) -> Result<bool> {
    let count = outputs.len() as u32;
    let mut is_due = false;
    for row in rows.drain(..) {
        let bucket = if count == 1 { 0 } else { bucket_of(&row.key, count) };
        let bucket = bucket ^ u32::from(planted("row in another bucket") && count > 1);
        if let Some(output) = outputs.get_mut(bucket as usize) {
            is_due |= output.add(row)?;
        }
    }
    Ok(is_due)
}

/// A file that is being written.
struct Output<W: Write + Send> {
    writer: HistoryFileWriter<W>,
    /// What is not written yet, and how long its values are.
    piece: Vec<PushedCells>,
    bytes: usize,
    bytes_max: usize,
    rows: u64,
    /// The row groups that its runs begin with, and the one that comes next.
    starts: Vec<usize>,
    next: usize,
}

impl<W: Write + Send> Output<W> {
    fn new(writer: HistoryFileWriter<W>, bytes_max: usize) -> Self {
        Self { writer, piece: Vec::new(), bytes: 0, bytes_max, rows: 0, starts: vec![], next: 0 }
    }

    /// Adds a row that is no less than the last; whether it was time to write some.
    fn add(&mut self, row: PushedCells) -> Result<bool> {
        self.bytes = self.bytes.saturating_add(row_bytes(&row));
        self.piece.push(row);
        let is_due = self.piece.len() >= PIECE_ROWS || self.bytes >= self.bytes_max;
        if is_due {
            self.write_piece()?;
        }
        Ok(is_due)
    }

    fn write_piece(&mut self) -> Result<()> {
        self.rows += self.piece.len() as u64;
        self.writer.write(&self.piece)?;
        self.piece.clear();
        self.bytes = 0;
        Ok(())
    }

    /// What comes then is another run.
    fn end_run(&mut self) -> Result<()> {
        self.write_piece()?;
        let end = self.writer.end_row_group()?;
        if end > self.next {
            self.starts.push(self.next);
        }
        self.next = end;
        Ok(())
    }

    fn finish(mut self, kept: Kept) -> Result<(W, u64)> {
        self.writer.keeps(kept);
        Ok((self.writer.finish_runs(&self.starts)?, self.rows))
    }
}

/// The columns of all files: of equal slots one, by the name that the view has for it, or else that
/// of the oldest file.
fn merged_slots(view: &View, entity: &Entity, files: &[HistoryFile]) -> Result<Vec<SlotColumn>> {
    let mut slots: BTreeMap<u32, SlotColumn> = BTreeMap::new();
    for file in files {
        for FileSlot { written, .. } in &file.columns.slots {
            let slot = slots.entry(written.slot).or_insert_with(|| written.clone());
            let types = (slot.value_type, written.value_type);
            slot.value_type = both_types(types).ok_or_else(|| {
                let why = format!("slot {} is of another type in an older file", written.slot);
                Error::refused(format!("{}: {why}", file.file.path().display()))
            })?;
        }
    }
    let keys = entity.join_keys.iter().map(|join_key| &join_key.name);
    let mut names: HashSet<String> = keys.cloned().collect();
    for feature in &view.features {
        if let Some(column) = slots.get_mut(&feature.slot) {
            column.name.clone_from(&feature.name);
            names.insert(feature.name.clone());
        }
    }
    let is_of_view = |slot: u32| view.features.iter().any(|feature| feature.slot == slot);
    for column in slots.values_mut().filter(|column| !is_of_view(column.slot)) {
        column.name = free_name(&column.name, &mut names);
    }
    Ok(slots.into_values().collect())
}

/// The type of a column for the values of both, if there is one.
fn both_types(types: (Option<ValueType>, Option<ValueType>)) -> Option<Option<ValueType>> {
    match types {
        (one, None) | (None, one) => Some(one),
        (Some(one), Some(other)) if one == other => Some(Some(one)),
        // Of a feature that was gone when its file was written nobody knew the length.
        (Some(one), Some(other)) => {
            (stored_type(one) == stored_type(other)).then(|| Some(stored_type(one)))
        }
    }
}
