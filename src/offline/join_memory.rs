//! How much memory a join takes, about, and into what its spine is split so that it takes less.
//!
//! It is an estimate: by the types of columns, with a guess for text and lists, which is put right
//! by what the first part of a spine takes. Not in it are pages that are decoded at the moment,
//! footers, a bit for each row of a source, rows that a thread holds back. Of what was pushed as
//! many cells win at most as there are rows, and as the spine has places for.

use super::{
    number_rows::{WIDTH_MAX, is_number},
    parted_join::{PARTS_MAX, Split},
    spine_file::SpineSource,
};
use crate::feature::{Scalar, ValueType};
use arrow_schema::DataType;

/// Winners, answers and places of a row while one view is joined.
const ROW_BYTES: u64 = 80;
/// The row in the table of one entity: its slot, and its key, which others may have too.
const KEY_BYTES: u64 = 32;
/// A pushed cell that wins in a row, but for what a text or a list holds.
const PUSHED_BYTES: u64 = 80;
/// The place of the pushed cell of a feature in a row, if there is one or not.
const PLACE_BYTES: u64 = 4;
/// A text, or a list.
const LONG_BYTES: u64 = 24;

/// What a join is asked for, as far as its memory depends on that.
#[derive(Clone, Debug)]
pub struct JoinShape {
    /// The types of all features.
    pub types: Vec<ValueType>,
    /// How many entities they belong to.
    pub entities: usize,
    /// How many rows may have been pushed to their views.
    pub pushed_rows: u64,
    /// How many threads join.
    pub threads: usize,
}

impl JoinShape {
    /// Into what `spine` is split so that its join takes about `memory` bytes; `None` if it takes
    /// no more as it is.
    pub fn split(&self, spine: &SpineSource<'_>, memory: u64) -> Option<Split> {
        let own: u64 = spine.schema().fields().iter().map(|f| field_bytes(f.data_type())).sum();
        let row_bytes = self.row_bytes().saturating_add(self.pushed_bytes(spine.rows()));
        let whole = spine.rows().saturating_mul(own.saturating_add(row_bytes));
        if whole <= memory {
            return None;
        }
        // Beside the piece that is joined there are pages, and what is on its way to the disk.
        let rows_at_once = (memory / 4 * 3 / row_bytes).max(1);
        let parts = spine.rows().div_ceil(rows_at_once).clamp(1, PARTS_MAX as u64);
        let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Some(Split {
            parts: whole(parts),
            rows_at_once: whole(rows_at_once),
            column_bytes: whole(rows_at_once.saturating_mul(self.column_bytes()).max(memory / 4)),
        })
    }

    fn row_bytes(&self) -> u64 {
        // While columns are filled, those of all threads are there as they were gathered too, and
        // numbers side by side.
        let widest = self.types.iter().map(|value_type| value_bytes(*value_type)).max();
        let side_by_side = self.types.iter().any(|value_type| is_number(*value_type));
        let side_by_side = if side_by_side { (WIDTH_MAX * size_of::<u64>()) as u64 } else { 0 };
        let gathered =
            widest.unwrap_or(0).saturating_mul(self.threads as u64).saturating_add(side_by_side);
        let keys = KEY_BYTES.saturating_mul(self.entities as u64);
        let columns = self.column_bytes();
        [keys, gathered, columns].into_iter().fold(ROW_BYTES, u64::saturating_add)
    }

    /// What wins of what was pushed takes, of each of so many rows.
    fn pushed_bytes(&self, rows: u64) -> u64 {
        let winning = self.pushed_rows.min(rows);
        if winning == 0 {
            return 0;
        }
        let features = self.types.len() as u64;
        let cells = features.saturating_mul(PUSHED_BYTES).saturating_add(self.column_bytes());
        let cells = winning.saturating_mul(cells).div_ceil(rows);
        cells.saturating_add(features.saturating_mul(PLACE_BYTES))
    }

    /// What the features of a row take.
    fn column_bytes(&self) -> u64 {
        self.types.iter().map(|value_type| value_bytes(*value_type)).sum()
    }
}

fn field_bytes(data_type: &DataType) -> u64 {
    data_type.primitive_width().map_or(LONG_BYTES, |width| width as u64 + 1)
}

fn value_bytes(value_type: ValueType) -> u64 {
    let scalar = |scalar: Scalar| match scalar {
        Scalar::Bool => 1,
        Scalar::Int32 | Scalar::Float32 => 4,
        Scalar::Int64 | Scalar::Float64 | Scalar::Timestamp => 8,
        Scalar::String | Scalar::Bytes => LONG_BYTES,
    };
    match value_type {
        ValueType::Scalar(of) => scalar(of),
        ValueType::List { length: None, .. } => LONG_BYTES,
        ValueType::List { element, length: Some(length) } => {
            scalar(element).saturating_mul(u64::from(length))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::Spine;
    use arrow_array::{ArrayRef, RecordBatch, TimestampSecondArray};
    use std::sync::Arc;

    #[test]
    fn a_spine_is_split_only_if_it_does_not_fit_and_into_more_the_less_there_is() {
        let times: TimestampSecondArray = (0..100_000).map(Some).collect();
        let batch = RecordBatch::try_from_iter([("t", Arc::new(times) as ArrayRef)]).unwrap();
        let spine = Spine::from_batch(batch, None).unwrap();
        let spine = SpineSource::Memory(&spine);
        let types = vec![ValueType::parse("float64").unwrap(); 10];
        let shape = JoinShape { types, entities: 1, pushed_rows: 0, threads: 2 };
        assert_eq!(shape.split(&spine, 1 << 30), None);
        let pushed = JoinShape { pushed_rows: 1 << 40, ..shape.clone() };
        let pushed = pushed.split(&spine, 20 << 20).unwrap();
        let few = shape.split(&spine, 20 << 20).unwrap();
        assert!(pushed.parts > few.parts, "{pushed:?} {few:?}");
        let many = shape.split(&spine, 1 << 20).unwrap();
        assert!(few.parts > 1 && few.parts < many.parts, "{few:?} {many:?}");
        assert!(few.parts * few.rows_at_once >= 100_000);
        let least = shape.split(&spine, 0).unwrap();
        assert_eq!((least.parts, least.rows_at_once), (PARTS_MAX, 1));
    }
}
