//! Any bytes are refused as the list of a backup, or are one: no panic, and no path that leaves the
//! backup. And a list that was cut short is none.
#![no_main]

mod seal;

use libfuzzer_sys::fuzz_target;
use nowthen::log::read_backup_bytes;
use std::path::{Component, Path};

/// Of a store with a snapshot, a log and history.
const WHOLE: &[u8] = include_bytes!("../corpus/backup_list/whole");

fuzz_target!(
    init: assert!(sealed(WHOLE) == WHOLE && read_backup_bytes(WHOLE).is_ok()),
    |bytes: &[u8]| {
        check(bytes);
        check(&sealed(bytes));
    }
);

fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    // What is shorter than a header stays as it is.
    let _ = seal::seal_backup(&mut sealed);
    sealed
}

fn check(bytes: &[u8]) {
    let Ok(backup) = read_backup_bytes(bytes) else { return };
    for file in &backup.files {
        let steps: Vec<Component<'_>> = Path::new(&file.name).components().collect();
        let goes_down = steps.iter().all(|step| matches!(step, Component::Normal(_)));
        assert!(goes_down && steps.len() <= 2, "{}", file.name);
    }
    let cut = bytes.get(..bytes.len().saturating_sub(1)).unwrap_or_default();
    assert!(read_backup_bytes(cut).is_err(), "a list without its last byte");
}
