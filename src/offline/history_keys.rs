//! Where in a history file the rows of some keys may be, told without decoding a row.
//!
//! ```text
//! row group    least and greatest of each join key, then its bloom filter
//! └ page       least and greatest of each join key, from the column index
//! ```
//! Invariants
//! - What is left out holds none of the keys; what is left in may hold one.
//! - An index that is not there leaves everything in; one that makes no sense is an error.

use super::{
    bucket::Bucket,
    dataset::DataFile,
    grouped_spine::GroupedSpine,
    history::table_of,
    key_blooms::KeyBlooms,
    keys::KeyTable,
    latest::Window,
    parquet_file::{damaged, guarded},
    source::{Column, RowGroup},
};
use crate::{
    error::Result,
    feature::{Entity, KeyPart, Timestamp},
};
use parquet::file::{
    metadata::ColumnChunkMetaData,
    page_index::{column_index::ColumnIndexMetaData, index_reader::decode_column_index},
    reader::ChunkReader,
    statistics::Statistics,
};
use std::{collections::HashSet, ops::Range, sync::Arc};

/// Keys of a spine are held to statistics if they are no more than this: of many some are always
/// within, and each is in memory once more.
const FEW_KEYS_MAX: usize = 64 * 1024;

/// The keys that are asked for.
#[derive(Debug)]
pub struct AskedKeys {
    /// Gives a row whose key is asked for a number.
    pub(super) table: Arc<KeyTable>,
    /// `None` if they are too many to leave anything out by them.
    few: Option<FewKeys>,
}

#[derive(Debug)]
struct FewKeys {
    keys: Vec<Vec<KeyPart>>,
    /// Per join key its distinct parts, ascending.
    parts: Vec<Vec<KeyPart>>,
}

impl AskedKeys {
    /// Refuses keys that are none of `entity`.
    pub fn new(entity: &Entity, keys: &HashSet<Vec<KeyPart>>) -> Result<Self> {
        let table = table_of(entity, &keys.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        let few = FewKeys::new(keys.iter().cloned().collect());
        Ok(Self { table: Arc::new(table), few: Some(few) })
    }

    /// Those that a spine asks for of the view with that place.
    pub fn of_spine(spine: &GroupedSpine<'_>, view: usize) -> Result<Self> {
        let table = Arc::clone(&spine.group(view)?.table);
        let few = (table.len() <= FEW_KEYS_MAX)
            .then(|| FewKeys::new((0..).map_while(|number| table.key(number)).collect()));
        Ok(Self { table, few })
    }

    /// Whether there may be one of them among the entities of a bucket.
    pub(super) fn reach_bucket(&self, bucket: Bucket) -> bool {
        self.few.as_ref().is_none_or(|few| few.keys.iter().any(|key| bucket.holds(key)))
    }

    /// The rows of a row group that may be of one of the keys. `columns` are the join keys.
    pub(super) fn rows_in_reach(
        &self,
        file: &DataFile,
        row_group: &RowGroup,
        columns: &[Column],
    ) -> Result<Vec<Range<usize>>> {
        let Some(few) = &self.few else { return Ok(whole(row_group)) };
        let metadata = file.metadata().metadata().row_groups().get(row_group.index);
        let chunk = |column: &Column| metadata?.columns().get(column.leaf?);
        for (parts, column) in few.parts.iter().zip(columns) {
            let bounds = chunk(column).and_then(ColumnChunkMetaData::statistics).and_then(bounds);
            if !bounds.is_none_or(|(least, greatest)| any_within(parts, &least, &greatest)) {
                return Ok(Vec::new());
            }
        }
        let blooms = KeyBlooms::of(file, row_group, columns.iter().map(Some));
        let may_hold =
            |blooms: KeyBlooms<'_>| blooms.may_hold_any(few.keys.iter(), &Arc::default());
        if !blooms.map_or(Ok(true), may_hold)? {
            return Ok(Vec::new());
        }
        let chunks: Vec<&ColumnChunkMetaData> = columns.iter().filter_map(chunk).collect();
        let mut reach = whole(row_group);
        for ((parts, column), chunk) in few.parts.iter().zip(columns).zip(chunks) {
            let within = |least: &KeyPart, greatest: &KeyPart| any_within(parts, least, greatest);
            if let Some(pages) = pages_in_reach(file, row_group, column, chunk, within)? {
                reach = intersection(&reach, &pages);
            }
        }
        Ok(reach)
    }
}

impl FewKeys {
    fn new(keys: Vec<Vec<KeyPart>>) -> Self {
        let parts = (0..keys.first().map_or(0, Vec::len)).map(|place| {
            let mut parts: Vec<KeyPart> =
                keys.iter().filter_map(|key| key.get(place)).cloned().collect();
            parts.sort_unstable();
            parts.dedup();
            parts
        });
        Self { parts: parts.collect(), keys }
    }
}

/// Whether one of `parts`, which ascend, lies within.
fn any_within(parts: &[KeyPart], least: &KeyPart, greatest: &KeyPart) -> bool {
    let first = parts.partition_point(|part| part < least);
    parts.get(first).is_some_and(|part| part <= greatest)
}

fn bounds(statistics: &Statistics) -> Option<(KeyPart, KeyPart)> {
    match statistics {
        Statistics::Int64(range) => {
            Some((KeyPart::Int64(*range.min_opt()?), KeyPart::Int64(*range.max_opt()?)))
        }
        Statistics::ByteArray(range) if !statistics.is_min_max_deprecated() => {
            let (least, greatest) = range.min_bytes_opt().zip(range.max_bytes_opt())?;
            Some((KeyPart::Bytes(least.to_vec()), KeyPart::Bytes(greatest.to_vec())))
        }
        _ => None,
    }
}

fn page_bounds(index: &ColumnIndexMetaData, page: usize) -> Option<(KeyPart, KeyPart)> {
    match index {
        ColumnIndexMetaData::INT64(index) => {
            let (least, greatest) = index.min_value(page).zip(index.max_value(page))?;
            Some((KeyPart::Int64(*least), KeyPart::Int64(*greatest)))
        }
        ColumnIndexMetaData::BYTE_ARRAY(index) => {
            let (least, greatest) = index.min_value(page).zip(index.max_value(page))?;
            Some((KeyPart::Bytes(least.to_vec()), KeyPart::Bytes(greatest.to_vec())))
        }
        _ => None,
    }
}

/// Those of `rows` in pages that may have an event within `window`; `events` is their column.
pub(super) fn within(
    file: &DataFile,
    row_group: &RowGroup,
    events: &Column,
    rows: Vec<Range<usize>>,
    window: Window,
) -> Result<Vec<Range<usize>>> {
    let metadata = file.metadata().metadata().row_groups().get(row_group.index);
    let chunk = events.leaf.and_then(|leaf| metadata?.columns().get(leaf));
    let Some(chunk) = chunk.filter(|_| !rows.is_empty()) else { return Ok(rows) };
    let from = window.from.unwrap_or(Timestamp::MIN);
    let [from, to] = [from, window.to].map(|time| KeyPart::Int64(time.us()));
    let overlaps = |least: &KeyPart, greatest: &KeyPart| *least <= to && *greatest >= from;
    let pages = pages_in_reach(file, row_group, events, chunk, overlaps)?;
    Ok(pages.map_or_else(|| rows.clone(), |pages| intersection(&rows, &pages)))
}

/// The rows of the pages that may hold what lies `within`; `None` if there is no index to tell.
fn pages_in_reach(
    file: &DataFile,
    row_group: &RowGroup,
    column: &Column,
    chunk: &ColumnChunkMetaData,
    within: impl Fn(&KeyPart, &KeyPart) -> bool,
) -> Result<Option<Vec<Range<usize>>>> {
    let pages = file.metadata().metadata().page_index_for_row_group(row_group.index);
    let locations = column.leaf.and_then(|leaf| pages.page_locations(leaf));
    let Some((locations, range)) = locations.zip(chunk.column_index_range()) else {
        return Ok(None);
    };
    let source = file.open(&Arc::default())?;
    let index = guarded(file.path(), || {
        let length = usize::try_from(range.end.saturating_sub(range.start))?;
        decode_column_index(&source.get_bytes(range.start, length)?, chunk.column_type())
    })?;
    let senseless =
        || damaged(file.path(), "the page index of a key or of the events makes no sense");
    if index.num_pages() != locations.len() as u64 {
        return Err(senseless());
    }
    let first_rows = locations.iter().map(|location| u64::try_from(location.first_row_index).ok());
    let first_rows: Option<Vec<u64>> = first_rows.collect();
    let mut first_rows = first_rows.ok_or_else(senseless)?;
    first_rows.push(row_group.rows);
    if first_rows.first() != Some(&0) || !first_rows.is_sorted() {
        return Err(senseless());
    }
    let mut reach: Vec<Range<usize>> = Vec::new();
    for (page, (start, end)) in first_rows.iter().zip(first_rows.iter().skip(1)).enumerate() {
        let bounds = page_bounds(&index, page);
        if bounds.is_none_or(|(least, greatest)| within(&least, &greatest)) {
            push_range(&mut reach, *start as usize..*end as usize);
        }
    }
    Ok(Some(reach))
}

/// All rows of a row group.
pub(super) fn whole(row_group: &RowGroup) -> Vec<Range<usize>> {
    let mut rows = Vec::new();
    push_range(&mut rows, 0..usize::try_from(row_group.rows).unwrap_or(usize::MAX));
    rows
}

/// Adds rows behind those that are there.
pub(super) fn push_range(ranges: &mut Vec<Range<usize>>, range: Range<usize>) {
    match ranges.last_mut() {
        _ if range.is_empty() => {}
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

/// The rows in both; both ascend.
fn intersection(left: &[Range<usize>], right: &[Range<usize>]) -> Vec<Range<usize>> {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    let mut both = Vec::new();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        push_range(&mut both, a.start.max(b.start)..a.end.min(b.end));
        if a.end < b.end {
            left.next();
        } else {
            right.next();
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges_of(rows: &[bool]) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        for (row, _) in rows.iter().enumerate().filter(|(_, is_in)| **is_in) {
            push_range(&mut ranges, row..row + 1);
        }
        ranges
    }

    proptest! {
        #[test]
        fn an_intersection_has_the_rows_that_both_have(
            rows in proptest::collection::vec(any::<(bool, bool)>(), 0..40),
        ) {
            let (left, right): (Vec<bool>, Vec<bool>) = rows.iter().copied().unzip();
            let both: Vec<bool> = rows.iter().map(|(left, right)| *left && *right).collect();
            let found = intersection(&ranges_of(&left), &ranges_of(&right));
            prop_assert_eq!(found, ranges_of(&both));
        }
    }

    #[test]
    fn a_part_lies_within_if_it_is_an_end_or_between() {
        let parts = [KeyPart::Int64(2), KeyPart::Int64(5)];
        let within =
            |least, greatest| any_within(&parts, &KeyPart::Int64(least), &KeyPart::Int64(greatest));
        assert!(within(5, 5) && within(1, 2) && within(4, 9));
        assert!(!within(3, 4) && !within(6, 9) && !within(-3, 1));
    }
}
