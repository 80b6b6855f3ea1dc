//! Restores a data directory to one of its records, from a backup or from a stopped server's data.
//!
//! ```text
//! source:  snapshot 3 ─ LSN 1..60   snapshot 4 ─ LSN 1..95    log LSN 31 ... 120
//! to 80:   snapshot 3 ─ LSN 1..60                             log LSN 31 ... 80
//!
//! RESTORING ─> snapshots ─> log ─> manifest ─> all synced, read back ─> (opened) ─> mark removed
//!   first                                                                            last
//! ```
//! What is restored is another store: it gets a store id of its own, and its log other salts. The
//! old store may have gone on after that record, and from here both do. So no segment and no
//! snapshot of one may ever be taken for one of the other.
//!
//! Invariants
//! - Nothing is written before all of the source was found good; the source is never changed.
//! - A snapshot is taken only if no record after the one asked for can be in it.
//! - What is half restored carries the mark, and nothing opens it but who restores it.

use super::{
    backup::{FOLDERS, listed},
    backup_manifest::BackupManifest,
    contract::Lsn,
    directory_setup::{LOCK, LOG},
    folder::{names, names_if_there},
    history_files::{copy_part, open_part},
    local::{Anew, StillLog},
    manifest::{Generation, HISTORY, History, Manifest, SNAPSHOTS, manifest_path},
    marks::{BACKUP, RESTORING, make_empty, refuse_unfinished},
    snapshot::{SnapshotFile, copy_snapshot_file},
};
use crate::{
    disk::{FileSystem, Lock},
    error::{Error, Result},
    feature::Timestamp,
};
use std::{
    io,
    path::{Path, PathBuf},
};

const MARK_TEXT: &[u8] = b"nowthen is restoring into this folder, or was interrupted doing so.\n";

/// The record to which a store is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestorePoint {
    /// The last one there is.
    End,
    /// This one.
    Lsn(Lsn),
    /// The last one of which the frame in the log was written at or before this time.
    Time(Timestamp),
}

/// A backup, or a data directory that no server has open: found good.
pub struct RestoreSource<'a> {
    fs: &'a dyn FileSystem,
    root: PathBuf,
    manifest: Manifest,
    log: StillLog<'a>,
    backup: Option<BackupManifest>,
    _lock: Option<Lock>,
}

/// What a restore takes from its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestorePlan {
    /// The last record.
    pub lsn: Lsn,
    /// The clock of the frame it stands in, in µs since 1970; `None` if no log tells.
    pub clock_us: Option<i64>,
    /// The snapshots, newest first; without one the log is replayed from its first record.
    generations: Vec<Generation>,
    history: History,
}

impl RestorePlan {
    /// How long the files of snapshots and history are.
    fn bytes(&self) -> u64 {
        let snapshots = self.generations.iter().flat_map(|generation| &generation.files);
        let history = self.history.parts.iter().map(|part| &part.file);
        snapshots.chain(history).map(|file| file.bytes).sum()
    }
}

impl<'a> RestoreSource<'a> {
    /// Opens a backup, of which every file is compared with its hash, or a data directory, which
    /// stays locked. `progress` hears how many bytes of how many of a backup were compared.
    pub fn open(
        fs: &'a dyn FileSystem,
        root: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self> {
        let names = names(fs, root)?;
        refuse_unfinished(&names, root)?;
        let (backup, held) = if names.contains(BACKUP) {
            let backup = BackupManifest::read(fs, root)?;
            compare(fs, root, &backup, progress)?;
            (Some(backup), None)
        } else if Manifest::read_newest(fs, root)?.is_some() {
            (None, lock_still(fs, root)?)
        } else {
            return Err(Error::refused(format!(
                "{} is neither a backup nor a data directory of nowthen",
                root.display()
            )));
        };
        let manifest = Manifest::read_newest(fs, root)?;
        let manifest = manifest.ok_or_else(|| {
            Error::corrupt(manifest_path(root, 1), 0, "a manifest; it is missing")
        })?;
        let log = StillLog::open(fs, &root.join(LOG), &manifest.log_identity())?;
        let source = Self { fs, root: root.to_path_buf(), manifest, log, backup, _lock: held };
        source.is_what_it_says()?;
        Ok(source)
    }

    /// What a backup says about itself; `None` for a data directory.
    pub fn backup(&self) -> Option<&BackupManifest> {
        self.backup.as_ref()
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The last record in it.
    pub fn last_lsn(&self) -> Lsn {
        self.log.recovered().last_lsn
    }

    /// How to restore to `point`; a refusal that names what can be reached if that cannot.
    pub fn plan(&self, point: RestorePoint) -> Result<RestorePlan> {
        let first = self.log.recovered().first_lsn;
        let lsn = match point {
            RestorePoint::End => self.last_lsn(),
            RestorePoint::Lsn(lsn) if lsn > self.last_lsn() => {
                return Err(Error::refused(format!(
                    "LSN {lsn} is not there: the last record is LSN {} of {}",
                    self.last_lsn(),
                    Timestamp(self.log.recovered().last_clock_us).to_iso()
                )));
            }
            RestorePoint::Lsn(lsn) => lsn,
            RestorePoint::Time(time) => self.last_at(time)?,
        };
        let all = self.manifest.generations.iter();
        let generations: Vec<_> =
            all.filter(|generation| generation.last_lsn <= lsn).cloned().collect();
        if generations.is_empty() && first > Lsn(1) {
            return Err(self.too_early(&match point {
                RestorePoint::Time(time) => time.to_iso(),
                RestorePoint::End | RestorePoint::Lsn(_) => format!("LSN {lsn}"),
            }));
        }
        let history = self.manifest.history.up_to(lsn, first);
        Ok(RestorePlan { lsn, clock_us: self.clock_of(lsn)?, generations, history })
    }

    /// The ways that lead to the same state: the plan itself, and if there is one, that which uses
    /// as little of the snapshots and as much of the log as there is.
    pub fn ways(&self, plan: &RestorePlan) -> Vec<RestorePlan> {
        let mut long_way = plan.clone();
        match self.log.recovered().first_lsn {
            Lsn(1) => long_way.generations.clear(),
            _ => drop(long_way.generations.drain(..long_way.generations.len().saturating_sub(1))),
        }
        let mut ways = vec![plan.clone()];
        if long_way != *plan {
            ways.push(long_way);
        }
        ways
    }

    /// Restores into `to`, which is new or empty, as store `store_id`; `seed` is random. `progress`
    /// hears how many bytes of how many were read.
    pub fn restore(
        &self,
        plan: &RestorePlan,
        to: &Path,
        (store_id, seed): (u128, u64),
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<UnfinishedRestore<'a>> {
        let fs = self.fs;
        self.check_files(plan)?;
        make_empty(fs, to, "a restore")?;
        let mark = to.join(RESTORING);
        let file = fs.create_new(&mark).map_err(Error::io("creating", &mark))?;
        file.write_all_at(0, MARK_TEXT).map_err(Error::io("writing", &mark))?;
        file.sync_data().map_err(Error::io("syncing", &mark))?;
        sync_dir(fs, to)?;
        for name in FOLDERS {
            let folder = to.join(name);
            fs.create_dir_all(&folder).map_err(Error::io("making", &folder))?;
        }
        sync_dir(fs, to)?;

        let total = plan.bytes() + self.log.bytes();
        let mut done = 0;
        let mut more = |bytes: u64| {
            done += bytes;
            progress(done, total);
        };
        let mut generations = plan.generations.clone();
        for file in generations.iter_mut().flat_map(|generation| &mut generation.files) {
            *file = copy_snapshot_file(fs, (&self.root, file), to, store_id)?;
            more(file.bytes);
        }
        for part in &plan.history.parts {
            copy_part(fs, &self.root, part, to)?;
            more(part.file.bytes);
        }
        sync_dir(fs, &to.join(SNAPSHOTS))?;
        sync_dir(fs, &to.join(HISTORY))?;
        let anew = Anew { store_id, seed, last_lsn: plan.lsn };
        self.log.write_to(&to.join(LOG), &anew, &mut more)?;
        let history = plan.history.clone();
        // Numbers go on: the names of history files end with them, and none is given twice.
        let number = self.manifest.number;
        let manifest = Manifest { number, store_id, generations, history };
        manifest.write(fs, to)?;
        // Read back as the next server will; the snapshots were when they were copied.
        let log = StillLog::open(fs, &to.join(LOG), &manifest.log_identity())?;
        if log.recovered().last_lsn != plan.lsn {
            return Err(Error::corrupt(to.join(LOG), 0, format!("records up to LSN {}", plan.lsn)));
        }
        Ok(UnfinishedRestore { fs, root: to.to_path_buf() })
    }

    /// Of a backup every hash was compared already.
    fn check_files(&self, plan: &RestorePlan) -> Result<()> {
        let files = plan.generations.iter().flat_map(|generation| &generation.files);
        for file in files.filter(|_| self.backup.is_none()) {
            if let Err(error) = SnapshotFile::open(self.fs, &self.root, file) {
                return Err(missing_is_damage(error));
            }
        }
        for part in plan.history.parts.iter().filter(|_| self.backup.is_none()) {
            open_part(self.fs, &self.root, part).map_err(missing_is_damage)?;
        }
        Ok(())
    }

    /// A backup holds the store and the records that it says.
    fn is_what_it_says(&self) -> Result<()> {
        let Some(backup) = &self.backup else { return Ok(()) };
        let recovered = self.log.recovered();
        let found = (self.manifest.store_id, recovered.first_lsn, recovered.last_lsn);
        if found == (backup.store_id, backup.first_lsn, backup.last_lsn) {
            return Ok(());
        }
        let expected = format!("LSN {} to {}, as in its log", found.1, found.2);
        Err(Error::corrupt(self.root.join(BACKUP), 16, expected))
    }

    /// The last record whose frame was written by `time`.
    fn last_at(&self, time: Timestamp) -> Result<Lsn> {
        let mut last = None;
        self.log.frames(|_, last_lsn, clock_us| {
            let is_in_time = clock_us <= time.us();
            last = if is_in_time { Some(last_lsn) } else { last };
            is_in_time
        })?;
        last.ok_or_else(|| self.too_early(&time.to_iso()))
    }

    fn clock_of(&self, lsn: Lsn) -> Result<Option<i64>> {
        let mut clock = None;
        self.log.frames(|first_lsn, last_lsn, clock_us| {
            clock = (first_lsn <= lsn && lsn <= last_lsn).then_some(clock_us);
            last_lsn < lsn
        })?;
        Ok(clock)
    }

    fn too_early(&self, wanted: &str) -> Error {
        let first = self.log.recovered().first_lsn;
        let oldest = self.manifest.generations.last();
        let earliest = match first {
            Lsn(1) => first,
            _ => oldest.map_or(first, |oldest| oldest.last_lsn),
        };
        let mut from = None;
        let read = self.log.frames(|_, last_lsn, clock_us| {
            from = (last_lsn >= earliest).then_some(Timestamp(clock_us));
            from.is_none()
        });
        if let Err(error) = read {
            return error;
        }
        let by_time =
            from.map_or_else(String::new, |from| format!("; by time, from {} on", from.to_iso()));
        Error::refused(format!(
            "{wanted} cannot be reached: the log begins with LSN {first}, and the earliest record \
             to restore to is LSN {earliest}{by_time}"
        ))
    }
}

/// A restore of which everything is written and synced, but which still carries its mark.
#[must_use = "it is not restored before it is finished"]
pub struct UnfinishedRestore<'a> {
    fs: &'a dyn FileSystem,
    root: PathBuf,
}

impl UnfinishedRestore<'_> {
    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Removes the mark: from here on it is a data directory.
    pub fn finish(self) -> Result<()> {
        let mark = self.root.join(RESTORING);
        sync_dir(self.fs, &self.root)?;
        self.fs.remove(&mark).map_err(Error::io("removing", &mark))?;
        sync_dir(self.fs, &self.root)
    }
}

/// Keeps servers away from a data directory, which is not changed, so it may be read-only to us.
/// One without a lock file was copied, and nobody uses it.
fn lock_still(fs: &dyn FileSystem, root: &Path) -> Result<Option<Lock>> {
    match fs.lock_shared(&root.join(LOCK)) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(Error::refused_as(
            "LOCKED",
            format!(
                "data directory {} is in use by a server: stop it, or take a backup and restore \
                 from that",
                root.display()
            ),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("locking the data directory", root)(error)),
    }
}

/// Compares every file of a backup with what its list says, and its folders with the list.
fn compare(
    fs: &dyn FileSystem,
    root: &Path,
    backup: &BackupManifest,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let (mut done, total) = (0, backup.files.iter().map(|file| file.bytes).sum());
    let mut more = |bytes: u64| {
        done += bytes;
        progress(done, total);
    };
    for file in &backup.files {
        let found = listed(fs, root, &file.name, &mut more).map_err(missing_is_damage)?;
        if found != *file {
            let hash = blake3::Hash::from(file.hash);
            let expected = format!("{} bytes with blake3 {hash}, as {BACKUP} says", file.bytes);
            return Err(Error::corrupt(root.join(&file.name), 0, expected));
        }
    }
    let expected = format!("MANIFEST-{}", backup.manifest_number);
    let is_listed = |name: &String| backup.files.iter().any(|file| file.name == *name);
    let mut found: Vec<String> = names(fs, root)?
        .into_iter()
        .filter(|name| name.starts_with("MANIFEST-") && *name != expected)
        .collect();
    for folder in FOLDERS {
        let in_folder = names_if_there(fs, &root.join(folder))?;
        found.extend(in_folder.into_iter().map(|name| format!("{folder}/{name}")));
    }
    match found.iter().find(|name| !is_listed(name)) {
        None => Ok(()),
        Some(name) => {
            Err(Error::corrupt(root.join(name), 0, "no file that the backup does not list"))
        }
    }
}

/// A file that is listed and not there is damage, not a failure of the machine.
fn missing_is_damage(error: Error) -> Error {
    match error {
        Error::Io { path, source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Error::corrupt(path, 0, "a file that is listed; it is missing")
        }
        other => other,
    }
}

fn sync_dir(fs: &dyn FileSystem, folder: &Path) -> Result<()> {
    fs.sync_dir(folder).map_err(Error::io("syncing the folder", folder))
}
