//! A history that is split by the hash of the entity reads as if it were not.

use super::{MergePolicy, Store, history_attack_fixture::*};
use crate::disk::{FileSystem, SimulatedFs};
use std::path::Path;

const USERS: i64 = 40;

/// Merges whatever may be, into files of so many bytes.
fn compact(store: &Store, file_bytes: u64) -> usize {
    let policy =
        MergePolicy { parts_min: 2, growth: 1, parts_many: 0, file_bytes, ..Default::default() };
    store.compact_history(&policy, &mut || true).unwrap().map_or(0, |done| done.buckets)
}

/// Six checkpoints, before each of which every user was pushed once.
fn standing(fs: &SimulatedFs) -> std::sync::Arc<Store> {
    let store = open(fs);
    apply(&store, DEFINITIONS);
    for round in 0..6 {
        for user in 0..USERS {
            push(&store, &user.to_string(), round, &format!("{user} in {round}").repeat(5));
        }
        store.checkpoint().unwrap();
    }
    store
}

fn names(fs: &SimulatedFs) -> Vec<String> {
    let names = fs.read_dir(Path::new("/data/history")).unwrap().into_iter();
    names.map(|entry| entry.name).collect()
}

fn counts(store: &Store) -> Vec<usize> {
    let count = |user: i64| writes(store, &user.to_string(), &["spending:genre"]).unwrap().len();
    (0..USERS).map(count).collect()
}

#[test]
fn each_entity_is_in_one_file_and_is_found_there() {
    let fs = SimulatedFs::new();
    let store = standing(&fs);
    let buckets = compact(&store, 4096);
    assert!(buckets >= 4 && buckets.is_power_of_two(), "{buckets}");
    assert_eq!(store.history_size().0, buckets + 1);
    let split = names(&fs).iter().filter(|name| name.contains(&format!("of{buckets}-"))).count();
    assert_eq!(split, buckets);
    assert_eq!(counts(&store), [6; USERS as usize]);
    store.close().unwrap();
    drop(store);
    let store = open(&fs);
    assert_eq!(counts(&store), [6; USERS as usize]);
    // All of them are sources of the next: into fewer, and into one.
    for _ in 0..2 {
        push(&store, "0", 9, "more");
        store.checkpoint().unwrap();
    }
    assert_eq!(compact(&store, u64::MAX), 1);
    assert_eq!(store.history_size().0, 2);
    assert_eq!((counts(&store)[0], counts(&store)[1]), (8, 6));
}

#[test]
fn an_entity_is_forgotten_in_its_bucket_alone() {
    let fs = SimulatedFs::new();
    let store = standing(&fs);
    let buckets = compact(&store, 4096);
    let before = names(&fs);
    store.forget(b"user:7").unwrap();
    let after = names(&fs);
    let of = format!("of{buckets}-");
    let kept = |name: &&String| name.contains(&of) && after.contains(name);
    assert_eq!(before.iter().filter(kept).count(), buckets - 1, "one was written anew");
    assert_eq!(after.iter().filter(|name| name.contains(&of)).count(), buckets);
    let expected: Vec<usize> = (0..USERS).map(|user| if user == 7 { 0 } else { 6 }).collect();
    assert_eq!(counts(&store), expected);
    // What was written anew knows its bucket: one that is merged has its rows still.
    store.checkpoint().unwrap();
    assert!(compact(&store, 4096) > 1);
    assert_eq!(counts(&store), expected);
}

#[test]
fn two_of_one_bucket_or_of_several_are_forgotten_at_once() {
    let fs = SimulatedFs::new();
    let store = standing(&fs);
    compact(&store, 2048);
    store.forget(b"user:7").unwrap();
    for user in 0..20 {
        store.forget(format!("user:{user}").as_bytes()).unwrap();
    }
    let expected: Vec<usize> = (0..USERS).map(|user| if user < 20 { 0 } else { 6 }).collect();
    assert_eq!(counts(&store), expected);
    store.close().unwrap();
    drop(store);
    assert_eq!(counts(&open(&fs)), expected);
}
