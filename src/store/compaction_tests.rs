//! What was pushed is found whole, whatever of it is merged meanwhile, forgotten or cut off.

use super::{
    Clock, Compacted, FeatureRow, MergePolicy, Store, StoreOptions, history_attack_fixture::*,
    restore,
};
use crate::{
    disk::{Cut, FileSystem, Moment, SimulatedFs},
    error::{Error, Result},
    feature::{CellWrite, Timestamp, Value},
    log::{Lsn, RestorePoint, RestoreSource},
};
use parking_lot::Mutex;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Merges whatever may be merged.
fn all() -> MergePolicy {
    MergePolicy { parts_min: 2, parts_max: 99, growth: 1, parts_many: 0, ..MergePolicy::default() }
}

fn compact(store: &Store) -> Result<Option<Compacted>> {
    store.compact_history(&all(), &mut || true)
}

/// A store with so many checkpoints, `rows` pushes to each of two users before each.
fn store(fs: &SimulatedFs, checkpoints: i64, rows: i64) -> Arc<Store> {
    let store = open(fs);
    apply(&store, DEFINITIONS);
    for round in 0..checkpoints {
        for event in round * rows + 1..=round * rows + rows {
            push(&store, "a", event, &format!("a {event}"));
            push(&store, "b", event, &format!("b {event}"));
        }
        store.checkpoint().unwrap();
    }
    store
}

fn count(store: &Store, user: &str) -> usize {
    writes(store, user, &["spending:genre"]).unwrap().len()
}

fn history_files(fs: &SimulatedFs) -> usize {
    fs.read_dir(Path::new("/data/history")).unwrap().len()
}

#[test]
fn what_is_merged_reads_as_before_and_stays_so() {
    let fs = SimulatedFs::new();
    let standing = store(&fs, 6, 10);
    let before = writes(&standing, "a", &["spending:genre", "spending:spend"]).unwrap();
    assert_eq!((before.len(), history_files(&fs)), (60, 6));
    let parts = firsts_and_lasts(&standing);
    let done = compact(&standing).unwrap().unwrap();
    assert_eq!((done.view_name.as_str(), done.files, done.rows), ("spending", 5, 100));
    assert_eq!(firsts_and_lasts(&standing), [(parts[0].0, parts[4].1), parts[5]]);
    assert_eq!(standing.history_size().0, 2);
    assert_eq!(compact(&standing).unwrap(), None, "nothing is left to merge");
    assert_eq!(history_files(&fs), 2, "the sources are gone");
    let same = |store: &Store| {
        let now = writes(store, "a", &["spending:genre", "spending:spend"]).unwrap();
        assert!(now == before);
    };
    same(&standing);
    standing.close().unwrap();
    drop(standing);
    let again = open(&fs);
    same(&again);
    assert_eq!(again.directory.lock().tidy().unwrap(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn by_itself_a_store_merges_from_four_files_on() {
    let fs = SimulatedFs::new();
    let standing = store(&fs, 4, 5);
    let due = |store: &Store| store.compact_history(&MergePolicy::default(), &mut || true);
    assert_eq!(due(&standing).unwrap(), None, "the fourth lies behind the older snapshot");
    push(&standing, "a", 99, "more");
    standing.checkpoint().unwrap();
    assert_eq!(due(&standing).unwrap().unwrap().files, 4);
}

/// Falling back to the older snapshot, a part that reaches beyond it would be left out, and the
/// log does not have what it held before.
#[test]
fn no_merged_part_reaches_beyond_the_older_snapshot() {
    let fs = SimulatedFs::new();
    let standing = open(&fs);
    apply(&standing, DEFINITIONS);
    let mut event = 0;
    for round in 0..8 {
        for _ in 0..17 {
            event += 1;
            push(&standing, "a", event, &format!("x {event}").repeat(20));
        }
        if round == 7 {
            break;
        }
        standing.checkpoint().unwrap();
        compact(&standing).unwrap();
        let older = standing.directory.lock().generations().last().unwrap().lsn;
        let ends_between = |(first, last): (u64, u64)| last <= older.0 || first > older.0;
        assert!(firsts_and_lasts(&standing).into_iter().all(ends_between));
    }
    assert_eq!(firsts_and_lasts(&standing).len(), 2);
    standing.close().unwrap();
    drop(standing);
    let shared: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let source = RestoreSource::open(&*shared, Path::new("/data"), &mut |_, _| {}).unwrap();
    let mut reached = 0;
    for lsn in 1..=source.last_lsn().0 {
        let Ok(plan) = source.plan(RestorePoint::Lsn(Lsn(lsn))) else { continue };
        let to = format!("/to-{lsn}");
        restore(&shared, &source, &plan, Path::new(&to), &mut |_, _| {}).unwrap();
        let restored = try_open(&fs, &to, NOW).unwrap();
        // The first record is that of the definitions.
        assert_eq!(count(&restored, "a") as u64, lsn - 1, "restored to LSN {lsn}");
        compact(&restored).unwrap();
        assert_eq!(count(&restored, "a") as u64, lsn - 1, "and compacted");
        reached += 1;
    }
    assert!(reached > 17, "{reached}");
}

/// The log may still have every record: then one can go back to before both snapshots.
#[test]
fn of_two_views_one_is_merged_and_both_are_restored() {
    let fs = SimulatedFs::new();
    let options = StoreOptions::default();
    let clock = Clock::manual(NOW);
    let shared: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let standing = Store::open(Arc::clone(&shared), Path::new("/data"), &options, clock).unwrap();
    let other = "[view.other]\nentity = \"user\"\nfeatures = { score = \"float64\" }\n";
    apply(&standing, &format!("{DEFINITIONS}{other}"));
    for event in 1..=12 {
        push(&standing, "a", event, "x");
        let schema = standing.schema();
        let view = schema.catalog.view("other").unwrap();
        let cells = vec![(0, CellWrite::Value(Value::Float64(1.0)))];
        let (key, event) = (b"user:a".to_vec(), Timestamp(event));
        let row = FeatureRow { key, event, created: None, cells };
        let pushed = standing.keyspace().push_rows(&schema, view, vec![row]).unwrap();
        standing.acknowledged_blocking(pushed.wait_for.unwrap()).unwrap();
        if event.us() % 3 == 0 {
            standing.checkpoint().unwrap();
        }
    }
    // One of the two.
    compact(&standing).unwrap().unwrap();
    assert_eq!((standing.history_size().0, standing.log_status().first), (6, Lsn(1)));
    standing.close().unwrap();
    drop(standing);
    let source = RestoreSource::open(&*shared, Path::new("/data"), &mut |_, _| {}).unwrap();
    for lsn in 1..=source.last_lsn().0 {
        let plan = source.plan(RestorePoint::Lsn(Lsn(lsn))).unwrap();
        let to = format!("/to-{lsn}");
        restore(&shared, &source, &plan, Path::new(&to), &mut |_, _| {}).unwrap();
        let restored = try_open(&fs, &to, NOW).unwrap();
        let found = ["spending:spend", "other:score"].map(|name| {
            let is_known = restored.schema().catalog.select(&[name]).is_ok();
            if is_known { writes(&restored, "a", &[name]).unwrap().len() as u64 } else { 0 }
        });
        assert_eq!(found, [lsn / 2, (lsn - 1) / 2], "restored to LSN {lsn}");
        drop(restored);
        fs.contents().keys().rev().filter(|path| path.starts_with(&to)).for_each(|path| {
            let _ = fs.remove(path);
        });
    }
}

/// A reader that has the sources in hand, and one that comes to a file that is gone.
#[test]
fn a_reader_meets_a_compaction() {
    let fs = SimulatedFs::new();
    let standing = store(&fs, 6, 10);
    // Files are opened as they are read: after the first row those of all the others are gone.
    let found = found_while(&standing, || drop(compact(&standing).unwrap().unwrap()));
    assert_eq!(found, 120);
    let found = found_while(&standing, || {
        standing.checkpoint().unwrap();
        push(&standing, "a", 999, "more");
        standing.checkpoint().unwrap();
        compact(&standing).unwrap().unwrap();
    });
    assert!((120..=121).contains(&found), "{found}");
}

#[test]
fn readers_and_compactions_race() {
    let fs = SimulatedFs::new();
    let standing = store(&fs, 2, 5);
    let (pushed, stop) = (AtomicU64::new(10), AtomicBool::new(false));
    let (odd, merged) = (Mutex::new(Vec::new()), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let least = pushed.load(Ordering::SeqCst);
                    let found = writes(&standing, "a", &["spending:spend"]);
                    let most = pushed.load(Ordering::SeqCst) + 1;
                    match found {
                        Ok(found) if (least..=most).contains(&(found.len() as u64)) => {
                            let times: Vec<_> =
                                found.iter().map(|entry| entry.stamp.event).collect();
                            if !times.is_sorted_by(|a, b| a < b) {
                                odd.lock().push("a row is there twice".into());
                            }
                        }
                        Ok(found) => {
                            odd.lock().push(format!("{} of {least} to {most}", found.len()));
                        }
                        Err(error) => odd.lock().push(error.to_string()),
                    }
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                match compact(&standing) {
                    Ok(done) => drop(merged.fetch_add(u64::from(done.is_some()), Ordering::SeqCst)),
                    Err(error) => odd.lock().push(format!("compaction: {error}")),
                }
            }
        });
        for event in 11..=160 {
            push(&standing, "a", event, &format!("a {event}"));
            pushed.store(event as u64, Ordering::SeqCst);
            if event % 3 == 0 {
                standing.checkpoint().unwrap();
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
    let odd = odd.into_inner();
    assert!(odd.is_empty(), "{}: {:?}", odd.len(), &odd[..odd.len().min(5)]);
    assert!(merged.load(Ordering::SeqCst) > 5, "{merged:?}");
    assert_eq!(count(&standing, "a"), 160);
}

#[test]
fn forgetting_ends_a_compaction_and_nothing_of_it_is_left() {
    let fs = SimulatedFs::new();
    let standing = open(&fs);
    apply(&standing, DEFINITIONS);
    for round in 0..6 {
        for event in round * 1000..round * 1000 + 900 {
            push(&standing, SECRET, event, SECRET);
        }
        push(&standing, "other", round, "other");
        standing.checkpoint().unwrap();
    }
    let (asked, forgotten) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let erasing = scope.spawn(|| {
            while asked.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            standing.forget(format!("user:{SECRET}").as_bytes()).unwrap();
            forgotten.store(true, Ordering::SeqCst);
            files_with(&fs, "/data", SECRET.as_bytes())
        });
        // Goes on for ever, if it is not told to end.
        let done = standing.compact_history(&all(), &mut || {
            asked.fetch_add(1, Ordering::SeqCst);
            while !standing.compactions.is_stopped() {
                std::thread::yield_now();
            }
            true
        });
        assert_eq!(done.unwrap(), None);
        assert_eq!(erasing.join().unwrap(), Vec::<String>::new());
    });
    assert!(forgotten.load(Ordering::SeqCst));
    assert_eq!((count(&standing, SECRET), count(&standing, "other")), (0, 6));
    assert!(!standing.is_compacting());
    compact(&standing).unwrap().unwrap();
    assert_eq!(files_with(&fs, "/data", SECRET.as_bytes()), Vec::<String>::new());
    assert_eq!(count(&standing, "other"), 6);
}

#[test]
fn a_merged_file_is_written_anew_without_who_is_forgotten() {
    let fs = SimulatedFs::new();
    let standing = open(&fs);
    apply(&standing, DEFINITIONS);
    for round in 0..5 {
        push(&standing, SECRET, round, SECRET);
        push(&standing, "other", round, "other");
        standing.checkpoint().unwrap();
    }
    assert_eq!(compact(&standing).unwrap().unwrap().rows, 8);
    let receipt = standing.forget(format!("user:{SECRET}").as_bytes()).unwrap();
    assert_eq!((receipt.erased.history_rows, receipt.erased.history_files), (5, 2));
    assert_eq!(files_with(&fs, "/data", SECRET.as_bytes()), Vec::<String>::new());
    assert_eq!(count(&standing, "other"), 5);
    compact(&standing).unwrap();
    assert_eq!(count(&standing, "other"), 5);
}

#[test]
fn a_crash_at_any_call_of_a_compaction_leaves_the_history_whole() {
    let fs = SimulatedFs::new();
    let standing = store(&fs, 4, 5);
    let met: Arc<Mutex<Vec<Moment>>> = Arc::default();
    let moments = Arc::clone(&met);
    fs.watch(move |_, moment| moments.lock().push(moment));
    compact(&standing).unwrap().unwrap();
    fs.unwatch();
    drop(standing);
    let (mut merged, mut moments) = (0, 0);
    for (seed, moment) in met.lock().drain(..).enumerate() {
        for (cut, seeds) in [(Cut::Process, 1), (Cut::Power, 6)] {
            for more in 0..seeds {
                let fs = moment.crash(seed as u64 * 100 + more, cut);
                let store = open(&fs);
                assert_eq!((count(&store, "a"), count(&store, "b")), (20, 20));
                moments += 1;
                merged += usize::from(store.history_size().0 == 2);
                compact(&store).unwrap();
                assert_eq!((count(&store, "a"), store.history_size().0), (20, 2));
            }
        }
    }
    assert!(merged > 0 && merged < moments, "{merged} of {moments}");
}

#[test]
fn a_compaction_that_fails_at_any_call_changes_nothing() {
    let (mut failed, mut number) = (0, 0);
    loop {
        let fs = SimulatedFs::new();
        let standing = store(&fs, 4, 5);
        fs.fail_call(fs.calls() + number, std::io::ErrorKind::StorageFull, false);
        let done = compact(&standing);
        let calls = fs.failed_calls();
        if calls.is_empty() {
            break;
        }
        number += 1;
        fs.heal();
        if standing.check_poison().is_ok() {
            assert_eq!(count(&standing, "a"), 20, "{calls:?}");
        }
        if let Err(error) = done {
            failed += 1;
            assert!(!matches!(error, Error::Corrupt { .. }), "{calls:?}: {error:?}");
            if standing.check_poison().is_ok() {
                assert_eq!(history_files(&fs), 4, "{calls:?}");
                compact(&standing).unwrap().unwrap();
            } else {
                assert_eq!(compact(&standing).unwrap_err().code(), "IOERR");
            }
        }
        drop(standing);
        let fs = fs.crash(number, Cut::Power);
        let again = open(&fs);
        assert_eq!((count(&again, "a"), count(&again, "b")), (20, 20), "{calls:?}");
    }
    assert!(failed > 5, "{failed} of {number}");
}

#[test]
fn a_damaged_file_is_left_alone_and_what_lies_beside_it_is_merged() {
    let fs = SimulatedFs::new();
    let standing = store(&fs, 7, 5);
    let name = {
        let directory = standing.directory.lock();
        let third = directory.history().parts.get(2).unwrap();
        third.file.name.clone()
    };
    let path = Path::new("/data").join(name);
    fs.damage(&path, |bytes| bytes[100] ^= 1).unwrap();
    let policy = MergePolicy { parts_max: 3, ..all() };
    let mut errors = 0;
    let mut merged = 0;
    for _ in 0..9 {
        match standing.compact_history(&policy, &mut || true) {
            Ok(Some(done)) => merged += done.files,
            Ok(None) => break,
            Err(Error::Corrupt { path: named, .. }) if named == path => errors += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((errors, merged), (1, 5));
    assert!(fs.contents().contains_key(&path));
}
