//! What happens between the moment a write is decided and the moment readers see it.

use super::{
    Clock, FeatureRow, Keyspace, Schema, Store, StoreOptions, TransactionKeys, TransactionKind,
};
use crate::{
    disk::SimulatedFs,
    feature::{CellWrite, Change, Entity, PlainChange, Run, RunState, Timestamp, Value},
    log::{Durability, Lsn},
    online::{Row, Seen, ValueRef},
    registry::{DefinitionFile, parse_repository},
};
use std::{
    path::Path,
    sync::{Arc, Barrier},
};

const DEFINITIONS: &str = r#"
[entity.user]
join_keys = { user = "int64" }

[view.spending]
entity = "user"
features = { spend = "float64", genre = "string" }
"#;

fn open(fs: &SimulatedFs, durability: Durability) -> Arc<Store> {
    let options = StoreOptions { durability, max_future_us: 1_000_000, segment_bytes: 64 * 1024 };
    let clock = Clock::manual(Timestamp(1_000));
    Store::open(Arc::new(fs.clone()), Path::new("/data"), &options, clock).unwrap()
}

fn apply(store: &Store, text: &str) {
    let file = DefinitionFile { path: "test".into(), text: text.into() };
    store.apply_definitions(&parse_repository(&[file]).unwrap(), false).unwrap();
}

fn new_store(fs: &SimulatedFs, durability: Durability) -> Arc<Store> {
    let store = open(fs, durability);
    apply(&store, DEFINITIONS);
    store
}

fn user(schema: &Schema) -> Arc<Entity> {
    Arc::clone(schema.catalog.entity("user").unwrap())
}

/// `FS.SET spending EVENT event`: the spending of one user.
fn push(store: &Store, key: &str, event: i64, spend: f64) -> Lsn {
    let schema = store.schema();
    let view = schema.catalog.view("spending").unwrap();
    let slot = view.feature("spend").unwrap().slot;
    let cells = vec![(slot, CellWrite::Value(Value::Float64(spend)))];
    let event = Timestamp(event);
    let row = FeatureRow { key: key.into(), event, created: None, cells };
    store.keyspace().push_rows(&schema, view, vec![row]).unwrap().wait_for.unwrap()
}

/// `HSET key name text`
fn set(store: &Store, key: &str, name: &str, text: &str) -> Lsn {
    let schema = store.schema();
    let fields = [(name.as_bytes(), text.as_bytes())];
    let user = user(&schema);
    let plan = schema.plan(&user, [name.as_bytes()]);
    let set = store.keyspace().set_features(&schema, &user, key.as_bytes(), &plan, fields);
    set.unwrap().wait_for.unwrap()
}

/// `HMGET key spend genre`, an absent one as `-`.
fn read(store: &Store, key: &str) -> String {
    let (now, schema) = (store.now(), store.schema());
    let plan = schema.plan(&user(&schema), [&b"spend"[..], b"genre"]);
    let mut texts = Vec::new();
    store.keyspace().get_online_features(key.as_bytes(), &plan, now, Seen::Published, |read| {
        let value = read.value.and_then(ValueRef::to_value);
        texts.push(value.map_or_else(|| "-".to_owned(), |value| value.to_text()));
    });
    texts.join(" ")
}

#[test]
fn a_cell_whose_time_comes_during_its_sync_is_not_overwritten_by_the_next_write() {
    let store = new_store(&SimulatedFs::new(), Durability::Always);
    let no_publishing = store.future.hold();
    // Its publishing waits, and with it that of everything behind it.
    push(&store, "user:2", 1_100, 0.0);
    push(&store, "user:1", 1_100, 7.5);
    let last = set(&store, "user:1", "genre", "jazz");
    store.clock.advance_to(Timestamp(1_200));
    drop(no_publishing);
    store.acknowledged_blocking(last).unwrap();
    assert_eq!(read(&store, "user:1"), "7.5 jazz");
}

#[test]
fn a_cell_from_before_a_flush_does_not_come_back_with_a_write_behind_it() {
    let store = new_store(&SimulatedFs::new(), Durability::Always);
    store.acknowledged_blocking(push(&store, "user:1", 1_100, 7.5)).unwrap();
    let hash = store.table.hash(b"user:1");
    let shard = crate::online::Table::shard_index(hash);
    // As `flush_all` does before its sync.
    let flush_lsn = store.log.last().0 + 1;
    store.table.shard_mut(shard).flush_pending(flush_lsn);
    let schema = store.schema();
    let (_, write) = store.future.all().pop().unwrap();
    let layout = schema.layout_for(&write).unwrap();
    let mut late = write.clone();
    late.cells = vec![(1, CellWrite::Value(Value::String("jazz".into())))];
    let edit = crate::online::Edit::Cells(layout, &late);
    store.table.shard_mut(shard).apply_pending(hash, flush_lsn + 1, edit);
    store.clock.advance_to(Timestamp(1_200));
    store.now();
    store.table.flush(flush_lsn);
    store.table.publish(flush_lsn + 1, edit);
    assert_eq!(read(&store, "user:1"), "- jazz");
}

fn run(version: u32) -> Run {
    Run {
        id: 0,
        view: "spending".into(),
        version,
        generation: 1,
        started: Timestamp(1_000),
        finished: None,
        from: None,
        to: Timestamp(1_000),
        rows_total: 1,
        rows_read: 1,
        rows_ahead: 0,
        bytes_read: 1,
        entities_written: 1,
        entities_unchanged: 0,
        state: RunState::Running,
        files: Vec::new(),
    }
}

#[test]
fn a_flush_in_the_middle_of_a_run_leaves_no_cursor() {
    for durability in [Durability::Always, Durability::Never] {
        let store = new_store(&SimulatedFs::new(), durability);
        let end = |mut run: Run| {
            run.state = RunState::Done;
            store.end_run(run).unwrap().state
        };
        let begun = store.begin_run(run(1)).unwrap();
        store.keyspace().flush_all().unwrap();
        assert!(matches!(end(begun), RunState::Failed(_)));
        assert!(store.cursor("spending", 1, 1, &[]).is_none());
        let begun = store.begin_run(run(1)).unwrap();
        assert_eq!(end(begun), RunState::Done);
        assert!(store.cursor("spending", 1, 1, &[]).is_some());
    }
}

#[test]
fn a_flush_during_a_snapshot_removes_the_same_cells_again_at_the_next_start() {
    for durability in [Durability::Always, Durability::Never] {
        let fs = SimulatedFs::new();
        let store = new_store(&fs, durability);
        let noted = store.noted_up_to_now();
        set(&store, "user:1", "spend", "7.5");
        store.keyspace().flush_all().unwrap();
        store.acknowledged_blocking(set(&store, "user:1", "genre", "jazz")).unwrap();
        let mut directory = store.directory.lock();
        let written = store.write_snapshot_from(&mut directory, store.now(), noted).unwrap();
        drop(directory);
        if written.is_none() {
            store.checkpoint().unwrap();
        }
        store.close().unwrap();
        drop(store);
        assert_eq!(read(&open(&fs, durability), "user:1"), "- jazz");
    }
}

#[test]
fn an_entity_deleted_while_a_generation_fills_stays_away_when_that_one_serves() {
    let store = open(&SimulatedFs::new(), Durability::Never);
    let sourced = |value_type: &str| {
        let source = "source = \"x.parquet\"\nevent_timestamp = \"t\"\nfeatures";
        let text = DEFINITIONS.replace("features", source);
        apply(&store, &text.replace("spend = \"float64\"", &format!("spend = \"{value_type}\"")));
    };
    sourced("int64");
    set(&store, "user:1", "spend", "5");
    sourced("float64");
    let (schema, key) = (store.schema(), b"user:1");
    let deleted = store.keyspace().commit(&[key], |locked| {
        let (changes, _) = store.keyspace().entity_tombstones(&schema, &user(&schema), key, locked);
        Ok((changes, ()))
    });
    deleted.unwrap();

    let filling = Arc::clone(schema.catalog.filling("spending").unwrap());
    let cells = vec![(0, CellWrite::Value(Value::Float64(9.0)))];
    let row = FeatureRow { key: key.into(), event: Timestamp(900), created: None, cells };
    store.keyspace().materialize_rows(&schema, &filling, vec![row]).unwrap();
    let begun = store.begin_run(Run { generation: 2, ..run(2) }).unwrap();
    store.end_run(Run { state: RunState::Done, ..begun }).unwrap();
    assert_eq!(store.schema().catalog.view("spending").unwrap().generation, 2);
    assert_eq!(read(&store, "user:1"), "- -");
}

/// `SET key x`, as a command of `keyspace` that took the key for a plain one.
fn set_plain(keyspace: Keyspace<'_>, key: &str) -> Result<(), &'static str> {
    let change = PlainChange::SetString { value: b"x".to_vec(), expires_at: None };
    let change = Change::Plain { key: key.into(), change };
    let set = keyspace.commit(&[key.as_bytes()], |_| Ok((vec![change], ())));
    set.map(drop).map_err(|error| error.code())
}

fn stands(store: &Store, key: &str) -> bool {
    store.keyspace().read(key.as_bytes(), Seen::Latest, |row| row.is_some())
}

#[test]
fn a_write_that_took_a_key_for_plain_is_refused_once_its_entity_is_registered() {
    for durability in [Durability::Always, Durability::Never] {
        let store = open(&SimulatedFs::new(), durability);
        // A command begins: it asks the schema, and takes its locks later.
        let keyspace = store.keyspace();
        apply(&store, DEFINITIONS);
        let last = store.log.last();
        assert_eq!(set_plain(keyspace, "user:1"), Err("TRYAGAIN"));
        assert_eq!(store.log.last(), last);
        assert!(!stands(&store, "user:1"));
        for plain in ["user", "users:1", "use:1", "other"] {
            assert_eq!(set_plain(keyspace, plain), Ok(()), "{plain}");
        }
    }
}

#[test]
fn a_transaction_that_took_a_key_for_plain_changes_nothing_once_its_entity_is_registered() {
    for durability in [Durability::Always, Durability::Never] {
        let store = open(&SimulatedFs::new(), durability);
        let exec = || {
            let keys = |_: &Schema| {
                // It has its schema, and no lock yet.
                if store.schema().catalog.entity("user").is_none() {
                    apply(&store, DEFINITIONS);
                }
                TransactionKeys::Some(vec![b"user:1".to_vec(), b"other".to_vec()])
            };
            let run = |keyspace: Keyspace<'_>, _| {
                set_plain(keyspace, "other").unwrap();
                if keyspace.schema().catalog.entity_of_key(b"user:1").is_none() {
                    set_plain(keyspace, "user:1").unwrap();
                }
            };
            store
                .transaction(keys, TransactionKind::Writes, run)
                .map(drop)
                .map_err(|error| error.code())
        };
        assert_eq!(exec(), Err("TRYAGAIN"));
        assert!(!stands(&store, "user:1") && !stands(&store, "other"));
        assert_eq!(exec(), Ok(()));
        assert!(!stands(&store, "user:1") && stands(&store, "other"));
    }
}

#[test]
fn a_plain_key_of_an_entity_that_is_being_registered_is_not_written() {
    let store = open(&SimulatedFs::new(), Durability::Never);
    let registering = store.registration.begin(vec!["user".into()]);
    assert_eq!(set_plain(store.keyspace(), "user:1"), Err("TRYAGAIN"));
    assert_eq!(set_plain(store.keyspace(), "users:1"), Ok(()));
    drop(registering);
    assert_eq!(set_plain(store.keyspace(), "user:1"), Ok(()));
}

#[test]
fn an_entity_is_not_registered_over_a_plain_key_that_waits_for_its_sync() {
    let store = open(&SimulatedFs::new(), Durability::Always);
    apply(&store, &DEFINITIONS.replace("user", "shop"));
    let no_publishing = store.future.hold();
    // Its publishing waits, and with it that of the plain key behind it.
    let schema = store.schema();
    let view = schema.catalog.view("spending").unwrap();
    let cells = vec![(0, CellWrite::Value(Value::Float64(1.0)))];
    let row = FeatureRow { key: b"shop:2".to_vec(), event: Timestamp(1_100), created: None, cells };
    store.keyspace().push_rows(&schema, view, vec![row]).unwrap();
    assert_eq!(set_plain(store.keyspace(), "user:1"), Ok(()));
    let file = DefinitionFile { path: "test".into(), text: DEFINITIONS.into() };
    let definitions = parse_repository(&[file]).unwrap();
    let refused = store.apply_definitions(&definitions, true).unwrap_err().to_string();
    assert!(refused.contains("the plain key 'user:1' stands under its name"), "{refused}");
    drop(no_publishing);
}

#[test]
fn writers_and_an_apply_at_once_leave_no_plain_key_of_an_entity() {
    for durability in [Durability::Always, Durability::Never] {
        let store = open(&SimulatedFs::new(), durability);
        let (mut registered, mut written) = (0, 0);
        for round in 0..60 {
            let (name, start) = (format!("e{round}"), Barrier::new(2));
            let key = format!("{name}:1");
            let is_written = std::thread::scope(|threads| {
                let writer = threads.spawn(|| {
                    start.wait();
                    let keyspace = store.keyspace();
                    let is_plain = keyspace.schema().catalog.entity(&name).is_none();
                    is_plain && set_plain(keyspace, &key).is_ok()
                });
                let text = format!("[entity.{name}]\njoin_keys = {{ k = \"int64\" }}\n");
                let file = DefinitionFile { path: "test".into(), text };
                let definitions = parse_repository(&[file]).unwrap();
                start.wait();
                let applied = store.apply_definitions(&definitions, false);
                let is_written = writer.join().unwrap();
                assert_ne!(applied.is_ok(), is_written, "round {round}");
                is_written
            });
            assert_eq!(stands(&store, &key), is_written);
            written += usize::from(is_written);
            registered += usize::from(!is_written);
        }
        assert_eq!(registered + written, 60);
    }
}

#[test]
fn what_was_decided_before_a_drop_writes_over_no_plain_key() {
    let store = new_store(&SimulatedFs::new(), Durability::Always);
    let before = store.schema();
    apply(&store, "");
    assert_eq!(set_plain(store.keyspace(), "user:1"), Ok(()));
    let fields = [(&b"spend"[..], &b"1"[..])];
    let (user, keyspace) = (user(&before), store.keyspace());
    let plan = before.plan(&user, [&b"spend"[..]]);
    let refused = keyspace.set_features(&before, &user, b"user:1", &plan, fields).unwrap_err();
    assert_eq!(refused.code(), "TRYAGAIN", "{refused}");
    let is_string = |row: Option<Row<'_>>| row.is_some_and(|row| !row.is_entity());
    assert!(store.keyspace().read(b"user:1", Seen::Latest, is_string));
    // What would wait for its time stands in no row.
    let view = before.catalog.view("spending").unwrap();
    let cells = vec![(0, CellWrite::Value(Value::Float64(1.0)))];
    let event = store.now().plus_us(500_000);
    let row = FeatureRow { key: b"user:2".to_vec(), event, created: None, cells };
    let refused = store.keyspace().push_rows(&before, view, vec![row]).unwrap_err();
    assert_eq!(refused.code(), "TRYAGAIN", "{refused}");
}

#[test]
fn a_plain_write_knows_of_cells_ahead_that_wait_for_their_sync() {
    let store = new_store(&SimulatedFs::new(), Durability::Always);
    store.registration.note_drop();
    assert_eq!(set_plain(store.keyspace(), "user:1"), Ok(()));
    let no_publishing = store.future.hold();
    let schema = store.schema();
    let view = schema.catalog.view("spending").unwrap();
    let cells = vec![(0, CellWrite::Value(Value::Float64(1.0)))];
    let event = store.now().plus_us(500_000);
    let row = FeatureRow { key: b"user:2".to_vec(), event, created: None, cells };
    store.keyspace().push_rows(&schema, view, vec![row]).unwrap();
    assert_eq!(set_plain(store.keyspace(), "user:2"), Err("TRYAGAIN"));
    drop(no_publishing);
}
