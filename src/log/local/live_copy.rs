//! The log of a store that may be running, as another process sees it.
//!
//! ```text
//! wal-1.log  wal-2.log  wal-3.log        1, 2: sealed, never written again, only removed
//!                       ▲                3: the last one may be written to at this moment
//! ```
//! A segment is sealed, cut and synced before the next one has a name, and what repairs a segment
//! writes a new file. So all but the last may be linked; of the last the valid frames are copied.

use super::{
    reader::{Position, Step, Walk},
    segment::{LogFile, SegmentHeader, log_file},
};
use crate::{
    disk::FileSystem,
    error::{Error, Result},
};
use std::{io, path::Path};

/// The names of the segments in `directory`, in order.
pub(crate) fn segment_names(fs: &dyn FileSystem, directory: &Path) -> io::Result<Vec<String>> {
    let names = fs.read_dir(directory)?.into_iter().filter(|entry| !entry.is_directory);
    let is_segment = |name: &String| matches!(log_file(name), LogFile::Segment(_));
    Ok(names.map(|entry| entry.name).filter(is_segment).collect())
}

/// The header and all whole frames of the segment at `path`, which may be written to meanwhile.
/// Everything that was written before the call is in it.
///
/// An error if what ends the frames is damage and not the end of what was written: then a later
/// frame says that more was durable, and goes on saying so.
pub(crate) fn whole_frames(fs: &dyn FileSystem, path: &Path) -> Result<Vec<u8>> {
    let file = fs.open_read(path).map_err(Error::io("reading the log", path))?;
    let mut broken_at = None;
    loop {
        let read = file.read_up_to(u64::MAX);
        let mut bytes = read.map_err(Error::io("reading the log", path))?;
        let header = SegmentHeader::decode(&bytes, path)?;
        let mut walk = Walk::new(&bytes, header, Position::start_of(&header));
        let expected = loop {
            match walk.step() {
                Step::Frame(_) => {}
                Step::Footer => break None,
                Step::Broken(expected) => break Some(expected),
            }
        };
        let (offset, next_lsn) = (walk.position.offset, walk.position.next_lsn);
        let proven = walk.proven_later().filter(|proven| *proven >= next_lsn);
        match (expected, proven) {
            // A frame that was being written while it was read is whole when it is read again.
            (Some(_), Some(_)) if broken_at != Some(offset) => broken_at = Some(offset),
            (Some(expected), Some(proven)) => {
                let lost = format!("{expected}, LSN {next_lsn} to {proven} are lost");
                return Err(Error::corrupt(path, offset as u64, lost));
            }
            _ => {
                bytes.truncate(offset);
                return Ok(bytes);
            }
        }
    }
}
