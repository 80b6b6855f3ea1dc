//! What is served is what is trained on: `online read at t == training row at t`, bit for bit,
//! over random histories on a simulated disk, with restarts and snapshots in between.

use super::{Clock, FeatureRow, Store, StoreOptions};
use crate::{
    disk::SimulatedFs,
    feature::{CellWrite, KeyPart, Timestamp, Value},
    log::Durability,
    online::{Seen, ValueRef},
    registry::{DefinitionFile, parse_repository},
    store::Answer,
};
use proptest::prelude::*;
use std::{path::Path, sync::Arc};

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
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let user = 0i64..2;
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
        1 => Just(Step::Restart),
    ]
}

/// A store that is asked both ways.
struct Subject {
    fs: SimulatedFs,
    durability: Durability,
    /// Not there only while it is opened again.
    store: Option<Arc<Store>>,
}

impl Subject {
    fn new(durability: Durability) -> Self {
        let fs = SimulatedFs::new();
        let store = open(&fs, durability, Timestamp(1_000));
        let file = DefinitionFile { path: "test".into(), text: DEFINITIONS.into() };
        let definitions = parse_repository(&[file]).unwrap();
        store.apply_definitions(&definitions, false).unwrap();
        Self { fs, durability, store: Some(store) }
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
    fn check(&self) {
        let store = self.store.as_ref().unwrap();
        let (now, schema) = (store.now(), store.schema());
        let entity = schema.catalog.entity("user").unwrap();
        let names = ["spending:spend", "spending:genre", "profile:age"];
        let selected = schema.catalog.select(&names).unwrap();
        let plan = schema.plan(entity, names.iter().map(|name| name.as_bytes()));
        let keys: Vec<Vec<KeyPart>> = (0..2).map(|user| vec![KeyPart::Int64(user)]).collect();
        let then = store.features_at(&schema, entity, &selected, &keys, now).unwrap();
        for (key, then) in keys.iter().zip(then) {
            let mut online = Vec::new();
            let key = entity.key(key);
            store.keyspace().get_online_features(&key, &plan, now, Seen::Published, |read| {
                let value = read.value.and_then(ValueRef::to_value);
                online.push(Answer { value, status: read.status, event: read.event });
            });
            assert_eq!(online, then, "{} at {}", String::from_utf8_lossy(&key), now.us());
        }
    }
}

fn open(fs: &SimulatedFs, durability: Durability, now: Timestamp) -> Arc<Store> {
    let options =
        StoreOptions { durability, max_future_us: MAX_FUTURE_US, segment_bytes: 64 * 1024 };
    Store::open(Arc::new(fs.clone()), Path::new("/data"), &options, Clock::manual(now)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_online_read_is_the_training_row_of_the_same_instant(
        steps in prop::collection::vec(step(), 1..25),
        is_always: bool,
    ) {
        let durability = if is_always { Durability::Always } else { Durability::Never };
        let mut subject = Subject::new(durability);
        for step in &steps {
            subject.take(step);
            subject.check();
        }
    }
}
