//! The parts of a store, and waiting until something is durable.

use super::{
    checkpoints::Checkpoints, clock::Clock, compactions::Compactions, erasure::Erased,
    future::Future, jobs::Jobs, loading::LoadProgress, log_tail::LogTail,
    pushed_files::PushedFiles, registration::Registration, schema::Schema,
    training_sets::TrainingSets,
};
use crate::{
    disk::FileSystem,
    error::{Error, Result},
    feature::{Forgotten, Record, Run, Timestamp},
    log::{DataDirectory, Durability, LogOptions, LogStatus, Lsn, PendingLog},
    online::Table,
};
use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// One store: everything in one data directory.
pub struct Store {
    pub(super) table: Table,
    pub(super) log: PendingLog,
    pub(super) log_options: LogOptions,
    pub(super) loading: Arc<LoadProgress>,
    pub(super) root: PathBuf,
    pub(super) directory: Mutex<DataDirectory>,
    pub(super) fs: Arc<dyn FileSystem>,
    pub(super) durability: Durability,
    pub(super) schema: ArcSwap<Schema>,
    pub(super) jobs: Mutex<Jobs>,
    pub(super) clock: Arc<Clock>,
    pub(super) future: Future,
    /// Records that wait for their sync before readers see them, in the order of the log. Held
    /// while appending, so that the order is the same.
    pub(super) unpublished: Mutex<VecDeque<Unpublished>>,
    /// Up to here records may be acknowledged, and readers see them.
    pub(super) published: watch::Sender<Lsn>,
    /// One change of definitions at a time.
    pub(super) applying: Mutex<()>,
    pub(super) registration: Registration,
    /// Held while something that is about no row is appended and applied, so that a checkpoint
    /// finds both or neither.
    pub(super) noting: Mutex<()>,
    pub(super) checkpoints: Mutex<Checkpoints>,
    pub(super) pushed_files: ArcSwap<PushedFiles>,
    pub(super) log_tail: LogTail,
    pub(super) compactions: Compactions,
    pub(super) forgotten: ArcSwap<Forgotten>,
    pub(super) training_sets: TrainingSets,
    /// One erasure at a time.
    pub(super) erasing: Mutex<()>,
    /// What the checkpoints of an erasure have erased so far.
    pub(super) erased: Mutex<Erased>,
    /// The furthest that an event may lie ahead of the clock.
    pub(super) max_future_us: i64,
}

/// A record on its way to the disk.
#[derive(Clone)]
pub(super) struct Unpublished {
    pub(super) lsn: Lsn,
    pub(super) decided_at: Timestamp,
    pub(super) record: Arc<Record>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Store {
    /// Now, by the clock of the store. What was waiting for this instant is visible from here on.
    pub fn now(&self) -> Timestamp {
        self.reached(self.clock.now())
    }

    /// The same for those who know already that it is `instant`: see [`Clock::now_at`].
    pub fn now_at(&self, instant: Instant) -> Timestamp {
        self.reached(self.clock.now_at(instant))
    }

    fn reached(&self, now: Timestamp) -> Timestamp {
        if self.future.is_due(now) {
            self.admit_due(now);
        }
        now
    }

    /// The clock, which shows nothing and takes no lock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The definitions and layouts of this moment.
    pub fn schema(&self) -> Guard<Arc<Schema>> {
        self.schema.load()
    }

    /// How many shards the online table has; their numbers count from 0.
    pub fn shard_count(&self) -> usize {
        self.table.shard_count()
    }

    /// Whether a write must wait before readers see it.
    pub fn is_deferred(&self) -> bool {
        self.durability == Durability::Always
    }

    /// Which store it is: random, given when its directory was made.
    pub fn id(&self) -> u128 {
        self.directory.lock().store_id()
    }

    /// How far it is loaded.
    pub fn load_progress(&self) -> &Arc<LoadProgress> {
        &self.loading
    }

    /// The durability mode.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// How the log stands.
    pub fn log_status(&self) -> LogStatus {
        self.log.status()
    }

    /// How long the longest sync of the log took since this was last asked, in ns.
    pub fn take_longest_sync_ns(&self) -> u64 {
        self.log.take_longest_sync_ns()
    }

    /// Whether the log takes more without growing beyond its bound.
    pub fn has_room(&self) -> bool {
        self.log.has_room()
    }

    /// What must be durable before an answer drawn from `Seen::Latest` may be given.
    pub fn last_written(&self) -> Lsn {
        self.log.last()
    }

    /// Whether record `lsn` may be acknowledged: see [`Store::acknowledged`].
    pub fn is_acknowledged(&self, lsn: Lsn) -> bool {
        *self.published.borrow() >= lsn
    }

    /// Has all that was decided so far written, and synced as the mode says, without waiting.
    pub fn write_soon(&self) {
        self.log.write_soon();
    }

    /// Returns once record `lsn` may be acknowledged: durable in mode `always`, written in the
    /// others, so that no kill of the process takes back what a client was told.
    ///
    /// `IOERR`: a write or sync failed, and nobody knows whether the record survives.
    pub async fn acknowledged(&self, lsn: Lsn) -> Result<()> {
        self.write_soon();
        let mut published = self.published.subscribe();
        loop {
            let wait = published.wait_for(|published| *published >= lsn);
            if tokio::time::timeout(POISON_POLL, wait).await.is_ok() {
                return Ok(());
            }
            self.check_poison()?;
        }
    }

    /// [`Store::acknowledged`] for a thread that may block.
    pub fn acknowledged_blocking(&self, lsn: Lsn) -> Result<()> {
        self.write_soon();
        while !self.is_acknowledged(lsn) {
            self.check_poison()?;
            std::thread::sleep(BLOCKING_POLL);
        }
        Ok(())
    }

    /// Asks for a sync of all that was written so far, in every mode, and waits for it until
    /// `deadline`, if there is one; whether it is on the disk.
    pub fn sync_until(&self, deadline: Option<Instant>) -> Result<bool> {
        self.log.flush_until(deadline)
    }

    /// An error once a write or sync of the log has failed: nothing will be taken any more.
    pub fn check_poison(&self) -> Result<()> {
        match self.log.status().poisoned {
            None => Ok(()),
            Some(why) => Err(Error::refused_as("IOERR", format!("outcome unknown: {why}"))),
        }
    }

    /// The newest runs of materialization first.
    pub fn runs(&self, view: Option<&str>, count: usize) -> Vec<Run> {
        self.jobs.lock().runs(view, count)
    }

    /// The last run that brought rows to this generation of a view and is done; `None` if there was
    /// none since the last flush.
    pub fn fed_by(&self, view: &str, generation: u32) -> Option<Run> {
        self.jobs.lock().fed_by(view, generation).cloned()
    }
}

/// How often a waiting client looks whether waiting still makes sense.
const POISON_POLL: Duration = Duration::from_millis(100);
/// How often a thread that may block looks whether its record is durable: far less than a sync.
const BLOCKING_POLL: Duration = Duration::from_micros(100);
