//! What `--recover` keeps and gives up, that what is left opens as strictly as ever, and a crash in
//! the midst of it.

use super::{
    DataDirectory, Durability, LocalLog, Log, Losses, Lsn, RecoverMode, Recovery, SnapshotHeader,
    SnapshotWriter,
    history_fixture::history_to,
    local::fixture::{append, open_in, options, record},
    recover,
};
use crate::{
    disk::{Cut, FileSystem, SimulatedFs},
    error::Result,
};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

const ROOT: &str = "/data";
const FILLER: &[u8] = b"nothing";
const RECORDS: u64 = 30;

fn directory(fs: &SimulatedFs) -> Result<DataDirectory> {
    DataDirectory::open(Arc::new(fs.clone()), Path::new(ROOT), 0x5709e)
}

fn open(fs: &SimulatedFs) -> Result<(LocalLog, DataDirectory)> {
    let directory = directory(fs)?;
    for generation in directory.generations().iter().take(1) {
        for file in &generation.files {
            directory.open_snapshot(generation, file)?;
        }
    }
    let identity = directory.log_identity();
    let log = open_in(fs, directory.log_directory(), &options(Durability::Always), &identity)?;
    directory.tidy()?;
    Ok((log, directory))
}

/// A killed store of 30 records, with snapshots of the first 5 and 12.
fn store() -> SimulatedFs {
    let fs = SimulatedFs::new();
    let (log, mut directory) = open(&fs).unwrap();
    let mut from = 1;
    for (snapshot_id, lsn) in [(1, 5), (2, 12)] {
        append(&log, from, lsn);
        from = lsn + 1;
        let (store_id, lsn) = (directory.store_id(), Lsn(lsn));
        let header = SnapshotHeader { snapshot_id, store_id, shards: 1, lsn };
        let history = history_to(&fs, &directory, lsn).unwrap();
        let fs: Arc<dyn FileSystem> = Arc::new(fs.clone());
        let writer = SnapshotWriter::create(fs, Path::new(ROOT), header).unwrap();
        directory.commit(writer.finish(lsn).unwrap(), history).unwrap();
    }
    append(&log, from, RECORDS);
    fs
}

fn segment(number: u64) -> PathBuf {
    Path::new(ROOT).join(format!("log/wal-{number:020}.log"))
}

/// Damages the second frame of a segment; the records of that frame.
fn damage(fs: &SimulatedFs, number: u64) -> u64 {
    let bytes = fs.map(&segment(number)).unwrap();
    let is_frame = |at: &usize| bytes[*at..].starts_with(b"NTwf");
    let at = (512..bytes.len()).step_by(512).filter(is_frame).nth(1).unwrap();
    fs.damage(&segment(number), |bytes| bytes[at + 66] ^= 4).unwrap();
    u64::from_le_bytes(bytes[at + 16..at + 24].try_into().unwrap())
}

fn recover_as(fs: &SimulatedFs, mode: RecoverMode) -> Result<Option<Losses>> {
    let recovery = Recovery { mode, now: "2026-01-01T00:00:00Z", salt: 77, filler: FILLER };
    recover(fs, Path::new(ROOT), &recovery)
}

/// What the log holds after a strict start: every LSN once, the own record or the filler.
fn held(fs: &SimulatedFs) -> Result<BTreeMap<u64, bool>> {
    let (log, _directory) = open(fs)?;
    let mut held = BTreeMap::new();
    let mut expected = log.status().first;
    for read in log.read(expected)? {
        let (lsn, bytes) = read?;
        assert_eq!(lsn, expected);
        assert!(bytes == record(lsn.0) || bytes == FILLER, "LSN {lsn}");
        held.insert(lsn.0, bytes != FILLER);
        expected = expected.next();
    }
    Ok(held)
}

fn kept(held: &BTreeMap<u64, bool>) -> Vec<u64> {
    held.iter().filter(|(_, is_kept)| **is_kept).map(|(lsn, _)| *lsn).collect()
}

/// Every file that was there is in the folder of copies, byte for byte.
fn check_copies(fs: &SimulatedFs, before: &BTreeMap<PathBuf, Option<Vec<u8>>>, losses: &Losses) {
    let after = fs.contents();
    let mut count = 0;
    for (path, bytes) in before.iter().filter(|(_, bytes)| bytes.is_some()) {
        let name = path.strip_prefix(ROOT).unwrap();
        let text = name.display().to_string();
        if text == "LOCK" || text.ends_with(".spare") || text.starts_with("aside") {
            continue;
        }
        assert_eq!(after.get(&losses.copies.join(name)), Some(bytes), "{text}");
        count += 1;
    }
    assert!(count > 5);
}

fn audit(fs: &SimulatedFs) -> Vec<serde_json::Value> {
    let contents = fs.contents();
    let text = contents.get(&Path::new(ROOT).join("audit.log")).cloned().flatten();
    let text = String::from_utf8(text.unwrap()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_sound_directory_is_left_alone() {
    for mode in [RecoverMode::StrictTail, RecoverMode::PointInTime, RecoverMode::Salvage] {
        let fs = store();
        let before = fs.contents();
        assert_eq!(recover_as(&fs, mode).unwrap(), None);
        assert!(before == fs.contents());
    }
}

#[test]
fn strict_tail_leaves_a_damaged_one_alone() {
    let fs = store();
    damage(&fs, 3);
    let before = fs.contents();
    assert_eq!(recover_as(&fs, RecoverMode::StrictTail).unwrap(), None);
    assert!(before == fs.contents() && open(&fs).is_err());
}

#[test]
fn point_in_time_keeps_all_before_the_damage_and_nothing_after_it() {
    let fs = store();
    let lost = damage(&fs, 4);
    assert!(lost > 12, "both snapshots are before it");
    let before = fs.contents();
    let losses = recover_as(&fs, RecoverMode::PointInTime).unwrap().unwrap();
    assert_eq!((&losses.records[..], losses.snapshots.len()), (&[(Lsn(lost), Lsn(30))][..], 0));
    check_copies(&fs, &before, &losses);
    assert_eq!(kept(&held(&fs).unwrap()), (1..lost).collect::<Vec<_>>());
    assert_eq!(held(&fs).unwrap().len(), 30, "no LSN is given out again");
    let lines = audit(&fs);
    assert_eq!(
        (&lines[0]["event"], &lines[1]["event"]),
        (&"recovery begun".into(), &"recovery done".into())
    );
    assert_eq!(lines[1]["lost_lsn_ranges"], serde_json::json!([[lost, 30]]));
    assert_eq!(lines[1]["mode"], "point-in-time");
}

#[test]
fn point_in_time_drops_snapshots_that_tell_of_later() {
    let fs = store();
    let lost = damage(&fs, 2);
    assert!(lost > 5 && lost <= 12, "between the snapshots: {lost}");
    let losses = recover_as(&fs, RecoverMode::PointInTime).unwrap().unwrap();
    assert_eq!(losses.snapshots, [2]);
    assert_eq!(kept(&held(&fs).unwrap()), (1..lost).collect::<Vec<_>>());
    assert_eq!(directory(&fs).unwrap().generations().len(), 1);
}

#[test]
fn point_in_time_is_refused_where_no_state_of_a_moment_can_be_made() {
    let fs = store();
    fs.remove(&segment(1)).unwrap();
    fs.damage(&segment(2), |bytes| bytes[40] ^= 1).unwrap();
    let before = fs.contents();
    let error = recover_as(&fs, RecoverMode::PointInTime).unwrap_err().to_string();
    assert!(error.contains("expected --recover salvage"), "{error}");
    assert!(before == fs.contents());
}

#[test]
fn salvage_keeps_every_record_that_can_be_verified() {
    let fs = store();
    let lost = [damage(&fs, 2), damage(&fs, 4)];
    let before = fs.contents();
    let losses = recover_as(&fs, RecoverMode::Salvage).unwrap().unwrap();
    assert_eq!(losses.records, lost.map(|lsn| (Lsn(lsn), Lsn(lsn))));
    check_copies(&fs, &before, &losses);
    let expected: Vec<u64> = (1..=30).filter(|lsn| !lost.contains(lsn)).collect();
    assert_eq!(kept(&held(&fs).unwrap()), expected);
    // It goes on as ever.
    let (log, directory) = open(&fs).unwrap();
    assert_eq!(log.append(&record(31)).unwrap(), Lsn(31));
    log.close().unwrap();
    drop((log, directory));
    assert_eq!(held(&fs).unwrap().len(), 31);
    assert_eq!(recover_as(&fs, RecoverMode::Salvage).unwrap(), None, "nothing is damaged any more");
}

#[test]
fn salvage_does_without_missing_segments_and_without_headers() {
    let fs = store();
    let gone = |fs: &SimulatedFs, number| {
        let bytes = fs.map(&segment(number)).unwrap();
        u64::from_le_bytes(bytes[40..48].try_into().unwrap())
    };
    let (first, third, fourth) = (gone(&fs, 1), gone(&fs, 3), gone(&fs, 4));
    let second = gone(&fs, 2);
    fs.remove(&segment(1)).unwrap();
    fs.damage(&segment(3), |bytes| bytes[50] ^= 1).unwrap();
    let losses = recover_as(&fs, RecoverMode::Salvage).unwrap().unwrap();
    // The older snapshot, of the first 5 records, tells where the log must begin.
    let held = held(&fs).unwrap();
    let missing = (second.min(6)..second).chain(third..fourth);
    let missing: Vec<u64> = missing.collect();
    assert!(first == 1 && missing.iter().all(|lsn| !held[lsn]), "{losses:?}");
    let expected: Vec<u64> = (second..=30).filter(|lsn| !missing.contains(lsn)).collect();
    assert_eq!(kept(&held), expected);
}

#[test]
fn a_damaged_snapshot_costs_nothing_while_the_older_one_and_its_log_are_there() {
    for mode in [RecoverMode::PointInTime, RecoverMode::Salvage] {
        let fs = store();
        let name = directory(&fs).unwrap().generations()[0].files[0].name.clone();
        fs.damage(&Path::new(ROOT).join(name), |bytes| bytes[60] ^= 1).unwrap();
        assert!(open(&fs).is_err());
        let losses = recover_as(&fs, mode).unwrap().unwrap();
        assert_eq!((losses.snapshots, losses.records), (vec![2], vec![]));
        assert_eq!(kept(&held(&fs).unwrap()), (1..=30).collect::<Vec<_>>());
    }
}

#[test]
fn a_crash_at_any_call_leaves_what_was_or_what_will_be() {
    for mode in [RecoverMode::PointInTime, RecoverMode::Salvage] {
        let damaged = || {
            let fs = store().crash(0, Cut::Process);
            damage(&fs, 2);
            fs
        };
        let fs = damaged();
        let start = fs.calls();
        recover_as(&fs, mode).unwrap();
        let calls = fs.calls() - start;
        let expected = kept(&held(&fs).unwrap());
        let (mut before, mut after) = (0, 0);
        for call in 0..calls {
            for seed in 0..6 {
                let fs = damaged();
                fs.fail_call(fs.calls() + call, io::ErrorKind::Other, true);
                let _ = recover_as(&fs, mode);
                let fs = fs.crash(seed, Cut::Power);
                match held(&fs) {
                    Ok(held) => {
                        assert_eq!(kept(&held), expected, "call {call} seed {seed}");
                        after += 1;
                    }
                    Err(_) => {
                        recover_as(&fs, mode).unwrap().unwrap();
                        assert_eq!(kept(&held(&fs).unwrap()), expected, "call {call} seed {seed}");
                        before += 1;
                    }
                }
            }
        }
        assert!(before > 50 && after > 5, "{before} {after}");
    }
}
