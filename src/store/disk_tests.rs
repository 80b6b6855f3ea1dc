//! A full disk, and one that fails, as a store meets them.

use super::{Clock, Store, StoreOptions};
use crate::{
    disk::{Cut, FileSystem, SimulatedFs},
    error::Result,
    feature::{Change, PlainChange, Timestamp},
    log::{Durability, Lsn},
    online::{Body, Row, Seen},
};
use std::{collections::BTreeMap, io, path::Path, sync::Arc};

const KEYS: u64 = 7;
const SEGMENT_BYTES: u64 = 4096;

fn open(fs: &SimulatedFs, now: Timestamp) -> Result<Arc<Store>> {
    let options = StoreOptions {
        durability: Durability::Always,
        segment_bytes: SEGMENT_BYTES,
        ..StoreOptions::default()
    };
    Store::open(Arc::new(fs.clone()), Path::new("/data"), &options, Clock::manual(now))
}

/// What was sent, and what of it was acknowledged: each key counts up.
#[derive(Default)]
struct Written {
    sent: BTreeMap<u64, u64>,
    acknowledged: BTreeMap<u64, u64>,
    count: u64,
}

impl Written {
    /// Writes the next count to the next key, and waits until it is durable.
    fn write(&mut self, store: &Store) -> Result<()> {
        self.count += 1;
        let (key, value) = (self.count % KEYS, self.count);
        self.sent.insert(key, value);
        let name = format!("key:{key}").into_bytes();
        let text = format!("{value} {}", "x".repeat((value * 37 % 300) as usize));
        let change = PlainChange::SetString { value: text.into_bytes(), expires_at: None };
        let changes = vec![Change::Plain { key: name.clone(), change }];
        let committed = store.keyspace().commit(&[&name], |_| Ok((changes, ())));
        let committed = committed.inspect_err(|_| {
            // Nothing was taken.
            self.sent.remove(&key);
            self.sent.extend(self.acknowledged.get_key_value(&key));
        })?;
        store.acknowledged_blocking(committed.wait_for.unwrap())?;
        self.acknowledged.insert(key, value);
        Ok(())
    }

    /// Every key is as it was acknowledged, or as it was sent later.
    fn check(&self, store: &Store) {
        for key in 0..KEYS {
            let name = format!("key:{key}");
            let found = store.keyspace().read(name.as_bytes(), Seen::Published, count_in);
            let least = self.acknowledged.get(&key).copied().unwrap_or(0);
            let most = self.sent.get(&key).copied().unwrap_or(0).max(least);
            assert!((least..=most).contains(&found), "{name}: {least} <= {found} <= {most}");
        }
    }

    /// After a crash all that was acknowledged is there, and whatever is goes on from there.
    fn check_after_crash(&mut self, fs: &SimulatedFs, seed: u64, now: Timestamp) -> Arc<Store> {
        let store = open(&fs.crash(seed, Cut::Power), now).unwrap();
        self.check(&store);
        store
    }
}

fn count_in(row: Option<Row<'_>>) -> u64 {
    let Some(Body::String(value)) = row.and_then(Row::body) else { return 0 };
    let text = String::from_utf8_lossy(value);
    text.split(' ').next().and_then(|count| count.parse().ok()).unwrap()
}

/// The files of snapshots that no generation lists.
fn unlisted(fs: &SimulatedFs, store: &Store) -> Vec<String> {
    let directory = store.directory.lock();
    let files = directory.generations().iter().flat_map(|generation| &generation.files);
    let listed: Vec<&str> = files.map(|file| file.name.as_str()).collect();
    let found = fs.read_dir(Path::new("/data/snapshots")).unwrap().into_iter();
    let names = found.map(|entry| format!("snapshots/{}", entry.name));
    names.filter(|name| !listed.contains(&name.as_str())).collect()
}

/// A small generator of numbers that look random (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) % limit
    }
}

#[test]
fn a_full_disk_refuses_writes_keeps_reads_and_loses_nothing_acknowledged() {
    let (mut refused, mut failed_snapshots, mut snapshots) = (0, 0, 0);
    for seed in 0..40 {
        let mut chance = Chance(seed);
        let fs = SimulatedFs::new();
        let mut now = Timestamp(1_000_000);
        let store = open(&fs, now).unwrap();
        let mut written = Written::default();
        for round in 0..4 {
            (0..chance.below(9)).for_each(|_| written.write(&store).unwrap());
            fs.limit_bytes(Some(fs.used_bytes() + chance.below(3 * SEGMENT_BYTES)));
            for _ in 0..chance.below(30) {
                let wrote = written.write(&store);
                let code = wrote.as_ref().err().map_or("OK", crate::error::Error::code);
                assert!(["OK", "NOSPACE"].contains(&code), "seed {seed}: {wrote:?}");
                refused += u64::from(wrote.is_err());
                written.check(&store);
                if chance.below(12) > 0 {
                    continue;
                }
                let snapshot = store.checkpoint();
                assert_eq!(store.last_checkpoint().is_ok, snapshot.is_ok());
                assert_eq!(unlisted(&fs, &store), Vec::<String>::new(), "seed {seed}");
                store.check_poison().unwrap();
                failed_snapshots += u64::from(snapshot.is_err());
                snapshots += u64::from(snapshot.is_ok());
            }
            // Space returns; no later than 0.1 s after that writing goes on by itself.
            fs.limit_bytes(None);
            now = now.plus_us(200_000);
            store.clock.advance_to(now);
            written.write(&store).unwrap();
            written.check(&store);
            written.check_after_crash(&fs, seed * 4 + round, now);
        }
        store.checkpoint().unwrap();
        store.close().unwrap();
        written.check_after_crash(&fs, seed, now);
    }
    assert!(refused > 100 && failed_snapshots > 5 && snapshots > 5, "{refused} {failed_snapshots}");
}

/// Whoever was told that his snapshot begins need not look whether it has begun.
#[test]
fn a_snapshot_has_begun_when_its_turn_was_given() {
    let store = open(&SimulatedFs::new(), Timestamp(1_000_000)).unwrap();
    let begun = store.begin_checkpoint().unwrap();
    assert!(store.is_checkpointing() && store.checkpoint().is_err());
    drop(begun);
    assert!(!store.is_checkpointing() && store.last_checkpoint().lsn == Lsn(0));
    let begun = store.begin_checkpoint().unwrap();
    begun.write().unwrap();
    assert!(!store.is_checkpointing());
}

/// Writes and two snapshots; what failed first, if something did.
fn work(store: &Arc<Store>, written: &mut Written) -> Result<()> {
    for round in 0..3 {
        (0..6).try_for_each(|_| written.write(store))?;
        if round > 0 {
            // One that failed is told; writing goes on.
            let _ = store.checkpoint();
        }
    }
    Ok(())
}

/// Every call fails once, and every call from some point on: a write or sync of the log, or the
/// name of a manifest, stops the store for good; a part of a snapshot only that snapshot.
#[test]
fn whatever_fails_is_told_never_tried_again_and_loses_nothing_acknowledged() {
    let now = Timestamp(1_000_000);
    let calls = {
        let fs = SimulatedFs::new();
        let store = open(&fs, now).unwrap();
        work(&store, &mut Written::default()).unwrap();
        store.close().unwrap();
        fs.calls()
    };
    let (mut poisoned, mut failed_snapshots, mut went_on) = (0, 0, 0);
    for (call, for_good) in (0..calls).flat_map(|call| [(call, false), (call, true)]) {
        let fs = SimulatedFs::new();
        fs.fail_call(call, io::ErrorKind::Other, for_good);
        let mut written = Written::default();
        let Ok(store) = open(&fs, now) else {
            assert!(open(&fs.crash(call, Cut::Power), now).is_ok(), "call {call}");
            continue;
        };
        let done = work(&store, &mut written);
        match store.check_poison() {
            Err(why) => {
                poisoned += 1;
                assert!(why.to_string().starts_with("outcome unknown: "), "{why}");
                let before = fs.calls();
                for _ in 0..3 {
                    assert_eq!(written.write(&store).unwrap_err().code(), "IOERR");
                }
                assert!(store.checkpoint().is_err());
                assert_eq!(fs.calls(), before, "call {call}: something was tried again");
                assert_eq!(store.close().unwrap_err().code(), "IOERR");
            }
            Ok(()) => {
                done.unwrap();
                failed_snapshots += u64::from(!store.last_checkpoint().is_ok);
                went_on += 1;
                written.check(&store);
            }
        }
        written.check_after_crash(&fs, call, now);
    }
    assert!(poisoned > 50 && failed_snapshots > 20 && went_on > 50, "{poisoned} {went_on}");
}
