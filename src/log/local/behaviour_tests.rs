//! Sync modes, failing syncs, full disks, back-pressure.

use super::{
    LocalLog, Surroundings,
    fixture::{DIRECTORY, append, disk, identity, open, open_as, options, read_and_check, record},
};
use crate::{
    disk::{Cut, SimulatedFs},
    log::{Durability, Log, LogOptions, Lsn, WallClock},
};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

type Heard = Arc<Mutex<Vec<Result<u64, String>>>>;

/// A log whose callback is written down.
fn open_listening(fs: &SimulatedFs, durability: Durability) -> (LocalLog, Heard) {
    let heard = Heard::default();
    let listener = Arc::clone(&heard);
    let surroundings = Surroundings {
        fs: Arc::new(fs.clone()),
        seed: 1,
        clock: Arc::new(|| 7),
        on_durable: Box::new(move |durable| {
            let text = durable.map(|lsn| lsn.0).map_err(|error| error.to_string());
            listener.lock().push(text);
        }),
    };
    let directory = PathBuf::from(DIRECTORY);
    let (log, _) =
        LocalLog::open(surroundings, directory, &options(durability), &identity()).unwrap();
    (log, heard)
}

fn code(result: crate::error::Result<impl Sized>) -> &'static str {
    result.err().map_or("OK", |error| error.code())
}

#[test]
fn durable_is_called_from_the_writer_after_each_sync_and_never_goes_back() {
    let (log, heard) = open_listening(&disk(), Durability::Always);
    append(&log, 1, 3);
    log.close().unwrap();
    assert_eq!(*heard.lock(), [Ok(1), Ok(2), Ok(3)]);
    assert!(log.status().sync_count >= 3);
}

#[test]
fn a_failed_sync_or_write_poisons_and_nothing_is_taken_or_retried_after_it() {
    // A write fails, then a sync.
    for ahead in [0, 1] {
        let fs = disk();
        let (log, heard) = open_listening(&fs, Durability::Always);
        append(&log, 1, 1);
        fs.fail_call(fs.calls() + ahead, io::ErrorKind::Other, false);
        log.append(&record(2)).unwrap();
        let error = log.flush().unwrap_err();
        assert_eq!(error.code(), "IOERR");
        assert!(error.to_string().starts_with("outcome unknown: "), "{error}");
        assert_eq!(code(log.append(b"x")), "IOERR");
        assert_eq!(code(log.close()), "IOERR");
        assert!(log.status().poisoned.is_some());
        assert_eq!(log.durable(), Lsn(1));
        let heard = heard.lock();
        assert_eq!((heard.len(), heard.first()), (2, Some(&Ok(1))));
        assert!(heard[1].is_err());
    }
}

/// Between a call that fails and the poison that follows it, the log still takes what comes.
#[test]
fn what_is_taken_while_a_call_fails_is_told_that_its_outcome_is_unknown() {
    for ahead in [0, 1] {
        let fs = disk();
        let log = Arc::new(open(&fs).unwrap().0);
        append(&log, 1, 1);
        let failing = fs.calls() + ahead;
        fs.fail_call(failing, io::ErrorKind::Other, false);
        let taken = Arc::new(Mutex::new(None));
        let (late, seen) = (Arc::clone(&log), Arc::clone(&taken));
        fs.watch(move |call, _| {
            if call.number == failing {
                *seen.lock() = Some(late.append(&record(3)));
            }
        });
        log.append(&record(2)).unwrap();
        assert_eq!(code(log.flush()), "IOERR");
        fs.unwatch();
        assert_eq!(taken.lock().take().unwrap().unwrap(), Lsn(3));
        let error = log.flush().unwrap_err();
        assert!(error.to_string().starts_with("outcome unknown: "), "{error}");
        assert_eq!((code(log.append(b"x")), log.durable()), ("IOERR", Lsn(1)));
    }
}

#[test]
fn a_full_disk_refuses_before_anything_is_taken_and_writing_resumes_by_itself() {
    let fs = disk();
    let (log, _) = open(&fs).unwrap();
    append(&log, 1, 1);
    fs.limit_bytes(Some(fs.used_bytes()));
    let mut taken = 1;
    let refused = loop {
        match log.append(&record(taken + 1)) {
            Ok(lsn) => taken = lsn.0,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.code(), "NOSPACE");
    assert!(taken > 4, "two segments were allocated, {taken} records taken");
    log.flush().unwrap();
    assert_eq!((log.durable(), read_and_check(&log)), (Lsn(taken), taken));
    assert!(log.status().out_of_space && log.status().poisoned.is_none());

    fs.limit_bytes(None);
    append(&log, taken + 1, taken + 9);
    assert!(!log.status().out_of_space);
    log.close().unwrap();
    assert_eq!(read_and_check(&open(&fs).unwrap().0), taken + 9);
}

#[test]
fn a_log_opens_on_a_full_disk_and_waits_for_space() {
    let fs = disk();
    let (log, _) = open(&fs).unwrap();
    append(&log, 1, 9);
    log.close().unwrap();
    drop(log);
    let fs = fs.crash(0, Cut::Process);
    fs.limit_bytes(Some(0));
    let (log, _) = open(&fs).unwrap();
    assert_eq!(read_and_check(&log), 9);
    assert_eq!(code(log.append(&record(10))), "NOSPACE");
    fs.limit_bytes(None);
    append(&log, 10, 12);
}

#[test]
fn without_room_has_room_says_no_until_the_writer_has_caught_up() {
    let fs = disk();
    let small = LogOptions { queue_bytes_max: 100, ..options(Durability::Always) };
    let (log, _) = open_as(&fs, 1, &small, &identity()).unwrap();
    assert!(log.has_room());
    let mut waited = false;
    for lsn in 1..=200 {
        log.append(&record(lsn)).unwrap();
        waited |= !log.has_room();
    }
    assert!(waited);
    log.flush().unwrap();
    assert!(log.has_room());
}

#[test]
fn interval_is_durable_when_synced_and_never_is_durable_when_written() {
    for (mode, synced) in [("never", 0), ("interval:5", 3)] {
        let (log, heard) = open_listening(&disk(), Durability::parse(mode).unwrap());
        for lsn in 1..=3 {
            log.append(&record(lsn)).unwrap();
        }
        while heard.lock().last() != Some(&Ok(3)) || log.durable() < Lsn(3) {
            std::thread::yield_now();
        }
        assert_eq!((log.durable(), log.status().synced), (Lsn(3), Lsn(synced)), "{mode}");
        log.flush().unwrap();
        assert_eq!(log.status().synced, Lsn(3));
    }
}

#[test]
fn what_may_be_acknowledged_survives_a_kill_of_the_process_in_every_mode() {
    for mode in ["always", "interval:3600000", "never"] {
        let fs = disk();
        let (log, heard) = open_listening(&fs, Durability::parse(mode).unwrap());
        for lsn in 1..=9 {
            log.append(&record(lsn)).unwrap();
            while heard.lock().last() != Some(&Ok(lsn)) {
                std::thread::yield_now();
            }
            let killed = fs.crash(lsn, Cut::Process);
            assert_eq!(read_and_check(&open(&killed).unwrap().0), lsn, "{mode}");
        }
    }
}

/// Without a sync before the reply, whoever appends writes, and what others appended meanwhile.
#[test]
fn many_who_write_for_themselves_keep_one_order_and_hear_of_it_in_order() {
    for mode in ["interval:1", "never"] {
        let fs = disk();
        let (log, heard) = open_listening(&fs, Durability::parse(mode).unwrap());
        let appended = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for writer in 0..4_u8 {
                let (log, heard, appended) = (&log, &heard, &appended);
                scope.spawn(move || {
                    for number in 0..60_u8 {
                        let record = vec![writer, number];
                        let lsn = log.append_unhurried(&record).unwrap();
                        appended.lock().insert(lsn.0, record);
                        log.write_soon();
                        let is_told = || heard.lock().iter().any(|it| *it >= Ok(lsn.0));
                        while !is_told() {
                            std::thread::yield_now();
                        }
                    }
                });
            }
        });
        let heard: Vec<u64> = heard.lock().iter().map(|it| *it.as_ref().unwrap()).collect();
        assert!(heard.is_sorted_by(|a, b| a < b) && heard.last() == Some(&240), "{heard:?}");
        let killed = fs.crash(1, Cut::Process);
        let read = open(&killed).unwrap().0;
        let read = read.read(Lsn(1)).unwrap().map(|read| read.map(|(lsn, bytes)| (lsn.0, bytes)));
        let read: BTreeMap<u64, Vec<u8>> = read.collect::<Result<_, _>>().unwrap();
        assert_eq!(read, appended.into_inner(), "{mode}");
        log.close().unwrap();
    }
}

#[test]
fn a_write_that_fails_where_it_was_appended_poisons_too_and_is_told_once_and_last() {
    for mode in ["interval:3600000", "never"] {
        let fs = disk();
        let (log, heard) = open_listening(&fs, Durability::parse(mode).unwrap());
        append(&log, 1, 2);
        fs.fail_call(fs.calls(), io::ErrorKind::Other, false);
        log.append(&record(3)).unwrap();
        assert_eq!(code(log.flush()), "IOERR");
        assert_eq!(code(log.append(b"x")), "IOERR");
        log.write_soon();
        assert_eq!(code(log.close()), "IOERR");
        assert_eq!((log.durable(), log.status().synced), (Lsn(2), Lsn(2)));
        let heard = heard.lock();
        assert!(heard.len() == 3 && heard[1] == Ok(2) && heard[2].is_err(), "{heard:?}");
        let killed = fs.crash(1, Cut::Process);
        assert_eq!(read_and_check(&open(&killed).unwrap().0), 2, "nothing behind what failed");
    }
}

#[test]
fn records_are_read_through_windows_of_the_file_wherever_frames_lie_across_them() {
    let fs = disk();
    let (log, _) = open(&fs).unwrap();
    // Noise, so that frames are as long as it; some longer than a window, most across its end.
    let lengths = [100_000, 300_000, 7, 200_000, 1_000_000, 61_000, 255_000, 250_000, 13, 900_000];
    let noise = |lsn: u64, length: u64| -> Vec<u8> {
        (0..length).map(|i| ((i ^ lsn).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8).collect()
    };
    let records = || lengths.iter().cycle().take(40).zip(1..).map(|(n, lsn)| noise(lsn, *n));
    for record in records() {
        log.append(&record).unwrap();
        log.flush().unwrap();
    }
    for from in [1, 2, 5, 17, 40] {
        let read = log.read(Lsn(from)).unwrap().map(|read| read.unwrap().1);
        assert!(read.eq(records().skip(from as usize - 1)), "from LSN {from}");
    }
}

/// What was read once is not walked over again: damage in it goes unseen then.
#[test]
fn reading_from_the_middle_begins_there_once_somebody_was_there() {
    let fs = disk();
    let large = LogOptions { segment_bytes: 1 << 20, ..options(Durability::Always) };
    let open = || open_as(&fs, 1, &large, &identity()).unwrap().0;
    let log = open();
    append(&log, 1, 100);
    let lsns = |from| log.read(Lsn(from)).unwrap().map(|read| read.map(|(lsn, _)| lsn.0));
    for from in [1, 100, 50, 51, 2, 99] {
        let read: Vec<u64> = lsns(from).collect::<Result<_, _>>().unwrap();
        assert!(read.into_iter().eq(from..=100), "from LSN {from}");
    }
    let path = fs.contents().into_keys().find(|path| path.extension().is_some()).unwrap();
    let flip = |bytes: &mut Vec<u8>| {
        let place = memchr::memmem::find(bytes, &record(20)).unwrap();
        bytes[place] ^= 1;
    };
    fs.damage(&path, flip).unwrap();
    assert!(lsns(30).all(|read| read.is_ok()));
    let read: Vec<bool> = lsns(1).map(|read| read.is_ok()).collect();
    assert_eq!(read.len(), 20, "19 records, then the damage");
    assert!(!read[19]);
}

/// Whoever appends much wakes the writer, and mostly has written it before the writer looks.
#[test]
fn interval_syncs_in_time_however_often_the_writer_is_woken() {
    let started = Instant::now();
    // One that runs, and one that was set back.
    let clocks: [WallClock; 2] =
        [Arc::new(move || started.elapsed().as_micros() as i64), Arc::new(|| 7)];
    for clock in clocks {
        let (fs, on_durable) = (Arc::new(disk()), Box::new(|_| {}));
        let surroundings = Surroundings { fs, seed: 1, clock, on_durable };
        let durability = Durability::parse("interval:20").unwrap();
        let options = LogOptions { segment_bytes: 4 << 20, queue_bytes_max: 1 << 20, durability };
        let directory = PathBuf::from(DIRECTORY);
        let (log, _) = LocalLog::open(surroundings, directory, &options, &identity()).unwrap();
        append(&log, 1, 1);
        // A full segment is synced in every mode: before its footer, and behind it.
        let syncs =
            || (log.status().sync_count + 2).saturating_sub(2 * log.segments().len() as u64);
        let (begun, before) = (Instant::now(), syncs());
        // One sync by chance is none in time.
        while syncs() < before + 3 {
            while !log.has_room() {
                std::thread::yield_now();
            }
            log.append(&[0; 256 * 1024]).unwrap();
            assert!(begun.elapsed() < Duration::from_secs(10), "no sync in time");
        }
        log.close().unwrap();
    }
}

#[test]
fn a_log_that_takes_nothing_any_more_lets_nobody_wait_for_room() {
    let fs = disk();
    let small = LogOptions { queue_bytes_max: 100, ..options(Durability::Always) };
    let log = Arc::new(open_as(&fs, 1, &small, &identity()).unwrap().0);
    append(&log, 1, 1);
    let failing = fs.calls();
    fs.fail_call(failing, io::ErrorKind::Other, false);
    let late = Arc::clone(&log);
    fs.watch(move |call, _| {
        if call.number == failing {
            late.append_unhurried(&[7; 200]).unwrap();
        }
    });
    log.append(&record(2)).unwrap();
    assert_eq!(code(log.flush()), "IOERR");
    fs.unwatch();
    assert!(log.has_room(), "who waits must hear of the poison");
}
