//! Any bytes are refused as a record of the log, or are one, which reads back the same when it is
//! written again; and no memory is taken for a length that is only claimed (`-rss_limit_mb`).
#![no_main]

use libfuzzer_sys::fuzz_target;
use nowthen::feature::{decode_record, encode_record};

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = decode_record(bytes) else { return };
    let again = encode_record(&record);
    match decode_record(&again) {
        // A float that is no number equals nothing, itself included: what is written tells.
        Ok(same) => assert_eq!(encode_record(&same), again),
        Err(why) => panic!("a record that was written is refused: {why}"),
    }
});
