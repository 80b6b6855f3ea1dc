//! Any bytes are refused as a record of the log, or are one, which reads back the same when it is
//! written again; and no memory is taken for a length that is only claimed (`-rss_limit_mb`). Who
//! reads only of its pushes finds those that are in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nowthen::feature::{Change, Origin, decode_record, each_pushed, encode_record};

fuzz_target!(|bytes: &[u8]| {
    let mut told = Vec::new();
    let read = each_pushed(bytes, |view, key, event| told.push((view, key.to_vec(), event)));
    let Ok(record) = decode_record(bytes) else { return };
    assert!(read.is_ok(), "its pushes are refused: {read:?}");
    let pushed = record.changes.iter().filter_map(|change| {
        let Change::Cells(write) = change else { return None };
        let is_pushed = write.origin == Origin::Pushed;
        is_pushed.then(|| (write.view, write.key.clone(), write.stamp.event))
    });
    assert!(pushed.eq(told), "other pushes than those of the record");
    let again = encode_record(&record);
    match decode_record(&again) {
        // A float that is no number equals nothing, itself included: what is written tells.
        Ok(same) => assert_eq!(encode_record(&same), again),
        Err(why) => panic!("a record that was written is refused: {why}"),
    }
});
