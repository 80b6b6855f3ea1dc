//! Makes a log anew out of what of it can still be verified.
//!
//! ```text
//! wal-1.log .. wal-5.log, damaged ─> wal-6.recovered ..     nobody reads them yet
//!                         decided ─> wal-6.log .., and what was before goes
//! ```
//! Invariants
//! - Every record keeps its LSN. In the place of a lost one stands a record that does nothing, so
//!   LSNs have no gap, and none is ever given out twice.
//! - Only [`name_rebuilt`] touches what is there; it may be repeated until it is through.

use super::{
    log_frame::{FrameHeader, push_record},
    reader::{Position, Step, Walk},
    recovery::push_frame,
    segment::{LogFile, SegmentHeader, log_file, segment_path},
};
use crate::{
    disk::FileSystem,
    error::{Error, Result},
    log::contract::Lsn,
};
use std::path::{Path, PathBuf};

/// A rebuilt segment takes no further frame from here on.
const SEGMENT_BYTES: usize = 64 * 1024 * 1024;
/// So many records that do nothing stand in one frame.
const FILLERS_IN_FRAME: u64 = 4096;
const ENDING: &str = ".recovered";

/// How to make a log anew.
#[derive(Clone, Copy, Debug)]
pub(in crate::log) struct Rebuild<'a> {
    pub(in crate::log) store_id: u128,
    /// Whether only what stands before the first damage is kept.
    pub(in crate::log) is_prefix: bool,
    /// It begins with this LSN.
    pub(in crate::log) first: Lsn,
    /// It reaches this LSN at least.
    pub(in crate::log) reaches: Lsn,
    /// Random: no segment had it.
    pub(in crate::log) salt: u64,
    /// A record that does nothing.
    pub(in crate::log) filler: &'a [u8],
}

/// What can still be verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::log) struct Survivors {
    /// The first LSN; 0 if there is none.
    pub(in crate::log) first: Lsn,
    /// The last LSN before the first damage; 0 if there is none.
    pub(in crate::log) prefix_end: Lsn,
    /// The last LSN.
    pub(in crate::log) last: Lsn,
}

/// A log made anew, under names that do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::log) struct Rebuilt {
    /// The number of its first segment: what has a lower one goes.
    pub(in crate::log) first_number: u64,
    /// The LSNs, first and last, in the place of which stand records that do nothing.
    pub(in crate::log) lost: Vec<(Lsn, Lsn)>,
}

/// What of the log in `directory` can be verified.
pub(in crate::log) fn survivors(
    fs: &dyn FileSystem,
    directory: &Path,
    store_id: u128,
) -> Result<Survivors> {
    let mut found = Survivors::default();
    for_each_sound(fs, directory, store_id, |header, _, is_in_prefix| {
        let last = header.first_lsn.after(u64::from(header.count)).previous();
        if found.first == Lsn(0) {
            found.first = header.first_lsn;
        }
        found.last = found.last.max(last);
        if is_in_prefix {
            found.prefix_end = last;
        }
        Ok(())
    })?;
    Ok(found)
}

/// Writes the log anew.
pub(in crate::log) fn rebuild(
    fs: &dyn FileSystem,
    directory: &Path,
    how: &Rebuild<'_>,
) -> Result<Rebuilt> {
    for path in rebuilt_files(fs, directory)? {
        // Of an attempt that did not come to its end.
        fs.remove(&path).map_err(Error::io("removing", &path))?;
    }
    let first_number = segment_numbers(fs, directory)?.last().map_or(1, |last| last + 1);
    let mut new = Rebuilder::new(fs, directory, how, first_number);
    for_each_sound(fs, directory, how.store_id, |header, raw, is_in_prefix| {
        match is_in_prefix || !how.is_prefix {
            true => new.push(header, raw),
            false => Ok(()),
        }
    })?;
    new.fill_up_to(how.reaches.next())?;
    new.end_segment()?;
    fs.sync_dir(directory).map_err(Error::io("syncing the folder", directory))?;
    Ok(Rebuilt { first_number, lost: new.lost })
}

/// Lets the log that was made anew take the place of the segments before `first_number`.
pub(in crate::log) fn name_rebuilt(
    fs: &dyn FileSystem,
    directory: &Path,
    first_number: u64,
) -> Result<()> {
    for path in rebuilt_files(fs, directory)? {
        let named = path.with_extension("log");
        fs.rename(&path, &named).map_err(Error::io("naming the segment", &named))?;
    }
    for number in segment_numbers(fs, directory)?.into_iter().filter(|n| *n < first_number) {
        let path = segment_path(directory, number);
        fs.remove(&path).map_err(Error::io("removing", &path))?;
    }
    fs.sync_dir(directory).map_err(Error::io("syncing the folder", directory))
}

fn segment_numbers(fs: &dyn FileSystem, directory: &Path) -> Result<Vec<u64>> {
    let names = fs.read_dir(directory).map_err(Error::io("listing the log", directory))?;
    let number = |name: &str| match log_file(name) {
        LogFile::Segment(number) => Some(number),
        LogFile::Spare | LogFile::Other => None,
    };
    Ok(names.iter().filter_map(|entry| number(&entry.name)).collect())
}

fn rebuilt_files(fs: &dyn FileSystem, directory: &Path) -> Result<Vec<PathBuf>> {
    let names = fs.read_dir(directory).map_err(Error::io("listing the log", directory))?;
    let files = names.iter().filter(|entry| entry.name.ends_with(ENDING));
    Ok(files.map(|entry| directory.join(&entry.name)).collect())
}

/// Calls `take` with every frame that can be verified, in order: its header, its payload, and
/// whether all before it could be, too.
fn for_each_sound(
    fs: &dyn FileSystem,
    directory: &Path,
    store_id: u128,
    mut take: impl FnMut(FrameHeader, &[u8], bool) -> Result<()>,
) -> Result<()> {
    let mut before: Option<(u64, Position)> = None;
    let mut is_in_prefix = true;
    for number in segment_numbers(fs, directory)? {
        let path = segment_path(directory, number);
        let bytes = fs.map(&path).map_err(Error::io("reading the log", &path))?;
        let header = SegmentHeader::decode(&bytes, &path).ok();
        let is_own = |h: &SegmentHeader| h.store_id == store_id && h.number == number;
        let Some(header) = header.filter(is_own) else {
            // Without its salt no frame in it can be told from any other bytes.
            is_in_prefix = false;
            continue;
        };
        is_in_prefix &= before.is_none_or(|(last, at)| {
            (last + 1, at.next_lsn, at.chain) == (number, header.base_lsn, header.chain_before)
        });
        let mut walk = Walk::new(&bytes, header, Position::start_of(&header));
        loop {
            match walk.step() {
                Step::Frame(frame) => match frame.raw() {
                    Ok(raw) => take(frame.header, &raw, is_in_prefix)?,
                    Err(_) => is_in_prefix = false,
                },
                Step::Footer => break,
                Step::Broken(_) => {
                    is_in_prefix = false;
                    if !walk.skip_to_valid() {
                        break;
                    }
                }
            }
        }
        before = Some((number, walk.position));
    }
    Ok(())
}

struct Rebuilder<'a> {
    fs: &'a dyn FileSystem,
    directory: &'a Path,
    how: &'a Rebuild<'a>,
    header: SegmentHeader,
    content: Vec<u8>,
    at: Position,
    clock_us: i64,
    lost: Vec<(Lsn, Lsn)>,
}

impl<'a> Rebuilder<'a> {
    fn new(fs: &'a dyn FileSystem, directory: &'a Path, how: &'a Rebuild<'a>, number: u64) -> Self {
        let Rebuild { store_id, first: base_lsn, salt, .. } = *how;
        let header = SegmentHeader { store_id, number, base_lsn, salt, chain_before: 0 };
        let (content, at) = (header.encode(), Position::start_of(&header));
        Self { fs, directory, how, header, content, at, clock_us: 0, lost: Vec::new() }
    }

    /// Takes a frame, unless it has its records already.
    fn push(&mut self, header: FrameHeader, raw: &[u8]) -> Result<()> {
        if header.first_lsn < self.at.next_lsn {
            return Ok(());
        }
        self.fill_up_to(header.first_lsn)?;
        self.clock_us = header.clock_us;
        self.push_frame(header, raw)
    }

    /// Has records that do nothing in the place of all before `lsn` that are lost.
    fn fill_up_to(&mut self, lsn: Lsn) -> Result<()> {
        let from = self.at.next_lsn;
        if lsn > from {
            self.lost.push((from, lsn.previous()));
        }
        while self.at.next_lsn < lsn {
            let missing = lsn.0.saturating_sub(self.at.next_lsn.0);
            let count = missing.min(FILLERS_IN_FRAME);
            let mut raw = Vec::new();
            (0..count).for_each(|_| push_record(&mut raw, self.how.filler));
            let header = self.frame_header(count as u32);
            self.push_frame(header, &raw)?;
        }
        Ok(())
    }

    fn frame_header(&self, count: u32) -> FrameHeader {
        FrameHeader {
            first_lsn: self.at.next_lsn,
            count,
            // What was lost may have been.
            is_footer: count == 0,
            durable_lsn: self.at.next_lsn.previous(),
            clock_us: self.clock_us,
            chain_before: self.at.chain,
        }
    }

    fn push_frame(&mut self, header: FrameHeader, raw: &[u8]) -> Result<()> {
        if self.content.len() >= SEGMENT_BYTES {
            self.end_segment()?;
        }
        let durable_lsn = header.first_lsn.previous();
        let header = FrameHeader { durable_lsn, chain_before: self.at.chain, ..header };
        let (number, salt) = (self.header.number, self.header.salt);
        self.at = push_frame(&mut self.content, number, salt, self.at, (&header, raw));
        Ok(())
    }

    /// Ends the segment with a footer, writes it, and begins the next one.
    fn end_segment(&mut self) -> Result<()> {
        let footer = self.frame_header(0);
        let (number, salt) = (self.header.number, self.header.salt);
        let end = push_frame(&mut self.content, number, salt, self.at, (&footer, &[]));
        let path = segment_path(self.directory, number).with_extension("recovered");
        let file = self.fs.create_new(&path).map_err(Error::io("creating", &path))?;
        let written = file.write_all_at(0, &self.content);
        written.map_err(Error::io("writing the segment", &path))?;
        file.sync_data().map_err(Error::io("syncing the segment", &path))?;
        let (base_lsn, chain_before) = (end.next_lsn, end.chain);
        let header = SegmentHeader { number: number + 1, base_lsn, chain_before, ..self.header };
        self.header = SegmentHeader { salt: salt.wrapping_add(0x9e37_79b9_7f4a_7c15), ..header };
        self.content = self.header.encode();
        self.at = Position::start_of(&self.header);
        Ok(())
    }
}
