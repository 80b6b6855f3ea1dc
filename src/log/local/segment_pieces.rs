//! The records of one segment, whatever became of frames between them.

use super::{
    log_frame::Frame,
    reader::{Position, Step, Walk},
    segment::{SegmentHeader, segment_path},
};
use crate::{
    disk::FileSystem,
    error::{Error, Result},
    log::pieces::{Piece, SegmentHead, Take},
};
use std::path::Path;

/// Gives the header, the records and the end of the segment at `path`.
pub(in crate::log) fn inspect_segment(
    fs: &dyn FileSystem,
    path: &Path,
    take: Take<'_>,
) -> Result<()> {
    let file = fs.open_read(path).map_err(Error::io("reading the log", path))?;
    let bytes = file.read_up_to(u64::MAX).map_err(Error::io("reading the log", path))?;
    let header = SegmentHeader::decode(&bytes, path)?;
    let SegmentHeader { store_id, number, base_lsn, salt, chain_before } = header;
    let head = SegmentHead { store_id, number, base_lsn, salt, chain_before };
    if !take(Piece::Segment(head))? {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let is_last = fs.metadata(&segment_path(folder, number.saturating_add(1))).is_err();
    let mut walk = Walk::new(&bytes, header, Position::start_of(&header));
    loop {
        let at = walk.position;
        let offset = at.offset as u64;
        let goes_on = match walk.step() {
            Step::Frame(frame) => records(offset, &frame, take)?,
            Step::Footer => {
                take(Piece::Footer { offset, last_lsn: at.next_lsn.previous() })?;
                return match walk.rest_bytes() {
                    0 => Ok(()),
                    _ => {
                        let expected = "zeros behind the footer";
                        Err(Error::corrupt(path, walk.position.offset as u64, expected))
                    }
                };
            }
            Step::Broken(expected) => {
                let is_proven = walk.proven_later().is_some_and(|proven| proven >= at.next_lsn);
                if is_last && !is_proven {
                    let rest_bytes = walk.rest_bytes() as u64;
                    let open = Piece::Open { offset, next_lsn: at.next_lsn, rest_bytes };
                    return take(open).map(drop);
                }
                let expected = expected.to_owned();
                take(Piece::Damage { offset, expected })? && walk.skip_to_valid()
            }
        };
        if !goes_on {
            return Ok(());
        }
    }
}

fn records(offset: u64, frame: &Frame<'_>, take: Take<'_>) -> Result<bool> {
    let records = match frame.records() {
        Ok(records) => records,
        Err(expected) => return take(Piece::Damage { offset, expected: expected.to_owned() }),
    };
    let clock_us = frame.header.clock_us;
    for (lsn, record) in records {
        if !take(Piece::Record { offset, lsn, clock_us, record: &record })? {
            return Ok(false);
        }
    }
    Ok(true)
}
