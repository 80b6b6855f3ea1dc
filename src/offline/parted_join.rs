//! A join in bounded memory: the rows of a spine are split by the hash of their entity into parts
//! that are joined one after the other, and the result comes in the order of the spine.
//!
//! ```text
//! spine, row by row        0 1 2 3 4 5 6 7
//! number of the part       a b b a c b a c     a byte for each row, on the disk
//! keys and times           0 3 6 │ 1 2 5 │ 4 7     on the disk, each part for itself
//! features                 0 3 6 │ 1 2 5 │ 4 7     joined one after the other, back to the disk
//! result                   0 1 2 3 4 5 6 7     the spine again, beside it the next of each part
//! ```
//! Invariants
//! - The answer is that of one join: a row's answer depends on no other row of the spine, so it
//!   does not matter how they are split. Rows of one entity go together because then each row of
//!   the history wins in one part only.
//! - A part with too many rows (of one entity, say) is joined in pieces, in its order.
//! - What could be refused before any row is looked at is refused first, with the whole spine's
//!   columns.

use super::{
    as_of_join::Joined,
    bucket::bucket_of,
    keys::{KeyTable, UNKNOWN},
    report::{JoinReport, Phase},
    spill::{ByteReader, ByteWriter, SpillReader, SpillWriter},
    spine::Spine,
    spine_file::SpineSource,
};
use crate::{
    error::{Error, Result},
    feature::Entity,
};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use arrow_select::{concat::concat_batches, interleave::interleave_record_batch};
use std::{collections::BTreeSet, path::Path, sync::Arc};

/// Rows of the spine that are looked at or put together at a time.
const BATCH_ROWS: usize = if cfg!(test) { 5 } else { 16 * 1024 };

/// More files at a time many systems do not allow.
pub(super) const PARTS_MAX: usize = 250;

/// Into what a spine is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Into how many parts: no more than a byte can count.
    pub parts: usize,
    /// Of a part no more rows are joined at a time.
    pub rows_at_once: usize,
    /// What the features of those may take, about. If they take more, fewer rows are joined next.
    pub column_bytes: usize,
}

/// A join in parts.
#[derive(Debug)]
pub struct PartedJoin<'a> {
    /// The spine.
    pub spine: SpineSource<'a>,
    /// Its column with the times; its one timestamp column if not given.
    pub event_timestamp: Option<&'a str>,
    /// Whose keys the join looks at; rows are split by the key of the first. At least one.
    pub entities: Vec<&'a Entity>,
    /// (join key, spine column) where the names differ.
    pub map: &'a [(String, String)],
    /// Into what it is split.
    pub split: Split,
    /// Where rows wait on the disk.
    pub folder: &'a Path,
}

/// What is done with the rows of a result, batch by batch.
pub type BatchSink<'a> = dyn FnMut(&RecordBatch) -> Result<()> + 'a;

/// What all parts have in common.
struct Shape {
    /// The columns of the spine that the join needs, and which of those tell the part.
    columns: Vec<usize>,
    keys: Vec<usize>,
    time: String,
    /// The columns of the result, and those of the features.
    result: SchemaRef,
    features: SchemaRef,
}

impl PartedJoin<'_> {
    /// Joins the parts by `join`, and hands the result to `out`, batch by batch. `watch` is told
    /// whenever a phase begins.
    pub fn run(
        &self,
        join: &dyn Fn(&Spine) -> Result<Joined>,
        watch: &dyn Fn(Phase),
        out: &mut BatchSink<'_>,
    ) -> Result<JoinReport> {
        let empty = RecordBatch::new_empty(self.spine.schema());
        let empty = Spine::from_batch(empty, self.event_timestamp)?;
        let joined = join(&empty)?;
        let shape = self.shape(&empty, &joined)?;
        out(&joined.batch)?;
        let mut report = JoinReport { pieces: 0, ..joined.report };
        watch(Phase::Split);
        let (numbers, parts) = self.split(&shape)?;
        let mut rows_at_once = self.split.rows_at_once.max(1);
        let mut results = Vec::with_capacity(parts.len());
        for part in parts {
            let mut result = SpillWriter::create(self.folder, &shape.features)?;
            let mut part = Pieces { part, rest: None };
            while let Some(batch) = part.next(rows_at_once)? {
                let joined = join(&Spine::from_batch(batch, Some(&shape.time))?)?;
                rows_at_once = rows_at_once.min(self.keep(&joined, &shape, &mut result)?);
                report.append(&joined.report);
            }
            results.push(result.read()?);
        }
        watch(Phase::Merge);
        self.merge(&shape, numbers, results, out)?;
        Ok(report)
    }

    fn shape(&self, spine: &Spine, joined: &Joined) -> Result<Shape> {
        let mut columns = BTreeSet::from([spine.time_column()]);
        for entity in &self.entities {
            columns.extend(spine.key_columns(entity, self.map)?);
        }
        let columns: Vec<usize> = columns.into_iter().collect();
        let keys = self.entities.first().map(|entity| spine.key_columns(entity, self.map));
        let keys = keys.transpose()?.unwrap_or_default();
        let keys = keys.iter().filter_map(|key| columns.binary_search(key).ok()).collect();
        let schema = spine.batch().schema();
        let time = schema.fields().get(spine.time_column()).map(|field| field.name().clone());
        let result = joined.batch.schema();
        let features = result.fields().iter().skip(schema.fields().len()).cloned();
        let features = Arc::new(Schema::new(features.collect::<Vec<_>>()));
        Ok(Shape { columns, keys, time: time.unwrap_or_default(), result, features })
    }

    /// The number of the part of each row, and of each part the columns that are needed.
    fn split(&self, shape: &Shape) -> Result<(ByteReader, Vec<SpillReader>)> {
        let schema = self.spine.schema().project(&shape.columns).map_err(|e| unfit(&e))?;
        let parts = self.split.parts.clamp(1, PARTS_MAX);
        let parts = (0..parts).map(|_| SpillWriter::create(self.folder, &schema));
        let mut parts = parts.collect::<Result<Vec<_>>>()?;
        let mut numbers = ByteWriter::create(self.folder)?;
        let mut batches = self.spine.batches(&shape.columns, BATCH_ROWS)?;
        while let Some(batch) = batches.next()? {
            let own = self.part_numbers(&batch, shape, parts.len())?;
            numbers.write(&own)?;
            let mut rows: Vec<Vec<(usize, usize)>> = vec![Vec::new(); parts.len()];
            for (row, number) in own.iter().enumerate() {
                rows.get_mut(usize::from(*number)).into_iter().for_each(|rows| rows.push((0, row)));
            }
            for (part, rows) in parts.iter_mut().zip(rows).filter(|(_, rows)| !rows.is_empty()) {
                let taken = interleave_record_batch(&[&batch], &rows);
                part.write(&taken.map_err(|e| unfit(&e))?)?;
            }
        }
        let parts = parts.into_iter().map(SpillWriter::read).collect::<Result<_>>()?;
        Ok((numbers.read()?, parts))
    }

    /// The part of each row, by the hash of its entity.
    fn part_numbers(&self, batch: &RecordBatch, shape: &Shape, parts: usize) -> Result<Vec<u8>> {
        let Some(entity) = self.entities.first() else { return Ok(vec![0; batch.num_rows()]) };
        let columns: Vec<ArrayRef> =
            shape.keys.iter().filter_map(|key| batch.columns().get(*key)).cloned().collect();
        let mut table = KeyTable::new(entity);
        let mut rows = Vec::new();
        table.intern(&columns, &mut Vec::new(), &mut rows).map_err(|why| {
            Error::refused(format!("the spine's keys of entity {}: {why}", entity.name))
        })?;
        let part_of = |number| match table.key(number) {
            Some(key) => bucket_of(&key, parts as u32) as u8,
            None => 0,
        };
        let of_entities: Vec<u8> = (0..table.len() as u32).map(part_of).collect();
        let part_of_row = |row: u32| match row {
            // It has no answer, wherever it is.
            UNKNOWN => 0,
            row => of_entities.get(row as usize).copied().unwrap_or(0),
        };
        Ok(rows.into_iter().map(part_of_row).collect())
    }

    /// Keeps the features of a piece; tells how many rows the next one may have.
    fn keep(&self, joined: &Joined, shape: &Shape, result: &mut SpillWriter) -> Result<usize> {
        let first = joined.batch.num_columns() - shape.features.fields().len();
        let columns: Vec<usize> = (first..joined.batch.num_columns()).collect();
        let features = joined.batch.project(&columns).map_err(|e| unfit(&e))?;
        let rows = features.num_rows().max(1);
        let row_bytes = (features.get_array_memory_size() / rows).max(1);
        // As many parts as there are will stand side by side when all are put together.
        let at_once = self.split.column_bytes / self.split.parts.max(1) / row_bytes;
        let at_once = at_once.clamp(1, BATCH_ROWS);
        for from in (0..features.num_rows()).step_by(at_once) {
            let piece = features.slice(from, at_once.min(features.num_rows() - from));
            result.write(&piece)?;
        }
        Ok((self.split.column_bytes / row_bytes).max(1))
    }

    /// Puts the features of all parts beside the rows of the spine.
    fn merge(
        &self,
        shape: &Shape,
        mut numbers: ByteReader,
        results: Vec<SpillReader>,
        out: &mut BatchSink<'_>,
    ) -> Result<()> {
        let empty = RecordBatch::new_empty(Arc::clone(&shape.features));
        let cursor = |result| Cursor { result, batch: empty.clone(), next: 0 };
        let mut cursors: Vec<Cursor> = results.into_iter().map(cursor).collect();
        let columns: Vec<usize> = (0..self.spine.schema().fields().len()).collect();
        let mut batches = self.spine.batches(&columns, BATCH_ROWS)?;
        while let Some(batch) = batches.next()? {
            let mut own = vec![0; batch.num_rows()];
            numbers.read(&mut own)?;
            let features = next_features(&mut cursors, &own)?;
            let columns = batch.columns().iter().chain(features.columns()).cloned().collect();
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let schema = Arc::clone(&shape.result);
            let batch = RecordBatch::try_new_with_options(schema, columns, &options);
            out(&batch.map_err(|e| unfit(&e))?)?;
        }
        Ok(())
    }
}

/// The rows of one part, so many at a time.
struct Pieces {
    part: SpillReader,
    /// What did not fit the last piece.
    rest: Option<RecordBatch>,
}

impl Pieces {
    fn next(&mut self, rows_at_once: usize) -> Result<Option<RecordBatch>> {
        let mut batches: Vec<RecordBatch> = Vec::new();
        let mut room = rows_at_once;
        while room > 0 {
            let next = match self.rest.take() {
                Some(rest) => Some(rest),
                None => self.part.next()?,
            };
            let Some(batch) = next else { break };
            let rows = batch.num_rows().min(room);
            if rows < batch.num_rows() {
                self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
            }
            batches.push(batch.slice(0, rows));
            room -= rows;
        }
        let Some(first) = batches.first() else { return Ok(None) };
        concat_batches(&first.schema(), &batches).map(Some).map_err(|e| unfit(&e))
    }
}

/// The next row of one part.
struct Cursor {
    result: SpillReader,
    batch: RecordBatch,
    next: usize,
}

/// The features of rows that are of these parts.
fn next_features(cursors: &mut [Cursor], numbers: &[u8]) -> Result<RecordBatch> {
    let mut pieces: Vec<RecordBatch> = cursors.iter().map(|cursor| cursor.batch.clone()).collect();
    let mut current: Vec<usize> = (0..cursors.len()).collect();
    let mut places = Vec::with_capacity(numbers.len());
    for number in numbers {
        let number = usize::from(*number);
        let (Some(cursor), Some(current)) = (cursors.get_mut(number), current.get_mut(number))
        else {
            return Err(Error::refused("a row of no part"));
        };
        while cursor.next == cursor.batch.num_rows() {
            let next = cursor.result.next()?;
            cursor.batch = next.ok_or_else(|| Error::refused("the spine has changed"))?;
            cursor.next = 0;
            *current = pieces.len();
            pieces.push(cursor.batch.clone());
        }
        places.push((*current, cursor.next));
        cursor.next += 1;
    }
    let pieces: Vec<&RecordBatch> = pieces.iter().collect();
    interleave_record_batch(&pieces, &places).map_err(|e| unfit(&e))
}

fn unfit(error: &ArrowError) -> Error {
    Error::refused(format!("a part of the spine: {error}"))
}
