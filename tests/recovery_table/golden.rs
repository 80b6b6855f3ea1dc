//! Golden directories: where they are, copies to work on, what is expected of them.
//!
//! ```text
//! tests/golden/<version>/<name>/data/         a data directory as that version left it
//!                               expected.txt  what a start makes of it, line by line:
//!                                   stop                      exit code 65, nothing changed
//!                                   says TEXT                 the message holds it
//!                                   open LSN                  the last record that is left
//!                                   aside FILE FROM           keeps what stood in FROM
//!                               state.txt     `> request` and its reply, line by line
//! ```
//! Invariants
//! - A golden directory is never written to: every test works on a copy.
//! - git keeps no empty folder, so a copy makes those that each data directory has.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// What a start must make of a directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Exit code 65 and a message with all of these in it; nothing is changed.
    Stop { says: Vec<String> },
    /// It serves, up to this record.
    Open { last_lsn: u64, says: Vec<String>, aside: Vec<(String, String)> },
}

/// One golden directory.
#[derive(Debug)]
pub(crate) struct Golden {
    pub(crate) folder: PathBuf,
}

/// The golden directories of that name, of all versions.
pub(crate) fn all_of(name: &str) -> Vec<Golden> {
    let versions = fs::read_dir(root()).expect("tests/golden");
    let folders = versions.map(|version| version.unwrap().path().join(name));
    let found: Vec<Golden> =
        folders.filter(|folder| folder.is_dir()).map(|folder| Golden { folder }).collect();
    let own = of_this_version().join(name);
    assert!(own.is_dir(), "{} is missing; see tests/golden/README.md", own.display());
    found
}

pub(crate) fn of_this_version() -> PathBuf {
    root().join(env!("CARGO_PKG_VERSION"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

impl Golden {
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).expect(name)
    }

    /// A copy of its data directory.
    pub(crate) fn copy_to(&self, to: &Path) {
        copy(&self.folder.join("data"), to);
        for name in ["log", "snapshots"] {
            fs::create_dir_all(to.join(name)).unwrap();
        }
    }

    pub(crate) fn expected(&self) -> Expected {
        Expected::parse(&self.text("expected.txt"))
    }
}

impl Expected {
    pub(crate) fn parse(text: &str) -> Self {
        let lines = |word: &str| {
            let rest = text.lines().filter_map(|line| line.strip_prefix(word));
            rest.map(|rest| rest.trim().to_owned()).collect::<Vec<_>>()
        };
        let says = lines("says ");
        let Some(last_lsn) = lines("open ").pop() else {
            assert_eq!(lines("stop").len(), 1, "neither stop nor open: {text}");
            return Self::Stop { says };
        };
        let pair = |line: &String| {
            let (file, from) = line.split_once(' ').expect("aside FILE FROM");
            (file.to_owned(), from.to_owned())
        };
        let aside = lines("aside ").iter().map(pair).collect();
        Self::Open { last_lsn: last_lsn.parse().unwrap(), says, aside }
    }

    pub(crate) fn to_text(&self) -> String {
        let (first, says, aside) = match self {
            Self::Stop { says } => ("stop".to_owned(), says, &[][..]),
            Self::Open { last_lsn, says, aside } => (format!("open {last_lsn}"), says, &aside[..]),
        };
        let says = says.iter().map(|text| format!("says {text}\n"));
        let aside = aside.iter().map(|(file, from)| format!("aside {file} {from}\n"));
        [format!("{first}\n")].into_iter().chain(says).chain(aside).collect()
    }
}

/// Copies a folder and all below it, but for the lock.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy(&path, &copied),
            false if entry.file_name() == "LOCK" => {}
            false => drop(fs::copy(path, copied).unwrap()),
        }
    }
}

/// Every file below a folder with its bytes, but for the lock.
pub(crate) fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.path() {
            path if path.is_dir() => found.append(&mut contents(&path)),
            path if entry.file_name() == "LOCK" => drop(path),
            path => drop(found.insert(path.clone(), fs::read(path).unwrap())),
        }
    }
    found
}
