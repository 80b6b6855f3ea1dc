//! A spine that stands in a Parquet file; and one that is read batch by batch, wherever it stands.

use super::{
    dataset::{DataFile, open_file},
    file_hash::hash_files,
    parquet_file::{damaged, guarded},
    spine::Spine,
};
use crate::{
    error::{Error, Result},
    parallel::{for_each, thread_count},
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, RecordBatch, RecordBatchOptions, RecordBatchReader,
    builder::PrimitiveBuilder, cast::AsArray, downcast_primitive, new_empty_array,
};
use arrow_schema::{DataType, SchemaRef};
use arrow_select::concat::concat;
use blake3::Hash;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    },
    errors::{ParquetError, Result as ParquetResult},
};
use std::{num::NonZero, path::Path, sync::Arc};

/// So many rows are decoded at a time.
const BATCH_ROWS: usize = 64 * 1024;

/// There is room for so many rows, if the file tells of as many, before the first is read.
const ROWS_AT_FIRST: usize = 8 << 20;

/// The file: its footer is read, its pages are not.
#[derive(Clone, Debug)]
pub struct SpineFile {
    file: DataFile,
}

impl SpineFile {
    /// Reads the footer.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { file: open_file(path.to_owned())? })
    }

    /// The path as it was opened.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.file.rows()
    }

    /// The blake3 hash of the file; an error if it was changed since it was opened.
    pub fn hash(&self) -> Result<Hash> {
        let hashes = hash_files(&[&self.file], 1)?;
        hashes.first().copied().ok_or_else(|| Error::refused("a file without its hash"))
    }

    /// Reads all of it, its columns on as many threads as asked for. Without a name, its one
    /// timestamp column tells the times.
    pub fn read(
        &self,
        event_timestamp: Option<&str>,
        threads: Option<NonZero<usize>>,
    ) -> Result<Spine> {
        let schema = Arc::clone(self.file.metadata().schema());
        let read =
            for_each(thread_count(threads), schema.fields().len(), Vec::new, |read, root| {
                read.push((root, read_column(&self.file, root)?));
                Ok(())
            })?;
        let mut columns: Vec<(usize, ArrayRef)> = read.into_iter().flatten().collect();
        columns.sort_unstable_by_key(|(root, _)| *root);
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        let rows = usize::try_from(self.file.rows()).ok();
        let options = RecordBatchOptions::new().with_row_count(rows);
        let batch = RecordBatch::try_new_with_options(schema, columns, &options);
        let batch = batch.map_err(|error| damaged(self.path(), &error.to_string()))?;
        Spine::from_batch(batch, event_timestamp)
    }
}

/// A spine, wherever it stands.
#[derive(Clone, Copy, Debug)]
pub enum SpineSource<'a> {
    /// In a file.
    File(&'a SpineFile),
    /// In memory.
    Memory(&'a Spine),
}

impl<'a> SpineSource<'a> {
    /// All its columns.
    pub fn schema(&self) -> SchemaRef {
        match self {
            Self::File(spine) => Arc::clone(spine.file.metadata().schema()),
            Self::Memory(spine) => spine.batch().schema(),
        }
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        match self {
            Self::File(spine) => spine.rows(),
            Self::Memory(spine) => spine.rows() as u64,
        }
    }

    /// Its rows from the first to the last, so many at a time: the columns with these places, which
    /// ascend.
    pub(super) fn batches(&self, columns: &[usize], rows: usize) -> Result<SpineBatches<'a>> {
        match self {
            Self::File(spine) => spine.batches(columns, rows),
            Self::Memory(spine) => {
                let batch = spine.batch().project(columns);
                let batch = batch.map_err(|error| Error::refused(format!("the spine: {error}")))?;
                Ok(SpineBatches::InMemory { batch, rows })
            }
        }
    }
}

impl SpineFile {
    fn batches(&self, columns: &[usize], rows: usize) -> Result<SpineBatches<'_>> {
        let source = self.file.open(&Arc::default())?;
        let reader = guarded(self.path(), || {
            let metadata = self.file.metadata().clone();
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(source, metadata);
            let mask = ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied());
            builder.with_projection(mask).with_batch_size(rows).build()
        })?;
        Ok(SpineBatches::InFile { path: self.path(), reader, rows_left: self.rows() })
    }
}

/// The rows of a spine, batch by batch.
pub(super) enum SpineBatches<'a> {
    InFile { path: &'a Path, reader: ParquetRecordBatchReader, rows_left: u64 },
    InMemory { batch: RecordBatch, rows: usize },
}

impl SpineBatches<'_> {
    /// The next rows; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let (path, reader, rows_left) = match self {
            Self::InFile { path, reader, rows_left } => (path, reader, rows_left),
            Self::InMemory { batch, rows } => {
                let rows = batch.num_rows().min(*rows);
                let next = batch.slice(0, rows);
                *batch = batch.slice(rows, batch.num_rows() - rows);
                return Ok((rows > 0).then_some(next));
            }
        };
        let next = guarded(path, || reader.next().transpose().map_err(ParquetError::from))?;
        let rows = next.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        let left = rows_left.checked_sub(rows);
        *rows_left = left.ok_or_else(|| damaged(path, "it has too many rows"))?;
        if next.is_none() && *rows_left > 0 {
            return Err(damaged(path, &format!("{rows_left} rows are missing")));
        }
        Ok(next)
    }
}

/// One of the top-level columns of a file.
fn read_column(file: &DataFile, root: usize) -> Result<ArrayRef> {
    let source = file.open(&Arc::default())?;
    guarded(file.path(), || {
        let metadata = file.metadata().clone();
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(source, metadata);
        let mask = ProjectionMask::roots(builder.parquet_schema(), [root]);
        let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
        let data_type = reader.schema().field(0).data_type().clone();
        // A file may claim more rows than there is memory for: then they take it as they come.
        let rows_at_first = usize::try_from(file.rows()).map_or(0, |rows| rows.min(ROWS_AT_FIRST));
        macro_rules! numbers {
            ($type:ty) => {
                read_numbers::<$type>(reader, data_type, rows_at_first)
            };
        }
        downcast_primitive! {
            data_type => (numbers),
            _ => read_pieces(reader, &data_type),
        }
    })
}

/// A column of numbers, written once where it stays.
fn read_numbers<T: ArrowPrimitiveType>(
    reader: ParquetRecordBatchReader,
    data_type: DataType,
    rows_at_first: usize,
) -> ParquetResult<ArrayRef> {
    let numbers = PrimitiveBuilder::<T>::with_capacity(rows_at_first);
    let mut numbers = numbers.with_data_type(data_type);
    for batch in reader {
        let batch = batch?;
        let own = batch.columns().first().and_then(|column| column.as_primitive_opt::<T>());
        own.into_iter().for_each(|own| numbers.append_array(own));
    }
    Ok(Arc::new(numbers.finish()))
}

/// Any other column.
fn read_pieces(reader: ParquetRecordBatchReader, data_type: &DataType) -> ParquetResult<ArrayRef> {
    let mut pieces: Vec<ArrayRef> = Vec::new();
    for batch in reader {
        pieces.extend(batch?.columns().first().cloned());
    }
    let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
    Ok(match pieces.is_empty() {
        true => new_empty_array(data_type),
        false => concat(&pieces)?,
    })
}
