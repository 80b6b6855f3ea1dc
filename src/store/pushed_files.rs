//! The files of the history that a manifest lists, opened when they are first asked for.

use crate::{
    disk::FileSystem,
    error::Result,
    feature::{KeyPart, Timestamp},
    log::{DataDirectory, History, HistoryPart, Lsn, open_history_part},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

/// The keys that are asked for, of one entity.
pub(super) type AskedKeys = HashSet<Vec<KeyPart>>;

/// The files of the history as of one manifest.
#[derive(Debug, Default)]
pub(super) struct PushedFiles {
    /// What was pushed up to here is in the files.
    pub(super) reaches: Lsn,
    pub(super) parts: Vec<Arc<PushedPart>>,
}

/// One file.
#[derive(Debug)]
pub(super) struct PushedPart {
    pub(super) listed: HistoryPart,
    pub(super) path: PathBuf,
    /// The bytes, once somebody asked for them.
    bytes: Mutex<Option<Bytes>>,
    /// From which time on the file tells all, once somebody opened it; `None` for any.
    pub(super) kept_from: OnceLock<Option<Timestamp>>,
}

impl PushedFiles {
    /// Those that a directory lists.
    pub(super) fn of(directory: &DataDirectory) -> Self {
        Self::default().next(directory, &[])
    }

    /// Those that a directory lists now; what is open stays open, and `opened` is.
    pub(super) fn next(&self, directory: &DataDirectory, opened: &[Arc<PushedPart>]) -> Self {
        let History { reaches, parts } = directory.history();
        let part = |listed: &HistoryPart| {
            let open = self.parts.iter().chain(opened).find(|part| part.listed == *listed);
            let fresh = || Arc::new(PushedPart::new(listed, directory.root()));
            open.map_or_else(fresh, Arc::clone)
        };
        Self { reaches: *reaches, parts: parts.iter().map(part).collect() }
    }
}

impl PushedPart {
    /// A file that nobody opened yet.
    pub(super) fn new(listed: &HistoryPart, root: &Path) -> Self {
        let path = root.join(&listed.file.name);
        Self { listed: listed.clone(), path, bytes: Mutex::default(), kept_from: OnceLock::new() }
    }

    /// The bytes, whose hash was found right when they were first asked for.
    pub(super) fn bytes(&self, fs: &dyn FileSystem, root: &Path) -> Result<Bytes> {
        let mut bytes = self.bytes.lock();
        if let Some(bytes) = &*bytes {
            return Ok(bytes.clone());
        }
        let opened = Bytes::from_owner(open_history_part(fs, root, &self.listed)?);
        Ok(bytes.insert(opened).clone())
    }
}
