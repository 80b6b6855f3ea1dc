//! A look at a running store finds nothing wrong that is not; a look at one at rest comes to the
//! verdict that a start comes to.

use super::{
    DataDirectory, Durability, Log, Lsn, Severity,
    local::fixture::{STORE_ID, append, open_as, options},
    open_history_part, verify,
    verify_fixture::{DECODERS, ROOT, flip, frames, open_directory, open_log, segment, snapshot},
    verify_running,
};
use crate::disk::{Cut, FileSystem, SimulatedFs};
use proptest::{prelude::*, sample::Index};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

#[test]
fn a_running_store_is_found_good_while_it_writes_snapshots_and_trims() {
    let fs = SimulatedFs::new();
    let mut directory = open_directory(&fs);
    let log = open_log(&fs, &directory, 1);
    append(&log, 1, 3);
    let ends = AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut looks = 0;
            while !ends.load(Ordering::Relaxed) {
                let report =
                    verify_running(&fs, Path::new(ROOT), &log, &DECODERS, &|_, _| {}).unwrap();
                assert_eq!(report.findings, [], "look {looks}");
                looks += 1;
            }
            looks
        });
        for round in 1..200_u64 {
            append(&log, round * 3 + 1, round * 3 + 3);
            snapshot(&fs, &mut directory, (round * 3, round * 3 + 3));
            if let [_, older] = directory.generations() {
                log.trim(older.lsn.next()).unwrap();
            }
        }
        ends.store(true, Ordering::Relaxed);
        looking.join().unwrap()
    });
    assert!(looks > 0);
    let frames = verify_running(&fs, Path::new(ROOT), &log, &DECODERS, &|_, _| {}).unwrap();
    assert_eq!(frames.lsns().unwrap().1, Lsn(600));
}

#[test]
fn a_running_store_tells_of_damage_in_sealed_and_open_segments_and_in_snapshots() {
    let fs = SimulatedFs::new();
    let mut directory = open_directory(&fs);
    let log = open_log(&fs, &directory, 1);
    append(&log, 1, 20);
    snapshot(&fs, &mut directory, (20, 20));
    let open = log.segments().last().unwrap().number;
    assert!(open > 2 && !log.segments().last().unwrap().sealed);
    flip(&fs, &segment(1), frames(&fs, 1)[0] + 70);
    flip(&fs, &segment(open), frames(&fs, open)[0] + 70);
    let name = &directory.generations()[0].files[0].name;
    flip(&fs, &Path::new(ROOT).join(name), 90);
    let report = verify_running(&fs, Path::new(ROOT), &log, &DECODERS, &|_, _| {}).unwrap();
    let told: Vec<_> = report.findings.iter().map(|f| f.path.clone()).collect();
    assert_eq!(told, [Path::new(ROOT).join(name), segment(1), segment(open)]);
}

/// What may happen to a directory.
#[derive(Clone, Debug)]
enum Accident {
    Flip(Index, Index),
    Zero(Index, Index),
    Cut(Index, Index),
    Lose(Index),
}

fn accident() -> impl Strategy<Value = Accident> {
    let place = any::<(Index, Index)>;
    prop_oneof![
        4 => place().prop_map(|(file, at)| Accident::Flip(file, at)),
        2 => place().prop_map(|(file, at)| Accident::Zero(file, at)),
        1 => place().prop_map(|(file, at)| Accident::Cut(file, at)),
        1 => any::<Index>().prop_map(Accident::Lose),
    ]
}

fn happen(fs: &SimulatedFs, accident: &Accident) {
    let files = fs.contents().into_iter().filter_map(|(path, bytes)| Some((path, bytes?)));
    let files: Vec<_> = files.filter(|(_, bytes)| !bytes.is_empty()).collect();
    match accident {
        Accident::Flip(file, at) => {
            let (path, bytes) = file.get(&files);
            let bit = at.index(bytes.len() * 8);
            fs.damage(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8)).unwrap();
        }
        Accident::Zero(file, at) => {
            let (path, bytes) = file.get(&files);
            let start = at.index(bytes.len().div_ceil(512)) * 512;
            fs.damage(path, |bytes| bytes.iter_mut().skip(start).take(512).for_each(|b| *b = 0))
                .unwrap();
        }
        Accident::Cut(file, at) => {
            let (path, bytes) = file.get(&files);
            let length = at.index(bytes.len());
            fs.damage(path, |bytes| bytes.truncate(length)).unwrap();
        }
        Accident::Lose(file) => fs.remove(&file.get(&files).0).unwrap(),
    }
}

/// Whether a server would start on a copy of this disk, with all that it reads before it serves.
fn starts(fs: &SimulatedFs) -> bool {
    let fs = fs.crash(0, Cut::Process);
    let opened = DataDirectory::open(Arc::new(fs.clone()), Path::new(ROOT), STORE_ID);
    let Ok(directory) = opened else { return false };
    // The older generation too: whoever looks at everything looks at that.
    let is_whole = directory.generations().iter().all(|generation| {
        generation.files.iter().all(|listed| {
            let opened = directory.open_snapshot(generation, listed);
            opened.and_then(|file| file.for_each(|_| Ok(()))).is_ok()
        })
    });
    let root = Path::new(ROOT);
    let is_part_whole = |part| open_history_part(&fs, root, part).is_ok();
    let is_whole = is_whole && directory.history().parts.iter().all(is_part_whole);
    let options = options(Durability::Always);
    is_whole
        && directory.tidy().is_ok()
        && open_as(&fs, 9, &options, &directory.log_identity()).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// No other verdict than that of the start itself, whatever happened to the disk.
    #[test]
    fn what_is_found_good_starts_and_what_is_found_damaged_does_not(
        is_closed: bool,
        seed: u64,
        accidents in prop::collection::vec(accident(), 0..3),
    ) {
        let fs = SimulatedFs::new();
        let mut directory = open_directory(&fs);
        let log = open_log(&fs, &directory, 1);
        append(&log, 1, 6);
        snapshot(&fs, &mut directory, (5, 6));
        append(&log, 7, 12);
        if is_closed {
            log.close().unwrap();
        }
        // Cut while something is on its way, so that tails are torn.
        let _ = log.append(&[5; 1500]);
        let fs = fs.crash(seed, Cut::Power);
        drop(log);
        for accident in &accidents {
            happen(&fs, accident);
        }
        match verify(&fs, Path::new(ROOT), &DECODERS, &|_, _| {}) {
            Ok(report) => {
                let is_good = report.worst() < Severity::Damage;
                prop_assert_eq!(is_good, starts(&fs), "{:#?}", report);
            }
            Err(error) => prop_assert!(!starts(&fs), "{}", error),
        }
    }
}
