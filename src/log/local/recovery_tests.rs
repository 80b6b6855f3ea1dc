//! Each row of the recovery table, and that nothing is changed when we stop.

use super::{
    Recovered,
    fixture::{DIRECTORY, append, disk, identity, open, open_as, options, read_and_check},
    recovery::judge,
    segment::segment_path,
};
use crate::{
    disk::{Cut, FileSystem, SimulatedFs},
    error::Error,
    log::{Durability, Log, LogIdentity, Lsn},
};
use std::{
    io,
    path::{Path, PathBuf},
};

fn segment(number: u64) -> PathBuf {
    segment_path(Path::new(DIRECTORY), number)
}

/// A disk with a log of several segments and this many records, closed or killed.
fn log_of(records: u64, closed: bool) -> SimulatedFs {
    let fs = disk();
    let (log, _) = open(&fs).unwrap();
    append(&log, 1, records);
    if closed {
        log.close().unwrap();
    }
    drop(log);
    fs
}

fn last_segment(fs: &SimulatedFs) -> u64 {
    judge(fs, Path::new(DIRECTORY), &identity()).unwrap().next_number - 1
}

/// Where the frames of a segment begin.
fn frames(fs: &SimulatedFs, number: u64) -> Vec<usize> {
    let bytes = fs.map(&segment(number)).unwrap();
    let starts = (512..bytes.len()).step_by(512);
    starts.filter(|start| bytes[*start..].starts_with(b"NTwf")).collect()
}

/// Opens, expects to be stopped without a byte changed, and gives the error.
fn stops(fs: &SimulatedFs, identity: &LogIdentity) -> Error {
    let before = fs.contents();
    let Err(error) = open_as(fs, 2, &options(Durability::Always), identity) else {
        panic!("the log was opened");
    };
    assert!(before == fs.contents(), "something was changed on disk");
    error
}

fn stops_as_corrupt(fs: &SimulatedFs, path: &Path, offset: usize, expected: &str) {
    let error = stops(fs, &identity());
    let Error::Corrupt { path: named, offset: at, expected: what } = &error else {
        panic!("{error}");
    };
    assert_eq!((named.as_path(), *at), (path, offset as u64), "{error}");
    assert!(what.contains(expected), "{error}");
}

/// Opens, and expects these records and this torn tail.
fn recovers(fs: &SimulatedFs, last: u64, torn: bool) -> Recovered {
    let (log, recovered) = open(fs).unwrap();
    assert_eq!((recovered.last_lsn, recovered.torn_bytes > 0), (Lsn(last), torn));
    assert_eq!(read_and_check(&log), last);
    append(&log, last + 1, last + 3);
    log.close().unwrap();
    assert_eq!(read_and_check(&open(fs).unwrap().0), last + 3);
    recovered
}

fn flip(fs: &SimulatedFs, number: u64, offset: usize) {
    fs.damage(&segment(number), |bytes| bytes[offset] ^= 0x10).unwrap();
}

#[test]
fn a_closed_log_is_clean_and_nothing_is_changed_on_opening() {
    let fs = log_of(30, true);
    let before = fs.contents();
    judge(&fs, Path::new(DIRECTORY), &identity()).unwrap();
    assert_eq!(before, fs.contents());
    assert_eq!(recovers(&fs, 30, false).set_aside, Vec::<PathBuf>::new());
}

#[test]
fn sealed_segment_damaged_stops_and_names_file_offset_and_lost_range() {
    let fs = log_of(30, false);
    let at = frames(&fs, 2)[1];
    let base = judge(&fs, Path::new(DIRECTORY), &identity()).unwrap().entries[2].info.base_lsn;
    flip(&fs, 2, at + 70);
    stops_as_corrupt(&fs, &segment(2), at, &format!("to {} are lost", base.0 - 1));
}

/// Segments are walked side by side, and judged one after the other all the same.
#[test]
fn of_several_damaged_segments_the_first_is_named() {
    let fs = log_of(30, false);
    let count = last_segment(&fs);
    let starts: Vec<usize> = (1..=count).map(|number| frames(&fs, number)[0]).collect();
    assert!(count > 3, "{count}");
    for number in (1..=count).rev() {
        let start = starts[number as usize - 1];
        flip(&fs, number, start + 70);
        stops_as_corrupt(&fs, &segment(number), start, "are lost");
    }
}

#[test]
fn last_segment_with_zeros_after_a_valid_frame_is_a_clean_end() {
    let recovered = recovers(&log_of(30, false), 30, false);
    assert_eq!(recovered.set_aside, Vec::<PathBuf>::new());
}

#[test]
fn last_segment_with_a_bad_frame_and_nothing_later_is_a_torn_tail_that_is_set_aside() {
    let fs = log_of(30, false);
    let last = last_segment(&fs);
    let before = fs.map(&segment(last)).unwrap().to_vec();
    let at = *frames(&fs, last).last().unwrap();
    flip(&fs, last, at + 65);
    let recovered = recovers(&fs, 29, true);
    let mut found = fs.map(&recovered.set_aside[0]).unwrap().to_vec();
    found[at + 65] ^= 0x10;
    assert_eq!(found, before);
}

#[test]
fn last_segment_with_a_bad_frame_that_a_later_one_proves_durable_is_corruption() {
    let fs = log_of(30, false);
    let last = last_segment(&fs);
    let starts = frames(&fs, last);
    assert!(starts.len() >= 2);
    flip(&fs, last, starts[starts.len() - 2] + 65);
    stops_as_corrupt(&fs, &segment(last), starts[starts.len() - 2], "LSN 29 to 29 are lost");
}

#[test]
fn zeros_in_place_of_a_durable_frame_are_corruption() {
    let fs = log_of(30, false);
    let last = last_segment(&fs);
    let starts = frames(&fs, last);
    let (from, to) = (starts[starts.len() - 2], starts[starts.len() - 1]);
    fs.damage(&segment(last), |bytes| bytes[from..to].fill(0)).unwrap();
    stops_as_corrupt(&fs, &segment(last), from, "LSN 29 to 29 are lost");
}

#[test]
fn behind_a_clean_shutdown_any_damage_is_corruption() {
    let fs = log_of(30, true);
    let last = last_segment(&fs);
    let footer = *frames(&fs, last).last().unwrap();
    for offset in (0..footer).step_by(7) {
        let damaged = fs.crash(0, Cut::Process);
        flip(&damaged, last, offset);
        assert!(matches!(stops(&damaged, &identity()), Error::Corrupt { .. }), "{offset}");
    }
    fs.damage(&segment(last), |bytes| bytes.push(1)).unwrap();
    stops_as_corrupt(&fs, &segment(last), footer + 512, "zeros behind the footer");
}

#[test]
fn a_damaged_footer_alone_loses_nothing() {
    let fs = log_of(30, true);
    let last = last_segment(&fs);
    let footer = *frames(&fs, last).last().unwrap();
    flip(&fs, last, footer + 20);
    recovers(&fs, 30, true);
}

#[test]
fn a_missing_segment_stops() {
    let fs = log_of(30, true);
    fs.remove(&segment(2)).unwrap();
    stops_as_corrupt(&fs, &segment(2), 0, "it is missing");

    let fs = log_of(30, true);
    fs.remove(&segment(1)).unwrap();
    stops_as_corrupt(&fs, &segment(2), 40, "older segments are missing");

    let fs = log_of(30, true);
    fs.remove(&segment(last_segment(&fs))).unwrap();
    let error = stops(&fs, &LogIdentity { reaches: Lsn(30), ..identity() });
    assert!(error.to_string().contains("more records, LSN"), "{error}");

    let error = stops(&disk(), &LogIdentity { kept_after: Lsn(5), ..identity() });
    assert!(matches!(error, Error::Corrupt { .. }));
}

#[test]
fn a_tail_that_a_snapshot_proves_durable_is_not_torn_but_lost() {
    let fs = log_of(30, false);
    let last = last_segment(&fs);
    flip(&fs, last, *frames(&fs, last).last().unwrap() + 65);
    let error = stops(&fs, &LogIdentity { reaches: Lsn(30), ..identity() });
    assert!(error.to_string().contains("LSN 30 to 30 are lost"), "{error}");
}

#[test]
fn a_log_trimmed_up_to_the_kept_snapshot_is_whole() {
    let fs = log_of(30, true);
    let (log, _) = open(&fs).unwrap();
    log.trim(Lsn(15)).unwrap();
    let first = log.status().first;
    log.close().unwrap();
    let whole = LogIdentity { kept_after: first.previous(), reaches: Lsn(30), ..identity() };
    let (_, recovered) = open_as(&fs, 1, &options(Durability::Always), &whole).unwrap();
    assert_eq!((recovered.first_lsn, recovered.last_lsn), (first, Lsn(30)));
    stops(&fs, &LogIdentity { kept_after: Lsn(first.0 - 2), ..identity() });
}

#[test]
fn an_unknown_version_stops_as_newer_and_another_store_stops_as_corrupt() {
    let fs = log_of(30, true);
    fs.damage(&segment(1), |bytes| {
        bytes[8] = 2;
        let checksum = crate::disk::frame::checksum(0, &bytes[8..64]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    })
    .unwrap();
    let error = stops(&fs, &identity());
    assert_eq!(error.code(), "VERSION");
    let error = stops(&log_of(30, true), &LogIdentity { store_id: 1, ..identity() });
    assert!(error.to_string().contains("a segment of store"), "{error}");
}

#[test]
fn a_segment_under_another_number_stops() {
    let fs = log_of(30, true);
    let last = last_segment(&fs);
    fs.rename(&segment(last), &segment(last + 1)).unwrap();
    stops_as_corrupt(&fs, &segment(last + 1), 32, "as its name says");
}

#[test]
fn nothing_is_appended_to_a_segment_of_a_process_before() {
    let fs = log_of(30, false);
    let last = last_segment(&fs);
    let (log, _) = open(&fs).unwrap();
    let copy = fs.map(&segment(last)).unwrap().to_vec();
    append(&log, 31, 31);
    assert_eq!(fs.map(&segment(last)).unwrap().to_vec(), copy);
    assert_eq!(log.segments().last().unwrap().number, last + 1);
}

#[test]
fn a_crash_at_any_call_of_the_repair_is_repaired_by_the_next_start() {
    let fs = log_of(30, false);
    let last = last_segment(&fs);
    flip(&fs, last, *frames(&fs, last).last().unwrap() + 65);
    for call in 0..16 {
        for seed in 0..20 {
            let failing = fs.crash(0, Cut::Process);
            failing.fail_call(call, io::ErrorKind::Other, true);
            drop(open(&failing));
            let after = failing.crash(seed, Cut::Power);
            let (log, recovered) = open(&after).unwrap();
            assert_eq!((read_and_check(&log), recovered.last_lsn), (29, Lsn(29)));
        }
    }
}
