//! Reads one file of a snapshot: a shard, or the meta file.
//!
//! ```text
//! header │ block │ block │ ... │ footer │ end of the file
//! ```
//! Behind the preamble (`disk/frame.rs`, magic "NTsn"), little-endian:
//!
//! ```text
//! offset  size  field
//!     16     8  snapshot id
//!     24    16  store id
//!     40     4  this is shard i ...
//!     44     4  ... of n; the meta file is i = n
//!     48     8  LSN: the log goes on after it
//! ```
//! The payload of the footer block: number of entries, 8 bytes; state digest, 16; last LSN that may
//! be in it, 8.
//!
//! Invariants
//! - No entry is given out before the checksum of its block was found right.
//! - A file is whole only if count and digest of what was read are those of its footer, and nothing
//!   stands behind that.

use super::block::{BlockPlace, decode_block};
use crate::{
    disk::{
        FileSystem, Mapped,
        frame::{Fields, Kind, decode_header, encode_header},
    },
    error::{Error, Result},
    log::{contract::Lsn, digest::StateDigest, manifest::ListedFile},
    planted::planted,
};
use std::path::{Path, PathBuf};

/// The length of the header, and the offset of the first block.
pub(super) const HEADER_BYTES: usize = 56;

const KIND: Kind =
    Kind { magic: *b"NTsn", version: 1, feature_bits_known: 0, name: "a snapshot file" };

/// What all files of a snapshot say at their start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// Counts up.
    pub snapshot_id: u64,
    /// Which store it belongs to.
    pub store_id: u128,
    /// The number of shards, without the meta file.
    pub shards: u32,
    /// All records up to here are in it: the log goes on after this LSN.
    pub lsn: Lsn,
}

impl SnapshotHeader {
    pub(super) fn encode(&self, shard: u32) -> Vec<u8> {
        let mut body = self.snapshot_id.to_le_bytes().to_vec();
        body.extend_from_slice(&self.store_id.to_le_bytes());
        body.extend_from_slice(&shard.to_le_bytes());
        body.extend_from_slice(&self.shards.to_le_bytes());
        body.extend_from_slice(&self.lsn.0.to_le_bytes());
        encode_header(&KIND, 0, &body)
    }

    pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<(Self, u32)> {
        let mut fields = decode_header(&KIND, bytes, path)?;
        let mut read = || {
            let (snapshot_id, store_id) = (fields.u64()?, fields.u128()?);
            let (shard, shards) = (fields.u32()?, fields.u32()?);
            let lsn = Lsn(fields.u64()?);
            Some((Self { snapshot_id, store_id, shards, lsn }, shard))
        };
        let header = read().filter(|(header, shard)| *shard <= header.shards);
        header.ok_or_else(|| Error::corrupt(path, 0, "a whole snapshot header"))
    }
}

/// What a whole file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// The number of entries.
    pub entries: u64,
    /// The digest of all entries.
    pub digest: StateDigest,
    /// Records up to here may be in it.
    pub last_lsn: Lsn,
}

impl SnapshotSummary {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut payload = self.entries.to_le_bytes().to_vec();
        payload.extend_from_slice(&self.digest.0.to_le_bytes());
        payload.extend_from_slice(&self.last_lsn.0.to_le_bytes());
        payload
    }

    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(payload);
        let (entries, digest) = (fields.u64()?, StateDigest(fields.u128()?));
        let last_lsn = Lsn(fields.u64()?);
        fields.rest().is_empty().then_some(Self { entries, digest, last_lsn })
    }
}

/// A file of a snapshot, mapped, its hash verified.
#[derive(Debug)]
pub struct SnapshotFile {
    path: PathBuf,
    bytes: Mapped,
    header: SnapshotHeader,
    shard: u32,
}

impl SnapshotFile {
    /// Opens a listed file below `root`; an error if it is not exactly the listed one.
    pub fn open(fs: &dyn FileSystem, root: &Path, listed: &ListedFile) -> Result<Self> {
        let path = root.join(&listed.name);
        let bytes = fs.map(&path).map_err(Error::io("reading the snapshot", &path))?;
        let is_right = *blake3::hash(&bytes).as_bytes() == listed.hash;
        let is_right = is_right || planted("snapshot unverified");
        if bytes.len() as u64 != listed.bytes || !is_right {
            let hash = blake3::Hash::from(listed.hash);
            let expected =
                format!("{} bytes with blake3 {hash}, as the manifest says", listed.bytes);
            return Err(Error::corrupt(path, 0, expected));
        }
        let (header, shard) = SnapshotHeader::decode(&bytes, &path)?;
        Ok(Self { path, bytes, header, shard })
    }

    /// What it says at its start.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// Which shard it is; `None` for the meta file.
    pub fn shard(&self) -> Option<u32> {
        (self.shard < self.header.shards).then_some(self.shard)
    }

    /// The header it would have as a file of another store, and all that follows the header.
    pub(super) fn of_store(&self, store_id: u128) -> (Vec<u8>, &[u8]) {
        let header = SnapshotHeader { store_id, ..self.header };
        (header.encode(self.shard), self.bytes.get(HEADER_BYTES..).unwrap_or_default())
    }

    /// Gives every entry, in the order it was added, to `take`; an error of `take` ends it.
    pub fn for_each(&self, take: impl FnMut(&[u8]) -> Result<()>) -> Result<SnapshotSummary> {
        read_entries(&self.bytes, &self.path, &self.header, (self.shard, true), take)
    }

    /// As [`Self::for_each`], without the digest of the entries: the hash of all bytes, found right
    /// when the file was opened, says the same, and whoever loads has no time for both.
    pub fn load_each(&self, take: impl FnMut(&[u8]) -> Result<()>) -> Result<SnapshotSummary> {
        read_entries(&self.bytes, &self.path, &self.header, (self.shard, false), take)
    }
}

fn read_entries(
    bytes: &[u8],
    path: &Path,
    header: &SnapshotHeader,
    (shard, is_summed): (u32, bool),
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<SnapshotSummary> {
    let mut offset = HEADER_BYTES;
    let mut read = SnapshotSummary::default();
    loop {
        let damaged = |expected| Error::corrupt(path, offset as u64, expected);
        let place = BlockPlace { snapshot_id: header.snapshot_id, shard, offset: offset as u64 };
        let rest = bytes.get(offset..).unwrap_or_default();
        let block = decode_block(rest, place).map_err(damaged)?;
        if block.is_footer {
            let footer = SnapshotSummary::decode(&block.raw);
            let footer = footer.ok_or_else(|| damaged("a whole footer"))?;
            read.last_lsn = footer.last_lsn;
            if !is_summed {
                read.digest = footer.digest;
            }
            let is_right = read == footer || planted("snapshot unverified");
            if !is_right || rest.len() != block.bytes {
                return Err(damaged("the footer of these entries, and nothing behind it"));
            }
            return Ok(footer);
        }
        let entries = block.for_each_entry(|entry| {
            if is_summed {
                read.digest.add(entry);
            }
            take(entry)
        });
        entries?.map_err(damaged)?;
        read.entries += u64::from(block.count);
        offset += block.bytes;
    }
}

/// What a snapshot file holds, from its bytes alone. Total: for fuzzing and for tools.
pub fn read_snapshot_bytes(bytes: &[u8]) -> Result<SnapshotSummary> {
    let path = Path::new("bytes");
    let (header, shard) = SnapshotHeader::decode(bytes, path)?;
    read_entries(bytes, path, &header, (shard, true), |_| Ok(()))
}
