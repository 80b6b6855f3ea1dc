//! Opening a store: the newest snapshot, then the log behind it, through the same `publish` that
//! every live write goes through.

use super::{
    checkpoint::OpenSnapshot, checkpoints::Checkpoints, clock::Clock, engine::Store,
    future::Future, jobs::Jobs, loading::LoadProgress, pushed_files::PushedFiles,
    registration::Registration, schema::Schema,
};
use crate::{
    disk::FileSystem,
    error::{Error, Result},
    feature::Timestamp,
    log::{DataDirectory, Durability, LocalLog, LogOptions, Recovered, Surroundings},
    online::Table,
    planted::planted,
    registry::Catalog,
};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, OnceLock, Weak},
};
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
        Self::open_watched(fs, data, options, clock, &LoadProgress::default())
    }

    /// The same, telling `progress` how far it is.
    pub fn open_watched(
        fs: Arc<dyn FileSystem>,
        data: &Path,
        options: &StoreOptions,
        clock: Clock,
        progress: &LoadProgress,
    ) -> Result<Arc<Self>> {
        let directory = DataDirectory::open(Arc::clone(&fs), data, fresh_store_id()?)?;
        Self::open_in(fs, directory, options, clock, progress)
    }

    /// Opens the store in a directory that is locked.
    pub(super) fn open_in(
        fs: Arc<dyn FileSystem>,
        directory: DataDirectory,
        options: &StoreOptions,
        clock: Clock,
        progress: &LoadProgress,
    ) -> Result<Arc<Self>> {
        let owner: Arc<OnceLock<Weak<Self>>> = Arc::default();
        let clock = Arc::new(clock);
        let surroundings = surroundings(&fs, &clock, &owner)?;
        let log_options = LogOptions {
            durability: options.durability,
            segment_bytes: options.segment_bytes,
            ..LogOptions::default()
        };
        // All of it is looked at before anything is changed.
        let snapshot = OpenSnapshot::newest(&directory)?;
        let identity = directory.log_identity();
        let log_directory = directory.log_directory();
        let (log, recovered) =
            LocalLog::open(surroundings, log_directory, &log_options, &identity)?;
        tell_of_recovery(&recovered);
        if !planted("clock not recovered") {
            clock.advance_to(Timestamp(recovered.last_clock_us));
        }
        let pushed_files = ArcSwap::from_pointee(PushedFiles::of(&directory));
        let seed = [random()?, random()?, random()?, random()?];
        let store = Arc::new(Self {
            table: Table::new(seed),
            log: Box::new(log),
            root: directory.root().to_owned(),
            directory: Mutex::new(directory),
            fs,
            durability: options.durability,
            schema: ArcSwap::from_pointee(Schema::new(Catalog::empty())),
            jobs: Mutex::new(Jobs::default()),
            clock: Arc::clone(&clock),
            future: Future::default(),
            unpublished: Mutex::new(VecDeque::new()),
            published: watch::Sender::new(recovered.last_lsn),
            applying: Mutex::new(()),
            registration: Registration::default(),
            noting: Mutex::new(()),
            checkpoints: Mutex::new(Checkpoints::none_before(clock.now())),
            pushed_files,
            forgotten: ArcSwap::default(),
            erasing: Mutex::new(()),
            erased: Mutex::default(),
            max_future_us: options.max_future_us,
        });
        let loaded = store.load_snapshot(&snapshot, &progress.snapshot)?;
        let skipped = u64::from(planted("replay begins too late"));
        let from = loaded.next().max(recovered.first_lsn).after(skipped);
        store.replay(from, &progress.log)?;
        for path in store.directory.lock().tidy()? {
            tracing::warn!(path = %path.display(), "set aside: no manifest lists it");
        }
        // From here on the log may tell what became durable; nothing was appended before.
        let _ = owner.set(Arc::downgrade(&store));
        Ok(store)
    }
}

/// What the log of a store is told: `owner` hears of it once it is there.
fn surroundings(
    fs: &Arc<dyn FileSystem>,
    clock: &Arc<Clock>,
    owner: &Arc<OnceLock<Weak<Store>>>,
) -> Result<Surroundings> {
    let (clock, owner) = (Arc::clone(clock), Arc::clone(owner));
    Ok(Surroundings {
        fs: Arc::clone(fs),
        seed: random()?,
        clock: Arc::new(move || clock.now().us()),
        on_durable: Box::new(move |durable| {
            // That nothing will be durable any more, waiting clients see in the log's status.
            let store = owner.get().and_then(Weak::upgrade);
            if let (Ok(lsn), Some(store)) = (durable, store) {
                store.publish_durable(lsn);
            }
        }),
    })
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
