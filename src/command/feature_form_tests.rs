//! The forms in which FS.GET gives features: whatever was written, all tell the same cells.

use super::behaviour_tests::Subject;
use crate::{
    feature::{CellWrite, Timestamp, Value as Cell, ValueType},
    store::FeatureRow,
};
use nowthen_protocol::{
    ProtocolVersion, Value, decode,
    vector::{VectorElement, VectorFrame, VectorStatus},
};
use proptest::prelude::*;

/// The types that a vector takes; one more stands for all text.
const TYPES: [&str; 12] = [
    "bool",
    "int32",
    "int64",
    "float32",
    "float64",
    "timestamp",
    "float32[3]",
    "float64[2]",
    "int64[1]",
    "bool[2]",
    "string",
    "float64[]",
];
const VECTOR_TYPES: usize = 10;

/// Views of two entities: `users` with a TTL, and `items`.
#[derive(Clone, Debug)]
struct Case {
    /// The types of the features of both views.
    types: [Vec<usize>; 2],
    writes: Vec<Write>,
    /// Which user and which item each row asks for.
    rows: Vec<(i64, i64)>,
    /// Which features are asked for: the view, and one of it by any number.
    asked: Vec<(usize, usize)>,
}

#[derive(Clone, Debug)]
struct Write {
    view: usize,
    key: i64,
    feature: usize,
    /// What is written; null or a tombstone without.
    seed: Option<u64>,
    is_null: bool,
    wait_us: i64,
}

fn case(types: usize) -> impl Strategy<Value = Case> {
    let types = || prop::collection::vec(0..types, 1..5);
    let write = (0..2_usize, 0..3_i64, 0..8_usize, any::<Option<u64>>(), any::<bool>(), 0..40_i64);
    let write = write.prop_map(|(view, key, feature, seed, is_null, wait_us)| Write {
        view,
        key,
        feature,
        seed,
        is_null,
        wait_us,
    });
    (
        [types(), types()],
        prop::collection::vec(write, 0..20),
        prop::collection::vec((0..4_i64, 0..4_i64), 1..6),
        prop::collection::vec((0..2_usize, 0..8_usize), 1..8),
    )
        .prop_map(|(types, writes, rows, asked)| Case { types, writes, rows, asked })
}

/// Some value of a type, extremes among them.
fn cell(type_name: &str, seed: u64) -> Cell {
    let integer = match seed % 5 {
        0 => i64::MIN,
        1 => i64::MAX,
        _ => seed.cast_signed(),
    };
    let float = match seed % 5 {
        0 => f64::NAN,
        1 => f64::NEG_INFINITY,
        _ => f64::from_bits(seed),
    };
    let text = match type_name {
        "bool" => (seed % 2).to_string(),
        "int32" => (integer as i32).to_string(),
        "int64" => integer.to_string(),
        "timestamp" => (integer / 1_000_000).to_string(),
        "float32" => (float as f32).to_string(),
        "float64" => float.to_string(),
        "string" => format!("text {seed}"),
        "float32[3]" => format!("[{seed},-0.0,\"nan\"]"),
        "float64[2]" => format!("[1e300,{seed}]"),
        "int64[1]" => format!("[{integer}]"),
        "bool[2]" => "[true,false]".to_owned(),
        _ => format!("[{}]", vec!["0.5"; (seed % 4) as usize].join(",")),
    };
    Cell::parse(text.as_bytes(), ValueType::parse(type_name).unwrap()).unwrap()
}

const VIEWS: [&str; 2] = ["users", "items"];
const ENTITIES: [&str; 2] = ["user", "item"];

/// A server with the definitions and the cells of a case, speaking RESP3.
fn subject(case: &Case) -> Subject {
    let mut text = String::new();
    for (view, types) in case.types.iter().enumerate() {
        let (entity, view, ttl) = (ENTITIES[view], VIEWS[view], ["ttl = \"100us\"", ""][view]);
        text += &format!("[entity.{entity}]\njoin_keys = {{ {entity} = \"int64\" }}\n");
        text += &format!("[view.{view}]\nentity = \"{entity}\"\n{ttl}\n[view.{view}.features]\n");
        let features = types.iter().enumerate();
        text.extend(features.map(|(i, t)| format!("f{i} = \"{}\"\n", TYPES[*t])));
    }
    let mut subject = Subject::new();
    subject.session.version = ProtocolVersion::Resp3;
    subject.apply(&text);
    for write in &case.writes {
        subject.wait_us(write.wait_us);
        let store = &subject.app.store;
        let (schema, types) = (store.schema(), &case.types[write.view]);
        let feature = write.feature % types.len();
        let view = schema.catalog.view(VIEWS[write.view]).unwrap();
        let written = match (write.seed, write.is_null) {
            (Some(seed), _) => CellWrite::Value(cell(TYPES[types[feature]], seed)),
            (None, true) => CellWrite::Null,
            (None, false) => CellWrite::Tombstone,
        };
        let row = FeatureRow {
            key: format!("{}:{}", ENTITIES[write.view], write.key).into_bytes(),
            event: store.now(),
            created: None,
            cells: vec![(view.feature(&format!("f{feature}")).unwrap().slot, written)],
        };
        let committed = store.keyspace().push_rows(&schema, view, vec![row]).unwrap();
        committed.wait_for.into_iter().for_each(|lsn| store.acknowledged_blocking(lsn).unwrap());
    }
    subject
}

/// The words of the FS.GET of a case, and behind it `options`.
fn request(case: &Case, options: &str) -> Vec<String> {
    let asked = asked(case);
    let mut words = vec!["FS.GET".into(), "FEATURES".into(), asked.len().to_string()];
    words.extend(asked.iter().map(|(view, feature)| format!("{}:f{feature}", VIEWS[*view])));
    words.extend(["FOR", "2", "user", "item", "ROWS"].map(str::to_owned));
    words.push(case.rows.len().to_string());
    words.extend(case.rows.iter().flat_map(|(user, item)| [user.to_string(), item.to_string()]));
    words.extend(options.split_whitespace().map(str::to_owned));
    words
}

/// View and feature of each column asked for.
fn asked(case: &Case) -> Vec<(usize, usize)> {
    case.asked.iter().map(|(view, any)| (*view, any % case.types[*view].len())).collect()
}

fn reply(subject: &mut Subject, case: &Case, options: &str) -> Value {
    let bytes = subject.say(&request(case, options));
    let (value, length) = decode(&bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len());
    value
}

fn array(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        other => panic!("{other:?} is no array"),
    }
}

/// The numbers and the status that AS VALUES WITHSTATUS tells of a cell.
fn told(cell: &Value, width: usize) -> Vec<(VectorStatus, Option<f64>, Option<i64>)> {
    let [value, status, ..] = array(cell) else { panic!("{cell:?}") };
    let status = match status.as_text().unwrap() {
        "PRESENT" => VectorStatus::Present,
        "NULL_VALUE" => VectorStatus::NullValue,
        "OUTSIDE_MAX_AGE" => VectorStatus::OutsideMaxAge,
        other => {
            assert_eq!(other, "NOT_FOUND");
            VectorStatus::NotFound
        }
    };
    let number = |value: &Value| match value {
        Value::Null => (status, None, None),
        Value::Boolean(flag) => (status, Some(f64::from(u8::from(*flag))), Some((*flag).into())),
        Value::Integer(integer) => (status, Some(*integer as f64), Some(*integer)),
        Value::Double(double) => (status, Some(*double), None),
        Value::Bulk(time) => {
            let us = Timestamp::parse(str::from_utf8(time).unwrap()).unwrap().us();
            (status, Some(us as f64), Some(us))
        }
        other => panic!("{other:?} is no number"),
    };
    match value {
        Value::Array(list) => list.iter().map(number).collect(),
        other => vec![number(other); if other.is_null() { width } else { 1 }],
    }
}

fn same_cells_as_vector(subject: &mut Subject, case: &Case, at: &str) {
    let values = reply(subject, case, &format!("{at} WITHSTATUS"));
    let Value::Bulk(frame) = reply(subject, case, &format!("{at} AS VECTOR")) else {
        panic!("no bulk string")
    };
    let frame = VectorFrame::decode(&frame).unwrap();
    let types: Vec<&str> = asked(case).iter().map(|(v, f)| TYPES[case.types[*v][*f]]).collect();
    let width = |name: &str| match ValueType::parse(name).unwrap() {
        ValueType::List { length, .. } => length.unwrap() as usize,
        ValueType::Scalar(_) => 1,
    };
    let has = |starts: &[&str]| types.iter().any(|t| starts.iter().any(|s| t.starts_with(s)));
    let element = match (has(&["float32"]), has(&["float64"]), has(&["int", "timestamp"])) {
        (false, false, _) => VectorElement::I64,
        (true, false, false) => VectorElement::F32,
        _ => VectorElement::F64,
    };
    assert_eq!(frame.shape().element, element, "{types:?}");
    assert_eq!(frame.shape().rows, case.rows.len());
    assert_eq!(frame.shape().columns, types.iter().map(|t| width(t)).sum::<usize>());
    let cells = array(&values).iter().flat_map(|row| array(row).iter().zip(&types));
    let wanted: Vec<_> = cells.flat_map(|(cell, name)| told(cell, width(name))).collect();
    let statuses: Vec<_> = frame.statuses().collect();
    assert_eq!(statuses, wanted.iter().map(|(status, ..)| *status).collect::<Vec<_>>());
    let bits = |float: f64| if float.is_nan() { f64::NAN.to_bits() } else { float.to_bits() };
    match element {
        VectorElement::I64 => {
            let integers: Vec<i64> = frame.i64s().collect();
            let wanted: Vec<i64> =
                wanted.iter().map(|(.., integer)| integer.unwrap_or(0)).collect();
            assert_eq!(integers, wanted);
        }
        VectorElement::F32 | VectorElement::F64 => {
            let floats: Vec<u64> =
                frame.f64s().chain(frame.f32s().map(f64::from)).map(bits).collect();
            let wanted: Vec<u64> =
                wanted.iter().map(|(_, float, _)| bits(float.unwrap_or(f64::NAN))).collect();
            assert_eq!(floats, wanted);
        }
    }
    let is_exact = |(_, float, integer): &(VectorStatus, Option<f64>, Option<i64>)| {
        float.zip(*integer).is_none_or(|(float, integer)| float as i128 == i128::from(integer))
    };
    let is_rounded = element == VectorElement::F64 && !wanted.iter().all(is_exact);
    assert_eq!(frame.is_rounded(), is_rounded);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_vector_holds_the_cells_that_values_tell(case in case(VECTOR_TYPES)) {
        let mut subject = subject(&case);
        let now = subject.app.store.now().us();
        same_cells_as_vector(&mut subject, &case, "");
        same_cells_as_vector(&mut subject, &case, &format!("AT {now}"));
    }
}

const USERS: &str = "[entity.user]\njoin_keys = { user = \"int64\" }\n[view.v]\nentity = \"user\"\n\
    [view.v.features]\nspend = \"float64\"\nvisits = \"int64\"\ngenre = \"string\"\n\
    embedding = \"float32[2]\"\nprices = \"float64[]\"\ntags = \"bytes[2]\"\n\
    wide = \"float32[4000000]\"\n";

#[test]
fn what_is_no_number_is_refused_by_name() {
    let mut subject = Subject::new();
    subject.apply(USERS);
    let mut check = |feature: &str, why: &str| {
        let words = format!("FS.GET FEATURES 2 spend {feature} FOR 1 user ROWS 3 1 2 3 AS VECTOR");
        let reply = subject.ask(&words);
        assert!(reply.starts_with("-ERR ") && reply.contains(why), "{reply}");
    };
    check("genre", "feature v:genre is string: a vector holds numbers");
    check("tags", "feature v:tags is bytes[2]: a vector holds numbers");
    check("prices", "feature v:prices is float64[]: in a vector every list");
    check("wide", "3 rows of 4000001 numbers are too many for one request");
    check("spent", "did you mean 'spend'");
}

#[test]
fn a_vector_is_asked_for_with_what_it_can_tell() {
    let mut subject = Subject::new();
    subject.apply(USERS);
    let get = "FS.GET FEATURES 1 visits FOR 1 user";
    subject.check(&[
        ("HSET user:1 visits -9223372036854775808", ":1"),
        (&format!("{get} ROWS 1 1 AS MATRIX"), "-ERR expected AS VALUES or AS VECTOR"),
        (&format!("{get} ROWS 1 1 AS"), "-ERR expected AS VALUES or AS VECTOR"),
        (
            &format!("{get} ROWS 1 1 WITHTIME AS VECTOR"),
            "-ERR WITHTIME: a vector has no room for times; ask AS VALUES",
        ),
        (&format!("{get} ROWS 0 AS VECTOR"), "-ERR the number of rows must be from 1 to 100000"),
        (
            &format!("{get} ROWS 100001 1 AS VECTOR"),
            "-ERR the number of rows must be from 1 to 100000",
        ),
        // The second row is no key: nothing of the first may be in the reply.
        (&format!("{get} ROWS 2 1 x AS VECTOR"), "-ERR join key user is int64, got 'x'"),
    ]);
    let words = |options: &str| format!("{get} ROWS 2 1 2 {options}");
    let frame = subject.say(&words("WITHSTATUS AS VECTOR").split(' ').collect::<Vec<_>>());
    assert_eq!(
        frame.escape_ascii().to_string(),
        "$42\\r\\nNTFV\\x01\\x03\\x00\\x00\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\\x00\\x00\
         \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80\\x00\\x00\\x00\\x00\\x00\
         \\x00\\x00\\x00\\x00\\x03\\r\\n"
    );
}

#[test]
fn a_transaction_reads_its_own_writes_as_a_vector() {
    let mut subject = Subject::new();
    subject.apply(USERS);
    subject.check(&[
        ("MULTI", "+OK"),
        ("HSET user:1 visits 7", "+QUEUED"),
        ("FS.GET FEATURES 1 visits FOR 1 user ROWS 1 1 AS VECTOR", "+QUEUED"),
    ]);
    let reply = subject.say(&["EXEC"]);
    let (value, _) = decode(&reply).unwrap().unwrap();
    let [_, Value::Bulk(frame)] = array(&value) else { panic!("{value:?}") };
    assert_eq!(VectorFrame::decode(frame).unwrap().i64s().collect::<Vec<_>>(), [7]);
}
