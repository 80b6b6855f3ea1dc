//! Chosen rows of one column chunk: of a page only their values are decoded.
//!
//! ```text
//! wanted rows      ·  ·│     │ ·   ·│
//! pages            ════╪═════╪══════╪════      a page without a wanted row is not decompressed
//! picked           x  x        x   x
//! ```
//! Text that stands as codes stays so, with the dictionary of its chunk, unless that has more
//! entries than there are wanted rows.

use super::{
    chunk::{is_bytes, is_text, spread, take_texts, text_array, time_array},
    dataset::DataFile,
    pages::{DataPage, NextPage, Pages, Plain, Values},
    reads::Reads,
    snappy::Packed,
    source::{Column, RowGroup},
};
use crate::error::Result;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Float32Array, Float64Array, Int32Array, Int64Array,
    new_null_array,
};
use arrow_buffer::{ArrowNativeType, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};
use arrow_select::take::take;
use bytes::Bytes;
use parquet::basic::Type as PhysicalType;
use std::sync::Arc;

/// The values of `column` at `rows` of `row_group`, which ascend and do not repeat: in pieces, in
/// order. `None` if the column is of a form that is not read here.
pub(super) fn pick(
    file: &DataFile,
    row_group: &RowGroup,
    column: &Column,
    rows: &[usize],
    reads: &Reads,
) -> Result<Option<Vec<ArrayRef>>> {
    let Some(form) = Form::of(column) else { return Ok(None) };
    let Some(pages) = Pages::open(file, row_group, column, reads)? else { return Ok(None) };
    let picker = Picker { pages, wanted: rows, first: 0 };
    let whole: ArrayRef = match form {
        Form::Long => picker.numbers().map(|(all, nulls)| Arc::new(Int64Array::new(all, nulls)))?,
        Form::Int => picker.numbers().map(|(all, nulls)| Arc::new(Int32Array::new(all, nulls)))?,
        Form::Double => {
            picker.numbers().map(|(all, nulls)| Arc::new(Float64Array::new(all, nulls)))?
        }
        Form::Float => {
            picker.numbers().map(|(all, nulls)| Arc::new(Float32Array::new(all, nulls)))?
        }
        Form::Time(unit) => picker.numbers().map(|(all, nulls)| time_array(unit, all, nulls))?,
        Form::Texts { is_text } => return picker.texts(is_text).map(Some),
    };
    Ok(Some(vec![whole]))
}

/// How the values of a column look.
enum Form {
    Long,
    Int,
    Double,
    Float,
    Time(TimeUnit),
    Texts { is_text: bool },
}

impl Form {
    fn of(column: &Column) -> Option<Self> {
        Some(match (column.physical?, &column.data_type) {
            (PhysicalType::INT64, DataType::Int64) => Self::Long,
            (PhysicalType::INT64, DataType::Timestamp(unit, _)) => Self::Time(*unit),
            (PhysicalType::INT32, DataType::Int32) => Self::Int,
            (PhysicalType::DOUBLE, DataType::Float64) => Self::Double,
            (PhysicalType::FLOAT, DataType::Float32) => Self::Float,
            (PhysicalType::BYTE_ARRAY, data_type) if is_text(data_type) || is_bytes(data_type) => {
                Self::Texts { is_text: is_text(data_type) }
            }
            _ => return None,
        })
    }
}

/// A page of which one row in so many is wanted, or less, is not unpacked, if that can be.
const ROWS_PER_PICK: usize = 4;

/// A number as Parquet writes it.
trait Number: ArrowNativeType {
    /// The number with this place among those in `bytes`.
    fn at(bytes: &[u8], place: usize) -> Option<Self>;
}

macro_rules! number {
    ($($number:ty),*) => {$(
        impl Number for $number {
            #[inline]
            fn at(bytes: &[u8], place: usize) -> Option<Self> {
                let (numbers, _) = bytes.as_chunks();
                numbers.get(place).map(|number| Self::from_le_bytes(*number))
            }
        }
    )*};
}

number!(i32, i64, f32, f64);

/// Goes through the pages of a chunk that hold wanted rows.
struct Picker<'a, 'r> {
    pages: Pages<'a>,
    /// Those not met yet.
    wanted: &'r [usize],
    /// The first row of the next page.
    first: usize,
}

/// What a page has for the wanted rows.
enum Step {
    Dictionary { bytes: Bytes, count: usize },
    Rows(Rows),
}

/// The wanted rows of a page.
struct Rows {
    /// How many rows the page has.
    of: usize,
    count: usize,
    /// Which of them have no value.
    nulls: Option<NullBuffer>,
    /// Where the others stand among the values.
    places: Vec<usize>,
    values: Values,
}

impl Picker<'_, '_> {
    /// The next page with wanted rows, or with a dictionary.
    fn next(&mut self) -> Result<Option<Step>> {
        while let Some(next) = self.wanted.first() {
            self.first += self.pages.skip_within(next - self.first)?;
            let page = match self.pages.next_page()? {
                Some(NextPage::Data(page)) => page,
                Some(NextPage::Dictionary { bytes, count }) => {
                    return Ok(Some(Step::Dictionary { bytes, count }));
                }
                None => return Err(self.pages.damaged("wanted rows are missing")),
            };
            let first = self.first;
            self.first += page.rows;
            let own = self.wanted.partition_point(|row| *row < self.first);
            let (own, rest) = self.wanted.split_at(own);
            self.wanted = rest;
            if !own.is_empty() {
                let own = own.iter().map(|row| row - first);
                let rows = Rows::of(page, own).ok_or_else(|| self.cut_off())?;
                return Ok(Some(Step::Rows(rows)));
            }
        }
        Ok(None)
    }

    fn cut_off(&self) -> crate::error::Error {
        self.pages.damaged("a page ends before its last row")
    }

    fn no_dictionary(&self) -> crate::error::Error {
        self.pages.damaged("a dictionary makes no sense")
    }

    fn numbers<T: Number>(mut self) -> Result<(ScalarBuffer<T>, Option<NullBuffer>)> {
        let mut dictionary: Vec<T> = Vec::new();
        let mut values = Vec::with_capacity(self.wanted.len());
        let mut nulls = NullBufferBuilder::new(self.wanted.len());
        let mut codes = Vec::new();
        while let Some(step) = self.next()? {
            match step {
                Step::Dictionary { bytes, count } => {
                    let all: Option<_> = (0..count).map(|place| T::at(&bytes, place)).collect();
                    dictionary = all.ok_or_else(|| self.no_dictionary())?;
                }
                Step::Rows(mut rows) => {
                    rows.append_nulls(&mut nulls);
                    let taken = rows.take_numbers(&dictionary, &mut codes, &mut values);
                    taken.ok_or_else(|| self.cut_off())?;
                }
            }
        }
        Ok((values.into(), nulls.finish()))
    }

    fn texts(mut self, is_text: bool) -> Result<Vec<ArrayRef>> {
        let mut pieces = Vec::new();
        let mut dictionary = None;
        let mut codes: Vec<i32> = Vec::new();
        let mut nulls = NullBufferBuilder::new(0);
        while let Some(step) = self.next()? {
            if !matches!(&step, Step::Rows(Rows { values: Values::Codes(_), .. })) {
                let piece = coded(&mut codes, &mut nulls, dictionary.as_ref(), is_text);
                pieces.extend(piece.ok_or_else(|| self.no_dictionary())?);
            }
            match step {
                Step::Dictionary { bytes, count } => {
                    let texts = take_texts(&mut bytes.as_ref(), count, None);
                    let texts = texts.and_then(|(ends, all)| text_array(is_text, ends, all, None));
                    dictionary = Some(texts.ok_or_else(|| self.no_dictionary())?);
                }
                Step::Rows(Rows {
                    nulls, places, values: Values::Plain(mut plain), count, ..
                }) => {
                    let bytes = plain.unpacked().ok_or_else(|| self.cut_off())?;
                    let texts = pick_texts(bytes, &places, nulls.as_ref(), count);
                    let texts = texts.and_then(|(ends, all)| text_array(is_text, ends, all, nulls));
                    pieces.push(texts.ok_or_else(|| self.cut_off())?);
                }
                Step::Rows(mut rows) => {
                    rows.append_nulls(&mut nulls);
                    let taken = rows.take_codes(&mut codes);
                    taken.ok_or_else(|| self.cut_off())?;
                }
            }
        }
        let last = coded(&mut codes, &mut nulls, dictionary.as_ref(), is_text);
        pieces.extend(last.ok_or_else(|| self.no_dictionary())?);
        Ok(pieces)
    }
}

impl Rows {
    /// The rows of `page` with these places in it; `None` if its levels end too soon.
    fn of(mut page: DataPage, wanted: impl ExactSizeIterator<Item = usize>) -> Option<Self> {
        let (of, count, values) = (page.rows, wanted.len(), page.values);
        let all_present =
            page.levels.as_mut().is_none_or(|levels| levels.take_all_of(1, page.rows));
        let Some(levels) = page.levels.as_mut().filter(|_| !all_present) else {
            return Some(Self { of, count, nulls: None, places: wanted.collect(), values });
        };
        let mut nulls = NullBufferBuilder::new(count);
        let mut places = Vec::with_capacity(count);
        levels.rank(wanted, |is_present, before| {
            nulls.append(is_present);
            places.extend(is_present.then_some(before));
        })?;
        Some(Self { of, count, nulls: nulls.finish(), places, values })
    }

    fn append_nulls(&self, nulls: &mut NullBufferBuilder) {
        match &self.nulls {
            Some(own) => nulls.append_buffer(own),
            None => nulls.append_n_non_nulls(self.count),
        }
    }

    fn take_numbers<T: Number>(
        &mut self,
        dictionary: &[T],
        codes: &mut Vec<u32>,
        out: &mut Vec<T>,
    ) -> Option<()> {
        let first = out.len();
        match &mut self.values {
            Values::Plain(Plain::Packed(packed))
                if self.places.len() <= self.of / ROWS_PER_PICK
                    && pick_packed(packed, &self.places, out).is_some() => {}
            Values::Plain(plain) => {
                out.truncate(first);
                let bytes = plain.unpacked()?;
                for place in &self.places {
                    out.push(T::at(bytes, *place)?);
                }
            }
            Values::Codes(runs) => {
                codes.clear();
                runs.pick(self.places.iter().copied(), codes)?;
                for code in codes {
                    out.push(*dictionary.get(*code as usize)?);
                }
            }
        }
        self.spread(first, out);
        Some(())
    }

    fn take_codes(&mut self, out: &mut Vec<i32>) -> Option<()> {
        let Values::Codes(runs) = &mut self.values else { return None };
        let mut codes = Vec::with_capacity(self.places.len());
        runs.pick(self.places.iter().copied(), &mut codes)?;
        let first = out.len();
        out.extend(codes.into_iter().map(u32::cast_signed));
        self.spread(first, out);
        Some(())
    }

    /// Makes room for nulls behind `first`.
    fn spread<T: Copy + Default>(&self, first: usize, out: &mut Vec<T>) {
        if self.nulls.is_some() {
            let values = out.split_off(first);
            out.extend(spread(values, self.nulls.as_ref()));
        }
    }
}

/// The numbers with these places in a page, which stays packed; `None` if they do not lie there as
/// they are. Then some may stand in `out`.
fn pick_packed<T: Number>(packed: &Packed, places: &[usize], out: &mut Vec<T>) -> Option<()> {
    let mut literals = packed.literals()?;
    let mut bytes = [0; 8];
    let bytes = bytes.get_mut(..size_of::<T>())?;
    for place in places {
        literals.read(place.checked_mul(bytes.len())?, bytes)?;
        out.push(T::at(bytes, 0)?);
    }
    literals.finish(packed)
}

/// The codes so far as a piece, if there are any; `None` if they have no sense in the dictionary.
fn coded(
    codes: &mut Vec<i32>,
    nulls: &mut NullBufferBuilder,
    dictionary: Option<&ArrayRef>,
    is_text: bool,
) -> Option<Option<ArrayRef>> {
    if codes.is_empty() {
        return Some(None);
    }
    let codes = Int32Array::new(std::mem::take(codes).into(), nulls.finish());
    let Some(dictionary) = dictionary else {
        // Where a column is all null there need be none.
        let data_type = if is_text { DataType::Utf8 } else { DataType::Binary };
        let is_null = codes.null_count() == codes.len();
        return is_null.then(|| Some(new_null_array(&data_type, codes.len())));
    };
    let coded = DictionaryArray::try_new(codes, Arc::clone(dictionary)).ok()?;
    // Texts that are too long together for an array of their own stay codes.
    let own = (coded.len() < dictionary.len()).then(|| take(dictionary, coded.keys(), None).ok());
    Some(Some(own.flatten().unwrap_or_else(|| Arc::new(coded))))
}

/// The texts with these places on a page of texts, each behind its length; a null has none.
fn pick_texts(
    page: &[u8],
    places: &[usize],
    nulls: Option<&NullBuffer>,
    rows: usize,
) -> Option<(OffsetBuffer<i32>, Vec<u8>)> {
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(0);
    let mut bytes = Vec::new();
    let mut places = places.iter();
    let (mut rest, mut next) = (page, 0);
    for row in 0..rows {
        if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
            let place = *places.next()?;
            loop {
                let (length, after) = rest.split_first_chunk::<4>()?;
                let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
                let (text, after) = after.split_at_checked(length)?;
                rest = after;
                next += 1;
                if next > place {
                    bytes.extend_from_slice(text);
                    break;
                }
            }
        }
        offsets.push(i32::try_from(bytes.len()).ok()?);
    }
    Some((OffsetBuffer::new(offsets.into()), bytes))
}
