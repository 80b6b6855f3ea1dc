//! What a process finds of the log that the one before it left, and what it makes of it.
//!
//! | what is found | what we do |
//! |---|---|
//! | sealed segment damaged, missing segment, another store | stop; name file, offset, lost LSNs |
//! | last segment: a footer | clean: nothing is changed |
//! | last segment: zeros after a valid frame | clean end of an unclean stop |
//! | last segment: bad frame, nothing proves that it was durable | torn tail: drop and say so |
//! | last segment: bad frame, a later frame or the snapshot proves it was durable | stop |
//! | unknown version or feature bit | stop: written by a newer nowthen |
//!
//! Invariants
//! - [`judge`] only reads, and all of the log is judged before [`repair`] changes anything.
//! - Nothing is appended to a segment of another process: after an unclean stop the valid prefix
//!   goes to a fresh file of the same number, with a footer, which takes the name in one step.
//! - A crash at any point of the repair leaves either file under the name, and both are whole.
//! - What the fresh file does not have, a torn tail, stays in a file set aside.

use super::{
    catalog::Entry,
    log_frame::{FrameHeader, encode_frame},
    reader::{Position, Step, Walk},
    segment::{LogFile, SegmentHeader, Spare, aside_path, log_file, segment_path},
    walked::{Walked, walk_all},
};
use crate::{
    disk::FileSystem,
    error::{Error, Result},
    log::contract::{LogIdentity, Lsn, SegmentInfo},
    planted::planted,
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// What a process found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The first LSN that can be read, or would be.
    pub first_lsn: Lsn,
    /// The last LSN that can be read; before the first if there is none.
    pub last_lsn: Lsn,
    /// The clock of the last frame, in µs since 1970; 0 without one.
    pub last_clock_us: i64,
    /// How many bytes behind the last valid frame were dropped: they began with the LSN after
    /// `last_lsn` and were never durable.
    pub torn_bytes: u64,
    /// The files that still hold those bytes.
    pub set_aside: Vec<PathBuf>,
}

/// A log that was judged good.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) recovered: Recovered,
    pub(super) entries: Vec<Entry>,
    /// The chain value that the next segment begins with.
    pub(super) chain: u64,
    /// The number of the next segment.
    pub(super) next_number: u64,
    /// The last segment, if it has no footer.
    open_end: Option<OpenEnd>,
    spares: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug)]
struct OpenEnd {
    header: SegmentHeader,
    valid: Position,
    torn_bytes: u64,
}

/// Reads all of the log in `directory`, and says what is in it or what is wrong with it.
pub(super) fn judge(
    fs: &dyn FileSystem,
    directory: &Path,
    identity: &LogIdentity,
) -> Result<Judged> {
    let names = fs.read_dir(directory).map_err(Error::io("listing the log", directory))?;
    let (mut numbers, mut spares) = (Vec::new(), Vec::new());
    for entry in names.iter().filter(|entry| !entry.is_directory) {
        match log_file(&entry.name) {
            LogFile::Segment(number) => numbers.push(number),
            LogFile::Spare => spares.push(directory.join(&entry.name)),
            LogFile::Other => {}
        }
    }
    let mut judge = Judge { fs, directory, identity, before: None, judged: Judged::empty(spares) };
    for (index, walked) in walk_all(fs, directory, &numbers).into_iter().enumerate() {
        let number = numbers.get(index).copied().unwrap_or_default();
        judge.segment(number, walked, numbers.get(index + 1).copied())?;
    }
    judge.ends_where_snapshots_say()?;
    Ok(judge.judged)
}

/// Whether a start would find the log in `directory` good. Only reads.
pub(in crate::log) fn judge_log(
    fs: &dyn FileSystem,
    directory: &Path,
    identity: &LogIdentity,
) -> Result<()> {
    judge(fs, directory, identity).map(drop)
}

impl Judged {
    fn empty(spares: Vec<PathBuf>) -> Self {
        let recovered = Recovered { first_lsn: Lsn(1), ..Recovered::default() };
        let entries = Vec::new();
        Self { recovered, entries, chain: 0, next_number: 1, open_end: None, spares }
    }
}

struct Judge<'a> {
    fs: &'a dyn FileSystem,
    directory: &'a Path,
    identity: &'a LogIdentity,
    /// Where the segment before ended.
    before: Option<Position>,
    judged: Judged,
}

impl Judge<'_> {
    /// Judges one segment, of which `later` is the number of the next, if there is one.
    fn segment(&mut self, number: u64, walked: Result<Walked>, later: Option<u64>) -> Result<()> {
        let walked = walked.map_err(|error| self.with_loss(error, later))?;
        let Walked { path, header, .. } = &walked;
        self.follows(number, header, path)?;
        if let Some(clock_us) = walked.clock_us {
            self.judged.recovered.last_clock_us = clock_us;
        }
        let walk = walked.at_end();
        match walked.broken {
            None => self.nothing_follows(&walk, path)?,
            Some(expected) => self.broken(&walk, *header, path, (expected, later))?,
        }
        let at = walk.position;
        let info = SegmentInfo {
            number,
            base_lsn: header.base_lsn,
            last_lsn: at.next_lsn.previous(),
            bytes: at.offset as u64,
            sealed: true,
        };
        self.judged.entries.push(Entry::new(info, path.clone()));
        self.judged.recovered.last_lsn = at.next_lsn.previous();
        self.judged.chain = at.chain;
        self.judged.next_number = number + 1;
        self.before = Some(at);
        Ok(())
    }

    /// Whether a segment is the next one of this store.
    fn follows(&mut self, number: u64, header: &SegmentHeader, path: &Path) -> Result<()> {
        let wrong = |offset, expected| Err(Error::corrupt(path, offset, expected));
        if header.store_id != self.identity.store_id {
            return wrong(16, format!("a segment of store {:032x}", self.identity.store_id));
        }
        if header.number != number {
            return wrong(32, format!("segment {number}, as its name says"));
        }
        let Some(before) = self.before else {
            self.judged.recovered.first_lsn = header.base_lsn;
            let needed = self.identity.kept_after.next();
            if header.base_lsn > needed || header.base_lsn == Lsn(0) {
                let lost = lost(needed, header.base_lsn.previous());
                return wrong(40, format!("LSN {needed} here, older segments are missing, {lost}"));
            }
            return Ok(());
        };
        if number != self.judged.next_number {
            let missing = segment_path(self.directory, self.judged.next_number);
            let lost = lost(before.next_lsn, header.base_lsn.previous());
            return Err(Error::corrupt(missing, 0, format!("a segment; it is missing, {lost}")));
        }
        let is_chained = header.chain_before == before.chain || planted("chain ignored");
        if header.base_lsn != before.next_lsn || !is_chained {
            return wrong(40, format!("the segment that goes on with LSN {}", before.next_lsn));
        }
        Ok(())
    }

    /// The last LSN before segment `later`, if its header tells.
    fn last_before(&self, later: u64) -> Option<Lsn> {
        let path = segment_path(self.directory, later);
        let bytes = self.fs.map(&path).ok()?;
        Some(SegmentHeader::decode(&bytes, &path).ok()?.base_lsn.previous())
    }

    /// Which records go with a segment that cannot be read at all.
    fn with_loss(&self, error: Error, later: Option<u64>) -> Error {
        let Error::Corrupt { path, offset, expected } = error else { return error };
        let from = self.before.map_or(self.identity.kept_after.next(), |before| before.next_lsn);
        let to = later.and_then(|later| self.last_before(later));
        let lost = match to.or(Some(self.identity.reaches)).filter(|to| *to >= from) {
            Some(to) => lost(from, to),
            None => format!("LSN {from} and all after it are lost"),
        };
        Error::corrupt(path, offset, format!("{expected}, {lost}"))
    }

    /// Behind a footer there are only zeros.
    fn nothing_follows(&self, walk: &Walk<'_>, path: &Path) -> Result<()> {
        match walk.rest_bytes() {
            0 => Ok(()),
            _ => Err(Error::corrupt(path, walk.position.offset as u64, "zeros behind the footer")),
        }
    }

    /// A segment without footer: the end of a process that did not close, or damage.
    fn broken(
        &mut self,
        walk: &Walk<'_>,
        header: SegmentHeader,
        path: &Path,
        (expected, later): (&str, Option<u64>),
    ) -> Result<()> {
        let at = walk.position;
        let damaged = |to: Lsn| {
            let lost = lost(at.next_lsn, to);
            Err(Error::corrupt(path, at.offset as u64, format!("{expected}, {lost}")))
        };
        if let Some(later) = later {
            return damaged(self.last_before(later).unwrap_or(at.next_lsn));
        }
        let proven = walk.proven_later().unwrap_or_default().max(self.identity.reaches);
        if proven >= at.next_lsn && !planted("proof of durability ignored") {
            return damaged(proven);
        }
        let torn_bytes = walk.rest_bytes() as u64;
        self.judged.recovered.torn_bytes = torn_bytes;
        self.judged.open_end = Some(OpenEnd { header, valid: at, torn_bytes });
        Ok(())
    }

    /// A log that ends before a snapshot was taken has lost something.
    fn ends_where_snapshots_say(&self) -> Result<()> {
        let LogIdentity { kept_after, reaches, .. } = *self.identity;
        let last = self.judged.recovered.last_lsn;
        if last >= reaches.max(kept_after) {
            return Ok(());
        }
        let path = self.judged.entries.last().map_or(self.directory, |entry| &entry.path);
        let offset = self.judged.entries.last().map_or(0, |entry| entry.info.bytes);
        Err(Error::corrupt(path, offset, format!("more records, {}", lost(last.next(), reaches))))
    }
}

fn lost(from: Lsn, to: Lsn) -> String {
    format!("LSN {from} to {} are lost", to.max(from))
}

/// Makes a judged log ready to go on: its last segment ends with a footer, spares are gone.
pub(super) fn repair(
    fs: &dyn FileSystem,
    directory: &Path,
    judged: &mut Judged,
    salt: u64,
) -> Result<()> {
    for spare in std::mem::take(&mut judged.spares) {
        // A spare never held anything that was acknowledged.
        fs.remove(&spare).map_err(Error::io("removing", &spare))?;
    }
    let Some(open_end) = judged.open_end.take() else {
        return judged.entries.last().map_or(Ok(()), |last| sync_found(fs, directory, &last.path));
    };
    if planted("append after a torn tail") {
        return Ok(());
    }
    let number = open_end.header.number;
    let path = segment_path(directory, number);
    let (content, position) = valid_prefix(fs, &path, &open_end, salt)?;
    let spare = Spare::allocate(fs, directory, number, content.len() as u64)
        .map_err(Error::io("allocating a copy of", &path))?;
    if open_end.torn_bytes > 0 {
        judged.recovered.set_aside.push(set_aside(fs, directory, number)?);
    }
    spare.name(fs, directory, &content)?;
    judged.chain = position.chain;
    if let Some(entry) = judged.entries.last_mut() {
        entry.info.bytes = position.offset as u64;
    }
    Ok(())
}

/// A process that was killed may have written a footer, or named a segment, and not synced it: what
/// is appended from here on must not stand on what a power cut could take away.
fn sync_found(fs: &dyn FileSystem, directory: &Path, path: &Path) -> Result<()> {
    let synced = fs.open_read(path).and_then(|file| file.sync_data());
    synced.map_err(Error::io("syncing the log", path))?;
    fs.sync_dir(directory).map_err(Error::io("syncing the folder", directory))
}

/// The valid frames of a segment as a complete segment of its own, and where that ends.
fn valid_prefix(
    fs: &dyn FileSystem,
    path: &Path,
    open_end: &OpenEnd,
    salt: u64,
) -> Result<(Vec<u8>, Position)> {
    let bytes = fs.map(path).map_err(Error::io("reading the log", path))?;
    let header = SegmentHeader { salt, ..open_end.header };
    let mut content = header.encode();
    let mut walk = Walk::new(&bytes, open_end.header, Position::start_of(&header));
    let mut to = Position::start_of(&header);
    let last_lsn = open_end.valid.next_lsn.previous();
    let mut clock_us = 0;
    while walk.position.offset < open_end.valid.offset {
        let offset = walk.position.offset as u64;
        let damaged = |expected| Error::corrupt(path, offset, expected);
        let Step::Frame(frame) = walk.step() else {
            return Err(damaged("the frame that was there a moment ago"));
        };
        let raw = frame.raw().map_err(damaged)?;
        clock_us = frame.header.clock_us;
        // All of the copy is synced before it has a name.
        let header = FrameHeader { durable_lsn: last_lsn, chain_before: to.chain, ..frame.header };
        to = push_frame(&mut content, open_end.header.number, salt, to, (&header, &raw));
    }
    let footer = FrameHeader {
        first_lsn: to.next_lsn,
        count: 0,
        is_footer: true,
        durable_lsn: last_lsn,
        clock_us,
        chain_before: to.chain,
    };
    if !planted("repaired without footer") {
        to = push_frame(&mut content, open_end.header.number, salt, to, (&footer, &[]));
    }
    Ok((content, to))
}

/// Appends a frame at `at`; where the next one begins.
pub(super) fn push_frame(
    content: &mut Vec<u8>,
    segment: u64,
    salt: u64,
    at: Position,
    (header, raw): (&FrameHeader, &[u8]),
) -> Position {
    let place = super::log_frame::Place { salt, segment, offset: at.offset as u64 };
    let chain = encode_frame(header, raw, place, content);
    let next_lsn = header.first_lsn.after(u64::from(header.count));
    Position { offset: content.len(), next_lsn, chain }
}

/// Gives what was found as a segment one more name, for whoever wants to look.
fn set_aside(fs: &dyn FileSystem, directory: &Path, number: u64) -> Result<PathBuf> {
    let path = segment_path(directory, number);
    let mut copy = 0;
    loop {
        let aside = aside_path(directory, number, copy);
        match fs.hard_link(&path, &aside) {
            Ok(()) => {
                fs.sync_dir(directory).map_err(Error::io("syncing the folder", directory))?;
                return Ok(aside);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => copy += 1,
            Err(error) => return Err(Error::io("setting aside", &path)(error)),
        }
    }
}
