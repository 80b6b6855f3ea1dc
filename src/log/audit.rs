//! `audit.log`: what was done to a store that no file of it tells any more, a line of JSON each.

use crate::{
    disk::FileSystem,
    error::{Error, Result},
};
use serde_json::Value;
use std::{io, path::Path};

pub(super) const AUDIT: &str = "audit.log";

/// Adds a line, and syncs it.
pub fn append_audit(fs: &dyn FileSystem, root: &Path, line: &Value) -> Result<()> {
    let path = root.join(AUDIT);
    let failed = |error| Error::io("writing the audit log", &path)(error);
    let file = match fs.open_write(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs.create_new(&path).map_err(failed)?
        }
        Err(error) => return Err(failed(error)),
    };
    let end = file.len().map_err(failed)?;
    file.write_all_at(end, format!("{line}\n").as_bytes()).map_err(failed)?;
    file.sync_data().map_err(failed)?;
    fs.sync_dir(root).map_err(Error::io("syncing the folder", root))
}
