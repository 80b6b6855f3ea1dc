//! What any log promises: one order of truth for table, commands and join.
//!
//! ```text
//! append ─> Lsn 1, 2, 3 ...      durable ────┐           last ──┐
//!           ├────────────────────────────────┤──────────────────┤
//!           first                            survives a crash   not yet
//! ```
//! Invariants
//! - LSNs count records from 1 without a gap; a record keeps its LSN for ever.
//! - What was durable is read back after any crash, in this order, and nothing else is, except
//!   records that were appended and not yet durable: of those a prefix.
//! - After a failed write or sync nothing is accepted any more: the outcome is unknown.
//!
//! One suite, `conformance.rs`, holds every implementation to this.

use crate::error::Result;
use std::{fmt, time::Instant};

/// The number of a record in the log, from 1; 0 stands before all records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The LSN after this one.
    pub fn next(self) -> Self {
        self.after(1)
    }

    /// The LSN that many records later.
    pub fn after(self, records: u64) -> Self {
        Self(self.0.saturating_add(records))
    }

    /// The LSN before this one; 0 stays.
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Records in order, each with its LSN.
pub type Records<'a> = Box<dyn Iterator<Item = Result<(Lsn, Vec<u8>)>> + 'a>;

/// A log.
pub trait Log: Send + Sync {
    /// Takes a record into the order. It is durable once [`Self::durable`] has reached its LSN.
    ///
    /// `NOSPACE`: the disk is full, nothing was taken, later it may work. `IOERR`: a write or sync
    /// failed, and nothing will be taken any more.
    fn append(&self, record: &[u8]) -> Result<Lsn>;

    /// As [`Self::append`], but nobody is in a hurry: it is written when somebody asks, by
    /// [`Self::write_soon`], an append, a flush or the end, or when much waits. So those who write
    /// at the same time share one write.
    fn append_unhurried(&self, record: &[u8]) -> Result<Lsn>;

    /// Has all that was appended so far written, and synced as the mode says, without waiting.
    fn write_soon(&self);

    /// Lets the next record begin a new segment, so that all before it can be given up.
    fn roll(&self);

    /// Whether less waits to be written than the options allow; whoever appends should wait if not.
    /// Of a log that takes nothing any more, nobody need wait to hear that.
    fn has_room(&self) -> bool;

    /// The last LSN that a crash cannot take back, in the sense of the log's
    /// [`super::Durability`].
    fn durable(&self) -> Lsn;

    /// The last LSN given out.
    fn last(&self) -> Lsn;

    /// The records from `from` on that may be acknowledged: in mode `always` those that are
    /// synced, in the others those that are written. An error if they begin later.
    fn read(&self, from: Lsn) -> Result<Records<'_>>;

    /// Gives up records before `to`: as many whole segments from the start as hold only such.
    fn trim(&self, to: Lsn) -> Result<()>;

    /// What the log is made of.
    fn segments(&self) -> Vec<SegmentInfo>;

    /// How the log is.
    fn status(&self) -> LogStatus;

    /// How long the longest sync took since this was last asked, in ns; 0 if there was none.
    fn take_longest_sync_ns(&self) -> u64;

    /// Waits until all that was appended so far is synced, in every mode.
    fn flush(&self) -> Result<()> {
        self.flush_until(None).map(drop)
    }

    /// Asks for a sync of all that was appended so far, in every mode, and waits for it until
    /// `deadline`, if there is one; whether it is synced.
    fn flush_until(&self, deadline: Option<Instant>) -> Result<bool>;

    /// Takes nothing any more: nobody knows what is on the disk.
    fn poison(&self, why: &str);

    /// Writes and syncs all that was appended, marks the end as clean and takes nothing more.
    fn close(&self) -> Result<()>;
}

/// One part of a log, removed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Counts up without a gap.
    pub number: u64,
    /// The LSN of its first record, or of the one it would hold.
    pub base_lsn: Lsn,
    /// The LSN of its last record; before `base_lsn` if it has none.
    pub last_lsn: Lsn,
    /// How much of it is written.
    pub bytes: u64,
    /// Whether nothing will be added.
    pub sealed: bool,
}

/// What the rest of the data directory says about the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogIdentity {
    /// Which store it must belong to.
    pub store_id: u128,
    /// The LSN of the oldest snapshot kept: records after it must be here. 0 without a snapshot.
    pub kept_after: Lsn,
    /// The LSN up to which the newest snapshot proves the log to have been durable.
    pub reaches: Lsn,
}

/// How a log is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStatus {
    /// The first LSN that can be read, or would be.
    pub first: Lsn,
    /// See [`Log::durable`].
    pub durable: Lsn,
    /// The last LSN known to be on the disk, which in mode `never` is before `durable`.
    pub synced: Lsn,
    /// See [`Log::last`].
    pub last: Lsn,
    /// What waits to be written.
    pub queued_bytes: usize,
    /// The length of all segments, as far as written.
    pub bytes: u64,
    /// How many syncs there were.
    pub sync_count: u64,
    /// When the last sync returned, in µs since 1970; 0 for never.
    pub last_sync_us: i64,
    /// Whether the last attempt to get more space failed.
    pub out_of_space: bool,
    /// Why nothing is taken any more, if so.
    pub poisoned: Option<String>,
}
