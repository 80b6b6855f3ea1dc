//! The bytes of one Parquet file, and every failure to read them with the name of the file.
//!
//! Invariants
//! - Several threads read one file at once: every read says its place, no position is shared.
//! - Nothing is read, nor room made for it, beyond the end of the file as it was found.
//! - No header of a page reaches the decoder that would keep it busy for ever: `thrift`.
//! - A decoder that panics on hostile bytes is an error like any other: [`guarded`].

use super::{
    headers::{BLOOM_FILTER_HEADER, FOOTER, PAGE_HEADER},
    thrift::{Fields, Flaw, Walked, walk},
};
use crate::{
    error::{Error, Result, did_you_mean},
    objects::{Failure, Fetched, Object},
};
use bytes::Bytes;
use parquet::{
    errors::ParquetError,
    file::reader::{ChunkReader, Length},
};
use std::{
    fs::File,
    io::{self, Cursor, Read},
    ops::Range,
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A page header is some tens of bytes, unless it tells the least and greatest of long texts.
pub(super) const HEADER_READ_BYTES: usize = 512;
const HEADER_BYTES_MAX: usize = 16 << 20;

const MAGIC: &[u8] = b"PAR1";

/// The decoder makes room for as many bytes as a page claims. No codec but brotli packs them to
/// less than this part, and that does so with pages that hardly anybody writes this large.
const UNPACKED_TIMES_MAX: i64 = 65_536;
const UNPACKED_BYTES_MAX: i64 = 64 << 20;

/// The header of a field 1 that is a struct.
const FIRST_OF_UNION: u8 = 0x1c;

/// A file ends with the length of its footer, and PAR1.
const TAIL_BYTES: u64 = 8;

/// No file is shorter: PAR1, the length of the footer, PAR1.
const EMPTY_BYTES: u64 = 12;

/// An open Parquet file of known length.
#[derive(Clone, Debug)]
pub(super) struct ParquetFile {
    contents: Contents,
    bytes: u64,
    bytes_read: Arc<AtomicU64>,
    /// Where pages begin that the decoder reads at once with their headers, ascending.
    listed_pages: Arc<[u64]>,
}

/// Where the bytes are.
#[derive(Clone, Debug)]
enum Contents {
    OnDisk(Arc<File>),
    InMemory(Bytes),
    InStore(Object),
}

impl Contents {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Self::OnDisk(file) => file.read_at(buffer, at),
            Self::InMemory(bytes) => {
                let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..));
                rest.unwrap_or_default().read(buffer)
            }
            Self::InStore(object) => {
                let bytes = object.read_some(at, buffer.len()).map_err(io::Error::other)?;
                bytes.as_ref().read(buffer)
            }
        }
    }
}

impl ParquetFile {
    /// Opens `path`, whose length is `bytes`; what is read is added to `bytes_read`.
    pub(super) fn open(path: &Path, bytes: u64, bytes_read: &Arc<AtomicU64>) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("opening", path))?;
        let contents = Contents::OnDisk(Arc::new(file));
        Ok(Self::new(contents, bytes, bytes_read))
    }

    /// A file that is in memory already: what is read of it is not copied.
    pub(super) fn in_memory(bytes: Bytes, bytes_read: &Arc<AtomicU64>) -> Self {
        let length = bytes.len() as u64;
        let contents = Contents::InMemory(bytes);
        Self::new(contents, length, bytes_read)
    }

    fn new(contents: Contents, bytes: u64, bytes_read: &Arc<AtomicU64>) -> Self {
        let (bytes_read, listed_pages) = (Arc::clone(bytes_read), Arc::default());
        Self { contents, bytes, bytes_read, listed_pages }
    }

    /// The same file, whose offset indexes list pages that begin here.
    pub(super) fn with_listed_pages(self, listed_pages: &Arc<[u64]>) -> Self {
        Self { listed_pages: Arc::clone(listed_pages), ..self }
    }

    /// The bytes of the footer, whose claims it can keep.
    pub(super) fn footer(&self) -> Result<Bytes, ParquetError> {
        let short = || ParquetError::EOF("it is shorter than its footer".into());
        let end = self.bytes.checked_sub(TAIL_BYTES).ok_or_else(short)?;
        let tail = self.get_bytes(end, TAIL_BYTES as usize)?;
        let (length, magic) = tail.split_first_chunk().ok_or_else(short)?;
        if magic != MAGIC {
            return Err(ParquetError::General("it does not end with PAR1".into()));
        }
        let length = u32::from_le_bytes(*length);
        let start = end.checked_sub(length.into()).ok_or_else(short)?;
        let footer = self.get_bytes(start, length as usize)?;
        walk(&footer, FOOTER)?;
        Ok(footer)
    }

    /// How many bytes the header of a bloom filter takes, and how many the filter does, it says.
    pub(super) fn bloom_filter_header(&self, at: u64) -> Result<(u64, i64), ParquetError> {
        let (head, Walked { bytes, integers, structs }) =
            self.header_at(at, BLOOM_FILTER_HEADER)?;
        let [_, filter_bytes, ..] = integers;
        // Its algorithm, hash and compression: each the first of a union of one so far.
        let [_, _, choices @ .., _, _, _, _] = structs;
        if choices.iter().any(|at| head.get(*at) != Some(&FIRST_OF_UNION)) {
            return Err(ParquetError::NYI("a bloom filter of another kind".into()));
        }
        Ok((bytes as u64, filter_bytes))
    }

    /// The bytes from `start` on that have all of the header of a page.
    pub(super) fn page_header_at(&self, start: u64) -> io::Result<Vec<u8>> {
        let (head, header) = self.header_at(start, PAGE_HEADER)?;
        check_page(&header).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        Ok(head)
    }

    /// The bytes from `start` on that have all of a header which can keep its claims.
    fn header_at(&self, start: u64, fields: Fields) -> io::Result<(Vec<u8>, Walked)> {
        let mut head = Vec::new();
        let mut wanted = HEADER_READ_BYTES;
        loop {
            let read = head.len();
            head.resize(wanted, 0);
            let rest = head.get_mut(read..).unwrap_or_default();
            let count = self.contents.read_at(rest, start.saturating_add(read as u64))?;
            self.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
            head.truncate(read + count);
            match walk(&head, fields) {
                Ok(walked) => return Ok((head, walked)),
                // A short read is the end of the file, or one that the next tells from it.
                Err(Flaw::Cut) if count > 0 && wanted < HEADER_BYTES_MAX => wanted *= 2,
                Err(flaw) => return Err(io::Error::new(io::ErrorKind::InvalidData, flaw)),
            }
        }
    }

    /// An object of a store.
    pub(super) fn in_store(object: Object, bytes_read: &Arc<AtomicU64>) -> Self {
        let bytes = object.found().bytes;
        Self::new(Contents::InStore(object), bytes, bytes_read)
    }

    /// Begins to fetch a range that will be read piece by piece; `None` where that is of no use.
    pub(super) fn fetch(&self, range: Range<u64>) -> Option<Fetched> {
        match &self.contents {
            Contents::InStore(object) if range.end <= self.bytes => Some(object.fetch(Some(range))),
            _ => None,
        }
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
    type T = HeaderReader;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(HeaderReader { file: self.clone(), start, head: None })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.bytes) {
            let what = format!("{length} bytes at {start} lie beyond its end at {}", self.bytes);
            return Err(ParquetError::EOF(what));
        }
        self.bytes_read.fetch_add(length as u64, Ordering::Relaxed);
        let bytes = match &self.contents {
            Contents::OnDisk(file) => {
                let mut buffer = vec![0; length];
                file.read_exact_at(&mut buffer, start)?;
                Bytes::from(buffer)
            }
            Contents::InMemory(bytes) => {
                let start = usize::try_from(start)?;
                bytes.slice(start..start + length)
            }
            Contents::InStore(object) => {
                let bytes = object.read(start..start + length as u64);
                bytes.map_err(|failure| ParquetError::External(Box::new(failure)))?
            }
        };
        // Where a page without values ends another begins.
        if length > 0 && self.listed_pages.binary_search(&start).is_ok() {
            check_page(&walk(&bytes, PAGE_HEADER)?).map_err(ParquetError::General)?;
        }
        Ok(bytes)
    }
}

/// Refuses a page that claims what it cannot be.
pub(super) fn check_page(header: &Walked) -> Result<(), String> {
    let [_, kind, unpacked, packed, ..] = header.integers;
    // The decoder drops the upper bits.
    if [kind, unpacked, packed].iter().any(|number| i32::try_from(*number).is_err()) {
        return Err(Flaw::Senseless.to_string());
    }
    if unpacked > UNPACKED_BYTES_MAX && unpacked / UNPACKED_TIMES_MAX > packed {
        return Err(format!("a page of {packed} bytes claims {unpacked} of them unpacked"));
    }
    Ok(())
}

/// Reads on from a place of a file, where the header of a page is.
#[derive(Debug)]
pub(super) struct HeaderReader {
    file: ParquetFile,
    start: u64,
    /// The decoder asks for more readers than it reads from, so nothing is read before it does.
    head: Option<Cursor<Vec<u8>>>,
}

impl Read for HeaderReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let head = match &mut self.head {
            Some(head) => head,
            None => self.head.insert(Cursor::new(self.file.page_header_at(self.start)?)),
        };
        let count = head.read(buffer)?;
        if count > 0 {
            return Ok(count);
        }
        // Beyond the header itself, which the decoder has no need of.
        let at = self.start.saturating_add(head.position());
        let count = self.file.contents.read_at(buffer, at)?;
        self.start = self.start.saturating_add(count as u64);
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

/// The error for an object that a store did not give.
pub(super) fn failed(doing: &'static str, path: &Path, failure: &Failure) -> Error {
    if failure.is_missing {
        return Error::refused(format!("{}: {failure}", path.display()));
    }
    Error::io(doing, path)(io::Error::other(failure.clone()))
}

/// What a store said, if it was that.
fn failure_of(error: &ParquetError) -> Option<&Failure> {
    let ParquetError::External(error) = error else { return None };
    let within = || error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<Failure>();
    error.downcast_ref::<Failure>().or_else(within)
}

fn unreadable(path: &Path, error: &ParquetError) -> Error {
    if let Some(failure) = failure_of(error) {
        return failed("reading", path, failure);
    }
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
    if let Some(failure) = failure_of(error) {
        return failed("reading", path, failure);
    }
    let head = file.word_at(0);
    let tail = file.bytes.checked_sub(4).and_then(|at| file.word_at(at));
    let why = match (head, tail) {
        (None, _) if file.bytes == 0 => "it is empty".to_owned(),
        (Some(head), Some(tail)) if head == MAGIC && tail != MAGIC => format!(
            "it is cut off: {} bytes, and no footer at the end. Was it still being written?",
            file.bytes
        ),
        (_, Some(tail)) if tail == MAGIC && file.bytes >= EMPTY_BYTES => {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A text of `length` bytes in a field that nobody knows, and the end.
    fn header(length: usize) -> Vec<u8> {
        let length_bytes = [0x80 | (length & 0x7f) as u8, 0x80 | (length >> 7) as u8, 0];
        [&[0xf8][..], &length_bytes, &vec![b'x'; length], &[0]].concat()
    }

    #[test]
    fn a_header_is_read_whole_however_long_and_refused_where_it_has_no_end() {
        for length in [3, 500, 512, 513, 4000, 16_000] {
            let bytes = [header(length), vec![7; 100]].concat();
            let file = ParquetFile::in_memory(bytes.clone().into(), &Arc::default());
            let mut read = Vec::new();
            file.get_read(0).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes, "{length} bytes");
            let cut = ParquetFile::in_memory(bytes[..length].to_vec().into(), &Arc::default());
            assert!(cut.get_read(0).unwrap().read(&mut [0]).is_err(), "{length} bytes, cut");
        }
        // A page of 1,000 bytes: of 1,000 million, of 64 MiB.
        for (unpacked, is_refused) in
            [([0x80, 0xa8, 0xd6, 0xb9, 0x07], true), ([0x80, 0x80, 0x80, 0x40, 0], false)]
        {
            let page = [&[0x25][..], &unpacked, &[0x15, 0xd0, 0x0f, 0, 0]].concat();
            let file = ParquetFile::in_memory(page.into(), &Arc::default());
            let read = file.get_read(0).unwrap().read(&mut [0]);
            assert_eq!(read.is_err(), is_refused, "{read:?}");
        }
        let map = [0x1b, 0xff, 0xff, 0xff, 0xff, 0x07, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let file = ParquetFile::in_memory(map.to_vec().into(), &Arc::default());
        let why = file.bloom_filter_header(0).unwrap_err().to_string();
        assert!(why.contains("a header makes no sense"), "{why}");
    }
}
