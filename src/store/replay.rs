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
    planted::planted,
};
use std::{num::NonZero, sync::mpsc, thread};

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
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        thread::scope(|scope| {
            let (sender, chunks) = mpsc::sync_channel(CHUNKS_AHEAD);
            scope.spawn(move || self.read_chunks(from, &sender));
            for chunk in chunks {
                let chunk: Chunk = chunk?;
                self.apply_chunk(&chunk, threads)?;
                progress.add(chunk.records.len() as u64);
            }
            Ok(())
        })
    }

    /// Sends the records from `from` on, or why they end too early, as long as somebody listens.
    fn read_chunks(&self, from: Lsn, chunks: &mpsc::SyncSender<Result<Chunk>>) {
        let mut chunk = Chunk::empty();
        let records = self.log.read(from);
        let records = records.unwrap_or_else(|error| Box::new(std::iter::once(Err(error))));
        for record in records {
            match record {
                Ok((lsn, bytes)) => {
                    let key = sole_row_key(&bytes);
                    let shard = key.map(|key| Table::shard_index(self.table.hash(key)));
                    chunk.push(lsn, shard, &bytes);
                }
                Err(error) => return drop(chunks.send(Err(error))),
            }
            if chunk.bytes.len() >= CHUNK_BYTES
                && chunks.send(Ok(std::mem::replace(&mut chunk, Chunk::empty()))).is_err()
            {
                return;
            }
        }
        drop(chunks.send(Ok(chunk)));
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
