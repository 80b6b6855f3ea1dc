//! Walks the frames of one segment that is in memory or mapped.
//!
//! ```text
//! header │ frame │ frame │ frame │ ?          ? = footer, or what is no valid next frame
//! ```
//! Invariants
//! - A frame counts only if its checksums, its LSN and its chain value follow from the one before.
//! - Any bytes end the walk; none stop it from ending.
//!
//! Not here: what a broken end means (`recovery.rs`), a log in use (`segment_records.rs`).

use super::{
    log_frame::{FRAME_ALIGNMENT, Frame, FrameHeader, decode_frame, proven_durable},
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader},
};
use crate::{
    error::{Error, Result},
    log::contract::Lsn,
};
use std::path::Path;

/// What the next frame must follow from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Where it begins.
    pub(super) offset: usize,
    /// The LSN it begins with.
    pub(super) next_lsn: Lsn,
    /// The chain value before it.
    pub(super) chain: u64,
}

/// The frames of one segment.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    header: SegmentHeader,
    pub(super) position: Position,
}

/// What a walk meets.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Frame(Frame<'a>),
    /// The clean end.
    Footer,
    /// No valid next frame; what was expected.
    Broken(&'static str),
}

impl Position {
    /// The first frame of a segment.
    pub(super) fn start_of(header: &SegmentHeader) -> Self {
        let (next_lsn, chain) = (header.base_lsn, header.chain_before);
        Self { offset: SEGMENT_HEADER_BYTES, next_lsn, chain }
    }

    /// Goes on by the frame that `rest`, the bytes from here on, begins with; does not move at a
    /// broken end.
    pub(super) fn step<'a>(&mut self, rest: &'a [u8], header: &SegmentHeader) -> Step<'a> {
        let frame = match decode_frame(rest, header.place(self.offset)) {
            Ok(frame) => frame,
            Err(expected) => return Step::Broken(expected),
        };
        if frame.header.chain_before != self.chain {
            return Step::Broken("a frame that follows the one before it");
        }
        if frame.header.first_lsn != self.next_lsn {
            return Step::Broken("a frame that begins with the next LSN");
        }
        *self = Self {
            offset: self.offset + frame.bytes,
            next_lsn: frame.next_lsn(),
            chain: frame.chain,
        };
        if frame.header.is_footer { Step::Footer } else { Step::Frame(frame) }
    }
}

impl<'a> Walk<'a> {
    /// Goes on at `position` in the segment that `bytes` hold.
    pub(super) fn new(bytes: &'a [u8], header: SegmentHeader, position: Position) -> Self {
        Self { bytes, header, position }
    }

    /// Goes on by one frame; does not move at a broken end.
    pub(super) fn step(&mut self) -> Step<'a> {
        let rest = self.bytes.get(self.position.offset..).unwrap_or_default();
        self.position.step(rest, &self.header)
    }

    /// Goes to the next frame, here or later, that is valid by itself, whatever became of those
    /// before it; whether there is one.
    pub(super) fn skip_to_valid(&mut self) -> bool {
        let start = self.position.offset;
        let offsets = (start..start + self.rest_bytes()).step_by(FRAME_ALIGNMENT);
        let frame_at = |offset| {
            let frame = decode_frame(self.bytes.get(offset..)?, self.header.place(offset)).ok()?;
            let FrameHeader { first_lsn, chain_before, .. } = frame.header;
            Some(Position { offset, next_lsn: first_lsn, chain: chain_before })
        };
        let found = { offsets }.find_map(frame_at);
        self.position = found.unwrap_or(self.position);
        found.is_some()
    }

    /// How many bytes from here to the last that is not zero.
    pub(super) fn rest_bytes(&self) -> usize {
        let rest = self.bytes.get(self.position.offset..).unwrap_or_default();
        rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
    }

    /// The greatest LSN that a frame at or behind this point proves to have been durable.
    pub(super) fn proven_later(&self) -> Option<Lsn> {
        let start = self.position.offset;
        let offsets = (start..start + self.rest_bytes()).step_by(FRAME_ALIGNMENT);
        offsets
            .filter_map(|offset| {
                proven_durable(self.bytes.get(offset..)?, self.header.place(offset))
            })
            .max()
    }
}

/// The records of one segment from its bytes alone, up to its end or the first frame that is not
/// valid; an error if its header is not. Total: for fuzzing and for tools.
pub fn read_log_bytes(bytes: &[u8]) -> Result<Vec<(Lsn, Vec<u8>)>> {
    let path = Path::new("bytes");
    let header = SegmentHeader::decode(bytes, path)?;
    let mut walk = Walk::new(bytes, header, Position::start_of(&header));
    let mut records = Vec::new();
    loop {
        let offset = walk.position.offset as u64;
        match walk.step() {
            Step::Frame(frame) => {
                let read = frame.records().map_err(|what| Error::corrupt(path, offset, what))?;
                records.extend(read);
            }
            Step::Footer | Step::Broken(_) => return Ok(records),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::local::log_frame::{FrameHeader, encode_frame, push_record};

    /// A segment with one record, whose frame says what stands before it.
    fn walk_over(first_lsn: u64, chain_before: u64) -> &'static str {
        let header =
            SegmentHeader { store_id: 1, number: 1, base_lsn: Lsn(5), salt: 9, chain_before: 77 };
        let frame = FrameHeader {
            first_lsn: Lsn(first_lsn),
            count: 1,
            is_footer: false,
            durable_lsn: Lsn(4),
            clock_us: 0,
            chain_before,
        };
        let (mut bytes, mut raw) = (header.encode(), Vec::new());
        push_record(&mut raw, b"x");
        encode_frame(&frame, &raw, header.place(SEGMENT_HEADER_BYTES), &mut bytes);
        match Walk::new(&bytes, header, Position::start_of(&header)).step() {
            Step::Frame(_) => "a frame",
            Step::Footer => "a footer",
            Step::Broken(expected) => expected,
        }
    }

    #[test]
    fn a_frame_must_follow_from_the_one_before_in_chain_and_lsn() {
        assert_eq!(walk_over(5, 77), "a frame");
        assert_eq!(walk_over(5, 78), "a frame that follows the one before it");
        assert_eq!(walk_over(6, 77), "a frame that begins with the next LSN");
    }
}
