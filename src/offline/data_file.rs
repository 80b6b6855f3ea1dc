//! One Parquet file: its footer is read, its pages are not.
//!
//! Invariants
//! - A footer that points outside its file, or counts below zero, does not get past these doors.

use super::{
    page_index::{index_range, listed_pages, with_offset_index},
    parquet_file::{ParquetFile, caught, damaged, failed, not_parquet},
};
use crate::{
    error::{Error, Result},
    objects::{Fetched, Object},
};
use bytes::Bytes;
use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
    file::{
        metadata::{ParquetMetaData, ParquetMetaDataReader},
        reader::Length,
    },
};
use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::UNIX_EPOCH,
};

/// The end of an object of a store, where the footer is: most footers are no longer.
const TAIL_BYTES: u64 = 64 * 1024;

/// A Parquet file that is opened.
#[derive(Clone, Debug)]
pub struct DataFile {
    path: PathBuf,
    bytes: u64,
    modified_ns: i64,
    metadata: ArrowReaderMetadata,
    row_group_rows: Vec<u64>,
    /// Where the pages begin that its offset indexes list, ascending.
    listed_pages: Arc<[u64]>,
    place: Place,
}

/// Where the file is.
#[derive(Clone, Debug)]
enum Place {
    /// On a disk, by its path.
    Disk,
    Memory(Bytes),
    Store(Object),
}

impl DataFile {
    /// A file that is in memory; errors call it `path`.
    pub(super) fn in_memory(path: &Path, contents: Bytes) -> Result<Self> {
        let file = ParquetFile::in_memory(contents.clone(), &Arc::default());
        Self::read_footer(path.to_owned(), 0, &file, Place::Memory(contents))
    }

    /// The path as it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When it was last changed, in ns since 1970.
    pub fn modified_ns(&self) -> i64 {
        self.modified_ns
    }

    /// How many row groups it has.
    pub fn row_groups(&self) -> usize {
        self.row_group_rows.len()
    }

    /// How many rows.
    pub fn rows(&self) -> u64 {
        self.row_group_rows.iter().sum()
    }

    pub(super) fn row_group_rows(&self) -> &[u64] {
        &self.row_group_rows
    }

    pub(super) fn metadata(&self) -> &ArrowReaderMetadata {
        &self.metadata
    }

    pub(super) fn open(&self, bytes_read: &Arc<AtomicU64>) -> Result<ParquetFile> {
        let file = match &self.place {
            Place::Disk => ParquetFile::open(&self.path, self.bytes, bytes_read)?,
            Place::Memory(contents) => ParquetFile::in_memory(contents.clone(), bytes_read),
            Place::Store(object) => ParquetFile::in_store(object.clone(), bytes_read),
        };
        Ok(file.with_listed_pages(&self.listed_pages))
    }

    /// Begins to fetch column chunks of a row group: all of the top-level columns with these
    /// places. `None` where that is of no use.
    pub(super) fn fetch(&self, row_group: usize, roots: &[usize]) -> Option<Fetched> {
        let Place::Store(object) = &self.place else { return None };
        let schema = self.metadata.parquet_schema();
        let chunks = self.metadata.metadata().row_groups().get(row_group)?.columns();
        let wanted = chunks.iter().enumerate();
        let wanted = wanted.filter(|(leaf, _)| roots.contains(&schema.get_column_root_idx(*leaf)));
        let range = |(start, length): (u64, u64)| start..start.saturating_add(length);
        Some(object.fetch(wanted.map(|(_, chunk)| range(chunk.byte_range()))))
    }

    /// Whether it is read from a store.
    pub(super) fn is_in_store(&self) -> bool {
        matches!(self.place, Place::Store(_))
    }

    /// Begins to fetch a range; `None` where that is of no use.
    pub(super) fn fetch_range(&self, range: Range<u64>) -> Option<Fetched> {
        match &self.place {
            Place::Store(object) => Some(object.fetch(Some(range))),
            Place::Disk | Place::Memory(_) => None,
        }
    }

    /// An error if the file is not as it was opened.
    pub(super) fn refuse_changed(&self) -> Result<()> {
        let is_same = match &self.place {
            Place::Disk => size_and_time(&self.path)? == (self.bytes, self.modified_ns),
            Place::Memory(_) => true,
            Place::Store(object) => {
                let told = object.is_as_found();
                told.map_err(|failure| failed("looking for", &self.path, &failure))?
            }
        };
        if is_same { Ok(()) } else { Err(changed(&self.path)) }
    }

    /// Reads the footer and the offset indexes.
    fn read_footer(
        path: PathBuf,
        modified_ns: i64,
        file: &ParquetFile,
        place: Place,
    ) -> Result<Self> {
        let metadata = caught(|| {
            let metadata = ParquetMetaDataReader::decode_metadata(&file.footer()?)?;
            // One request for all of it, where a request takes long.
            let _index = index_range(&metadata).and_then(|range| file.fetch(range));
            let metadata = Arc::new(with_offset_index(file, metadata)?);
            ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new())
        })
        .map_err(|error| not_parquet(file, &path, &error))?;
        let bytes = file.len();
        let row_group_rows = checked_rows(&path, bytes, metadata.metadata())?;
        let listed_pages = listed_pages(metadata.metadata());
        Ok(Self { path, bytes, modified_ns, metadata, row_group_rows, listed_pages, place })
    }
}

pub(super) fn open_file(path: PathBuf) -> Result<DataFile> {
    let (bytes, modified_ns) = size_and_time(&path)?;
    let file = ParquetFile::open(&path, bytes, &Arc::default())?;
    DataFile::read_footer(path, modified_ns, &file, Place::Disk)
}

/// Begins to fetch what [`open_object`] reads first.
pub(super) fn fetch_tail(object: &Object) -> Fetched {
    let bytes = object.found().bytes;
    object.fetch(Some(bytes.saturating_sub(TAIL_BYTES)..bytes))
}

/// Opens an object, of which the end is on its way; errors call it `path`.
pub(super) fn open_object(path: PathBuf, object: &Object, tail: &Fetched) -> Result<DataFile> {
    tail.wait().map_err(|failure| failed("reading", &path, &failure))?;
    let file = ParquetFile::in_store(object.clone(), &Arc::default());
    DataFile::read_footer(path, object.found().modified_ns, &file, Place::Store(object.clone()))
}

/// The error for a file that is not as it was found.
pub(super) fn changed(path: &Path) -> Error {
    Error::refused(format!("{}: the file was changed while it was read", path.display()))
}

/// The size of a file, and when it was last changed, in ns since 1970.
pub(super) fn size_and_time(path: &Path) -> Result<(u64, i64)> {
    let attributes = fs::metadata(path).map_err(Error::io("opening", path))?;
    let modified = attributes.modified().map_err(Error::io("opening", path))?;
    let since_1970 = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((attributes.len(), i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX)))
}

/// The rows of each row group, after a look at every number that the decoder takes on trust.
fn checked_rows(path: &Path, file_bytes: u64, metadata: &ParquetMetaData) -> Result<Vec<u64>> {
    let columns = metadata.file_metadata().schema_descr().num_columns();
    let mut rows = Vec::with_capacity(metadata.num_row_groups());
    for (index, row_group) in metadata.row_groups().iter().enumerate() {
        let refuse = |what: &str| damaged(path, &format!("row group {index}: {what}"));
        // A row number is 32 bits wide in many places, not least in `take`.
        let count = u32::try_from(row_group.num_rows());
        rows.push(u64::from(count.map_err(|_| refuse("its count of rows makes no sense"))?));
        if row_group.num_columns() != columns {
            return Err(refuse("it has other columns than the schema"));
        }
        for column in row_group.columns() {
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let end = start.checked_add(column.compressed_size());
            let inside = end.is_some_and(|end| u64::try_from(end).is_ok_and(|e| e <= file_bytes));
            if start < 0 || column.compressed_size() < 0 || column.num_values() < 0 || !inside {
                return Err(refuse(&format!("column {} lies outside", column.column_path())));
            }
        }
    }
    Ok(rows)
}
