//! A log that nobody writes to, read from outside, and written anew as the log of another store.
//!
//! ```text
//! of store a   wal-1  LSN 1..40   wal-2  LSN 41..90   wal-3 LSN 91..
//! of store b   wal-1  LSN 1..40   wal-2  LSN 41..73      up to LSN 73, sealed, another salt
//! ```
//! Invariants
//! - Only records up to the one that was asked for are written, each with its LSN; frames keep
//!   their clock, and one that reaches further is cut between two records.
//! - Every segment that is written ends with a footer: any damage of it is found as damage.

use super::{
    log_frame::{Frame, FrameHeader, push_record},
    reader::{Position, Step, Walk},
    recovery::{Judged, Recovered, judge, push_frame},
    segment::{SegmentHeader, Spare},
    tail::salt_of,
};
use crate::{
    disk::{FileSystem, Mapped},
    error::{Error, Result},
    log::contract::{LogIdentity, Lsn},
};
use std::path::{Path, PathBuf};

/// A log in a folder, found good.
pub(crate) struct StillLog<'a> {
    fs: &'a dyn FileSystem,
    judged: Judged,
}

/// Which log it becomes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anew {
    /// The store it will belong to.
    pub(crate) store_id: u128,
    /// Random: the salts of its segments come from it.
    pub(crate) seed: u64,
    /// The last record in it.
    pub(crate) last_lsn: Lsn,
}

impl<'a> StillLog<'a> {
    /// Reads all of the log in `directory`; an error if it is not what a store with this identity
    /// may start from. A torn end counts as not there. Changes nothing.
    pub(crate) fn open(
        fs: &'a dyn FileSystem,
        directory: &Path,
        identity: &LogIdentity,
    ) -> Result<Self> {
        Ok(Self { fs, judged: judge(fs, directory, identity)? })
    }

    /// What is in it.
    pub(crate) fn recovered(&self) -> &Recovered {
        &self.judged.recovered
    }

    /// How many bytes of it are valid.
    pub(crate) fn bytes(&self) -> u64 {
        self.judged.entries.iter().map(|entry| entry.info.bytes).sum()
    }

    /// Calls `visit` with the first LSN, the last LSN and the clock in µs of every frame with
    /// records, in order, until it says no.
    pub(crate) fn frames(&self, mut visit: impl FnMut(Lsn, Lsn, i64) -> bool) -> Result<()> {
        for number in 0..self.judged.entries.len() {
            let mut segment = self.segment(number)?;
            while let Some(frame) = segment.next_frame()? {
                let header = frame.header;
                if !visit(header.first_lsn, frame.next_lsn().previous(), header.clock_us) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Writes its records up to `anew.last_lsn` into the empty folder `directory`, each segment
    /// synced before it has its name. `done` hears how many bytes were read.
    pub(crate) fn write_to(
        &self,
        directory: &Path,
        anew: &Anew,
        done: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let mut chain = 0;
        for (index, entry) in self.judged.entries.iter().enumerate() {
            // The first is written even if nothing is left of it: it tells where the log stands.
            if index > 0 && entry.info.base_lsn > anew.last_lsn {
                break;
            }
            let number = entry.info.number;
            let (content, end) = self.segment(index)?.anew(anew, chain)?;
            chain = end;
            let spare = Spare::allocate(self.fs, directory, number, content.len() as u64)
                .map_err(Error::io("allocating a segment in", directory))?;
            spare.name(self.fs, directory, &content)?;
            done(entry.info.bytes);
        }
        Ok(())
    }

    fn segment(&self, index: usize) -> Result<StillSegment> {
        let entry = self.judged.entries.get(index);
        let entry = entry.ok_or_else(|| Error::refused(format!("no segment {index}")))?;
        let bytes = self.fs.map(&entry.path).map_err(Error::io("reading the log", &entry.path))?;
        let header = SegmentHeader::decode(&bytes, &entry.path)?;
        Ok(StillSegment {
            path: entry.path.clone(),
            bytes,
            header,
            position: Position::start_of(&header),
            end: entry.info.bytes,
        })
    }
}

/// A segment that was found good, and how far it was read.
struct StillSegment {
    path: PathBuf,
    bytes: Mapped,
    header: SegmentHeader,
    position: Position,
    /// Where what is valid ends.
    end: u64,
}

impl StillSegment {
    fn next_frame(&mut self) -> Result<Option<Frame<'_>>> {
        let offset = self.position.offset as u64;
        if offset >= self.end {
            return Ok(None);
        }
        let mut walk = Walk::new(&self.bytes, self.header, self.position);
        let step = walk.step();
        self.position = walk.position;
        match step {
            Step::Frame(frame) => Ok(Some(frame)),
            Step::Footer => Ok(None),
            Step::Broken(expected) => Err(Error::corrupt(&self.path, offset, expected)),
        }
    }

    /// A segment of the same number for `anew`, complete, and its last chain value.
    fn anew(mut self, anew: &Anew, chain_before: u64) -> Result<(Vec<u8>, u64)> {
        let (number, path) = (self.header.number, self.path.clone());
        let salt = salt_of(anew.seed, number);
        let header = SegmentHeader { store_id: anew.store_id, salt, chain_before, ..self.header };
        let mut content = header.encode();
        let mut to = Position::start_of(&header);
        let mut clock_us = 0;
        while to.next_lsn <= anew.last_lsn {
            let offset = self.position.offset as u64;
            let Some(frame) = self.next_frame()? else { break };
            clock_us = frame.header.clock_us;
            let cut = cut_at(&frame, anew.last_lsn);
            let (header, raw) = cut.map_err(|expected| Error::corrupt(&path, offset, expected))?;
            let header = FrameHeader { chain_before: to.chain, ..header };
            to = push_frame(&mut content, number, salt, to, (&header, &raw));
        }
        let footer = FrameHeader {
            first_lsn: to.next_lsn,
            count: 0,
            is_footer: true,
            durable_lsn: to.next_lsn.previous(),
            clock_us,
            chain_before: to.chain,
        };
        to = push_frame(&mut content, number, salt, to, (&footer, &[]));
        Ok((content, to.chain))
    }
}

/// The part of a frame with the records up to `last`, of which it has at least one.
fn cut_at(frame: &Frame<'_>, last: Lsn) -> Result<(FrameHeader, Vec<u8>), &'static str> {
    if frame.next_lsn().previous() <= last {
        return Ok((frame.header, frame.raw()?.into_owned()));
    }
    let (mut raw, mut count) = (Vec::new(), 0);
    for (_, record) in frame.records()?.take_while(|(lsn, _)| *lsn <= last) {
        push_record(&mut raw, &record);
        count += 1;
    }
    Ok((FrameHeader { count, ..frame.header }, raw))
}
