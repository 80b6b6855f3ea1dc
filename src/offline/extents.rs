//! The least and the greatest value of a column chunk and of each of its pages, as told by whoever
//! wrote the file.

use super::{
    convert::{Rounding, time_us},
    dataset::DataFile,
    page_index::column_index,
    parquet_file::guarded,
    reads::Reads,
    source::{Column, RowGroup},
};
use crate::{error::Result, feature::Timestamp};
use parquet::file::{page_index::column_index::ColumnIndexMetaData, statistics::Statistics};
use std::ops::Range;

/// The least and the greatest value of some rows, nulls aside. Texts may be cut, the least to less
/// and the greatest to more than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent<'a> {
    Integers(i64, i64),
    Bytes(&'a [u8], &'a [u8]),
}

impl<'a> Extent<'a> {
    /// That of a column chunk.
    pub(super) fn of_chunk(statistics: &'a Statistics) -> Option<Self> {
        Some(match statistics {
            Statistics::Int32(range) => {
                Self::Integers((*range.min_opt()?).into(), (*range.max_opt()?).into())
            }
            Statistics::Int64(range) => Self::Integers(*range.min_opt()?, *range.max_opt()?),
            // Old writers compared text as signed bytes.
            Statistics::ByteArray(range) if !statistics.is_min_max_deprecated() => {
                Self::Bytes(range.min_bytes_opt()?, range.max_bytes_opt()?)
            }
            _ => return None,
        })
    }

    fn of_page(index: &'a ColumnIndexMetaData, page: usize) -> Option<Self> {
        Some(match index {
            ColumnIndexMetaData::INT32(index) => {
                Self::Integers((*index.min_value(page)?).into(), (*index.max_value(page)?).into())
            }
            ColumnIndexMetaData::INT64(index) => {
                Self::Integers(*index.min_value(page)?, *index.max_value(page)?)
            }
            ColumnIndexMetaData::BYTE_ARRAY(index) => {
                Self::Bytes(index.min_value(page)?, index.max_value(page)?)
            }
            _ => return None,
        })
    }

    /// The same as times, if `column` has times.
    pub(super) fn times(self, column: &Column) -> Option<(Timestamp, Timestamp)> {
        let Self::Integers(least, greatest) = self else { return None };
        let us = |number| time_us(number, &column.data_type, Rounding::Up).map(Timestamp);
        Some((us(least)?, us(greatest)?))
    }
}

/// The pages of a column chunk.
pub(super) struct PageExtents {
    /// The rows of each.
    pages: Vec<Range<usize>>,
    index: ColumnIndexMetaData,
}

impl PageExtents {
    /// `None` if the file does not tell them, or in a way that makes no sense: they save time, and
    /// without them the answer is the same.
    pub(super) fn read(
        file: &DataFile,
        row_group: &RowGroup,
        column: &Column,
        reads: &Reads,
    ) -> Result<Option<Self>> {
        // Of a store whole chunks are on their way already, and another request would take longer.
        if file.is_in_store() {
            return Ok(None);
        }
        let metadata = file.metadata().metadata();
        let chunk = |leaf: usize| metadata.row_groups().get(row_group.index)?.columns().get(leaf);
        let offsets = |leaf| metadata.page_index()?.offset_index(row_group.index, leaf);
        let listed = column.leaf.and_then(|leaf| chunk(leaf).zip(offsets(leaf)));
        let Some((chunk, offsets)) = listed else { return Ok(None) };
        let source = file.open(reads.counter())?;
        let Ok(Some(index)) = guarded(file.path(), || column_index(&source, chunk)) else {
            return Ok(None);
        };
        let locations = offsets.page_locations();
        let starts = locations.iter().map(|page| usize::try_from(page.first_row_index).ok());
        let end = usize::try_from(row_group.rows).ok();
        let bounds: Option<Vec<usize>> = starts.chain([end]).collect();
        let Some(bounds) = bounds.filter(|bounds| bounds.first() == Some(&0)) else {
            return Ok(None);
        };
        let pages: Vec<Range<usize>> = bounds
            .windows(2)
            .map(|ends| ends.first().copied().unwrap_or(0)..ends.last().copied().unwrap_or(0))
            .collect();
        let is_sound = pages.iter().all(|page| page.start <= page.end)
            && index.num_pages() == pages.len() as u64;
        Ok(is_sound.then_some(Self { pages, index }))
    }

    /// The rows of the pages that `reaches` wants, ascending; those of which nothing is told too,
    /// and those of nulls alone if `with_nulls` says so.
    pub(super) fn rows(
        &self,
        with_nulls: bool,
        reaches: impl Fn(Extent<'_>) -> bool,
    ) -> Vec<Range<usize>> {
        let mut wanted: Vec<Range<usize>> = Vec::new();
        for (page, rows) in self.pages.iter().enumerate() {
            let is_wanted = match self.index.is_null_page(page) {
                true => with_nulls,
                false => Extent::of_page(&self.index, page).is_none_or(&reaches),
            };
            match wanted.last_mut().filter(|last| last.end == rows.start) {
                _ if !is_wanted || rows.is_empty() => {}
                Some(last) => last.end = rows.end,
                None => wanted.push(rows.clone()),
            }
        }
        wanted
    }
}

/// What lies in both of two lists of ranges that ascend.
pub(super) fn common(a: &[Range<usize>], b: &[Range<usize>]) -> Vec<Range<usize>> {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut both = Vec::new();
    while let (Some(left), Some(right)) = (a.peek(), b.peek()) {
        let range = left.start.max(right.start)..left.end.min(right.end);
        if !range.is_empty() {
            both.push(range);
        }
        if left.end <= right.end {
            a.next()
        } else {
            b.next()
        };
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_in_both_lists_are_found_once() {
        let ranges = |ends: &[(usize, usize)]| -> Vec<Range<usize>> {
            ends.iter().map(|(start, end)| *start..*end).collect()
        };
        let check = |a: &[(usize, usize)], b: &[(usize, usize)], both: &[(usize, usize)]| {
            let (a, b, both) = (ranges(a), ranges(b), ranges(both));
            assert_eq!((common(&a, &b), common(&b, &a)), (both.clone(), both));
        };
        check(&[(0, 9)], &[(2, 4), (6, 7)], &[(2, 4), (6, 7)]);
        check(&[(0, 3), (5, 8)], &[(2, 6)], &[(2, 3), (5, 6)]);
        check(&[(0, 3)], &[(3, 6)], &[]);
        check(&[], &[(3, 6)], &[]);
        check(&[(0, 2), (2, 5)], &[(1, 3), (4, 9)], &[(1, 2), (2, 3), (4, 5)]);
    }
}
