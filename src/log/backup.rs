//! A backup of a data directory, taken while its server runs.
//!
//! ```text
//! BACKUP.tmp ─> manifest ─> its snapshots ─> sealed segments ─> whole frames of the last segment
//!    first       └──────────── linked, or copied ───────────┘   copied
//!            ─> all synced ─> judged as a server would, hashed ─> BACKUP, synced and named last
//! ```
//! What it holds: every record that was written to the log before the backup began, and perhaps
//! some that came while it was taken, of these a prefix. No mode acknowledges what is not written,
//! so every write that was acknowledged before the backup began is in it, synced.
//!
//! Invariants
//! - Nothing in the data directory is changed: linked are only files that are never written again.
//! - The server may remove files meanwhile. Then the manifest has changed, and we begin again with
//!   the newer one; what is linked already stays whole.
//! - `BACKUP` has its name only after everything in the folder is synced and was found good.

use super::{
    backup_manifest::BackupManifest,
    directory_setup::LOG,
    folder::names,
    history_files::open_part,
    local::{Recovered, StillLog, segment_names, whole_frames},
    manifest::{HISTORY, ListedFile, Manifest, SNAPSHOTS, is_unfinished_manifest, manifest_path},
    marks::{BACKUP, UNFINISHED_BACKUP, make_empty, refuse_marked},
    snapshot::SnapshotFile,
};
use crate::{
    disk::{File, FileSystem},
    error::{Error, Result},
};
use std::{collections::BTreeSet, io, path::Path};

/// A server removes files at most once per snapshot it takes, so a few times are enough.
const ATTEMPTS_MAX: usize = 20;
/// A file is copied, and hashed, in pieces of this length.
const PIECE_BYTES: usize = 1024 * 1024;

/// The folders of a backup.
pub(super) const FOLDERS: [&str; 3] = [LOG, SNAPSHOTS, HISTORY];

/// How a backup is taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct BackupOptions {
    /// Copy what could be linked, so that the backup shares no byte with the data directory.
    pub is_copy: bool,
    /// Now, in µs since 1970.
    pub begun_us: i64,
}

/// A backup that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenBackup {
    /// What the backup says about itself.
    pub manifest: BackupManifest,
    /// How many of its files share their bytes with the data directory.
    pub linked_files: usize,
}

/// Takes a backup of the data directory `from` into `to`, which is new or empty. `progress` hears
/// how many bytes of how many are done.
pub fn back_up(
    fs: &dyn FileSystem,
    (from, to): (&Path, &Path),
    options: &BackupOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<TakenBackup> {
    let names = names(fs, from)?;
    refuse_marked(&names, from)?;
    if Manifest::read_newest(fs, from).is_ok_and(|manifest| manifest.is_none()) {
        return Err(Error::refused(format!(
            "{} is no data directory of nowthen: there is no manifest in it",
            from.display()
        )));
    }
    make_empty(fs, to, "a backup")?;
    let unfinished = to.join(UNFINISHED_BACKUP);
    let list = fs.create_new(&unfinished).map_err(Error::io("creating", &unfinished))?;
    sync_dir(fs, to)?;
    for name in FOLDERS {
        let folder = to.join(name);
        fs.create_dir_all(&folder).map_err(Error::io("making", &folder))?;
    }
    let mut taking = Taking { fs, from, to, options, linked: BTreeSet::new() };
    let (source, recovered) = taking.take()?;
    let manifest = BackupManifest {
        store_id: source.store_id,
        manifest_number: source.number,
        begun_us: options.begun_us,
        first_lsn: recovered.first_lsn,
        last_lsn: recovered.last_lsn,
        last_clock_us: recovered.last_clock_us,
        files: taking.list(progress)?,
    };
    let bytes = manifest.encode();
    list.write_all_at(0, &bytes).map_err(Error::io("writing the backup's list", &unfinished))?;
    list.sync_data().map_err(Error::io("syncing the backup's list", &unfinished))?;
    let path = to.join(BACKUP);
    fs.rename(&unfinished, &path).map_err(Error::io("naming the backup's list", &path))?;
    sync_dir(fs, to)?;
    Ok(TakenBackup { manifest, linked_files: taking.linked.len() })
}

/// The length and the hash of the file `name` below `root`, which is not written to.
pub(super) fn listed(
    fs: &dyn FileSystem,
    root: &Path,
    name: &str,
    done: &mut dyn FnMut(u64),
) -> Result<ListedFile> {
    let path = root.join(name);
    let bytes = fs.map(&path).map_err(Error::io("reading", &path))?;
    let mut hasher = blake3::Hasher::new();
    for piece in bytes.chunks(PIECE_BYTES) {
        hasher.update(piece);
        done(piece.len() as u64);
    }
    let hash = *hasher.finalize().as_bytes();
    Ok(ListedFile { name: name.to_string(), bytes: bytes.len() as u64, hash })
}

fn sync_dir(fs: &dyn FileSystem, folder: &Path) -> Result<()> {
    fs.sync_dir(folder).map_err(Error::io("syncing the folder", folder))
}

struct Taking<'a> {
    fs: &'a dyn FileSystem,
    from: &'a Path,
    to: &'a Path,
    options: &'a BackupOptions,
    /// The names, below `to`, of what is linked.
    linked: BTreeSet<String>,
}

impl Taking<'_> {
    /// Takes all files, again and again until none was removed meanwhile.
    fn take(&mut self) -> Result<(Manifest, Recovered)> {
        for _ in 0..ATTEMPTS_MAX {
            self.begin_again()?;
            match self.take_once()? {
                Some(taken) => return Ok(taken),
                None => continue,
            }
        }
        Err(Error::refused(format!(
            "{} changed {ATTEMPTS_MAX} times while the backup was taken: take it when the server \
             does not write one snapshot after the other",
            self.from.display()
        )))
    }

    /// Removes what an earlier attempt has taken.
    fn begin_again(&mut self) -> Result<()> {
        self.linked.clear();
        for name in self.taken_names()? {
            let path = self.to.join(name);
            self.fs.remove(&path).map_err(Error::io("removing", &path))?;
        }
        Ok(())
    }

    /// `None` if the server changed the directory in a way that made this useless.
    fn take_once(&mut self) -> Result<Option<(Manifest, Recovered)>> {
        let manifest = match Manifest::read_newest(self.fs, self.from) {
            Ok(Some(manifest)) => manifest,
            // A newer one has its name before the older one goes.
            Ok(None) => return Ok(None),
            Err(error) if is_gone(&error, self.from) => return Ok(None),
            Err(error) => return Err(error),
        };
        let taken = self.take_files(&manifest).and_then(|()| self.judge(&manifest));
        match taken {
            Ok(recovered) => Ok(Some((manifest, recovered))),
            Err(error) => self.give_up_or_begin_again(error, &manifest),
        }
    }

    /// What `error` means: that the server removed a file, or that something is wrong.
    fn give_up_or_begin_again<T>(&self, error: Error, manifest: &Manifest) -> Result<Option<T>> {
        let newest = Manifest::read_newest(self.fs, self.from);
        if !matches!(newest, Ok(Some(newest)) if newest.number == manifest.number) {
            return Ok(None);
        }
        let is_gone_at = is_gone(&error, self.from);
        match error {
            // Only what a manifest does not need is removed while it counts.
            error if is_gone(&error, &self.from.join(LOG)) => Ok(None),
            Error::Io { path, .. } if is_gone_at => {
                Err(Error::corrupt(path, 0, "a file that the manifest lists; it is missing"))
            }
            Error::Corrupt { path, offset, expected } => {
                // Damage that was taken along is damage of the data directory.
                let found = path.strip_prefix(self.to).map(|below| self.from.join(below));
                Err(Error::Corrupt { path: found.unwrap_or(path), offset, expected })
            }
            other => Err(other),
        }
    }

    fn take_files(&mut self, manifest: &Manifest) -> Result<()> {
        let number = manifest.number;
        let path = manifest_path(Path::new(""), number);
        self.link(&path.to_string_lossy())?;
        for file in manifest.files() {
            self.link(&file.name)?;
        }
        let log = self.from.join(LOG);
        let mut segments =
            segment_names(self.fs, &log).map_err(Error::io("listing the log", &log))?;
        let last = segments.pop();
        for name in segments {
            self.link(&format!("{LOG}/{name}"))?;
        }
        if let Some(name) = last {
            let content = whole_frames(self.fs, &log.join(&name))?;
            let path = self.to.join(LOG).join(name);
            let file = self.fs.create_new(&path).map_err(Error::io("creating", &path))?;
            file.write_all_at(0, &content).map_err(Error::io("writing", &path))?;
            file.sync_data().map_err(Error::io("syncing", &path))?;
        }
        for folder in FOLDERS {
            sync_dir(self.fs, &self.to.join(folder))?;
        }
        sync_dir(self.fs, self.to)
    }

    /// Takes a file that is never written again, and syncs it.
    fn link(&mut self, name: &str) -> Result<()> {
        let (from, to) = (self.from.join(name), self.to.join(name));
        if !self.options.is_copy {
            match self.fs.hard_link(&from, &to) {
                Ok(()) => {
                    self.linked.insert(name.to_string());
                    let file = self.fs.open_read(&to).map_err(Error::io("opening", &to))?;
                    return file.sync_data().map_err(Error::io("syncing", &to));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(Error::io("linking", from)(error));
                }
                // Another file system, or one without links, or a file of somebody else.
                Err(_) => {}
            }
        }
        let source = self.fs.open_read(&from).map_err(Error::io("opening", &from))?;
        let file = self.fs.create_new(&to).map_err(Error::io("creating", &to))?;
        copy(&*source, &*file).map_err(Error::io("copying to", &to))?;
        file.sync_data().map_err(Error::io("syncing", &to))
    }

    /// What was taken must be what a server would start from.
    fn judge(&self, manifest: &Manifest) -> Result<Recovered> {
        for file in manifest.generations.iter().flat_map(|generation| &generation.files) {
            SnapshotFile::open(self.fs, self.to, file)?;
        }
        for part in &manifest.history.parts {
            open_part(self.fs, self.to, part)?;
        }
        let log = StillLog::open(self.fs, &self.to.join(LOG), &manifest.log_identity())?;
        Ok(log.recovered().clone())
    }

    /// The names of all files taken so far, below the backup.
    fn taken_names(&self) -> Result<Vec<String>> {
        let in_folder = |folder: &str| {
            let names = names(self.fs, &self.to.join(folder))?;
            Ok(names.into_iter().map(|name| format!("{folder}/{name}")).collect::<Vec<_>>())
        };
        let own = |name: &String| {
            !FOLDERS.contains(&name.as_str())
                && name != UNFINISHED_BACKUP
                && !is_unfinished_manifest(name)
        };
        let mut taken: Vec<String> = names(self.fs, self.to)?.into_iter().filter(own).collect();
        for folder in FOLDERS {
            taken.extend(in_folder(folder)?);
        }
        Ok(taken)
    }

    fn list(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Vec<ListedFile>> {
        let names = self.taken_names()?;
        let (mut done, mut total) = (0, 0);
        for name in &names {
            let path = self.to.join(name);
            total += self.fs.metadata(&path).map_err(Error::io("looking at", &path))?.bytes;
        }
        let mut more = |bytes: u64| {
            done += bytes;
            progress(done, total);
        };
        names.iter().map(|name| listed(self.fs, self.to, name, &mut more)).collect()
    }
}

/// Whether `error` says that a file below `root` is not there.
fn is_gone(error: &Error, root: &Path) -> bool {
    let is_missing = |source: &io::Error| source.kind() == io::ErrorKind::NotFound;
    matches!(error, Error::Io { source, path, .. } if is_missing(source) && path.starts_with(root))
}

fn copy(from: &dyn File, to: &dyn File) -> io::Result<()> {
    let (mut buffer, mut offset) = (vec![0; PIECE_BYTES], 0);
    loop {
        let read = from.read_at(offset, &mut buffer)?;
        to.write_all_at(offset, buffer.get(..read).unwrap_or_default())?;
        offset += read as u64;
        if read < PIECE_BYTES {
            return Ok(());
        }
    }
}
