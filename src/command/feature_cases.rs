//! Random definitions, cells and questions, for tests of the forms in which FS.GET answers.

use super::behaviour_tests::Subject;
use crate::{
    feature::{CellWrite, Value as Cell, ValueType},
    store::FeatureRow,
};
use nowthen_protocol::{ProtocolVersion, Value, decode};
use proptest::prelude::*;

/// The types that a vector takes; one more stands for all text.
pub(super) const TYPES: [&str; 12] = [
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
pub(super) const VECTOR_TYPES: usize = 10;

/// Views of two entities: `users` with a TTL, and `items`.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// The types of the features of both views.
    pub(super) types: [Vec<usize>; 2],
    pub(super) writes: Vec<Write>,
    /// Which user and which item each row asks for.
    pub(super) rows: Vec<(i64, i64)>,
    /// Which features are asked for: the view, and one of it by any number.
    pub(super) asked: Vec<(usize, usize)>,
}

#[derive(Clone, Debug)]
pub(super) struct Write {
    view: usize,
    key: i64,
    feature: usize,
    /// What is written; null or a tombstone without.
    seed: Option<u64>,
    is_null: bool,
    wait_us: i64,
}

pub(super) fn case(types: usize) -> impl Strategy<Value = Case> {
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
pub(super) fn cell(type_name: &str, seed: u64) -> Cell {
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

pub(super) const VIEWS: [&str; 2] = ["users", "items"];
pub(super) const ENTITIES: [&str; 2] = ["user", "item"];

/// A server with the definitions and the cells of a case, speaking RESP3.
pub(super) fn subject(case: &Case) -> Subject {
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
pub(super) fn request(case: &Case, options: &str) -> Vec<String> {
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
pub(super) fn asked(case: &Case) -> Vec<(usize, usize)> {
    case.asked.iter().map(|(view, any)| (*view, any % case.types[*view].len())).collect()
}

pub(super) fn reply(subject: &mut Subject, case: &Case, options: &str) -> Value {
    let bytes = subject.say(&request(case, options));
    let (value, length) = decode(&bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len());
    value
}

pub(super) fn array(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        other => panic!("{other:?} is no array"),
    }
}

pub(super) const USERS: &str = "[entity.user]\njoin_keys = { user = \"int64\" }\n\
    [view.v]\nentity = \"user\"\n\
    [view.v.features]\nspend = \"float64\"\nvisits = \"int64\"\ngenre = \"string\"\n\
    embedding = \"float32[2]\"\nprices = \"float64[]\"\ntags = \"bytes[2]\"\n\
    wide = \"float32[4000000]\"\n";
