//! Reads the records of a segment of the log that is in use, frame by frame.
//!
//! Invariants
//! - Memory is bounded by [`WINDOW_BYTES`] and the longest frame, whatever the segment holds:
//!   a checkpoint reads the log while the store serves.

use super::{
    catalog::Entry,
    landmarks::{APART_BYTES, Landmarks},
    log_frame::{FRAME_HEADER_BYTES, FrameRecords, frame_length},
    reader::{Position, Step},
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader},
};
use crate::{
    disk::{File, FileSystem},
    error::{Error, Result},
    log::contract::Lsn,
    parallel::give_way,
};
use std::{path::PathBuf, sync::Arc};

/// So much is read at once.
const WINDOW_BYTES: u64 = 256 * 1024;

/// Others may go first at each record whose LSN is a multiple of this.
const RECORDS_GIVING_WAY: u64 = 64;

/// The records of one segment.
pub(super) struct SegmentRecords {
    window: Window,
    header: SegmentHeader,
    position: Position,
    from: Lsn,
    frame: FrameRecords,
    landmarks: Arc<Landmarks>,
    /// The first offset that may be the next landmark.
    next_landmark: usize,
    ended: bool,
}

/// The part of a file that is in memory.
struct Window {
    file: Box<dyn File>,
    path: PathBuf,
    /// No more of the file is looked at.
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl SegmentRecords {
    /// The records of a segment from `from` on. One that is not sealed may grow, so no more is
    /// looked at than what its entry tells of.
    pub(super) fn open(fs: &dyn FileSystem, entry: Entry, from: Lsn) -> Result<Self> {
        let Entry { info, path, landmarks } = entry;
        let file = fs.open_read(&path).map_err(Error::io("reading the log", &path))?;
        let length = file.len().map_err(Error::io("reading the log", &path))?;
        let end = if info.sealed { length } else { length.min(info.bytes) };
        let mut header = [0; SEGMENT_HEADER_BYTES];
        let read = file.read_at(0, &mut header).map_err(Error::io("reading the log", &path))?;
        let header = SegmentHeader::decode(header.get(..read).unwrap_or_default(), &path)?;
        let start = landmarks.before(from).unwrap_or_else(|| Position::start_of(&header));
        Ok(Self {
            position: start,
            window: Window { file, path, end, start: 0, bytes: Vec::new() },
            header,
            from,
            frame: FrameRecords::default(),
            next_landmark: start.offset + APART_BYTES,
            landmarks,
            ended: false,
        })
    }

    /// The records of the next frame that has some to give; `None` at the end.
    fn next_frame(&mut self) -> Result<Option<FrameRecords>> {
        loop {
            let offset = self.position.offset;
            if offset >= self.next_landmark {
                self.next_landmark = self.landmarks.note(self.position);
            }
            let head = self.window.at(offset, FRAME_HEADER_BYTES)?;
            let is_at_end = head.is_empty();
            let length = frame_length(head, self.header.place(offset));
            let rest = self.window.at(offset, length.unwrap_or(FRAME_HEADER_BYTES))?;
            match self.position.step(rest, &self.header) {
                Step::Frame(frame) if frame.next_lsn() <= self.from => {}
                Step::Frame(frame) => {
                    let records = frame.records();
                    return records.map(Some).map_err(|what| self.damaged(offset, what));
                }
                Step::Footer => return Ok(None),
                Step::Broken(_) if is_at_end => return Ok(None),
                Step::Broken(what) => return Err(self.damaged(offset, what)),
            }
        }
    }

    fn damaged(&self, offset: usize, expected: &str) -> Error {
        Error::corrupt(&self.window.path, offset as u64, expected)
    }
}

impl Window {
    /// The bytes from `offset` on: so many, or more, or all that there are.
    fn at(&mut self, offset: usize, bytes: usize) -> Result<&[u8]> {
        let (offset, bytes) = (offset as u64, bytes as u64);
        let wanted = bytes.min(self.end.saturating_sub(offset));
        let has = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + wanted > has {
            let length = bytes.max(WINDOW_BYTES).min(self.end.saturating_sub(offset));
            self.start = offset;
            // A fresh one, lest the longest frame ever met stay in memory.
            self.bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            let read = self.file.read_at(offset, &mut self.bytes);
            let read = read.map_err(Error::io("reading the log", &self.path))?;
            self.bytes.truncate(read);
        }
        let start = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(start..).unwrap_or_default())
    }
}

impl Iterator for SegmentRecords {
    type Item = Result<(Lsn, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.frame.next() {
                Some((lsn, _)) if lsn < self.from => continue,
                Some((lsn, record)) => {
                    if lsn.0.is_multiple_of(RECORDS_GIVING_WAY) {
                        give_way();
                    }
                    return Some(Ok((lsn, record)));
                }
                None if self.ended => return None,
                None => {}
            }
            match self.next_frame() {
                Ok(Some(frame)) => self.frame = frame,
                Ok(None) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }
}
