//! Integers, times and texts of one column chunk, straight from its pages.
//!
//! ```text
//! page     dictionary    codes  codes  codes  plain  plain       a page is all codes or all plain
//! arrays                 ━━━━━  ━━━━━  ━━━━━  ─────  ─────       codes stay codes, if asked for
//! ```
//! A dictionary of a million rows has some ten thousand entries, so a key that comes as a code is
//! looked up once per entry even where later pages of the chunk are plain, and integers have a
//! dictionary as well: the decoder for all columns (`scan.rs`) gives neither.
//!
//! Invariants
//! - A chunk gives as many rows as its row group has, or an error.
//! - Memory follows the bytes of a page and the rows asked for, never a number that a page claims.

use super::{
    dataset::DataFile,
    parquet_file::{ParquetFile, damaged, guarded},
    runs::Runs,
    source::{Column, RowGroup},
};
use crate::error::Result;
use arrow_array::{
    ArrayRef, BinaryArray, DictionaryArray, Int32Array, Int64Array, PrimitiveArray, StringArray,
    cast::AsArray,
    types::{
        Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
        TimestampSecondType,
    },
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, TimeUnit};
use bytes::Bytes;
use parquet::{
    basic::{Encoding, Type as PhysicalType},
    column::page::{Page, PageReader},
    file::serialized_reader::SerializedPageReader,
};
use std::sync::{Arc, atomic::AtomicU64};

/// Decodes one column chunk.
pub(super) struct ChunkReader<'a> {
    file: &'a DataFile,
    pages: SerializedPageReader<ParquetFile>,
    kind: Kind,
    /// Whether rows may be null.
    is_optional: bool,
    dictionary: Option<ArrayRef>,
    page: DataPage,
    /// In the pages that were not begun.
    rows_left: u64,
}

/// How the values of a column look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Int64,
    Time(TimeUnit),
    Text,
    Bytes,
}

struct DataPage {
    rows_left: usize,
    /// Whether each row has a value: 1, or 0 for null.
    levels: Option<Runs>,
    values: Values,
}

enum Values {
    Plain(Bytes),
    Codes(Runs),
}

impl Kind {
    fn of(column: &Column) -> Option<Self> {
        Some(match (column.physical?, &column.data_type) {
            (PhysicalType::INT64, DataType::Int64) => Self::Int64,
            (PhysicalType::INT64, DataType::Timestamp(unit, _)) => Self::Time(*unit),
            (PhysicalType::BYTE_ARRAY, DataType::Utf8 | DataType::LargeUtf8) => Self::Text,
            (PhysicalType::BYTE_ARRAY, DataType::Utf8View) => Self::Text,
            (PhysicalType::BYTE_ARRAY, DataType::Binary | DataType::LargeBinary) => Self::Bytes,
            (PhysicalType::BYTE_ARRAY, DataType::BinaryView) => Self::Bytes,
            _ => return None,
        })
    }
}

impl<'a> ChunkReader<'a> {
    /// Opens `column` of `row_group`; `None` if it is of a form that is not read here.
    pub(super) fn open(
        file: &'a DataFile,
        row_group: &RowGroup,
        column: &Column,
        bytes_read: &Arc<AtomicU64>,
    ) -> Result<Option<Self>> {
        let metadata = file.metadata().metadata();
        let row_groups = metadata.row_groups().get(row_group.index);
        let chunk = column.leaf.and_then(|leaf| row_groups?.columns().get(leaf));
        let (Some(kind), Some(chunk)) = (Kind::of(column), chunk) else { return Ok(None) };
        let read_here =
            [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY, Encoding::PLAIN_DICTIONARY];
        let depth = chunk.column_descr().max_def_level();
        let is_flat = chunk.column_descr().max_rep_level() == 0 && depth <= 1;
        if !is_flat || !chunk.encodings().all(|encoding| read_here.contains(&encoding)) {
            return Ok(None);
        }
        let source = Arc::new(file.open(bytes_read)?);
        let rows = usize::try_from(row_group.rows).unwrap_or(usize::MAX);
        let pages = guarded(file.path(), || SerializedPageReader::new(source, chunk, rows, None))?;
        Ok(Some(Self {
            file,
            pages,
            kind,
            is_optional: depth == 1,
            dictionary: None,
            page: DataPage { rows_left: 0, levels: None, values: Values::Plain(Bytes::new()) },
            rows_left: row_group.rows,
        }))
    }

    /// How many rows the current page has left: of so many at most [`Self::read`] may be asked. 0
    /// after the last row.
    pub(super) fn rows_in_page(&mut self) -> Result<usize> {
        while self.page.rows_left == 0 {
            let next = guarded(self.file.path(), || self.pages.get_next_page())?;
            let Some(page) = next else {
                return match self.rows_left {
                    0 => Ok(0),
                    left => Err(self.damaged(&format!("{left} rows are missing"))),
                };
            };
            self.begin(page)?;
        }
        Ok(self.page.rows_left)
    }

    fn damaged(&self, why: &str) -> crate::error::Error {
        damaged(self.file.path(), why)
    }

    fn begin(&mut self, page: Page) -> Result<()> {
        let begun = match page {
            Page::DictionaryPage { buf, num_values, .. } => {
                self.dictionary = Some(self.dictionary_of(&buf, num_values as usize)?);
                return Ok(());
            }
            Page::DataPage { buf, num_values, encoding, .. } => {
                let levels = if self.is_optional { split_levels(&buf) } else { Some((0, 0)) };
                levels.and_then(|(start, end)| {
                    data_page(&buf, start..end, num_values, encoding, self.is_optional)
                })
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
                let end = start.checked_add(def_levels_byte_len as usize);
                end.and_then(|end| {
                    data_page(&buf, start..end, num_values, encoding, self.is_optional)
                })
            }
        };
        self.page = begun.ok_or_else(|| self.damaged("a page makes no sense"))?;
        let rows = self.page.rows_left as u64;
        let left = self.rows_left.checked_sub(rows);
        self.rows_left = left.ok_or_else(|| self.damaged("it has too many rows"))?;
        Ok(())
    }

    fn dictionary_of(&self, bytes: &[u8], count: usize) -> Result<ArrayRef> {
        let mut rest = bytes;
        let values = match self.kind {
            Kind::Int64 | Kind::Time(_) => {
                let integers = take_integers(&mut rest, count);
                integers.map(|integers| Arc::new(Int64Array::from(integers)) as ArrayRef)
            }
            Kind::Text | Kind::Bytes => take_texts(&mut rest, count, None)
                .and_then(|(offsets, bytes)| self.texts(offsets, bytes, None)),
        };
        values.ok_or_else(|| self.damaged("a dictionary makes no sense"))
    }

    /// The next rows, at most as many as [`Self::rows_in_page`] told. Where they are codes they
    /// come as a dictionary if `with_codes` says so.
    pub(super) fn read(&mut self, rows: usize, with_codes: bool) -> Result<ArrayRef> {
        let read = self.read_rows(rows.min(self.page.rows_left), with_codes);
        read.ok_or_else(|| self.damaged("a page ends before its last row"))
    }

    fn read_rows(&mut self, rows: usize, with_codes: bool) -> Option<ArrayRef> {
        self.page.rows_left -= rows;
        let nulls = match &mut self.page.levels {
            Some(levels) => nulls_of(levels, rows)?,
            None => None,
        };
        let present = rows - nulls.as_ref().map_or(0, NullBuffer::null_count);
        let codes = match &mut self.page.values {
            Values::Plain(bytes) => {
                let mut rest = bytes.as_ref();
                let read = match self.kind {
                    Kind::Int64 | Kind::Time(_) => {
                        let integers = take_integers(&mut rest, present)?;
                        let taken = bytes.len() - rest.len();
                        *bytes = bytes.slice(taken..);
                        return Some(self.integers(spread(integers, nulls.as_ref()), nulls));
                    }
                    Kind::Text | Kind::Bytes => take_texts(&mut rest, rows, nulls.as_ref())?,
                };
                let taken = bytes.len() - rest.len();
                *bytes = bytes.slice(taken..);
                return self.texts(read.0, read.1, nulls);
            }
            Values::Codes(codes) => {
                let mut read = Vec::with_capacity(present);
                codes.read(present, &mut read)?;
                read
            }
        };
        let dictionary = self.dictionary.as_ref()?;
        let is_integer = matches!(self.kind, Kind::Int64 | Kind::Time(_));
        if is_integer && !with_codes {
            let values = dictionary.as_primitive::<Int64Type>().values();
            let integers = codes.iter().map(|code| values.get(*code as usize).copied());
            let integers: Vec<i64> = integers.collect::<Option<_>>()?;
            return Some(self.integers(spread(integers, nulls.as_ref()), nulls));
        }
        let codes = codes.into_iter().map(|code| code.cast_signed()).collect();
        let codes = Int32Array::new(spread(codes, nulls.as_ref()).into(), nulls);
        Some(Arc::new(DictionaryArray::try_new(codes, Arc::clone(dictionary)).ok()?))
    }

    fn integers(&self, values: Vec<i64>, nulls: Option<NullBuffer>) -> ArrayRef {
        let values = values.into();
        match self.kind {
            Kind::Time(TimeUnit::Second) => {
                Arc::new(PrimitiveArray::<TimestampSecondType>::new(values, nulls))
            }
            Kind::Time(TimeUnit::Millisecond) => {
                Arc::new(PrimitiveArray::<TimestampMillisecondType>::new(values, nulls))
            }
            Kind::Time(TimeUnit::Microsecond) => {
                Arc::new(PrimitiveArray::<TimestampMicrosecondType>::new(values, nulls))
            }
            Kind::Time(TimeUnit::Nanosecond) => {
                Arc::new(PrimitiveArray::<TimestampNanosecondType>::new(values, nulls))
            }
            Kind::Int64 | Kind::Text | Kind::Bytes => Arc::new(Int64Array::new(values, nulls)),
        }
    }

    fn texts(
        &self,
        offsets: OffsetBuffer<i32>,
        bytes: Vec<u8>,
        nulls: Option<NullBuffer>,
    ) -> Option<ArrayRef> {
        if self.kind == Kind::Text {
            return Some(Arc::new(StringArray::try_new(offsets, bytes.into(), nulls).ok()?));
        }
        Some(Arc::new(BinaryArray::try_new(offsets, bytes.into(), nulls).ok()?))
    }
}

/// Which of the next rows are null; `None` inside for none of them.
fn nulls_of(levels: &mut Runs, rows: usize) -> Option<Option<NullBuffer>> {
    if levels.take_all_of(1, rows) {
        return Some(None);
    }
    let mut present = Vec::with_capacity(rows);
    levels.read(rows, &mut present)?;
    let nulls: NullBuffer = present.iter().map(|level| *level == 1).collect();
    Some((nulls.null_count() > 0).then_some(nulls))
}

/// Where the levels of a page of the first version stand: behind their length.
fn split_levels(page: &[u8]) -> Option<(usize, usize)> {
    let length = u32::from_le_bytes(*page.first_chunk::<4>()?);
    Some((4, usize::try_from(length).ok()?.checked_add(4)?))
}

fn data_page(
    page: &Bytes,
    levels: std::ops::Range<usize>,
    rows: u32,
    encoding: Encoding,
    is_optional: bool,
) -> Option<DataPage> {
    if levels.end > page.len() || levels.start > levels.end {
        return None;
    }
    let values = page.slice(levels.end..);
    let levels = if is_optional { Some(Runs::new(page.slice(levels), 1)?) } else { None };
    let values = match encoding {
        Encoding::PLAIN => Values::Plain(values),
        Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => match values.first() {
            Some(width) => Values::Codes(Runs::new(values.slice(1..), *width)?),
            // A page of nulls only.
            None => Values::Codes(Runs::new(values, 1)?),
        },
        _ => return None,
    };
    Some(DataPage { rows_left: usize::try_from(rows).ok()?, levels, values })
}

fn take_integers(rest: &mut &[u8], count: usize) -> Option<Vec<i64>> {
    let (own, after) = rest.split_at_checked(count.checked_mul(8)?)?;
    *rest = after;
    let (words, _) = own.as_chunks::<8>();
    Some(words.iter().map(|word| i64::from_le_bytes(*word)).collect())
}

/// Texts of so many rows, each behind its length; a null has none.
fn take_texts(
    rest: &mut &[u8],
    rows: usize,
    nulls: Option<&NullBuffer>,
) -> Option<(OffsetBuffer<i32>, Vec<u8>)> {
    // A text takes four bytes or more.
    let lengths = rows.min(rest.len() / 4 + nulls.map_or(0, NullBuffer::null_count));
    let mut offsets = Vec::with_capacity(lengths + 1);
    let mut bytes = Vec::new();
    offsets.push(0);
    for row in 0..rows {
        if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let (text, after) = after.split_at_checked(length)?;
            bytes.extend_from_slice(text);
            *rest = after;
        }
        offsets.push(i32::try_from(bytes.len()).ok()?);
    }
    Some((OffsetBuffer::new(offsets.into()), bytes))
}

/// The values at their rows, with something where a null is.
fn spread<T: Copy + Default>(values: Vec<T>, nulls: Option<&NullBuffer>) -> Vec<T> {
    let Some(nulls) = nulls else { return values };
    let mut values = values.into_iter();
    let mut next = |present: bool| if present { values.next() } else { None };
    nulls.iter().map(|present| next(present).unwrap_or_default()).collect()
}
