//! The files of the history that a manifest lists, opened when they are first asked for.

use crate::{
    disk::FileSystem,
    error::{Error, Result},
    feature::{Entity, KeyPart, Timestamp, View, ViewId},
    log::{DataDirectory, History, HistoryPart, Lsn, open_history_part},
    offline::{AskedKeys, GroupedSpine, HistoryFile, PhaseProgress, Window},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

/// Whose rows are asked for: others may be found, too.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    Keys(Asked<'a>),
    /// What the rows of a spine ask for, which is joined to the views that are looked at.
    /// The progress counts files.
    Spine(&'a GroupedSpine<'a>, &'a PhaseProgress),
}

/// Some keys of one entity, and which of their rows.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) keys: &'a HashSet<Vec<KeyPart>>,
    pub(super) rows: AskedRows,
}

/// Which rows of an entity.
#[derive(Clone, Copy)]
pub(super) enum AskedRows {
    /// Those that tell what was true then.
    At(Timestamp),
    /// Of those within the window so many that come first.
    Earliest(Window, usize),
}

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
    /// What its footer says, opened for a view as it was when somebody last asked: to read it anew
    /// takes longer than to find the rows of one entity.
    opened: Mutex<Option<Arc<HistoryFile>>>,
    /// From which time on the file tells all, once somebody opened it; `None` for any.
    pub(super) kept_from: OnceLock<Option<Timestamp>>,
    /// How many runs it has, once somebody counted them.
    runs: OnceLock<usize>,
}

/// So few keys are looked for one by one: in a file from the rows that are asked for, in the log
/// where something may be told of them.
const SOUGHT_KEYS_MAX: usize = 8;

impl Wanted<'_> {
    /// How many files are looked through, where somebody wants to know.
    pub(super) fn progress(&self) -> Option<&PhaseProgress> {
        match self {
            Self::Keys(_) => None,
            Self::Spine(_, progress) => Some(progress),
        }
    }

    /// What is asked for, if that is of few keys.
    pub(super) fn few(&self) -> Option<&Asked<'_>> {
        match self {
            Self::Keys(asked) => Some(asked).filter(|asked| asked.keys.len() <= SOUGHT_KEYS_MAX),
            Self::Spine(..) => None,
        }
    }

    /// The keys of the view with that place among those that are looked at.
    pub(super) fn keys(&self, view: usize, entity: &Entity) -> Result<AskedKeys> {
        match self {
            Self::Keys(asked) => AskedKeys::new(entity, asked.keys),
            Self::Spine(spine, _) => AskedKeys::of_spine(spine, view),
        }
    }

    /// Whether the view with that place is asked for this key.
    pub(super) fn is_for(&self, view: usize, key: &[KeyPart]) -> bool {
        match self {
            Self::Keys(asked) => asked.keys.contains(key),
            Self::Spine(spine, _) => spine.asks_for(view, key),
        }
    }
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

    /// Those of a generation of a view.
    pub(super) fn parts_of(
        &self,
        generation: (ViewId, u32),
    ) -> impl Iterator<Item = &Arc<PushedPart>> {
        self.parts.iter().filter(move |part| part.generation() == generation)
    }
}

/// The time from which on those of `parts` that somebody opened tell all that was pushed to a
/// generation of a view; `None` for any.
pub(super) fn kept_from(parts: &[Arc<PushedPart>], generation: (ViewId, u32)) -> Option<Timestamp> {
    let own = parts.iter().filter(|part| part.generation() == generation);
    own.filter_map(|part| *part.kept_from.get()?).max()
}

impl PushedPart {
    /// A file that nobody opened yet.
    pub(super) fn new(listed: &HistoryPart, root: &Path) -> Self {
        let path = root.join(&listed.file.name);
        let (bytes, opened) = (Mutex::default(), Mutex::default());
        let (kept_from, runs) = (OnceLock::new(), OnceLock::new());
        Self { listed: listed.clone(), path, bytes, opened, kept_from, runs }
    }

    /// The generation of a view whose rows it has.
    pub(super) fn generation(&self) -> (ViewId, u32) {
        (ViewId(self.listed.view), self.listed.generation)
    }

    /// The file, for `view` and `entity` as they are now.
    pub(super) fn open(
        &self,
        fs: &dyn FileSystem,
        root: &Path,
        view: &View,
        entity: &Entity,
    ) -> Result<Arc<HistoryFile>> {
        let mut opened = self.opened.lock();
        if let Some(file) = opened.as_ref().filter(|file| file.is_for(view, entity)) {
            return Ok(Arc::clone(file));
        }
        let file = HistoryFile::open(self.bytes(fs, root)?, &self.path, view, entity)?;
        self.kept_from.get_or_init(|| file.kept().from);
        Ok(Arc::clone(opened.insert(Arc::new(file))))
    }

    /// How many runs it has: in each the rows of an entity are looked for. Only its footer is read,
    /// and its hash not compared: whoever merges it does.
    pub(super) fn runs(&self, fs: &dyn FileSystem, view: &View, entity: &Entity) -> Result<usize> {
        if let Some(runs) = self.runs.get() {
            return Ok(*runs);
        }
        let bytes = fs.map(&self.path).map_err(Error::io("reading the history", &self.path))?;
        let file = HistoryFile::open(Bytes::from_owner(bytes), &self.path, view, entity)?;
        let runs = file.runs()?;
        Ok(*self.runs.get_or_init(|| runs))
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
