//! Any bytes are refused as a manifest, or are one: no panic, and no path that leaves the folder of
//! snapshots. And a manifest that was cut short is none.
#![no_main]

mod seal;

use libfuzzer_sys::fuzz_target;
use nowthen::log::read_manifest_bytes;

/// One snapshot of two files.
const WHOLE: &[u8] = include_bytes!("../corpus/manifest_reader/one_snapshot");

fuzz_target!(
    init: assert!(
        sealed(WHOLE) == WHOLE && read_manifest_bytes(WHOLE).is_ok_and(|all| all.len() == 1)
    ),
    |bytes: &[u8]| {
        check(bytes);
        check(&sealed(bytes));
    }
);

fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    // What is shorter than a header stays as it is.
    let _ = seal::seal_manifest(&mut sealed);
    sealed
}

fn check(bytes: &[u8]) {
    let Ok(generations) = read_manifest_bytes(bytes) else { return };
    for file in generations.iter().flat_map(|generation| &generation.files) {
        let below = file.name.strip_prefix("snapshots/").expect("a path below snapshots");
        assert!(!below.contains('/') && !below.starts_with('.'), "{}", file.name);
    }
    let cut = bytes.get(..bytes.len().saturating_sub(1)).unwrap_or_default();
    assert!(read_manifest_bytes(cut).is_err(), "a manifest without its last byte");
}
