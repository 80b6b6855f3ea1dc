//! The Parquet files of one source: a file, a glob, or a folder with all that is in it, on the disk
//! or in a store.
//!
//! ```text
//! Dataset ──> SourceFile (found, with its partitions) ──> DataFile (its footer is read)
//! ```
//! Invariants
//! - Files are sorted by path; with the row groups and rows in them that gives every row a place
//!   in one order, which settles equal stamps and does not depend on threads.
//! - A file is opened when somebody needs it, and once: folders may tell that nobody does.

use super::{
    data_file::{changed, fetch_tail, open_object, size_and_time},
    find_files::find_files,
    find_objects::{FoundObjects, below, find_objects},
    partitions::Partitions,
};
use crate::{
    error::{Error, Result},
    feature::FileStamp,
    objects::{Fetched, Object},
    parallel::map,
};
use parking_lot::Mutex;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

pub use super::data_file::DataFile;
pub(super) use super::data_file::open_file;

/// A file of a source as it was found.
#[derive(Clone, Debug)]
pub struct SourceFile {
    path: PathBuf,
    bytes: u64,
    modified_ns: i64,
    partitions: Partitions,
    opened: OnceLock<DataFile>,
    /// Of an object of a store, and its end, where that is on its way.
    object: Option<(Object, Arc<Mutex<Option<Fetched>>>)>,
}

impl SourceFile {
    fn found(path: PathBuf, root: &Path) -> Result<Self> {
        let (bytes, modified_ns) = size_and_time(&path)?;
        // A pattern that begins with ./ gives paths that do not.
        let plain = root.strip_prefix(".").unwrap_or(root);
        let below = path.strip_prefix(root).or_else(|_| path.strip_prefix(plain));
        let below = below.unwrap_or(Path::new(""));
        let partitions = Partitions::of(below);
        let opened = OnceLock::new();
        Ok(Self { path, bytes, modified_ns, partitions, opened, object: None })
    }

    fn in_store(object: Object, path: PathBuf, root: &str) -> Self {
        let found = object.found();
        let relative = below(root, &found.key).unwrap_or_default();
        Self {
            path,
            bytes: found.bytes,
            modified_ns: found.modified_ns,
            partitions: Partitions::of(Path::new(relative)),
            opened: OnceLock::new(),
            object: Some((object, Arc::default())),
        }
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
        let opened = match &self.object {
            Some((object, tail)) => {
                let tail = tail.lock().take().unwrap_or_else(|| fetch_tail(object));
                open_object(self.path.clone(), object, &tail)?
            }
            None => open_file(self.path.clone())?,
        };
        if (opened.bytes(), opened.modified_ns()) != (self.bytes, self.modified_ns) {
            return Err(changed(&self.path));
        }
        Ok(self.opened.get_or_init(|| opened))
    }

    /// Begins to fetch what opening it reads first, if that lies in a store.
    pub(super) fn begin_to_open(&self) {
        if let (Some((object, tail)), None) = (&self.object, self.opened.get()) {
            tail.lock().get_or_insert_with(|| fetch_tail(object));
        }
    }

    /// The same, if somebody needed it.
    pub fn opened(&self) -> Option<&DataFile> {
        self.opened.get()
    }

    /// A store tells the second of a write, and a tag of what was written: some ns from that, so
    /// that two writes within a second do not look alike.
    fn tag_ns(&self) -> i64 {
        let tag = self.object.as_ref().and_then(|(object, _)| object.found().tag.as_ref());
        tag.map_or(0, |tag| i64::from(crc32fast::hash(tag.as_bytes()) % 1_000_000_000))
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
        if let Some(found) = find_objects(source)? {
            return Self::of_objects(source, found);
        }
        let (root, paths) = find_files(source)?;
        let files = paths.into_iter().map(|path| SourceFile::found(path, &root));
        Self::of_files(source, files.collect::<Result<_>>()?)
    }

    /// The same of what was found in a store.
    pub(super) fn of_objects(source: &str, found: FoundObjects) -> Result<Self> {
        let FoundObjects { bucket, root, objects } = found;
        let files = objects.into_iter().map(|found| {
            let path = PathBuf::from(bucket.url(&found.key));
            SourceFile::in_store(Object::new(&bucket, found), path, &root)
        });
        let mut files: Vec<SourceFile> = files.collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self::of_files(source, files)
    }

    fn of_files(source: &str, files: Vec<SourceFile>) -> Result<Self> {
        if files.is_empty() {
            return Err(Error::refused(format!("no Parquet file matches {source}")));
        }
        Ok(Self { files })
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
            modified_ns: file.modified_ns.saturating_add(file.tag_ns()),
            row_groups: u32::try_from(row_groups(file)).unwrap_or(u32::MAX),
        };
        self.files.iter().map(stamp).collect()
    }
}
