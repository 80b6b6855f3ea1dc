//! A backup, and what is restored from it, is whole or seen to be not: power cuts and damage.

use super::{
    BackupOptions, Lsn, RestorePoint, back_up,
    backup_tests::{BACKUP, DATA, NEW, Running, check_restored, restore, store, take},
};
use crate::{
    disk::{Cut, FileSystem, SimulatedFs},
    error::Error,
};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

/// Every name below a folder.
fn names(fs: &SimulatedFs, root: &str) -> BTreeSet<PathBuf> {
    let contents = fs.contents().into_keys();
    contents.filter(|path| path.starts_with(root) && *path != Path::new(root)).collect()
}

#[test]
fn a_crash_while_a_backup_is_taken_leaves_one_that_is_whole_or_refused() {
    let calls = {
        let (fs, _running) = store();
        let before = fs.calls();
        take(&fs).unwrap();
        fs.calls() - before
    };
    let (mut whole, mut unfinished) = (0, 0);
    for call in 0..calls {
        let (fs, running) = store();
        fs.fail_call(fs.calls() + call, io::ErrorKind::Other, true);
        assert!(take(&fs).is_err());
        drop(running);
        for seed in 0..3 {
            let after = fs.crash(seed, Cut::Power);
            assert!(Running::open(&after, DATA).is_ok(), "call {call}: the store still opens");
            if names(&after, BACKUP).is_empty() {
                continue;
            }
            let served = Running::open(&after, BACKUP).err().unwrap();
            assert!(matches!(served, Error::Refused { .. }), "call {call}: {served}");
            match restore(&after, BACKUP, RestorePoint::End) {
                Ok(lsn) => {
                    whole += 1;
                    check_restored(&after, lsn);
                }
                Err(error) => {
                    unfinished += 1;
                    let shown = error.to_string();
                    assert!(shown.contains("is an unfinished backup"), "call {call}: {shown}");
                }
            }
        }
    }
    assert!(whole > 0 && unfinished > 50, "{whole} whole, {unfinished} unfinished");
}

#[test]
fn a_crash_while_restoring_leaves_what_is_whole_or_refused_and_the_source_as_it_was() {
    let (fs, running) = store();
    take(&fs).unwrap();
    drop(running);
    let source = fs.crash(0, Cut::Power); // all of it is on the disk
    let calls = {
        let fs = source.crash(0, Cut::Process);
        restore(&fs, BACKUP, RestorePoint::Lsn(Lsn(65))).unwrap();
        fs.calls()
    };
    let (mut whole, mut half) = (0, 0);
    for call in 0..calls {
        let fs = source.crash(0, Cut::Process);
        fs.fail_call(call, io::ErrorKind::Other, true);
        assert!(restore(&fs, BACKUP, RestorePoint::Lsn(Lsn(65))).is_err());
        for seed in 0..3 {
            let after = fs.crash(seed, Cut::Power);
            let of_source = |fs: &SimulatedFs| {
                let mut contents = fs.contents();
                contents.retain(|path, _| !path.starts_with(NEW));
                contents
            };
            assert!(of_source(&after) == of_source(&source), "call {call}");
            if names(&after, NEW).is_empty() {
                continue;
            }
            match Running::open(&after, NEW) {
                Ok(restored) => {
                    drop(restored);
                    whole += 1;
                    check_restored(&after, Lsn(65));
                }
                Err(error) => {
                    half += 1;
                    assert!(error.to_string().contains("is half restored"), "call {call}: {error}");
                    let again = restore(&after, NEW, RestorePoint::End).unwrap_err().to_string();
                    assert!(again.contains("is half restored"), "call {call}: {again}");
                }
            }
        }
    }
    assert!(whole > 0 && half > 50, "{whole} whole, {half} half");
}

#[test]
fn any_change_of_a_backup_is_found_and_its_file_is_named() {
    let (fs, running) = store();
    take(&fs).unwrap();
    drop(running);
    let source = fs.crash(0, Cut::Process);
    for path in names(&source, BACKUP) {
        if source.contents()[&path].is_none() {
            continue;
        }
        let damages: [fn(&mut Vec<u8>); 3] = [
            |bytes| bytes[20] ^= 4,
            |bytes| bytes.truncate(bytes.len() - 1),
            |bytes| bytes.push(0),
        ];
        for damage in damages {
            let fs = source.crash(0, Cut::Process);
            fs.damage(&path, damage).unwrap();
            let error = restore(&fs, BACKUP, RestorePoint::End).unwrap_err();
            assert!(
                matches!(&error, Error::Corrupt { path: named, .. } if *named == path),
                "{error}"
            );
            assert!(names(&fs, NEW).is_empty(), "nothing was written");
        }
        if path != Path::new("/backup/BACKUP") {
            let fs = source.crash(0, Cut::Process);
            fs.remove(&path).unwrap();
            let error = restore(&fs, BACKUP, RestorePoint::End).unwrap_err();
            assert!(error.to_string().contains("it is missing"), "{error}");
        }
    }
    for more in ["/backup/log/wal-00000000000000000099.log", "/backup/MANIFEST-9"] {
        let fs = source.crash(0, Cut::Process);
        fs.create_new(Path::new(more)).unwrap();
        let error = restore(&fs, BACKUP, RestorePoint::End).unwrap_err().to_string();
        assert!(error.contains("no file that the backup does not list"), "{error}");
    }
}

#[test]
fn damage_of_the_data_directory_is_not_taken_along() {
    let (fs, running) = store();
    running.append(75);
    let source = fs.crash(0, Cut::Process); // as killed: the last segment has no footer
    drop(running);
    let last = names(&source, "/data/log")
        .into_iter()
        .rfind(|path| path.extension().is_some_and(|extension| extension == "log"));
    for path in names(&source, DATA) {
        let is_spare = path.extension().is_some_and(|extension| extension == "spare");
        let is_empty = source.contents()[&path].as_ref().is_none_or(Vec::is_empty);
        if is_spare || is_empty {
            continue;
        }
        let fs = source.crash(0, Cut::Process);
        // In the last segment this is a frame that the next one proves to have been durable.
        let flip = |bytes: &mut Vec<u8>| {
            let at = 600.min(bytes.len() - 1);
            bytes[at] ^= 1;
        };
        fs.damage(&path, flip).unwrap();
        let error = take(&fs).unwrap_err();
        assert!(matches!(&error, Error::Corrupt { path: named, .. } if *named == path), "{error}");
    }
    // A last frame that is not whole was never acknowledged, as far as anyone can tell.
    let fs = source.crash(0, Cut::Process);
    fs.damage(&last.unwrap(), |bytes| {
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[end] ^= 1;
    })
    .unwrap();
    assert_eq!(take(&fs).unwrap().manifest.last_lsn, Lsn(74));
    let missing = fs.crash(0, Cut::Process);
    let snapshot = names(&missing, "/data/snapshots").into_iter().next().unwrap();
    missing.remove(&snapshot).unwrap();
    missing.remove(Path::new("/backup/BACKUP")).unwrap();
    let error = back_up(
        &missing,
        (Path::new(DATA), Path::new("/other")),
        &BackupOptions::default(),
        &mut |_, _| {},
    );
    let error = error.unwrap_err();
    assert!(matches!(&error, Error::Corrupt { path, .. } if *path == snapshot), "{error}");
}
