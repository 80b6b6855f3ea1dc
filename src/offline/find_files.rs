//! The files on the disk that a source names.
//!
//! In a folder, names that begin with `.` or `_` are left out, as everywhere in this field: they
//! are being written, or belong to another tool. A glob or a plain path takes them.

use crate::error::{Error, Result};
use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

/// The files, and the folder below which the names of folders tell something.
pub(super) fn find_files(source: &str) -> Result<(PathBuf, BTreeSet<PathBuf>)> {
    let mut found = BTreeSet::new();
    let mut visited = HashSet::new();
    let path = Path::new(source);
    if path.is_dir() {
        walk(path, &mut visited, &mut found)?;
        return Ok((path.to_owned(), found));
    }
    if path.exists() {
        found.insert(path.to_owned());
        return Ok((path.parent().unwrap_or(path).to_owned(), found));
    }
    let is_pattern = |part: &Path| part.as_os_str().as_encoded_bytes().iter().any(is_glob);
    let root = path.ancestors().find(|part| !is_pattern(part)).unwrap_or(Path::new(""));
    let matches = glob::glob(source)
        .map_err(|error| Error::refused(format!("source {source} is no glob: {error}")))?;
    for path in matches {
        let path = path.map_err(|error| {
            let path = error.path().to_owned();
            Error::io("reading the folder", path)(error.into())
        })?;
        if path.is_dir() {
            walk(&path, &mut visited, &mut found)?;
        } else {
            found.insert(path);
        }
    }
    Ok((root.to_owned(), found))
}

/// Whether by this byte a part of a source is a pattern.
pub(super) fn is_glob(byte: &u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[')
}

/// Links are followed, but no folder twice: a link to a parent would never end.
fn walk(
    folder: &Path,
    visited: &mut HashSet<PathBuf>,
    found: &mut BTreeSet<PathBuf>,
) -> Result<()> {
    let canonical = fs::canonicalize(folder).map_err(Error::io("reading the folder", folder))?;
    if !visited.insert(canonical) {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(Error::io("reading the folder", folder))? {
        let path = entry.map_err(Error::io("reading the folder", folder))?.path();
        if is_left_out(path.file_name().unwrap_or_default()) {
            continue;
        }
        if path.is_dir() {
            walk(&path, visited, found)?;
        } else if is_parquet(&path) {
            found.insert(path);
        }
    }
    Ok(())
}

/// Whether what is called so is passed over in a folder.
pub(super) fn is_left_out(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") || name.starts_with(b"_")
}

/// Whether a file in a folder counts.
pub(super) fn is_parquet(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("parquet"))
}
