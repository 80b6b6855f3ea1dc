//! The offset index of a file, which tells the page of every row, and the column index of a chunk,
//! which tells the least and the greatest value of every page: checked, then read.

use super::{
    headers::{COLUMN_INDEX, OFFSET_INDEX},
    parquet_file::ParquetFile,
    thrift::{Fields, walk},
};
use bytes::Bytes;
use parquet::{
    errors::ParquetError,
    file::{
        metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader},
        page_index::{
            column_index::ColumnIndexMetaData, index_reader::decode_column_index,
            offset_index::PageLocation,
        },
        reader::ChunkReader,
    },
};
use std::{ops::Range, sync::Arc};

/// How many pages of a column chunk hold rows in `ranges`, which ascend, and how many do not;
/// `None` stands for all rows. None of either where the file does not list them.
pub(super) fn count_pages(
    metadata: &ParquetMetaData,
    row_group: usize,
    leaf: usize,
    ranges: Option<&[Range<usize>]>,
) -> (u64, u64) {
    let index = metadata.page_index().and_then(|index| index.offset_index(row_group, leaf));
    let Some(pages) = index.map(|index| index.page_locations()) else { return (0, 0) };
    let first_row = |page: &PageLocation| usize::try_from(page.first_row_index).unwrap_or_default();
    let ends = pages.iter().skip(1).map(first_row).chain([usize::MAX]);
    let is_read = |(page, end): &(&PageLocation, usize)| {
        ranges.is_none_or(|ranges| {
            let next = ranges.partition_point(|range| range.end <= first_row(page));
            ranges.get(next).is_some_and(|range| range.start < *end)
        })
    };
    let read = pages.iter().zip(ends).filter(is_read).count() as u64;
    (read, pages.len() as u64 - read)
}

/// Where the pages begin that the offset indexes list, and the dictionaries before them; ascending.
pub(super) fn listed_pages(metadata: &ParquetMetaData) -> Arc<[u64]> {
    let mut starts = Vec::new();
    for (row_group, chunks) in metadata.row_groups().iter().enumerate() {
        for (leaf, chunk) in chunks.columns().iter().enumerate() {
            let index = metadata.page_index();
            let index = index.and_then(|index| index.offset_index(row_group, leaf));
            let Some(pages) = index.map(|index| index.page_locations()) else { continue };
            let first = [chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset())];
            let offsets = pages.iter().map(|page| page.offset).chain(first);
            starts.extend(offsets.filter_map(|offset| u64::try_from(offset).ok()));
        }
    }
    starts.sort_unstable();
    starts.dedup();
    starts.into()
}

/// Where the offset indexes of a file lie, from the first to the last; `None` if it has none.
pub(super) fn index_range(metadata: &ParquetMetaData) -> Option<Range<u64>> {
    let columns = metadata.row_groups().iter().flat_map(|row_group| row_group.columns());
    let ranges = columns.filter_map(|column| {
        let offset = u64::try_from(column.offset_index_offset()?).ok()?;
        Some((offset, offset.checked_add(u64::try_from(column.offset_index_length()?).ok()?)?))
    });
    let whole = |all: Range<u64>, (start, end): (u64, u64)| all.start.min(start)..all.end.max(end);
    ranges.map(|(start, end)| start..end).reduce(|all, own| whole(all, (own.start, own.end)))
}

/// `metadata` with its offset indexes, where the file has them.
pub(super) fn with_offset_index(
    file: &ParquetFile,
    metadata: ParquetMetaData,
) -> Result<ParquetMetaData, ParquetError> {
    for column in metadata.row_groups().iter().flat_map(|row_group| row_group.columns()) {
        let place = (column.offset_index_offset(), column.offset_index_length());
        walked(file, place, OFFSET_INDEX)?;
    }
    let mut reader = ParquetMetaDataReader::new_with_metadata(metadata)
        .with_offset_index_policy(PageIndexPolicy::Optional);
    reader.read_page_indexes(file)?;
    reader.finish()
}

/// The column index of a chunk, where the file has one.
pub(super) fn column_index(
    file: &ParquetFile,
    chunk: &ColumnChunkMetaData,
) -> Result<Option<ColumnIndexMetaData>, ParquetError> {
    let place = (chunk.column_index_offset(), chunk.column_index_length());
    let bytes = walked(file, place, COLUMN_INDEX)?;
    bytes.map(|bytes| decode_column_index(&bytes, chunk.column_type())).transpose()
}

/// The bytes of an index at an offset, with a length.
fn walked(
    file: &ParquetFile,
    place: (Option<i64>, Option<i32>),
    fields: Fields,
) -> Result<Option<Bytes>, ParquetError> {
    let (Some(offset), Some(length)) = place else { return Ok(None) };
    let bytes = file.get_bytes(u64::try_from(offset)?, usize::try_from(length)?)?;
    walk(&bytes, fields)?;
    Ok(Some(bytes))
}
