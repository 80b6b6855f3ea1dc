//! Any bytes are refused as a snapshot, or are one: no panic, and no more memory than the bytes
//! deserve (`-rss_limit_mb`). And a snapshot that was cut short is none.
#![no_main]

mod seal;

use libfuzzer_sys::fuzz_target;
use nowthen::log::read_snapshot_bytes;

/// A shard with four entries.
const WHOLE: &[u8] = include_bytes!("../corpus/snapshot_reader/shard");

fuzz_target!(
    init: assert!(sealed(WHOLE) == WHOLE && read_snapshot_bytes(WHOLE).is_ok()),
    |bytes: &[u8]| {
        check(bytes);
        check(&sealed(bytes));
    }
);

fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    // What does not reach to the end of the file is sealed as far as it goes.
    let _ = seal::seal_snapshot(&mut sealed);
    sealed
}

fn check(bytes: &[u8]) {
    if read_snapshot_bytes(bytes).is_ok() {
        let cut = bytes.get(..bytes.len().saturating_sub(1)).unwrap_or_default();
        assert!(read_snapshot_bytes(cut).is_err(), "a snapshot without its last byte");
    }
}
