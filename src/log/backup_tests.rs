//! A backup, and what is restored from it: which records, and what is refused.

use super::{
    BackupOptions, DataDirectory, Durability, History, LocalLog, Log, LogOptions, Lsn,
    RestorePoint, RestoreSource, SnapshotHeader, SnapshotWriter, Surroundings, TakenBackup,
    back_up, history_fixture::history_to, open_history_part,
};
use crate::{
    disk::{Cut, FileSystem, SimulatedFs},
    error::{Error, Result},
    feature::Timestamp,
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

pub(super) const DATA: &str = "/data";
pub(super) const BACKUP: &str = "/backup";
pub(super) const NEW: &str = "/new";

/// An open directory with its log, and a clock that goes on by a second with every look.
pub(super) struct Running {
    fs: SimulatedFs,
    directory: DataDirectory,
    pub(super) log: LocalLog,
}

impl Running {
    pub(super) fn open(fs: &SimulatedFs, root: &str) -> Result<Self> {
        let shared: Arc<dyn FileSystem> = Arc::new(fs.clone());
        let directory = DataDirectory::open(Arc::clone(&shared), Path::new(root), 0x5709e)?;
        let clock_us = AtomicI64::new(0);
        let surroundings = Surroundings {
            fs: shared,
            seed: 7,
            clock: Arc::new(move || clock_us.fetch_add(1_000_000, Ordering::Relaxed)),
            on_durable: Box::new(|_| {}),
        };
        let options = LogOptions {
            durability: Durability::Always,
            segment_bytes: 4096,
            ..LogOptions::default()
        };
        let identity = directory.log_identity();
        let (log, _) =
            LocalLog::open(surroundings, directory.log_directory(), &options, &identity)?;
        Ok(Self { fs: fs.clone(), directory, log })
    }

    /// Appends records up to `to`, each in a frame of its own.
    pub(super) fn append(&self, to: u64) {
        while self.log.last() < Lsn(to) {
            let record = record(self.log.last().next());
            self.log.append(&record).unwrap();
            self.log.flush().unwrap();
        }
    }

    /// A snapshot of everything so far, whose only entry is its LSN; then the log is trimmed.
    pub(super) fn checkpoint(&mut self) {
        let lsn = self.log.last();
        let snapshot_id = self.directory.generations().first().map_or(1, |g| g.snapshot_id + 1);
        let store_id = self.directory.store_id();
        let header = SnapshotHeader { snapshot_id, store_id, shards: 2, lsn };
        let fs = Arc::new(self.fs.clone());
        let mut writer = SnapshotWriter::create(fs, self.directory.root(), header).unwrap();
        writer.add(0, &lsn.0.to_le_bytes()).unwrap();
        let history = history_to(&self.fs, &self.directory, lsn).unwrap();
        self.directory.commit(writer.finish(lsn).unwrap(), history).unwrap();
        if let [_, older, ..] = self.directory.generations() {
            self.log.trim(older.lsn.next()).unwrap();
        }
    }
}

fn record(lsn: Lsn) -> Vec<u8> {
    lsn.0.to_le_bytes().repeat(40)
}

/// Snapshots at 20, 40 and 60, of which two are left; 70 records.
pub(super) fn store() -> (SimulatedFs, Running) {
    let fs = SimulatedFs::new();
    let mut running = Running::open(&fs, DATA).unwrap();
    for lsn in [20, 40, 60] {
        running.append(lsn);
        running.checkpoint();
    }
    running.append(70);
    (fs, running)
}

pub(super) fn take(fs: &SimulatedFs) -> Result<TakenBackup> {
    let options = BackupOptions { is_copy: false, begun_us: 5 };
    back_up(fs, (Path::new(DATA), Path::new(BACKUP)), &options, &mut |_, _| {})
}

pub(super) fn restore(fs: &SimulatedFs, from: &str, point: RestorePoint) -> Result<Lsn> {
    let source = RestoreSource::open(fs, Path::new(from), &mut |_, _| {})?;
    let plan = source.plan(point)?;
    source.restore(&plan, Path::new(NEW), (0xbeef, 11), &mut |_, _| {})?.finish()?;
    Ok(plan.lsn)
}

/// Opens what was restored as a server would: its snapshots, and its records.
pub(super) fn check_restored(fs: &SimulatedFs, to: Lsn) {
    let restored = Running::open(fs, NEW).unwrap();
    assert_eq!((restored.directory.store_id(), restored.log.last()), (0xbeef, to));
    for generation in restored.directory.generations() {
        assert!(generation.last_lsn <= to);
        for file in &generation.files {
            let file = restored.directory.open_snapshot(generation, file).unwrap();
            file.for_each(|_| Ok(())).unwrap();
        }
    }
    let first = restored.log.status().first;
    let after = restored.directory.generations().first().map_or(Lsn(0), |newest| newest.lsn);
    assert!(first <= after.next());
    let mut expected = first;
    for read in restored.log.read(first).unwrap() {
        assert_eq!(read.unwrap(), (expected, record(expected)));
        expected = expected.next();
    }
    assert_eq!(expected.previous(), to);
    // It goes on.
    restored.append(to.0 + 5);
}

#[test]
fn a_backup_of_a_running_store_holds_what_was_durable_and_opens_at_every_record() {
    let (fs, running) = store();
    let taken = take(&fs).unwrap();
    assert_eq!((taken.manifest.last_lsn, taken.manifest.store_id), (Lsn(70), 0x5709e));
    let first = taken.manifest.first_lsn;
    assert!(first > Lsn(1) && first <= Lsn(41) && taken.linked_files > 6);
    // What the server does later touches nothing of it.
    running.append(90);
    running.log.close().unwrap();
    drop(running);
    for lsn in 40..=70 {
        let fs = fs.crash(lsn, Cut::Power);
        assert_eq!(restore(&fs, BACKUP, RestorePoint::Lsn(Lsn(lsn))).unwrap(), Lsn(lsn));
        check_restored(&fs, Lsn(lsn));
    }
    assert_eq!(restore(&fs, DATA, RestorePoint::End).unwrap(), Lsn(90));
    check_restored(&fs, Lsn(90));
}

#[test]
fn what_is_out_of_reach_is_refused_and_the_reach_is_named() {
    let (fs, running) = store();
    let first = take(&fs).unwrap().manifest.first_lsn;
    let refused = |point| restore(&fs, BACKUP, point).unwrap_err().to_string();
    let early = refused(RestorePoint::Lsn(Lsn(39)));
    let expected = format!(
        "LSN 39 cannot be reached: the log begins with LSN {first}, and the earliest record to \
         restore to is LSN 40; by time, from "
    );
    assert!(early.starts_with(&expected), "{early}");
    // What it says is true.
    let from = early.split("from ").nth(1).unwrap().trim_end_matches(" on");
    let from = Timestamp::parse(from).unwrap();
    let before = refused(RestorePoint::Time(Timestamp(from.us() - 1)));
    assert!(before.contains("cannot be reached: the log begins"), "{before}");
    assert_eq!(restore(&fs, BACKUP, RestorePoint::Time(from)).unwrap(), Lsn(40));
    let late = refused(RestorePoint::Lsn(Lsn(71)));
    assert!(late.starts_with("LSN 71 is not there: the last record is LSN 70 of "), "{late}");
    let taken = restore(&fs, BACKUP, RestorePoint::End).unwrap_err().to_string();
    assert_eq!(taken, "a restore needs a new or empty folder: /new holds MANIFEST-4");
    let locked = restore(&fs, DATA, RestorePoint::End).unwrap_err();
    assert_eq!(locked.code(), "LOCKED");
    drop(running);
}

#[test]
fn a_time_means_the_last_frame_written_by_then() {
    let (fs, running) = store();
    drop(running);
    let source = RestoreSource::open(&fs, Path::new(DATA), &mut |_, _| {}).unwrap();
    for lsn in 40..=70 {
        let plan = source.plan(RestorePoint::Lsn(Lsn(lsn))).unwrap();
        let clock = Timestamp(plan.clock_us.unwrap());
        let at = |time| source.plan(RestorePoint::Time(time)).unwrap().lsn;
        assert_eq!(at(clock), Lsn(lsn));
        assert_eq!(at(Timestamp(clock.us() + 1)), Lsn(lsn));
        if lsn > 40 {
            assert_eq!(at(Timestamp(clock.us() - 1)), Lsn(lsn - 1));
        }
    }
    assert_eq!(source.plan(RestorePoint::Time(Timestamp::MAX)).unwrap().lsn, Lsn(70));
}

#[test]
fn several_records_of_one_frame_are_cut_between_two() {
    let fs = SimulatedFs::new();
    let running = Running::open(&fs, DATA).unwrap();
    // The first ones may become frames of their own; the rest wait for a sync together.
    for lsn in 1..=40 {
        assert_eq!(running.log.append(&record(Lsn(lsn))).unwrap(), Lsn(lsn));
    }
    running.log.close().unwrap();
    drop(running);
    for lsn in 0..=40 {
        let fs = fs.crash(0, Cut::Process);
        restore(&fs, DATA, RestorePoint::Lsn(Lsn(lsn))).unwrap();
        check_restored(&fs, Lsn(lsn));
    }
}

#[test]
fn history_comes_along_as_far_as_it_is_from_before_the_record() {
    for from in [DATA, BACKUP] {
        for (lsn, reaches) in [(45, 40), (60, 60), (70, 60)] {
            let (fs, running) = store();
            let first = running.log.status().first;
            assert!(first > Lsn(1) && first <= Lsn(41));
            take(&fs).unwrap();
            drop(running);
            restore(&fs, from, RestorePoint::Lsn(Lsn(lsn))).unwrap();
            let restored = Running::open(&fs, NEW).unwrap();
            let History { reaches: found, parts } = restored.directory.history().clone();
            assert_eq!(found, Lsn(reaches), "to {lsn}: the log goes on behind it");
            let lasts: Vec<u64> = parts.iter().map(|part| part.last.0).collect();
            assert_eq!(lasts, [20, 40, 60][..reaches as usize / 20]);
            for part in parts {
                open_history_part(&fs, Path::new(NEW), &part).unwrap();
            }
        }
    }
}

#[test]
fn a_damaged_history_is_no_backup_and_is_not_restored() {
    let (fs, running) = store();
    let part = running.directory.history().parts[1].clone();
    let flip = |root: &str| {
        fs.damage(&Path::new(root).join(&part.file.name), |bytes| bytes[9] ^= 4).unwrap();
    };
    take(&fs).unwrap();
    // The backup shares its bytes with the directory.
    flip(DATA);
    drop(running);
    for from in [DATA, BACKUP] {
        let error = restore(&fs, from, RestorePoint::End).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
    let again = Path::new("/again");
    let options = BackupOptions { is_copy: false, begun_us: 5 };
    let error = back_up(&fs, (Path::new(DATA), again), &options, &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("holds what LSN 21 to 40 pushed"), "{error}");
}

/// Snapshots and trims as fast as they come, while backups are taken.
#[test]
fn a_backup_begins_again_when_the_server_removes_files_meanwhile() {
    let (fs, mut running) = store();
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            let mut last = 70;
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                last += 30;
                running.append(last);
                running.checkpoint();
            }
        });
        for number in 0..40 {
            let to = PathBuf::from(format!("/backup-{number}"));
            let options = BackupOptions::default();
            let taken = back_up(&fs, (Path::new(DATA), &to), &options, &mut |_, _| {}).unwrap();
            let source = RestoreSource::open(&fs, &to, &mut |_, _| {}).unwrap();
            let plan = source.plan(RestorePoint::End).unwrap();
            assert_eq!(plan.lsn, taken.manifest.last_lsn);
        }
        drop(stop);
    });
}

#[test]
fn neither_a_backup_nor_a_half_restored_folder_is_a_source_of_a_backup() {
    let (fs, _running) = store();
    take(&fs).unwrap();
    let take_of = |from: &str, to: &str| {
        let options = BackupOptions::default();
        let taken = back_up(&fs, (Path::new(from), Path::new(to)), &options, &mut |_, _| {});
        taken.unwrap_err().to_string()
    };
    assert!(take_of(BACKUP, "/other").starts_with("/backup is a backup, which stays as it is"));
    assert!(take_of(DATA, BACKUP).starts_with("a backup needs a new or empty folder: /backup"));
    fs.create_dir_all(Path::new("/empty")).unwrap();
    assert!(take_of("/empty", "/other").starts_with("/empty is no data directory of nowthen"));
    fs.create_new(Path::new("/empty/RESTORING")).unwrap();
    assert!(take_of("/empty", "/other").starts_with("/empty is half restored"));
}
