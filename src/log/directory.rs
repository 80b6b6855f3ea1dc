//! The data directory: who may use it, which store it is, which snapshots count.
//!
//! ```text
//! open ─> lock ─> manifest ─> listed files there? ─> (load snapshots, open the log) ─> tidy
//!         └────────────── only reads ──────────────┘                                  └ only moves
//! ```
//! Invariants
//! - One process per directory: the lock is held as long as the [`DataDirectory`] lives.
//! - Refused or stopped, nothing in an existing directory was changed.
//! - What no manifest lists is set aside, never deleted; only unfinished files (`*.tmp`) go.

use super::{
    contract::{LogIdentity, Lsn},
    directory_setup::{LOCK, lock, log_directory, make_root, make_store, refuse_unless_new},
    folder::{names, names_if_there},
    listed_files::{in_snapshot, look_at_listed},
    manifest::{
        Generation, HISTORY, History, HistoryPart, ListedFile, Manifest, SNAPSHOTS,
        is_unfinished_manifest, manifest_number, manifest_path,
    },
    marks::refuse_marked,
    rebuilt::finish,
    snapshot::SnapshotFile,
};
use crate::{
    disk::{FileSystem, Lock},
    error::{Error, Result},
    planted::planted,
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(super) const ASIDE: &str = "aside";
/// How many snapshots are kept.
const GENERATIONS_KEPT: usize = 2;

/// A data directory, locked.
pub struct DataDirectory {
    fs: Arc<dyn FileSystem>,
    root: PathBuf,
    manifest: Manifest,
    /// Naming a manifest failed: nobody knows whether that one counts.
    is_unknown: bool,
    _lock: Lock,
}

impl DataDirectory {
    /// Opens the directory at `root`, or makes one there, with `fresh_store_id`, if there is none
    /// or an empty one.
    pub fn open(fs: Arc<dyn FileSystem>, root: &Path, fresh_store_id: u128) -> Result<Self> {
        make_root(&*fs, root)?;
        let names = names(&*fs, root)?;
        if !names.contains(LOCK) {
            look(&*fs, root)?; // before the lock file is made
        }
        let lock = lock(&*fs, root)?;
        finish(&*fs, root, &log_directory(root))?;
        let manifest = match look(&*fs, root)? {
            Some(manifest) => {
                // A process that was killed may have named it and not synced the folder.
                fs.sync_dir(root).map_err(Error::io("syncing the folder", root))?;
                manifest
            }
            None => make_store(&*fs, root, fresh_store_id)?,
        };
        Ok(Self { fs, root: root.to_path_buf(), manifest, is_unknown: false, _lock: lock })
    }

    /// Opens a directory that is being restored, for whoever restores it: to see that it can be.
    pub fn open_restoring(fs: Arc<dyn FileSystem>, root: &Path) -> Result<Self> {
        let lock = lock(&*fs, root)?;
        let manifest = look_past_marks(&*fs, root)?;
        let manifest = manifest.ok_or_else(|| {
            Error::corrupt(manifest_path(root, 1), 0, "a manifest; it is missing")
        })?;
        Ok(Self { fs, root: root.to_path_buf(), manifest, is_unknown: false, _lock: lock })
    }

    /// Which store it is: random, given when it was made.
    pub fn store_id(&self) -> u128 {
        self.manifest.store_id
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the log is.
    pub fn log_directory(&self) -> PathBuf {
        log_directory(&self.root)
    }

    /// The snapshots that count, newest first.
    pub fn generations(&self) -> &[Generation] {
        &self.manifest.generations
    }

    /// The files with what was pushed.
    pub fn history(&self) -> &History {
        &self.manifest.history
    }

    /// The number of the manifest that counts: it counts up.
    pub fn number(&self) -> u64 {
        self.manifest.number
    }

    /// What the log must hold for these snapshots.
    pub fn log_identity(&self) -> LogIdentity {
        self.manifest.log_identity()
    }

    /// Opens a file of a snapshot, its hash verified. May be called from many threads at once.
    pub fn open_snapshot(
        &self,
        generation: &Generation,
        listed: &ListedFile,
    ) -> Result<SnapshotFile> {
        let file = SnapshotFile::open(&*self.fs, &self.root, listed);
        let file = file.map_err(|error| in_snapshot(error, generation))?;
        let header = file.header();
        let belongs = header.store_id == self.store_id()
            && header.snapshot_id == generation.snapshot_id
            && header.lsn == generation.lsn
            && generation.files.len() == header.shards as usize + 1;
        if belongs {
            return Ok(file);
        }
        let error = Error::corrupt(self.root.join(&listed.name), 0, "a file of this snapshot");
        Err(in_snapshot(error, generation))
    }

    /// Lets a finished snapshot count, with the history that goes with it, and the oldest of three
    /// no more. The log must be durable up to the last LSN of it.
    pub fn commit(&mut self, generation: Generation, history: History) -> Result<()> {
        let mut generations = vec![generation];
        generations.append(&mut self.manifest.generations.clone());
        generations.truncate(GENERATIONS_KEPT);
        self.replace(generations, history)
    }

    /// The parts of the history that may be merged: those that lie before every snapshot, so that
    /// whichever one falls back to, what was merged is behind it.
    pub fn settled_history(&self) -> impl Iterator<Item = &HistoryPart> {
        let oldest = self.manifest.generations.last();
        let is_early = planted("merged beyond the older snapshot");
        let oldest = if is_early { self.manifest.generations.first() } else { oldest };
        let settled = oldest.map_or(Lsn(0), |generation| generation.lsn);
        self.manifest.history.parts.iter().filter(move |part| part.last <= settled)
    }

    /// Whether all of these parts still count, and may be merged: they lie before every snapshot,
    /// or are those of one range of the log, which then stays what it is.
    pub fn may_merge(&self, parts: &[HistoryPart]) -> bool {
        let is_one = parts.is_sorted_by(|a, b| a.range() == b.range());
        let listed = &self.manifest.history.parts;
        parts.iter().all(|part| self.settled_history().any(|settled| settled == part))
            || (is_one && parts.iter().all(|part| listed.contains(part)))
    }

    /// Lets parts of the history count in place of those that were merged into them, which go.
    /// Refused unless all of these [may be merged](Self::may_merge).
    pub fn commit_merged(&mut self, to: Vec<HistoryPart>, from: &[HistoryPart]) -> Result<()> {
        if !self.may_merge(from) {
            return Err(Error::refused("a part of the history that does not count any more"));
        }
        if planted("merged parts removed too early") {
            let paths = from.iter().map(|source| self.root.join(&source.file.name));
            paths.for_each(|path| drop(self.fs.remove(&path)));
        }
        let mut history = self.manifest.history.clone();
        history.parts.retain(|part| !from.contains(part));
        history.parts.extend(to);
        self.replace(self.manifest.generations.clone(), history)
    }

    /// Lets another manifest count. What it lists no more is removed; what cannot be removed then
    /// is set aside at the next start.
    fn replace(&mut self, generations: Vec<Generation>, history: History) -> Result<()> {
        let number = self.manifest.number + 1;
        let manifest = Manifest { number, store_id: self.store_id(), generations, history };
        let older = manifest_path(&self.root, self.manifest.number);
        let gone = self.listed_alone_in(&self.manifest, &manifest).into_iter().chain([older]);
        let remove_gone = || gone.for_each(|path| drop(self.fs.remove(&path)));
        if planted("older snapshot removed too early") {
            remove_gone.clone()();
        }
        if let Err(error) = manifest.write_aside(&*self.fs, &self.root) {
            let unlisted = self.listed_alone_in(&manifest, &self.manifest);
            unlisted.into_iter().for_each(|path| drop(self.fs.remove(&path)));
            return Err(error);
        }
        self.is_unknown = true;
        manifest.name(&*self.fs, &self.root)?;
        self.is_unknown = false;

        remove_gone();
        self.manifest = manifest;
        for folder in [SNAPSHOTS, HISTORY] {
            let _ = self.fs.sync_dir(&self.root.join(folder));
        }
        let _ = self.fs.sync_dir(&self.root);
        Ok(())
    }

    /// Whether a commit failed so that nobody knows which manifest counts: the next start will see.
    /// Until then nothing may be built upon either.
    pub fn is_unknown(&self) -> bool {
        self.is_unknown
    }

    /// The files that `one` lists and `other` does not.
    fn listed_alone_in(&self, one: &Manifest, other: &Manifest) -> Vec<PathBuf> {
        let others: BTreeSet<&str> = other.files().map(|file| file.name.as_str()).collect();
        let alone = one.files().filter(|file| !others.contains(file.name.as_str()));
        alone.map(|file| self.root.join(&file.name)).collect()
    }

    /// Removes unfinished files and older manifests, and sets aside what no manifest lists; gives
    /// the new paths. To be called when snapshots and log were found good.
    pub fn tidy(&self) -> Result<Vec<PathBuf>> {
        for name in names(&*self.fs, &self.root)? {
            let older = manifest_number(&name).is_some_and(|n| n < self.manifest.number);
            if older || is_unfinished_manifest(&name) {
                let path = self.root.join(name);
                self.fs.remove(&path).map_err(Error::io("removing", &path))?;
            }
        }
        // Stores that are older than the history are without its folder. It is not made when it is
        // needed: if its name could not be synced then, nothing written later would bring it back.
        let history = self.root.join(HISTORY);
        if self.fs.metadata(&history).is_err() {
            self.fs.create_dir_all(&history).map_err(Error::io("making", &history))?;
            self.fs.sync_dir(&self.root).map_err(Error::io("syncing the folder", &self.root))?;
        }
        let listed = self.listed();
        let mut set_aside = Vec::new();
        for folder in [SNAPSHOTS, HISTORY] {
            let folder = self.root.join(folder);
            for name in names_if_there(&*self.fs, &folder)? {
                let path = folder.join(&name);
                if name.ends_with(".tmp") {
                    self.fs.remove(&path).map_err(Error::io("removing", &path))?;
                } else if !listed.contains(&path) {
                    set_aside.push(self.set_aside(&path, &name)?);
                }
            }
        }
        Ok(set_aside)
    }

    /// Removes all that was set aside, copies of a recovery too; how many files these were.
    pub fn clear_aside(&self) -> Result<u64> {
        let mut removed = 0;
        let mut folders = vec![self.root.join(ASIDE)];
        while let Some(folder) = folders.pop() {
            let paths = names_if_there(&*self.fs, &folder)?.into_iter().map(|n| folder.join(n));
            folders.extend(paths.filter(|path| !self.is_file(path)));
            removed += self.remove_where(&folder, |path| self.is_file(path))?;
        }
        let is_aside = |path: &Path| path.extension().is_some_and(|what| what == "aside");
        Ok(removed + self.remove_where(&self.log_directory(), is_aside)?)
    }

    /// Removes what the manifest lists no more and could not be removed when it was replaced.
    pub fn remove_unlisted(&self) -> Result<()> {
        let listed = self.listed();
        for folder in [SNAPSHOTS, HISTORY] {
            self.remove_where(&self.root.join(folder), |path| !listed.contains(path))?;
        }
        Ok(())
    }

    fn listed(&self) -> BTreeSet<PathBuf> {
        self.manifest.files().map(|file| self.root.join(&file.name)).collect()
    }

    fn is_file(&self, path: &Path) -> bool {
        self.fs.metadata(path).is_ok_and(|metadata| !metadata.is_directory)
    }

    /// Removes some files of a folder, which need not be there, and syncs it; how many.
    fn remove_where(&self, folder: &Path, goes: impl Fn(&Path) -> bool) -> Result<u64> {
        let mut removed = 0;
        for name in names_if_there(&*self.fs, folder)? {
            let path = folder.join(name);
            if goes(&path) {
                self.fs.remove(&path).map_err(Error::io("removing", &path))?;
                removed += 1;
            }
        }
        if removed > 0 {
            self.fs.sync_dir(folder).map_err(Error::io("syncing the folder", folder))?;
        }
        Ok(removed)
    }

    fn set_aside(&self, path: &Path, name: &str) -> Result<PathBuf> {
        let aside = self.root.join(ASIDE);
        self.fs.create_dir_all(&aside).map_err(Error::io("making", &aside))?;
        self.fs.sync_dir(&self.root).map_err(Error::io("syncing the folder", &self.root))?;
        let taken = names(&*self.fs, &aside)?;
        let free = (0..).map(|copy| format!("{name}.{copy}")).find(|name| !taken.contains(name));
        let to = aside.join(free.unwrap_or_default());
        self.fs.rename(path, &to).map_err(Error::io("setting aside", path))?;
        // The new name before the old one, so that one of them is always there.
        for directory in [aside.as_path(), path.parent().unwrap_or(&self.root)] {
            self.fs.sync_dir(directory).map_err(Error::io("syncing the folder", directory))?;
        }
        Ok(to)
    }
}

/// The manifest of an existing store, all it lists found to be there; `None` where there is nothing
/// yet. Only reads.
fn look(fs: &dyn FileSystem, root: &Path) -> Result<Option<Manifest>> {
    refuse_marked(&names(fs, root)?, root)?;
    look_past_marks(fs, root)
}

fn look_past_marks(fs: &dyn FileSystem, root: &Path) -> Result<Option<Manifest>> {
    let Some(manifest) = Manifest::read_newest(fs, root)? else {
        return refuse_unless_new(fs, root).map(|()| None);
    };
    look_at_listed(fs, root, &manifest)?;
    Ok(Some(manifest))
}
