//! Rows of a row group on their way to a file: as columns, which take a fifth of what cells do, in
//! the order they came; and by what they are to be sorted.

use super::pushed::PushedCells;
use crate::feature::{KeyPart, Stamp};
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use arrow_select::interleave::interleave_record_batch;

/// Rows that were gathered.
#[derive(Default)]
pub(super) struct Gathered {
    batches: Vec<RecordBatch>,
    rows: Vec<RowPlace>,
}

/// What a row is sorted by, and where it stands.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct RowPlace {
    key: Vec<KeyPart>,
    stamp: Stamp,
    order: u64,
    /// The number of its batch, and its place there: of equal rows the first stays the first.
    at: (usize, usize),
}

impl Gathered {
    /// Adds rows, of which `batch` has the columns.
    pub(super) fn add(&mut self, batch: RecordBatch, rows: Vec<PushedCells>) {
        let number = self.batches.len();
        self.batches.push(batch);
        let places = (0..).map(|row| (number, row));
        self.rows.extend(rows.into_iter().zip(places).map(|(row, at)| {
            let PushedCells { key, stamp, order, .. } = row;
            RowPlace { key, stamp, order, at }
        }));
    }

    /// All rows in the order of a file, so many at a time.
    pub(super) fn sorted(
        &mut self,
        rows_at_once: usize,
    ) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
        self.rows.sort_unstable();
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        self.rows.chunks(rows_at_once.max(1)).map(move |rows| {
            let places: Vec<(usize, usize)> = rows.iter().map(|row| row.at).collect();
            interleave_record_batch(&batches, &places)
        })
    }
}
