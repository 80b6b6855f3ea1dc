//! The entries of one file of a snapshot, whatever became of blocks between them.

use super::{
    block_reader::{BlockReader, Found},
    snapshot_file::SnapshotSummary,
};
use crate::{
    disk::FileSystem,
    error::{Error, Result},
    log::pieces::{Piece, SnapshotHead, Take},
};
use std::path::Path;

/// Gives the header, the entries and the end of the snapshot file at `path`.
pub(in crate::log) fn inspect_snapshot(
    fs: &dyn FileSystem,
    path: &Path,
    take: Take<'_>,
) -> Result<()> {
    let mut reader = BlockReader::open(fs, path)?;
    let (header, shard) = reader.header();
    let (snapshot_id, store_id) = (header.snapshot_id, header.store_id);
    let (shards, lsn) = (header.shards, header.lsn);
    let head = SnapshotHead { snapshot_id, store_id, shard, shards, lsn };
    let is_meta = shard == shards;
    let mut goes_on = take(Piece::Snapshot(head))?;
    let mut read = SnapshotSummary::default();
    let mut is_whole = true;
    while goes_on {
        let offset = reader.offset();
        let damaged = |expected: &str| Piece::Damage { offset, expected: expected.to_owned() };
        let block = match reader.next_block()? {
            Found::Block(block) => block,
            Found::Broken(expected, can_go_on) => {
                is_whole = false;
                goes_on = take(damaged(expected))? && can_go_on;
                continue;
            }
        };
        if block.is_footer {
            let Some(footer) = SnapshotSummary::decode(&block.raw) else {
                return take(damaged("a whole footer")).map(drop);
            };
            read.last_lsn = footer.last_lsn;
            let SnapshotSummary { entries, digest, last_lsn } = footer;
            take(Piece::SnapshotEnd { offset, entries, digest, last_lsn })?;
            if is_whole && read != footer {
                take(damaged("a footer with the number and the digest of these entries"))?;
            }
            return match reader.offset() == reader.file_bytes() {
                true => Ok(()),
                false => Err(Error::corrupt(path, reader.offset(), "nothing behind the footer")),
            };
        }
        let whole = block.for_each_entry(|entry| {
            read.entries += 1;
            read.digest.add(entry);
            goes_on = goes_on && take(Piece::Entry { offset, is_meta, entry })?;
            Ok(())
        })?;
        if let Err(expected) = whole {
            is_whole = false;
            take(damaged(expected))?;
        }
    }
    Ok(())
}
