//! The Parquet files of one source: a file, a glob, or a folder with all that is in it.
//!
//! ```text
//! Dataset ──> SourceFile (found, with its partitions) ──> DataFile (its footer is read)
//! ```
//! Invariants
//! - Files are sorted by path; with the row groups and rows in them that gives every row a place
//!   in one order, which settles equal stamps and does not depend on threads.
//! - A file is opened when somebody needs it, and once: folders may tell that nobody does.
//! - A footer that points outside its file, or counts below zero, does not get past
//!   [`SourceFile::open`].
//!
//! In a folder, names that begin with `.` or `_` are left out, as everywhere in this field: they
//! are being written, or belong to another tool. A glob or a plain path takes them.

use super::{
    page_index::{listed_pages, with_offset_index},
    parquet_file::{ParquetFile, caught, damaged, not_parquet},
    partitions::Partitions,
};
use crate::{
    error::{Error, Result},
    feature::FileStamp,
    parallel::map,
};
use bytes::Bytes;
use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
    file::metadata::{ParquetMetaData, ParquetMetaDataReader},
};
use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, atomic::AtomicU64},
    time::UNIX_EPOCH,
};

/// One Parquet file: its footer is read, its pages are not.
#[derive(Clone, Debug)]
pub struct DataFile {
    path: PathBuf,
    bytes: u64,
    modified_ns: i64,
    metadata: ArrowReaderMetadata,
    row_group_rows: Vec<u64>,
    /// Where the pages begin that its offset indexes list, ascending.
    listed_pages: Arc<[u64]>,
    /// The file itself, if it is in memory.
    contents: Option<Bytes>,
}

impl DataFile {
    /// A file that is in memory; errors call it `path`.
    pub(super) fn in_memory(path: &Path, contents: Bytes) -> Result<Self> {
        let file = ParquetFile::in_memory(contents.clone(), &Arc::default());
        let (path, bytes) = (path.to_owned(), contents.len() as u64);
        Self::read_footer(path, bytes, 0, &file, Some(contents))
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
        let file = match &self.contents {
            Some(contents) => Ok(ParquetFile::in_memory(contents.clone(), bytes_read)),
            None => ParquetFile::open(&self.path, self.bytes, bytes_read),
        };
        Ok(file?.with_listed_pages(&self.listed_pages))
    }
}

/// A file of a source as it was found.
#[derive(Clone, Debug)]
pub struct SourceFile {
    path: PathBuf,
    bytes: u64,
    modified_ns: i64,
    partitions: Partitions,
    opened: OnceLock<DataFile>,
}

impl SourceFile {
    fn found(path: PathBuf, root: &Path) -> Result<Self> {
        let (bytes, modified_ns) = size_and_time(&path)?;
        // A pattern that begins with ./ gives paths that do not.
        let plain = root.strip_prefix(".").unwrap_or(root);
        let below = path.strip_prefix(root).or_else(|_| path.strip_prefix(plain));
        let below = below.unwrap_or(Path::new(""));
        let partitions = Partitions::of(below);
        Ok(Self { path, bytes, modified_ns, partitions, opened: OnceLock::new() })
    }

    /// The path as it was found.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file with its footer; an error if it is not as it was found.
    pub fn open(&self) -> Result<&DataFile> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = open_file(self.path.clone())?;
        if (opened.bytes, opened.modified_ns) != (self.bytes, self.modified_ns) {
            let path = self.path.display();
            return Err(Error::refused(format!("{path}: the file was changed while it was read")));
        }
        Ok(self.opened.get_or_init(|| opened))
    }

    /// The same, if somebody needed it.
    pub fn opened(&self) -> Option<&DataFile> {
        self.opened.get()
    }

    pub(super) fn partitions(&self) -> &Partitions {
        &self.partitions
    }
}

/// All files of a source.
#[derive(Clone, Debug)]
pub struct Dataset {
    files: Vec<SourceFile>,
}

impl Dataset {
    /// Finds what `source` names, and opens nothing. It is an error if nothing is there.
    pub fn open(source: &str) -> Result<Self> {
        let (root, paths) = find(source)?;
        if paths.is_empty() {
            return Err(Error::refused(format!("no Parquet file matches {source}")));
        }
        let files = paths.into_iter().map(|path| SourceFile::found(path, &root));
        Ok(Self { files: files.collect::<Result<_>>()? })
    }

    /// The files, sorted by path.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// How many rows all files have: each is opened.
    pub fn rows(&self) -> Result<u64> {
        let rows = map(1, &self.files, |file| Ok(file.open()?.rows()))?;
        Ok(rows.into_iter().sum())
    }

    /// How large all files are.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(SourceFile::bytes).sum()
    }

    /// What identifies the files as they are now: the cursor of materialization. Of a file that
    /// nobody opened the row groups are not known: 0.
    pub fn stamps(&self) -> Vec<FileStamp> {
        let row_groups = |file: &SourceFile| file.opened().map_or(0, DataFile::row_groups);
        let stamp = |file: &SourceFile| FileStamp {
            path: file.path.to_string_lossy().into_owned(),
            bytes: file.bytes,
            modified_ns: file.modified_ns,
            row_groups: u32::try_from(row_groups(file)).unwrap_or(u32::MAX),
        };
        self.files.iter().map(stamp).collect()
    }
}

/// The files, and the folder below which the names of folders tell something.
fn find(source: &str) -> Result<(PathBuf, BTreeSet<PathBuf>)> {
    let mut found = BTreeSet::new();
    let mut visited = HashSet::new();
    let path = Path::new(source);
    if path.is_dir() {
        walk(path, &mut visited, &mut found)?;
        return Ok((path.to_owned(), found));
    }
    if path.exists() {
        found.insert(path.to_owned());
        return Ok((path.parent().unwrap_or(path).to_owned(), found));
    }
    let is_pattern = |part: &Path| part.as_os_str().as_encoded_bytes().iter().any(is_glob);
    let root = path.ancestors().find(|part| !is_pattern(part)).unwrap_or(Path::new(""));
    let matches = glob::glob(source)
        .map_err(|error| Error::refused(format!("source {source} is no glob: {error}")))?;
    for path in matches {
        let path = path.map_err(|error| {
            let path = error.path().to_owned();
            Error::io("reading the folder", path)(error.into())
        })?;
        if path.is_dir() {
            walk(&path, &mut visited, &mut found)?;
        } else {
            found.insert(path);
        }
    }
    Ok((root.to_owned(), found))
}

fn is_glob(byte: &u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[')
}

/// Links are followed, but no folder twice: a link to a parent would never end.
fn walk(
    folder: &Path,
    visited: &mut HashSet<PathBuf>,
    found: &mut BTreeSet<PathBuf>,
) -> Result<()> {
    let canonical = fs::canonicalize(folder).map_err(Error::io("reading the folder", folder))?;
    if !visited.insert(canonical) {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(Error::io("reading the folder", folder))? {
        let path = entry.map_err(Error::io("reading the folder", folder))?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.starts_with(b".") || name.starts_with(b"_") {
            continue;
        }
        if path.is_dir() {
            walk(&path, visited, found)?;
        } else if path.extension() == Some(OsStr::new("parquet")) {
            found.insert(path);
        }
    }
    Ok(())
}

pub(super) fn open_file(path: PathBuf) -> Result<DataFile> {
    let (bytes, modified_ns) = size_and_time(&path)?;
    let file = ParquetFile::open(&path, bytes, &Arc::default())?;
    DataFile::read_footer(path, bytes, modified_ns, &file, None)
}

/// The size of a file, and when it was last changed, in ns since 1970.
pub(super) fn size_and_time(path: &Path) -> Result<(u64, i64)> {
    let attributes = fs::metadata(path).map_err(Error::io("opening", path))?;
    let modified = attributes.modified().map_err(Error::io("opening", path))?;
    let since_1970 = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((attributes.len(), i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX)))
}

impl DataFile {
    /// Reads the footer and the offset indexes.
    fn read_footer(
        path: PathBuf,
        bytes: u64,
        modified_ns: i64,
        file: &ParquetFile,
        contents: Option<Bytes>,
    ) -> Result<Self> {
        let metadata = caught(|| {
            let metadata = ParquetMetaDataReader::decode_metadata(&file.footer()?)?;
            let metadata = Arc::new(with_offset_index(file, metadata)?);
            ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new())
        })
        .map_err(|error| not_parquet(file, &path, &error))?;
        let row_group_rows = checked_rows(&path, bytes, metadata.metadata())?;
        let listed_pages = listed_pages(metadata.metadata());
        Ok(Self { path, bytes, modified_ns, metadata, row_group_rows, listed_pages, contents })
    }
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
