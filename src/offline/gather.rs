//! Feature columns of winning rows, and of no others if that saves work.
//!
//! ```text
//! wanted rows      ·  ·│·   │    ·  ·│        │·
//! decoded          ━━━━━    │   ━━━━ │        │━     rows close together in one stretch; a page
//! pages            ════╪════╪════════╪════════╪═══   without a wanted row is not even read
//! ```
//! Where most of a row group would be decoded anyway, it is decoded from end to end.

use super::{
    convert::{Rounding, arrow_type, convert, times_us},
    parallel::for_each,
    scan::{ColumnReader, in_column},
    source::{Column, RowGroup, ViewSource},
};
use crate::{
    error::{Error, Result},
    feature::Timestamp,
};
use arrow_array::{Array, ArrayRef, UInt32Array, new_empty_array};
use arrow_select::{concat::concat, take::take};
use parking_lot::Mutex;
use std::{
    mem,
    ops::Range,
    sync::{Arc, atomic::AtomicU64},
};

/// Decoding this many rows that nobody wants costs less than to begin another stretch.
const GAP_ROWS: usize = 128;

/// One task: some features of the wanted rows of a row group.
struct Task<'a> {
    row_group: &'a RowGroup,
    wanted: &'a [u64],
    features: Range<usize>,
}

/// The features of wanted rows, each in pieces until it is asked for: then there is one column of
/// them at a time beside the pieces.
pub(super) struct Gathered<'a> {
    source: &'a ViewSource<'a>,
    pieces: Vec<Mutex<Vec<ArrayRef>>>,
}

impl Gathered<'_> {
    /// One feature, of its declared type. It is there once.
    pub(super) fn take(&self, feature: usize) -> Result<ArrayRef> {
        let pieces = self.pieces.get(feature).map(|pieces| mem::take(&mut *pieces.lock()));
        join_pieces(self.source, feature, &pieces.unwrap_or_default())
    }
}

/// One column per feature of `source`, of its declared type: the rows with the orders `wanted`,
/// which ascend and do not repeat.
pub(super) fn gather(
    source: &ViewSource<'_>,
    wanted: &[u64],
    threads: usize,
    bytes_read: &Arc<AtomicU64>,
) -> Result<Vec<ArrayRef>> {
    let gathered = gather_pieces(source, wanted, threads, bytes_read)?;
    (0..source.types.len()).map(|feature| gathered.take(feature)).collect()
}

/// The same, not joined yet.
pub(super) fn gather_pieces<'a>(
    source: &'a ViewSource<'_>,
    wanted: &[u64],
    threads: usize,
    bytes_read: &Arc<AtomicU64>,
) -> Result<Gathered<'a>> {
    let features = source.types.len();
    let groups = wanted_by_row_group(source, wanted);
    // With few row groups the features of one are shared out among the threads.
    let width = if groups.len() >= 2 * threads { features.max(1) } else { 1 };
    let mut tasks = Vec::new();
    for (row_group, wanted) in groups {
        for start in (0..features).step_by(width) {
            let features = start..features.min(start + width);
            tasks.push(Task { row_group, wanted, features });
        }
    }
    let done = for_each(threads, tasks.len(), Vec::new, |done, index| {
        let Some(task) = tasks.get(index) else { return Ok(()) };
        let pieces =
            gather_rows(source, task.row_group, task.wanted, task.features.clone(), bytes_read)?;
        done.push((index, pieces));
        Ok(())
    })?;
    let mut done: Vec<(usize, Vec<Vec<ArrayRef>>)> = done.into_iter().flatten().collect();
    done.sort_unstable_by_key(|(index, _)| *index);
    let mut columns: Vec<Vec<ArrayRef>> = vec![Vec::new(); features];
    for (index, pieces) in done {
        let Some(task) = tasks.get(index) else { continue };
        for (column, pieces) in columns.iter_mut().skip(task.features.start).zip(pieces) {
            column.extend(pieces);
        }
    }
    Ok(Gathered { source, pieces: columns.into_iter().map(Mutex::new).collect() })
}

/// The pieces of one feature as one column.
pub(super) fn join_pieces(
    source: &ViewSource<'_>,
    feature: usize,
    pieces: &[ArrayRef],
) -> Result<ArrayRef> {
    match (pieces, source.types.get(feature)) {
        ([only], _) => Ok(Arc::clone(only)),
        ([], Some(value_type)) => Ok(new_empty_array(&arrow_type(*value_type))),
        _ => {
            let pieces: Vec<&dyn Array> = pieces.iter().map(|piece| piece.as_ref()).collect();
            concat(&pieces).map_err(|error| too_large(source, &error.to_string()))
        }
    }
}

fn too_large(source: &ViewSource<'_>, why: &str) -> Error {
    Error::refused(format!(
        "the values of one feature of view {} do not fit one column ({why}): ask for fewer rows at \
         a time",
        source.view.name
    ))
}

/// The row groups that hold wanted rows, each with those rows.
pub(super) fn wanted_by_row_group<'a>(
    source: &'a ViewSource<'_>,
    wanted: &'a [u64],
) -> Vec<(&'a RowGroup, &'a [u64])> {
    let mut rest = wanted;
    let mut groups = Vec::new();
    for row_group in &source.row_groups {
        let end = row_group.first_order.saturating_add(row_group.rows);
        let count = rest.partition_point(|order| *order < end);
        let (own, after) = rest.split_at(count);
        rest = after;
        if !own.is_empty() {
            groups.push((row_group, own));
        }
    }
    groups
}

/// Some features of the wanted rows of one row group: per feature a list of pieces, in order.
pub(super) fn gather_rows(
    source: &ViewSource<'_>,
    row_group: &RowGroup,
    wanted: &[u64],
    features: Range<usize>,
    bytes_read: &Arc<AtomicU64>,
) -> Result<Vec<Vec<ArrayRef>>> {
    let (file, columns) = source.file(row_group)?;
    let columns: Vec<_> = columns.features.get(features.clone()).into_iter().flatten().collect();
    let mut pieces: Vec<Vec<ArrayRef>> = vec![Vec::new(); columns.len()];
    let place = (source, row_group, wanted);
    read_rows(place, &columns, bytes_read, |batch| {
        for ((feature, column), pieces) in features.clone().zip(batch).zip(&mut pieces) {
            let Some(value_type) = source.types.get(feature) else { continue };
            let converted = convert(column, *value_type);
            let name = || file.metadata().schema().fields();
            pieces.push(converted.map_err(|why| {
                let root = columns.get(feature - features.start).map(|column| column.root);
                let field = root.and_then(|root| name().get(root));
                in_column(file, field.map_or("", |field| field.name()), &why)
            })?);
        }
        Ok(())
    })?;
    Ok(pieces)
}

/// The created timestamps of the rows with the orders `wanted`, which ascend and do not repeat.
pub(super) fn gather_created(
    source: &ViewSource<'_>,
    wanted: &[u64],
    threads: usize,
    bytes_read: &Arc<AtomicU64>,
) -> Result<Vec<Option<Timestamp>>> {
    let groups = wanted_by_row_group(source, wanted);
    let done = for_each(threads, groups.len(), Vec::new, |done, index| {
        let Some((row_group, wanted)) = groups.get(index) else { return Ok(()) };
        let (file, columns) = source.file(row_group)?;
        let columns: Vec<&Column> = columns.created.iter().collect();
        let mut all = Vec::with_capacity(wanted.len());
        read_rows((source, row_group, wanted), &columns, bytes_read, |batch| {
            for column in batch {
                let name = source.view.created_timestamp.as_deref().unwrap_or_default();
                let times = times_us(column, Rounding::Up);
                let times = times.map_err(|why| in_column(file, name, &why))?;
                all.extend(times.iter().map(|time| time.map(Timestamp)));
            }
            Ok(())
        })?;
        done.push((index, all));
        Ok(())
    })?;
    let mut done: Vec<(usize, Vec<Option<Timestamp>>)> = done.into_iter().flatten().collect();
    done.sort_unstable_by_key(|(index, _)| *index);
    Ok(done.into_iter().flat_map(|(_, all)| all).collect())
}

/// Decodes some columns of the wanted rows of one row group, as they are in the file.
fn read_rows(
    (source, row_group, wanted): (&ViewSource<'_>, &RowGroup, &[u64]),
    columns: &[&Column],
    bytes_read: &Arc<AtomicU64>,
    mut each: impl FnMut(&[ArrayRef]) -> Result<()>,
) -> Result<()> {
    let (file, _) = source.file(row_group)?;
    let rows: Vec<usize> = wanted
        .iter()
        .map(|order| usize::try_from(order - row_group.first_order).unwrap_or(usize::MAX))
        .collect();
    let ranges = stretches(&rows, usize::try_from(row_group.rows).unwrap_or(usize::MAX));
    let places = places_in(&rows, ranges.as_deref());
    let mut reader = ColumnReader::open(file, row_group, columns, ranges.as_deref(), bytes_read)?;
    let mut first = 0_usize;
    let mut rest = places.as_slice();
    while let Some(batch) = reader.next_batch()? {
        let rows = batch.first().map_or(0, |column| column.len());
        let end = first + rows;
        let (own, after) = rest.split_at(rest.partition_point(|place| *place < end));
        rest = after;
        let indices = own.iter().map(|place| (place - first) as u32);
        let indices = UInt32Array::from_iter_values(indices);
        first = end;
        if own.is_empty() {
            continue;
        }
        if own.len() == rows {
            each(&batch)?;
            continue;
        }
        let taken = batch.iter().map(|column| take(column, &indices, None));
        let taken: Result<Vec<ArrayRef>, _> = taken.collect();
        each(&taken.map_err(|error| too_large(source, &error.to_string()))?)?;
    }
    Ok(())
}

/// The stretches of rows to decode; `None` for all of them.
fn stretches(rows: &[usize], row_count: usize) -> Option<Vec<Range<usize>>> {
    let mut stretches: Vec<Range<usize>> = Vec::new();
    for row in rows {
        match stretches.last_mut() {
            Some(last) if *row <= last.end + GAP_ROWS => last.end = row + 1,
            _ => stretches.push(*row..row + 1),
        }
    }
    let decoded: usize = stretches.iter().map(Range::len).sum();
    (decoded < row_count / 2).then_some(stretches)
}

/// Where each of `rows` comes out if only `stretches` are decoded.
fn places_in(rows: &[usize], stretches: Option<&[Range<usize>]>) -> Vec<usize> {
    let Some(stretches) = stretches else { return rows.to_vec() };
    let mut places = Vec::with_capacity(rows.len());
    let mut rest = rows;
    let mut decoded = 0;
    for stretch in stretches {
        let (own, after) = rest.split_at(rest.partition_point(|row| *row < stretch.end));
        rest = after;
        places.extend(own.iter().map(|row| decoded + row - stretch.start));
        decoded += stretch.len();
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_close_together_are_decoded_in_one_stretch_and_far_ones_apart() {
        let rows = [3, 10, 11 + GAP_ROWS, 5000];
        let stretches = stretches(&rows, 100_000).unwrap();
        assert_eq!(stretches, [3..12 + GAP_ROWS, 5000..5001]);
        let places = places_in(&rows, Some(&stretches));
        assert_eq!(places, [0, 7, 8 + GAP_ROWS, 9 + GAP_ROWS]);
    }

    #[test]
    fn a_row_group_mostly_wanted_is_decoded_from_end_to_end() {
        assert_eq!(stretches(&[0, 100, 200], 300), None);
        assert_eq!(places_in(&[0, 100, 200], None), [0, 100, 200]);
    }
}
