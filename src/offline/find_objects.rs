//! The objects of a store that a source names: `s3://bucket/key`, of a file, a folder or a pattern.
//!
//! What is found is what would be found below a folder with the same files on the disk.

use super::{
    find_files::{is_glob, is_left_out, is_parquet},
    parquet_file::failed,
};
use crate::{
    error::{Error, Result},
    objects::{Bucket, Found},
};
use glob::{MatchOptions, Pattern};
use std::{path::Path, sync::Arc};

/// What the name of a source in a store begins with.
const SCHEME: &str = "s3://";

/// As the disk is searched: `*` stays within a folder.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// What was found.
#[derive(Debug)]
pub(super) struct FoundObjects {
    pub(super) bucket: Arc<Bucket>,
    /// The folder below which the names of folders tell something.
    pub(super) root: String,
    pub(super) objects: Vec<Found>,
}

/// Looks for the objects of `source`; `None` if that lies in no store.
pub(super) fn find_objects(source: &str) -> Result<Option<FoundObjects>> {
    let Some(rest) = source.strip_prefix(SCHEME) else {
        return match source.split_once("://") {
            Some((scheme, _)) => Err(Error::refused(format!(
                "source {source}: expected a path or s3://bucket/..., got {scheme}://"
            ))),
            None => Ok(None),
        };
    };
    let (name, key) = rest.split_once('/').unwrap_or((rest, ""));
    if name.is_empty() || name.bytes().any(|byte| is_glob(&byte)) {
        return Err(Error::refused(format!("source {source}: expected s3://bucket/..., by name")));
    }
    let bucket = Bucket::open(name);
    let bucket = bucket.map_err(|failure| failed("opening", Path::new(source), &failure))?;
    find_in(bucket, source, key).map(Some)
}

/// Looks in a bucket for the objects with this key, below it, or of this pattern.
pub(super) fn find_in(bucket: Arc<Bucket>, source: &str, key: &str) -> Result<FoundObjects> {
    let why = |failure| failed("looking for", Path::new(source), &failure);
    let pattern = key.bytes().position(|byte| is_glob(&byte));
    let is_plain = pattern.is_none() && !key.is_empty() && !key.ends_with('/');
    let found = if is_plain { bucket.find(key).map_err(why)? } else { None };
    if let Some(found) = found {
        let root = key.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        return Ok(FoundObjects { bucket, root, objects: vec![found] });
    }
    let Some(at) = pattern else {
        let root = key.trim_end_matches('/').to_owned();
        let mut objects = bucket.list(&root).map_err(why)?;
        objects.retain(|found| below(&root, &found.key).is_some_and(is_data));
        return Ok(FoundObjects { bucket, root, objects });
    };
    let plain = key.get(..at).unwrap_or_default();
    let root = plain.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let pattern = Pattern::new(key.trim_end_matches('/'))
        .map_err(|error| Error::refused(format!("source {source} is no glob: {error}")))?;
    let mut objects = bucket.list(&root).map_err(why)?;
    objects.retain(|found| is_met(&pattern, &found.key));
    Ok(FoundObjects { bucket, root, objects })
}

/// What of a key lies below the folder `root`.
pub(super) fn below<'a>(root: &str, key: &'a str) -> Option<&'a str> {
    if root.is_empty() { Some(key) } else { key.strip_prefix(root)?.strip_prefix('/') }
}

/// Whether an object counts that has this name below a folder.
fn is_data(relative: &str) -> bool {
    let path = Path::new(relative);
    path.iter().all(|name| !is_left_out(name)) && is_parquet(path)
}

/// Whether a pattern meets an object, or a folder in which it counts.
fn is_met(pattern: &Pattern, key: &str) -> bool {
    let folders = key.char_indices().filter(|(_, byte)| *byte == '/');
    pattern.matches_with(key, OPTIONS)
        || folders.map(|(at, _)| key.split_at(at)).any(|(folder, rest)| {
            pattern.matches_with(folder, OPTIONS) && is_data(rest.trim_start_matches('/'))
        })
}

#[cfg(all(test, feature = "s3"))]
mod tests {
    use super::{super::find_files::find_files, *};
    use std::fs;

    const NAMES: [&str; 9] = [
        "a.parquet",
        "b/1.parquet",
        "b/deep/2.parquet",
        "b/_temporary/3.parquet",
        "b/.4.parquet",
        "b/notes.txt",
        "b2/5.parquet",
        "day=1/x y/6.parquet",
        "_seven.parquet",
    ];

    #[test]
    fn in_a_store_the_same_is_found_as_in_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        for name in NAMES {
            let path = root.join("data").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let objects = NAMES.map(|name| (format!("data/{name}"), "x".into()));
        let bucket = Bucket::in_memory(&objects);
        for source in [
            "data",
            "data/",
            "data/b",
            "data/b/",
            "data/b2",
            "data/*",
            "data/b*",
            "data/**/*.parquet",
            "data/*.parquet",
            "data/?/*",
            "data/b/*/*.parquet",
            "data/[ab].parquet",
            "data/a.parquet",
            "data/_seven.parquet",
            "data/b/_temporary",
            "data/b/_temporary/*",
            "data/day=*",
            "data/day=1/x y",
            "data/nothing*",
            "data/b/notes.txt",
        ] {
            let (root_here, found) = find_files(root.join(source).to_str().unwrap()).unwrap();
            let here: Vec<&Path> =
                found.iter().map(|path| path.strip_prefix(&root).unwrap()).collect();
            let there = find_in(Arc::clone(&bucket), source, source).unwrap();
            let mut keys: Vec<&Path> =
                there.objects.iter().map(|found| Path::new(&found.key)).collect();
            keys.sort_unstable();
            assert_eq!(keys, here, "{source}");
            assert_eq!(root_here.strip_prefix(&root).unwrap(), Path::new(&there.root), "{source}");
        }
        assert!(find_in(bucket, "nothing", "nothing").unwrap().objects.is_empty());
    }
}
