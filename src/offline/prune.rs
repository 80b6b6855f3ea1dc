//! Which files, row groups and pages hold nothing that could be the answer: files by what their
//! folders tell, before they are opened, row groups and pages by their statistics, row groups by
//! their bloom filters too.
//!
//! Invariants
//! - One is left out only if every row in it lies after all times asked for, belongs to an entity
//!   that nobody asked for, or has no key or no event timestamp. An old row is never left out by a
//!   join: it makes the difference between `OUTSIDE_MAX_AGE` and `NOT_FOUND`.

use super::{
    cells::{key_part, value_at},
    extents::{Extent, PageExtents, common},
    key_blooms::{BLOOM_KEYS_MAX, KeyBlooms},
    keys::{KeySpan, KeyTable},
    reads::Reads,
    source::{Cells, Column, RowGroup, Told, ViewSource},
};
use crate::{
    error::Result,
    feature::{KeyPart, Timestamp, Value},
    parallel::map,
};
use arrow_array::ArrayRef;
use arrow_schema::DataType;
use std::ops::Range;

/// What is asked for.
pub(super) struct Bounds<'a> {
    /// The entities; `None` is all.
    keys: Option<&'a KeyTable>,
    /// Where the values of each of their join keys lie.
    spans: Vec<KeySpan>,
    /// Their keys, where bloom filters are asked for so few.
    few: Option<Vec<Vec<KeyPart>>>,
    /// No earlier event is asked for.
    from: Timestamp,
    /// No later event, nor created timestamp if `created` says so, is asked for.
    to: Timestamp,
    /// Whether what was created after `to` is unknown as well.
    created: bool,
}

impl<'a> Bounds<'a> {
    /// Rows of these entities, or of all, whose events lie within these times.
    pub(super) fn new(keys: Option<&'a KeyTable>, from: Timestamp, to: Timestamp) -> Self {
        let spans = keys.map(KeyTable::spans).unwrap_or_default();
        let few = keys.filter(|keys| keys.len() <= BLOOM_KEYS_MAX);
        let few = few.map(|keys| (0..keys.len() as u32).filter_map(|n| keys.key(n)).collect());
        Self { keys, spans, few, from, to, created: false }
    }

    /// The same without rows that were created after the last of these times, if `wanted`.
    pub(super) fn created(self, wanted: bool) -> Self {
        Self { created: wanted, ..self }
    }

    /// Whether a row of a file might matter whose folders tell this.
    pub(super) fn reach_file(&self, told: &Told) -> bool {
        let event = told.event.as_ref().map(time_of);
        if event.is_some_and(|event| event.is_none_or(|event| !self.hold(event))) {
            return false;
        }
        // One without a created timestamp is an error where that is asked for.
        let created = told.created.as_ref().filter(|_| self.created).and_then(time_of);
        if created.is_some_and(|created| created > self.to) {
            return false;
        }
        let part = |key: &ArrayRef| value_at(key, 0).and_then(key_part);
        let parts = told.keys.iter().map(|key| key.as_ref().map(part));
        let parts: Vec<Option<Option<KeyPart>>> = parts.collect();
        if parts.iter().flatten().any(Option::is_none) {
            return false;
        }
        let parts: Vec<Option<KeyPart>> = parts.into_iter().map(Option::flatten).collect();
        self.keys.is_none_or(|keys| keys.may_have(&parts))
    }

    /// The row groups of which a row might matter.
    pub(super) fn row_groups<'s>(
        &self,
        source: &'s ViewSource<'_>,
        threads: usize,
        reads: &Reads,
    ) -> Result<Vec<&'s RowGroup>> {
        let all = source.row_groups.iter();
        let row_groups: Vec<&RowGroup> = all.filter(|group| self.reach(source, group)).collect();
        let Some(keys) = &self.few else { return Ok(row_groups) };
        if row_groups.iter().all(|row_group| blooms(source, row_group).is_none()) {
            return Ok(row_groups);
        }
        let may_hold = map(threads, &row_groups, |row_group| {
            let may_hold =
                |blooms: KeyBlooms<'_>| blooms.may_hold_any(keys.iter(), reads.counter()).ok();
            // A filter that makes no sense is as good as none.
            Ok(blooms(source, row_group).and_then(may_hold).unwrap_or(true))
        })?;
        let row_groups = row_groups.into_iter().zip(may_hold);
        Ok(row_groups.filter_map(|(row_group, may_hold)| may_hold.then_some(row_group)).collect())
    }

    /// Whether a row of the row group might matter, as far as its statistics tell.
    fn reach(&self, source: &ViewSource<'_>, row_group: &RowGroup) -> bool {
        self.columns(source, row_group).iter().all(|(cells, asked)| match cells {
            Cells::Stored(column) => match extent(source, row_group, column) {
                Some(extent) => asked.meets(extent, column),
                None => true,
            },
            Cells::Constant(value) => asked.meets_constant(value),
        })
    }

    /// The rows of the row group that might matter by what its pages tell, ascending.
    pub(super) fn rows(
        &self,
        source: &ViewSource<'_>,
        row_group: &RowGroup,
        reads: &Reads,
    ) -> Result<Vec<Range<usize>>> {
        let (file, _) = source.file(row_group)?;
        let all = 0..usize::try_from(row_group.rows).unwrap_or(usize::MAX);
        let mut rows = Vec::from([all]);
        for (cells, asked) in self.columns(source, row_group) {
            let Cells::Stored(column) = cells else { continue };
            let is_in_vain = |extent| asked.covers(extent, column);
            if rows.is_empty() || extent(source, row_group, column).is_none_or(is_in_vain) {
                continue;
            }
            if let Some(pages) = PageExtents::read(file, row_group, column, reads)? {
                let own = pages.rows(asked.may_be_null(), |extent| asked.meets(extent, column));
                rows = common(&rows, &own);
            }
        }
        Ok(rows)
    }

    /// The columns by which rows are left out, with what is asked for in each.
    fn columns<'b>(
        &'b self,
        source: &'b ViewSource<'_>,
        row_group: &RowGroup,
    ) -> Vec<(&'b Cells, Asked<'b>)> {
        let Ok((_, columns)) = source.file(row_group) else { return Vec::new() };
        let event = (&columns.event, Asked::Times(self.from, self.to));
        let created = columns.created.as_ref().filter(|_| self.created);
        let created = created.map(|created| (created, Asked::Times(Timestamp::MIN, self.to)));
        let keys = columns.keys.iter().zip(self.spans.iter().map(Asked::Keys));
        keys.chain([event]).chain(created).collect()
    }

    fn hold(&self, event: Timestamp) -> bool {
        event >= self.from && event <= self.to
    }
}

/// The time that a folder tells; `None` is null.
fn time_of(constant: &ArrayRef) -> Option<Timestamp> {
    match value_at(constant, 0)? {
        Value::Timestamp(time) => Some(time),
        _ => None,
    }
}

/// The bloom filters that are asked for keys. Of a store they are not: one block after the other
/// would be a request.
fn blooms<'a>(source: &ViewSource<'a>, row_group: &RowGroup) -> Option<KeyBlooms<'a>> {
    let (file, columns) = source.file(row_group).ok().filter(|(file, _)| !file.is_in_store())?;
    KeyBlooms::of(file, row_group, columns.keys.iter().map(Cells::stored))
}

fn extent<'a>(
    source: &ViewSource<'a>,
    row_group: &RowGroup,
    column: &Column,
) -> Option<Extent<'a>> {
    let (file, _) = source.file(row_group).ok()?;
    let row_group = file.metadata().metadata().row_groups().get(row_group.index)?;
    Extent::of_chunk(row_group.columns().get(column.leaf?)?.statistics()?)
}

/// What is asked for in a column.
#[derive(Clone, Copy)]
enum Asked<'a> {
    /// From the first to the last.
    Times(Timestamp, Timestamp),
    Keys(&'a KeySpan),
}

impl Asked<'_> {
    /// Whether something within `extent` may be asked for.
    fn meets(self, extent: Extent<'_>, column: &Column) -> bool {
        match (self, extent) {
            (Self::Times(from, to), extent) => {
                extent.times(column).is_none_or(|(least, most)| least <= to && most >= from)
            }
            (Self::Keys(KeySpan::Int64(asked)), Extent::Integers(least, most)) => {
                !is_signed(column) || asked.meets(&least, &most)
            }
            (Self::Keys(KeySpan::Bytes(asked)), Extent::Bytes(least, most)) => {
                asked.meets(least, most)
            }
            // A text of digits where integers are expected, and the like.
            (Self::Keys(_), _) => true,
        }
    }

    /// Whether [`Self::meets`] whatever lies within `extent`.
    fn covers(self, extent: Extent<'_>, column: &Column) -> bool {
        match (self, extent) {
            (Self::Times(from, to), extent) => {
                extent.times(column).is_none_or(|(least, most)| from <= least && most <= to)
            }
            (Self::Keys(KeySpan::Int64(asked)), Extent::Integers(least, most)) => {
                !is_signed(column) || asked.covers(&least, &most)
            }
            (Self::Keys(KeySpan::Bytes(asked)), Extent::Bytes(least, most)) => {
                asked.covers(least, most)
            }
            (Self::Keys(_), _) => true,
        }
    }

    /// Rows without a time are counted, those without a key are not.
    fn may_be_null(self) -> bool {
        matches!(self, Self::Times(..))
    }

    /// Keys that a folder tells were looked at with the file.
    fn meets_constant(self, value: &ArrayRef) -> bool {
        match self {
            Self::Times(from, to) => time_of(value).is_none_or(|time| time >= from && time <= to),
            Self::Keys(_) => true,
        }
    }
}

/// The statistics of an unsigned column are those of its bits as signed numbers.
fn is_signed(column: &Column) -> bool {
    let signed = [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64];
    signed.contains(&column.data_type)
}
