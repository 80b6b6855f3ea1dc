//! A data directory before a manifest counts: its lock, and how it is made.

use super::{
    folder::names,
    manifest::{HISTORY, Manifest, SNAPSHOTS, is_unfinished_manifest, manifest_path},
};
use crate::{
    disk::{FileSystem, Lock},
    error::{Error, Result},
};
use std::{
    io,
    path::{Path, PathBuf},
};

pub(super) const LOCK: &str = "LOCK";
pub(super) const LOG: &str = "log";

/// Where the log of the directory at `root` is.
pub(super) fn log_directory(root: &Path) -> PathBuf {
    root.join(LOG)
}

/// Makes the directory itself if there is none.
pub(super) fn make_root(fs: &dyn FileSystem, root: &Path) -> Result<()> {
    match fs.metadata(root) {
        Ok(metadata) if metadata.is_directory => Ok(()),
        Ok(_) => Err(Error::refused(format!("{} is not a directory", root.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs.create_dir_all(root).map_err(Error::io("making the data directory", root))
        }
        Err(error) => Err(Error::io("looking at the data directory", root)(error)),
    }
}

/// Locks the directory, for one process.
pub(super) fn lock(fs: &dyn FileSystem, root: &Path) -> Result<Lock> {
    let shown = root.display();
    match fs.lock_exclusive(&root.join(LOCK)) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(Error::refused_as(
            "LOCKED",
            format!("data directory {shown} is locked by another process"),
        )),
        Err(error) => match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Err(Error::refused(format!("data directory {shown} is read-only to us: {error}")))
            }
            _ => Err(Error::io("locking the data directory", root)(error)),
        },
    }
}

/// Without a manifest there may be nothing, or what making a store leaves when it is interrupted.
pub(super) fn refuse_unless_new(fs: &dyn FileSystem, root: &Path) -> Result<()> {
    for name in names(fs, root)? {
        let path = root.join(&name);
        match name.as_str() {
            LOCK => {}
            LOG | SNAPSHOTS | HISTORY => {
                if !names(fs, &path)?.is_empty() {
                    let expected = "a manifest; it is missing, though there is data";
                    return Err(Error::corrupt(manifest_path(root, 1), 0, expected));
                }
            }
            other if is_unfinished_manifest(other) => {}
            _ => {
                return Err(Error::refused(format!(
                    "{} is no data directory of nowthen: it holds {name} and no manifest",
                    root.display()
                )));
            }
        }
    }
    Ok(())
}

/// Makes a store that has nothing, with the first manifest.
pub(super) fn make_store(fs: &dyn FileSystem, root: &Path, store_id: u128) -> Result<Manifest> {
    // The folder may be as new as what comes into it, even if another process made it.
    if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        match fs.sync_dir(parent) {
            // A folder that we may not even read is none that we made.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced.map_err(Error::io("syncing", parent))?,
        }
    }
    for name in [LOG, SNAPSHOTS, HISTORY] {
        let path = root.join(name);
        fs.create_dir_all(&path).map_err(Error::io("making", &path))?;
    }
    fs.sync_dir(root).map_err(Error::io("syncing the folder", root))?;
    let manifest = Manifest::first(store_id);
    manifest.write(fs, root)?;
    Ok(manifest)
}
