//! The log of one machine: opened, appended to, read, trimmed, closed.
//!
//! Invariants
//! - [`LocalLog::open`] changes nothing on disk unless all of the log was judged good.
//! - Dropped without [`Log::close`], the log ends as if the process had been killed after writing
//!   what was queued.

use super::{
    catalog::Catalog,
    queue::{Ending, Ground, Queue, WallClock},
    recovery::{Recovered, judge, repair},
    segment_records::SegmentRecords,
    tail::{OnDurable, Shared, Start, Tail, salt_of},
    writer::Writer,
};
use crate::{
    disk::FileSystem,
    error::{Error, Result},
    log::{
        contract::{Log, LogIdentity, LogStatus, Lsn, Records, SegmentInfo},
        options::{Durability, LogOptions},
    },
    planted::planted,
};
use parking_lot::Mutex;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

/// What a log needs from whoever opens it.
pub struct Surroundings {
    /// Where files are.
    pub fs: Arc<dyn FileSystem>,
    /// Random, another for each process: the salts of segments come from it.
    pub seed: u64,
    /// What time it is.
    pub clock: WallClock,
    /// Who hears what may be acknowledged.
    pub on_durable: OnDurable,
}

/// A log in a folder of this machine.
pub struct LocalLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    queue_bytes_max: usize,
    first_lsn: Lsn,
}

impl LocalLog {
    /// Opens the log in `directory`, which exists and is locked, and repairs its end if the process
    /// before did not close it. What was found can be read before anything is appended.
    pub fn open(
        surroundings: Surroundings,
        directory: PathBuf,
        options: &LogOptions,
        identity: &LogIdentity,
    ) -> Result<(Self, Recovered)> {
        let Surroundings { fs, seed, clock, on_durable } = surroundings;
        let mut judged = judge(&*fs, &directory, identity)?;
        let salt = salt_of(seed, judged.next_number.wrapping_neg());
        repair(&*fs, &directory, &mut judged, salt)?;

        let recovered = judged.recovered;
        let last = recovered.last_lsn;
        let ground = Ground {
            fs: Arc::clone(&fs),
            directory: directory.clone(),
            segment_bytes: options.segment_bytes,
            clock: Arc::clone(&clock),
        };
        let start =
            Start { store_id: identity.store_id, seed, last_lsn: last, chain: judged.chain };
        let shared = Arc::new(Shared {
            fs,
            directory,
            queue: match planted("LSN given out twice") {
                true => Queue::new(ground, last.previous(), judged.next_number),
                false => Queue::new(ground, last, judged.next_number),
            },
            catalog: Catalog::new(judged.entries),
            durability: options.durability,
            clock,
            tail: Mutex::new(Tail::new(start, on_durable)),
            acknowledged: AtomicU64::new(last.0),
            durable: AtomicU64::new(last.0),
            synced: AtomicU64::new(last.0),
            sync_count: AtomicU64::new(0),
            last_sync_us: AtomicI64::new(0),
            longest_sync_ns: AtomicU64::new(0),
        });
        let writer = Writer::new(Arc::clone(&shared));
        let thread = thread::Builder::new().name("nowthen-log".into()).spawn(move || writer.run());
        let thread = thread.map_err(Error::io("starting the writer of", &shared.directory))?;
        let log = Self {
            shared,
            writer: Mutex::new(Some(thread)),
            queue_bytes_max: options.queue_bytes_max,
            first_lsn: recovered.first_lsn,
        };
        Ok((log, recovered))
    }

    fn end(&self, ending: Ending) {
        self.shared.queue.end(ending);
        // Of a store that could not be opened it may be the last that tells of what is durable,
        // and comes here itself: then it ends when it is back.
        let is_another = |thread: &JoinHandle<()>| thread.thread().id() != thread::current().id();
        if let Some(thread) = self.writer.lock().take().filter(is_another) {
            // If it panicked, it has poisoned the queue.
            let _ = thread.join();
        }
    }

    fn first(&self) -> Lsn {
        self.shared.catalog.first_lsn().unwrap_or(self.first_lsn)
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        self.end(Ending::Abandoned);
    }
}

impl Log for LocalLog {
    fn append(&self, record: &[u8]) -> Result<Lsn> {
        let lsn = self.shared.queue.append(record)?;
        self.write_soon();
        Ok(lsn)
    }

    fn roll(&self) {
        self.shared.queue.roll();
    }

    fn append_unhurried(&self, record: &[u8]) -> Result<Lsn> {
        self.shared.queue.append(record)
    }

    fn write_soon(&self) {
        match self.shared.durability {
            Durability::Always => self.shared.queue.wake_writer(),
            Durability::Interval { .. } | Durability::Never => self.shared.write_here(),
        }
    }

    fn has_room(&self) -> bool {
        self.shared.queue.has_room(self.queue_bytes_max)
    }

    fn durable(&self) -> Lsn {
        Lsn(self.shared.durable.load(Ordering::Acquire))
    }

    fn last(&self) -> Lsn {
        self.shared.queue.last_lsn()
    }

    fn read(&self, from: Lsn) -> Result<Records<'_>> {
        let first = self.first();
        if from < first {
            return Err(Error::refused(format!(
                "LSN {from} is gone: the log begins with LSN {first}"
            )));
        }
        let acknowledged = Lsn(self.shared.acknowledged.load(Ordering::Acquire));
        let segments = self.shared.catalog.from(from).into_iter();
        let opened = segments.map(move |entry| SegmentRecords::open(&*self.shared.fs, entry, from));
        let records = opened.flat_map(|opened| match opened {
            Ok(records) => Box::new(records) as Records<'_>,
            Err(error) => Box::new(std::iter::once(Err(error))),
        });
        let is_told = move |record: &Result<(Lsn, Vec<u8>)>| match record {
            Ok((lsn, _)) => *lsn <= acknowledged,
            Err(_) => true,
        };
        Ok(Box::new(records.take_while(is_told)))
    }

    fn trim(&self, to: Lsn) -> Result<()> {
        let directory = &self.shared.directory;
        // Synced one by one: a power cut between two must not leave a gap.
        while let Some(entry) = self.shared.catalog.removable(to) {
            let removed = self.shared.fs.remove(&entry.path);
            removed.map_err(Error::io("removing the segment", &entry.path))?;
            self.shared.catalog.forget(entry.info.number);
            if planted("trim without sync") {
                continue;
            }
            let synced = self.shared.fs.sync_dir(directory);
            synced.map_err(Error::io("syncing the folder", directory)).inspect_err(|error| {
                // A gap could be left if the next segment went and this one came back.
                self.poison(&error.to_string());
            })?;
        }
        Ok(())
    }

    fn poison(&self, why: &str) {
        self.shared.queue.poison(why);
    }

    fn segments(&self) -> Vec<SegmentInfo> {
        self.shared.catalog.infos()
    }

    fn status(&self) -> LogStatus {
        let queue = self.shared.queue.status();
        LogStatus {
            first: self.first(),
            durable: self.durable(),
            synced: Lsn(self.shared.synced.load(Ordering::Acquire)),
            last: queue.last_lsn,
            queued_bytes: queue.queued_bytes,
            bytes: self.shared.catalog.infos().iter().map(|info| info.bytes).sum(),
            sync_count: self.shared.sync_count.load(Ordering::Relaxed),
            last_sync_us: self.shared.last_sync_us.load(Ordering::Relaxed),
            out_of_space: queue.out_of_space,
            poisoned: queue.poisoned,
        }
    }

    fn flush_until(&self, deadline: Option<Instant>) -> Result<bool> {
        self.shared.queue.flush_until(deadline)
    }

    fn take_longest_sync_ns(&self) -> u64 {
        self.shared.longest_sync_ns.swap(0, Ordering::Relaxed)
    }

    fn close(&self) -> Result<()> {
        self.end(Ending::Clean);
        self.shared.queue.refuse_if_poisoned()
    }
}
