//! Stores that tests of history and forgetting try to break.

use super::{
    Answer, Clock, FeatureRow, HistoryRequest, Store, StoreOptions,
    pushed_files::{Asked, AskedRows, Wanted},
    restore,
};
use crate::{
    disk::{FileSystem, SimulatedFs},
    error::Result,
    feature::{CellWrite, KeyPart, Timestamp, Value},
    log::{RestorePoint, RestoreSource},
    offline::Window,
    registry::{DefinitionFile, parse_repository},
};
use std::{cell::Cell, path::Path, sync::Arc};

pub(super) const DEFINITIONS: &str = "[entity.user]\njoin_keys = { user = \"string\" }\n\
    [view.spending]\nentity = \"user\"\nfeatures = { spend = \"float64\", genre = \"string\" }\n";
pub(super) const SECRET: &str = "q7Zk2vX9w1LmNb4R8sTfYh3Jd6Gc5PaE0uKoWi";

pub(super) const NOW: Timestamp = Timestamp(1_000_000);

pub(super) fn try_open(fs: &SimulatedFs, data: &str, now: Timestamp) -> Result<Arc<Store>> {
    let options = StoreOptions { segment_bytes: 4096, ..StoreOptions::default() };
    Store::open(Arc::new(fs.clone()), Path::new(data), &options, Clock::manual(now))
}

pub(super) fn open(fs: &SimulatedFs) -> Arc<Store> {
    try_open(fs, "/data", NOW).unwrap()
}

pub(super) fn apply(store: &Store, text: &str) {
    let file = DefinitionFile { path: "test".into(), text: text.into() };
    store.apply_definitions(&parse_repository(&[file]).unwrap(), false).unwrap();
}

pub(super) fn push(store: &Store, user: &str, event: i64, genre: &str) {
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
}

pub(super) fn writes(
    store: &Store,
    user: &str,
    names: &[&str],
) -> Result<Vec<super::HistoryEntry>> {
    let schema = store.schema();
    let entity = schema.catalog.entity("user").unwrap();
    let key = vec![KeyPart::Bytes(user.as_bytes().to_vec())];
    let features = schema.catalog.select(names).unwrap();
    let window = Window { from: None, to: Timestamp::MAX };
    let request =
        HistoryRequest { entity, key, features, window, rows_max: 9999, bytes_max: 1 << 24 };
    store.history(&schema, &request)
}

pub(super) fn at(store: &Store, user: &str, names: &[&str], at: i64) -> Result<Vec<Answer>> {
    let schema = store.schema();
    let entity = schema.catalog.entity("user").unwrap();
    let key = vec![KeyPart::Bytes(user.as_bytes().to_vec())];
    let features = schema.catalog.select(names).unwrap();
    Ok(store.features_at(&schema, entity, &features, &[key], Timestamp(at))?.remove(0))
}

/// Of every file of the history the range of the log that it stands for.
pub(super) fn firsts_and_lasts(store: &Store) -> Vec<(u64, u64)> {
    let directory = store.directory.lock();
    let mut parts: Vec<_> =
        directory.history().parts.iter().map(|part| (part.first.0, part.last.0)).collect();
    parts.sort_unstable();
    parts
}

pub(super) fn files_with(fs: &SimulatedFs, below: &str, bytes: &[u8]) -> Vec<String> {
    let holds = |content: &[u8]| memchr::memmem::find(content, bytes).is_some();
    let contents = fs.contents().into_iter();
    let told = contents
        .filter(|(path, content)| path.starts_with(below) && content.as_deref().is_some_and(holds));
    told.map(|(path, _)| path.display().to_string()).collect()
}

/// restored, then forgotten.
pub(super) fn restored() -> SimulatedFs {
    let fs = SimulatedFs::new();
    let store = try_open(&fs, "/old", NOW).unwrap();
    apply(&store, DEFINITIONS);
    for n in 1..=20 {
        push(&store, SECRET, n, &format!("{SECRET} {n}"));
        push(&store, "other", n, &format!("other {n}"));
    }
    store.checkpoint().unwrap();
    store.close().unwrap();
    drop(store);
    let shared: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let source = RestoreSource::open(&*shared, Path::new("/old"), &mut |_, _| {}).unwrap();
    let plan = source.plan(RestorePoint::End).unwrap();
    restore(&shared, &source, &plan, Path::new("/data"), &mut |_, _| {}).unwrap();
    fs
}

/// How many pushes of users of one letter a reader finds if something happens after the first.
pub(super) fn found_while(store: &Arc<Store>, happens: impl Fn()) -> u64 {
    let schema = store.schema.load_full();
    let features = schema.catalog.select(&["spending:spend"]).unwrap();
    let opened = crate::store::history::open_views(&schema.catalog, &features).unwrap();
    let is_done = Cell::new(false);
    let take = |count: &mut u64, _: &_, _| {
        *count += 1;
        if !is_done.replace(true) {
            happens();
        }
        Ok(())
    };
    // So many that they are not looked for one by one.
    let keys = (b'a'..=b'z').map(|letter| vec![KeyPart::Bytes([letter].into())]).collect();
    let wanted = Wanted::Keys(Asked { keys: &keys, rows: AskedRows::At(Timestamp(i64::MAX)) });
    store.pushed(&opened, &wanted, |_| Ok(0), take).unwrap()
}
