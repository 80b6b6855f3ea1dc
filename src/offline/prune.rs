//! Which row groups hold nothing that could be the answer, told by their statistics alone.
//!
//! Invariants
//! - A row group is left out only if every row in it lies after all times asked for, or belongs to
//!   an entity that nobody asked for. An old row is never left out: it makes the difference
//!   between `OUTSIDE_MAX_AGE` and `NOT_FOUND`.

use super::{
    convert::{Rounding, time_us},
    keys::KeyRange,
    source::{Column, RowGroup, ViewSource},
};
use crate::feature::Timestamp;
use arrow_schema::DataType;
use parquet::file::statistics::Statistics;

/// What is asked for.
pub(super) struct Bounds {
    /// The least and greatest of each join key; nothing is said about keys that are not listed.
    pub(super) keys: Vec<KeyRange>,
    /// No earlier event is asked for.
    pub(super) from: Timestamp,
    /// No later event, nor created timestamp if `created` says so, is asked for.
    pub(super) to: Timestamp,
    /// Whether what was created after `to` is unknown as well.
    pub(super) created: bool,
}

impl Bounds {
    /// Whether a row of the row group might matter.
    pub(super) fn reach(&self, source: &ViewSource<'_>, row_group: &RowGroup) -> bool {
        let Ok((file, columns)) = source.file(row_group) else { return true };
        let metadata = file.metadata().metadata();
        let statistics = |column: &Column| {
            let row_group = metadata.row_groups().get(row_group.index)?;
            row_group.columns().get(column.leaf?)?.statistics()
        };
        let times_reach = |column: &Column, from: Timestamp| {
            let range = statistics(column).and_then(|statistics| times(statistics, column));
            range.is_none_or(|(least, greatest)| least <= self.to && greatest >= from)
        };
        if !times_reach(&columns.event, self.from) {
            return false;
        }
        let created = columns.created.as_ref().filter(|_| self.created);
        if !created.is_none_or(|created| times_reach(created, Timestamp::MIN)) {
            return false;
        }
        columns.keys.iter().zip(&self.keys).all(|(column, asked)| {
            statistics(column).is_none_or(|statistics| keys_meet(statistics, column, asked))
        })
    }
}

/// The least and the greatest time of a column chunk.
fn times(statistics: &Statistics, column: &Column) -> Option<(Timestamp, Timestamp)> {
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
