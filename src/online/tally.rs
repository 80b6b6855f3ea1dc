//! How many rows there are of which kind, and their bytes.

use super::{row::Row, segments::ROW_BYTES_MAX};
use std::ops::{Add, Sub};

/// Sums about rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Rows that have a value.
    pub(super) live_rows: usize,
    /// Rows that have an end of life of their own.
    pub(super) expiring_rows: usize,
    /// Rows of which fields have ends of life.
    pub(super) ending_rows: usize,
    /// What the rows take.
    pub(super) bytes: usize,
    /// What those of them take that stand alone.
    pub(super) bytes_alone: usize,
}

impl Tally {
    /// That of one row.
    pub(super) fn of(row: Row<'_>) -> Self {
        let bytes = row.memory_bytes();
        let is_alone = matches!(row, Row::Large(_)) || bytes > ROW_BYTES_MAX;
        Self {
            live_rows: usize::from(row.has_value()),
            expiring_rows: usize::from(row.expires_at().is_some()),
            ending_rows: usize::from(row.has_field_ends()),
            bytes,
            bytes_alone: if is_alone { bytes } else { 0 },
        }
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            live_rows: self.live_rows + other.live_rows,
            expiring_rows: self.expiring_rows + other.expiring_rows,
            ending_rows: self.ending_rows + other.ending_rows,
            bytes: self.bytes + other.bytes,
            bytes_alone: self.bytes_alone + other.bytes_alone,
        }
    }
}

impl Sub for Tally {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            live_rows: self.live_rows - other.live_rows,
            expiring_rows: self.expiring_rows - other.expiring_rows,
            ending_rows: self.ending_rows - other.ending_rows,
            bytes: self.bytes - other.bytes,
            bytes_alone: self.bytes_alone - other.bytes_alone,
        }
    }
}
