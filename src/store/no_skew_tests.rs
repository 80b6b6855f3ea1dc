//! What is served is what is trained on: `online read at t == training row at t`, bit for bit,
//! over random histories on a simulated disk, with restarts, snapshots and compactions in between.
//!
//! ```text
//! online read at t    == FS.GET AT t, now
//!                     == row of a training set known by arrival, for ever after
//! FS.GET AT t, later  == row of a training set known by event
//! ```

use super::{Clock, FeatureRow, MergePolicy, Store, StoreOptions, TrainingRequest};
use crate::{
    disk::SimulatedFs,
    feature::{CellWrite, KeyPart, Scalar, Status, Timestamp, Value, ValueType},
    log::Durability,
    offline::{FeatureTable, KnownBy, Spine, SpineSource, TableColumns, cell},
    online::{Seen, ValueRef},
    registry::{DefinitionFile, parse_repository},
    store::Answer,
};
use proptest::prelude::*;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

const DEFINITIONS: &str = r#"
[entity.user]
join_keys = { user = "int64" }

[view.spending]
entity = "user"
ttl = "5us"
features = { spend = "float64", genre = "string" }

[view.profile]
entity = "user"
features = { age = "int64" }
"#;

const USERS: i64 = 2;
const NAMES: [&str; 3] = ["spending:spend", "spending:genre", "profile:age"];

/// How often files of the history were merged.
static MERGED: AtomicU64 = AtomicU64::new(0);

/// What may lie ahead of the clock in these tests.
const MAX_FUTURE_US: i64 = 4;

#[derive(Clone, Debug)]
enum Step {
    /// The clock moves on.
    Wait(i64),
    /// Rows of the view `spending` with event timestamps around now: late, tied, ahead.
    Push {
        user: i64,
        event: i64,
        spend: Option<Option<u8>>,
        genre: Option<Option<u8>>,
    },
    /// `HSET`
    Set {
        user: i64,
        spend: u8,
        age: u8,
    },
    /// `HDEL spend`
    Delete {
        user: i64,
    },
    /// `DEL`
    DeleteEntity {
        user: i64,
    },
    Snapshot,
    /// All that was pushed goes into files, which are merged into some of about so many bytes.
    Compact {
        file_bytes: u64,
    },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let user = 0..USERS;
    let cell = || prop::option::of(prop::option::of(0u8..3));
    prop_oneof![
        3 => (0i64..4).prop_map(Step::Wait),
        6 => (user.clone(), -6..=MAX_FUTURE_US, cell(), cell())
            .prop_map(|(user, event, spend, genre)| Step::Push { user, event, spend, genre }),
        2 => (user.clone(), 0u8..3, 0u8..3)
            .prop_map(|(user, spend, age)| Step::Set { user, spend, age }),
        1 => user.clone().prop_map(|user| Step::Delete { user }),
        1 => user.prop_map(|user| Step::DeleteEntity { user }),
        1 => Just(Step::Snapshot),
        1 => prop_oneof![Just(1_000), Just(u64::MAX)]
            .prop_map(|file_bytes| Step::Compact { file_bytes }),
        1 => Just(Step::Restart),
    ]
}

/// A store that is asked both ways.
struct Subject {
    fs: SimulatedFs,
    durability: Durability,
    /// Not there only while it is opened again.
    store: Option<Arc<Store>>,
    /// The last online read of each instant: of each user each feature.
    past: Vec<(Timestamp, Vec<Vec<Answer>>)>,
}

impl Subject {
    fn new(durability: Durability) -> Self {
        let fs = SimulatedFs::new();
        let store = open(&fs, durability, Timestamp(1_000));
        let file = DefinitionFile { path: "test".into(), text: DEFINITIONS.into() };
        let definitions = parse_repository(&[file]).unwrap();
        store.apply_definitions(&definitions, false).unwrap();
        Self { fs, durability, store: Some(store), past: Vec::new() }
    }

    fn take(&mut self, step: &Step) {
        if matches!(step, Step::Restart) {
            return self.restart();
        }
        let store = self.store.as_ref().unwrap();
        let schema = store.schema();
        let entity = schema.catalog.entity("user").unwrap();
        let key = |user: &i64| format!("user:{user}").into_bytes();
        let wait_for = match step {
            Step::Wait(us) => {
                store.clock.advance_to(store.now().plus_us(*us));
                None
            }
            Step::Push { user, event, spend, genre } => {
                let view = schema.catalog.view("spending").unwrap();
                let slot = |name: &str| view.feature(name).unwrap().slot;
                let cell = |value: Option<Value>| value.map_or(CellWrite::Null, CellWrite::Value);
                let spend = spend.map(|spend| spend.map(|spend| Value::Float64(spend.into())));
                let genre =
                    genre.map(|genre| genre.map(|genre| Value::String("x".repeat(genre.into()))));
                let mut cells: Vec<_> = [("spend", spend), ("genre", genre)]
                    .into_iter()
                    .filter_map(|(name, value)| Some((slot(name), cell(value?))))
                    .collect();
                cells.sort_unstable_by_key(|(slot, _)| *slot);
                let event = store.now().plus_us(*event);
                let row = FeatureRow { key: key(user), event, created: None, cells };
                store.keyspace().push_rows(&schema, view, vec![row]).unwrap().wait_for
            }
            Step::Set { user, spend, age } => {
                let (spend, age) = (spend.to_string(), age.to_string());
                let fields: [(&[u8], &[u8]); 2] =
                    [(b"spend", spend.as_bytes()), (b"age", age.as_bytes())];
                let plan = schema.plan(entity, fields.map(|(name, _)| name));
                store
                    .keyspace()
                    .set_features(&schema, entity, &key(user), &plan, fields)
                    .unwrap()
                    .wait_for
            }
            Step::Delete { user } => {
                let names = [&b"spend"[..]];
                store
                    .keyspace()
                    .delete_features(&schema, entity, &key(user), names)
                    .unwrap()
                    .wait_for
            }
            Step::DeleteEntity { user } => {
                let key = key(user);
                let deleted = store.keyspace().commit(&[&key], |locked| {
                    Ok((store.keyspace().entity_tombstones(&schema, entity, &key, locked).0, ()))
                });
                deleted.unwrap().wait_for
            }
            Step::Snapshot => {
                store.checkpoint().unwrap();
                None
            }
            Step::Compact { file_bytes } => {
                compact(store, *file_bytes);
                None
            }
            Step::Restart => None,
        };
        wait_for.into_iter().for_each(|lsn| store.acknowledged_blocking(lsn).unwrap());
    }

    fn restart(&mut self) {
        let store = self.store.take().unwrap();
        let now = store.now();
        store.close().unwrap();
        drop(store);
        self.store = Some(open(&self.fs, self.durability, now));
    }

    /// Every feature of every user, online as of now and from the history at the same instant.
    fn check(&mut self) {
        let store = self.store.as_ref().unwrap();
        let (now, schema) = (store.now(), store.schema());
        let entity = schema.catalog.entity("user").unwrap();
        let plan = schema.plan(entity, NAMES.iter().map(|name| name.as_bytes()));
        let mut users = Vec::new();
        for (user, then) in (0..USERS).zip(at(store, now)) {
            let mut online = Vec::new();
            let key = entity.key(&[KeyPart::Int64(user)]);
            store.keyspace().get_online_features(&key, &plan, now, Seen::Published, |read| {
                let value = read.value.and_then(ValueRef::to_value);
                online.push(Answer { value, status: read.status, event: read.event });
            });
            assert_eq!(online, then, "{} at {}", String::from_utf8_lossy(&key), now.us());
            users.push(online);
        }
        self.past.pop_if(|(at, _)| *at == now);
        self.past.push((now, users));
    }

    /// Every instant that was read, of every user, in training sets as FS.ASOF makes them.
    fn check_training_sets(&self) {
        let store = self.store.as_ref().unwrap();
        // The latest first; and rows of nobody and of no time among them.
        let mut rows = vec![(None, Some(store.now())), (Some(0), None), (Some(USERS), None)];
        for (at, _) in self.past.iter().rev() {
            rows.extend((0..USERS).map(|user| (Some(user), Some(*at))));
            rows.push((None, Some(*at)));
        }
        let by_arrival = training_set(store, &rows, KnownBy::Arrival);
        let by_event = training_set(store, &rows, KnownBy::Event);
        let made = rows.iter().zip(by_arrival.iter().zip(&by_event));
        for ((user, time), values) in made.clone() {
            assert!(user.zip(*time).is_some() || values == (&NOTHING, &NOTHING), "{values:?}");
        }
        let mut made = made.filter_map(|((user, time), values)| user.zip(*time).and(Some(values)));
        for (time, online) in self.past.iter().rev() {
            for (user, (then, now)) in online.iter().zip(at(store, *time)).enumerate() {
                let (by_arrival, by_event) = made.next().unwrap();
                let place = format!("user {user} at {}", time.us());
                assert_eq!(*by_arrival, values_of(then), "{place}, by arrival");
                assert_eq!(*by_event, values_of(&now), "{place}, by event");
            }
        }
    }
}

/// The values of [`NAMES`].
type Values = [Option<Value>; NAMES.len()];

const NOTHING: Values = [const { None }; NAMES.len()];

fn values_of(answers: &[Answer]) -> Values {
    std::array::from_fn(|place| answers[place].value.clone())
}

/// What FS.GET AT tells of every user.
fn at(store: &Store, time: Timestamp) -> Vec<Vec<Answer>> {
    let schema = store.schema();
    let entity = schema.catalog.entity("user").unwrap();
    let selected = schema.catalog.select(&NAMES).unwrap();
    let keys: Vec<Vec<KeyPart>> = (0..USERS).map(|user| vec![KeyPart::Int64(user)]).collect();
    store.features_at(&schema, entity, &selected, &keys, time).unwrap()
}

/// The features of a training set for these users and times.
fn training_set(
    store: &Store,
    rows: &[(Option<i64>, Option<Timestamp>)],
    known_by: KnownBy,
) -> Vec<Values> {
    let column = |name: &str, scalar| (name.to_owned(), ValueType::Scalar(scalar));
    let columns = TableColumns {
        keys: Vec::new(),
        features: vec![column("user", Scalar::Int64), column("at", Scalar::Timestamp)],
        with_status: false,
        with_time: false,
    };
    let cells: Vec<[Option<Value>; 2]> = rows
        .iter()
        .map(|(user, time)| [user.map(Value::Int64), time.map(Value::Timestamp)])
        .collect();
    let mut table = FeatureTable::new(columns).unwrap();
    let of_no_key = vec![Vec::new(); rows.len()];
    table
        .write(&of_no_key, |row, place| (cells[row][place].as_ref(), Status::Present, None))
        .unwrap();
    let spine = Spine::from_ipc_stream(&table.finish().unwrap(), Some("at")).unwrap();

    let schema = store.schema();
    let selected = schema.catalog.select(&NAMES).unwrap();
    let request = TrainingRequest { known_by, ..TrainingRequest::new(selected) };
    let training = store.training(&schema, &request).unwrap();
    let set = training.stream(&SpineSource::Memory(&spine), Path::new(""), None).unwrap();
    let set = Spine::from_ipc_stream(&set, Some("at")).unwrap();
    assert_eq!(set.rows(), rows.len());
    let values = |row| std::array::from_fn(|place| cell(set.batch(), 2 + place, row));
    (0..rows.len()).map(values).collect()
}

/// Only what lies before both snapshots may be merged.
fn compact(store: &Arc<Store>, file_bytes: u64) {
    store.checkpoint().unwrap();
    store.checkpoint().unwrap();
    let policy = MergePolicy { parts_min: 2, growth: 1, file_bytes, ..MergePolicy::default() };
    while store.compact_history(&policy, &mut || true).unwrap().is_some() {
        MERGED.fetch_add(1, Ordering::Relaxed);
    }
}

fn open(fs: &SimulatedFs, durability: Durability, now: Timestamp) -> Arc<Store> {
    let options =
        StoreOptions { durability, max_future_us: MAX_FUTURE_US, segment_bytes: 64 * 1024 };
    Store::open(Arc::new(fs.clone()), Path::new("/data"), &options, Clock::manual(now)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(320))]

    fn whatever_was_written(
        steps in prop::collection::vec(step(), 1..25),
        is_always: bool,
    ) {
        let durability = if is_always { Durability::Always } else { Durability::Never };
        let mut subject = Subject::new(durability);
        for step in &steps {
            subject.take(step);
            subject.check();
        }
        subject.check_training_sets();
    }
}

#[test]
fn an_online_read_is_the_training_row_of_the_same_instant() {
    whatever_was_written();
    let merged = MERGED.load(Ordering::Relaxed);
    assert!(merged > 30, "merged {merged} times");
}
