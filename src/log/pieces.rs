//! What a file of a store is made of, as it is told piece by piece.

use super::{
    contract::Lsn,
    digest::StateDigest,
    manifest::{Generation, History},
};
use crate::error::Result;

/// The header of a segment of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// Which store it belongs to.
    pub store_id: u128,
    /// Its number.
    pub number: u64,
    /// The LSN of its first record.
    pub base_lsn: Lsn,
    /// The seed of its checksums.
    pub salt: u64,
    /// The chain value of the segment before.
    pub chain_before: u64,
}

/// The header of a file of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotHead {
    /// The number of the snapshot.
    pub snapshot_id: u64,
    /// Which store it belongs to.
    pub store_id: u128,
    /// Which shard it is; the number of shards for the meta file.
    pub shard: u32,
    /// How many shards there are.
    pub shards: u32,
    /// The log goes on after this LSN.
    pub lsn: Lsn,
}

/// A piece of a file.
#[derive(Debug)]
pub enum Piece<'a> {
    /// A segment begins.
    Segment(SegmentHead),
    /// A record.
    Record {
        /// Where its frame begins.
        offset: u64,
        /// Its number.
        lsn: Lsn,
        /// The clock of its frame, in µs since 1970.
        clock_us: i64,
        /// Its bytes.
        record: &'a [u8],
    },
    /// A segment ends as it should.
    Footer {
        /// Where.
        offset: u64,
        /// The last record of the log at that moment.
        last_lsn: Lsn,
    },
    /// A segment ends without a footer: nothing proves that what follows was ever durable.
    Open {
        /// Where.
        offset: u64,
        /// The number of the record that would follow.
        next_lsn: Lsn,
        /// How many bytes follow, up to the last that is not zero.
        rest_bytes: u64,
    },
    /// A file of a snapshot begins.
    Snapshot(SnapshotHead),
    /// An entry.
    Entry {
        /// Where its block begins.
        offset: u64,
        /// Whether it is one of the meta file.
        is_meta: bool,
        /// Its bytes.
        entry: &'a [u8],
    },
    /// A file of a snapshot ends, and says so much of its entries.
    SnapshotEnd {
        /// Where its footer begins.
        offset: u64,
        /// How many there are.
        entries: u64,
        /// Their digest.
        digest: StateDigest,
        /// Records up to here may be in it.
        last_lsn: Lsn,
    },
    /// A manifest: its number, its store, its snapshots and its history.
    Manifest(u64, u128, &'a [Generation], &'a History),
    /// Not what was written.
    Damage {
        /// Where.
        offset: u64,
        /// What was expected there.
        expected: String,
    },
}

/// Hears of each piece; gives `false` to hear no more.
pub type Take<'a> = &'a mut dyn FnMut(Piece<'_>) -> Result<bool>;
