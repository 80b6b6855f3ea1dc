//! Which files and row groups hold nothing that could be the answer: files by what their folders
//! tell, before they are opened, row groups by their statistics.
//!
//! Invariants
//! - One is left out only if every row in it lies after all times asked for, belongs to an entity
//!   that nobody asked for, or has no key or no event timestamp. An old row is never left out by a
//!   join: it makes the difference between `OUTSIDE_MAX_AGE` and `NOT_FOUND`.

use super::{
    cells::{key_part, value_at},
    convert::{Rounding, time_us},
    keys::{KeyRange, KeyTable},
    source::{Cells, Column, RowGroup, Told, ViewSource},
};
use crate::feature::{KeyPart, Timestamp, Value};
use arrow_array::ArrayRef;
use arrow_schema::DataType;
use parquet::file::statistics::Statistics;

/// What is asked for.
pub(super) struct Bounds<'a> {
    /// The entities; `None` is all.
    keys: Option<&'a KeyTable>,
    /// The least and greatest of each of their join keys.
    ranges: Vec<KeyRange>,
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
        let ranges = keys.map(KeyTable::ranges).unwrap_or_default();
        Self { keys, ranges, from, to, created: false }
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

    /// Whether a row of the row group might matter.
    pub(super) fn reach(&self, source: &ViewSource<'_>, row_group: &RowGroup) -> bool {
        let Ok((file, columns)) = source.file(row_group) else { return true };
        let metadata = file.metadata().metadata();
        let statistics = |column: &Column| {
            let row_group = metadata.row_groups().get(row_group.index)?;
            row_group.columns().get(column.leaf?)?.statistics()
        };
        let range = |cells: &Cells| match cells {
            Cells::Stored(column) => {
                statistics(column).and_then(|statistics| times(statistics, column))
            }
            Cells::Constant(time) => time_of(time).map(|time| (time, time)),
        };
        let times_reach = |cells: &Cells, from: Timestamp| {
            range(cells).is_none_or(|(least, greatest)| least <= self.to && greatest >= from)
        };
        if !times_reach(&columns.event, self.from) {
            return false;
        }
        let created = columns.created.as_ref().filter(|_| self.created);
        if !created.is_none_or(|created| times_reach(created, Timestamp::MIN)) {
            return false;
        }
        columns.keys.iter().zip(&self.ranges).all(|(cells, asked)| {
            let column = cells.stored();
            let statistics = column.and_then(|column| Some((statistics(column)?, column)));
            statistics.is_none_or(|(statistics, column)| keys_meet(statistics, column, asked))
        })
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

/// The least and the greatest time of a column chunk.
pub(super) fn times(statistics: &Statistics, column: &Column) -> Option<(Timestamp, Timestamp)> {
    let (least, greatest) = integers(statistics)?;
    let us = |number| time_us(number, &column.data_type, Rounding::Up).map(Timestamp);
    Some((us(least)?, us(greatest)?))
}

fn integers(statistics: &Statistics) -> Option<(i64, i64)> {
    match statistics {
        Statistics::Int32(range) => Some(((*range.min_opt()?).into(), (*range.max_opt()?).into())),
        Statistics::Int64(range) => Some((*range.min_opt()?, *range.max_opt()?)),
        _ => None,
    }
}

fn keys_meet(statistics: &Statistics, column: &Column, asked: &KeyRange) -> bool {
    match asked {
        KeyRange::Empty => false,
        KeyRange::Int64(first, last) => {
            // The statistics of an unsigned column are those of its bits as signed numbers.
            let signed = [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64];
            let range = integers(statistics).filter(|_| signed.contains(&column.data_type));
            range.is_none_or(|(least, greatest)| least <= *last && greatest >= *first)
        }
        KeyRange::Bytes(first, last) => {
            // Old writers compared text as signed bytes.
            let range = match statistics {
                Statistics::ByteArray(range) if !statistics.is_min_max_deprecated() => {
                    range.min_bytes_opt().zip(range.max_bytes_opt())
                }
                _ => None,
            };
            range.is_none_or(|(least, greatest)| {
                least <= last.as_slice() && greatest >= first.as_slice()
            })
        }
    }
}
