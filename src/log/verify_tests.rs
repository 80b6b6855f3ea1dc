//! A look at everything tells all that is wrong, with the records it costs, and nothing else.

use super::{
    Finding, Generation, History, Log, Lsn, Report, Severity, SnapshotHeader, SnapshotWriter,
    local::fixture::{STORE_ID, append},
    verify,
    verify_fixture::{
        DECODERS, ROOT, UNKNOWN, flip, frames, open_directory, open_log, segment, store,
    },
};
use crate::{
    disk::{Cut, FileSystem, SimulatedFs},
    error::Error,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Looks, and sees that nothing was changed.
fn look(fs: &SimulatedFs) -> Report {
    let before = fs.contents();
    let report = verify(fs, Path::new(ROOT), &DECODERS, &|_, _| {}).unwrap();
    assert!(before == fs.contents(), "something was changed on disk");
    report
}

/// A file of the generation that was written as number `id`.
fn snapshot_file(fs: &SimulatedFs, id: u64, file: usize) -> PathBuf {
    let directory = open_directory(fs);
    let of = |generation: &&Generation| generation.snapshot_id == id;
    let generation = directory.generations().iter().find(of).unwrap();
    Path::new(ROOT).join(&generation.files[file].name)
}

fn damage(report: &Report) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.severity == Severity::Damage).collect()
}

/// Expects exactly this damage, and gives it.
fn one(fs: &SimulatedFs, path: &Path, offset: usize, lsns: Option<(u64, u64)>, what: &str) {
    let report = look(fs);
    let damage = damage(&report);
    let [found] = damage[..] else { panic!("{damage:#?}") };
    let lsns = lsns.map(|(from, to)| (Lsn(from), Lsn(to)));
    assert_eq!((found.path.as_path(), found.offset, found.lsns), (path, offset as u64, lsns));
    assert!(found.what.contains(what), "{found}");
}

#[test]
fn a_good_store_is_told_as_it_is() {
    let fs = store();
    fs.create_new(Path::new("/audit.log")).unwrap(); // as FS.FORGET leaves one
    let report = look(&fs);
    assert_eq!((report.worst(), &report.findings[..]), (Severity::Note, &[][..]));
    assert_eq!((report.store_id, report.manifest), (Some(STORE_ID), Some(3)));
    assert_eq!((report.frames(), report.records()), (30, 30));
    assert_eq!(report.lsns(), Some((Lsn(1), Lsn(30))));
    assert!(report.segments.len() > 3 && report.segments.iter().all(|segment| segment.is_sealed));
    let directory = open_directory(&fs);
    for (told, listed) in report.generations.iter().zip(directory.generations()) {
        assert_eq!((told.snapshot_id, told.lsn), (listed.snapshot_id, listed.lsn));
        assert_eq!((told.entries, told.digest, told.files), (30, listed.digest, 3));
    }
    let history = directory.history().parts.iter().map(|part| &part.file);
    let listed = directory.generations().iter().flat_map(|generation| &generation.files);
    let listed = listed.chain(history);
    let log_bytes: u64 = report.segments.iter().map(|segment| segment.bytes).sum();
    assert_eq!(report.bytes, log_bytes + listed.map(|file| file.bytes).sum::<u64>());
}

#[test]
fn progress_ends_at_the_whole() {
    let last = std::cell::Cell::new((0, 0));
    let progress = |read, total| {
        assert!(read >= last.get().0 && read <= total);
        last.set((read, total));
    };
    let report = verify(&store(), Path::new(ROOT), &DECODERS, &progress).unwrap();
    assert_eq!(last.get(), (report.bytes, report.bytes));
}

#[test]
fn each_damage_of_the_log_is_named_with_the_records_it_costs() {
    let whole = store();
    let segments = look(&whole).segments;
    let last = segments.last().unwrap().clone();
    let (first, second) = (&segments[0], &segments[1]);
    let firsts = frames(&whole, first.number);
    let disk = || whole.crash(0, Cut::Process);

    // A frame in the middle: one record, and those behind it are still read.
    let fs = disk();
    flip(&fs, &segment(1), firsts[1] + 70);
    one(&fs, &segment(1), firsts[1], Some((2, 2)), "a payload with valid checksums");
    assert_eq!(look(&fs).records(), 29);
    let fs = disk();
    flip(&fs, &segment(1), firsts[1] + 20);
    one(&fs, &segment(1), firsts[1], Some((2, 2)), "a frame header with a valid checksum");

    // The footer, and what stands behind it.
    let fs = disk();
    flip(&fs, &segment(1), *firsts.last().unwrap());
    one(&fs, &segment(1), *firsts.last().unwrap(), None, "a frame header");
    let fs = disk();
    fs.damage(&segment(1), |bytes| bytes.push(7)).unwrap();
    one(&fs, &segment(1), first.bytes as usize, None, "zeros behind the footer");

    // A segment that is cut, without header, or missing.
    let fs = disk();
    fs.damage(&segment(1), |bytes| bytes.truncate(firsts[2])).unwrap();
    let lost = Some((3, first.last_lsn.0));
    one(&fs, &segment(1), firsts[2], lost, "a frame header");
    let fs = disk();
    flip(&fs, &segment(2), 20);
    let lost = Some((second.first_lsn.0, second.last_lsn.0));
    one(&fs, &segment(2), 0, lost, "the header of a log segment");
    let fs = disk();
    fs.remove(&segment(2)).unwrap();
    one(&fs, &segment(2), 0, lost, "a segment; it is missing");
    let fs = disk();
    fs.remove(&segment(last.number)).unwrap();
    // What came after the last snapshot nothing proves.
    assert!(look(&fs).worst() == Severity::Note && look(&fs).lsns().unwrap().1 < Lsn(30));

    // A footer was there, so all was; the last frames are gone with it.
    let fs = disk();
    let lasts = frames(&whole, last.number);
    flip(&fs, &segment(last.number), lasts[0] + 70);
    let lost = Some((last.first_lsn.0, last.first_lsn.0));
    one(&fs, &segment(last.number), lasts[0], lost, "a payload with valid checksums");
}

#[test]
fn a_log_that_does_not_reach_the_snapshots_is_damage() {
    let whole = store();
    let segments = look(&whole).segments;
    let fs = whole.crash(0, Cut::Process);
    let kept = segments.iter().find(|segment| segment.last_lsn >= Lsn(9)).unwrap();
    for gone in 1..=kept.number {
        fs.remove(&segment(gone)).unwrap();
    }
    let after = kept.number + 1;
    let lost = Some((9, segments[kept.number as usize].first_lsn.0 - 1));
    one(&fs, &segment(after), 40, lost, "LSN 9 or earlier: older segments are missing");

    let fs = whole.crash(0, Cut::Process);
    let reaching = segments.iter().find(|segment| segment.last_lsn >= Lsn(20)).unwrap();
    for gone in reaching.number..=segments.len() as u64 {
        fs.remove(&segment(gone)).unwrap();
    }
    let end = &segments[reaching.number as usize - 2];
    let lost = Some((reaching.first_lsn.0, 20));
    one(&fs, &segment(end.number), end.bytes as usize, lost, "more records, up to LSN 20");
}

#[test]
fn each_damage_of_a_snapshot_is_named() {
    let whole = store();
    let (older, newer) = (snapshot_file(&whole, 1, 0), snapshot_file(&whole, 2, 2));
    let disk = || whole.crash(0, Cut::Process);
    let fs = disk();
    fs.remove(&older).unwrap();
    one(&fs, &older, 0, Some((1, 10)), "it is missing");
    let fs = disk();
    flip(&fs, &older, 90);
    one(&fs, &older, 56, Some((1, 10)), "a payload with a valid checksum");
    let fs = disk();
    flip(&fs, &newer, 60);
    one(&fs, &newer, 56, Some((1, 20)), "a block header with a valid checksum");
    let fs = disk();
    flip(&fs, &newer, 30);
    one(&fs, &newer, 0, Some((1, 20)), "the header of a snapshot file");
    let fs = disk();
    let bytes = fs.map(&newer).unwrap().len();
    fs.damage(&newer, |bytes| bytes.truncate(80)).unwrap();
    let report = look(&fs);
    let told: Vec<_> = damage(&report).into_iter().map(|f| (f.offset, f.what.clone())).collect();
    let of_length = format!("expected {bytes} bytes, as the manifest says; it has 80");
    assert_eq!(told[0], (80, of_length));
    assert!(told[1].1.contains("a payload of the length its header says"), "{told:?}");
    let fs = disk();
    let other = snapshot_file(&whole, 2, 1);
    let of_other = fs.map(&other).unwrap().to_vec();
    fs.damage(&snapshot_file(&whole, 2, 0), |bytes| *bytes = of_other.clone()).unwrap();
    let report = look(&fs);
    assert!(damage(&report)[0].what.contains("file 0 of snapshot 2"), "{report:?}");
}

#[test]
fn every_damage_is_told_not_the_first_alone() {
    let fs = store();
    flip(&fs, &snapshot_file(&fs, 1, 0), 90);
    flip(&fs, &snapshot_file(&fs, 2, 1), 90);
    let firsts = frames(&fs, 1);
    flip(&fs, &segment(1), firsts[0] + 70);
    flip(&fs, &segment(1), firsts[2] + 70);
    fs.remove(&segment(3)).unwrap();
    let report = look(&fs);
    let told: Vec<_> = damage(&report).iter().map(|f| (f.path.clone(), f.offset)).collect();
    let expected = [
        (snapshot_file(&store(), 2, 1), 56),
        (snapshot_file(&store(), 1, 0), 56),
        (segment(1), firsts[0] as u64),
        (segment(1), firsts[2] as u64),
        (segment(3), 0),
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_cannot_be_decoded_is_damage_though_its_checksums_are_right() {
    let fs = SimulatedFs::new();
    let mut directory = open_directory(&fs);
    let log = open_log(&fs, &directory, 1);
    append(&log, 1, 1);
    log.append(UNKNOWN).unwrap();
    log.close().unwrap();
    let header = SnapshotHeader { snapshot_id: 1, store_id: STORE_ID, shards: 1, lsn: Lsn(2) };
    let mut writer = SnapshotWriter::create(Arc::new(fs.clone()), Path::new(ROOT), header).unwrap();
    writer.add(0, UNKNOWN).unwrap();
    writer.add_meta(UNKNOWN).unwrap();
    directory.commit(writer.finish(Lsn(2)).unwrap(), History::default()).unwrap();
    drop(directory);
    let report = look(&fs);
    let told: Vec<_> = damage(&report).iter().map(|f| f.what.as_str()).collect();
    let entry = "expected an entry in the format of this version (unknown)";
    assert_eq!(told, [entry, entry, "expected record 2 in the format of this version (unknown)"]);
}

#[test]
fn a_torn_tail_and_files_that_count_for_nothing_are_notes() {
    let fs = SimulatedFs::new();
    let directory = open_directory(&fs);
    let log = open_log(&fs, &directory, 1);
    append(&log, 1, 2);
    drop(log);
    drop(directory);
    let what = |report: &Report| report.findings[0].what.clone();
    assert!(what(&look(&fs)).starts_with("no footer: the log was not closed"));
    let end = look(&fs).segments[0].bytes as usize;
    fs.damage(&segment(1), |bytes| bytes[end + 3] = 9).unwrap();
    let report = look(&fs);
    assert_eq!((report.worst(), report.findings[0].offset), (Severity::Note, end as u64));
    assert!(what(&report).starts_with("a torn tail of 4 bytes, which began with LSN 3"));

    let fs = store();
    for name in ["MANIFEST-1", "MANIFEST.tmp", "x", "log/wal-00000000000000000001.0.aside", "log/y"]
    {
        fs.create_new(&Path::new(ROOT).join(name)).unwrap();
    }
    for name in ["log/wal-00000000000000000099.spare", "snapshots/a", "snapshots/b.tmp"] {
        fs.create_new(&Path::new(ROOT).join(name)).unwrap();
    }
    let report = look(&fs);
    assert_eq!((report.worst(), report.findings.len()), (Severity::Note, 7), "{report:#?}");
}

#[test]
fn a_manifest_that_cannot_be_read_is_damage_and_the_log_is_read_nevertheless() {
    let fs = store();
    flip(&fs, Path::new("/MANIFEST-3"), 60);
    one(&fs, Path::new("/MANIFEST-3"), 48, None, "a body with a valid checksum");
    assert_eq!(look(&fs).records(), 30);
    let fs = store();
    fs.remove(Path::new("/MANIFEST-3")).unwrap();
    one(&fs, Path::new("/MANIFEST-1"), 0, None, "a manifest; it is missing");
}

#[test]
fn a_server_keeps_the_look_out_and_a_copy_without_a_lock_file_gets_none() {
    let fs = store();
    let directory = open_directory(&fs);
    let refused = verify(&fs, Path::new(ROOT), &DECODERS, &|_, _| {}).unwrap_err();
    assert_eq!(refused.code(), "LOCKED");
    drop(directory);
    fs.remove(Path::new("/LOCK")).unwrap();
    assert_eq!(look(&fs).worst(), Severity::Note);
    for path in ["/none", "/log"] {
        let refused = verify(&fs, Path::new(path), &DECODERS, &|_, _| {});
        let is_damage = matches!(refused, Err(Error::Corrupt { .. }));
        assert!(refused.is_err() && !is_damage, "{path}");
    }
}

#[test]
fn what_could_not_be_read_is_no_damage() {
    let fs = store();
    fs.fail_call(fs.calls() + 3, std::io::ErrorKind::PermissionDenied, false);
    let report = verify(&fs, Path::new(ROOT), &DECODERS, &|_, _| {}).unwrap();
    assert_eq!(report.worst(), Severity::Unread, "{report:#?}");
}
