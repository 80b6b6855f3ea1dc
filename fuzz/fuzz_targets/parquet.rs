//! Any bytes are refused as a Parquet file, or are read to the last row: reading someone's Parquet
//! never panics, and gives no part of an answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nowthen::offline::{Dataset, SpineFile};
use std::{fs, num::NonZero, path::PathBuf, process, sync::LazyLock};

/// One file a process: what is read has a path.
static PATH: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("nowthen-fuzz-{}.parquet", process::id())));

// Arrow panics on some damage, which we catch. The fuzzer's own hook would end the process before;
// a panic that we do not catch still ends it.
fuzz_target!(init: drop(std::panic::take_hook()), |bytes: &[u8]| {
    fs::write(&*PATH, bytes).expect("a folder to write to");
    let rows = Dataset::open(&PATH.to_string_lossy()).and_then(|dataset| dataset.rows());
    let read = SpineFile::open(&PATH).and_then(|file| file.read(None, NonZero::new(1)));
    if let (Ok(rows), Ok(spine)) = (rows, read) {
        assert_eq!(rows, spine.rows() as u64, "all rows or none");
    }
});
