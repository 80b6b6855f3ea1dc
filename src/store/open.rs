//! Opening a store: the newest snapshot, then the log behind it, through the same `publish` that
//! every live write goes through.

use super::{
    checkpoints::Checkpoints, clock::Clock, compactions::Compactions, engine::Store,
    future::Future, jobs::Jobs, loading::LoadProgress, log_tail::LogTail,
    pushed_files::PushedFiles, registration::Registration, schema::Schema,
    snapshot_loading::OpenSnapshot, training_sets::TrainingSets,
};
use crate::{
    disk::FileSystem,
    error::{Error, Result},
    feature::Timestamp,
    log::{
        DataDirectory, Durability, LocalLog, LogOptions, Lsn, PendingLog, Recovered, Surroundings,
    },
    online::Table,
    planted::planted,
    registry::Catalog,
};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::{collections::VecDeque, path::Path, sync::Arc};
use tokio::sync::watch;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// When a write is acknowledged.
    pub durability: Durability,
    /// The furthest that an event may lie ahead of the clock, in µs.
    pub max_future_us: i64,
    /// The length that a segment of the log is preallocated to.
    pub segment_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Always,
            max_future_us: 5 * 60 * 1_000_000,
            segment_bytes: LogOptions::default().segment_bytes,
        }
    }
}

impl Store {
    /// Opens the store in `data`, or makes a new one there.
    pub fn open(
        fs: Arc<dyn FileSystem>,
        data: &Path,
        options: &StoreOptions,
        clock: Clock,
    ) -> Result<Arc<Self>> {
        let store = Self::begin(fs, data, options, clock)?;
        store.load_data()?;
        Ok(store)
    }

    /// The same before its data is loaded: the directory is locked, and nothing in it is looked at.
    /// It tells how it is, and takes nothing until [`Self::load_data`] has returned.
    pub fn begin(
        fs: Arc<dyn FileSystem>,
        data: &Path,
        options: &StoreOptions,
        clock: Clock,
    ) -> Result<Arc<Self>> {
        let directory = DataDirectory::open(Arc::clone(&fs), data, fresh_store_id()?)?;
        Self::begin_in(fs, directory, options, clock)
    }

    /// The same in a directory that is locked.
    pub(super) fn begin_in(
        fs: Arc<dyn FileSystem>,
        directory: DataDirectory,
        options: &StoreOptions,
        clock: Clock,
    ) -> Result<Arc<Self>> {
        let now = clock.now();
        let pushed_files = ArcSwap::from_pointee(PushedFiles::of(&directory));
        Ok(Arc::new(Self {
            table: Table::new(table_seed(directory.store_id())),
            log: PendingLog::default(),
            log_options: LogOptions {
                durability: options.durability,
                segment_bytes: options.segment_bytes,
                ..LogOptions::default()
            },
            loading: Arc::new(LoadProgress::from_start(now)),
            root: directory.root().to_owned(),
            directory: Mutex::new(directory),
            fs,
            durability: options.durability,
            schema: ArcSwap::from_pointee(Schema::new(Catalog::empty())),
            jobs: Mutex::new(Jobs::default()),
            clock: Arc::new(clock),
            future: Future::default(),
            unpublished: Mutex::new(VecDeque::new()),
            published: watch::Sender::new(Lsn(0)),
            applying: Mutex::new(()),
            registration: Registration::default(),
            noting: Mutex::new(()),
            checkpoints: Mutex::new(Checkpoints::none_before(now)),
            pushed_files,
            log_tail: LogTail::default(),
            compactions: Compactions::default(),
            forgotten: ArcSwap::default(),
            training_sets: TrainingSets::default(),
            erasing: Mutex::new(()),
            erased: Mutex::default(),
            max_future_us: options.max_future_us,
        }))
    }

    /// Loads what the directory holds, and opens it for writing. To be called once, before anybody
    /// reads or writes.
    pub fn load_data(self: &Arc<Self>) -> Result<()> {
        let directory = self.directory.lock();
        // All of it is looked at before anything is changed.
        let snapshot = OpenSnapshot::newest(&directory, &self.loading.snapshot)?;
        let (log, recovered) = LocalLog::open(
            self.surroundings()?,
            directory.log_directory(),
            &self.log_options,
            &directory.log_identity(),
        )?;
        drop(directory);
        tell_of_recovery(&recovered);
        if !planted("clock not recovered") {
            self.clock.advance_to(Timestamp(recovered.last_clock_us));
        }
        *self.checkpoints.lock() = Checkpoints::none_before(self.clock.now());
        self.published.send_replace(recovered.last_lsn);
        self.log.open(Box::new(log));

        let skipped = u64::from(planted("replay begins too late"));
        let from = snapshot.lsn().next().max(recovered.first_lsn).after(skipped);
        self.expect_replay(from, &self.loading.log);
        self.load_snapshot(&snapshot, &self.loading.snapshot)?;
        self.replay(from, &self.loading.log)?;
        for path in self.directory.lock().tidy()? {
            tracing::warn!(path = %path.display(), "set aside: no manifest lists it");
        }
        self.loading.end();
        Ok(())
    }

    fn surroundings(self: &Arc<Self>) -> Result<Surroundings> {
        let (clock, owner) = (Arc::clone(&self.clock), Arc::downgrade(self));
        Ok(Surroundings {
            fs: Arc::clone(&self.fs),
            seed: random()?,
            clock: Arc::new(move || clock.now().us()),
            on_durable: Box::new(move |durable| {
                // That nothing will be durable any more, waiting clients see in the log's status.
                if let (Ok(lsn), Some(store)) = (durable, owner.upgrade()) {
                    store.publish_durable(lsn);
                }
            }),
        })
    }
}

/// The seed of the table, which no client can know, and the same at each start: a snapshot has the
/// rows in the order of their places, and is loaded fastest into the same ones.
fn table_seed(store_id: u128) -> [u64; 4] {
    let key = blake3::derive_key("nowthen 2026 seed of the table", &store_id.to_le_bytes());
    let (words, _) = key.as_chunks::<8>();
    std::array::from_fn(|index| words.get(index).map_or(0, |word| u64::from_le_bytes(*word)))
}

fn tell_of_recovery(recovered: &Recovered) {
    if recovered.torn_bytes > 0 {
        tracing::warn!(
            bytes = recovered.torn_bytes,
            last_lsn = recovered.last_lsn.0,
            "dropped the torn end of the log; it was never acknowledged as durable"
        );
    }
    for path in &recovered.set_aside {
        tracing::info!(path = %path.display(), "a log segment of an earlier process is set aside");
    }
}

/// What no other store is called.
pub(super) fn fresh_store_id() -> Result<u128> {
    Ok(u128::from(random()?) << 64 | u128::from(random()?))
}

/// A random number.
pub(super) fn random() -> Result<u64> {
    getrandom::u64().map_err(|error| Error::refused(format!("no random numbers: {error}")))
}
