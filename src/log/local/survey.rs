//! Reads every frame and every record of a log, and tells of all that is wrong, not of the first.
//!
//! Behind a damaged frame it goes on with the next one that is valid by itself. What is damage and
//! what is the torn tail of a process that was killed is judged as `recovery.rs` judges it, which
//! `survey_tests.rs` holds; so what is found good here opens.

use super::{
    log_frame::Frame,
    reader::{Position, Step, Walk},
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_path},
};
use crate::{
    error::{Error, Result},
    log::{
        contract::{LogIdentity, Lsn, SegmentInfo},
        examination::{Examination, SegmentReport},
    },
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// A log to be looked at.
pub(in crate::log) struct Survey<'a> {
    /// Where it is.
    pub(in crate::log) directory: &'a Path,
    /// What it must fit; `None` if there is no manifest that tells.
    pub(in crate::log) identity: Option<LogIdentity>,
    /// Its segments, oldest first.
    pub(in crate::log) parts: Vec<Part>,
    /// Whether a running log has given up segment `n` by now.
    pub(in crate::log) is_trimmed: &'a dyn Fn(u64) -> bool,
}

/// A segment to be looked at.
#[derive(Clone, Copy, Debug)]
pub(in crate::log) struct Part {
    number: u64,
    /// So much of it is written; more may follow. Only of the segment of a running log.
    open_bytes: Option<u64>,
}

impl Part {
    /// A segment that nobody writes to.
    pub(in crate::log) fn at_rest(number: u64) -> Self {
        Self { number, open_bytes: None }
    }

    /// A segment of a running log.
    pub(in crate::log) fn of_running(info: &SegmentInfo) -> Self {
        Self { number: info.number, open_bytes: (!info.sealed).then_some(info.bytes) }
    }
}

impl Survey<'_> {
    /// Looks at all of it.
    pub(in crate::log) fn run(&self, examination: &mut Examination<'_>) {
        let headers = self.parts.iter().map(|part| self.header(examination, part)).collect();
        let mut surveyor =
            Surveyor { survey: self, examination, headers, before: None, is_shorter: false };
        for (index, part) in self.parts.iter().enumerate() {
            surveyor.segment(index, *part);
        }
        surveyor.ends_where_snapshots_say();
    }

    /// What a segment says at its start, if that is whole.
    fn header(&self, examination: &Examination<'_>, part: &Part) -> Option<SegmentHeader> {
        let path = segment_path(self.directory, part.number);
        let file = examination.fs.open_read(&path).ok()?;
        SegmentHeader::decode(&file.read_up_to(SEGMENT_HEADER_BYTES as u64).ok()?, &path).ok()
    }
}

struct Surveyor<'a, 'e> {
    survey: &'a Survey<'a>,
    examination: &'a mut Examination<'e>,
    headers: Vec<Option<SegmentHeader>>,
    before: Option<Before>,
    /// Whether segments at the start were given up meanwhile.
    is_shorter: bool,
}

/// The segment before.
struct Before {
    number: u64,
    /// Where it ended; `None` if that is not known, which was told.
    end: Option<Position>,
}

/// A segment that is being read.
struct Reading<'a> {
    path: &'a Path,
    report: SegmentReport,
    /// The last record before the next segment, if there is one and it tells.
    before_next: Option<Lsn>,
    is_last: bool,
    open_bytes: Option<u64>,
}

impl Surveyor<'_, '_> {
    fn segment(&mut self, index: usize, part: Part) {
        let path = segment_path(self.survey.directory, part.number);
        let bytes = match self.read(&path, part) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                // Those before it are gone as well, though they were read.
                (self.before, self.is_shorter) = (None, true);
                return;
            }
            Err(error) => return self.is_lost(index, part, &path, error),
        };
        let header = match SegmentHeader::decode(&bytes, &path) {
            Ok(header) => header,
            Err(error) => return self.is_lost(index, part, &path, error),
        };
        let end = if self.follows(part.number, &header, &path) {
            let reading = Reading {
                path: &path,
                report: SegmentReport {
                    number: part.number,
                    first_lsn: header.base_lsn,
                    last_lsn: header.base_lsn.previous(),
                    frames: 0,
                    records: 0,
                    bytes: 0,
                    is_sealed: false,
                },
                before_next: self.next_base(index).map(Lsn::previous),
                is_last: index + 1 == self.survey.parts.len(),
                open_bytes: part.open_bytes,
            };
            self.frames(reading, Walk::new(&bytes, header, Position::start_of(&header)))
        } else {
            None
        };
        self.before = Some(Before { number: part.number, end });
    }

    /// The bytes of a segment; `None` if a running log has given it up by now. They are read, not
    /// mapped: a page that the disk cannot read would end the process.
    fn read(&mut self, path: &Path, part: Part) -> Result<Option<Vec<u8>>> {
        let opened = self.examination.fs.open_read(path);
        let read = opened.and_then(|file| file.read_up_to(part.open_bytes.unwrap_or(u64::MAX)));
        match read {
            Ok(bytes) => {
                self.examination.has_read(bytes.len() as u64);
                Ok(Some(bytes))
            }
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && (self.survey.is_trimmed)(part.number) =>
            {
                Ok(None)
            }
            Err(error) => Err(Error::io("reading the log", path)(error)),
        }
    }

    /// Tells of a segment of which nothing can be read.
    fn is_lost(&mut self, index: usize, part: Part, path: &Path, error: Error) {
        let kept_after = self.survey.identity.map(|identity| identity.kept_after);
        let from = match &self.before {
            Some(before) => before.end.map(|end| end.next_lsn),
            None => kept_after.map(Lsn::next),
        };
        let reaches = self.survey.identity.map(|identity| identity.reaches);
        let to = self.next_base(index).map(Lsn::previous).or(reaches);
        let lsns = from.zip(to).filter(|(from, to)| to >= from);
        self.examination.failed(path, error, lsns);
        self.before = Some(Before { number: part.number, end: None });
    }

    /// The LSN that the next segment begins with.
    fn next_base(&self, index: usize) -> Option<Lsn> {
        self.headers.get(index + 1)?.as_ref().map(|header| header.base_lsn)
    }

    /// Whether a segment is of this store and what its name says; tells if it does not follow the
    /// one before.
    fn follows(&mut self, number: u64, header: &SegmentHeader, path: &Path) -> bool {
        let store_id = self.survey.identity.map(|identity| identity.store_id);
        if let Some(store_id) = store_id.filter(|store_id| *store_id != header.store_id) {
            let expected = format!("a segment of store {store_id:032x}");
            self.examination.damage(path, 16, expected, None);
            return false;
        }
        if header.number != number {
            let expected = format!("segment {number}, as its name says");
            self.examination.damage(path, 32, expected, None);
            return false;
        }
        let base = header.base_lsn;
        let Some(before) = &self.before else {
            let needed = self.survey.identity.map_or(base, |identity| identity.kept_after.next());
            if (base > needed && !self.is_shorter) || base == Lsn(0) {
                let lsns = (base > needed).then_some((needed, base.previous()));
                let expected = format!("LSN {needed} or earlier: older segments are missing");
                self.examination.damage(path, 40, expected, lsns);
            }
            return true;
        };
        let next_lsn = before.end.map(|end| end.next_lsn);
        let between = next_lsn.filter(|next| *next < base).map(|next| (next, base.previous()));
        if number != before.number.saturating_add(1) {
            let missing = segment_path(self.survey.directory, before.number.saturating_add(1));
            let expected = match number.saturating_sub(before.number) {
                2 => "a segment; it is missing".to_owned(),
                more => format!("segments; this and {} more are missing", more.saturating_sub(2)),
            };
            self.examination.damage(missing, 0, expected, between);
            return true;
        }
        match before.end {
            Some(end) if (base, header.chain_before) != (end.next_lsn, end.chain) => {
                let expected = format!("the segment that goes on with LSN {}", end.next_lsn);
                self.examination.damage(path, 40, expected, between);
            }
            _ => {}
        }
        true
    }

    /// Reads the frames of a segment; where they end, or `None` if that is not known.
    fn frames(&mut self, mut reading: Reading<'_>, mut walk: Walk<'_>) -> Option<Position> {
        let mut end = None;
        loop {
            let at = walk.position;
            match walk.step() {
                Step::Frame(frame) => self.frame(&mut reading, at.offset as u64, &frame),
                Step::Footer => {
                    reading.report.is_sealed = true;
                    end = Some(walk.position);
                    if walk.rest_bytes() > 0 {
                        let expected = "zeros behind the footer";
                        let offset = walk.position.offset as u64;
                        self.examination.damage(reading.path, offset, expected, None);
                    }
                    break;
                }
                Step::Broken(expected) => match self.broken(&reading, &mut walk, expected) {
                    Broken::GoesOn => {}
                    Broken::Ends => {
                        end = Some(at);
                        break;
                    }
                    Broken::Lost => break,
                },
            }
        }
        reading.report.last_lsn = walk.position.next_lsn.previous();
        reading.report.bytes = walk.position.offset as u64;
        self.examination.report.segments.push(reading.report);
        end
    }

    fn frame(&mut self, reading: &mut Reading<'_>, offset: u64, frame: &Frame<'_>) {
        let (first, next) = (frame.header.first_lsn, frame.next_lsn());
        reading.report.frames += 1;
        let records = match frame.records() {
            Ok(records) => records,
            Err(expected) => {
                let lsns = Some((first, next.previous()));
                return self.examination.damage(reading.path, offset, expected, lsns);
            }
        };
        reading.report.records += u64::from(frame.header.count);
        for (lsn, record) in records {
            if let Err(why) = (self.examination.decoders.record)(&record) {
                let expected = format!("record {lsn} in the format of this version ({why})");
                self.examination.damage(reading.path, offset, expected, Some((lsn, lsn)));
            }
        }
    }

    /// What it means that no valid frame follows, and where to go on.
    fn broken(&mut self, reading: &Reading<'_>, walk: &mut Walk<'_>, expected: &str) -> Broken {
        let (at, rest_bytes) = (walk.position, walk.rest_bytes() as u64);
        let offset = at.offset as u64;
        let lost_to = match reading.open_bytes {
            Some(open_bytes) if open_bytes == offset => return Broken::Ends,
            _ if !reading.is_last => reading.before_next,
            Some(_) => None,
            None => {
                let reaches = self.survey.identity.map_or(Lsn(0), |identity| identity.reaches);
                let proven = walk.proven_later().unwrap_or_default().max(reaches);
                if proven < at.next_lsn {
                    self.tell_of_unclean_end(reading, at, rest_bytes);
                    return Broken::Ends;
                }
                Some(proven)
            }
        };
        let goes_on = walk.skip_to_valid();
        let to = if goes_on { Some(walk.position.next_lsn.previous()) } else { lost_to };
        let lsns = to.filter(|to| *to >= at.next_lsn).map(|to| (at.next_lsn, to));
        self.examination.damage(reading.path, offset, expected, lsns);
        if goes_on { Broken::GoesOn } else { Broken::Lost }
    }

    /// The process that wrote the last segment did not close it.
    fn tell_of_unclean_end(&mut self, reading: &Reading<'_>, at: Position, rest_bytes: u64) {
        let next = at.next_lsn;
        let what = match rest_bytes {
            0 => "no footer: the log was not closed, and ends with a whole frame".to_owned(),
            _ => format!(
                "a torn tail of {rest_bytes} bytes, which began with LSN {next} and was never \
                 durable: the next start drops it and keeps a copy"
            ),
        };
        self.examination.note(reading.path, at.offset as u64, what);
    }

    /// A log that ends before a snapshot was taken has lost something.
    fn ends_where_snapshots_say(&mut self) {
        let Some(LogIdentity { kept_after, reaches, .. }) = self.survey.identity else { return };
        let reaches = reaches.max(kept_after);
        let last = match &self.before {
            Some(Before { end: None, .. }) => return, // which was told
            Some(Before { end: Some(end), .. }) => end.next_lsn.previous(),
            None if self.is_shorter => return,
            None => Lsn(0),
        };
        if last < reaches {
            let directory = || self.survey.directory.to_path_buf();
            let path = |number| segment_path(self.survey.directory, number);
            let path: PathBuf = self.before.as_ref().map_or_else(directory, |b| path(b.number));
            let end = self.before.as_ref().and_then(|before| before.end);
            let offset = end.map_or(0, |end| end.offset as u64);
            let expected = format!("more records, up to LSN {reaches}, as a snapshot proves");
            self.examination.damage(path, offset, expected, Some((last.next(), reaches)));
        }
    }
}

/// What it means that no valid frame follows.
enum Broken {
    /// Damage, and the walk goes on behind it.
    GoesOn,
    /// Damage, and nothing can be read behind it.
    Lost,
    /// It may end here.
    Ends,
}
