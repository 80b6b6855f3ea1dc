//! What stands in one file of a store, piece by piece, up to its end and past what is damaged.
//!
//! ```text
//! wal-<n>.log           header, then per frame its records     memory: one segment
//! <id>-<shard>.snap     header, then per block its entries     memory: one block
//! MANIFEST-<n>          all of it
//! ```
//! Invariants
//! - Files are only read, without a lock: one that a server writes to may end in half a frame.
//! - Every piece was found good before it is given; what is not is a piece too, [`Piece::Damage`].

use super::{
    local::inspect_segment,
    manifest::Manifest,
    pieces::{Piece, Take},
    snapshot::inspect_snapshot,
};
use crate::{
    disk::FileSystem,
    error::{Error, Result},
};
use std::path::Path;

/// Gives every piece of the file at `path` to `take`. An error if it is no file of ours, of a newer
/// nowthen, or cannot be read.
pub fn inspect(fs: &dyn FileSystem, path: &Path, take: Take<'_>) -> Result<()> {
    let file = fs.open_read(path).map_err(Error::io("reading", path))?;
    let magic = file.read_up_to(4).map_err(Error::io("reading", path))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let inspected = match &*magic {
        b"NTwl" => inspect_segment(fs, path, take),
        b"NTsn" => inspect_snapshot(fs, path, take),
        b"NTmf" => inspect_manifest(fs, path, take),
        // The first bytes may be what is damaged.
        _ if name.starts_with("wal-") => inspect_segment(fs, path, take),
        _ if name.ends_with(".snap") => inspect_snapshot(fs, path, take),
        _ if name.starts_with("MANIFEST-") => inspect_manifest(fs, path, take),
        _ => {
            let shown = path.display();
            let kinds = "a log segment, a snapshot file or a manifest";
            return Err(Error::refused(format!("{shown} is no file of nowthen: expected {kinds}")));
        }
    };
    match inspected {
        // Where nothing behind it could be read.
        Err(Error::Corrupt { offset, expected, .. }) => {
            take(Piece::Damage { offset, expected }).map(drop)
        }
        other => other,
    }
}

fn inspect_manifest(fs: &dyn FileSystem, path: &Path, take: Take<'_>) -> Result<()> {
    let file = fs.open_read(path).map_err(Error::io("reading the manifest", path))?;
    let bytes = file.read_up_to(u64::MAX).map_err(Error::io("reading the manifest", path))?;
    let Manifest { number, store_id, generations, history } = Manifest::decode(&bytes, path)?;
    take(Piece::Manifest(number, store_id, &generations, &history)).map(drop)
}
