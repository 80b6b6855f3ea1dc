//! The one thread that writes: one order, and one sync for all who wait.
//!
//! ```text
//! take everything queued ─> a frame per batch ─> sync, as the mode says ─> on_durable ─> again
//!                           segment full? footer, sync, next segment
//! ```
//! Invariants
//! - `durable` moves only after the sync that covers it has returned (in mode `never`: the write).
//! - In every mode nothing may be acknowledged before the kernel has it: a kill takes nothing back.
//! - A failed write or sync is never repeated: the queue is poisoned, `on_durable` hears it once
//!   and last, and the thread ends.
//! - A frame claims as durable only what was synced before it was written.

use super::{
    catalog::Catalog,
    log_frame::{FrameHeader, encode_frame},
    packing::Batch,
    queue::{Ending, Queue, WallClock, Work},
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader},
};
use crate::{
    disk::{File, FileSystem},
    error::{Error, Result},
    log::{contract::Lsn, options::Durability},
    planted::planted,
};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Hears from the writer thread that all up to an LSN may be acknowledged, which is synced in mode
/// `always` and written in the others, or, once and last, why nothing will be any more.
pub type OnDurable = Box<dyn FnMut(Result<Lsn>) + Send>;

/// What the writer shares with those who append and read.
pub(super) struct Shared {
    pub(super) fs: Arc<dyn FileSystem>,
    pub(super) directory: PathBuf,
    pub(super) queue: Queue,
    pub(super) catalog: Catalog,
    pub(super) durable: AtomicU64,
    pub(super) synced: AtomicU64,
    pub(super) sync_count: AtomicU64,
    pub(super) last_sync_us: AtomicI64,
    /// The longest since somebody asked.
    pub(super) longest_sync_ns: AtomicU64,
}

/// What the writer knows at its start.
pub(super) struct Start {
    pub(super) store_id: u128,
    pub(super) seed: u64,
    pub(super) durability: Durability,
    pub(super) clock: WallClock,
    pub(super) last_lsn: Lsn,
    pub(super) chain: u64,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    start: Start,
    on_durable: OnDurable,
    current: Option<Current>,
    chain: u64,
    written: Lsn,
    synced: Lsn,
    acknowledged: Lsn,
    frame: Vec<u8>,
}

/// The segment that is written to.
struct Current {
    header: SegmentHeader,
    file: Box<dyn File>,
    path: PathBuf,
    offset: usize,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, start: Start, on_durable: OnDurable) -> Self {
        let (chain, last) = (start.chain, start.last_lsn);
        Self {
            shared,
            start,
            on_durable,
            current: None,
            chain,
            written: last,
            synced: last,
            acknowledged: last,
            frame: Vec::new(),
        }
    }

    /// Works until the log is closed or poisoned.
    pub(super) fn run(mut self) {
        let _poison_if_panicking = PoisonIfPanicking(Arc::clone(&self.shared));
        if let Err(error) = self.work() {
            self.shared.queue.poison(&error.to_string());
            (self.on_durable)(Err(error));
        }
    }

    fn work(&mut self) -> Result<()> {
        loop {
            self.shared.queue.prepare_spare();
            let work = self.shared.queue.take(self.patience());
            self.shared.queue.refuse_if_poisoned()?;
            for batch in &work.batches {
                self.write(batch)?;
            }
            if work.ending == Some(Ending::Clean) {
                self.seal()?;
                self.acknowledge();
                return Ok(());
            }
            if planted("reply before sync") {
                self.acknowledge();
            }
            if self.sync_is_due(&work) {
                self.sync()?;
            }
            self.acknowledge();
            if work.ending.is_some() {
                return Ok(());
            }
        }
    }

    /// How long to wait for work before a sync is due; `None` for ever.
    fn patience(&self) -> Option<Duration> {
        match self.start.durability {
            Durability::Interval { ms } if self.synced < self.written => {
                let elapsed_ms = self.since_sync_us().unwrap_or(0) / 1000;
                Some(Duration::from_millis(ms.saturating_sub(elapsed_ms).max(1)))
            }
            _ => None,
        }
    }

    /// The time since the last sync in µs; `None` if the clock went back.
    fn since_sync_us(&self) -> Option<u64> {
        let last_us = self.shared.last_sync_us.load(Ordering::Relaxed);
        u64::try_from((self.start.clock)().saturating_sub(last_us)).ok()
    }

    fn sync_is_due(&self, work: &Work) -> bool {
        let unsynced = self.synced < self.written;
        unsynced
            && match self.start.durability {
                Durability::Always => true,
                Durability::Interval { ms } => {
                    let due = self.since_sync_us().is_none_or(|us| us / 1000 >= ms);
                    due || work.timed_out || work.flush
                }
                Durability::Never => work.flush,
            }
    }

    /// Writes a batch as one frame, in the segment it was planned for.
    fn write(&mut self, batch: &Batch) -> Result<()> {
        if self.current.as_ref().is_none_or(|current| current.header.number != batch.segment) {
            self.seal()?;
            self.begin_segment(batch)?;
        }
        let header = FrameHeader {
            first_lsn: batch.first_lsn,
            count: batch.count,
            is_footer: false,
            durable_lsn: match planted("durable LSN ahead in frames") {
                true => batch.first_lsn.after(u64::from(batch.count)).previous(),
                false => self.synced,
            },
            clock_us: (self.start.clock)(),
            chain_before: self.chain,
        };
        let bytes = self.write_frame(&header, &batch.raw)?;
        self.written = batch.first_lsn.after(u64::from(batch.count)).previous();
        let last_lsn = self.written;
        self.shared.catalog.update_last(|info| {
            info.last_lsn = last_lsn;
        });
        self.shared.queue.written(batch, bytes);
        Ok(())
    }

    fn write_frame(&mut self, header: &FrameHeader, raw: &[u8]) -> Result<usize> {
        let Some(current) = &mut self.current else {
            return Err(Error::refused("a frame needs a segment"));
        };
        self.frame.clear();
        let place = current.header.place(current.offset);
        self.chain = encode_frame(header, raw, place, &mut self.frame);
        let written = current.file.write_all_at(current.offset as u64, &self.frame);
        if !planted("failed write ignored") {
            written.map_err(Error::io("writing the log", &current.path))?;
        }
        current.offset += self.frame.len();
        let end = current.offset as u64;
        self.shared.catalog.update_last(|info| info.bytes = end);
        Ok(self.frame.len())
    }

    /// Ends the current segment, if there is one: everything in it synced, then a footer, synced.
    fn seal(&mut self) -> Result<()> {
        if self.current.is_none() {
            return Ok(());
        }
        if self.synced < self.written && !planted("footer before sync") {
            self.sync()?;
        }
        let footer = FrameHeader {
            first_lsn: self.written.next(),
            count: 0,
            is_footer: true,
            durable_lsn: self.written,
            clock_us: (self.start.clock)(),
            chain_before: self.chain,
        };
        self.write_frame(&footer, &[])?;
        if let Some(current) = &self.current {
            // The space behind the footer goes back to the disk.
            let cut = current.file.set_len(current.offset as u64);
            cut.map_err(Error::io("cutting the log", &current.path))?;
        }
        if !planted("close without sync") {
            self.sync()?;
        }
        self.shared.catalog.update_last(|info| info.sealed = true);
        self.current = None;
        Ok(())
    }

    fn begin_segment(&mut self, batch: &Batch) -> Result<()> {
        let number = batch.segment;
        let header = SegmentHeader {
            store_id: self.start.store_id,
            number,
            base_lsn: batch.first_lsn,
            salt: salt_of(self.start.seed, number),
            chain_before: self.chain,
        };
        let Some(spare) = self.shared.queue.take_spare(number) else {
            return Err(Error::refused(format!("segment {number} has no space allocated")));
        };
        let (path, file) =
            spare.name(&*self.shared.fs, &self.shared.directory, &header.encode())?;
        let offset = SEGMENT_HEADER_BYTES;
        self.shared.catalog.add(path.clone(), number, batch.first_lsn, offset as u64);
        self.current = Some(Current { header, file, path, offset });
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let started = Instant::now();
        if let Some(current) = self.current.as_ref().filter(|_| !planted("no sync")) {
            let mut synced = current.file.sync_data();
            if planted("retry of a failed sync") && synced.is_err() {
                synced = current.file.sync_data();
            }
            synced.map_err(Error::io("syncing the log", &current.path))?;
        }
        let took_ns = started.elapsed().as_nanos() as u64;
        self.shared.longest_sync_ns.fetch_max(took_ns, Ordering::Relaxed);
        self.synced = self.written;
        self.shared.sync_count.fetch_add(1, Ordering::Relaxed);
        self.shared.last_sync_us.store((self.start.clock)(), Ordering::Relaxed);
        Ok(())
    }

    /// Tells what is durable now in the sense of the mode, and what may be acknowledged, then lets
    /// go who waits for a sync.
    fn acknowledge(&mut self) {
        let (durable, safe) = match self.start.durability {
            _ if planted("reply before sync") => (self.written, self.written),
            Durability::Always => (self.synced, self.synced),
            Durability::Interval { .. } => (self.synced, self.written),
            Durability::Never => (self.written, self.written),
        };
        let newly_synced =
            self.shared.synced.swap(self.synced.0, Ordering::Release) < self.synced.0;
        self.shared.durable.store(durable.0, Ordering::Release);
        if safe > self.acknowledged {
            self.acknowledged = safe;
            (self.on_durable)(Ok(safe));
        }
        if newly_synced {
            self.shared.queue.synced(self.synced);
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
struct PoisonIfPanicking(Arc<Shared>);

impl Drop for PoisonIfPanicking {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.queue.poison("the writer of the log panicked");
        }
    }
}
