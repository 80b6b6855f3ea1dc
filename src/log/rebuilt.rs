//! The mark that a recovery is decided, and what is left to do from there: the same at every start,
//! until it is through.
//!
//! ```text
//! DATA/RECOVERED-<n>    an empty file: segments from number n on replace all before them
//! ```

use super::local::name_rebuilt;
use crate::{
    disk::FileSystem,
    error::{Error, Result},
};
use std::path::Path;

const PREFIX: &str = "RECOVERED-";

/// Decides: from here on every start goes on with it.
pub(super) fn decide(fs: &dyn FileSystem, root: &Path, first_number: u64) -> Result<()> {
    let mark = root.join(format!("{PREFIX}{first_number}"));
    fs.create_new(&mark).map_err(Error::io("creating", &mark))?;
    fs.sync_dir(root).map_err(Error::io("syncing the folder", root))
}

/// Brings to its end what was decided, if anything was.
pub(super) fn finish(fs: &dyn FileSystem, root: &Path, log: &Path) -> Result<()> {
    let names = fs.read_dir(root).map_err(Error::io("listing", root))?;
    for entry in names {
        let number = entry.name.strip_prefix(PREFIX).and_then(|number| number.parse().ok());
        let Some(first_number) = number else { continue };
        // The mark may have been seen before its name was safe.
        fs.sync_dir(root).map_err(Error::io("syncing the folder", root))?;
        name_rebuilt(fs, log, first_number)?;
        let mark = root.join(&entry.name);
        fs.remove(&mark).map_err(Error::io("removing", &mark))?;
        fs.sync_dir(root).map_err(Error::io("syncing the folder", root))?;
    }
    Ok(())
}
