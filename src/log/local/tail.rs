//! The end of the log, where frames are added: by one thread at a time, whoever holds it.
//!
//! ```text
//! hold the tail ─> take what is queued ─> a frame per batch ─> on_durable ─> let go, look again
//! ```
//! In mode `always` that is the thread of the log. In the other modes nobody waits for a sync, so
//! whoever waits for a write does it himself: to wake a thread, and to be woken by it, takes longer
//! than the write.
//!
//! Invariants
//! - What is queued is taken while the tail is held, so frames have the order of the queue.
//! - Who finds the tail held may go: its holder looks at the queue once more after letting go.
//! - `durable` moves only after the sync that covers it has returned (in mode `never`: the write).
//! - In every mode nothing may be acknowledged before the kernel has it: a kill takes nothing back.
//! - A failed write or sync is never repeated: the queue is poisoned while the tail is held, and
//!   nothing is taken from it any more.
//! - A frame claims as durable only what was synced before it was written.

use super::{
    catalog::Catalog,
    compression::Compression,
    log_frame::{FrameHeader, encode_packed},
    packing::Batch,
    queue::{Queue, WallClock},
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader},
};
use crate::{
    disk::{File, FileSystem},
    error::{Error, Result},
    log::{contract::Lsn, options::Durability},
    planted::planted,
};
use parking_lot::Mutex;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

/// Hears, from whoever writes, that all up to an LSN may be acknowledged, which is synced in mode
/// `always` and written in the others, or, once and last, why nothing will be any more.
pub type OnDurable = Box<dyn FnMut(Result<Lsn>) + Send>;

/// Who writes what others append leaves it to the thread of the log after so many rounds.
const ROUNDS_MAX: usize = 4;

/// What those who append, write and read have in common.
pub(super) struct Shared {
    pub(super) fs: Arc<dyn FileSystem>,
    pub(super) directory: PathBuf,
    pub(super) queue: Queue,
    pub(super) catalog: Catalog,
    pub(super) durability: Durability,
    pub(super) clock: WallClock,
    pub(super) tail: Mutex<Tail>,
    /// Up to here records may be acknowledged, and are read.
    pub(super) acknowledged: AtomicU64,
    pub(super) durable: AtomicU64,
    pub(super) synced: AtomicU64,
    pub(super) sync_count: AtomicU64,
    pub(super) last_sync_us: AtomicI64,
    /// The longest since somebody asked.
    pub(super) longest_sync_ns: AtomicU64,
}

/// What is known at the start.
pub(super) struct Start {
    pub(super) store_id: u128,
    pub(super) seed: u64,
    pub(super) last_lsn: Lsn,
    pub(super) chain: u64,
}

/// Where the next frame goes.
pub(super) struct Tail {
    start: Start,
    on_durable: OnDurable,
    current: Option<Current>,
    chain: u64,
    pub(super) written: Lsn,
    pub(super) synced: Lsn,
    acknowledged: Lsn,
    compression: Compression,
    frame: Vec<u8>,
}

/// The segment that is written to.
struct Current {
    header: SegmentHeader,
    file: Arc<dyn File>,
    path: PathBuf,
    offset: usize,
}

/// A sync that covers all up to an LSN.
pub(super) struct DueSync {
    file: Option<Arc<dyn File>>,
    path: PathBuf,
    covers: Lsn,
}

impl Shared {
    /// Writes what is queued, on this thread, unless another is at it and will. What belongs into
    /// a segment that is not open is left to the thread of the log, which makes one.
    pub(super) fn write_here(&self) {
        if thread::panicking() {
            // What panicked is not this write.
            return self.queue.wake_writer();
        }
        for _ in 0..ROUNDS_MAX {
            let Some(mut tail) = self.tail.try_lock() else { return };
            let _poison_if_panicking = PoisonIfPanicking(self);
            match tail.write_into_current(self) {
                Ok(true) => {}
                Ok(false) => break,
                // The thread of the log meets the poison, tells of it and ends.
                Err(error) => return self.queue.poison(&error.to_string()),
            }
            drop(tail);
            if !self.queue.has_batches() {
                return;
            }
        }
        self.queue.wake_writer();
    }

    /// Runs a sync, which needs no tail: others may write meanwhile.
    pub(super) fn run(&self, due: &DueSync) -> Result<()> {
        let started = Instant::now();
        if let Some(file) = due.file.as_ref().filter(|_| !planted("no sync")) {
            let mut synced = file.sync_data();
            if planted("retry of a failed sync") && synced.is_err() {
                synced = file.sync_data();
            }
            synced.map_err(Error::io("syncing the log", &due.path))?;
        }
        let took_ns = started.elapsed().as_nanos() as u64;
        self.longest_sync_ns.fetch_max(took_ns, Ordering::Relaxed);
        self.sync_count.fetch_add(1, Ordering::Relaxed);
        self.last_sync_us.store((self.clock)(), Ordering::Relaxed);
        Ok(())
    }
}

impl Tail {
    pub(super) fn new(start: Start, on_durable: OnDurable) -> Self {
        let (chain, last) = (start.chain, start.last_lsn);
        Self {
            start,
            on_durable,
            current: None,
            chain,
            written: last,
            synced: last,
            acknowledged: last,
            compression: Compression::default(),
            frame: Vec::new(),
        }
    }

    /// Tells, once and last, why nothing will be acknowledged any more.
    pub(super) fn fail(&mut self, error: Error) {
        (self.on_durable)(Err(error));
    }

    /// Writes those of the batches that belong into the open segment, and tells that they are
    /// written; whether those were all.
    fn write_into_current(&mut self, shared: &Shared) -> Result<bool> {
        let Some(current) = &self.current else { return Ok(false) };
        let (batches, is_all) = shared.queue.take_for(current.header.number);
        for batch in &batches {
            self.write(shared, batch)?;
        }
        if !batches.is_empty() {
            self.acknowledge(shared);
        }
        Ok(is_all)
    }

    /// Writes a batch as one frame, in the segment it was planned for.
    pub(super) fn write(&mut self, shared: &Shared, batch: &Batch) -> Result<()> {
        if self.current.as_ref().is_none_or(|current| current.header.number != batch.segment) {
            self.seal(shared)?;
            self.begin_segment(shared, batch)?;
        }
        let header = FrameHeader {
            first_lsn: batch.first_lsn,
            count: batch.count,
            is_footer: false,
            durable_lsn: match planted("durable LSN ahead in frames") {
                true => batch.last_lsn(),
                false => self.synced,
            },
            clock_us: (shared.clock)(),
            chain_before: self.chain,
        };
        let bytes = self.write_frame(shared, &header, &batch.raw)?;
        self.written = batch.last_lsn();
        let last_lsn = self.written;
        shared.catalog.update_last(|info| info.last_lsn = last_lsn);
        shared.queue.written(batch, bytes);
        Ok(())
    }

    fn write_frame(&mut self, shared: &Shared, header: &FrameHeader, raw: &[u8]) -> Result<usize> {
        let Some(current) = &mut self.current else {
            return Err(Error::refused("a frame needs a segment"));
        };
        self.frame.clear();
        let place = current.header.place(current.offset);
        let packed = self.compression.pack(raw);
        self.chain = encode_packed(header, raw, packed.as_deref(), place, &mut self.frame);
        let written = current.file.write_all_at(current.offset as u64, &self.frame);
        if !planted("failed write ignored") {
            written.map_err(Error::io("writing the log", &current.path))?;
        }
        current.offset += self.frame.len();
        let end = current.offset as u64;
        shared.catalog.update_last(|info| info.bytes = end);
        Ok(self.frame.len())
    }

    /// Ends the current segment, if there is one: everything in it synced, then a footer, synced.
    pub(super) fn seal(&mut self, shared: &Shared) -> Result<()> {
        if self.current.is_none() {
            return Ok(());
        }
        if self.synced < self.written && !planted("footer before sync") {
            self.sync(shared)?;
        }
        let footer = FrameHeader {
            first_lsn: self.written.next(),
            count: 0,
            is_footer: true,
            durable_lsn: self.written,
            clock_us: (shared.clock)(),
            chain_before: self.chain,
        };
        self.write_frame(shared, &footer, &[])?;
        if let Some(current) = &self.current {
            // The space behind the footer goes back to the disk.
            let cut = current.file.set_len(current.offset as u64);
            cut.map_err(Error::io("cutting the log", &current.path))?;
        }
        if !planted("close without sync") {
            self.sync(shared)?;
        }
        shared.catalog.update_last(|info| info.sealed = true);
        self.current = None;
        Ok(())
    }

    fn begin_segment(&mut self, shared: &Shared, batch: &Batch) -> Result<()> {
        let number = batch.segment;
        let header = SegmentHeader {
            store_id: self.start.store_id,
            number,
            base_lsn: batch.first_lsn,
            salt: salt_of(self.start.seed, number),
            chain_before: self.chain,
        };
        let Some(spare) = shared.queue.take_spare(number) else {
            return Err(Error::refused(format!("segment {number} has no space allocated")));
        };
        let (path, file) = spare.name(&*shared.fs, &shared.directory, &header.encode())?;
        let offset = SEGMENT_HEADER_BYTES;
        shared.catalog.add(path.clone(), number, batch.first_lsn, offset as u64);
        self.current = Some(Current { header, file: file.into(), path, offset });
        Ok(())
    }

    /// The sync that covers all that is written.
    pub(super) fn to_sync(&self) -> DueSync {
        let (file, path) = match &self.current {
            Some(current) => (Some(Arc::clone(&current.file)), current.path.clone()),
            None => (None, PathBuf::new()),
        };
        DueSync { file, path, covers: self.written }
    }

    fn sync(&mut self, shared: &Shared) -> Result<()> {
        let due = self.to_sync();
        shared.run(&due)?;
        self.synced = due.covers;
        Ok(())
    }

    /// A sync that was due is done.
    pub(super) fn is_synced(&mut self, shared: &Shared, done: &DueSync) {
        self.synced = self.synced.max(done.covers);
        self.acknowledge(shared);
    }

    /// Tells what is durable now in the sense of the mode, and what may be acknowledged, then lets
    /// go who waits for a sync.
    pub(super) fn acknowledge(&mut self, shared: &Shared) {
        let (durable, safe) = match shared.durability {
            _ if planted("reply before sync") => (self.written, self.written),
            Durability::Always => (self.synced, self.synced),
            Durability::Interval { .. } => (self.synced, self.written),
            Durability::Never => (self.written, self.written),
        };
        let newly_synced = shared.synced.swap(self.synced.0, Ordering::Release) < self.synced.0;
        shared.durable.store(durable.0, Ordering::Release);
        if safe > self.acknowledged {
            self.acknowledged = safe;
            shared.acknowledged.store(safe.0, Ordering::Release);
            (self.on_durable)(Ok(safe));
        }
        if newly_synced {
            shared.queue.synced(self.synced);
        }
    }
}

/// The salt of a segment: no two of a process, and none of another process, are alike.
pub(super) fn salt_of(seed: u64, number: u64) -> u64 {
    let mixed = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 29)
}

/// A bug of ours must not leave anybody waiting.
pub(super) struct PoisonIfPanicking<'a>(pub(super) &'a Shared);

impl Drop for PoisonIfPanicking<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.queue.poison("the writer of the log panicked");
        }
    }
}
