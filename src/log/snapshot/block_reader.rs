//! Reads a snapshot file block by block, and goes on behind a damaged one.
//!
//! Invariants
//! - Memory is bounded by the longest block. Nothing is mapped: a page that the disk cannot read is
//!   an error here, and would be the end of a process that maps it.

use super::{
    block::{BLOCK_HEADER_BYTES, Block, BlockPlace, HEAD_EXPECTED, block_bytes, decode_block},
    snapshot_file::{HEADER_BYTES, SnapshotHeader},
};
use crate::{
    disk::{File, FileSystem},
    error::{Error, Result},
    parallel::give_way,
};
use std::path::{Path, PathBuf};

/// A snapshot file, open at one of its blocks.
pub(in crate::log) struct BlockReader {
    file: Box<dyn File>,
    path: PathBuf,
    header: SnapshotHeader,
    shard: u32,
    file_bytes: u64,
    offset: u64,
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
}

/// What stands at the place of a block.
pub(in crate::log) enum Found<'a> {
    /// A block.
    Block(Block<'a>),
    /// What was expected, and whether the next block can be found nevertheless.
    Broken(&'static str, bool),
}

impl BlockReader {
    /// Opens a snapshot file at its first block.
    pub(in crate::log) fn open(fs: &dyn FileSystem, path: &Path) -> Result<Self> {
        let file = fs.open_read(path).map_err(Error::io("reading the snapshot", path))?;
        let head = file.read_up_to(HEADER_BYTES as u64);
        let head = head.map_err(Error::io("reading the snapshot", path))?;
        let file_bytes = file.len().map_err(Error::io("reading the snapshot", path))?;
        let (header, shard) = SnapshotHeader::decode(&head, path)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head);
        Ok(Self {
            file,
            path: path.to_path_buf(),
            header,
            shard,
            file_bytes,
            offset: HEADER_BYTES as u64,
            hasher,
            buffer: Vec::new(),
        })
    }

    /// What the file says at its start, and which shard it is; the number of shards for meta.
    pub(in crate::log) fn header(&self) -> (SnapshotHeader, u32) {
        (self.header, self.shard)
    }

    /// Where the next block begins.
    pub(in crate::log) fn offset(&self) -> u64 {
        self.offset
    }

    /// How long the file is.
    pub(in crate::log) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The hash of all that was read.
    pub(in crate::log) fn hash(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }

    /// Reads the next block, and stands behind it; stays if it cannot be found.
    pub(in crate::log) fn next_block(&mut self) -> Result<Found<'_>> {
        let (id, shard, offset) = (self.header.snapshot_id, self.shard, self.offset);
        let place = BlockPlace { snapshot_id: id, shard, offset };
        self.fill(BLOCK_HEADER_BYTES as u64)?;
        let Some(bytes) = block_bytes(&self.buffer, place) else {
            return Ok(Found::Broken(HEAD_EXPECTED, false));
        };
        if self.offset.saturating_add(bytes) > self.file_bytes {
            return Ok(Found::Broken("a payload of the length its header says", false));
        }
        self.fill(bytes)?;
        give_way();
        self.hasher.update(&self.buffer);
        self.offset += bytes;
        Ok(match decode_block(&self.buffer, place) {
            Ok(block) => Found::Block(block),
            Err(expected) => Found::Broken(expected, true),
        })
    }

    /// Reads so many bytes from here, or as many as there are.
    fn fill(&mut self, bytes: u64) -> Result<()> {
        let rest = self.file_bytes.saturating_sub(self.offset);
        self.buffer.resize(usize::try_from(bytes.min(rest)).unwrap_or(0), 0);
        let read = self.file.read_at(self.offset, &mut self.buffer);
        let read = read.map_err(Error::io("reading the snapshot", &self.path))?;
        self.buffer.truncate(read);
        Ok(())
    }
}
