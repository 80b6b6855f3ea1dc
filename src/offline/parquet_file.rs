//! The bytes of one Parquet file, and every failure to read them with the name of the file.
//!
//! Invariants
//! - Several threads read one file at once: every read says its place, no position is shared.
//! - Nothing is read, nor room made for it, beyond the end of the file as it was found.
//! - A decoder that panics on hostile bytes is an error like any other: [`guarded`].

use crate::error::{Error, Result, did_you_mean};
use bytes::Bytes;
use parquet::{
    errors::ParquetError,
    file::reader::{ChunkReader, Length},
};
use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A page header is some tens of bytes: reading a whole 8 KiB for each would double the reading.
const HEADER_READ_BYTES: usize = 512;

/// No file is shorter: PAR1, the length of the footer, PAR1.
const EMPTY_BYTES: u64 = 12;

/// An open Parquet file of known length.
#[derive(Clone, Debug)]
pub(super) struct ParquetFile {
    contents: Contents,
    bytes: u64,
    bytes_read: Arc<AtomicU64>,
}

/// Where the bytes are.
#[derive(Clone, Debug)]
enum Contents {
    OnDisk(Arc<File>),
    InMemory(Bytes),
}

impl Contents {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Self::OnDisk(file) => file.read_at(buffer, at),
            Self::InMemory(bytes) => {
                let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..));
                rest.unwrap_or_default().read(buffer)
            }
        }
    }
}

impl ParquetFile {
    /// Opens `path`, whose length is `bytes`; what is read is added to `bytes_read`.
    pub(super) fn open(path: &Path, bytes: u64, bytes_read: &Arc<AtomicU64>) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("opening", path))?;
        let contents = Contents::OnDisk(Arc::new(file));
        Ok(Self { contents, bytes, bytes_read: Arc::clone(bytes_read) })
    }

    /// A file that is in memory already: what is read of it is not copied.
    pub(super) fn in_memory(bytes: Bytes, bytes_read: &Arc<AtomicU64>) -> Self {
        let length = bytes.len() as u64;
        let contents = Contents::InMemory(bytes);
        Self { contents, bytes: length, bytes_read: Arc::clone(bytes_read) }
    }

    /// The four bytes at `at`; `None` if they are not there.
    fn word_at(&self, at: u64) -> Option<[u8; 4]> {
        let mut word = [0; 4];
        (self.contents.read_at(&mut word, at).ok()? == word.len()).then_some(word)
    }
}

impl Length for ParquetFile {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for ParquetFile {
    type T = BufReader<ReadFrom>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let from = ReadFrom { file: self.clone(), at: start };
        Ok(BufReader::with_capacity(HEADER_READ_BYTES, from))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.bytes) {
            let what = format!("{length} bytes at {start} lie beyond its end at {}", self.bytes);
            return Err(ParquetError::EOF(what));
        }
        self.bytes_read.fetch_add(length as u64, Ordering::Relaxed);
        match &self.contents {
            Contents::OnDisk(file) => {
                let mut buffer = vec![0; length];
                file.read_exact_at(&mut buffer, start)?;
                Ok(buffer.into())
            }
            Contents::InMemory(bytes) => {
                let start = usize::try_from(start)?;
                Ok(bytes.slice(start..start + length))
            }
        }
    }
}

/// Reads on from a place of a file.
#[derive(Debug)]
pub(super) struct ReadFrom {
    file: ParquetFile,
    at: u64,
}

impl Read for ReadFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.contents.read_at(buffer, self.at)?;
        self.at = self.at.saturating_add(count as u64);
        self.file.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Runs a decoder over bytes from outside; an error names the file.
pub(super) fn guarded<T>(
    path: &Path,
    decode: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T> {
    caught(decode).map_err(|error| unreadable(path, &error))
}

/// Runs a decoder over bytes from outside. One that panics on them has met damage (a page that
/// begins before its column, say): a query must not take the server with it.
pub(super) fn caught<T>(
    decode: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T, ParquetError> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(ParquetError::General(text.unwrap_or("its pages make no sense").to_owned()))
    })
}

/// The error for a file that cannot be decoded.
pub(super) fn damaged(path: &Path, why: &str) -> Error {
    Error::refused(format!("{}: the file is damaged: {why}", path.display()))
}

fn unreadable(path: &Path, error: &ParquetError) -> Error {
    match error {
        ParquetError::NYI(what) => Error::refused(format!(
            "{}: uses a part of Parquet that is not supported: {what}",
            path.display()
        )),
        other => damaged(path, &other.to_string()),
    }
}

/// The error for a file whose footer cannot be read.
pub(super) fn not_parquet(file: &ParquetFile, path: &Path, error: &ParquetError) -> Error {
    let head = file.word_at(0);
    let tail = file.bytes.checked_sub(4).and_then(|at| file.word_at(at));
    let why = match (head, tail) {
        (None, _) if file.bytes == 0 => "it is empty".to_owned(),
        (Some(head), Some(tail)) if head == *b"PAR1" && tail != *b"PAR1" => format!(
            "it is cut off: {} bytes, and no footer at the end. Was it still being written?",
            file.bytes
        ),
        (_, Some(tail)) if tail == *b"PAR1" && file.bytes >= EMPTY_BYTES => {
            return damaged(path, &format!("its footer: {error}"));
        }
        _ => "it does not begin with PAR1 and end with a footer and PAR1".to_owned(),
    };
    Error::refused(format!("{}: not a Parquet file: {why}", path.display()))
}

/// "it has a, b, c", cut short, after the nearest name.
pub(super) fn available<'a>(
    name: &str,
    columns: impl Iterator<Item = &'a str> + Clone,
    of: &str,
) -> String {
    const NAMES_MAX: usize = 20;
    let near = did_you_mean(name, columns.clone());
    let count = columns.clone().count();
    let names: Vec<&str> = columns.take(NAMES_MAX).collect();
    let more = if count > NAMES_MAX { ", ..." } else { "" };
    format!("{near}; {of} {}{more}", names.join(", "))
}
