//! The pages of one column chunk: levels and values apart, and nothing decoded that is not asked
//! for.
//!
//! ```text
//! page     dictionary    codes  codes  codes  plain  plain       a page is all codes or all plain
//! ```
//! Invariants
//! - A chunk gives as many rows as its row group has, or an error.
//! - Memory follows the bytes of a page, never a number that a page claims.

use super::{
    dataset::DataFile,
    page_index::count_pages,
    parquet_file::{ParquetFile, damaged, guarded},
    reads::Reads,
    runs::Runs,
    source::{Column, RowGroup},
};
use crate::error::{Error, Result};
use bytes::Bytes;
use parquet::{
    basic::Encoding,
    column::page::{Page, PageMetadata, PageReader},
    file::serialized_reader::SerializedPageReader,
};
use std::{ops::Range, sync::Arc};

/// The encodings that are read here; whatever else a file has is left to the decoder for all
/// columns (`scan.rs`).
const READ_HERE: [Encoding; 4] =
    [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY, Encoding::PLAIN_DICTIONARY];

/// Reads a column chunk, page by page.
pub(super) struct Pages<'a> {
    file: &'a DataFile,
    reads: &'a Reads,
    reader: SerializedPageReader<ParquetFile>,
    /// Whether rows may be null.
    is_optional: bool,
    /// In the pages that were not read.
    rows_left: u64,
    pages_read: u64,
    pages_skipped: u64,
    /// How many pages there are, dictionaries aside; 0 if the file does not list them.
    pages_listed: u64,
}

impl Drop for Pages<'_> {
    fn drop(&mut self) {
        // Behind the last wanted row nothing is even looked at.
        let skipped = self.pages_listed.saturating_sub(self.pages_read).max(self.pages_skipped);
        self.reads.add_pages(self.pages_read, skipped);
    }
}

/// What a page holds.
pub(super) enum NextPage {
    Dictionary { bytes: Bytes, count: usize },
    Data(DataPage),
}

/// Rows of a column.
pub(super) struct DataPage {
    pub(super) rows: usize,
    /// Whether each row has a value: 1, or 0 for null.
    pub(super) levels: Option<Runs>,
    pub(super) values: Values,
}

/// The values of the rows that have one.
pub(super) enum Values {
    Plain(Bytes),
    Codes(Runs),
}

impl<'a> Pages<'a> {
    /// Opens `column` of `row_group`; `None` if it is nested or encoded in a way that is not read
    /// here.
    pub(super) fn open(
        file: &'a DataFile,
        row_group: &RowGroup,
        column: &Column,
        reads: &'a Reads,
    ) -> Result<Option<Self>> {
        let metadata = file.metadata().metadata();
        let row_groups = metadata.row_groups().get(row_group.index);
        let chunk = column.leaf.and_then(|leaf| row_groups?.columns().get(leaf));
        let Some(chunk) = chunk else { return Ok(None) };
        let depth = chunk.column_descr().max_def_level();
        let is_flat = chunk.column_descr().max_rep_level() == 0 && depth <= 1;
        if !is_flat || !chunk.encodings().all(|encoding| READ_HERE.contains(&encoding)) {
            return Ok(None);
        }
        let source = Arc::new(file.open(reads.counter())?);
        let rows = usize::try_from(row_group.rows).unwrap_or(usize::MAX);
        let reader = guarded(file.path(), || SerializedPageReader::new(source, chunk, rows, None))?;
        let listed =
            column.leaf.map_or(0, |leaf| count_pages(metadata, row_group.index, leaf, None).0);
        Ok(Some(Self {
            file,
            reads,
            reader,
            is_optional: depth == 1,
            rows_left: row_group.rows,
            pages_read: 0,
            pages_skipped: 0,
            pages_listed: listed,
        }))
    }

    /// The next page; `None` after the last.
    pub(super) fn next_page(&mut self) -> Result<Option<NextPage>> {
        let next = guarded(self.file.path(), || self.reader.get_next_page())?;
        let Some(page) = next else {
            return match self.rows_left {
                0 => Ok(None),
                left => Err(self.damaged(&format!("{left} rows are missing"))),
            };
        };
        if let Page::DictionaryPage { buf, num_values, .. } = page {
            return Ok(Some(NextPage::Dictionary { bytes: buf, count: num_values as usize }));
        }
        let page = self.data_page(page).ok_or_else(|| self.damaged("a page makes no sense"))?;
        self.count(page.rows)?;
        self.pages_read += 1;
        Ok(Some(NextPage::Data(page)))
    }

    /// Skips pages of rows that lie whole within the next `rows`, and tells how many rows they
    /// have. They are not even decompressed.
    pub(super) fn skip_within(&mut self, rows: usize) -> Result<usize> {
        let mut skipped = 0;
        loop {
            let next = guarded(self.file.path(), || self.reader.peek_next_page())?;
            let rows_of = |page: PageMetadata| {
                // Where nothing is nested there is a level for each row.
                page.num_rows.or(page.num_levels).filter(|_| !page.is_dict)
            };
            let own = match next.and_then(rows_of) {
                Some(own) if own <= rows - skipped => own,
                _ => return Ok(skipped),
            };
            guarded(self.file.path(), || self.reader.skip_next_page())?;
            self.count(own)?;
            self.pages_skipped += 1;
            skipped += own;
        }
    }

    /// The error for a chunk whose bytes make no sense.
    pub(super) fn damaged(&self, why: &str) -> Error {
        damaged(self.file.path(), why)
    }

    fn count(&mut self, rows: usize) -> Result<()> {
        let left = self.rows_left.checked_sub(rows as u64);
        self.rows_left = left.ok_or_else(|| self.damaged("it has too many rows"))?;
        Ok(())
    }

    fn data_page(&self, page: Page) -> Option<DataPage> {
        let (bytes, rows, encoding, levels) = match page {
            Page::DictionaryPage { .. } => return None,
            Page::DataPage { buf, num_values, encoding, .. } => {
                let levels = if self.is_optional { split_levels(&buf)? } else { 0..0 };
                (buf, num_values, encoding, levels)
            }
            Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                let start = rep_levels_byte_len as usize;
                let end = start.checked_add(def_levels_byte_len as usize)?;
                (buf, num_values, encoding, start..end)
            }
        };
        if levels.end > bytes.len() || levels.start > levels.end {
            return None;
        }
        let values = bytes.slice(levels.end..);
        let levels = if self.is_optional { Some(Runs::new(bytes.slice(levels), 1)?) } else { None };
        let values = match encoding {
            Encoding::PLAIN => Values::Plain(values),
            Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => match values.first() {
                Some(width) => Values::Codes(Runs::new(values.slice(1..), *width)?),
                // A page of nulls only.
                None => Values::Codes(Runs::new(values, 1)?),
            },
            _ => return None,
        };
        Some(DataPage { rows: usize::try_from(rows).ok()?, levels, values })
    }
}

/// Where the levels of a page of the first version stand: behind their length.
fn split_levels(page: &[u8]) -> Option<Range<usize>> {
    let length = u32::from_le_bytes(*page.first_chunk::<4>()?);
    Some(4..usize::try_from(length).ok()?.checked_add(4)?)
}
