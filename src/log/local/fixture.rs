//! Logs on a simulated disk, for tests.

use super::{LocalLog, Recovered, Surroundings};
use crate::{
    disk::{FileSystem, SimulatedFs},
    error::Result,
    log::{Durability, Log, LogIdentity, LogOptions, Lsn},
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

/// The store that all tests belong to.
pub(crate) const STORE_ID: u128 = 0x5709e;

/// Where the log is.
pub(crate) const DIRECTORY: &str = "/log";

/// An empty disk with a folder for the log.
pub(crate) fn disk() -> SimulatedFs {
    let fs = SimulatedFs::new();
    fs.create_dir_all(Path::new(DIRECTORY)).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

/// Segments of 4 KiB.
pub(crate) fn options(durability: Durability) -> LogOptions {
    LogOptions { durability, segment_bytes: 4096, queue_bytes_max: 8192 }
}

/// Opens the log as a process with this `seed` and an identity without snapshots.
pub(crate) fn open_as(
    fs: &SimulatedFs,
    seed: u64,
    options: &LogOptions,
    identity: &LogIdentity,
) -> Result<(LocalLog, Recovered)> {
    let now_us = AtomicI64::new(0);
    let surroundings = Surroundings {
        fs: Arc::new(fs.clone()),
        seed,
        // Every look at the clock is 0.3 s later.
        clock: Arc::new(move || now_us.fetch_add(300_000, Ordering::Relaxed)),
        on_durable: Box::new(|_| {}),
    };
    LocalLog::open(surroundings, PathBuf::from(DIRECTORY), options, identity)
}

/// Opens the log in another folder.
pub(crate) fn open_in(
    fs: &SimulatedFs,
    directory: PathBuf,
    options: &LogOptions,
    identity: &LogIdentity,
) -> Result<LocalLog> {
    let surroundings = Surroundings {
        fs: Arc::new(fs.clone()),
        seed: 5,
        clock: Arc::new(|| 0),
        on_durable: Box::new(|_| {}),
    };
    LocalLog::open(surroundings, directory, options, identity).map(|(log, _)| log)
}

/// Opens the log in mode `always`.
pub(crate) fn open(fs: &SimulatedFs) -> Result<(LocalLog, Recovered)> {
    open_as(fs, 1, &options(Durability::Always), &identity())
}

/// An identity without snapshots.
pub(crate) fn identity() -> LogIdentity {
    LogIdentity { store_id: STORE_ID, ..LogIdentity::default() }
}

/// The record that a test appends as number `lsn`: every third compresses well.
pub(crate) fn record(lsn: u64) -> Vec<u8> {
    let bytes = (lsn * 131 % 900) as usize;
    let noise = u8::from(!lsn.is_multiple_of(3));
    let filler = |index: u64| ((index * lsn * 0x9e37_79b9) >> 7) as u8 * noise;
    let mut record = lsn.to_le_bytes().to_vec();
    record.extend((0..bytes as u64).map(filler));
    record
}

/// Appends the records from..=to, each in a frame of its own.
pub(crate) fn append(log: &LocalLog, from: u64, to: u64) {
    for lsn in from..=to {
        assert_eq!(log.append(&record(lsn)).unwrap(), Lsn(lsn));
        log.flush().unwrap();
    }
}

/// Reads all records and checks that each is what was appended; gives the last LSN.
pub(crate) fn read_and_check(log: &dyn Log) -> u64 {
    let first = log.status().first;
    let mut expected = first;
    for read in log.read(first).unwrap() {
        let (lsn, bytes) = read.unwrap();
        assert_eq!((lsn, bytes), (expected, record(expected.0)));
        expected = expected.next();
    }
    expected.previous().0
}
