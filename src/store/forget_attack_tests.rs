//! What a stranger tried against FS.FORGET: crashes, failing disks, restores, races.

use super::{Store, history_attack_fixture::*};
use crate::{
    disk::{CallKind, Cut, FileSystem, Moment, SimulatedFs},
    feature::{Change, Forgotten},
    online::Seen,
    registry::{DefinitionFile, parse_repository},
};
use parking_lot::Mutex;
use std::{path::Path, sync::Arc};

/// The same with FORGET itself.
#[test]
fn a_reader_misses_what_a_forget_moved() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(&store, DEFINITIONS);
    (1..=100).for_each(|n| push(&store, "a", n, &format!("genre {n}").repeat(9)));
    store.checkpoint().unwrap();
    (101..=200).for_each(|n| push(&store, "a", n, &format!("genre {n}").repeat(9)));
    let found = found_while(&store, || {
        store.forget(b"user:somebody else").unwrap();
    });
    assert_eq!(found, 200);
}

#[test]
fn forget_after_a_restore_survives_a_crash() {
    let fs = restored();
    let standing = try_open(&fs, "/data", NOW.plus_us(5000)).unwrap();
    let met: Arc<Mutex<Vec<(String, Moment)>>> = Arc::default();
    let moments = Arc::clone(&met);
    fs.watch(move |call, moment| {
        moments.lock().push((format!("{:?} {}", call.kind, call.path.display()), moment));
    });
    standing.forget(format!("user:{SECRET}").as_bytes()).unwrap();
    fs.unwatch();
    drop(standing);
    let mut bad = Vec::new();
    for (call, moment) in met.lock().drain(..) {
        let fs = moment.crash(1, Cut::Process);
        match try_open(&fs, "/data", NOW.plus_us(9000)) {
            Err(error) => bad.push(format!("before {call}: {error}")),
            Ok(store) => match writes(&store, "other", &["spending:genre"]) {
                Ok(found) if found.len() == 20 => {}
                Ok(found) => bad.push(format!("before {call}: {} writes of other", found.len())),
                Err(error) => bad.push(format!("before {call}: {error}")),
            },
        }
    }
    assert!(
        bad.is_empty(),
        "{} moments, the first:\n{}",
        bad.len(),
        bad[..bad.len().min(4)].join("\n")
    );
}

#[test]
fn forget_after_a_restore_survives_a_failed_write() {
    let mut bad = Vec::new();
    let mut number = 0;
    loop {
        let fs = restored();
        let store = try_open(&fs, "/data", NOW.plus_us(5000)).unwrap();
        let first = fs.calls();
        fs.fail_call(first + number, std::io::ErrorKind::StorageFull, false);
        let forgot = store.forget(format!("user:{SECRET}").as_bytes());
        let failed = fs.failed_calls();
        if failed.is_empty() {
            break;
        }
        number += 1;
        fs.heal();
        drop(store);
        let fs = fs.crash(1, Cut::Process);
        let opened = try_open(&fs, "/data", NOW.plus_us(9000));
        let found = opened.and_then(|store| writes(&store, "other", &["spending:genre"]));
        match found {
            Ok(found) if found.len() == 20 => {}
            Ok(found) => bad.push(format!("{failed:?} {}: {} writes", forgot.is_ok(), found.len())),
            Err(error) => bad.push(format!("{failed:?} {}: {error}", forgot.is_ok())),
        }
    }
    assert!(
        bad.is_empty(),
        "{} of {number}, the first:\n{}",
        bad.len(),
        bad[..bad.len().min(6)].join("\n")
    );
}

/// a cell that is being admitted.
#[test]
fn a_cell_that_is_being_admitted_does_not_bring_back_who_is_forgotten() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(&store, DEFINITIONS);
    push(&store, SECRET, NOW.us() + 500, SECRET);
    let schema = store.schema.load_full();
    let due = NOW.plus_us(500);
    let key = format!("user:{SECRET}").into_bytes();
    // `Store::admit_due` of a thread whose clock says it is due, and FORGET in between.
    store.future.admit_due(due, |lsn, write| {
        let change = Change::Forget { key: key.clone(), at: NOW };
        let done = store.keyspace().commit(&[&key], |_| Ok((vec![change], ()))).unwrap();
        store.acknowledged_blocking(done.wait_for.unwrap()).unwrap();
        store.admit(&schema, lsn, write);
    });
    store.clock().advance_to(NOW.plus_us(900));
    let entity = schema.catalog.entity("user").unwrap();
    let plan = schema.plan(entity, [&b"genre"[..]]);
    let mut online = None;
    store.keyspace().get_online_features(&key, &plan, store.now(), Seen::Published, |read| {
        online = read.value.and_then(crate::online::ValueRef::to_value);
    });
    assert_eq!(online, None);
}

/// what stood aside, and a crash.
#[test]
fn what_stands_aside_is_gone_after_a_crash_too() {
    let fs = SimulatedFs::new();
    let standing = open(&fs);
    apply(&standing, DEFINITIONS);
    (1..=20).for_each(|n| push(&standing, SECRET, n, SECRET));
    standing.checkpoint().unwrap();
    fs.create_dir_all(Path::new("/data/aside/recover-0")).unwrap();
    let aside = fs.create_new(Path::new("/data/aside/recover-0/x")).unwrap();
    aside.write_all_at(0, SECRET.as_bytes()).unwrap();
    aside.sync_data().unwrap();
    for folder in ["/data/aside/recover-0", "/data/aside", "/data"] {
        fs.sync_dir(Path::new(folder)).unwrap();
    }
    let met: Arc<Mutex<Vec<(String, Moment)>>> = Arc::default();
    let moments = Arc::clone(&met);
    fs.watch(move |call, moment| {
        moments.lock().push((format!("{:?} {}", call.kind, call.path.display()), moment));
    });
    standing.forget(format!("user:{SECRET}").as_bytes()).unwrap();
    fs.unwatch();
    met.lock().push(("after the receipt".into(), fs.moment()));
    drop(standing);
    let mut bad = Vec::new();
    for (seed, (call, moment)) in met.lock().drain(..).enumerate() {
        for (cut, seeds) in [(Cut::Process, 1), (Cut::Power, 8)] {
            for more in 0..seeds {
                let fs = moment.crash(seed as u64 * 100 + more, cut);
                let store = try_open(&fs, "/data", NOW.plus_us(2000)).unwrap();
                if store.forgotten.load().is_empty() {
                    continue;
                }
                store.erase_forgotten().unwrap();
                let found = files_with(&fs, "/data", SECRET.as_bytes());
                if !found.is_empty() {
                    bad.push(format!("{cut:?} before {call}: {found:?}"));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{}:\n{}", bad.len(), bad.join("\n"));
}

/// a removal that fails.
#[test]
fn a_removal_that_fails_is_not_taken_for_erasure() {
    let mut bad = Vec::new();
    let mut number = 0;
    loop {
        let fs = SimulatedFs::new();
        let store = open(&fs);
        apply(&store, DEFINITIONS);
        (1..=20).for_each(|n| push(&store, SECRET, n, SECRET));
        store.checkpoint().unwrap();
        (21..=40).for_each(|n| push(&store, SECRET, n, SECRET));
        let first = fs.calls();
        fs.fail_call(first + number, std::io::ErrorKind::Other, false);
        let forgot = store.forget(format!("user:{SECRET}").as_bytes());
        let failed = fs.failed_calls();
        if failed.is_empty() {
            break;
        }
        number += 1;
        fs.heal();
        if failed[0].kind != CallKind::Remove && failed[0].kind != CallKind::SyncDir {
            continue;
        }
        let found = files_with(&fs, "/data", SECRET.as_bytes());
        if forgot.is_ok() && !found.is_empty() {
            bad.push(format!("{failed:?}: a receipt, and {found:?}"));
        } else if forgot.is_err() && store.check_poison().is_ok() {
            // "its files are erased later"
            let due = store.erasure_is_due();
            let later = store.erase_forgotten();
            let found = files_with(&fs, "/data", SECRET.as_bytes());
            if !found.is_empty() || store.forgotten.load().unerased(99999).next().is_some() {
                bad.push(format!("{failed:?}: due {due} later {later:?}, and {found:?}"));
            }
        }
    }
    assert!(bad.is_empty(), "{} of {number}:\n{}", bad.len(), bad.join("\n"));
}

/// one damaged file of history, then FORGET: do snapshots go on?
#[test]
fn a_damaged_part_and_a_forget_do_not_end_all_snapshots() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(&store, DEFINITIONS);
    (1..=20).for_each(|n| push(&store, "a", n, "x"));
    store.checkpoint().unwrap();
    let folder = Path::new("/data/history");
    let path = folder.join(&fs.read_dir(folder).unwrap()[0].name);
    fs.damage(&path, |bytes| bytes[100] ^= 1).unwrap();
    store.checkpoint().unwrap();
    let forgot = store.forget(b"user:b");
    let error = forgot.unwrap_err();
    let then: Vec<_> = (0..3).map(|_| store.checkpoint().map(drop)).collect();
    drop(store);
    let store = open(&fs.crash(0, Cut::Process));
    let again = store.checkpoint().map(drop);
    assert!(
        then.iter().all(|one| one.is_ok()),
        "{error}; then {then:?}, after a restart {again:?}"
    );
}

/// a read between the manifest and the list of files.
#[test]
fn a_read_while_a_file_is_replaced() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(&store, DEFINITIONS);
    (1..=20).for_each(|n| push(&store, SECRET, n, SECRET));
    (1..=20).for_each(|n| push(&store, "other", n, "other"));
    store.checkpoint().unwrap();
    store.close().unwrap();
    drop(store);
    let store = open(&fs);
    let key = format!("user:{SECRET}").into_bytes();
    let change = Change::Forget { key: key.clone(), at: NOW };
    let done = store.keyspace().commit(&[&key], |_| Ok((vec![change], ()))).unwrap();
    store.acknowledged_blocking(done.wait_for.unwrap()).unwrap();
    let mut directory = store.directory.lock();
    let forgotten = store.forgotten.load_full();
    let history = store.write_pushed(&directory, store.log.last(), &forgotten).unwrap();
    let generation = directory.generations()[0].clone();
    directory.commit(generation, history).unwrap();
    // Here, before `pushed_files_changed`:
    let found = std::thread::scope(|scope| {
        let reader = scope.spawn(|| writes(&store, "other", &["spending:genre"]));
        std::thread::sleep(std::time::Duration::from_millis(50));
        store.pushed_files_changed(&directory, &[]);
        drop(directory);
        reader.join().unwrap()
    });
    assert_eq!(found.unwrap().len(), 20);
}

/// an entity that is defined no more.
#[test]
fn an_entity_that_was_dropped_can_be_forgotten() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(&store, &format!("{DEFINITIONS}[entity.x]\njoin_keys = {{ x = \"string\" }}\n"));
    (1..=20).for_each(|n| push(&store, SECRET, n, SECRET));
    store.checkpoint().unwrap();
    let file = DefinitionFile {
        path: "test".into(),
        text: "[entity.x]\njoin_keys = { x = \"string\" }\n".into(),
    };
    store.apply_definitions(&parse_repository(&[file]).unwrap(), false).unwrap();
    let key = format!("user:{SECRET}").into_bytes();
    // As command/forget.rs does.
    assert!(store.schema().catalog.entity_ever_of_key(&key).is_some());
    assert_eq!(store.forget(&key).unwrap().erased.history_rows, 20);
    assert_eq!(files_with(&fs, "/data", SECRET.as_bytes()), Vec::<String>::new());
    assert!(!store.keyspace().read(&key, Seen::Published, |row| row.is_some()));
}

/// a mark behind the snapshot that is written, which a crash takes back.
#[test]
fn a_mark_behind_the_snapshot_takes_no_pushes_with_it() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(&store, DEFINITIONS);
    (1..=20).for_each(|n| push(&store, "a", n, &"x".repeat(300)));
    let last = store.log.last();
    // FORGET between `last_removal` and `write_pushed`: decided, and not yet on the disk.
    store.note_forgotten(b"user:a", last.next(), NOW);
    let directory = store.directory.lock();
    // What the snapshot had noted before.
    let history = store.write_pushed(&directory, last, &Forgotten::default()).unwrap();
    assert_eq!(history.parts.iter().map(|part| part.rows).sum::<u64>(), 20);
}

/// Who comes back while the erasure of what was before is on its way.
#[test]
fn who_comes_back_before_the_erasure_is_through_loses_nothing() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(&store, DEFINITIONS);
    (1..=20).for_each(|n| push(&store, "a", n, "before"));
    store.checkpoint().unwrap();
    let key = b"user:a".to_vec();
    let change = Change::Forget { key: key.clone(), at: NOW };
    let done = store.keyspace().commit(&[&key], |_| Ok((vec![change], ()))).unwrap();
    store.acknowledged_blocking(done.wait_for.unwrap()).unwrap();
    store.clock().advance_to(NOW.plus_us(500));
    for n in 1..=5 {
        push(&store, "a", NOW.us() + n, "who came back");
        store.checkpoint().unwrap();
        assert_eq!(writes(&store, "a", &["spending:genre"]).unwrap().len() as i64, n);
    }
    let rows = |store: &Store| -> u64 {
        store.directory.lock().history().parts.iter().map(|part| part.rows).sum()
    };
    assert_eq!(rows(&store), 5, "what was before is gone");
    store.forget(&key).unwrap();
    assert_eq!(rows(&store), 0);
}
