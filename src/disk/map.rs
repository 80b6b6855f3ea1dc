//! A file of ours that never changes again, as one slice of bytes.
//!
//! Invariants
//! - Only files that are complete, synced and never written again are mapped: sealed segments of
//!   the log, snapshots. Nothing is ever written through a map.
//! - This is the only file of the disk with `unsafe` in it.

use memmap2::Mmap;
use std::{fs::File, io, ops::Deref};

/// The bytes of a file, mapped, or in memory where there is no file to map.
#[derive(Debug)]
pub enum Mapped {
    /// Pages of the file, read when touched.
    Pages(Mmap),
    /// A copy.
    Memory(Vec<u8>),
}

impl Mapped {
    /// Maps all of `file`.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        if file.metadata()?.len() == 0 {
            return Ok(Self::Memory(Vec::new())); // the kernel maps no empty file
        }
        map(file).map(Self::Pages)
    }
}

#[allow(unsafe_code, reason = "mapping a file is unsafe: another process could change it")]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the data directory is locked for the life of the process, the callers map only files
    // that we never write again, and whoever cuts one from outside ends the process by SIGBUS.
    unsafe { Mmap::map(file) }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Pages(pages) => pages,
            Self::Memory(bytes) => bytes,
        }
    }
}
