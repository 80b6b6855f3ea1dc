//! The file system as far as we need it: small enough to simulate, large enough to be safe.
//!
//! Invariants
//! - A call that returns `Ok` has done all of its work; there are no short writes.
//! - Data is safe after [`File::sync_data`]; a name is safe after [`FileSystem::sync_dir`] of its
//!   folder. Neither implies the other.
//! - A failed sync must not be repeated: the kernel may have dropped the pages and report success.

use super::map::Mapped;
use std::{any::Any, fmt, io, path::Path};

/// Names and files.
pub trait FileSystem: Send + Sync + 'static {
    /// A new empty file for reading and writing; an error if the name is taken.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// An existing file, for reading.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// An existing file, for reading and writing.
    fn open_write(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// All bytes of a file that never changes again.
    fn map(&self, path: &Path) -> io::Result<Mapped>;
    /// What is in a folder, sorted by name.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>>;
    /// What a name stands for.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// Makes a folder and those above it; none is an error if it is there.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name, replacing what had it, in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file one more name; an error if the name is taken.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a name from a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes every change of names in a folder survive a power cut.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Locks a file, made if need be, against every other process until the guard is dropped;
    /// `None` if another holds it.
    fn lock_exclusive(&self, path: &Path) -> io::Result<Option<Lock>>;
    /// Locks an existing file, which is not changed, against everyone who wants it for himself;
    /// `None` if somebody has. It may be stricter, and share with nobody.
    fn lock_shared(&self, path: &Path) -> io::Result<Option<Lock>> {
        self.metadata(path)?;
        self.lock_exclusive(path)
    }
}

/// One open file.
pub trait File: Send + Sync {
    /// Reads into `buffer` from `offset`; less than its length only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the data, and the length it needs, survive a power cut.
    fn sync_data(&self) -> io::Result<()>;
    /// Reserves space so that writing the first `bytes` cannot meet a full disk; the file is at
    /// least so long then, zeros where nothing was written. See [`is_out_of_space`].
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// The length of the file.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The bytes from the start up to `limit` or the end.
    fn read_up_to(&self, limit: u64) -> io::Result<Vec<u8>> {
        let bytes = usize::try_from(self.len()?.min(limit)).map_err(io::Error::other)?;
        let mut buffer = vec![0; bytes];
        let read = self.read_at(0, &mut buffer)?;
        buffer.truncate(read);
        Ok(buffer)
    }
}

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectoryEntry {
    /// The last part of the path.
    pub name: String,
    /// Whether it is a folder.
    pub is_directory: bool,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The length of a file.
    pub bytes: u64,
    /// Whether it is a folder.
    pub is_directory: bool,
}

/// A lock, held until it is dropped.
pub struct Lock {
    _held: Box<dyn Any + Send + Sync>,
}

impl Lock {
    /// A lock that ends when `held` is dropped.
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self { _held: Box::new(held) }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}

/// Whether `error` says that the disk, or the quota on it, is full.
pub fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
