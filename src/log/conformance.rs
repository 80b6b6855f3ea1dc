//! One suite for every log: what `contract.rs` promises.
//!
//! A new implementation adds a [`Stage`] and one test that calls [`conforms`].

use super::{
    contract::{Log, Lsn},
    options::Durability,
};
use std::collections::BTreeMap;

/// Somewhere a log lives: empty at first, and opened again as it was left. Records up to
/// `kept_after` may be gone: a snapshot has them.
trait Stage {
    fn open(&self, kept_after: Lsn) -> Box<dyn Log>;
}

/// All that any log must do, in small segments of about 4 KiB if it has any.
fn conforms(stage: &dyn Fn() -> Box<dyn Stage>) {
    counts_from_one_and_reads_back(&*stage());
    takes_empty_and_huge_records(&*stage());
    goes_on_where_it_was_closed(&*stage());
    gives_every_writer_its_own_lsn(&*stage());
    trims_whole_segments(&*stage());
    takes_nothing_after_close(&*stage());
}

fn all(log: &dyn Log, from: u64) -> Vec<(Lsn, Vec<u8>)> {
    log.read(Lsn(from)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn counts_from_one_and_reads_back(stage: &dyn Stage) {
    let log = stage.open(Lsn(0));
    assert_eq!((log.last(), log.durable(), log.status().first), (Lsn(0), Lsn(0), Lsn(1)));
    assert_eq!(all(&*log, 1), []);
    for (lsn, record) in [(1, b"a"), (2, b"b"), (3, b"c")] {
        assert_eq!(log.append(record).unwrap(), Lsn(lsn));
    }
    log.flush().unwrap();
    assert_eq!((log.last(), log.status().synced), (Lsn(3), Lsn(3)));
    assert_eq!(all(&*log, 2), [(Lsn(2), b"b".to_vec()), (Lsn(3), b"c".to_vec())]);
    assert_eq!(all(&*log, 4), []);
    assert!(log.read(Lsn(0)).is_err());
}

fn takes_empty_and_huge_records(stage: &dyn Stage) {
    let log = stage.open(Lsn(0));
    let noise: Vec<u8> =
        (0..50_000u32).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
    let records = [vec![], noise.clone(), vec![7; 20_000], vec![], noise];
    for record in &records {
        log.append(record).unwrap();
    }
    log.flush().unwrap();
    let read: Vec<Vec<u8>> = all(&*log, 1).into_iter().map(|(_, record)| record).collect();
    assert_eq!(read, records);
}

fn goes_on_where_it_was_closed(stage: &dyn Stage) {
    for round in 0..5u8 {
        let log = stage.open(Lsn(0));
        let lsn = u64::from(round);
        assert_eq!((log.last(), log.durable()), (Lsn(lsn), Lsn(lsn)));
        assert_eq!(log.append(&[round; 2000]).unwrap(), Lsn(lsn + 1));
        log.close().unwrap();
    }
    let log = stage.open(Lsn(0));
    let read: Vec<u8> = all(&*log, 1).iter().map(|(_, record)| record[1999]).collect();
    assert_eq!(read, [0, 1, 2, 3, 4]);
}

fn gives_every_writer_its_own_lsn(stage: &dyn Stage) {
    let log = stage.open(Lsn(0));
    let appended = parking_lot::Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for writer in 0..4u8 {
            let (log, appended) = (&log, &appended);
            scope.spawn(move || {
                for number in 0..50u8 {
                    let record = vec![writer, number, 0, 0, 0, 0, 0, 0];
                    let lsn = log.append(&record).unwrap();
                    assert_eq!(appended.lock().insert(lsn, record), None);
                }
            });
        }
    });
    log.flush().unwrap();
    assert_eq!(all(&*log, 1), appended.into_inner().into_iter().collect::<Vec<_>>());
    assert_eq!(log.last(), Lsn(200));
    assert!(log.has_room());
}

fn trims_whole_segments(stage: &dyn Stage) {
    let log = stage.open(Lsn(0));
    for lsn in 1..=30u8 {
        log.append(&[lsn.wrapping_mul(101); 1500]).unwrap();
        log.append(&lsn.to_le_bytes().repeat(700)).unwrap();
        log.flush().unwrap();
    }
    log.trim(Lsn(10)).unwrap();
    let first = log.status().first;
    assert!(first > Lsn(1) && first <= Lsn(10), "{first}");
    assert!(log.read(Lsn(1)).is_err());
    assert_eq!(all(&*log, first.0).len() as u64, 61 - first.0);
    log.trim(Lsn(60)).unwrap();
    let oldest = log.segments()[0];
    assert!(oldest.base_lsn > first && oldest.base_lsn <= Lsn(60) && oldest.last_lsn >= Lsn(59));
    log.close().unwrap();
    drop(log);
    let log = stage.open(Lsn(59));
    assert_eq!(log.status().first, oldest.base_lsn);
}

fn takes_nothing_after_close(stage: &dyn Stage) {
    let log = stage.open(Lsn(0));
    log.append(b"x").unwrap();
    log.close().unwrap();
    assert_eq!(log.append(b"y").unwrap_err().to_string(), "the log is closed");
    assert_eq!((log.durable(), all(&*log, 1).len()), (Lsn(1), 1));
    log.close().unwrap();
}

mod stages {
    use super::*;
    use crate::log::LogIdentity;
    use crate::{
        disk::SimulatedFs,
        log::local::fixture::{disk, identity, open_as, options},
    };

    struct Local(SimulatedFs, Durability);

    impl Stage for Local {
        fn open(&self, kept_after: Lsn) -> Box<dyn Log> {
            let identity = LogIdentity { kept_after, ..identity() };
            Box::new(open_as(&self.0, 1, &options(self.1), &identity).unwrap().0)
        }
    }

    #[test]
    fn the_local_log_conforms_in_every_mode() {
        for mode in ["always", "interval:1", "never"] {
            let mode = Durability::parse(mode).unwrap();
            conforms(&|| Box::new(Local(disk(), mode)));
        }
    }
}
