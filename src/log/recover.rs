//! What an operator may have done with a damaged directory instead of restoring a backup: give up
//! what is damaged, and keep the rest.
//!
//! ```text
//! judge ─ sound? ─> nothing to do
//!       └> audit ─> copies in aside/ ─> log made anew, aside ─> manifest ─> mark ─> named
//!                                                                 (from here on decided)
//! ```
//! Invariants
//! - Nothing is changed before a copy of every file is safe in its folder, and `audit.log` tells.
//! - A crash at any point leaves what was there, or what will be: every start goes on with it.
//! - What is left is as strict as any other directory: no later start needs to know of it.

use super::{
    audit::append_audit,
    contract::Lsn,
    directory_setup::{LOG, lock, log_directory},
    folder::names_if_there,
    history_files::open_part,
    local::{Rebuild, Survivors, judge_log, rebuild, survivors},
    manifest::{Generation, HISTORY, History, Manifest, SNAPSHOTS},
    marks::refuse_marked,
    options::RecoverMode,
    rebuilt::{decide, finish},
    snapshot::SnapshotFile,
};
use crate::{
    disk::FileSystem,
    error::{Error, Result},
};
use serde_json::json;
use std::{
    io,
    path::{Path, PathBuf},
};

/// What a recovery needs from whoever asks for it.
#[derive(Clone, Copy, Debug)]
pub struct Recovery<'a> {
    /// What to give up.
    pub mode: RecoverMode,
    /// The time, for people to read.
    pub now: &'a str,
    /// Random.
    pub salt: u64,
    /// A record that does nothing.
    pub filler: &'a [u8],
}

/// What a recovery gave up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// LSNs, first and last, of records that are gone from the log.
    pub records: Vec<(Lsn, Lsn)>,
    /// The numbers of the snapshots that are gone.
    pub snapshots: Vec<u64>,
    /// The files of the history that are gone.
    pub history: Vec<String>,
    /// All records up to here are in the oldest snapshot that is left.
    pub in_snapshot: Lsn,
    /// The folder with a copy of all that was there.
    pub copies: PathBuf,
}

/// Gives up what is damaged in the directory at `root`; `None` if nothing is.
pub fn recover(
    fs: &dyn FileSystem,
    root: &Path,
    recovery: &Recovery<'_>,
) -> Result<Option<Losses>> {
    if recovery.mode == RecoverMode::StrictTail || fs.metadata(root).is_err() {
        return Ok(None);
    }
    let names = fs.read_dir(root).map_err(Error::io("listing", root))?;
    refuse_marked(&names.into_iter().map(|entry| entry.name).collect(), root)?;
    let _lock = lock(fs, root)?;
    finish(fs, root, &log_directory(root))?;
    let Some(manifest) = Manifest::read_newest(fs, root)? else { return Ok(None) };
    let log = log_directory(root);
    let judged = judge_log(fs, &log, &manifest.log_identity()).map(drop);
    let is_log_sound = is_sound(judged)?;
    let mut sound = Vec::new();
    for generation in &manifest.generations {
        if is_sound(check_snapshot(fs, root, generation))? {
            sound.push(generation.clone());
        }
    }
    let history = sound_history(fs, root, &manifest)?;
    if is_log_sound && sound.len() == manifest.generations.len() && history == manifest.history {
        return Ok(None);
    }
    let found = survivors(fs, &log, manifest.store_id)?;
    let kept = generations_kept(root, recovery.mode, is_log_sound, sound, &found)?;
    let is_cut = recovery.mode == RecoverMode::PointInTime && !is_log_sound;
    let kept_history =
        if is_cut { history.up_to(found.prefix_end, found.first) } else { history.clone() };
    let dropped = |generation: &&Generation| !kept.contains(generation);
    let snapshots = manifest.generations.iter().filter(dropped).map(|g| g.snapshot_id);
    let mut losses = Losses {
        snapshots: snapshots.collect(),
        history: damaged_names(&manifest.history, &history),
        in_snapshot: kept.last().map_or(Lsn(0), |oldest| oldest.lsn),
        copies: free_folder(fs, root)?,
        ..Losses::default()
    };
    audit(fs, root, recovery, "begun", &losses)?;
    copy_all(fs, root, &losses.copies)?;
    let needed = losses.in_snapshot.next();
    let how = Rebuild {
        store_id: manifest.store_id,
        is_prefix: recovery.mode == RecoverMode::PointInTime,
        first: if found.first == Lsn(0) { needed } else { found.first.min(needed) },
        reaches: manifest.log_identity().reaches.max(found.last),
        salt: recovery.salt,
        filler: recovery.filler,
    };
    let rebuilt = if is_log_sound { None } else { Some(rebuild(fs, &log, &how)?) };
    if !losses.snapshots.is_empty() || kept_history != manifest.history {
        let number = manifest.number + 1;
        let history = kept_history;
        Manifest { number, generations: kept, history, ..manifest }.write(fs, root)?;
    }
    if let Some(rebuilt) = rebuilt {
        losses.records = rebuilt.lost;
        decide(fs, root, rebuilt.first_number)?;
        finish(fs, root, &log)?;
    }
    audit(fs, root, recovery, "done", &losses)?;
    Ok(Some(losses))
}

/// Whether something was found good. That it cannot be read, or is of a newer nowthen, is no
/// damage.
fn is_sound(checked: Result<()>) -> Result<bool> {
    match checked {
        Ok(()) => Ok(true),
        Err(Error::Corrupt { .. }) => Ok(false),
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn check_snapshot(fs: &dyn FileSystem, root: &Path, generation: &Generation) -> Result<()> {
    for listed in &generation.files {
        let file = SnapshotFile::open(fs, root, listed)?;
        file.for_each(|_| Ok(()))?;
        if file.header().snapshot_id != generation.snapshot_id {
            return Err(Error::corrupt(root.join(&listed.name), 0, "a file of this snapshot"));
        }
    }
    Ok(())
}

/// The history without the files that are damaged.
fn sound_history(fs: &dyn FileSystem, root: &Path, manifest: &Manifest) -> Result<History> {
    let mut sound = manifest.history.clone();
    sound.parts.clear();
    for part in &manifest.history.parts {
        if is_sound(open_part(fs, root, part).map(drop))? {
            sound.parts.push(part.clone());
        }
    }
    Ok(sound)
}

fn damaged_names(listed: &History, sound: &History) -> Vec<String> {
    let damaged = listed.parts.iter().filter(|part| !sound.parts.contains(part));
    damaged.map(|part| part.file.name.clone()).collect()
}

/// The snapshots that fit what is left of the log. One that was written while later records came
/// may hold some of them: of a point in time before those it tells too much.
fn generations_kept(
    root: &Path,
    mode: RecoverMode,
    is_log_sound: bool,
    mut sound: Vec<Generation>,
    found: &Survivors,
) -> Result<Vec<Generation>> {
    if mode == RecoverMode::Salvage || is_log_sound {
        return Ok(sound);
    }
    sound.retain(|generation| {
        generation.last_lsn <= found.prefix_end && generation.lsn.next() >= found.first
    });
    if found.prefix_end == Lsn(0) || (sound.is_empty() && found.first != Lsn(1)) {
        return Err(Error::refused(format!(
            "{}: no state before the damage can be made; expected --recover salvage, or a backup",
            root.display()
        )));
    }
    Ok(sound)
}

/// The name of a folder for copies that is not taken.
fn free_folder(fs: &dyn FileSystem, root: &Path) -> Result<PathBuf> {
    let mut folders = (0_u64..).map(|n| root.join("aside").join(format!("recover-{n}")));
    let free = folders.find(|folder| fs.metadata(folder).is_err());
    free.ok_or_else(|| Error::refused("no name is free for the copies"))
}

/// Gives every file one more name, below `to`: no file of ours changes once it is there.
fn copy_all(fs: &dyn FileSystem, root: &Path, to: &Path) -> Result<()> {
    for folder in ["", LOG, SNAPSHOTS, HISTORY] {
        let (from, to) = (root.join(folder), to.join(folder));
        fs.create_dir_all(&to).map_err(Error::io("making", &to))?;
        for name in names_if_there(fs, &from)? {
            let is_ours = folder.is_empty() && !name.starts_with("MANIFEST-");
            if is_ours || name.ends_with(".spare") {
                continue;
            }
            let (path, copy) = (from.join(&name), to.join(&name));
            fs.hard_link(&path, &copy).map_err(Error::io("copying", path))?;
        }
        fs.sync_dir(&to).map_err(Error::io("syncing the folder", &to))?;
    }
    for above in [to.parent().unwrap_or(root), root] {
        fs.sync_dir(above).map_err(Error::io("syncing the folder", above))?;
    }
    Ok(())
}

/// Adds a line to the audit log.
fn audit(
    fs: &dyn FileSystem,
    root: &Path,
    recovery: &Recovery<'_>,
    event: &str,
    losses: &Losses,
) -> Result<()> {
    let records: Vec<[u64; 2]> = losses.records.iter().map(|(a, b)| [a.0, b.0]).collect();
    let line = json!({
        "time": recovery.now,
        "event": format!("recovery {event}"),
        "mode": recovery.mode.to_string(),
        "lost_lsn_ranges": records,
        "dropped_snapshots": losses.snapshots,
        "dropped_history": losses.history,
        "in_snapshot_up_to_lsn": losses.in_snapshot.0,
        "copies": losses.copies.display().to_string(),
    });
    append_audit(fs, root, &line)
}
