//! A look at everything in a data directory: manifest, snapshots, log, and what belongs to none.
//!
//! ```text
//! manifest ─> each file of each generation ─> each segment ─> what the log lacks ─> other files
//! ```
//! Invariants
//! - Nothing is changed, not even a time: files are only read, and none is mapped.
//! - What is found does not end the look. An error is given only if there is no store to look at.
//! - A directory at rest is locked against servers meanwhile. Of a running store only what cannot
//!   change is read; what it gives up meanwhile is no damage.

use super::{
    audit::AUDIT,
    contract::{Log, LogIdentity, SegmentInfo},
    directory::ASIDE,
    directory_setup::{LOCK, LOG},
    examination::{Decoders, Examination, Progress, Report},
    folder::{names, names_if_there},
    history_files::survey_part,
    local::{LogFile, Part, Survey, log_file},
    manifest::{Generation, HISTORY, Manifest, SNAPSHOTS, is_unfinished_manifest, manifest_number},
    marks::refuse_unfinished,
    snapshot::survey_generation,
};
use crate::{
    disk::{FileSystem, Lock},
    error::{Error, Result},
};
use std::{
    collections::BTreeSet,
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Folders that no start reads.
const OTHER_FOLDERS: [&str; 2] = [ASIDE, "training"];

/// Looks at the data directory `root`, which no server may use meanwhile.
///
/// `LOCKED`: a server uses it. Another refusal: there is no store there.
pub fn verify(
    fs: &dyn FileSystem,
    root: &Path,
    decoders: &Decoders,
    progress: Progress<'_>,
) -> Result<Report> {
    let _lock = lock(fs, root)?;
    let names = names(fs, root)?;
    refuse_unfinished(&names, root)?;
    let has_manifest = names.iter().any(|name| manifest_number(name).is_some());
    if !has_manifest && !names.contains(LOG) && !names.contains(SNAPSHOTS) {
        let shown = root.display();
        return Err(Error::refused(format!("{shown} holds no store of nowthen")));
    }
    let mut examination = Examination::new(fs, decoders, progress);
    let manifest = match Manifest::read_newest(fs, root) {
        Ok(Some(manifest)) => Some(manifest),
        Ok(None) => {
            examination.damage(root.join("MANIFEST-1"), 0, "a manifest; it is missing", None);
            None
        }
        Err(error) => {
            examination.failed(root, error, None);
            None
        }
    };
    let log_names = names_of(&mut examination, &root.join(LOG));
    let numbers = log_names.iter().filter_map(|name| match log_file(name) {
        LogFile::Segment(number) => Some(number),
        LogFile::Spare | LogFile::Other => None,
    });
    let parts: Vec<Part> = numbers.map(Part::at_rest).collect();
    examination.total_bytes = listed_bytes(manifest.as_ref()) + bytes_below(fs, &root.join(LOG));

    if let Some(manifest) = &manifest {
        examination.report.store_id = Some(manifest.store_id);
        examination.report.manifest = Some(manifest.number);
        for generation in &manifest.generations {
            survey_generation(&mut examination, root, manifest.store_id, generation);
        }
        for part in &manifest.history.parts {
            survey_part(&mut examination, root, part);
        }
    }
    let identity = manifest.as_ref().map(|manifest| identity_of(manifest, manifest));
    let directory = root.join(LOG);
    let survey = Survey { directory: &directory, identity, parts, is_trimmed: &|_| false };
    survey.run(&mut examination);
    tell_of_others(&mut examination, root, &names, &log_names, manifest.as_ref());
    Ok(examination.report)
}

/// Looks at the store in `root`, which this process runs with `log`.
pub fn verify_running(
    fs: &dyn FileSystem,
    root: &Path,
    log: &dyn Log,
    decoders: &Decoders,
    progress: Progress<'_>,
) -> Result<Report> {
    let mut examination = Examination::new(fs, decoders, progress);
    // The log reaches what an older manifest says, and begins no later than a newer one wants.
    let older = current_manifest(fs, root)?;
    let segments = log.segments();
    let manifest = current_manifest(fs, root)?;
    examination.total_bytes =
        listed_bytes(Some(&manifest)) + segments.iter().map(|segment| segment.bytes).sum::<u64>();
    examination.report.store_id = Some(manifest.store_id);
    examination.report.manifest = Some(manifest.number);
    for generation in &manifest.generations {
        let found_before = examination.report.findings.len();
        survey_generation(&mut examination, root, manifest.store_id, generation);
        let is_good = examination.report.findings.len() == found_before;
        if !is_good && !is_listed(&current_manifest(fs, root)?, generation) {
            // A newer snapshot has taken its place, and its files are gone.
            examination.report.findings.truncate(found_before);
            examination.report.generations.pop();
        }
    }
    for part in &manifest.history.parts {
        let found_before = examination.report.findings.len();
        survey_part(&mut examination, root, part);
        let is_good = examination.report.findings.len() == found_before;
        if !is_good && !current_manifest(fs, root)?.history.parts.contains(part) {
            examination.report.findings.truncate(found_before);
        }
    }
    let directory = root.join(LOG);
    let survey = Survey {
        directory: &directory,
        identity: Some(identity_of(&manifest, &older)),
        parts: segments.iter().map(Part::of_running).collect(),
        is_trimmed: &|number| is_trimmed(log, number),
    };
    survey.run(&mut examination);
    Ok(examination.report)
}

/// What the log must be for these manifests: `newest` says from where it is kept, `older`, which
/// may be the same, how far it reaches.
fn identity_of(newest: &Manifest, older: &Manifest) -> LogIdentity {
    LogIdentity { reaches: older.log_identity().reaches, ..newest.log_identity() }
}

fn is_listed(manifest: &Manifest, generation: &Generation) -> bool {
    manifest.generations.iter().any(|listed| listed.snapshot_id == generation.snapshot_id)
}

/// How often the manifest is looked for, which a snapshot that ends now replaces.
const MANIFEST_TRIES: usize = 100;

/// The manifest of a running store.
fn current_manifest(fs: &dyn FileSystem, root: &Path) -> Result<Manifest> {
    let mut tries = 0;
    loop {
        tries += 1;
        match Manifest::read_newest(fs, root) {
            Ok(Some(manifest)) => return Ok(manifest),
            Err(Error::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound && tries < MANIFEST_TRIES => {}
            Ok(None) => return Err(Error::corrupt(root, 0, "a manifest; it is missing")),
            Err(error) => return Err(error),
        }
    }
}

/// How long a log takes at most to forget a segment that it has removed.
const FORGET_MAX: Duration = Duration::from_secs(1);

/// Whether a running log has given up segment `number`.
fn is_trimmed(log: &dyn Log, number: u64) -> bool {
    let started = Instant::now();
    loop {
        let has = |segment: &SegmentInfo| segment.number == number;
        if !log.segments().iter().any(has) {
            return true;
        }
        if started.elapsed() > FORGET_MAX {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Keeps servers away. A directory without a lock file was copied, and nobody uses it; none is
/// made.
fn lock(fs: &dyn FileSystem, root: &Path) -> Result<Option<Lock>> {
    match fs.metadata(root) {
        Ok(metadata) if metadata.is_directory => {}
        Ok(_) => return Err(Error::refused(format!("{} is not a directory", root.display()))),
        Err(error) => return Err(Error::io("looking at the data directory", root)(error)),
    }
    match fs.lock_shared(&root.join(LOCK)) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(Error::refused_as(
            "LOCKED",
            format!(
                "data directory {} is in use by a server; ask that with FS.VERIFY, or stop it",
                root.display()
            ),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("locking the data directory", root)(error)),
    }
}

/// The names in a folder that must be there.
fn names_of(examination: &mut Examination<'_>, directory: &Path) -> BTreeSet<String> {
    names(examination.fs, directory).unwrap_or_else(|error| {
        examination.failed(directory, error, None);
        BTreeSet::new()
    })
}

fn listed_bytes(manifest: Option<&Manifest>) -> u64 {
    let files = manifest.into_iter().flat_map(Manifest::files);
    files.fold(0, |sum: u64, file| sum.saturating_add(file.bytes))
}

fn bytes_below(fs: &dyn FileSystem, directory: &Path) -> u64 {
    let names = names(fs, directory).unwrap_or_default();
    let segments = names.iter().filter(|name| matches!(log_file(name), LogFile::Segment(_)));
    let metadata = segments.filter_map(|name| fs.metadata(&directory.join(name)).ok());
    metadata.map(|metadata| metadata.bytes).sum()
}

/// Tells of files that no manifest lists and no start reads.
fn tell_of_others(
    examination: &mut Examination<'_>,
    root: &Path,
    names: &BTreeSet<String>,
    log_names: &BTreeSet<String>,
    manifest: Option<&Manifest>,
) {
    for name in names {
        let what = match manifest_number(name) {
            Some(number) if manifest.is_none_or(|manifest| number >= manifest.number) => continue,
            Some(_) => "an older manifest, which the next start removes",
            None if is_unfinished_manifest(name) => "an unfinished manifest, which never counted",
            None if [AUDIT, LOCK, LOG, SNAPSHOTS, HISTORY].contains(&name.as_str()) => continue,
            None if OTHER_FOLDERS.contains(&name.as_str()) => continue,
            None => "no file of a store",
        };
        examination.note(root.join(name), 0, what);
    }
    for name in log_names {
        let what = match log_file(name) {
            LogFile::Segment(_) | LogFile::Spare => continue,
            LogFile::Other if name.ends_with(".aside") => "set aside by an earlier start",
            LogFile::Other => "no file of a log",
        };
        examination.note(root.join(LOG).join(name), 0, what);
    }
    let Some(manifest) = manifest else { return };
    let listed: BTreeSet<_> = manifest.files().map(|file| root.join(&file.name)).collect();
    let history = names_if_there(examination.fs, &root.join(HISTORY)).unwrap_or_default();
    let below = |folder: &str, names: BTreeSet<String>| {
        let folder = root.join(folder);
        names.into_iter().map(move |name| folder.join(name)).collect::<Vec<_>>()
    };
    let snapshots = names_of(examination, &root.join(SNAPSHOTS));
    for path in below(SNAPSHOTS, snapshots).into_iter().chain(below(HISTORY, history)) {
        if path.extension().is_some_and(|extension| extension == "tmp") {
            examination.note(path, 0, "an unfinished file, which never counted");
        } else if !listed.contains(&path) {
            examination.note(path, 0, "no manifest lists it: the next start sets it aside");
        }
    }
}
