//! The files that a manifest lists: whether they are there, and as long as it says.

use super::{
    history_files::in_history,
    manifest::{Generation, ListedFile, Manifest},
};
use crate::{
    disk::FileSystem,
    error::{Error, Result},
};
use std::{io, path::Path};

/// Whether everything that a manifest lists is there. Only reads.
pub(super) fn look_at_listed(fs: &dyn FileSystem, root: &Path, manifest: &Manifest) -> Result<()> {
    for generation in &manifest.generations {
        for listed in &generation.files {
            look_at(fs, root, listed).map_err(|error| in_snapshot(error, generation))?;
        }
    }
    for part in &manifest.history.parts {
        look_at(fs, root, &part.file).map_err(|error| in_history(error, part))?;
    }
    Ok(())
}

/// Whether a listed file is there and as long as the manifest says.
fn look_at(fs: &dyn FileSystem, root: &Path, listed: &ListedFile) -> Result<()> {
    let path = root.join(&listed.name);
    let found = match fs.metadata(&path) {
        Ok(metadata) => metadata.bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let expected = "a file that the manifest lists; it is missing";
            return Err(Error::corrupt(path, 0, expected));
        }
        Err(error) => return Err(Error::io("looking at a listed file", path)(error)),
    };
    if found == listed.bytes {
        return Ok(());
    }
    let expected = format!("{} bytes, as the manifest says; it has {found}", listed.bytes);
    Err(Error::corrupt(path, found.min(listed.bytes), expected))
}

/// Which records left their traces in a snapshot that is damaged.
pub(super) fn in_snapshot(error: Error, generation: &Generation) -> Error {
    let Error::Corrupt { path, offset, expected } = error else { return error };
    let Generation { snapshot_id, last_lsn, .. } = generation;
    let holds = format!("snapshot {snapshot_id} holds what LSN 1 to {last_lsn} wrote");
    Error::corrupt(path, offset, format!("{expected}; {holds}"))
}
