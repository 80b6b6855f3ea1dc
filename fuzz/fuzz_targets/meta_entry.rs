//! Any bytes are refused as an entry of the meta file of a snapshot, as a record of the log and as
//! a row by whoever tells of them to people, or are told: no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nowthen::store::Teller;

fuzz_target!(|bytes: &[u8]| {
    let mut teller = Teller::default();
    let _ = teller.meta(bytes);
    let _ = teller.record(1, bytes);
    let _ = teller.row(bytes);
});
