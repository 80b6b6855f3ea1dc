//! The names in a folder.

use crate::{
    disk::FileSystem,
    error::{Error, Result},
};
use std::{collections::BTreeSet, io, path::Path};

/// The names in a folder that is there.
pub(super) fn names(fs: &dyn FileSystem, folder: &Path) -> Result<BTreeSet<String>> {
    let entries = fs.read_dir(folder).map_err(Error::io("listing", folder))?;
    Ok(entries.into_iter().map(|entry| entry.name).collect())
}

/// The names in a folder; none if it is not there.
pub(super) fn names_if_there(fs: &dyn FileSystem, folder: &Path) -> Result<BTreeSet<String>> {
    match names(fs, folder) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(BTreeSet::new())
        }
        names => names,
    }
}
