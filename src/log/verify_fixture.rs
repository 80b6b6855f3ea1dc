//! A data directory on a simulated disk, for tests that look at everything in it.

use super::{
    DataDirectory, Decoders, Durability, LocalLog, Log, Lsn, SnapshotHeader, SnapshotWriter,
    history_fixture::history_to,
    local::fixture::{DIRECTORY, STORE_ID, append, open_as, options},
};
use crate::disk::{FileSystem, SimulatedFs};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Everything is in the format of this version but what begins with this.
pub(super) const UNKNOWN: &[u8] = b"unknown";
pub(super) const DECODERS: Decoders = Decoders { record: known, row: known, meta: known };

fn known(bytes: &[u8]) -> Result<(), String> {
    if bytes.starts_with(UNKNOWN) { Err("unknown".into()) } else { Ok(()) }
}

/// The data directory is the root, so that the log is where its fixture has it.
pub(super) const ROOT: &str = "/";

pub(super) fn open_directory(fs: &SimulatedFs) -> DataDirectory {
    DataDirectory::open(Arc::new(fs.clone()), Path::new(ROOT), STORE_ID).unwrap()
}

pub(super) fn open_log(fs: &SimulatedFs, directory: &DataDirectory, seed: u64) -> LocalLog {
    let log = open_as(fs, seed, &options(Durability::Always), &directory.log_identity());
    log.unwrap().0
}

/// A snapshot of two shards that holds all up to `lsn`, and `last_lsn` may be in it.
pub(super) fn snapshot(
    fs: &SimulatedFs,
    directory: &mut DataDirectory,
    (lsn, last_lsn): (u64, u64),
) {
    let snapshot_id = directory.generations().first().map_or(1, |newest| newest.snapshot_id + 1);
    let lsn = Lsn(lsn);
    let header = SnapshotHeader { snapshot_id, store_id: directory.store_id(), shards: 2, lsn };
    let mut writer = SnapshotWriter::create(Arc::new(fs.clone()), Path::new(ROOT), header).unwrap();
    for row in 0..30_u32 {
        writer.add(row % 2, &row.to_le_bytes().repeat(1000)).unwrap();
    }
    writer.add_meta(b"definitions").unwrap();
    let history = history_to(fs, directory, lsn).unwrap();
    directory.commit(writer.finish(Lsn(last_lsn)).unwrap(), history).unwrap();
}

/// 30 records in several segments, two snapshots, closed.
pub(super) fn store() -> SimulatedFs {
    let fs = SimulatedFs::new();
    let mut directory = open_directory(&fs);
    let log = open_log(&fs, &directory, 1);
    append(&log, 1, 10);
    snapshot(&fs, &mut directory, (8, 10));
    append(&log, 11, 20);
    snapshot(&fs, &mut directory, (20, 20));
    append(&log, 21, 30);
    log.close().unwrap();
    fs
}

/// The path of segment `number`.
pub(super) fn segment(number: u64) -> PathBuf {
    Path::new(DIRECTORY).join(format!("wal-{number:020}.log"))
}

/// Where the frames of a segment begin, the footer too.
pub(super) fn frames(fs: &SimulatedFs, number: u64) -> Vec<usize> {
    let bytes = fs.map(&segment(number)).unwrap();
    let starts = (512..bytes.len()).step_by(512);
    starts.filter(|start| bytes[*start..].starts_with(b"NTwf")).collect()
}

pub(super) fn flip(fs: &SimulatedFs, path: &Path, offset: usize) {
    fs.damage(path, |bytes| bytes[offset] ^= 0x10).unwrap();
}
