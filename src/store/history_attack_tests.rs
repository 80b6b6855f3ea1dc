//! What a stranger tried against the history: readers beside checkpoints, full disks, features and
//! views that come and go.

use super::history_attack_fixture::*;
use super::{FeatureRow, Store, restore};
use crate::{
    disk::{Cut, FileSystem, SimulatedFs},
    feature::{CellWrite, Timestamp, Value},
    log::{RestorePoint, RestoreSource},
};
use parking_lot::Mutex;
use std::{path::Path, sync::Arc};

/// two snapshots while a reader is at the files.
#[test]
fn a_reader_misses_what_two_snapshots_moved() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(&store, DEFINITIONS);
    let mut next = 0;
    let mut some = |store: &Store| {
        for _ in 0..100 {
            next += 1;
            push(store, "a", next, &format!("genre {next}").repeat(9));
        }
    };
    some(&store);
    store.checkpoint().unwrap();
    some(&store);
    let found = found_while(&store, || {
        // As FS.FORGET of somebody else does.
        store.keyspace().flush_all().unwrap();
        store.checkpoint().unwrap();
        push(&store, "b", 1, "b");
        store.checkpoint().unwrap();
    });
    assert!(found >= 200, "{found} of 200 that were acknowledged before");
}

/// a view asked for in two versions.
#[test]
fn two_versions_of_a_view_in_one_read() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(&store, DEFINITIONS);
    push(&store, "a", 1, "one");
    apply(
        &store,
        &format!("{DEFINITIONS}\nservice = {{}}")
            .replace("\nservice = {}", "")
            .replace("entity = \"user\"\n", "entity = \"user\"\nttl = \"1h\"\n"),
    );
    let names = ["spending@1:spend", "spending:genre"];
    let of = |store: &Store| {
        let found = writes(store, "a", &names).unwrap();
        found.iter().map(|entry| format!("{:?}", entry.cells)).collect::<Vec<_>>()
    };
    let from_log = of(&store);
    let values = |store: &Store| -> Vec<_> {
        at(store, "a", &names, 50).unwrap().into_iter().map(|a| a.value).collect()
    };
    let then = values(&store);
    store.checkpoint().unwrap();
    assert_eq!((from_log, then), (of(&store), values(&store)));
}

/// two generations of a view in one read.
#[test]
fn two_generations_of_a_view_in_one_read() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(
        &store,
        "[entity.user]\njoin_keys = { user = \"string\" }\n[view.spending]\n\
        entity = \"user\"\nfeatures = { spend = \"float64\" }\n",
    );
    let one = |event: i64, value: Value| {
        let schema = store.schema();
        let view = schema.catalog.view("spending").unwrap();
        let cells = vec![(0, CellWrite::Value(value))];
        let row =
            FeatureRow { key: b"user:a".to_vec(), event: Timestamp(event), created: None, cells };
        let pushed = store.keyspace().push_rows(&schema, view, vec![row]).unwrap();
        store.acknowledged_blocking(pushed.wait_for.unwrap()).unwrap();
    };
    one(1, Value::Float64(1.0));
    apply(
        &store,
        "[entity.user]\njoin_keys = { user = \"string\" }\n[view.spending]\n\
        entity = \"user\"\nfeatures = { spend = \"string\" }\n",
    );
    one(2, Value::String("two".into()));
    let both = at(&store, "a", &["spending@1:spend", "spending:spend"], 50);
    let both: Vec<_> = both.unwrap().into_iter().map(|a| a.value).collect();
    assert_eq!(both, [Some(Value::Float64(1.0)), Some(Value::String("two".into()))]);
}

/// 8b: the same, of one type.
#[test]
fn two_generations_of_one_type_in_one_read() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    let of = |types: &str| {
        format!(
            "[entity.user]\njoin_keys = {{ user = \"string\" }}\n[view.spending]\n\
            entity = \"user\"\nfeatures = {{ spend = \"float64\", other = \"{types}\" }}\n"
        )
    };
    let one = |event: i64, value: f64| {
        let schema = store.schema();
        let view = schema.catalog.view("spending").unwrap();
        let cells = vec![(0, CellWrite::Value(Value::Float64(value)))];
        let row =
            FeatureRow { key: b"user:a".to_vec(), event: Timestamp(event), created: None, cells };
        let pushed = store.keyspace().push_rows(&schema, view, vec![row]).unwrap();
        store.acknowledged_blocking(pushed.wait_for.unwrap()).unwrap();
    };
    apply(&store, &of("float64"));
    one(1, 1.0);
    apply(&store, &of("string"));
    one(2, 2.0);
    let read = |names: &[&str]| -> Vec<_> {
        at(&store, "a", names, 50).unwrap().into_iter().map(|a| a.value).collect()
    };
    let alone = [read(&["spending@1:spend"]).remove(0), read(&["spending:spend"]).remove(0)];
    assert_eq!(read(&["spending@1:spend", "spending:spend"]), alone);
}

/// what a failed history leaves.
#[test]
fn a_snapshot_without_its_history_leaves_no_files() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(&store, DEFINITIONS);
    (1..=20).for_each(|n| push(&store, "a", n, "x"));
    store.checkpoint().unwrap();
    (1..=20).for_each(|n| push(&store, "a", n, "x"));
    let mut left = Vec::new();
    for number in 0..200 {
        let before = fs.read_dir(Path::new("/data/snapshots")).unwrap().len();
        fs.fail_call(fs.calls() + number, std::io::ErrorKind::StorageFull, false);
        let done = store.checkpoint();
        let failed = fs.failed_calls();
        fs.heal();
        if done.is_ok() {
            continue;
        }
        if store.check_poison().is_err() {
            break; // a manifest of unknown fate may list them
        }
        let after = fs.read_dir(Path::new("/data/snapshots")).unwrap().len();
        if after > before {
            left.push(format!("{:?}: {before} then {after}", failed.last()));
        }
    }
    assert!(left.is_empty(), "{}:\n{}", left.len(), left[..left.len().min(5)].join("\n"));
}

/// restored to every record, the history is what it was.
#[test]
fn the_history_of_every_record() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(&store, DEFINITIONS);
    let mut pushed_by = vec![0_usize; 2]; // by LSN
    let mut one = |store: &Store, n: i64| {
        push(store, "a", n, &format!("x {n}").repeat(20));
        let last = *pushed_by.last().unwrap();
        pushed_by.push(last + 1);
        assert_eq!(store.log.last().0 as usize, pushed_by.len() - 1);
    };
    let mut n = 0;
    for round in 0..4 {
        for _ in 0..17 {
            n += 1;
            one(&store, n);
        }
        if round == 2 {
            let noted = store.noted_up_to_now();
            for _ in 0..9 {
                n += 1;
                one(&store, n);
            }
            let mut directory = store.directory.lock();
            store.write_snapshot_from(&mut directory, NOW, noted).unwrap().unwrap();
        } else if round < 3 {
            store.checkpoint().unwrap();
        }
    }
    store.close().unwrap();
    drop(store);
    let shared: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let source = RestoreSource::open(&*shared, Path::new("/data"), &mut |_, _| {}).unwrap();
    let mut reached = 0;
    let mut bad = Vec::new();
    for (lsn, expected) in pushed_by.iter().enumerate().skip(1) {
        let point = RestorePoint::Lsn(crate::log::Lsn(lsn as u64));
        let Ok(plan) = source.plan(point) else { continue };
        reached += 1;
        let to = format!("/to-{lsn}");
        restore(&shared, &source, &plan, Path::new(&to), &mut |_, _| {}).unwrap();
        let store = try_open(&fs, &to, NOW).unwrap();
        let count = |store: &Store| writes(store, "a", &["spending:genre"]).unwrap().len();
        let mut found = vec![count(&store)];
        store.checkpoint().unwrap();
        found.push(count(&store));
        store.forget(b"user:nobody").unwrap();
        found.push(count(&store));
        drop(store);
        let store = try_open(&fs.crash(1, Cut::Process), &to, NOW).unwrap();
        found.push(count(&store));
        if found != [*expected; 4] {
            bad.push(format!("LSN {lsn}: {expected}, found {found:?}"));
        }
    }
    assert!(bad.is_empty() && reached > 30, "{reached}:\n{}", bad.join("\n"));
}

/// writers, readers, snapshots and FORGET at once: nobody else loses anything.
#[test]
fn all_at_once() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(&store, DEFINITIONS);
    let stop = AtomicBool::new(false);
    let mut odd = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=400 {
                push(&store, "a", n, &format!("x {n}").repeat(10));
                push(&store, &format!("f{}", n % 5), n, "x");
            }
            stop.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            let mut before = 0;
            while !stop.load(Ordering::SeqCst) {
                match writes(&store, "a", &["spending:genre"]) {
                    Ok(found) if found.len() >= before => before = found.len(),
                    Ok(found) => odd.lock().push(format!("{} after {before}", found.len())),
                    Err(error) => odd.lock().push(error.to_string()),
                }
            }
        });
        scope.spawn(|| {
            for n in 0.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                if let Err(error) = store.forget(format!("user:f{}", n % 5).as_bytes()) {
                    odd.lock().push(format!("forget: {error}"));
                }
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                drop(store.checkpoint());
            }
        });
    });
    let found = writes(&store, "a", &["spending:genre"]).unwrap().len();
    let odd = odd.get_mut();
    assert!(
        odd.is_empty() && found == 400,
        "{found}; {}:\n{}",
        odd.len(),
        odd[..odd.len().min(8)].join("\n")
    );
}

/// a disk that is full when the history is written.
#[test]
fn a_disk_that_is_full_for_the_history_gets_its_space_back() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(&store, DEFINITIONS);
    let noise = |n: i64| -> String {
        let bytes = blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof();
        let mut bytes = bytes;
        let mut text = [0; 1500];
        bytes.fill(&mut text);
        text.iter().map(|byte| char::from(b'!' + byte % 90)).collect()
    };
    for n in 1..=100 {
        push(&store, &format!("u{n}"), n, &noise(n));
    }
    let used = fs.used_bytes();
    // Room for the snapshot of 100 rows, and not for the history as well.
    fs.limit_bytes(Some(used + 220_000));
    let failed = store.checkpoint().map(drop);
    let after = fs.used_bytes();
    let left: Vec<_> =
        fs.read_dir(Path::new("/data/snapshots")).unwrap().into_iter().map(|e| e.name).collect();
    assert!(failed.is_err());
    assert!(after <= used + 20_000, "{used} then {after}: {failed:?}; {left:?}");
}

/// a feature that goes and comes back, snapshots between.
#[test]
fn a_feature_that_goes_and_comes_back() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    let of = |features: &str| {
        format!(
            "[entity.user]\njoin_keys = {{ user = \"string\" }}\n[view.spending]\n\
    entity = \"user\"\nfeatures = {{ {features} }}\n"
        )
    };
    let mut told = Vec::new();
    apply(&store, &of("spend = \"float64\", genre = \"string\""));
    push(&store, "a", 1, "one");
    apply(&store, &of("spend = \"float64\""));
    told.push(store.checkpoint().map(drop));
    apply(&store, &of("spend = \"float64\", genre = \"string\", more = \"string[]\""));
    push(&store, "a", 2, "two");
    told.push(store.checkpoint().map(drop));
    apply(&store, &of("more = \"string[]\", spend = \"float64\""));
    told.push(store.forget(b"user:b").map(drop));
    apply(&store, &of("spend = \"float64\", genre = \"string\""));
    let generation = store.schema().catalog.view("spending").unwrap().generation;
    told.push(store.checkpoint().map(drop));
    push(&store, "b", 2_000_000, "b");
    told.push(store.forget(b"user:b").map(drop));
    let found = writes(&store, "a", &["spending:genre"]).map(|w| w.len());
    assert!(
        told.iter().all(|one| one.is_ok()) && matches!(found, Ok(2)),
        "{generation} {told:?} {found:?}"
    );
}

/// what a file says is read by the definitions of the moment, though the file stays open.
#[test]
fn a_feature_that_goes_and_comes_back_between_two_reads() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    let apply_features = |features: &str| {
        let view = format!("[view.spending]\nentity = \"user\"\nfeatures = {{ {features} }}\n");
        apply(&store, &format!("[entity.user]\njoin_keys = {{ user = \"string\" }}\n{view}"));
    };
    let values = |features: &[&str]| {
        let answers = at(&store, "a", features, 5);
        answers.map(|answers| answers.into_iter().map(|answer| answer.value).collect::<Vec<_>>())
    };
    let one = Some(Value::String("one".into()));
    apply_features("spend = \"float64\", genre = \"string\"");
    push(&store, "a", 1, "one");
    store.checkpoint().unwrap();
    assert_eq!(values(&["spending:genre"]).unwrap().remove(0), one);
    apply_features("more = \"int64\", spend = \"float64\"");
    assert_eq!(values(&["spending:more"]).unwrap(), [None]);
    apply_features("genre = \"string\", more = \"int64\"");
    assert_eq!(values(&["spending:more", "spending:genre"]).unwrap(), [None, one]);
}

/// a feature that goes, and another one of its name and another type.
#[test]
fn a_feature_that_comes_back_with_another_type() {
    for (first, second) in
        [("float64", "string"), ("string", "float64"), ("int64", "float32[]"), ("bool", "int64")]
    {
        let fs = SimulatedFs::new();
        let store = open(&fs);
        let of = |features: &str| {
            format!(
                "[entity.user]\njoin_keys = {{ user = \"string\" }}\n[view.spending]\n\
        entity = \"user\"\nfeatures = {{ {features} }}\n"
            )
        };
        apply(&store, &of(&format!("genre = \"string\", x = \"{first}\"")));
        apply(&store, &of("genre = \"string\""));
        apply(&store, &of(&format!("genre = \"string\", x = \"{second}\"")));
        let schema = store.schema.load_full();
        let view = schema.catalog.view("spending").unwrap();
        let slot = view.feature("x").unwrap().slot;
        let text = if second.ends_with("[]") { "[1.5]" } else { "1" };
        let value = Value::parse(text.as_bytes(), view.feature("x").unwrap().value_type).unwrap();
        let genre = view.feature("genre").unwrap().slot;
        let mut cells = vec![
            (genre, CellWrite::Value(Value::String("g".into()))),
            (slot, CellWrite::Value(value.clone())),
        ];
        cells.sort_by_key(|(slot, _)| *slot);
        let row = FeatureRow { key: b"user:a".to_vec(), event: Timestamp(1), created: None, cells };
        let done = store.keyspace().push_rows(&schema, view, vec![row]).unwrap();
        store.acknowledged_blocking(done.wait_for.unwrap()).unwrap();
        let told = store.checkpoint().map(drop);
        let found = at(&store, "a", &["spending:x", "spending:genre"], 5)
            .map(|a| a.into_iter().map(|a| a.value).collect::<Vec<_>>());
        eprintln!(
            "{first} {second}: generation {} slot {slot}: {told:?} {found:?}",
            view.generation
        );
        assert!(told.is_ok());
        assert_eq!(found.unwrap()[0], Some(value));
        store.forget(b"user:b").unwrap();
        store.forget(b"user:a").unwrap();
    }
}
