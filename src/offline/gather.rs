//! Feature columns of winning rows, and of no others if that saves work.
//!
//! ```text
//! wanted rows      ·  ·│·   │    ·  ·│        │·
//! decoded          ━━━━━    │   ━━━━ │        │━     rows close together in one stretch; a page
//! pages            ════╪════╪════════╪════════╪═══   without a wanted row is not even read
//! ```
//! Numbers and texts are picked out of their pages one by one (`picks.rs`); the picture is that of
//! all other columns. Where most of a row group would be decoded anyway, these are decoded from end
//! to end.

use super::{
    column_reader::ColumnReader,
    constant::repeated,
    convert::{Rounding, arrow_type, convert as plain, times_us},
    dataset::DataFile,
    picks::pick,
    read_ahead::ReadAhead,
    reads::Reads,
    scan::in_column,
    source::{Cells, Column, RowGroup, ViewSource},
};
use crate::{
    error::{Error, Result},
    feature::{Timestamp, ValueType},
    parallel::for_each,
};
use arrow_array::{Array, ArrayRef, UInt32Array, cast::AsArray, new_empty_array};
use arrow_schema::DataType;
use arrow_select::{concat::concat, take::take};
use parking_lot::Mutex;
use std::{mem, ops::Range, sync::Arc};

/// Decoding this many rows that nobody wants costs less than to begin another stretch.
const GAP_ROWS: usize = 128;

/// Dictionaries with more bytes are not brought together.
const DICTIONARY_BYTES_MAX: usize = if cfg!(test) { 512 } else { i32::MAX as usize };

/// One task: some features of the wanted rows of a row group.
struct Task<'a> {
    row_group: &'a RowGroup,
    wanted: &'a [u64],
    features: Range<usize>,
}

/// Some features of wanted rows, each in pieces until it is asked for: then there is one column of
/// them at a time beside the pieces.
pub(super) struct Gathered {
    /// The first of them.
    first: usize,
    pieces: Vec<Mutex<Vec<ArrayRef>>>,
}

impl Gathered {
    /// One feature, of this type, which was declared, or as a dictionary of that. It is there once.
    /// The error says why it does not fit one column.
    pub(super) fn take(&self, feature: usize, value_type: ValueType) -> Result<ArrayRef, String> {
        let pieces = feature.checked_sub(self.first).and_then(|place| self.pieces.get(place));
        let pieces = pieces.map(|pieces| mem::take(&mut *pieces.lock()));
        join_coded(value_type, &pieces.unwrap_or_default())
    }
}

/// One column per feature of `source`, of its declared type: the rows with the orders `wanted`,
/// which ascend and do not repeat.
pub(super) fn gather(
    source: &ViewSource<'_>,
    wanted: &[u64],
    threads: usize,
    reads: &Reads,
) -> Result<Vec<ArrayRef>> {
    let all = 0..source.types.len();
    let gathered = gather_pieces(source, wanted, all, threads, reads)?;
    let features = gathered.pieces.iter().enumerate();
    features.map(|(feature, pieces)| join_pieces(source, feature, &pieces.lock())).collect()
}

/// The same for some features, not joined yet.
pub(super) fn gather_pieces(
    source: &ViewSource<'_>,
    wanted: &[u64],
    features: Range<usize>,
    threads: usize,
    reads: &Reads,
) -> Result<Gathered> {
    let groups = wanted_by_row_group(source, wanted);
    // With few row groups the features of one are shared out among the threads.
    let width = if groups.len() >= 2 * threads { features.len().max(1) } else { 1 };
    let mut tasks = Vec::new();
    for (row_group, wanted) in groups {
        for start in features.clone().step_by(width) {
            let own = start..features.end.min(start + width);
            tasks.push(Task { row_group, wanted, features: own });
        }
    }
    let reads_of: Vec<(&RowGroup, Range<usize>)> =
        tasks.iter().map(|task| (task.row_group, task.features.clone())).collect();
    let ahead = ReadAhead::of_features(source, &reads_of, threads)?;
    let done = for_each(threads, tasks.len(), Vec::new, |done, index| {
        let Some(task) = tasks.get(index) else { return Ok(()) };
        let _fetched = ahead.begin(index)?;
        let pieces =
            gather_rows(source, task.row_group, task.wanted, task.features.clone(), reads)?;
        done.push((index, pieces));
        Ok(())
    })?;
    let mut done: Vec<(usize, Vec<Vec<ArrayRef>>)> = done.into_iter().flatten().collect();
    done.sort_unstable_by_key(|(index, _)| *index);
    let mut columns: Vec<Vec<ArrayRef>> = vec![Vec::new(); features.len()];
    for (index, pieces) in done {
        let Some(task) = tasks.get(index) else { continue };
        let first = task.features.start - features.start;
        for (column, pieces) in columns.iter_mut().skip(first).zip(pieces) {
            column.extend(pieces);
        }
    }
    let first = features.start;
    Ok(Gathered { first, pieces: columns.into_iter().map(Mutex::new).collect() })
}

/// The pieces of one feature as one column of its declared type.
pub(super) fn join_pieces(
    source: &ViewSource<'_>,
    feature: usize,
    pieces: &[ArrayRef],
) -> Result<ArrayRef> {
    let Some(value_type) = source.types.get(feature) else {
        return Err(Error::refused(format!("view {} has no such feature", source.view.name)));
    };
    let joined = join_coded(*value_type, pieces);
    let joined = joined.and_then(|joined| plain(&joined, *value_type));
    joined.map_err(|why| too_large(source, &why))
}

/// The same, but texts stay codes where all pieces have them so. The error says why they do not fit
/// one column.
fn join_coded(value_type: ValueType, pieces: &[ArrayRef]) -> Result<ArrayRef, String> {
    match pieces {
        [only] => return Ok(Arc::clone(only)),
        [] => return Ok(new_empty_array(&arrow_type(value_type))),
        _ => {}
    }
    let join = |pieces: &[ArrayRef]| {
        let pieces: Vec<&dyn Array> = pieces.iter().map(|piece| piece.as_ref()).collect();
        concat(&pieces).map_err(|error| error.to_string())
    };
    // Of dictionaries that are too long together `concat` panics.
    let dictionaries = pieces.iter().map(|piece| Some(piece.as_any_dictionary_opt()?.values()));
    let bytes = dictionaries.map(|values| Some(values?.get_buffer_memory_size()));
    let bytes = bytes.sum::<Option<usize>>();
    if bytes.is_some_and(|bytes| bytes <= DICTIONARY_BYTES_MAX) {
        return join(pieces);
    }
    let pieces = pieces.iter().map(|piece| plain(piece, value_type));
    join(&pieces.collect::<Result<Vec<ArrayRef>, String>>()?)
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

/// Some features of the wanted rows of one row group: per feature a list of pieces, in order, each
/// of the declared type or a dictionary of that.
pub(super) fn gather_rows(
    source: &ViewSource<'_>,
    row_group: &RowGroup,
    wanted: &[u64],
    features: Range<usize>,
    reads: &Reads,
) -> Result<Vec<Vec<ArrayRef>>> {
    let (file, columns) = source.file(row_group)?;
    let rows = rows_within(row_group, wanted);
    let mut pieces: Vec<Vec<ArrayRef>> = vec![Vec::new(); features.len()];
    let mut others: Vec<(usize, &Column)> = Vec::new();
    for ((feature, pieces), cells) in
        features.clone().zip(&mut pieces).zip(columns.features.iter().skip(features.start))
    {
        let column = match cells {
            Cells::Stored(column) => column,
            Cells::Constant(value) => {
                pieces.push(repeated(value, rows.len())?);
                continue;
            }
        };
        match pick(file, row_group, column, &rows, reads)? {
            Some(picked) => {
                let picked =
                    picked.iter().map(|piece| declared(source, file, column, feature, piece));
                *pieces = picked.collect::<Result<_>>()?;
            }
            None => others.push((feature, column)),
        }
    }
    if others.is_empty() {
        return Ok(pieces);
    }
    let columns: Vec<&Column> = others.iter().map(|(_, column)| *column).collect();
    read_rows(source, row_group, &rows, &columns, reads, |batch| {
        for ((feature, column), read) in others.iter().zip(batch) {
            let piece = declared(source, file, column, *feature, read)?;
            pieces
                .get_mut(feature - features.start)
                .into_iter()
                .for_each(|own| own.push(Arc::clone(&piece)));
        }
        Ok(())
    })?;
    Ok(pieces)
}

/// What was read, in the type that was declared; a dictionary of that stays one.
fn declared(
    source: &ViewSource<'_>,
    file: &DataFile,
    column: &Column,
    feature: usize,
    read: &ArrayRef,
) -> Result<ArrayRef> {
    let Some(value_type) = source.types.get(feature) else { return Ok(Arc::clone(read)) };
    let is_coded = |data_type: &DataType| match data_type {
        DataType::Dictionary(codes, values) => {
            **codes == DataType::Int32 && **values == arrow_type(*value_type)
        }
        _ => false,
    };
    if is_coded(read.data_type()) {
        return Ok(Arc::clone(read));
    }
    plain(read, *value_type).map_err(|why| {
        let field = file.metadata().schema().fields().get(column.root);
        in_column(file, field.map_or("", |field| field.name()), &why)
    })
}

/// The rows with the orders `wanted` as they count in their row group.
fn rows_within(row_group: &RowGroup, wanted: &[u64]) -> Vec<usize> {
    let row = |order: &u64| usize::try_from(order - row_group.first_order).unwrap_or(usize::MAX);
    wanted.iter().map(row).collect()
}

/// The created timestamps of the rows with the orders `wanted`, which ascend and do not repeat.
pub(super) fn gather_created(
    source: &ViewSource<'_>,
    wanted: &[u64],
    threads: usize,
    reads: &Reads,
) -> Result<Vec<Option<Timestamp>>> {
    let groups = wanted_by_row_group(source, wanted);
    let row_groups = groups.iter().map(|(row_group, _)| *row_group);
    let ahead = ReadAhead::of_created(source, row_groups, false, threads)?;
    let done = for_each(threads, groups.len(), Vec::new, |done, index| {
        let Some((row_group, wanted)) = groups.get(index) else { return Ok(()) };
        let _fetched = ahead.begin(index)?;
        done.push((index, created_of(source, row_group, wanted, reads)?));
        Ok(())
    })?;
    let mut done: Vec<(usize, Vec<Option<Timestamp>>)> = done.into_iter().flatten().collect();
    done.sort_unstable_by_key(|(index, _)| *index);
    Ok(done.into_iter().flat_map(|(_, all)| all).collect())
}

/// The same of one row group.
pub(super) fn created_of(
    source: &ViewSource<'_>,
    row_group: &RowGroup,
    wanted: &[u64],
    reads: &Reads,
) -> Result<Vec<Option<Timestamp>>> {
    let (file, columns) = source.file(row_group)?;
    let mut all = Vec::with_capacity(wanted.len());
    let mut add = |column: &ArrayRef| {
        let name = source.view.created_timestamp.as_deref().unwrap_or_default();
        let times = times_us(column, Rounding::Up);
        let times = times.map_err(|why| in_column(file, name, &why))?;
        all.extend(times.iter().map(|time| time.map(Timestamp)));
        Ok(())
    };
    match &columns.created {
        Some(Cells::Stored(column)) => {
            let rows = rows_within(row_group, wanted);
            read_rows(source, row_group, &rows, &[column], reads, |batch| {
                batch.iter().try_for_each(&mut add)
            })?;
        }
        Some(Cells::Constant(value)) => add(&repeated(value, wanted.len())?)?,
        None => {}
    }
    Ok(all)
}

/// Decodes some columns of the wanted rows of one row group, as they are in the file.
fn read_rows(
    source: &ViewSource<'_>,
    row_group: &RowGroup,
    rows: &[usize],
    columns: &[&Column],
    reads: &Reads,
    mut each: impl FnMut(&[ArrayRef]) -> Result<()>,
) -> Result<()> {
    let (file, _) = source.file(row_group)?;
    let ranges = stretches(rows, usize::try_from(row_group.rows).unwrap_or(usize::MAX));
    let places = places_in(rows, ranges.as_deref());
    let mut reader = ColumnReader::open(file, row_group, columns, ranges.as_deref(), reads)?;
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
