//! Any bytes are refused as a segment of the log, or give records; and a segment that was cut
//! short gives the first of the same records, never others.
#![no_main]

mod seal;

use libfuzzer_sys::fuzz_target;
use nowthen::log::read_log_bytes;

/// A log that was closed: two frames and a footer.
const WHOLE: &[u8] = include_bytes!("../corpus/log_reader/closed");

fuzz_target!(
    init: assert!(sealed(WHOLE) == WHOLE && read_log_bytes(WHOLE).is_ok_and(|all| all.len() == 3)),
    |bytes: &[u8]| {
        check(bytes);
        check(&sealed(bytes));
    }
);

fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    // What does not reach to the end of the file is sealed as far as it goes.
    let _ = seal::seal_segment(&mut sealed);
    sealed
}

fn check(bytes: &[u8]) {
    let Ok(records) = read_log_bytes(bytes) else { return };
    for kept_bytes in [bytes.len() / 2, bytes.len().saturating_sub(1)] {
        if let Ok(first) = bytes.get(..kept_bytes).map_or(Ok(Vec::new()), read_log_bytes) {
            assert!(records.starts_with(&first), "a cut made other records of it");
        }
    }
}
