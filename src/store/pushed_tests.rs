//! What was pushed stays for training when the log that brought it is given up.

use super::{Answer, Clock, FeatureRow, Store, StoreOptions, Training, TrainingRequest};
use crate::{
    disk::{FileSystem, SimulatedFs},
    error::{Error, Result},
    feature::{CellWrite, Entity, KeyPart, Timestamp, Value},
    log::{Durability, HistoryPart, Lsn},
    offline::{Phase, Spine, SpineSource, cell},
    registry::{DefinitionFile, parse_repository},
};
use std::{cell::RefCell, path::Path, sync::Arc};

const DEFINITIONS: &str = "[entity.user]\njoin_keys = { user = \"int64\" }\n[view.spending]\n\
    entity = \"user\"\nfeatures = { spend = \"float64\", genre = \"string\" }\n";

fn open(fs: &SimulatedFs) -> Arc<Store> {
    let options = StoreOptions { segment_bytes: 4096, ..StoreOptions::default() };
    assert_eq!(options.durability, Durability::Always);
    let clock = Clock::manual(Timestamp(1_000_000));
    Store::open(Arc::new(fs.clone()), Path::new("/data"), &options, clock).unwrap()
}

/// Pushes `spend`, and every third time no genre, to user `number % 10` at `number`.
fn push(store: &Store, number: i64) {
    let schema = store.schema();
    let view = schema.catalog.view("spending").unwrap();
    let mut cells = vec![(0, CellWrite::Value(Value::Float64(number as f64)))];
    if number % 3 > 0 {
        cells.push((1, CellWrite::Value(Value::String(format!("genre {number}").repeat(9)))));
    }
    let key = format!("user:{}", number % 10).into_bytes();
    let row = FeatureRow { key, event: Timestamp(number), created: None, cells };
    let pushed = store.keyspace().push_rows(&schema, view, vec![row]).unwrap();
    store.acknowledged_blocking(pushed.wait_for.unwrap()).unwrap();
}

fn at(store: &Store, at: i64) -> Result<Vec<Vec<Answer>>> {
    let schema = store.schema();
    let entity = schema.catalog.entity("user").unwrap();
    let selected = schema.catalog.select(&["spending:spend", "spending:genre"]).unwrap();
    let keys: Vec<_> = (0..10).map(|user| vec![KeyPart::Int64(user)]).collect();
    store.features_at(&schema, entity, &selected, &keys, Timestamp(at))
}

/// Each user's last push and last genre by `time`.
fn check(store: &Store, time: i64) {
    for (user, (row, told)) in at(store, time).unwrap().iter().zip(told(time)).enumerate() {
        let values: Vec<_> = row.iter().map(|answer| answer.value.clone()).collect();
        assert_eq!(values, told, "user {user} at {time}");
    }
}

/// The spends and genres of ten users at a time, as a training set in so much memory, if told.
fn set(
    training: &Training<'_>,
    entity: &Entity,
    at: i64,
    memory: Option<u64>,
) -> Vec<[Option<Value>; 2]> {
    let keys: Vec<_> = (0..10).map(|user| vec![KeyPart::Int64(user)]).collect();
    let spine = Spine::from_rows(entity, &keys, Timestamp(at)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bytes = training.stream(&SpineSource::Memory(&spine), folder.path(), memory).unwrap();
    let set = Spine::from_ipc_stream(&bytes, None).unwrap();
    (0..10).map(|row| [cell(set.batch(), 2, row), cell(set.batch(), 3, row)]).collect()
}

/// The last spends and genres by `time` of ten users.
fn told(time: i64) -> Vec<[Option<Value>; 2]> {
    let told = |user| {
        let pushed = || (1..=time).rev().filter(move |number| number % 10 == user);
        let spend = pushed().next().map(|number| Value::Float64(number as f64));
        let genre = pushed().find(|number| number % 3 > 0);
        [spend, genre.map(|number| Value::String(format!("genre {number}").repeat(9)))]
    };
    (0..10).map(told).collect()
}

#[test]
fn a_training_set_sees_what_was_pushed_before_it_was_begun_and_nothing_later() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    let file = DefinitionFile { path: "test".into(), text: DEFINITIONS.into() };
    store.apply_definitions(&parse_repository(&[file]).unwrap(), false).unwrap();
    (1..=40).for_each(|number| push(&store, number));
    store.checkpoint().unwrap();
    (41..=70).for_each(|number| push(&store, number));
    let schema = store.schema();
    let selected = schema.catalog.select(&["spending:spend", "spending:genre"]).unwrap();
    let request = TrainingRequest::new(selected);
    let training = store.training(&schema, &request).unwrap();
    let times = [0, 5, 39, 41, 55, 1000];
    let entity = schema.catalog.entity("user").unwrap();
    let check = || {
        for (time, memory) in times.iter().flat_map(|time| [(*time, None), (*time, Some(1))]) {
            assert_eq!(set(&training, entity, time, memory), told(time.min(70)), "{time}");
        }
    };
    check();
    [71, 99].into_iter().for_each(|number| push(&store, number));
    store.checkpoint().unwrap();
    check();
    let looked_through = RefCell::new(Vec::new());
    let watch = |phase| {
        if let Phase::Pushed { progress } = phase {
            looked_through.borrow_mut().push(progress);
        }
    };
    let spine = Spine::from_rows(entity, &[vec![KeyPart::Int64(1)]], Timestamp(99)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.parquet");
    training.write(&SpineSource::Memory(&spine), &path, None, &watch).unwrap();
    let files = store.history_size().0 as u64;
    let told: Vec<_> = looked_through.take().iter().map(|phase| phase.done_of()).collect();
    assert_eq!((files, told), (2, vec![(2, 2)]));
    let later = store.training(&schema, &request).unwrap();
    assert_eq!(set(&later, entity, 99, None)[9][0], Some(Value::Float64(99.0)));
}

#[test]
fn what_was_pushed_outlives_the_log_that_brought_it() {
    let fs = SimulatedFs::new();
    let mut store = open(&fs);
    let file = DefinitionFile { path: "test".into(), text: DEFINITIONS.into() };
    store.apply_definitions(&parse_repository(&[file]).unwrap(), false).unwrap();
    for round in 0..4 {
        (round * 100 + 1..=round * 100 + 100).for_each(|number| push(&store, number));
        store.checkpoint().unwrap();
        for time in [1, 50, 117, 400] {
            check(&store, time.min(round * 100 + 100));
        }
        store.close().unwrap();
        drop(store);
        store = open(&fs);
        check(&store, round * 100 + 90);
    }
    let status = store.log_status();
    assert!(status.first.0 > 200 && status.last.0 > 400, "{status:?}");
    assert_eq!(store.directory.lock().history().parts.len(), 4);

    let folder = Path::new("/data/history");
    let parts = fs.read_dir(folder).unwrap();
    let path = folder.join(&parts[1].name);
    fs.damage(&path, |bytes| bytes[100] ^= 1).unwrap();
    assert!(at(&store, 400).is_ok(), "what was opened and verified before is still whole");
    store.close().unwrap();
    drop(store);
    let store = open(&fs);
    let error = at(&store, 400).unwrap_err();
    assert!(matches!(&error, Error::Corrupt { path: named, .. } if *named == path), "{error}");
    assert!(error.to_string().contains("pushed"), "{error}");
}

#[test]
fn no_file_reaches_across_a_snapshot_that_was_written_while_the_history_was_damaged() {
    use super::history_attack_fixture::{DEFINITIONS, SECRET, apply, open, push, writes};

    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(&store, DEFINITIONS);
    push(&store, SECRET, 1, "forgotten");
    push(&store, "other", 1, "moved");
    store.checkpoint().unwrap();
    let name = store.directory.lock().history().parts[0].file.name.clone();
    let flip = || fs.damage(&Path::new("/data").join(&name), |bytes| bytes[100] ^= 1).unwrap();
    flip();
    // What is forgotten cannot be taken from a damaged file, which stays as it is therefore.
    store.forget(format!("user:{SECRET}").as_bytes()).unwrap_err();
    push(&store, "other", 2, "before the snapshot");
    store.checkpoint().unwrap();
    push(&store, "other", 3, "behind it");
    flip();
    store.checkpoint().unwrap();

    let directory = store.directory.lock();
    let snapshots: Vec<Lsn> = directory.generations().iter().map(|one| one.lsn).collect();
    let parts = &directory.history().parts;
    let reaches_across = |part: &&HistoryPart| {
        snapshots.iter().any(|snapshot| (part.first..part.last).contains(snapshot))
    };
    assert_eq!(parts.iter().find(reaches_across), None, "of {snapshots:?}");
    assert_eq!((snapshots.len(), parts.len()), (2, 3));
    drop(directory);
    assert_eq!(writes(&store, "other", &["spending:spend"]).unwrap().len(), 3);
    assert_eq!(writes(&store, SECRET, &["spending:spend"]).unwrap().len(), 0);
}
