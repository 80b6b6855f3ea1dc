//! Any bytes are refused as a file of the history, or give as many rows as they claim, the same for
//! whoever asks for all entities and for one.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use nowthen::{
    feature::{
        Entity, EntityId, Feature, JoinKey, KeyPart, KeyType, Scalar, ValueType, View, ViewId,
    },
    offline::HistoryFile,
};
use std::{collections::HashSet, path::Path, sync::LazyLock};

/// As in the golden directory `history`, where the seeds come from.
static ENTITY: LazyLock<Entity> = LazyLock::new(|| Entity {
    id: EntityId(1),
    name: "user".into(),
    join_keys: vec![JoinKey { name: "user".into(), key_type: KeyType::Int64 }],
    owner: None,
    description: None,
});

static VIEW: LazyLock<View> = LazyLock::new(|| View {
    id: ViewId(1),
    name: "spending".into(),
    entity: EntityId(1),
    version: 1,
    generation: 1,
    hash: String::new(),
    source: None,
    event_timestamp: None,
    created_timestamp: None,
    ttl: None,
    retention_us: None,
    schedule_us: None,
    owner: None,
    description: None,
    features: [Scalar::Float64, Scalar::Int64, Scalar::String, Scalar::Bool]
        .into_iter()
        .zip(["spend", "visits", "genre", "is_new"])
        .zip(0..)
        .map(|((scalar, name), slot)| Feature {
            name: name.into(),
            value_type: ValueType::Scalar(scalar),
            slot,
            unit: None,
            description: None,
            default: None,
            expect: None,
        })
        .collect(),
});

/// A file that the golden directory has, too.
const WHOLE: &[u8] = include_bytes!("../corpus/history_file/one_row");

// Arrow panics on some damage, which we catch. The fuzzer's own hook would end the process before;
// a panic that we do not catch still ends it.
fuzz_target!(
    init: {
        drop(std::panic::take_hook());
        assert_eq!(read(WHOLE), Some(1));
    },
    |bytes: &[u8]| {
        read(bytes);
    }
);

/// How many rows the file has, if it can be read to the last.
fn read(bytes: &[u8]) -> Option<u64> {
    let file = HistoryFile::open(Bytes::copy_from_slice(bytes), Path::new("fuzz"), &VIEW, &ENTITY);
    let file = file.ok()?;
    let all = file.rows(None, None).ok()?;
    assert_eq!(all.len() as u64, file.row_count(), "all rows or none");
    let key = all.first().map_or_else(|| vec![KeyPart::Int64(1)], |row| row.key.clone());
    let one = file.rows(None, Some(&HashSet::from([key])));
    assert!(one.map_or(0, |rows| rows.len()) <= all.len());
    Some(all.len() as u64)
}
