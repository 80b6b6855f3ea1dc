//! Replay: the log behind the snapshot, applied on all cores.
//!
//! ```text
//! read ─> a chunk of records, each with the shard of its row ─> some shards on each core
//! (the next chunk meanwhile)                                    what is no single row: by itself
//! ```
//! Invariants
//! - All changes of a row are applied by one thread, in the order of the log.
//! - A record that is not about a single row is applied when everything before it is, and nothing
//!   behind it.
//! - Nobody reads yet: what a record shows together need not become visible together.

use super::{checkpoint::bytes_after, engine::Store, loading::LoadPart};
use crate::{
    error::{Error, Result},
    feature::{Change, Record, decode_record, sole_row_key},
    log::Lsn,
    online::Table,
    parallel::{thread_count, threads_for},
    planted::planted,
};
use std::{sync::mpsc, thread};

/// A chunk ends with the record that reaches this.
const CHUNK_BYTES: usize = 1024 * 1024;
/// So many chunks are read ahead.
const CHUNKS_AHEAD: usize = 2;
/// Fewer changes than this are not worth a thread.
const CHANGES_MIN: usize = 64;

/// Records as the log holds them, one behind the other.
struct Chunk {
    bytes: Vec<u8>,
    records: Vec<Place>,
}

/// A record of a chunk.
#[derive(Clone, Copy)]
struct Place {
    lsn: Lsn,
    /// The shard of its row, if it is about a single one.
    shard: Option<usize>,
    start: usize,
    end: usize,
}

impl Store {
    /// Tells `progress` what there is to replay from `from` on.
    pub(super) fn expect_replay(&self, from: Lsn, progress: &LoadPart) {
        let count = self.log.last().next().0.saturating_sub(from.0);
        progress.begin(count, bytes_after(from.previous(), &self.log.segments()));
    }

    /// Applies the records from `from` on.
    pub(super) fn replay(&self, from: Lsn, progress: &LoadPart) -> Result<()> {
        let apply = |chunk: Chunk| {
            self.apply_chunk(&chunk, thread_count(None))?;
            progress.add(chunk.records.len() as u64);
            Ok(())
        };
        if threads_for(bytes_after(from.previous(), &self.log.segments())) == 1 {
            return self.read_chunks(from, apply);
        }
        thread::scope(|scope| {
            let (sender, chunks) = mpsc::sync_channel(CHUNKS_AHEAD);
            scope.spawn(move || {
                let send =
                    |chunk| sender.send(Ok(chunk)).map_err(|_| Error::refused("replay ended"));
                if let Err(error) = self.read_chunks(from, send) {
                    drop(sender.send(Err(error)));
                }
            });
            chunks.into_iter().try_for_each(|chunk| apply(chunk?))
        })
    }

    /// Hands on the records from `from` on, as long as they are taken.
    fn read_chunks(&self, from: Lsn, mut take: impl FnMut(Chunk) -> Result<()>) -> Result<()> {
        let mut chunk = Chunk::empty();
        for record in self.log.read(from)? {
            let (lsn, bytes) = record?;
            let key = sole_row_key(&bytes);
            chunk.push(lsn, key.map(|key| Table::shard_index(self.table.hash(key))), &bytes);
            if chunk.bytes.len() >= CHUNK_BYTES {
                take(std::mem::replace(&mut chunk, Chunk::empty()))?;
            }
        }
        take(chunk)
    }

    fn apply_chunk(&self, chunk: &Chunk, threads: usize) -> Result<()> {
        let are_rows = |a: &Place, b: &Place| a.shard.is_some() && b.shard.is_some();
        for run in chunk.records.chunk_by(are_rows) {
            if let [Place { shard: None, .. }] = run {
                run.iter().try_for_each(|place| self.apply_whole(chunk.record(*place), threads))?;
                continue;
            }
            on_threads(run.len(), threads, |is_ours| {
                for place in run.iter().filter(|place| place.shard.is_none_or(is_ours)) {
                    let (lsn, bytes) = chunk.record(*place);
                    for change in self.decode(lsn, bytes)?.changes {
                        self.publish_change(lsn, &change, self.clock.now())?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Applies a record about many rows, or about none.
    fn apply_whole(&self, (lsn, bytes): (Lsn, &[u8]), threads: usize) -> Result<()> {
        let record = self.decode(lsn, bytes)?;
        let keys = record.changes.iter().map(Change::row_key);
        let Some(keys) = keys.collect::<Option<Vec<&[u8]>>>() else {
            return self.publish(lsn, &record, self.clock.now());
        };
        let shards = keys.iter().map(|key| Table::shard_index(self.table.hash(key)));
        let shards: Vec<usize> = shards.collect();
        on_threads(shards.len(), threads, |is_ours| {
            let changes = record.changes.iter().zip(&shards);
            for (change, _) in changes.filter(|(_, shard)| is_ours(**shard)) {
                self.publish_change(lsn, change, self.clock.now())?;
            }
            Ok(())
        })
    }

    fn decode(&self, lsn: Lsn, bytes: &[u8]) -> Result<Record> {
        let mut record = decode_record(bytes).map_err(|why| self.undecodable(lsn, &why))?;
        if planted("flush lost on replay") {
            record.changes.retain(|change| !matches!(change, Change::FlushAll));
        }
        Ok(record)
    }
}

impl Chunk {
    fn empty() -> Self {
        Self { bytes: Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8), records: Vec::new() }
    }

    fn push(&mut self, lsn: Lsn, shard: Option<usize>, record: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.records.push(Place { lsn, shard, start, end: self.bytes.len() });
    }

    fn record(&self, place: Place) -> (Lsn, &[u8]) {
        (place.lsn, self.bytes.get(place.start..place.end).unwrap_or_default())
    }
}

/// Does `work` on several threads, each of which is told which shards are its own; on this one
/// alone if there are few changes.
fn on_threads(
    changes: usize,
    threads: usize,
    work: impl Fn(&dyn Fn(usize) -> bool) -> Result<()> + Sync,
) -> Result<()> {
    if changes < CHANGES_MIN || threads == 1 {
        return work(&|_| true);
    }
    let work = &work;
    thread::scope(|scope| {
        let spawn = |own| scope.spawn(move || work(&|shard| shard % threads == own));
        let running: Vec<_> = (0..threads).map(spawn).collect();
        for thread in running {
            thread.join().map_err(|_| Error::refused("applying the log panicked"))??;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::{Cut, SimulatedFs},
        feature::{PlainChange, Timestamp},
        store::snapshot_loading::OpenSnapshot,
        store::{Clock, StoreOptions},
    };
    use std::{path::Path, sync::Arc};

    const KEYS: u64 = 900;
    const FLUSHED_AT: u64 = 3 * KEYS + 100;

    fn open(fs: &SimulatedFs) -> Arc<Store> {
        let options = StoreOptions { segment_bytes: 1024 * 1024, ..StoreOptions::default() };
        let clock = Clock::manual(Timestamp(1_000));
        Store::open(Arc::new(fs.clone()), Path::new("/data"), &options, clock).unwrap()
    }

    /// Sets keys again and again, to a KiB that does not get smaller, and empties all once.
    fn write(store: &Store, counts: std::ops::Range<u64>) {
        for count in counts {
            let name = format!("key:{}", count % KEYS).into_bytes();
            let mut value = vec![0; 1024];
            blake3::Hasher::new().update(&count.to_le_bytes()).finalize_xof().fill(&mut value);
            let change = PlainChange::SetString { value, expires_at: None };
            let changes = vec![Change::Plain { key: name.clone(), change }];
            store.keyspace().commit(&[&name], |_| Ok((changes, ()))).unwrap();
            if count == FLUSHED_AT {
                store.keyspace().flush_all().unwrap();
            }
        }
        store.acknowledged_blocking(store.last_written()).unwrap();
    }

    #[test]
    fn what_is_loaded_by_many_threads_is_what_was_written() {
        let fs = SimulatedFs::new();
        let store = open(&fs);
        write(&store, 0..5 * KEYS);
        let log_bytes: u64 = bytes_after(Lsn(0), &store.log.segments());
        assert!(log_bytes > 4 * CHUNK_BYTES as u64, "{log_bytes} bytes are several chunks");
        let from_log = open(&fs.crash(0, Cut::Process));
        assert_eq!(from_log.summary(), store.summary());

        store.checkpoint().unwrap();
        let snapshot = OpenSnapshot::newest(&store.directory.lock(), &store.loading.snapshot);
        assert!(snapshot.unwrap().threads() >= thread_count(None).min(3));
        let from_snapshot = open(&fs.crash(0, Cut::Process));
        assert_eq!(from_snapshot.summary(), store.summary());
        write(&store, 0..2 * KEYS + 17);
        let from_both = open(&fs.crash(0, Cut::Process));
        assert_eq!(from_both.summary(), store.summary());
    }
}
