//! Reads of the past while much of it stands in the log alone: against a list of what was pushed,
//! and what of the log they leave unread.

use super::{
    FeatureRow, HistoryEntry, HistoryRequest, Store,
    history_attack_fixture::*,
    log_tail::{Stretches, Whose},
};
use crate::{
    disk::SimulatedFs,
    error::Error,
    feature::{
        CellWrite, CellsWrite, Change, KeyPart, Origin, Record, Stamp, Timestamp, Value, ViewId,
        encode_record,
    },
    log::Lsn,
    offline::Window,
};
use proptest::prelude::*;
use std::{path::Path, sync::Arc};

/// What happens to a store. Times are those since what was pushed last, about.
#[derive(Clone, Debug)]
enum Step {
    Push(Pushed),
    /// One record tells of several.
    PushTogether(Vec<Pushed>),
    At(u8, i64),
    History {
        user: u8,
        from: Option<i64>,
        to: i64,
        rows_max: usize,
    },
    Checkpoint,
    Restart,
}

#[derive(Clone, Debug)]
struct Pushed {
    user: u8,
    event: i64,
    created: i64,
    /// By slot: `spend`, `genre`.
    cells: Vec<(u32, CellWrite)>,
}

const USERS: std::ops::Range<u8> = 0..3;

fn pushed() -> impl Strategy<Value = Pushed> {
    let cell = |value: Value| {
        let written = Just(CellWrite::Value(value));
        prop_oneof![3 => written, 1 => Just(CellWrite::Null), 1 => Just(CellWrite::Tombstone)]
    };
    let spend = (0..50_u8).prop_flat_map(move |spend| cell(Value::Float64(spend.into())));
    let genre = (0..50_u8).prop_flat_map(move |genre| cell(Value::String(genre.to_string())));
    let event = prop_oneof![6 => 0..3_i64, 1 => -9..0_i64];
    (USERS, event, 0..3_i64, spend, genre, 0..3_u8).prop_map(
        |(user, event, created, spend, genre, which)| {
            let cells = match which {
                0 => vec![(0, spend)],
                1 => vec![(1, genre)],
                _ => vec![(0, spend), (1, genre)],
            };
            Pushed { user, event, created, cells }
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let time = -12..=4_i64;
    let history = (USERS, prop::option::of(time.clone()), time.clone(), 1..5_usize);
    prop_oneof![
        12 => pushed().prop_map(Step::Push),
        2 => prop::collection::vec(pushed(), 2..5).prop_map(Step::PushTogether),
        4 => (USERS, time).prop_map(|(user, at)| Step::At(user, at)),
        4 => history
            .prop_map(|(user, from, to, rows_max)| Step::History { user, from, to, rows_max }),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Restart),
    ]
}

fn push_all(store: &Store, all: &[Pushed]) {
    let schema = store.schema();
    let view = schema.catalog.view("spending").unwrap();
    let row = |pushed: &Pushed| FeatureRow {
        key: format!("user:{}", pushed.user).into_bytes(),
        event: Timestamp(pushed.event),
        created: Some(Timestamp(pushed.created)),
        cells: pushed.cells.clone(),
    };
    let rows = all.iter().map(row).collect();
    let committed = store.keyspace().push_rows(&schema, view, rows).unwrap();
    store.acknowledged_blocking(committed.wait_for.unwrap()).unwrap();
}

fn history(store: &Store, user: u8, window: Window, rows_max: usize) -> Vec<HistoryEntry> {
    let schema = store.schema();
    let entity = schema.catalog.entity("user").unwrap();
    let key = vec![KeyPart::Bytes(user.to_string().into_bytes())];
    let features = schema.catalog.select(&["spending:genre"]).unwrap();
    let request = HistoryRequest { entity, key, features, window, rows_max, bytes_max: 1 << 24 };
    store.history(&schema, &request).unwrap()
}

/// The writes of one feature of a user that `window` holds, in the order of who wins.
fn expected(pushed: &[Pushed], user: u8, slot: u32, window: Window) -> Vec<(i64, CellWrite)> {
    let own = pushed.iter().filter(|one| one.user == user);
    let mut own: Vec<_> = own.filter(|one| window.holds(Timestamp(one.event))).collect();
    own.sort_by_key(|one| (one.event, one.created));
    let cell = |one: &Pushed| {
        let (_, cell) = one.cells.iter().find(|(written, _)| *written == slot)?;
        Some((one.event, cell.clone()))
    };
    own.into_iter().filter_map(cell).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn reads_of_the_past_are_those_of_a_list_wherever_it_stands(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let fs = SimulatedFs::new();
        let mut store = open(&fs);
        apply(&store, DEFINITIONS);
        let mut pushed: Vec<Pushed> = Vec::new();
        for step in &steps {
            let now = pushed.len() as i64 / 4;
            let since = |one: &Pushed| Pushed { event: (now + one.event).max(0), ..one.clone() };
            match step {
                Step::Push(one) => {
                    push_all(&store, &[since(one)]);
                    pushed.push(since(one));
                }
                Step::PushTogether(all) => {
                    let all: Vec<Pushed> = all.iter().map(since).collect();
                    push_all(&store, &all);
                    pushed.extend(all);
                }
                Step::Checkpoint => drop(store.checkpoint().unwrap()),
                Step::Restart => {
                    store.close().unwrap();
                    drop(store);
                    store = open(&fs);
                }
                Step::At(user, time) => {
                    let time = now + time;
                    let names = ["spending:spend", "spending:genre"];
                    let found = at(&store, &user.to_string(), &names, time).unwrap();
                    let window = Window { from: None, to: Timestamp(time) };
                    for (slot, found) in (0..).zip(found) {
                        let last = expected(&pushed, *user, slot, window).pop();
                        let value = match &last {
                            Some((_, CellWrite::Value(value))) => Some(value.clone()),
                            _ => None,
                        };
                        prop_assert_eq!(found.value, value, "user {} at {}", user, time);
                    }
                }
                Step::History { user, from, to, rows_max } => {
                    let from = from.map(|from| Timestamp(now + from));
                    let window = Window { from, to: Timestamp(now + to) };
                    let found = history(&store, *user, window, *rows_max);
                    let found: Vec<_> = found
                        .into_iter()
                        .map(|mut entry| (entry.stamp.event.us(), entry.cells.remove(0).1))
                        .collect();
                    let mut expected = expected(&pushed, *user, 1, window);
                    expected.truncate(*rows_max);
                    prop_assert_eq!(found, expected, "user {} within {:?}", user, window);
                }
            }
        }
    }
}

/// Two users by turns, one of them only at the start and at the end.
fn store_of_two(fs: &SimulatedFs) -> Arc<Store> {
    let store = open(fs);
    apply(&store, DEFINITIONS);
    for event in 1..=200 {
        let user = if (5..=195).contains(&event) { "often" } else { "seldom" };
        push(&store, user, event, &format!("{event} {}", "x".repeat(40)));
    }
    store
}

/// Damages the log where it holds `bytes`.
fn damage(fs: &SimulatedFs, bytes: &[u8]) {
    for file in files_with(fs, "/data/log", bytes) {
        let change = |content: &mut Vec<u8>| {
            let place = memchr::memmem::find(content, bytes).unwrap();
            content[place] ^= 1;
        };
        fs.damage(Path::new(&file), change).unwrap();
    }
}

#[test]
fn what_cannot_tell_of_an_entity_is_read_once_and_then_no_more() {
    let fs = SimulatedFs::new();
    let store = store_of_two(&fs);
    let genre = |user: &str, time: i64| {
        let found = at(&store, user, &["spending:genre"], time)?.remove(0);
        Ok::<_, Error>(found.value.map(|value| value.to_text()))
    };
    let is_of = |told: Option<String>, event: i64| {
        assert!(told.is_some_and(|told| told.starts_with(&format!("{event} "))), "{event}");
    };
    is_of(genre("seldom", 200).unwrap(), 200);
    // A frame in the middle that tells of the other alone.
    damage(&fs, format!("100 {}", "x".repeat(40)).as_bytes());
    is_of(genre("seldom", 200).unwrap(), 200);
    is_of(genre("seldom", 100).unwrap(), 4);
    is_of(genre("often", 190).unwrap(), 190);
    is_of(genre("often", 60).unwrap(), 60);
    assert!(matches!(genre("often", 100), Err(Error::Corrupt { .. })));
}

/// Of a thousand rows of one hour and three of the days before only these are of another time.
#[test]
fn what_came_late_is_told_of_apart() {
    let row = |user: &str, event: i64| {
        let stamp = Stamp::new(Timestamp(event), None);
        let key = user.as_bytes().to_vec();
        let (view, generation, origin) = (ViewId(3), 1, Origin::Pushed);
        let cells = vec![(0, CellWrite::Null)];
        Change::Cells(CellsWrite { key, view, generation, stamp, origin, cells })
    };
    let rows = (0..1_000).map(|n| row(&format!("user:{n}"), 1_000_000 + n * 3));
    let late = [10_000, 200_000, 700_000].map(|event| row("user:late", event));
    let changes = rows.chain(late).chain([row("user:5", 300_000)]).collect();
    let mut stretches = Stretches::new(Lsn(1));
    stretches.add(Lsn(1), &encode_record(&Record { changes })).unwrap();
    let stretch = stretches.into_made().remove(0);
    let tells = |user: &str, to: i64| {
        let window = Window { from: None, to: Timestamp(to) };
        stretch.tells(&Whose::new(ViewId(3), user.as_bytes()), &window)
    };
    assert_eq!(tells("user:500", 900_000), None);
    assert_eq!(tells("user:500", 1_000_000).unwrap().first, Timestamp(1_000_000));
    assert!(tells("user:late", 900_000).unwrap().last <= Timestamp(700_000));
    assert!(tells("user:5", 900_000).unwrap().last <= Timestamp(700_000));
    assert_eq!(tells("user:5", 2_000_000).unwrap().last, Timestamp(1_002_997));
    assert_eq!(tells("user:late", 9_999), None);
}

#[test]
fn what_the_files_of_the_history_hold_is_forgotten() {
    let fs = SimulatedFs::new();
    let store = store_of_two(&fs);
    let window = Window { from: None, to: Timestamp::MAX };
    let known = || {
        let whose = Whose::new(store.schema().catalog.view("spending").unwrap().id, b"user:often");
        let from = store.log_status().first;
        store.log_tail.telling(from, |stretch| stretch.tells(&whose, &window)).0.len()
    };
    at(&store, "often", &["spending:genre"], 200).unwrap();
    assert!(known() > 50, "{} stretches of 191 pushes", known());
    store.checkpoint().unwrap();
    assert_eq!(known(), 0);
}
