//! Power cuts, kills and flipped bits at random: what was durable is read back, nothing else.

use super::{
    fixture::{DIRECTORY, append, disk, identity, open, open_as, options, read_and_check, record},
    read_log_bytes,
    segment::SegmentHeader,
};
use crate::{
    disk::{Cut, FileSystem, Moment},
    log::{Durability, Log, LogIdentity, Lsn},
};
use parking_lot::Mutex;
use proptest::prelude::*;
use std::{io, path::Path, sync::Arc};

/// Appends in groups until something fails; gives what was appended and what was durable then.
fn write_until_failure(log: &dyn Log, groups: &[u64], from: u64) -> (u64, u64) {
    let mut last = from - 1;
    'writing: for group in groups {
        for _ in 0..*group {
            match log.append(&record(last + 1)) {
                Ok(lsn) => assert_eq!(lsn, Lsn(last + 1)),
                Err(_) => break 'writing,
            }
            last += 1;
        }
        if log.flush().is_err() {
            break;
        }
    }
    (last, log.durable().0)
}

#[test]
fn a_crash_while_trimming_leaves_no_gap() {
    let fs = disk();
    let (log, _) = open(&fs).unwrap();
    append(&log, 1, 30);
    log.close().unwrap();
    drop(log);
    for call in 0..20 {
        for seed in 0..10 {
            let fs = fs.crash(0, Cut::Process);
            let kept = LogIdentity { kept_after: Lsn(25), ..identity() };
            let always = options(Durability::Always);
            let (log, _) = open_as(&fs, 2, &always, &kept).unwrap();
            fs.fail_call(fs.calls() + call, io::ErrorKind::Other, true);
            let _ = log.trim(Lsn(25));
            let after = fs.crash(seed, Cut::Power);
            let (log, _) = open_as(&after, 3, &always, &kept).unwrap();
            assert_eq!(read_and_check(&log), 30);
        }
    }
}

/// A footer or a name may be in the kernel alone when a process is killed.
#[test]
fn what_a_killed_process_had_not_synced_is_synced_before_anything_stands_on_it() {
    let fs = disk();
    let met: Arc<Mutex<Vec<Moment>>> = Arc::default();
    let moments = Arc::clone(&met);
    fs.watch(move |_, moment| moments.lock().push(moment));
    let (log, _) = open_as(&fs, 1, &options(Durability::Never), &identity()).unwrap();
    for lsn in 1..20 {
        log.append(&record(lsn)).unwrap();
    }
    log.close().unwrap();
    fs.unwatch();
    for moment in met.lock().drain(..) {
        let fs = moment.crash(0, Cut::Process);
        let always = options(Durability::Always);
        let (log, recovered) = open_as(&fs, 2, &always, &identity()).unwrap();
        let last = recovered.last_lsn.0 + 2;
        append(&log, last - 1, last);
        for seed in 0..10 {
            let after = fs.crash(seed, Cut::Power);
            assert_eq!(read_and_check(&open(&after).unwrap().0), last);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Power cut at a random call, another one while recovering, then life goes on.
    #[test]
    fn what_was_durable_survives_power_cuts_and_nothing_is_invented(
        groups in prop::collection::vec(1..6u64, 1..12),
        cut_at in 0..90u64,
        cut_recovery_at in 0..12u64,
        seeds: [u64; 2],
    ) {
        let fs = disk();
        fs.fail_call(fs.calls() + cut_at, io::ErrorKind::Other, true);
        let (last, durable) = match open(&fs) {
            Ok((log, _)) => write_until_failure(&log, &groups, 1),
            Err(_) => (0, 0),
        };
        let fs = fs.crash(seeds[0], Cut::Power);
        fs.fail_call(cut_recovery_at, io::ErrorKind::Other, true);
        drop(open(&fs));
        let fs = fs.crash(seeds[1], Cut::Power);

        let (log, recovered) = open_as(&fs, 2, &options(Durability::Always), &identity()).unwrap();
        let read = read_and_check(&log);
        prop_assert!(durable <= read && read <= last, "{durable} <= {read} <= {last}");
        prop_assert_eq!(recovered.last_lsn, Lsn(read));
        append(&log, read + 1, read + 4);
        log.close().unwrap();
        prop_assert_eq!(read_and_check(&open(&fs).unwrap().0), read + 4);
    }

    /// In the lazy modes a power cut may take the end, never a record in the middle.
    #[test]
    fn a_lazy_log_loses_only_its_end_in_a_power_cut_and_nothing_in_a_kill(
        groups in prop::collection::vec(1..6u64, 1..12),
        never: bool,
        seed: u64,
    ) {
        let fs = disk();
        let mode = if never { Durability::Never } else { Durability::Interval { ms: 1_000_000 } };
        let (log, _) = open_as(&fs, 1, &options(mode), &identity()).unwrap();
        let mut last = 0;
        for group in &groups {
            for _ in 0..*group {
                last += 1;
                log.append(&record(last)).unwrap();
            }
        }
        let synced = log.status().synced.0;
        let after = fs.crash(seed, Cut::Power);
        let (read_log, _) = open(&after).unwrap();
        let read = read_and_check(&read_log);
        prop_assert!(synced <= read && read <= last, "{synced} <= {read} <= {last}");
        drop(log); // writes what is queued, then ends as if killed
        let after = fs.crash(seed, Cut::Process);
        prop_assert_eq!(read_and_check(&open(&after).unwrap().0), last);
    }

    /// A flipped bit is an error, or costs what nothing proves to have been durable.
    #[test]
    fn a_flipped_bit_never_gives_a_wrong_record(
        at: prop::sample::Index,
        bit in 0..8u8,
        closed: bool,
    ) {
        let fs = disk();
        let (log, _) = open(&fs).unwrap();
        append(&log, 1, 25);
        if closed {
            log.close().unwrap();
        }
        drop(log);
        let files = fs.read_dir(Path::new(DIRECTORY)).unwrap();
        let paths = files.iter().map(|file| Path::new(DIRECTORY).join(&file.name));
        let paths: Vec<_> = paths.collect();
        let bytes = |path: &std::path::PathBuf| fs.metadata(path).unwrap().bytes as usize;
        let mut offset = at.index(paths.iter().map(bytes).sum());
        for path in paths {
            if offset < bytes(&path) {
                fs.damage(&path, |content| content[offset] ^= 1 << bit).unwrap();
                break;
            }
            offset -= bytes(&path);
        }
        if let Ok((log, _)) = open(&fs) {
            let read = read_and_check(&log);
            prop_assert!(read == 25 || (read == 24 && !closed), "{read}");
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, salt: u64, offset in 0..600usize) {
        let _ = read_log_bytes(&bytes);
        let header = SegmentHeader {
            store_id: 1,
            number: 1,
            base_lsn: Lsn(1),
            salt,
            chain_before: 0,
        };
        let mut segment = header.encode();
        segment.resize(512 + offset, 0);
        segment.extend_from_slice(&bytes);
        prop_assert_eq!(read_log_bytes(&segment).unwrap(), []);
    }
}
