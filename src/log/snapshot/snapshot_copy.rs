//! Copies a file of a snapshot into another data directory, as a file of the store there.

use super::snapshot_file::SnapshotFile;
use crate::{
    disk::FileSystem,
    error::{Error, Result},
    log::manifest::ListedFile,
};
use std::path::Path;

/// Written, and synced, in pieces: the log of a server beside must not wait behind a gigabyte.
const PIECE_BYTES: usize = 1024 * 1024;
const SYNC_PIECES: usize = 32;

/// Copies the listed file below `from` to the same name below `to`, as one of store `store_id`, and
/// reads it back; how the manifest there must list it. Synced, but for its name.
pub(crate) fn copy_snapshot_file(
    fs: &dyn FileSystem,
    (from, listed): (&Path, &ListedFile),
    to: &Path,
    store_id: u128,
) -> Result<ListedFile> {
    let source = SnapshotFile::open(fs, from, listed)?;
    let path = to.join(&listed.name);
    let file = fs.create_new(&path).map_err(Error::io("creating the snapshot", &path))?;
    let (header, blocks) = source.of_store(store_id);
    let mut hasher = blake3::Hasher::new();
    let mut offset = 0;
    let pieces = std::iter::once(header.as_slice()).chain(blocks.chunks(PIECE_BYTES));
    for (index, piece) in pieces.enumerate() {
        let written = file.write_all_at(offset, piece);
        written.map_err(Error::io("writing the snapshot", &path))?;
        hasher.update(piece);
        offset += piece.len() as u64;
        if index % SYNC_PIECES == SYNC_PIECES - 1 {
            file.sync_data().map_err(Error::io("syncing the snapshot", &path))?;
        }
    }
    file.sync_data().map_err(Error::io("syncing the snapshot", &path))?;
    let hash = *hasher.finalize().as_bytes();
    let copied = ListedFile { name: listed.name.clone(), bytes: offset, hash };
    SnapshotFile::open(fs, to, &copied)?.for_each(|_| Ok(()))?;
    Ok(copied)
}
