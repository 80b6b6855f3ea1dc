//! Any bytes are refused as a row of a snapshot, or are one that can be read to the last field, at
//! any time, and written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nowthen::{
    feature::Timestamp,
    online::{Body, OwnedRow, Row},
};

fuzz_target!(|bytes: &[u8]| {
    let Some(row) = OwnedRow::from_bytes(bytes) else { return };
    let row = row.as_row();
    for now in [Timestamp::MIN, Timestamp(0), Timestamp::MAX] {
        read(row, now);
    }
    let written = row.to_bytes();
    let again = OwnedRow::from_bytes(&written).expect("a row that was written is one");
    let again = again.as_row();
    assert_eq!((again.key(), again.lsn()), (row.key(), row.lsn()));
});

fn read(row: Row<'_>, now: Timestamp) {
    let _ = (row.is_expired(now), row.expires_at(), row.first_field_end(), row.memory_bytes());
    match row.body() {
        Some(Body::Hash(hash)) => {
            let hash = hash.at(now);
            let found = |name| hash.field(name, &mut 0).is_some();
            let _ = hash.fields().filter(|field| found(field.name)).count();
        }
        Some(Body::Entity(entity)) => {
            let _ = (entity.has_value(), entity.views().count());
        }
        Some(Body::String(_)) | None => {}
    }
}
