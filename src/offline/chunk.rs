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
//! Memory follows the bytes of a page and the rows asked for, never a number that a page claims.

use super::{
    dataset::DataFile,
    pages::{DataPage, NextPage, Pages, Plain, Values},
    reads::Reads,
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
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};
use bytes::Bytes;
use parquet::basic::Type as PhysicalType;
use std::sync::Arc;

/// Decodes one column chunk.
pub(super) struct ChunkReader<'a> {
    pages: Pages<'a>,
    kind: Kind,
    dictionary: Option<ArrayRef>,
    page: DataPage,
}

/// How the values of a column look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Int64,
    Time(TimeUnit),
    Text,
    Bytes,
}

impl Kind {
    fn of(column: &Column) -> Option<Self> {
        Some(match (column.physical?, &column.data_type) {
            (PhysicalType::INT64, DataType::Int64) => Self::Int64,
            (PhysicalType::INT64, DataType::Timestamp(unit, _)) => Self::Time(*unit),
            (PhysicalType::BYTE_ARRAY, data_type) if is_text(data_type) => Self::Text,
            (PhysicalType::BYTE_ARRAY, data_type) if is_bytes(data_type) => Self::Bytes,
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
        reads: &'a Reads,
    ) -> Result<Option<Self>> {
        let Some(kind) = Kind::of(column) else { return Ok(None) };
        let pages = Pages::open(file, row_group, column, reads)?;
        let values = Values::Plain(Plain::Unpacked(Bytes::new()));
        let page = DataPage { rows: 0, levels: None, values };
        Ok(pages.map(|pages| Self { pages, kind, dictionary: None, page }))
    }

    /// How many rows the current page has left: of so many at most [`Self::read`] may be asked. 0
    /// after the last row.
    pub(super) fn rows_in_page(&mut self) -> Result<usize> {
        while self.page.rows == 0 {
            if !self.next_page()? {
                return Ok(0);
            }
        }
        Ok(self.page.rows)
    }

    /// Passes over so many rows: whole pages of them are not even decompressed.
    pub(super) fn skip(&mut self, rows: usize) -> Result<()> {
        let mut left = rows;
        while left > 0 {
            if self.page.rows > 0 {
                let own = left.min(self.page.rows);
                self.read(own, true)?;
                left -= own;
                continue;
            }
            left -= self.pages.skip_within(left)?;
            if left > 0 && !self.next_page()? {
                return Err(self.pages.damaged("it has less rows than it should"));
            }
        }
        Ok(())
    }

    /// Reads a page of rows, or the dictionary; false after the last.
    fn next_page(&mut self) -> Result<bool> {
        match self.pages.next_page()? {
            Some(NextPage::Data(page)) => self.page = page,
            Some(NextPage::Dictionary { bytes, count }) => {
                self.dictionary = Some(self.dictionary_of(&bytes, count)?);
            }
            None => return Ok(false),
        }
        Ok(true)
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
        values.ok_or_else(|| self.pages.damaged("a dictionary makes no sense"))
    }

    /// The next rows, at most as many as [`Self::rows_in_page`] told. Where they are codes they
    /// come as a dictionary if `with_codes` says so.
    pub(super) fn read(&mut self, rows: usize, with_codes: bool) -> Result<ArrayRef> {
        let read = self.read_rows(rows.min(self.page.rows), with_codes);
        read.ok_or_else(|| self.pages.damaged("a page ends before its last row"))
    }

    fn read_rows(&mut self, rows: usize, with_codes: bool) -> Option<ArrayRef> {
        self.page.rows -= rows;
        let nulls = match &mut self.page.levels {
            Some(levels) => nulls_of(levels, rows)?,
            None => None,
        };
        let present = rows - nulls.as_ref().map_or(0, NullBuffer::null_count);
        let codes = match &mut self.page.values {
            Values::Plain(plain) => {
                let bytes = plain.unpacked()?;
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
            Kind::Time(unit) => time_array(unit, values, nulls),
            Kind::Int64 | Kind::Text | Kind::Bytes => Arc::new(Int64Array::new(values, nulls)),
        }
    }

    fn texts(
        &self,
        offsets: OffsetBuffer<i32>,
        bytes: Vec<u8>,
        nulls: Option<NullBuffer>,
    ) -> Option<ArrayRef> {
        text_array(self.kind == Kind::Text, offsets, bytes, nulls)
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

fn take_integers(rest: &mut &[u8], count: usize) -> Option<Vec<i64>> {
    let (own, after) = rest.split_at_checked(count.checked_mul(8)?)?;
    *rest = after;
    let (words, _) = own.as_chunks::<8>();
    Some(words.iter().map(|word| i64::from_le_bytes(*word)).collect())
}

/// Texts of so many rows, each behind its length; a null has none.
pub(super) fn take_texts(
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
pub(super) fn spread<T: Copy + Default>(values: Vec<T>, nulls: Option<&NullBuffer>) -> Vec<T> {
    let Some(nulls) = nulls else { return values };
    let mut values = values.into_iter();
    let mut next = |present: bool| if present { values.next() } else { None };
    nulls.iter().map(|present| next(present).unwrap_or_default()).collect()
}

/// Whether a column of byte arrays is read as text here.
pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Whether it is read as bytes.
pub(super) fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// Instants counted in `unit`.
pub(super) fn time_array(
    unit: TimeUnit,
    values: ScalarBuffer<i64>,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    match unit {
        TimeUnit::Second => Arc::new(PrimitiveArray::<TimestampSecondType>::new(values, nulls)),
        TimeUnit::Millisecond => {
            Arc::new(PrimitiveArray::<TimestampMillisecondType>::new(values, nulls))
        }
        TimeUnit::Microsecond => {
            Arc::new(PrimitiveArray::<TimestampMicrosecondType>::new(values, nulls))
        }
        TimeUnit::Nanosecond => {
            Arc::new(PrimitiveArray::<TimestampNanosecondType>::new(values, nulls))
        }
    }
}

/// Texts, or bytes; `None` if texts are not UTF-8.
pub(super) fn text_array(
    is_text: bool,
    offsets: OffsetBuffer<i32>,
    bytes: Vec<u8>,
    nulls: Option<NullBuffer>,
) -> Option<ArrayRef> {
    if is_text {
        return Some(Arc::new(StringArray::try_new(offsets, bytes.into(), nulls).ok()?));
    }
    Some(Arc::new(BinaryArray::try_new(offsets, bytes.into(), nulls).ok()?))
}
