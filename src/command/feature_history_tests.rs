//! FS.HISTORY: every write that was acknowledged, in the order of who wins, and nothing else.

use super::{behaviour_tests::Subject, feature_cases::array};
use crate::{
    disk::Cut,
    feature::{CellWrite, Timestamp, Value as Cell},
    store::FeatureRow,
};
use nowthen_protocol::{ProtocolVersion, Value, decode};
use proptest::prelude::*;

const DEFINITIONS: &str = "[entity.user]\njoin_keys = { user = \"int64\", shop = \"string\" }\n\
    [view.v]\nentity = \"user\"\nttl = \"5us\"\nfeatures = { f = \"int64\", g = \"string\" }\n\
    [view.w]\nentity = \"user\"\nfeatures = { h = \"bool\", f = \"float64\" }\n";

/// The names asked for, and of each the view and the feature.
const ASKED: [(&str, &str, &str); 4] =
    [("v:f", "v", "f"), ("g", "v", "g"), ("h", "w", "h"), ("w:f", "w", "f")];

#[derive(Clone, Debug)]
struct Write {
    user: i64,
    is_of_w: bool,
    /// Before the clock, or ahead of it.
    age_us: i64,
    /// Of each feature of the view: nothing, null, a tombstone or a value.
    cells: [Option<Option<Option<u8>>>; 2],
    wait_us: i64,
    /// What happens behind it.
    then: u8,
}

fn write() -> impl Strategy<Value = Write> {
    let cell = || prop::option::of(prop::option::of(prop::option::of(0..9_u8)));
    (0..2_i64, any::<bool>(), -2..12_i64, [cell(), cell()], 0..4_i64, 0..12_u8).prop_map(
        |(user, is_of_w, age_us, cells, wait_us, then)| Write {
            user,
            is_of_w,
            age_us,
            cells,
            wait_us,
            then,
        },
    )
}

/// What the reply tells of one write.
type Told = (i64, i64, Vec<(String, String, Option<String>)>);

fn value(view: &str, feature: &str, seed: u8) -> Cell {
    match (view, feature) {
        ("v", "f") => Cell::Int64(seed.into()),
        ("v", _) => Cell::String("x".repeat(seed.into())),
        (_, "h") => Cell::Bool(seed.is_multiple_of(2)),
        _ => Cell::Float64(f64::from(seed) / 2.0),
    }
}

/// Writes to the store and to the model.
fn push(subject: &mut Subject, write: &Write, model: &mut Vec<(i64, Told)>) {
    subject.wait_us(write.wait_us);
    let store = &subject.app.store;
    let (schema, name) = (store.schema(), if write.is_of_w { "w" } else { "v" });
    let view = schema.catalog.view(name).unwrap();
    let event = Timestamp(store.now().us() - write.age_us);
    let (mut cells, mut told) = (Vec::new(), Vec::new());
    for (asked, in_view, feature) in ASKED.iter().filter(|(_, view, _)| *view == name) {
        let place = usize::from(*feature != view.features[0].name);
        let Some(cell) = &write.cells[place] else { continue };
        let (status, written) = match cell {
            None => ("DELETED", CellWrite::Tombstone),
            Some(None) => ("NULL_VALUE", CellWrite::Null),
            Some(Some(seed)) => ("PRESENT", CellWrite::Value(value(in_view, feature, *seed))),
        };
        let text = match &written {
            CellWrite::Value(value) => Some(value.to_text()),
            CellWrite::Null | CellWrite::Tombstone => None,
        };
        told.push(((*asked).to_owned(), status.to_owned(), text));
        cells.push((view.feature(feature).unwrap().slot, written));
    }
    if cells.is_empty() {
        return;
    }
    cells.sort_unstable_by_key(|(slot, _)| *slot);
    let key = format!("user:{}:a%3Ab", write.user).into_bytes();
    let row = FeatureRow { key, event, created: None, cells };
    let now = store.now().us();
    let committed = store.keyspace().push_rows(&schema, view, vec![row]).unwrap();
    committed.wait_for.into_iter().for_each(|lsn| store.acknowledged_blocking(lsn).unwrap());
    model.push((write.user, (event.us(), now, told)));
}

fn ask(subject: &mut Subject, user: i64, options: &str) -> Vec<Told> {
    let names = ASKED.map(|(name, ..)| name).join(" ");
    let line = format!("FS.HISTORY user:{user}:a%3Ab FEATURES 4 {names} {options}");
    let bytes = subject.say(&line.split_whitespace().collect::<Vec<_>>());
    let (reply, _) = decode(&bytes).unwrap().unwrap();
    let row = |row: &Value| {
        let [event, created, origin, cells] = array(row) else { panic!("{row:?}") };
        assert_eq!(origin.as_text(), Some("PUSHED"));
        let cell = |cell: &Value| {
            let [name, status, value] = array(cell) else { panic!("{cell:?}") };
            let text = |value: &Value| value.as_text().map(str::to_owned);
            (text(name).unwrap(), text(status).unwrap(), text(value))
        };
        let cells = array(cells).iter().map(cell).collect();
        (event.as_integer().unwrap(), created.as_integer().unwrap(), cells)
    };
    array(&reply).iter().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_history_is_every_acknowledged_write_in_the_order_of_who_wins(
        writes in prop::collection::vec(write(), 1..25),
        window in prop::option::of((-15..30_i64, -15..30_i64)),
        limit in prop::option::of(1..6_usize),
    ) {
        let mut subject = Subject::new();
        subject.apply(DEFINITIONS);
        let start = subject.app.store.now().us();
        let mut model = Vec::new();
        for write in &writes {
            push(&mut subject, write, &mut model);
            match write.then {
                0 => subject.restart(),
                1 => subject.crash(7, Cut::Power),
                2 => subject.app.store.checkpoint().map(drop).unwrap(),
                _ => {}
            }
        }
        let mut options = String::new();
        if let Some((from, to)) = window {
            options += &format!(" FROM {} TO {}", start + from, start + to);
        }
        options.extend(limit.map(|limit| format!(" LIMIT {limit}")));
        for user in 0..2 {
            let is_asked = |event: i64| {
                window.is_none_or(|(from, to)| (start + from..=start + to).contains(&event))
            };
            let of_user = model.iter().filter(|(of, told)| *of == user && is_asked(told.0));
            let mut wanted: Vec<Told> = of_user.map(|(_, told)| told.clone()).collect();
            // Stable: what arrived later stands behind among equals.
            wanted.sort_by_key(|(event, created, _)| (*event, *created));
            wanted.truncate(limit.unwrap_or(usize::MAX));
            prop_assert_eq!(ask(&mut subject, user, &options), wanted);
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    let mut subject = Subject::new();
    subject.apply(DEFINITIONS);
    for (line, wanted) in [
        ("FS.HISTORY usr:1:a FEATURES 1 g", "-ERR 'usr:1:a' is no key of a registered entity"),
        ("FS.HISTORY user:x:a FEATURES 1 g", "-ERR join key user is int64, got 'x'"),
        ("FS.HISTORY user:1:a FEATURES 0 g", "-ERR the number of features must be from 1 to *"),
        ("FS.HISTORY user:1:a FEATURE 1 g", "-ERR expected FEATURES n feature ... after the key"),
        ("FS.HISTORY user:1:a FEATURES 1 gg", "-ERR entity user has no feature 'gg'; did you *"),
        ("FS.HISTORY user:1:a FEATURES 1 f", "-ERR feature 'f' is in several views: expected *"),
        ("FS.HISTORY user:1:a FEATURES 1 g LIMIT 0", "-ERR expected LIMIT and a number from 1 *"),
        ("FS.HISTORY user:1:a FEATURES 1 g LIMIT 100001", "-ERR expected LIMIT and a number *"),
        ("FS.HISTORY user:1:a FEATURES 1 g FROM noon", "-ERR 'noon' is no time: *"),
        ("FS.HISTORY user:1:a FEATURES 1 g SINCE 5", "-ERR syntax error"),
        ("FS.HISTORY user:1:a FEATURES 1 g FROM 9 TO 1", "*0"),
    ] {
        let reply = subject.ask(line);
        let is_it = match wanted.strip_suffix(" *") {
            Some(start) => reply.starts_with(start),
            None => reply == wanted,
        };
        assert!(is_it, "{line}: {reply}");
    }
}

#[test]
fn writes_of_every_kind_stand_in_the_history_in_both_protocols() {
    let mut subject = Subject::new();
    subject.apply(DEFINITIONS);
    subject.check(&[
        ("HSET user:1:a v:f 7 g x", ":2"),
        ("FS.SET v EVENT 5 ROWS 1 FEATURES 1 f 1 a 6", "*2 :0 :1"),
    ]);
    subject.wait_us(10);
    subject.check(&[("HDEL user:1:a g", ":0"), ("HINCRBY user:1:a v:f 2", ":2")]);
    let rows = "*4 *4 :5 :1000000 $6 PUSHED *1 *3 $3 v:f $7 PRESENT $1 6 \
                *4 :1000000 :1000000 $6 PUSHED *2 *3 $3 v:f $7 PRESENT $1 7 \
                *3 $1 g $7 PRESENT $1 x \
                *4 :1000010 :1000010 $6 PUSHED *1 *3 $1 g $7 DELETED $-1 \
                *4 :1000010 :1000010 $6 PUSHED *1 *3 $3 v:f $7 PRESENT $1 2";
    subject.check(&[("FS.HISTORY user:01:a FEATURES 2 v:f g", rows)]);
    subject.session.version = ProtocolVersion::Resp3;
    subject.check(&[(
        "FS.HISTORY user:1:a FEATURES 1 v:f TO 5",
        "*1 *4 :5 :1000000 $6 PUSHED *1 *3 $3 v:f $7 PRESENT :6",
    )]);
    subject.check(&[("MULTI", "+OK")]);
    let refused = subject.ask("FS.HISTORY user:1:a FEATURES 1 g");
    assert!(refused.contains("not allowed inside a transaction"), "{refused}");
}
