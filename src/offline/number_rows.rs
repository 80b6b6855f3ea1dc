//! Numbers of a few features side by side: a row that is met at random then costs one or two lines
//! of memory, and not one for each feature.
//!
//! ```text
//! gathered, a column each      x0 x1 x2 ...    y0 y1 y2 ...
//! here                         x0 y0 x1 y1 x2 y2 ...
//! ```

use super::{
    gather::{gather_rows, join_pieces, wanted_by_row_group},
    parquet_file::damaged,
    read_ahead::ReadAhead,
    reads::Reads,
    source::{RowGroup, ViewSource},
};
use crate::{
    error::Result,
    feature::{Scalar, ValueType},
    parallel::{for_all, map},
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, Float32Array, Int32Array, PrimitiveArray, UInt32Array,
    cast::AsArray,
    types::{Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use std::{array, ops::Range, sync::Arc};

/// So many features at once: half a line.
pub(super) const WIDTH_MAX: usize = 4;

/// So many rows at once are turned, while they lie in the cache.
const ROWS_AT_ONCE: usize = 1024;

/// Rows of the spine are filled in so many parts for each thread.
const PARTS_PER_THREAD: usize = 2;

/// Whether features of this type are numbers here.
pub(super) fn is_number(value_type: ValueType) -> bool {
    use Scalar::{Float32, Float64, Int32, Int64, Timestamp};
    matches!(value_type, ValueType::Scalar(Int32 | Int64 | Float32 | Float64 | Timestamp))
}

/// Some features of wanted rows.
pub(super) struct NumberRows<'a> {
    source: &'a ViewSource<'a>,
    /// The row groups, each with its wanted rows.
    groups: Vec<(&'a RowGroup, &'a [u64])>,
    rows: usize,
    threads: usize,
    /// Bits of numbers, one for each feature in each row; kept from one time to the next.
    cells: Vec<u64>,
    /// A bit for each feature that is null in a row.
    nulls: Vec<u8>,
}

/// The numbers of one feature in a row group.
enum Numbers<'a> {
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
}

/// The rows of one row group.
struct Task<'a, 'r> {
    index: usize,
    cells: &'r mut [u64],
    nulls: &'r mut [u8],
    row_group: &'a RowGroup,
    wanted: &'a [u64],
}

impl<'a> NumberRows<'a> {
    /// None yet. `None` if `source` has too few row groups to share them out.
    pub(super) fn new(
        source: &'a ViewSource<'a>,
        wanted: &'a [u64],
        threads: usize,
    ) -> Option<Self> {
        let groups = wanted_by_row_group(source, wanted);
        let (rows, cells, nulls) = (wanted.len(), Vec::new(), vec![0; wanted.len()]);
        let is_shared_out = groups.len() >= threads;
        is_shared_out.then_some(Self { source, groups, rows, threads, cells, nulls })
    }

    /// Takes the values of these features, at most [`WIDTH_MAX`] and all of them numbers, in place
    /// of those before.
    pub(super) fn gather(&mut self, features: Range<usize>, reads: &Reads) -> Result<()> {
        let (source, width) = (self.source, features.len());
        if self.cells.len() < self.rows * width {
            // Zeros that nobody has met take no memory.
            self.cells = vec![0; self.rows * width];
        }
        let (mut cells, mut nulls) = (self.cells.as_mut_slice(), self.nulls.as_mut_slice());
        let tasks = self.groups.iter().enumerate().map(|(index, (row_group, wanted))| {
            let cells = cells.split_off_mut(..wanted.len() * width).unwrap_or_default();
            let nulls = nulls.split_off_mut(..wanted.len()).unwrap_or_default();
            Task { index, cells, nulls, row_group, wanted }
        });
        let tasks = tasks.collect();
        let reads_of: Vec<(&RowGroup, Range<usize>)> =
            self.groups.iter().map(|(row_group, _)| (*row_group, features.clone())).collect();
        let ahead = ReadAhead::of_features(source, &reads_of, self.threads)?;
        for_all(self.threads, tasks, |task: Task<'_, '_>| {
            let _fetched = ahead.begin(task.index)?;
            let Task { row_group, wanted, cells, nulls, .. } = task;
            let pieces = gather_rows(source, row_group, wanted, features.clone(), reads)?;
            let columns = features.clone().zip(&pieces);
            let columns = columns.map(|(feature, pieces)| join_pieces(source, feature, pieces));
            let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
            let are_whole = columns.iter().all(|column| column.len() == wanted.len());
            let turned = are_whole.then(|| turn(&columns, cells, nulls)).flatten();
            let Some(numbers) = turned else {
                let path = source.file(row_group)?.0.path();
                return Err(damaged(path, "some wanted rows are missing"));
            };
            Ok(numbers)
        })
    }

    /// The columns of the features that were gathered, which are of these types: for each place
    /// what stands there, or null.
    pub(super) fn fill(&self, types: &[ValueType], places: &UInt32Array) -> Result<Vec<ArrayRef>> {
        let with_nulls = self.nulls.iter().fold(0, |all, nulls| all | nulls);
        let (numbers, nulls) = match types.len() {
            1 => self.bring::<1>(places.values(), with_nulls != 0),
            2 => self.bring::<2>(places.values(), with_nulls != 0),
            3 => self.bring::<3>(places.values(), with_nulls != 0),
            _ => self.bring::<WIDTH_MAX>(places.values(), with_nulls != 0),
        }?;
        let bits: Vec<u8> = (0..types.len()).map(|feature| 1 << feature).collect();
        let nulls = map(self.threads, &bits, |bit| {
            if with_nulls & bit == 0 {
                return Ok(places.nulls().cloned());
            }
            let has_value = |row: usize| nulls.get(row).is_some_and(|nulls| nulls & bit == 0);
            let own = NullBuffer::new(BooleanBuffer::collect_bool(places.len(), has_value));
            let all = NullBuffer::union(places.nulls(), Some(&own));
            Ok(all.filter(|nulls| nulls.null_count() > 0))
        })?;
        let columns = types.iter().zip(numbers).zip(nulls);
        let columns = columns.map(|((of, numbers), nulls)| column(*of, numbers, nulls));
        Ok(columns.collect())
    }

    /// What stands at each place: the bits of each feature, and `with_nulls` those that are null.
    fn bring<const WIDTH: usize>(
        &self,
        places: &[u32],
        with_nulls: bool,
    ) -> Result<(Vec<Vec<u64>>, Vec<u8>)> {
        let (cells, _) = self.cells.as_chunks::<WIDTH>();
        let mut columns: Vec<Vec<u64>> = (0..WIDTH).map(|_| vec![0; places.len()]).collect();
        let mut nulls = vec![0; places.len()];
        let part_rows = places.len().div_ceil(self.threads * PARTS_PER_THREAD).max(1);
        let mut pieces: Vec<_> =
            columns.iter_mut().map(|column| column.chunks_mut(part_rows)).collect();
        let parts = places.chunks(part_rows).zip(nulls.chunks_mut(part_rows));
        let parts = parts.map(|(places, nulls)| {
            let mut pieces = pieces.iter_mut();
            let own: [&mut [u64]; WIDTH] =
                array::from_fn(|_| pieces.next().and_then(Iterator::next).unwrap_or_default());
            (places, nulls, own)
        });
        let parts = parts.collect();
        for_all(self.threads, parts, |(places, nulls, mut columns)| {
            for (row, place) in places.iter().enumerate() {
                let cells = cells.get(*place as usize).copied().unwrap_or([0; WIDTH]);
                for (column, bits) in columns.iter_mut().zip(cells) {
                    column.get_mut(row).into_iter().for_each(|cell| *cell = bits);
                }
            }
            if with_nulls {
                for (place, nulls) in places.iter().zip(nulls) {
                    *nulls = self.nulls.get(*place as usize).copied().unwrap_or(0);
                }
            }
            Ok(())
        })?;
        Ok((columns, nulls))
    }
}

impl<'a> Numbers<'a> {
    /// `None` if `column` has no numbers.
    fn of(column: &'a ArrayRef) -> Option<Self> {
        fn values<T: ArrowPrimitiveType>(column: &ArrayRef) -> Option<&[T::Native]> {
            column.as_primitive_opt::<T>().map(|column| column.values().as_ref())
        }
        let long =
            || values::<Int64Type>(column).or_else(|| values::<TimestampMicrosecondType>(column));
        let int = || values::<Int32Type>(column).map(Self::Int32);
        let float = || values::<Float32Type>(column).map(Self::Float32);
        let double = values::<Float64Type>(column).map(Self::Float64);
        double.or_else(|| long().map(Self::Int64)).or_else(int).or_else(float)
    }

    /// Writes the bits of these rows, each so many places behind the one before.
    fn write(&self, rows: Range<usize>, cells: &mut [u64], width: usize) {
        fn put<'c, T: Copy>(
            numbers: &[T],
            rows: Range<usize>,
            cells: impl Iterator<Item = &'c mut u64>,
            bits: impl Fn(T) -> u64,
        ) {
            let numbers = numbers.get(rows).unwrap_or_default();
            cells.zip(numbers).for_each(|(cell, number)| *cell = bits(*number));
        }
        let cells = cells.iter_mut().step_by(width);
        match self {
            Self::Int32(numbers) => put(numbers, rows, cells, |n| u64::from(n.cast_unsigned())),
            Self::Int64(numbers) => put(numbers, rows, cells, i64::cast_unsigned),
            Self::Float32(numbers) => put(numbers, rows, cells, |n| u64::from(n.to_bits())),
            Self::Float64(numbers) => put(numbers, rows, cells, f64::to_bits),
        }
    }
}

/// Writes columns of numbers row by row, and which of them are null; `None` if one has none.
fn turn(columns: &[ArrayRef], cells: &mut [u64], nulls: &mut [u8]) -> Option<()> {
    let width = columns.len();
    let numbers: Vec<Numbers<'_>> = columns.iter().map(Numbers::of).collect::<Option<_>>()?;
    let rows = nulls.len();
    for (start, cells) in (0..).step_by(ROWS_AT_ONCE).zip(cells.chunks_mut(ROWS_AT_ONCE * width)) {
        let own = start..rows.min(start + ROWS_AT_ONCE);
        for (place, numbers) in numbers.iter().enumerate() {
            numbers.write(own.clone(), cells.get_mut(place..)?, width);
        }
    }
    nulls.fill(0);
    for (place, own) in
        columns.iter().enumerate().filter_map(|(i, column)| Some((i, column.nulls()?)))
    {
        for (nulls, is_valid) in nulls.iter_mut().zip(own) {
            *nulls |= u8::from(!is_valid) << place;
        }
    }
    Some(())
}

/// A column of numbers from their bits.
fn column(value_type: ValueType, bits: Vec<u64>, nulls: Option<NullBuffer>) -> ArrayRef {
    fn long<T: ArrowPrimitiveType>(bits: Vec<u64>, nulls: Option<NullBuffer>) -> PrimitiveArray<T> {
        let rows = bits.len();
        PrimitiveArray::new(ScalarBuffer::new(Buffer::from_vec(bits), 0, rows), nulls)
    }
    fn short(bits: &[u64]) -> impl Iterator<Item = u32> {
        bits.iter().map(|bits| *bits as u32)
    }
    match value_type {
        ValueType::Scalar(Scalar::Int32) => {
            let numbers: Vec<i32> = short(&bits).map(u32::cast_signed).collect();
            Arc::new(Int32Array::new(numbers.into(), nulls))
        }
        ValueType::Scalar(Scalar::Float32) => {
            let numbers: Vec<f32> = short(&bits).map(f32::from_bits).collect();
            Arc::new(Float32Array::new(numbers.into(), nulls))
        }
        ValueType::Scalar(Scalar::Float64) => Arc::new(long::<Float64Type>(bits, nulls)),
        ValueType::Scalar(Scalar::Timestamp) => {
            Arc::new(long::<TimestampMicrosecondType>(bits, nulls).with_timezone("UTC"))
        }
        _ => Arc::new(long::<Int64Type>(bits, nulls)),
    }
}
