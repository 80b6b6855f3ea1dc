//! The offset index of a file, which tells the page of every row: checked, then read.
//!
//! ```text
//! 0x19          field 1 is a list
//! 0xSC          of S structs;  0xFC and a varint where there are 15 or more
//! ```
//! The decoder makes room for as many entries as the list claims. A claim of 50 GB would end the
//! whole process, and no `catch_unwind` would help; so the claim is looked at here first.

use super::parquet_file::ParquetFile;
use parquet::{
    errors::ParquetError,
    file::{
        metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader},
        page_index::offset_index::PageLocation,
        reader::ChunkReader,
    },
};
use std::ops::Range;

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

const LIST_IN_FIELD_1: u8 = 0x19;
const STRUCT: u8 = 0x0c;

/// `metadata` with its offset indexes, where the file has them.
pub(super) fn with_offset_index(
    file: &ParquetFile,
    metadata: ParquetMetaData,
) -> Result<ParquetMetaData, ParquetError> {
    for column in metadata.row_groups().iter().flat_map(|row_group| row_group.columns()) {
        let (offset, length) = (column.offset_index_offset(), column.offset_index_length());
        let Some((offset, length)) = offset.zip(length) else { continue };
        let bytes = file.get_bytes(u64::try_from(offset)?, usize::try_from(length)?)?;
        if !claim_is_possible(&bytes) {
            return Err(ParquetError::General("its offset index makes no sense".into()));
        }
    }
    let mut reader = ParquetMetaDataReader::new_with_metadata(metadata)
        .with_offset_index_policy(PageIndexPolicy::Optional);
    reader.read_page_indexes(file)?;
    reader.finish()
}

/// Whether the list of an offset index can be as long as it says: an entry takes a byte or more.
fn claim_is_possible(bytes: &[u8]) -> bool {
    let [LIST_IN_FIELD_1, header, rest @ ..] = bytes else { return false };
    if header & 0x0f != STRUCT {
        return false;
    }
    let claimed = match header >> 4 {
        15 => varint(rest),
        short => Some(u64::from(short)),
    };
    claimed.is_some_and(|claimed| claimed <= rest.len() as u64)
}

fn varint(bytes: &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_may_not_claim_more_entries_than_it_has_bytes() {
        assert!(claim_is_possible(&[0x19, 0x2c, 0x16, 0x08, 0, 0]));
        assert!(!claim_is_possible(&[0x19, 0x5c, 1, 2, 3]));
        assert!(!claim_is_possible(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 1, 2]));
        assert!(!claim_is_possible(&[0x19, 0xfc, 0xff, 0xff]));
        assert!(!claim_is_possible(&[0x19]) && !claim_is_possible(&[0x18, 0x2c, 0, 0]));
    }
}
