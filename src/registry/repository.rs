//! The folder of a feature repository: which files belong to it, and where its sources lie.

use super::definition::{DefinitionFile, Definitions};
use crate::error::{Error, Result};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Reads every `*.toml` below `dir`, sorted by path. What starts with a dot is left out, and so
/// are folders behind symbolic links: a link may lead back up.
///
/// A folder without any such file is refused: applying it would remove every definition.
pub fn read_repository(dir: &Path) -> Result<Vec<DefinitionFile>> {
    let mut paths = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).map_err(Error::io("reading the feature repository", &folder))?;
        for entry in entries {
            let entry = entry.map_err(Error::io("reading the feature repository", &folder))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(Error::io("looking at", &path))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "toml") && path.is_file() {
                paths.push(path);
            }
        }
    }
    if paths.is_empty() {
        return Err(Error::refused(format!(
            "{}: expected a feature repository, got a folder without any .toml file",
            dir.display()
        )));
    }
    paths.sort();
    paths.into_iter().map(|path| read_file(dir, &path)).collect()
}

fn read_file(dir: &Path, path: &Path) -> Result<DefinitionFile> {
    let bytes = fs::read(path).map_err(Error::io("reading definitions from", path))?;
    let relative = path.strip_prefix(dir).unwrap_or(path).display().to_string();
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        Error::refused(format!("{relative}: expected UTF-8 text, got another byte at {offset}"))
    })?;
    Ok(DefinitionFile { path: relative, text })
}

/// `definitions` with every relative `source` taken from `dir`, the folder of the repository.
/// URLs stay as they are.
pub fn with_sources_below(mut definitions: Definitions, dir: &Path) -> Definitions {
    for source in definitions.views.iter_mut().filter_map(|view| view.source.as_mut()) {
        let is_url = source.contains("://");
        if !is_url && Path::new(source.as_str()).is_relative() {
            *source = PathBuf::from(dir).join(&*source).display().to_string();
        }
    }
    definitions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::definition::ViewDefinition;

    #[test]
    fn every_toml_file_below_the_folder_is_read_in_the_order_of_paths() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("b/.git")).unwrap();
        for path in ["z.toml", "b/a.toml", "b/readme.md", "b/.git/x.toml", ".hidden.toml"] {
            fs::write(dir.path().join(path), path).unwrap();
        }
        let files = read_repository(dir.path()).unwrap();
        let paths: Vec<_> = files.iter().map(|file| (&*file.path, &*file.text)).collect();
        assert_eq!(paths, [("b/a.toml", "b/a.toml"), ("z.toml", "z.toml")]);
    }

    #[test]
    fn a_folder_without_definitions_is_refused_rather_than_taken_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let why = read_repository(dir.path()).unwrap_err().to_string();
        assert!(why.ends_with("got a folder without any .toml file"), "{why}");
        assert!(matches!(read_repository(Path::new("/nowhere")), Err(Error::Io { .. })));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_place() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.toml"), b"a\xff").unwrap();
        let why = read_repository(dir.path()).unwrap_err().to_string();
        assert_eq!(why, "a.toml: expected UTF-8 text, got another byte at 1");
    }

    #[test]
    fn a_relative_source_lies_below_the_repository() {
        let view = |source: &str| ViewDefinition {
            name: "v".into(),
            entity: "e".into(),
            source: Some(source.into()),
            event_timestamp: None,
            created_timestamp: None,
            ttl: None,
            retention_us: None,
            schedule_us: None,
            owner: None,
            description: None,
            features: vec![],
        };
        for (source, absolute) in [
            ("data/*.parquet", "/repo/data/*.parquet"),
            ("/data/a.parquet", "/data/a.parquet"),
            ("s3://bucket/a", "s3://bucket/a"),
        ] {
            let definitions = Definitions { views: vec![view(source)], ..Definitions::default() };
            let below = with_sources_below(definitions, Path::new("/repo"));
            assert_eq!(below.views[0].source.as_deref(), Some(absolute));
        }
    }
}
