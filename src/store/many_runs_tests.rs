//! A range of the history that has many runs, merged by itself.

use super::{MergePolicy, history_attack_fixture::*, restore};
use crate::{
    disk::{FileSystem, SimulatedFs},
    log::{Lsn, RestorePoint, RestoreSource},
};
use std::{path::Path, sync::Arc};

/// Also if it is behind the older snapshot, or the newest: it reaches no further than before.
#[test]
fn a_range_of_many_runs_is_merged_by_itself() {
    let fs = SimulatedFs::new();
    let standing = open(&fs);
    apply(&standing, DEFINITIONS);
    let mut event = 0;
    for _ in 0..3 {
        // A run has the records of a mebibyte, and these are not quite two.
        for _ in 0..3 {
            event += 1;
            push(&standing, if event == 5 { "b" } else { "a" }, -event, &"x".repeat(600_000));
        }
        standing.checkpoint().unwrap();
    }
    let parts = firsts_and_lasts(&standing);
    let sort = |runs_max| {
        let policy = MergePolicy { runs_max, ..MergePolicy::default() };
        standing.compact_history(&policy, &mut || true).unwrap()
    };
    assert_eq!(sort(2), None);
    let before = writes(&standing, "a", &["spending:genre", "spending:spend"]).unwrap();
    for _ in 0..3 {
        let done = sort(1).unwrap();
        assert_eq!((done.files, done.buckets, done.rows), (1, 1, 3));
    }
    assert_eq!(sort(1), None, "each has one run now");
    assert_eq!(firsts_and_lasts(&standing), parts);
    assert!(writes(&standing, "a", &["spending:genre", "spending:spend"]).unwrap() == before);
    standing.close().unwrap();
    drop(standing);
    let shared: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let source = RestoreSource::open(&*shared, Path::new("/data"), &mut |_, _| {}).unwrap();
    for (_, lsn) in parts.into_iter().skip(1) {
        let plan = source.plan(RestorePoint::Lsn(Lsn(lsn))).unwrap();
        let to = format!("/to-{lsn}");
        restore(&shared, &source, &plan, Path::new(&to), &mut |_, _| {}).unwrap();
        let restored = try_open(&fs, &to, NOW).unwrap();
        // The first record is that of the definitions.
        let count = |user| writes(&restored, user, &["spending:genre"]).unwrap().len() as u64;
        assert_eq!(count("a") + count("b"), lsn - 1, "restored to LSN {lsn}");
    }
}
