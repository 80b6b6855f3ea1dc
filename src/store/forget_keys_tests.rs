//! Keys that are hard to find in a history, and to forget: long ones, composite ones, no text.

use super::{FeatureRow, HistoryRequest, history_attack_fixture::*};
use crate::{
    disk::SimulatedFs,
    feature::{CellWrite, KeyPart, Timestamp, Value},
    offline::Window,
};

/// composite keys that are no text.
#[test]
fn composite_keys_are_forgotten() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(
        &store,
        "[entity.user]\njoin_keys = { a = \"bytes\", b = \"int64\" }\n[view.spending]\n\
        entity = \"user\"\nfeatures = { spend = \"float64\", genre = \"string\" }\n\
        [entity.user2]\njoin_keys = { a = \"bytes\" }\n\
        [view.v2]\nentity = \"user2\"\nfeatures = { x = \"string\" }\n",
    );
    let schema = store.schema.load_full();
    let entity = schema.catalog.entity("user").unwrap();
    let parts =
        |text: &[u8], number: i64| vec![KeyPart::Bytes(text.to_vec()), KeyPart::Int64(number)];
    let one = |key: &[KeyPart]| {
        let view = schema.catalog.view("spending").unwrap();
        let cells = vec![(1, CellWrite::Value(Value::String("x".into())))];
        let row = FeatureRow { key: entity.key(key), event: Timestamp(5), created: None, cells };
        let pushed = store.keyspace().push_rows(&schema, view, vec![row]).unwrap();
        store.acknowledged_blocking(pushed.wait_for.unwrap()).unwrap();
    };
    let all = [
        parts(b":%\xff", 7),
        parts(b":%", -7),
        parts(b"", 7),
        parts(b":%\xff", -7),
        parts(b"%3A", 7),
    ];
    all.iter().for_each(|key| one(key));
    store.checkpoint().unwrap();
    all.iter().for_each(|key| one(key));
    let key = entity.canonical_key(b"user:%3A%25\xff:+007").unwrap();
    let receipt = store.forget(&key).unwrap();
    assert_eq!(receipt.erased.history_rows, 1, "{receipt:?}");
    for (place, key) in all.iter().enumerate() {
        let features = schema.catalog.select(&["spending:genre"]).unwrap();
        let window = Window { from: None, to: Timestamp::MAX };
        let request = HistoryRequest {
            entity,
            key: key.clone(),
            features,
            window,
            rows_max: 99,
            bytes_max: 1 << 20,
        };
        assert_eq!(
            store.history(&schema, &request).unwrap().len(),
            if place == 0 { 0 } else { 2 },
            "{place}"
        );
    }
}

/// long keys.
#[test]
fn long_keys_are_found() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(
        &store,
        "[entity.user]\njoin_keys = { a = \"bytes\" }\n[view.spending]\n\
        entity = \"user\"\nfeatures = { spend = \"float64\", genre = \"string\" }\n",
    );
    let schema = store.schema.load_full();
    let entity = schema.catalog.entity("user").unwrap();
    let view = schema.catalog.view("spending").unwrap();
    for (byte, count) in [(b'x', 30), (0xff, 30), (0, 30)] {
        let key =
            |n: usize| vec![KeyPart::Bytes([vec![byte; 60 + n], vec![byte, n as u8]].concat())];
        for n in 0..count {
            let cells = vec![(1, CellWrite::Value(Value::String("x".into())))];
            let row =
                FeatureRow { key: entity.key(&key(n)), event: Timestamp(5), created: None, cells };
            let done = store.keyspace().push_rows(&schema, view, vec![row]).unwrap();
            store.acknowledged_blocking(done.wait_for.unwrap()).unwrap();
        }
        store.checkpoint().unwrap();
        for n in 0..count {
            let features = schema.catalog.select(&["spending:genre"]).unwrap();
            let window = Window { from: None, to: Timestamp::MAX };
            let request = HistoryRequest {
                entity,
                key: key(n),
                features,
                window,
                rows_max: 99,
                bytes_max: 1 << 20,
            };
            assert_eq!(store.history(&schema, &request).unwrap().len(), 1, "{byte} {n}");
        }
        let receipt = store.forget(&entity.key(&key(7))).unwrap();
        assert_eq!(receipt.erased.history_rows, 1, "{byte}");
    }
}
