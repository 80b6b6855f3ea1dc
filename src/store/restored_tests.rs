//! A store restored to any of its records is what it was at that record.

use super::{Clock, FeatureRow, StateSummary, Store, StoreOptions, restore, test_restore};
use crate::{
    disk::{Cut, FileSystem, SimulatedFs},
    error::Error,
    feature::{CellWrite, Change, PlainChange, Timestamp, Value},
    log::{
        BackupOptions, DataDirectory, Lsn, RestorePoint, RestoreSource, SnapshotHeader,
        SnapshotWriter, back_up,
    },
    online::{Body, Seen},
    registry::{DefinitionFile, parse_repository},
};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

const DATA: &str = "/data";

const DEFINITIONS: &str = r#"
[entity.user]
join_keys = { user = "int64" }

[view.spending]
entity = "user"
features = { spend = "float64", genre = "string" }
"#;

/// Keys with their values and ends.
type Strings = BTreeMap<Vec<u8>, (Vec<u8>, Option<Timestamp>)>;

#[derive(Clone, Debug)]
enum Step {
    Set { key: u8, value: u8, ends_in_us: Option<i64> },
    Delete { key: u8 },
    Push { user: u8, ahead_us: i64, spend: u8 },
    Flush,
    Snapshot,
    Restart { is_killed: bool },
    Tick { us: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ends = prop::option::of(1..30_i64);
    let step = prop_oneof![
        6 => (0..6u8, any::<u8>(), ends)
            .prop_map(|(key, value, ends_in_us)| Step::Set { key, value, ends_in_us }),
        2 => (0..6u8).prop_map(|key| Step::Delete { key }),
        4 => (0..3u8, -5..15_i64, any::<u8>())
            .prop_map(|(user, ahead_us, spend)| Step::Push { user, ahead_us, spend }),
        1 => Just(Step::Flush),
        2 => Just(Step::Snapshot),
        2 => any::<bool>().prop_map(|is_killed| Step::Restart { is_killed }),
        3 => (1..10_i64).prop_map(|us| Step::Tick { us }),
    ];
    prop::collection::vec(step, 1..30)
}

/// A store, and what it must be at each of its records.
struct Life {
    fs: SimulatedFs,
    store: Arc<Store>,
    now: Timestamp,
    strings: Strings,
    /// At each LSN the strings by a naive model, and the state that the store told then.
    told: Vec<(Strings, StateSummary)>,
}

fn open(fs: &SimulatedFs, data: &str, now: Timestamp) -> Arc<Store> {
    let options =
        StoreOptions { max_future_us: 1_000_000, segment_bytes: 4096, ..StoreOptions::default() };
    let fs: Arc<dyn FileSystem> = Arc::new(fs.clone());
    Store::open(fs, Path::new(data), &options, Clock::manual(now)).unwrap()
}

impl Life {
    fn new() -> Self {
        let (fs, now) = (SimulatedFs::new(), Timestamp(1_000));
        let store = open(&fs, DATA, now);
        let told = vec![(Strings::new(), store.summary())];
        let mut life = Self { fs, store, now, strings: Strings::new(), told };
        let file = DefinitionFile { path: "test".into(), text: DEFINITIONS.into() };
        life.store.apply_definitions(&parse_repository(&[file]).unwrap(), false).unwrap();
        life.tell();
        life
    }

    /// Notes what is true at the last record, once.
    fn tell(&mut self) {
        let last = self.store.last_written();
        self.store.acknowledged_blocking(last).unwrap();
        assert!(last.0 as usize <= self.told.len(), "a step is at most one record");
        if last.0 as usize == self.told.len() {
            self.told.push((self.strings.clone(), self.store.summary()));
        }
    }

    fn change(&self, key: &[u8], change: PlainChange) {
        let changes = vec![Change::Plain { key: key.to_vec(), change }];
        self.store.keyspace().commit(&[key], |_| Ok((changes, ()))).unwrap();
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Set { key, value, ends_in_us } => {
                let (key, value) = (vec![b'k', key], vec![value]);
                let expires_at = ends_in_us.map(|us| self.now.plus_us(us));
                self.strings.insert(key.clone(), (value.clone(), expires_at));
                self.change(&key, PlainChange::SetString { value, expires_at });
            }
            Step::Delete { key } => {
                self.strings.remove(&vec![b'k', key]);
                self.change(&[b'k', key], PlainChange::Delete);
            }
            Step::Push { user, ahead_us, spend } => {
                let schema = self.store.schema();
                let view = schema.catalog.view("spending").unwrap();
                let slot = view.feature("spend").unwrap().slot;
                let cells = vec![(slot, CellWrite::Value(Value::Float64(spend.into())))];
                let (key, event) = (format!("user:{user}").into(), self.now.plus_us(ahead_us));
                let row = FeatureRow { key, event, created: None, cells };
                self.store.keyspace().push_rows(&schema, view, vec![row]).unwrap();
            }
            Step::Flush => {
                self.strings.clear();
                self.store.keyspace().flush_all().unwrap();
            }
            Step::Snapshot => drop(self.store.checkpoint().unwrap()),
            Step::Restart { is_killed } => {
                if !is_killed {
                    self.store.close().unwrap();
                }
                self.fs = self.fs.crash(0, Cut::Process);
                self.store = open(&self.fs, DATA, self.now);
            }
            Step::Tick { us } => {
                self.now = self.now.plus_us(us);
                self.store.clock().advance_to(self.now);
                for shard in 0..self.store.shard_count() {
                    assert!(self.store.sweep(shard).is_done);
                }
            }
        }
        self.tell();
    }

    fn last_lsn(&self) -> Lsn {
        Lsn(self.told.len() as u64 - 1)
    }
}

/// The strings that a reader of the store sees.
fn strings(store: &Store) -> Strings {
    let (mut found, now) = (Strings::new(), store.now());
    store.keyspace().scan(0, usize::MAX, Seen::Published, |row| {
        if let (Some(Body::String(value)), false) = (row.body(), row.is_expired(now)) {
            found.insert(row.key().to_vec(), (value.to_vec(), row.expires_at()));
        }
    });
    found
}

fn is_seen_at(now: Timestamp) -> impl Fn(&Vec<u8>, &mut (Vec<u8>, Option<Timestamp>)) -> bool {
    move |_, (_, end)| end.is_none_or(|end| end > now)
}

/// Restores `from` to each record that can be reached; how many those are.
fn check_every_record(life: &Life, fs: &SimulatedFs, from: &str) -> usize {
    let shared: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let source = RestoreSource::open(&*shared, Path::new(from), &mut |_, _| {}).unwrap();
    let mut reached = 0;
    for (lsn, (expected, told)) in life.told.iter().enumerate() {
        let plan = match source.plan(RestorePoint::Lsn(Lsn(lsn as u64))) {
            Ok(plan) => plan,
            Err(error) => {
                assert!(error.to_string().contains("cannot be reached"), "{error}");
                assert_eq!(reached, 0, "what is reached has no gap");
                continue;
            }
        };
        reached += 1;
        let to = format!("{from}-{lsn}");
        let state = restore(&shared, &source, &plan, Path::new(&to), &mut |_, _| {}).unwrap();
        assert_eq!(state.lsn, Lsn(lsn as u64));
        if state.as_of == told.as_of {
            assert_eq!(state, *told, "LSN {lsn}");
        }
        let restored = open(fs, &to, state.as_of);
        assert_ne!(restored.id(), life.store.id());
        let mut expected = expected.clone();
        expected.retain(is_seen_at(state.as_of));
        assert_eq!(strings(&restored), expected, "LSN {lsn}");
    }
    reached
}

fn back_up_to(fs: &SimulatedFs, to: &str) -> Lsn {
    let options = BackupOptions::default();
    let paths = (Path::new(DATA), Path::new(to));
    back_up(fs, paths, &options, &mut |_, _| {}).unwrap().manifest.last_lsn
}

/// Restores a backup in every way; the state and the number of ways.
fn verify(fs: &SimulatedFs, backup: &str) -> crate::error::Result<(StateSummary, usize)> {
    let shared: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let source = RestoreSource::open(&*shared, Path::new(backup), &mut |_, _| {})?;
    let plan = source.plan(RestorePoint::End)?;
    let mut number = 0;
    let mut folder = || {
        number += 1;
        Ok(PathBuf::from(format!("{backup}-way-{number}")))
    };
    test_restore(&shared, &source, &plan, &mut folder, &mut |_, _| {})
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Writes, ends of life, cells ahead of the clock, flushes, snapshots, restarts; then a backup
    /// of the running store, restored to each record of its log, and verified both ways.
    #[test]
    fn a_store_restored_to_any_record_is_what_it_was_then(steps in steps()) {
        let mut life = Life::new();
        steps.iter().for_each(|step| life.step(step));
        prop_assert_eq!(back_up_to(&life.fs, "/backup"), life.last_lsn());
        let reached = check_every_record(&life, &life.fs, "/backup");
        prop_assert!(reached > 0);
        let (state, ways) = verify(&life.fs, "/backup").unwrap();
        prop_assert_eq!(state.lsn, life.last_lsn());
        let has_snapshot = steps.iter().any(|step| matches!(step, Step::Snapshot));
        prop_assert!(ways == 2 || !has_snapshot || reached < life.told.len());
    }
}

#[test]
fn a_restore_goes_past_what_a_server_wrote_after_the_accident() {
    let mut life = Life::new();
    let set = |key, value| Step::Set { key, value, ends_in_us: None };
    (0..5).for_each(|key| life.step(&set(key, 1)));
    life.step(&Step::Push { user: 1, ahead_us: 0, spend: 7 });
    let before = life.last_lsn();
    life.step(&Step::Flush);
    life.step(&set(9, 9));
    life.step(&Step::Snapshot);
    life.step(&set(8, 8));
    life.store.close().unwrap();
    let fs = life.fs.crash(0, Cut::Process);
    let shared: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let source = RestoreSource::open(&*shared, Path::new(DATA), &mut |_, _| {}).unwrap();
    let plan = source.plan(RestorePoint::Lsn(before)).unwrap();
    let state = restore(&shared, &source, &plan, Path::new("/new"), &mut |_, _| {}).unwrap();
    assert_eq!((state.keys, state.digest), (6, life.told[before.0 as usize].1.digest));
    // It goes on with the next LSN, and none of its files fits into the old store.
    let restored = open(&fs, "/new", state.as_of);
    let change = PlainChange::SetString { value: b"x".to_vec(), expires_at: None };
    let changes = vec![Change::Plain { key: b"new".to_vec(), change }];
    let written = restored.keyspace().commit(&[b"new"], |_| Ok((changes, ()))).unwrap();
    assert_eq!(written.wait_for, Some(before.next()));
}

/// Damage that fits all checksums: a snapshot that lacks a row the log wrote.
#[test]
fn a_snapshot_that_is_not_what_the_log_says_is_found_by_the_second_way() {
    let mut life = Life::new();
    (0..5).for_each(|key| life.step(&Step::Set { key, value: 1, ends_in_us: None }));
    life.step(&Step::Snapshot);
    assert_eq!(verify_after(&life, "/good").unwrap().1, 2);
    life.store.close().unwrap();
    let fs = life.fs.crash(0, Cut::Process);
    let shared: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let mut directory = DataDirectory::open(Arc::clone(&shared), Path::new(DATA), 0).unwrap();
    let honest = directory.generations()[0].clone();
    let header = SnapshotHeader {
        snapshot_id: honest.snapshot_id + 1,
        store_id: directory.store_id(),
        shards: 8,
        lsn: honest.lsn,
    };
    let mut writer = SnapshotWriter::create(shared, Path::new(DATA), header).unwrap();
    let mut left_out = 0;
    for listed in &honest.files {
        let file = directory.open_snapshot(&honest, listed).unwrap();
        let shard = file.shard();
        file.for_each(|entry| match shard {
            Some(_) if left_out == 0 => {
                left_out += 1;
                Ok(())
            }
            Some(shard) => writer.add(shard, entry),
            None => writer.add_meta(entry),
        })
        .unwrap();
    }
    let history = directory.history().clone();
    directory.commit(writer.finish(honest.last_lsn).unwrap(), history).unwrap();
    drop(directory);
    back_up_to(&fs, "/lying");
    let error = verify(&fs, "/lying").unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("they give 4 keys with digest"), "{error}");
}

fn verify_after(life: &Life, backup: &str) -> crate::error::Result<(StateSummary, usize)> {
    back_up_to(&life.fs, backup);
    verify(&life.fs, backup)
}
