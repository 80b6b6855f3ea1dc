//! FS.LOAD: what FS.SET does with each row, or nothing at all.

use super::{behaviour_tests::Subject, feature_cases::array};
use crate::{
    disk::Cut,
    feature::{CellWrite, KeyPart, KeyType, Status, Timestamp, Value as Cell, ValueType},
    offline::{FeatureTable, TableColumns},
    store::FeatureRow,
};
use nowthen_protocol::{Value, decode};
use proptest::prelude::*;

const DEFINITIONS: &str = "[entity.user]\njoin_keys = { user = \"int64\", shop = \"string\" }\n\
    [view.v]\nentity = \"user\"\nfeatures = { f = \"int64\", g = \"string\", e = \"float32[2]\" }\n\
    [view.w]\nentity = \"user\"\nfeatures = { event_timestamp = \"int64\" }\n";
const TYPES: [(&str, &str); 3] = [("f", "int64"), ("g", "string"), ("e", "float32[2]")];

#[derive(Clone, Debug)]
struct Row {
    user: i64,
    event: i64,
    /// One per feature; `None` is null.
    cells: [Option<u8>; 3],
}

fn row() -> impl Strategy<Value = Row> {
    let cell = || prop::option::of(0..9_u8);
    (0..3_i64, 0..20_i64, [cell(), cell(), cell()]).prop_map(|(user, event, cells)| Row {
        user,
        event,
        cells,
    })
}

fn value(feature: usize, seed: u8) -> Cell {
    let text = match feature {
        0 => seed.to_string(),
        1 => "x".repeat(seed.into()),
        _ => format!("[{seed},-0.5]"),
    };
    Cell::parse(text.as_bytes(), ValueType::parse(TYPES[feature].1).unwrap()).unwrap()
}

/// The stream of some rows with the features at these places, in batches of `batch_rows`.
fn stream(rows: &[Row], features: &[usize], batch_rows: usize) -> Vec<u8> {
    let named = |place: &usize| {
        let (name, value_type) = TYPES[*place];
        (name.to_owned(), ValueType::parse(value_type).unwrap())
    };
    let time = ("event_timestamp".to_owned(), ValueType::parse("timestamp").unwrap());
    let mut table = FeatureTable::new(TableColumns {
        keys: vec![("shop".into(), KeyType::String), ("user".into(), KeyType::Int64)],
        features: features.iter().map(named).chain([time]).collect(),
        with_status: false,
        with_time: false,
    })
    .unwrap();
    for rows in rows.chunks(batch_rows) {
        let key = |row: &Row| vec![KeyPart::Bytes(b"a:b".to_vec()), KeyPart::Int64(row.user)];
        let keys: Vec<Vec<KeyPart>> = rows.iter().map(key).collect();
        let cells = |row: &Row| -> Vec<Option<Cell>> {
            let cells = features.iter().map(|place| Some(value(*place, row.cells[*place]?)));
            cells.chain([Some(Cell::Timestamp(Timestamp(row.event)))]).collect()
        };
        let cells: Vec<Vec<Option<Cell>>> = rows.iter().map(cells).collect();
        table
            .write(&keys, |row, column| (cells[row][column].as_ref(), Status::Present, None))
            .unwrap();
    }
    table.finish().unwrap()
}

fn load(subject: &mut Subject, view: &str, stream: &[u8]) -> Value {
    let bytes = subject.say(&[b"FS.LOAD", view.as_bytes(), stream]);
    let (reply, length) = decode(&bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len());
    reply
}

/// All that is told of the users.
fn state(subject: &mut Subject) -> Vec<String> {
    let get =
        "FS.GET FEATURES 3 f g e FOR 2 user shop ROWS 3 0 a:b 1 a:b 2 a:b WITHSTATUS WITHTIME";
    let mut told = vec![subject.ask(get)];
    told.extend(
        (0..3).map(|user| subject.ask(&format!("FS.HISTORY user:{user}:a%3Ab FEATURES 3 f g e"))),
    );
    told
}

fn subject() -> Subject {
    let mut subject = Subject::new();
    subject.apply(DEFINITIONS);
    subject
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_load_does_what_each_of_its_rows_does_as_a_push(
        rows in prop::collection::vec(row(), 0..30),
        features in prop::sample::subsequence(vec![0_usize, 1, 2], 1..=3),
        batch_rows in 1..40_usize,
        is_crash: bool,
    ) {
        let (mut loaded, mut pushed) = (subject(), subject());
        let (mut applied, mut late) = (0, 0);
        for row in &rows {
            let store = &pushed.app.store;
            let schema = store.schema();
            let view = schema.catalog.view("v").unwrap();
            let cell = |place: &usize| {
                let written = row.cells[*place].map(|seed| value(*place, seed));
                let slot = view.feature(TYPES[*place].0).unwrap().slot;
                (slot, written.map_or(CellWrite::Null, CellWrite::Value))
            };
            let mut cells: Vec<_> = features.iter().map(cell).collect();
            cells.sort_unstable_by_key(|(slot, _)| *slot);
            let key = format!("user:{}:a%3Ab", row.user).into_bytes();
            let row = FeatureRow { key, event: Timestamp(row.event), created: None, cells };
            let committed = store.keyspace().push_rows(&schema, view, vec![row]).unwrap();
            let durable = |lsn| store.acknowledged_blocking(lsn).unwrap();
            committed.wait_for.into_iter().for_each(durable);
            applied += committed.value.applied as i64;
            late += committed.value.late as i64;
        }
        let reply = load(&mut loaded, "v", &stream(&rows, &features, batch_rows));
        prop_assert_eq!(reply, Value::Array(vec![Value::Integer(applied), Value::Integer(late)]));
        match is_crash {
            true => loaded.crash(3, Cut::Power),
            false => loaded.restart(),
        }
        prop_assert_eq!(state(&mut loaded), state(&mut pushed));
    }
}

fn rows(count: i64) -> Vec<Row> {
    (0..count).map(|i| Row { user: i % 3, event: i, cells: [Some(1), Some(2), None] }).collect()
}

#[test]
fn a_stream_that_is_cut_or_damaged_changes_nothing_or_is_whole() {
    let whole = stream(&rows(40), &[0, 1, 2], 16);
    let mut subject = subject();
    let before = subject.last_lsn();
    for length in (0..whole.len()).step_by(23).chain([whole.len() - 8, whole.len() - 1]) {
        let reply = load(&mut subject, "v", &whole[..length]);
        assert!(matches!(reply, Value::Error(_)), "{length}: {reply:?}");
    }
    assert_eq!(subject.last_lsn(), before);
    for byte in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[byte] ^= 0x81;
        let before = subject.last_lsn();
        match load(&mut subject, "v", &damaged) {
            Value::Error(_) => assert_eq!(subject.last_lsn(), before, "{byte}"),
            // A value, a key or a time may be another one, and a batch may be none.
            reply => assert_eq!(array(&reply).len(), 2),
        }
    }
    assert_eq!(
        load(&mut subject, "v", &stream(&[], &[0], 1)),
        Value::Array(vec![0, 0].into_iter().map(Value::Integer).collect())
    );
}

#[test]
fn what_is_wrong_with_a_column_or_a_row_is_named() {
    let mut subject = subject();
    let before = state(&mut subject);
    let mut check = |view: &str, stream: &[u8], why: &str| {
        let reply = load(&mut subject, view, stream);
        assert!(matches!(&reply, Value::Error(text) if text.contains(why)), "{why}: {reply:?}");
    };
    check("v", b"no stream", "expected an Arrow IPC stream");
    check("vv", &stream(&rows(1), &[0], 1), "did you mean 'v'");
    check("w", &stream(&rows(1), &[0], 1), "feature event_timestamp of view w is called as");
    check("v", &stream(&rows(1), &[], 1), "no column of a feature of view v: expected some of");
    let mut ahead = rows(600);
    ahead[301].event = 1_000_000 + 3_600_000_000;
    check("v", &stream(&ahead, &[0], 400), "row 302: event timestamp 1970-01-01T01:00:01Z lies");
    assert_eq!(state(&mut subject), before);
    let refused = subject.ask("MULTI") + &subject.ask("FS.LOAD v x");
    assert!(refused.contains("not allowed inside a transaction"), "{refused}");
}
