//! Files that say what a folder is, where it is no data directory that may be served.
//!
//! ```text
//! BACKUP.tmp   a backup that is being written, or was interrupted
//! BACKUP       a finished backup; the file lists what is in it
//! RESTORING    a restore that is going on, or was interrupted
//! ```
//! Invariants
//! - A mark that says "unfinished" has its name on the disk before anything else is there, and
//!   loses it only when all else is synced.

use crate::{
    disk::FileSystem,
    error::{Error, Result},
};
use std::{collections::BTreeSet, path::Path};

/// The file that lists what is in a backup.
pub(super) const BACKUP: &str = "BACKUP";
/// What it is called until the backup is finished.
pub(super) const UNFINISHED_BACKUP: &str = "BACKUP.tmp";
/// Stands in a folder until what is restored into it is whole.
pub(super) const RESTORING: &str = "RESTORING";

/// Refuses a folder that is no data directory to be served.
pub(super) fn refuse_marked(names: &BTreeSet<String>, root: &Path) -> Result<()> {
    refuse_unfinished(names, root)?;
    if names.contains(BACKUP) {
        return Err(Error::refused(format!(
            "{shown} is a backup, which stays as it is: restore it with `nowthen restore {shown} \
             --to DIR` and serve that",
            shown = root.display()
        )));
    }
    Ok(())
}

/// Refuses a folder that is half of something.
pub(super) fn refuse_unfinished(names: &BTreeSet<String>, root: &Path) -> Result<()> {
    let shown = root.display();
    if names.contains(RESTORING) {
        return Err(Error::refused(format!(
            "{shown} is half restored ({RESTORING} stands in it): remove the folder and restore \
             again"
        )));
    }
    if names.contains(UNFINISHED_BACKUP) {
        return Err(Error::refused(format!(
            "{shown} is an unfinished backup ({UNFINISHED_BACKUP} stands in it): remove the \
             folder and back up again"
        )));
    }
    Ok(())
}

/// Makes the folder `root`, which must not be there or be empty; its name is synced. `for_what`
/// stands in the refusal: "a backup".
pub(super) fn make_empty(fs: &dyn FileSystem, root: &Path, for_what: &str) -> Result<()> {
    fs.create_dir_all(root).map_err(Error::io("making the folder", root))?;
    let names = fs.read_dir(root).map_err(Error::io("listing", root))?;
    if let Some(first) = names.first() {
        return Err(Error::refused(format!(
            "{for_what} needs a new or empty folder: {} holds {}",
            root.display(),
            first.name
        )));
    }
    match root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => fs.sync_dir(parent).map_err(Error::io("syncing the folder", parent)),
        None => Ok(()),
    }
}
