//! The pages of one column chunk as they stand in the file: headers decoded, values packed still.
//!
//! ```text
//! chunk    header  dictionary   header  levels, values   header  levels, values ...
//! read     └────────────────────────┘└───────────────────────┘      a page with the next header
//! ```
//! For chunks that are packed with snappy, as most are, or not at all: the decoder of the crate
//! unpacks all of a page wherever one value is wanted. The others are left to it (`pages.rs`).
//! <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>

use super::{
    headers::{DATA_PAGE_HEADER, DATA_PAGE_HEADER_V2, DICTIONARY_PAGE_HEADER, PAGE_HEADER},
    parquet_file::{HEADER_READ_BYTES, ParquetFile, check_page},
    snappy::Packed,
    thrift::{Flaw, Walked, walk},
};
use bytes::{Buf, Bytes};
use parquet::{
    basic::Compression,
    errors::ParquetError,
    file::{metadata::ColumnChunkMetaData, reader::ChunkReader},
};

/// Reads pages one by one.
pub(super) struct PageReader {
    file: ParquetFile,
    /// Where the next header or page begins, and where the chunk ends.
    at: u64,
    end: u64,
    /// What stands there, as far as it was read.
    ahead: Bytes,
    /// The header of the next page, if that was looked at.
    next: Option<PageHeader>,
    is_snappy: bool,
}

/// A page, and what its header tells of it.
pub(super) struct PackedPage {
    /// A dictionary, or rows.
    pub(super) kind: PageKind,
    /// How many entries, or rows.
    pub(super) count: usize,
    /// How its values are written, as a number of the format.
    pub(super) encoding: i64,
    pub(super) body: Body,
}

/// The bytes behind a header.
#[derive(Clone, Debug)]
pub(super) enum Body {
    Plain(Bytes),
    Packed(Packed),
}

/// What a page is.
#[derive(Clone, Debug)]
pub(super) enum PageKind {
    Dictionary,
    /// Levels and values are packed together.
    Rows,
    /// Levels of definition stand apart, and are not packed.
    RowsBehindLevels(Bytes),
}

/// What the header of a page tells.
#[derive(Clone, Copy, Debug)]
struct PageHeader {
    kind: HeaderKind,
    packed: usize,
    unpacked: usize,
    /// The CRC-32 of what is packed; 0 where there is none. A page in four thousand million has
    /// that one.
    checksum: u32,
    count: usize,
    encoding: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeaderKind {
    Dictionary,
    Rows,
    RowsBehindLevels {
        repetition: usize,
        definition: usize,
        is_packed: bool,
    },
    /// Of no use to a reader.
    Other,
}

impl PageReader {
    /// `None` if the chunk is packed in another way.
    pub(super) fn open(file: ParquetFile, chunk: &ColumnChunkMetaData) -> Option<Self> {
        let is_snappy = match chunk.compression() {
            Compression::SNAPPY => true,
            Compression::UNCOMPRESSED => false,
            _ => return None,
        };
        let (at, bytes) = chunk.byte_range();
        let end = at.saturating_add(bytes);
        Some(Self { file, at, end, ahead: Bytes::new(), next: None, is_snappy })
    }

    /// How many rows the next page has; `None` if that is a dictionary, or there is none.
    pub(super) fn rows_ahead(&mut self) -> Result<Option<usize>, ParquetError> {
        let next = self.peek()?.filter(|header| header.kind != HeaderKind::Dictionary);
        Ok(next.map(|header| header.count))
    }

    /// Passes over the next page.
    pub(super) fn skip(&mut self) -> Result<(), ParquetError> {
        let packed = self.peek()?.map_or(0, |header| header.packed);
        self.next = None;
        self.advance(packed)
    }

    /// The next page; `None` behind the last.
    pub(super) fn next(&mut self) -> Result<Option<PackedPage>, ParquetError> {
        let Some(header) = self.peek()? else { return Ok(None) };
        self.next = None;
        let body = self.body(&header)?;
        if header.checksum != 0 && crc32fast::hash(&body) != header.checksum {
            return Err(ParquetError::General("the checksum of a page is another".into()));
        }
        let (count, encoding) = (header.count, header.encoding);
        let (kind, body) = self.split(header, body).ok_or(Flaw::Senseless)?;
        Ok(Some(PackedPage { kind, count, encoding, body }))
    }

    /// What is packed apart from what is not.
    fn split(&self, header: PageHeader, mut body: Bytes) -> Option<(PageKind, Body)> {
        let PageHeader { mut unpacked, .. } = header;
        let mut is_packed = self.is_snappy;
        let kind = match header.kind {
            HeaderKind::Dictionary => PageKind::Dictionary,
            HeaderKind::Rows => PageKind::Rows,
            HeaderKind::Other => return None,
            HeaderKind::RowsBehindLevels { repetition, definition, is_packed: own } => {
                let levels = repetition.checked_add(definition)?;
                if levels > body.len() {
                    return None;
                }
                unpacked = unpacked.checked_sub(levels)?;
                is_packed &= own;
                let levels = body.split_to(levels).slice(repetition..);
                PageKind::RowsBehindLevels(levels)
            }
        };
        let body = match is_packed {
            true => Body::Packed(Packed::new(body, unpacked)),
            false => Body::Plain(body),
        };
        Some((kind, body))
    }

    /// The header of the next page that is of use.
    fn peek(&mut self) -> Result<Option<PageHeader>, ParquetError> {
        while self.next.is_none() {
            if self.at >= self.end {
                return Ok(None);
            }
            let (bytes, header) = match read_header(&self.ahead) {
                Ok(read) => read,
                // Not all of it was read yet, or it makes no sense either way.
                Err(_) => read_header(&self.file.page_header_at(self.at)?)?,
            };
            self.advance(bytes)?;
            if header.kind == HeaderKind::Other {
                self.advance(header.packed)?;
            } else {
                self.next = Some(header);
            }
        }
        Ok(self.next)
    }

    fn advance(&mut self, bytes: usize) -> Result<(), ParquetError> {
        self.ahead.advance(bytes.min(self.ahead.len()));
        self.at = self.at.saturating_add(bytes as u64);
        match self.at <= self.end {
            true => Ok(()),
            false => Err(ParquetError::General("a page ends behind its column".into())),
        }
    }

    /// The bytes of the page, which are read together with the next header.
    fn body(&mut self, header: &PageHeader) -> Result<Bytes, ParquetError> {
        let at = self.at;
        self.advance(header.packed)?;
        let ahead = (self.end - self.at).min(HEADER_READ_BYTES as u64) as usize;
        let mut bytes = self.file.get_bytes(at, header.packed + ahead)?;
        self.ahead = bytes.split_off(header.packed);
        Ok(bytes)
    }
}

/// The header that `bytes` begin with, and how many of them it takes.
fn read_header(bytes: &[u8]) -> Result<(usize, PageHeader), ParquetError> {
    let walked = walk(bytes, PAGE_HEADER)?;
    check_page(&walked).map_err(ParquetError::General)?;
    let header = header_of(bytes, &walked).ok_or(Flaw::Senseless)?;
    Ok((walked.bytes, header))
}

fn header_of(bytes: &[u8], walked: &Walked) -> Option<PageHeader> {
    let [_, kind, unpacked, packed, checksum, ..] = walked.integers;
    let [.., rows, _, dictionary, rows_behind_levels] = walked.structs;
    let of = |at: usize, fields| {
        let own = bytes.get(at..).filter(|_| at > 0)?;
        Some(walk(own, fields).ok()?.integers)
    };
    let size = |number: i64| usize::try_from(number).ok();
    let (kind, count, encoding) = match kind {
        0 => {
            let [_, count, encoding, ..] = of(rows, DATA_PAGE_HEADER)?;
            (HeaderKind::Rows, count, encoding)
        }
        2 => {
            let [_, count, encoding, ..] = of(dictionary, DICTIONARY_PAGE_HEADER)?;
            (HeaderKind::Dictionary, count, encoding)
        }
        3 => {
            let [_, count, _, _, encoding, definition, repetition, packed] =
                of(rows_behind_levels, DATA_PAGE_HEADER_V2)?;
            let (definition, repetition) = (size(definition)?, size(repetition)?);
            // Where nothing is said it is; 2 is false.
            let is_packed = packed != 2;
            (HeaderKind::RowsBehindLevels { repetition, definition, is_packed }, count, encoding)
        }
        _ => (HeaderKind::Other, 0, 0),
    };
    Some(PageHeader {
        kind,
        packed: size(packed)?,
        unpacked: size(unpacked)?,
        checksum: checksum as u32,
        count: size(count)?,
        encoding,
    })
}
