//! The values of one join key, numbered from 0.
//!
//! Integers are numbered in `integers.rs`; text is found by one hash.

use super::{convert::converts, integers::Integers};
use crate::feature::{KeyPart, KeyType, Scalar, ValueType};
use ahash::RandomState;
use arrow_array::{
    Array, ArrayRef, Int32Array, Int64Array, UInt32Array,
    cast::AsArray,
    types::{Int32Type, Int64Type},
};
use arrow_cast::cast;
use arrow_schema::DataType;
use hashbrown::HashTable;
use std::{borrow::Borrow, sync::Arc};

pub(super) use super::integers::UNKNOWN;

/// The distinct values of one join key.
#[derive(Debug)]
pub(super) enum Part {
    Int64(Integers),
    Bytes(Texts),
}

#[derive(Debug, Default)]
pub(super) struct Texts {
    hasher: RandomState,
    numbers: HashTable<u32>,
    /// Text `i` ends here in `bytes`, and begins where the one before ends.
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

/// Of a join key with more values only the least and the greatest are compared with what files
/// tell: sorting a million would take longer than it saves.
const LISTED_MAX: usize = 16 * 1024;

/// Where the values of a join key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeySpan {
    Int64(Span<i64>),
    Bytes(Span<Vec<u8>>),
}

/// Values, ascending: all of them, or only the least and the greatest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span<T> {
    values: Vec<T>,
    are_all: bool,
}

impl<T: Ord> Span<T> {
    fn of<'a, U: Ord + ToOwned<Owned = T> + ?Sized + 'a>(
        values: impl Iterator<Item = &'a U> + Clone,
    ) -> Self {
        if values.clone().nth(LISTED_MAX).is_none() {
            let mut values: Vec<T> = values.map(ToOwned::to_owned).collect();
            values.sort_unstable();
            return Self { values, are_all: true };
        }
        let ends = values.clone().min().into_iter().chain(values.max());
        Self { values: ends.map(ToOwned::to_owned).collect(), are_all: false }
    }

    /// Whether a value may lie from `least` to `greatest`.
    pub(super) fn meets<U: Ord + ?Sized>(&self, least: &U, greatest: &U) -> bool
    where
        T: Borrow<U>,
    {
        if self.are_all {
            let next = self.values.partition_point(|value| value.borrow() < least);
            return self.values.get(next).is_some_and(|value| value.borrow() <= greatest);
        }
        let ends = self.values.first().zip(self.values.last());
        ends.is_some_and(|(first, last)| first.borrow() <= greatest && last.borrow() >= least)
    }

    /// Whether no range within this one would be left out.
    pub(super) fn covers<U: Ord + ?Sized>(&self, least: &U, greatest: &U) -> bool
    where
        T: Borrow<U>,
    {
        let ends = self.values.first().zip(self.values.last());
        let is_within =
            |(first, last): (&T, &T)| first.borrow() <= least && greatest <= last.borrow();
        !self.are_all && ends.is_some_and(is_within)
    }
}

impl Part {
    pub(super) fn new(key_type: KeyType) -> Self {
        match key_type {
            KeyType::Int64 => Self::Int64(Integers::default()),
            KeyType::String | KeyType::Bytes => Self::Bytes(Texts::default()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Int64(integers) => integers.list().len(),
            Self::Bytes(texts) => texts.ends.len(),
        }
    }

    pub(super) fn find(&self, key: &KeyPart) -> Option<u32> {
        let number = match (self, key) {
            (Self::Int64(integers), KeyPart::Int64(key)) => integers.find(*key),
            (Self::Bytes(texts), KeyPart::Bytes(key)) => texts.find(key),
            _ => UNKNOWN,
        };
        (number != UNKNOWN).then_some(number)
    }

    pub(super) fn key(&self, number: u32) -> Option<KeyPart> {
        Some(match self {
            Self::Int64(integers) => KeyPart::Int64(*integers.list().get(number as usize)?),
            Self::Bytes(texts) => KeyPart::Bytes(texts.get(number)?.to_vec()),
        })
    }

    /// Takes in every value of `other`; value `i` there has number `numbers[i]` here.
    pub(super) fn absorb(&mut self, other: &Self) -> Vec<u32> {
        match (self, other) {
            (Self::Int64(own), Self::Int64(other)) => {
                other.list().iter().map(|key| own.intern(*key)).collect()
            }
            (Self::Bytes(own), Self::Bytes(other)) => {
                let texts = (0..other.ends.len()).filter_map(|i| other.get(i as u32));
                texts.map(|text| own.intern(text)).collect()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn seal(&mut self) {
        if let Self::Int64(integers) = self {
            integers.seal();
        }
    }

    pub(super) fn span(&self) -> KeySpan {
        match self {
            Self::Int64(integers) => KeySpan::Int64(Span::of(integers.list().iter())),
            Self::Bytes(texts) => {
                let all = 0..texts.ends.len();
                KeySpan::Bytes(Span::of(all.filter_map(|number| texts.get(number as u32))))
            }
        }
    }
}

impl Texts {
    fn get(&self, number: u32) -> Option<&[u8]> {
        text(&self.ends, &self.bytes, number)
    }

    fn find(&self, key: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(key);
        let found = self.numbers.find(hash, |number| self.get(*number) == Some(key));
        found.copied().unwrap_or(UNKNOWN)
    }

    fn intern(&mut self, key: &[u8]) -> u32 {
        let Self { hasher, numbers, ends, bytes } = self;
        let entry = numbers.entry(
            hasher.hash_one(key),
            |number| text(ends, bytes, *number) == Some(key),
            |number| hasher.hash_one(text(ends, bytes, *number).unwrap_or_default()),
        );
        let number = *entry.or_insert(ends.len() as u32).get();
        if number as usize == ends.len() {
            bytes.extend_from_slice(key);
            ends.push(bytes.len());
        }
        number
    }
}

fn text<'a>(ends: &[usize], bytes: &'a [u8], number: u32) -> Option<&'a [u8]> {
    let number = number as usize;
    let start = number.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied())?;
    bytes.get(start..*ends.get(number)?)
}

/// Numbers for values: those known, or new ones as well.
pub(super) trait Lookup {
    /// Whether the join key is an integer.
    fn is_integer(&self) -> bool;
    /// Appends the numbers of integers to `out`.
    fn integers(&mut self, keys: &[i64], out: &mut Vec<u32>);
    /// The number of a text.
    fn bytes(&mut self, key: &[u8]) -> u32;
}

/// Looks up, and adds nothing.
pub(super) struct Find<'a>(pub(super) &'a Part);

impl Lookup for Find<'_> {
    fn is_integer(&self) -> bool {
        matches!(self.0, Part::Int64(_))
    }

    fn integers(&mut self, keys: &[i64], out: &mut Vec<u32>) {
        if let Part::Int64(integers) = self.0 {
            integers.find_all(keys, out);
        }
    }

    #[inline]
    fn bytes(&mut self, key: &[u8]) -> u32 {
        if let Part::Bytes(texts) = self.0 { texts.find(key) } else { UNKNOWN }
    }
}

/// Looks up, and numbers what is new.
pub(super) struct Intern<'a>(pub(super) &'a mut Part);

impl Lookup for Intern<'_> {
    fn is_integer(&self) -> bool {
        matches!(self.0, Part::Int64(_))
    }

    fn integers(&mut self, keys: &[i64], out: &mut Vec<u32>) {
        if let Part::Int64(integers) = self.0 {
            integers.intern_all(keys, out);
        }
    }

    fn bytes(&mut self, key: &[u8]) -> u32 {
        if let Part::Bytes(texts) = self.0 { texts.intern(key) } else { UNKNOWN }
    }
}

/// The numbers of the entries of the dictionary that was met last: the batches of a row group
/// share one dictionary.
#[derive(Debug, Default)]
pub(super) struct DictionaryCache {
    values: Option<ArrayRef>,
    numbers: Vec<u32>,
}

/// Writes the number of every row of `column` to `out`.
pub(super) fn part_numbers(
    column: &ArrayRef,
    lookup: &mut impl Lookup,
    cache: &mut DictionaryCache,
    out: &mut Vec<u32>,
) -> Result<(), String> {
    out.clear();
    out.reserve(column.len());
    if let DataType::Dictionary(..) = column.data_type() {
        return dictionary_numbers(column, lookup, cache, out);
    }
    if lookup.is_integer() {
        return integer_numbers(column, lookup, out);
    }
    macro_rules! each {
        ($array:expr) => {{
            let array = $array;
            match array.nulls().filter(|nulls| nulls.null_count() > 0) {
                None => out.extend((0..array.len()).map(|i| lookup.bytes(array.value(i).as_ref()))),
                Some(_) => out.extend(
                    array
                        .iter()
                        .map(|text| text.map_or(UNKNOWN, |text| lookup.bytes(text.as_ref()))),
                ),
            }
        }};
    }
    match column.data_type() {
        DataType::Utf8 => each!(column.as_string::<i32>()),
        DataType::LargeUtf8 => each!(column.as_string::<i64>()),
        DataType::Utf8View => each!(column.as_string_view()),
        DataType::Binary => each!(column.as_binary::<i32>()),
        DataType::LargeBinary => each!(column.as_binary::<i64>()),
        DataType::BinaryView => each!(column.as_binary_view()),
        DataType::FixedSizeBinary(_) => each!(column.as_fixed_size_binary()),
        other => return Err(format!("{other} is no join key")),
    }
    Ok(())
}

fn integer_numbers(
    column: &ArrayRef,
    lookup: &mut impl Lookup,
    out: &mut Vec<u32>,
) -> Result<(), String> {
    let integers: Int64Array = match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().clone(),
        from if converts(from, ValueType::Scalar(Scalar::Int64)) => {
            let wide = cast(column, &DataType::Int64).map_err(|error| error.to_string())?;
            wide.as_primitive::<Int64Type>().clone()
        }
        from if converts(from, ValueType::Scalar(Scalar::String)) => {
            let text = cast(column, &DataType::Utf8).map_err(|error| error.to_string())?;
            text.as_string::<i32>().iter().map(|text| text?.parse().ok()).collect()
        }
        other => return Err(format!("{other} is no integer")),
    };
    let Some(nulls) = integers.nulls().filter(|nulls| nulls.null_count() > 0) else {
        lookup.integers(integers.values(), out);
        return Ok(());
    };
    let present: Vec<i64> = integers.iter().flatten().collect();
    let mut numbers = Vec::with_capacity(present.len());
    lookup.integers(&present, &mut numbers);
    let mut numbers = numbers.into_iter();
    let mut number = |is_valid: bool| is_valid.then(|| numbers.next()).flatten();
    out.extend(nulls.iter().map(|is_valid| number(is_valid).unwrap_or(UNKNOWN)));
    Ok(())
}

fn dictionary_numbers(
    column: &ArrayRef,
    lookup: &mut impl Lookup,
    cache: &mut DictionaryCache,
    out: &mut Vec<u32>,
) -> Result<(), String> {
    let dictionary = column.as_any_dictionary();
    let values = dictionary.values();
    if !cache.values.as_ref().is_some_and(|cached| Arc::ptr_eq(cached, values)) {
        let mut inner = DictionaryCache::default();
        part_numbers(values, lookup, &mut inner, &mut cache.numbers)?;
        cache.values = Some(Arc::clone(values));
    }
    let number = |entry: usize| cache.numbers.get(entry).copied().unwrap_or(UNKNOWN);
    // A negative entry becomes one far beyond the end, and so unknown.
    match dictionary.keys().data_type() {
        DataType::Int32 => {
            let entries: &Int32Array = dictionary.keys().as_primitive::<Int32Type>();
            match entries.nulls().filter(|nulls| nulls.null_count() > 0) {
                None => out.extend(entries.values().iter().map(|entry| number(*entry as usize))),
                Some(_) => out.extend(
                    entries.iter().map(|entry| entry.map_or(UNKNOWN, |e| number(e as usize))),
                ),
            }
        }
        _ => {
            let entries = cast(dictionary.keys(), &DataType::UInt32);
            let entries = entries.map_err(|error| error.to_string())?;
            let entries: &UInt32Array = entries.as_primitive();
            out.extend(entries.iter().map(|e| e.map_or(UNKNOWN, |e| number(e as usize))));
        }
    }
    Ok(())
}
