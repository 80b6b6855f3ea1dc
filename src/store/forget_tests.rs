//! Nobody shows an entity that was forgotten, no file tells of it, and it is kept out; also after a
//! crash at any point of the erasure.

use super::{
    Answer, Clock, FeatureRow, HistoryRequest, Store, StoreOptions, TrainingRequest, WriteCount,
};
use crate::{
    disk::{Cut, FileSystem, Moment, SimulatedFs},
    feature::{CellWrite, KeyPart, Status, Timestamp, Value},
    offline::{Spine, SpineSource, Window, cell},
    online::Seen,
    registry::{DefinitionFile, parse_repository},
};
use parking_lot::Mutex;
use std::{path::Path, sync::Arc};

const DEFINITIONS: &str = "[entity.user]\njoin_keys = { user = \"string\" }\n[view.spending]\n\
    entity = \"user\"\nfeatures = { spend = \"float64\", genre = \"string\" }\n";
/// Stands in no other value, and compresses to nothing shorter.
const SECRET: &str = "q7Zk2vX9w1LmNb4R8sTfYh3Jd6Gc5PaE0uKoWi";
const NOW: Timestamp = Timestamp(1_000_000);

fn open_at(fs: &SimulatedFs, now: Timestamp) -> Arc<Store> {
    let options = StoreOptions { segment_bytes: 4096, ..StoreOptions::default() };
    Store::open(Arc::new(fs.clone()), Path::new("/data"), &options, Clock::manual(now)).unwrap()
}

fn push(store: &Store, user: &str, event: i64, genre: &str) -> WriteCount {
    let schema = store.schema();
    let view = schema.catalog.view("spending").unwrap();
    let cells = vec![
        (0, CellWrite::Value(Value::Float64(event as f64))),
        (1, CellWrite::Value(Value::String(genre.into()))),
    ];
    let key = format!("user:{user}").into_bytes();
    let row = FeatureRow { key, event: Timestamp(event), created: None, cells };
    let pushed = store.keyspace().push_rows(&schema, view, vec![row]).unwrap();
    if let Some(lsn) = pushed.wait_for {
        store.acknowledged_blocking(lsn).unwrap();
    }
    pushed.value
}

/// What is shown of the genre of a user: online, as of `at`, and how many writes of it there are.
fn shown(store: &Store, user: &str, at: Timestamp) -> (Option<Value>, Answer, usize) {
    let schema = store.schema();
    let entity = schema.catalog.entity("user").unwrap();
    let key = vec![KeyPart::Bytes(user.as_bytes().to_vec())];
    let plan = schema.plan(entity, [&b"genre"[..]]);
    let mut online = None;
    let now = store.now();
    store.keyspace().get_online_features(&entity.key(&key), &plan, now, Seen::Published, |read| {
        online = read.value.and_then(crate::online::ValueRef::to_value);
    });
    let features = schema.catalog.select(&["spending:genre"]).unwrap();
    let keys = [key.clone()];
    let mut then = store.features_at(&schema, entity, &features, &keys, at).unwrap();
    let window = Window { from: None, to: Timestamp::MAX };
    let (rows_max, bytes_max) = (99, 1 << 20);
    let request = HistoryRequest { entity, key, features, window, rows_max, bytes_max };
    let writes = store.history(&schema, &request).unwrap().len();
    (online, then.remove(0).remove(0), writes)
}

/// The files that hold these bytes.
fn files_with(fs: &SimulatedFs, bytes: &[u8]) -> Vec<String> {
    let holds = |content: &[u8]| memchr::memmem::find(content, bytes).is_some();
    let contents = fs.contents().into_iter();
    let told = contents.filter(|(_, content)| content.as_deref().is_some_and(holds));
    told.map(|(path, _)| path.display().to_string()).collect()
}

/// A store that knows much of one user, in snapshots, history, log and memory, and of another.
fn store(fs: &SimulatedFs) -> Arc<Store> {
    let store = open_at(fs, NOW);
    let file = DefinitionFile { path: "test".into(), text: DEFINITIONS.into() };
    store.apply_definitions(&parse_repository(&[file]).unwrap(), false).unwrap();
    for round in 0..3 {
        for event in round * 10..round * 10 + 10 {
            push(&store, SECRET, event, &format!("{SECRET} {event}"));
            push(&store, "other", event, &format!("other {event}"));
        }
        store.checkpoint().unwrap();
    }
    // One that is not to be seen yet, and one that only the log knows.
    push(&store, SECRET, NOW.us() + 500, SECRET);
    push(&store, SECRET, 40, SECRET);
    push(&store, "other", 40, "other 40");
    store
}

fn check_forgotten(fs: &SimulatedFs, store: &Store) {
    for at in [Timestamp(5), Timestamp(40), NOW.plus_us(1000)] {
        let (online, then, writes) = shown(store, SECRET, at);
        assert_eq!((online, then.status, writes), (None, Status::NotFound, 0), "at {}", at.us());
    }
    let (online, then, writes) = shown(store, "other", Timestamp(25));
    let text = |text: &str| Some(Value::String(text.into()));
    assert_eq!((online, then.value, writes), (text("other 40"), text("other 25"), 31));
    assert!(!store.erasure_is_due());
    assert_eq!(files_with(fs, SECRET.as_bytes()), Vec::<String>::new());
    assert!(!files_with(fs, b"other").is_empty(), "nothing would be found of anybody");
}

#[test]
fn what_is_forgotten_is_nowhere_any_more_and_is_kept_out() {
    let fs = SimulatedFs::new();
    let standing = store(&fs);
    assert_eq!(shown(&standing, SECRET, Timestamp(25)).2, 32);
    assert!(files_with(&fs, SECRET.as_bytes()).len() > 4);
    fs.create_dir_all(Path::new("/data/aside/recover-0/log")).unwrap();
    let aside = fs.create_new(Path::new("/data/aside/recover-0/log/x")).unwrap();
    aside.write_all_at(0, SECRET.as_bytes()).unwrap();

    let receipt = standing.forget(format!("user:{SECRET}").as_bytes()).unwrap();
    assert!(receipt.was_online && receipt.at == NOW);
    let erased = receipt.erased;
    assert_eq!((erased.history_rows, erased.history_files, erased.aside_files), (30, 3, 1));
    assert!(erased.log_first > receipt.lsn);
    check_forgotten(&fs, &standing);

    let (nothing, late) = (WriteCount::default(), WriteCount { late: 1, applied: 0 });
    assert_eq!(push(&standing, SECRET, NOW.us() - 1, "from before"), late);
    check_forgotten(&fs, &standing);
    standing.close().unwrap();
    drop(standing);
    let again = open_at(&fs, NOW.plus_us(5000));
    check_forgotten(&fs, &again);
    assert_eq!(push(&again, SECRET, NOW.us() - 1, "from before"), late);
    assert_ne!(push(&again, SECRET, NOW.us() + 1, "who came back"), nothing);
    let value = Some(Value::String("who came back".into()));
    let (online, then, writes) = shown(&again, SECRET, NOW.plus_us(5000));
    assert_eq!((online, then.value, writes), (value.clone(), value, 1));
    // Whom nobody knows may be forgotten as well, and who came back.
    let receipt = again.forget(b"user:nobody").unwrap();
    assert!(!receipt.was_online && receipt.erased.history_rows == 0);
    again.forget(format!("user:{SECRET}").as_bytes()).unwrap();
    check_forgotten(&fs, &again);
}

#[test]
fn a_crash_at_any_call_leaves_all_of_it_or_an_erasure_that_goes_on() {
    let fs = SimulatedFs::new();
    let standing = store(&fs);
    let met: Arc<Mutex<Vec<Moment>>> = Arc::default();
    let moments = Arc::clone(&met);
    fs.watch(move |_, moment| moments.lock().push(moment));
    standing.forget(format!("user:{SECRET}").as_bytes()).unwrap();
    fs.unwatch();
    drop(standing);
    let (mut forgotten, mut due) = (0, 0);
    for (seed, moment) in met.lock().drain(..).enumerate() {
        for cut in [Cut::Power, Cut::Process] {
            let fs = moment.crash(seed as u64, cut);
            let store = open_at(&fs, NOW.plus_us(2000));
            if store.forgotten.load().is_empty() {
                assert_eq!(forgotten, 0, "what was forgotten is known again");
                assert_eq!(shown(&store, SECRET, Timestamp(25)).2, 32);
                continue;
            }
            forgotten += u64::from(cut == Cut::Process);
            due += u64::from(store.erasure_is_due());
            assert_eq!(shown(&store, SECRET, NOW.plus_us(1000)).2, 0);
            store.erase_forgotten().unwrap();
            // Only what stood aside before knew of it, and is cleared with the rest.
            check_forgotten(&fs, &store);
        }
    }
    assert!(forgotten > 20 && due > 20, "{forgotten} {due}");
}

#[test]
fn who_is_forgotten_while_a_set_is_made_is_told_of_by_no_source_either() {
    let fs = SimulatedFs::new();
    let end_of_2013 = Timestamp(1_388_534_400_000_000);
    let store = open_at(&fs, end_of_2013);
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/flights/data/planes.parquet");
    let text = format!(
        "[entity.plane]\njoin_keys = {{ tailnum = \"string\" }}\n\
         [view.facts]\nentity = \"plane\"\nsource = \"{source}\"\n\
         event_timestamp = \"known_from\"\nfeatures = {{ seats = \"int64\" }}\n"
    );
    let file = DefinitionFile { path: "test".into(), text };
    store.apply_definitions(&parse_repository(&[file]).unwrap(), false).unwrap();
    let schema = store.schema();
    let (view, entity) =
        (schema.catalog.view("facts").unwrap(), schema.catalog.entity("plane").unwrap());
    let request = TrainingRequest::new(schema.catalog.select(&["facts:seats"]).unwrap());
    let keys = [vec![KeyPart::Bytes(b"N10156".to_vec())]];
    let spine = Spine::from_rows(entity, &keys, end_of_2013).unwrap();
    let seats = |training: &super::Training<'_>| {
        let spine = SpineSource::Memory(&spine);
        let set = training.stream(&spine, Path::new(""), None).unwrap();
        cell(Spine::from_ipc_stream(&set, None).unwrap().batch(), 2, 0)
    };
    let training = store.training(&schema, &request).unwrap();
    assert_eq!(seats(&training), Some(Value::Int64(55)));
    let key = entity.key(&keys[0]);
    let cells = vec![(0, CellWrite::Value(Value::Int64(54)))];
    let event = end_of_2013.plus_us(-1);
    let row = FeatureRow { key: key.clone(), event, created: None, cells };
    let pushed = store.keyspace().push_rows(&schema, view, vec![row]).unwrap();
    store.acknowledged_blocking(pushed.wait_for.unwrap()).unwrap();
    let training = store.training(&schema, &request).unwrap();
    assert_eq!(seats(&training), Some(Value::Int64(54)));
    store.forget(&key).unwrap();
    assert_eq!(seats(&training), None);
}
