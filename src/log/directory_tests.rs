//! Who gets a data directory, what counts in it, and that a refusal changes nothing.

use super::{
    DataDirectory, Generation, Lsn, SnapshotHeader, SnapshotWriter,
    history_fixture::history_to,
    manifest::{Manifest, manifest_path},
};
use crate::{
    disk::{Cut, FileSystem, Moment, RealFs, SimulatedFs},
    error::{Error, Result},
};
use parking_lot::Mutex;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

const ROOT: &str = "/data";

fn open(fs: &SimulatedFs) -> Result<DataDirectory> {
    DataDirectory::open(Arc::new(fs.clone()), Path::new(ROOT), 0x5709e)
}

fn at(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

fn snapshot(directory: &DataDirectory, fs: &SimulatedFs, id: u64) -> Result<Generation> {
    let lsn = Lsn(id * 10);
    let header = SnapshotHeader { snapshot_id: id, store_id: directory.store_id(), shards: 2, lsn };
    let mut writer = SnapshotWriter::create(Arc::new(fs.clone()), directory.root(), header)?;
    writer.add(0, format!("entry of {id}").as_bytes())?;
    writer.finish(lsn.next())
}

fn commit(directory: &mut DataDirectory, fs: &SimulatedFs, generation: Generation) -> Result<()> {
    let history = history_to(fs, directory, generation.lsn)?;
    directory.commit(generation, history)
}

/// A disk with a store and this many snapshots.
fn store(snapshots: u64) -> SimulatedFs {
    let fs = SimulatedFs::new();
    let mut directory = open(&fs).unwrap();
    for id in 1..=snapshots {
        let generation = snapshot(&directory, &fs, id).unwrap();
        commit(&mut directory, &fs, generation).unwrap();
    }
    fs
}

/// Opens, expects to be refused without a byte changed, and gives the error.
fn refused(fs: &SimulatedFs) -> Error {
    let before = fs.contents();
    let Err(error) = open(fs) else { panic!("the directory was opened") };
    assert!(before == fs.contents(), "something was changed on disk: {error}");
    error
}

fn listed(fs: &SimulatedFs) -> Vec<String> {
    fs.contents().keys().map(|path| path.display().to_string()).collect()
}

/// A name may be in the kernel alone when a process is killed.
#[test]
fn what_a_killed_process_had_not_synced_is_synced_before_anything_stands_on_it() {
    let fs = SimulatedFs::new();
    let met: Arc<Mutex<Vec<Moment>>> = Arc::default();
    let moments = Arc::clone(&met);
    fs.watch(move |_, moment| moments.lock().push(moment));
    let mut directory = open(&fs).unwrap();
    for id in 1..=2 {
        let generation = snapshot(&directory, &fs, id).unwrap();
        commit(&mut directory, &fs, generation).unwrap();
    }
    fs.unwatch();
    for moment in met.lock().drain(..) {
        let fs = moment.crash(0, Cut::Process);
        let mut directory = open(&fs).unwrap();
        directory.tidy().unwrap();
        let generation = snapshot(&directory, &fs, 9).unwrap();
        commit(&mut directory, &fs, generation).unwrap();
        for seed in 0..10 {
            let after = open(&fs.crash(seed, Cut::Power)).unwrap();
            assert_eq!(after.generations(), directory.generations());
        }
    }
}

#[test]
fn a_new_directory_gets_a_store_id_and_keeps_it() {
    let fs = SimulatedFs::new();
    assert_eq!(open(&fs).unwrap().store_id(), 0x5709e);
    let again = DataDirectory::open(Arc::new(fs.clone()), Path::new(ROOT), 1).unwrap();
    assert_eq!(again.store_id(), 0x5709e);
    assert_eq!(again.tidy().unwrap(), Vec::<PathBuf>::new());
    let names = [
        "/data",
        "/data/LOCK",
        "/data/MANIFEST-1",
        "/data/history",
        "/data/log",
        "/data/snapshots",
    ];
    assert_eq!(listed(&fs), names);
}

#[test]
fn a_second_process_is_told_who_has_the_lock() {
    for real in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let fs: Arc<dyn FileSystem> =
            if real { Arc::new(RealFs) } else { Arc::new(SimulatedFs::new()) };
        let root = if real { folder.path() } else { Path::new(ROOT) };
        let first = DataDirectory::open(Arc::clone(&fs), root, 1).unwrap();
        let error = DataDirectory::open(Arc::clone(&fs), root, 1).err().unwrap();
        let expected = format!("data directory {} is locked by another process", root.display());
        assert_eq!((error.code(), error.to_string()), ("LOCKED", expected));
        drop(first);
        assert_eq!(DataDirectory::open(fs, root, 2).unwrap().store_id(), 1);
    }
}

#[test]
fn a_file_a_foreign_directory_and_a_read_only_one_are_refused() {
    let fs = SimulatedFs::new();
    fs.create_new(Path::new(ROOT)).unwrap();
    assert_eq!(refused(&fs).to_string(), "/data is not a directory");

    let fs = SimulatedFs::new();
    fs.create_dir_all(Path::new(ROOT)).unwrap();
    fs.create_new(&at("thesis.tex")).unwrap();
    assert!(refused(&fs).to_string().contains("is no data directory of nowthen"));

    let fs = SimulatedFs::new();
    fs.create_dir_all(Path::new(ROOT)).unwrap();
    fs.fail_call(fs.calls(), io::ErrorKind::ReadOnlyFilesystem, true);
    assert!(refused(&fs).to_string().starts_with("data directory /data is read-only"));
}

#[test]
fn two_generations_are_kept_and_older_files_go() {
    let fs = store(3);
    let directory = open(&fs).unwrap();
    let ids: Vec<u64> = directory.generations().iter().map(|g| g.snapshot_id).collect();
    assert_eq!(ids, [3, 2]);
    let identity = directory.log_identity();
    assert_eq!((identity.kept_after, identity.reaches), (Lsn(20), Lsn(31)));
    assert_eq!(fs.read_dir(&at("snapshots")).unwrap().len(), 6);
    assert!(!listed(&fs).contains(&"/data/MANIFEST-3".to_string()));
    for generation in directory.generations() {
        for file in &generation.files {
            directory.open_snapshot(generation, file).unwrap().for_each(|_| Ok(())).unwrap();
        }
    }
    let (newer, older) = (&directory.generations()[0], &directory.generations()[1]);
    assert!(directory.open_snapshot(newer, &older.files[0]).is_err(), "generations are mixed");
}

#[test]
fn a_listed_file_that_is_missing_or_of_another_length_stops() {
    let name = &open(&store(2)).unwrap().generations()[1].files[0].name.clone();
    let fs = store(2);
    fs.remove(&at(name)).unwrap();
    assert!(refused(&fs).to_string().contains("that the manifest lists; it is missing"));
    let fs = store(2);
    fs.damage(&at(name), |bytes| bytes.truncate(50)).unwrap();
    let Error::Corrupt { path, .. } = refused(&fs) else { panic!() };
    assert_eq!(path, at(name));
}

#[test]
fn an_older_a_missing_or_a_damaged_manifest_stops() {
    let older = store(1).map(&manifest_path(Path::new(ROOT), 2)).unwrap().to_vec();
    let fs = store(3);
    let newest = manifest_path(Path::new(ROOT), 4);
    fs.remove(&newest).unwrap();
    assert!(refused(&fs).to_string().contains("it is missing, though there is data"));

    let file = fs.create_new(&manifest_path(Path::new(ROOT), 2)).unwrap();
    file.write_all_at(0, &older).unwrap();
    assert!(refused(&fs).to_string().contains("it is missing"));

    let fs = store(3);
    fs.damage(&newest, |bytes| bytes[100] ^= 4).unwrap();
    assert!(matches!(refused(&fs), Error::Corrupt { path, .. } if path == newest));
}

#[test]
fn a_directory_of_a_newer_nowthen_is_refused_before_a_byte_is_written() {
    let fs = store(1);
    fs.damage(&manifest_path(Path::new(ROOT), 2), |bytes| {
        bytes[12] |= 2;
        let checksum = crate::disk::frame::checksum(0, &bytes[8..48]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    })
    .unwrap();
    fs.remove(&at("LOCK")).unwrap();
    let error = refused(&fs);
    assert_eq!(error.code(), "VERSION");
    assert!(error.to_string().contains("was written by a newer nowthen"), "{error}");
}

#[test]
fn what_no_manifest_lists_is_set_aside_and_what_is_unfinished_goes() {
    let fs = store(1);
    for round in 0..2 {
        let directory = open(&fs).unwrap();
        snapshot(&directory, &fs, 9).unwrap(); // never committed
        fs.create_new(&at("snapshots/x.snap.tmp")).unwrap();
        fs.create_new(&at("MANIFEST.tmp")).unwrap();
        let aside = directory.tidy().unwrap();
        assert_eq!(aside.len(), 3);
        let name = format!("00000000000000000009-0000.snap.{round}");
        assert_eq!(aside[0], at("aside").join(name));
        assert_eq!(fs.read_dir(&at("snapshots")).unwrap().len(), 3);
        assert!(!listed(&fs).iter().any(|name| name.ends_with(".tmp")));
    }
}

#[test]
fn a_crash_at_any_call_leaves_a_directory_that_opens_with_what_was_committed() {
    let calls = {
        let fs = store(3);
        open(&fs).unwrap().tidy().unwrap();
        fs.calls()
    };
    for call in 0..calls {
        let fs = SimulatedFs::new();
        fs.fail_call(call, io::ErrorKind::Other, true);
        let committed = commit_until_failure(&fs);
        for seed in 0..10 {
            let after = fs.crash(seed, Cut::Power);
            let directory = open(&after).unwrap();
            let newest = directory.generations().first().map_or(0, |g| g.snapshot_id);
            // One more may count: named, its commit not yet reported.
            assert!(committed <= newest && newest <= committed + 1, "call {call} seed {seed}");
            for generation in directory.generations() {
                for file in &generation.files {
                    let file = directory.open_snapshot(generation, file).unwrap();
                    file.for_each(|_| Ok(())).unwrap();
                }
            }
            directory.tidy().unwrap();
        }
    }
}

fn commit_until_failure(fs: &SimulatedFs) -> u64 {
    let Ok(mut directory) = open(fs) else { return 0 };
    for id in 1..=3 {
        let Ok(generation) = snapshot(&directory, fs, id) else { return id - 1 };
        if commit(&mut directory, fs, generation).is_err() {
            return id - 1;
        }
    }
    3
}

#[test]
fn the_manifest_survives_what_commit_could_not_remove() {
    let fs = store(2);
    let mut directory = open(&fs).unwrap();
    let generation = snapshot(&directory, &fs, 3).unwrap();
    let history = history_to(&fs, &directory, generation.lsn).unwrap();
    // Creating, writing, syncing, renaming, syncing the folder: then every removal fails.
    fs.fail_call(fs.calls() + 6, io::ErrorKind::Other, true);
    directory.commit(generation, history).unwrap();
    fs.heal();
    drop(directory);
    let directory = open(&fs).unwrap();
    assert_eq!(directory.generations()[0].snapshot_id, 3);
    assert_eq!(directory.tidy().unwrap().len(), 3);
    let newest = Manifest::read_newest(&fs, Path::new(ROOT)).unwrap().unwrap();
    assert_eq!(newest.number, 4);
}
