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
    page_reader::{Body, PackedPage, PageKind, PageReader},
    parquet_file::{ParquetFile, damaged, guarded},
    reads::Reads,
    runs::Runs,
    snappy::Packed,
    source::{Column, RowGroup},
    thrift::Flaw,
};
use crate::error::{Error, Result};
use bytes::{Buf, Bytes};
use parquet::{
    basic::Encoding,
    column::page::{Page, PageMetadata, PageReader as _},
    errors::Result as ParquetResult,
    file::serialized_reader::SerializedPageReader,
};
use std::sync::Arc;

/// The encodings that are read here; whatever else a file has is left to the decoder for all
/// columns (`scan.rs`).
const READ_HERE: [Encoding; 4] =
    [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY, Encoding::PLAIN_DICTIONARY];

/// What the format calls these encodings.
const PLAIN: i64 = 0;
const PLAIN_DICTIONARY: i64 = 2;
const RLE_DICTIONARY: i64 = 8;

/// Reads a column chunk, page by page.
pub(super) struct Pages<'a> {
    file: &'a DataFile,
    reads: &'a Reads,
    reader: Reader,
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

/// Who reads the pages.
enum Reader {
    Own(PageReader),
    /// The decoder of the crate, for all ways of packing that are not read here.
    Any(Box<SerializedPageReader<ParquetFile>>),
}

impl Reader {
    /// How many rows the next page has; `None` if that is a dictionary, or there is none.
    fn rows_ahead(&mut self) -> ParquetResult<Option<usize>> {
        // Where nothing is nested there is a level for each row.
        let rows_of =
            |page: PageMetadata| page.num_rows.or(page.num_levels).filter(|_| !page.is_dict);
        match self {
            Self::Own(reader) => reader.rows_ahead(),
            Self::Any(reader) => Ok(reader.peek_next_page()?.and_then(rows_of)),
        }
    }

    fn skip(&mut self) -> ParquetResult<()> {
        match self {
            Self::Own(reader) => reader.skip(),
            Self::Any(reader) => reader.skip_next_page(),
        }
    }

    fn next(&mut self) -> ParquetResult<Option<PackedPage>> {
        match self {
            Self::Own(reader) => reader.next(),
            Self::Any(reader) => reader.get_next_page()?.map(unpacked).transpose(),
        }
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
    Plain(Plain),
    Codes(Runs),
}

/// Values one after the other, packed until someone asks for more than a few of them.
pub(super) enum Plain {
    Unpacked(Bytes),
    Packed(Packed),
}

impl Plain {
    /// All of them; `None` if they cannot be unpacked.
    pub(super) fn unpacked(&mut self) -> Option<&mut Bytes> {
        if let Self::Packed(packed) = self {
            *self = Self::Unpacked(packed.unpack()?);
        }
        match self {
            Self::Unpacked(bytes) => Some(bytes),
            Self::Packed(_) => None,
        }
    }
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
        let source = file.open(reads.counter())?;
        let rows = usize::try_from(row_group.rows).unwrap_or(usize::MAX);
        let reader = guarded(file.path(), || match PageReader::open(source.clone(), chunk) {
            Some(reader) => Ok(Reader::Own(reader)),
            None => SerializedPageReader::new(Arc::new(source), chunk, rows, None)
                .map(|reader| Reader::Any(Box::new(reader))),
        })?;
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
        let next = guarded(self.file.path(), || self.reader.next())?;
        let Some(page) = next else {
            return match self.rows_left {
                0 => Ok(None),
                left => Err(self.damaged(&format!("{left} rows are missing"))),
            };
        };
        let senseless = || self.damaged("a page makes no sense");
        if let PageKind::Dictionary = page.kind {
            let bytes = page.body.unpack().ok_or_else(senseless)?;
            return Ok(Some(NextPage::Dictionary { bytes, count: page.count }));
        }
        let page = self.data_page(page).ok_or_else(senseless)?;
        self.count(page.rows)?;
        self.pages_read += 1;
        Ok(Some(NextPage::Data(page)))
    }

    /// Skips pages of rows that lie whole within the next `rows`, and tells how many rows they
    /// have. They are not even decompressed.
    pub(super) fn skip_within(&mut self, rows: usize) -> Result<usize> {
        let mut skipped = 0;
        loop {
            let own = match guarded(self.file.path(), || self.reader.rows_ahead())? {
                Some(own) if own <= rows - skipped => own,
                _ => return Ok(skipped),
            };
            guarded(self.file.path(), || self.reader.skip())?;
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

    fn data_page(&self, page: PackedPage) -> Option<DataPage> {
        let PackedPage { kind, count: rows, encoding, body } = page;
        let (levels, values) = match kind {
            PageKind::Dictionary => return None,
            PageKind::RowsBehindLevels(levels) => (levels, body),
            PageKind::Rows if !self.is_optional => (Bytes::new(), body),
            PageKind::Rows => split_levels(body)?,
        };
        let levels = if self.is_optional { Some(Runs::new(levels, 1)?) } else { None };
        let values = match encoding {
            PLAIN => Values::Plain(match values {
                Body::Plain(bytes) => Plain::Unpacked(bytes),
                Body::Packed(packed) => Plain::Packed(packed),
            }),
            RLE_DICTIONARY | PLAIN_DICTIONARY => {
                let values = values.unpack()?;
                match values.first() {
                    Some(width) => Values::Codes(Runs::new(values.slice(1..), *width)?),
                    // A page of nulls only.
                    None => Values::Codes(Runs::new(values, 1)?),
                }
            }
            _ => return None,
        };
        Some(DataPage { rows, levels, values })
    }
}

impl Body {
    fn unpack(self) -> Option<Bytes> {
        match self {
            Self::Plain(bytes) => Some(bytes),
            Self::Packed(packed) => packed.unpack(),
        }
    }
}

/// A page as the decoder of the crate gives it.
fn unpacked(page: Page) -> ParquetResult<PackedPage> {
    let (kind, count, encoding, body) = match page {
        Page::DictionaryPage { buf, num_values, encoding, .. } => {
            (PageKind::Dictionary, num_values, encoding, buf)
        }
        Page::DataPage { buf, num_values, encoding, .. } => {
            (PageKind::Rows, num_values, encoding, buf)
        }
        Page::DataPageV2 {
            mut buf,
            num_values,
            encoding,
            def_levels_byte_len,
            rep_levels_byte_len,
            ..
        } => {
            let start = rep_levels_byte_len as usize;
            let end = start.saturating_add(def_levels_byte_len as usize);
            if end > buf.len() {
                return Err(Flaw::Senseless.into());
            }
            let levels = buf.split_to(end).slice(start..);
            (PageKind::RowsBehindLevels(levels), num_values, encoding, buf)
        }
    };
    let encoding = match encoding {
        Encoding::PLAIN => PLAIN,
        Encoding::PLAIN_DICTIONARY => PLAIN_DICTIONARY,
        Encoding::RLE_DICTIONARY => RLE_DICTIONARY,
        // Chunks that have one are not opened.
        _ => return Err(Flaw::Senseless.into()),
    };
    let count = usize::try_from(count)?;
    Ok(PackedPage { kind, count, encoding, body: Body::Plain(body) })
}

/// Levels and values of a page that has them together: the levels behind their length.
fn split_levels(body: Body) -> Option<(Bytes, Body)> {
    if let Body::Packed(packed) = &body
        && let Some((levels, from)) = packed_levels(packed)
    {
        return Some((levels, Body::Packed(packed.clone().behind(from)?)));
    }
    let mut bytes = body.unpack()?;
    let length = usize::try_from(u32::from_le_bytes(*bytes.first_chunk::<4>()?)).ok()?;
    bytes.advance(4);
    if length > bytes.len() {
        return None;
    }
    let levels = bytes.split_to(length);
    Some((levels, Body::Plain(bytes)))
}

/// The levels of a packed page, and where its values begin; `None` if all of it must be unpacked
/// for them.
fn packed_levels(packed: &Packed) -> Option<(Bytes, usize)> {
    let mut literals = packed.literals()?;
    let mut length = [0; 4];
    literals.read(0, &mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
    if length > packed.len().checked_sub(4)? {
        return None;
    }
    let mut levels = vec![0; length];
    literals.read(4, &mut levels)?;
    Some((levels.into(), 4 + length))
}
