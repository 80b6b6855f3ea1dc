//! `nowthen backup` and `nowthen verify-backup`
//!
//! With `--json` one object; LSNs are numbers, times texts in ISO-8601 and UTC:
//!
//! ```text
//! backup         store_id, first_lsn, last_lsn, last_time, files, linked_files, bytes, seconds
//! verify-backup  store_id, first_lsn, last_lsn, last_time, files, bytes, begun,
//!                ways (2: from a snapshot and from the log; 1: that is all it has), keys,
//!                digest, as_of, seconds
//! ```

use super::{
    backup_options::{BackupOptions, VerifyBackupOptions},
    bar::Bar,
};
use crate::{
    disk::{FileSystem, RealFs},
    error::{Error, Result},
    feature::Timestamp,
    log::{self, BackupManifest, RestorePoint, RestoreSource},
    store::{Clock, test_restore},
};
use serde_json::{Map, Value as Json, json};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

/// Takes a backup.
pub fn backup(options: &BackupOptions) -> Result<()> {
    let started = Instant::now();
    let how = log::BackupOptions { is_copy: options.copy, begun_us: Clock::system().now().us() };
    let bar = Bar::of_bytes("backup");
    let taken = log::back_up(&RealFs, (&options.data, &options.to), &how, &mut |done, total| {
        bar.set(done, total);
    })?;
    drop(bar);
    let seconds = started.elapsed().as_secs_f64();
    if options.json {
        let mut told = told(&taken.manifest);
        told.insert("linked_files".into(), json!(taken.linked_files));
        told.insert("seconds".into(), json!(seconds));
        println!("{}", Json::Object(told));
        return Ok(());
    }
    println!(
        "{}: {}, {} of them linked, in {seconds:.2} s",
        options.to.display(),
        shown(&taken.manifest),
        taken.linked_files
    );
    Ok(())
}

/// Restores a backup for a test, and compares.
pub fn verify_backup(options: &VerifyBackupOptions) -> Result<()> {
    let started = Instant::now();
    let fs: Arc<dyn FileSystem> = Arc::new(RealFs);
    let bar = Bar::of_bytes("hash");
    let source = RestoreSource::open(&*fs, &options.backup, &mut |done, total| {
        bar.set(done, total);
    })?;
    drop(bar);
    let Some(manifest) = source.backup() else {
        return Err(Error::refused(format!(
            "{shown} is a data directory and no backup: `nowthen backup {shown} TO` takes one",
            shown = options.backup.display()
        )));
    };
    let plan = source.plan(RestorePoint::End)?;
    let mut scratch = Scratch::new(&options.backup, options.scratch.as_deref())?;
    let bar = Bar::of_bytes("restore");
    let restored = test_restore(&fs, &source, &plan, &mut || scratch.next(), &mut |done, total| {
        bar.set(done, total);
    });
    drop(bar);
    let (state, ways) = restored?;
    let seconds = started.elapsed().as_secs_f64();
    if options.json {
        let mut told = told(manifest);
        told.insert("begun".into(), json!(Timestamp(manifest.begun_us).to_iso()));
        told.insert("ways".into(), json!(ways));
        told.insert("keys".into(), json!(state.keys));
        told.insert("digest".into(), json!(state.digest.to_string()));
        told.insert("as_of".into(), json!(state.as_of.to_iso()));
        told.insert("seconds".into(), json!(seconds));
        println!("{}", Json::Object(told));
        return Ok(());
    }
    println!("{}: {}", options.backup.display(), shown(manifest));
    let by = match ways {
        1 => "restored in the one way there is",
        _ => "restored twice, from a snapshot and from the log, to the same state",
    };
    println!("{by}, in {seconds:.2} s");
    println!("{} keys as of {}, state digest {}", state.keys, state.as_of.to_iso(), state.digest);
    Ok(())
}

fn bytes(manifest: &BackupManifest) -> u64 {
    manifest.files.iter().map(|file| file.bytes).sum()
}

fn shown(manifest: &BackupManifest) -> String {
    let (files, bytes) = (manifest.files.len(), bytes(manifest));
    let (first, last) = (manifest.first_lsn, manifest.last_lsn);
    let when = match manifest.last_clock_us {
        0 => String::new(),
        us => format!(" ({})", Timestamp(us).to_iso()),
    };
    format!("log LSN {first} to {last}{when}, {files} files of {bytes} bytes")
}

fn told(manifest: &BackupManifest) -> Map<String, Json> {
    let last_time = Some(manifest.last_clock_us).filter(|us| *us != 0);
    let told = json!({
        "store_id": format!("{:032x}", manifest.store_id),
        "first_lsn": manifest.first_lsn.0,
        "last_lsn": manifest.last_lsn.0,
        "last_time": last_time.map(|us| Timestamp(us).to_iso()),
        "files": manifest.files.len(),
        "bytes": bytes(manifest),
    });
    match told {
        Json::Object(told) => told,
        _ => Map::new(),
    }
}

/// A temporary folder, gone when it is dropped.
struct Scratch {
    root: PathBuf,
    folders: usize,
}

impl Scratch {
    /// A new one in `place`, or beside the backup.
    fn new(backup: &Path, place: Option<&Path>) -> Result<Self> {
        let backup = std::path::absolute(backup).map_err(Error::io("finding", backup))?;
        let place = place.or(backup.parent()).unwrap_or(&backup);
        let root = place.join(format!("nowthen-verify-backup-{}", std::process::id()));
        fs::create_dir(&root).map_err(Error::io("making a temporary folder", &root))?;
        Ok(Self { root, folders: 0 })
    }

    /// A folder in it; the one before is gone.
    fn next(&mut self) -> Result<PathBuf> {
        self.remove(self.folders)?;
        self.folders += 1;
        Ok(self.folder(self.folders))
    }

    fn folder(&self, number: usize) -> PathBuf {
        self.root.join(format!("way-{number}"))
    }

    fn remove(&self, number: usize) -> Result<()> {
        let folder = self.folder(number);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("removing", folder)(error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("removing {}: {error}", self.root.display());
        }
    }
}
