//! What a look at everything found: kept as it is found, told at the end.
//!
//! Invariants
//! - Nothing here changes anything on disk, and nothing that is found ends the look.

use super::{contract::Lsn, digest::StateDigest};
use crate::{
    disk::FileSystem,
    error::{Error, Result},
};
use std::{fmt, io, path::PathBuf};

/// How bad something is that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is wrong, but whoever looks wants to know.
    Note,
    /// It could not be read, so nobody knows.
    Unread,
    /// It is not what was written.
    Damage,
}

impl Severity {
    /// `note`, `unread` or `damage`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Unread => "unread",
            Self::Damage => "damage",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// In which file or folder.
    pub path: PathBuf,
    /// Where in it, in bytes from its start.
    pub offset: u64,
    /// What is there, or what was expected to be.
    pub what: String,
    /// The first and the last record that cannot be read here; `None` if none is known to be lost.
    pub lsns: Option<(Lsn, Lsn)>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, path, offset, what, lsns } = self;
        write!(f, "{}: {} at byte {offset}: {what}", severity.name(), path.display())?;
        match lsns {
            Some((from, to)) => write!(f, "; affects LSN {from} to {to}"),
            None => Ok(()),
        }
    }
}

/// One segment of the log as far as it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its number.
    pub number: u64,
    /// Its first LSN, or the one it would hold.
    pub first_lsn: Lsn,
    /// Its last LSN; before the first if it has none.
    pub last_lsn: Lsn,
    /// How many frames are valid, the footer aside.
    pub frames: u64,
    /// How many records these hold.
    pub records: u64,
    /// How many bytes are written.
    pub bytes: u64,
    /// Whether it ends with a footer.
    pub is_sealed: bool,
}

/// One generation of snapshots as far as it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationReport {
    /// Its number.
    pub snapshot_id: u64,
    /// The log goes on after this LSN.
    pub lsn: Lsn,
    /// Records up to here may be in it.
    pub last_lsn: Lsn,
    /// How many files it has.
    pub files: u64,
    /// How long they are together.
    pub bytes: u64,
    /// How many rows were read.
    pub entries: u64,
    /// The digest of the rows that were read.
    pub digest: StateDigest,
}

/// All that was looked at, and all that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Which store it is; `None` if the manifest does not tell.
    pub store_id: Option<u128>,
    /// The number of the manifest; `None` if there is none that can be read.
    pub manifest: Option<u64>,
    /// The generations that the manifest lists, newest first.
    pub generations: Vec<GenerationReport>,
    /// The segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// How many bytes were read.
    pub bytes: u64,
    /// What was found, in the order of reading.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The worst of what was found; a note if nothing was.
    pub fn worst(&self) -> Severity {
        self.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Note)
    }

    /// How many frames of the log are valid.
    pub fn frames(&self) -> u64 {
        self.segments.iter().map(|segment| segment.frames).sum()
    }

    /// How many records of the log can be read.
    pub fn records(&self) -> u64 {
        self.segments.iter().map(|segment| segment.records).sum()
    }

    /// The first and the last LSN of the log; `None` if it has no segment.
    pub fn lsns(&self) -> Option<(Lsn, Lsn)> {
        Some((self.segments.first()?.first_lsn, self.segments.last()?.last_lsn))
    }
}

/// What records and entries must be, which is known further up: each gives the reason why the bytes
/// are none of ours.
#[derive(Clone, Copy, Debug)]
pub struct Decoders {
    /// Of a record of the log.
    pub record: fn(&[u8]) -> Result<(), String>,
    /// Of an entry of a shard.
    pub row: fn(&[u8]) -> Result<(), String>,
    /// Of an entry of the meta file.
    pub meta: fn(&[u8]) -> Result<(), String>,
}

/// Hears how many bytes were read, of how many.
pub type Progress<'a> = &'a dyn Fn(u64, u64);

/// A look at everything, under way.
pub(super) struct Examination<'a> {
    pub(super) fs: &'a dyn FileSystem,
    pub(super) decoders: &'a Decoders,
    pub(super) progress: Progress<'a>,
    pub(super) total_bytes: u64,
    pub(super) report: Report,
}

impl<'a> Examination<'a> {
    pub(super) fn new(
        fs: &'a dyn FileSystem,
        decoders: &'a Decoders,
        progress: Progress<'a>,
    ) -> Self {
        Self { fs, decoders, progress, total_bytes: 0, report: Report::default() }
    }

    /// Notes that so many bytes more were read.
    pub(super) fn has_read(&mut self, bytes: u64) {
        self.report.bytes += bytes;
        (self.progress)(self.report.bytes, self.total_bytes.max(self.report.bytes));
    }

    pub(super) fn find(
        &mut self,
        severity: Severity,
        path: impl Into<PathBuf>,
        offset: u64,
        what: impl Into<String>,
        lsns: Option<(Lsn, Lsn)>,
    ) {
        let (path, what) = (path.into(), what.into());
        self.report.findings.push(Finding { severity, path, offset, what, lsns });
    }

    pub(super) fn damage(
        &mut self,
        path: impl Into<PathBuf>,
        offset: u64,
        expected: impl fmt::Display,
        lsns: Option<(Lsn, Lsn)>,
    ) {
        self.find(Severity::Damage, path, offset, format!("expected {expected}"), lsns);
    }

    pub(super) fn note(&mut self, path: impl Into<PathBuf>, offset: u64, what: impl Into<String>) {
        self.find(Severity::Note, path, offset, what, None);
    }

    /// Notes an error about `path`. What a newer nowthen wrote is no damage, and not ours to judge;
    /// but it stops a start like damage.
    pub(super) fn failed(
        &mut self,
        path: impl Into<PathBuf>,
        error: Error,
        lsns: Option<(Lsn, Lsn)>,
    ) {
        match error {
            Error::Corrupt { path, offset, expected } => self.damage(path, offset, expected, lsns),
            Error::Refused { why, .. } => self.find(Severity::Damage, path, 0, why, lsns),
            Error::Io { path, source, .. } if source.kind() == io::ErrorKind::NotFound => {
                self.damage(path, 0, "it to be there; it is missing", lsns);
            }
            Error::Io { doing, path, source } => {
                self.find(Severity::Unread, path, 0, format!("{doing}: {source}"), lsns);
            }
        }
    }
}
