//! What all connections share: the store, the counters, who is connected, how to stop.

use super::{
    description::Description,
    monitor_feed::Monitors,
    pause::Pause,
    session::ClientInfo,
    settings::{Settings, Shutdown},
};
use crate::{
    materialize::Materializer,
    stats::{CommandStats, ServerStats},
    store::Store,
};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Instant,
};
use tokio::sync::watch;

/// The server, as commands see it.
#[derive(Debug)]
pub struct App {
    /// The store.
    pub store: Arc<Store>,
    /// Runs of materialization.
    pub materializer: Materializer,
    /// The counters.
    pub stats: ServerStats,
    /// What the server is.
    pub identity: Identity,
    /// Its number in a cluster: 40 hexadecimal digits, the same as long as the data stays.
    pub node_id: String,
    /// The commands it has and then their subcommands, in the order that their counters have.
    pub commands: Vec<&'static Description>,
    /// The settings that may change.
    pub settings: Settings,
    /// Who is connected.
    pub clients: Mutex<BTreeMap<u64, Arc<ClientInfo>>>,
    /// Who monitors.
    pub(super) monitors: Monitors,
    /// The client that has the operator's place beside `maxclients`; 0 for none. Written under the
    /// lock of `clients`.
    pub operator: AtomicU64,
    /// `CLIENT PAUSE`
    pub pause: Pause,
    /// Whether the server is to stop.
    pub shutdown: watch::Sender<Shutdown>,
    /// Why a command may have to be refused, as bits: every command looks here.
    obstacles: AtomicU8,
    last_client: AtomicU64,
}

/// More memory was used than `maxmemory` when somebody last looked.
const MEMORY_FULL: u8 = 1;
/// The data is being loaded.
const LOADING: u8 = 2;

/// What a server is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// 40 hexadecimal digits, new with every start.
    pub run_id: String,
    /// The address it listens on.
    pub bind: IpAddr,
    /// The data directory.
    pub data: PathBuf,
    /// The port of RESP.
    pub port: u16,
    /// The port of HTTP; 0 for none.
    pub http_port: u16,
    /// When it started.
    pub started: Instant,
    /// How many threads serve connections.
    pub threads: usize,
    /// Who may say DEBUG: `no` for nobody, `local` for clients of this machine, or `yes`.
    pub debug: String,
}

impl Identity {
    /// A server within a program, which listens nowhere: requests are handed to it.
    pub fn embedded(data: &Path) -> Self {
        Self {
            run_id: "0".repeat(40),
            bind: Ipv4Addr::LOCALHOST.into(),
            data: data.into(),
            port: 0,
            http_port: 0,
            started: Instant::now(),
            threads: 1,
            debug: "no".into(),
        }
    }
}

impl App {
    /// A server around `store`, which may still be loading.
    pub fn new(
        store: Arc<Store>,
        commands: Vec<&'static Description>,
        identity: Identity,
        settings: Settings,
    ) -> Self {
        let counters = |about: &&'static Description| CommandStats::new(about.name);
        let is_loaded = store.load_progress().is_over();
        let obstacles = AtomicU8::new(if is_loaded { 0 } else { LOADING });
        Self {
            materializer: Materializer::new(Arc::clone(&store)),
            node_id: node_id(store.id()),
            store,
            stats: ServerStats::new(commands.iter().map(counters).collect()),
            commands,
            identity,
            settings,
            clients: Mutex::default(),
            monitors: Monitors::default(),
            operator: AtomicU64::new(0),
            pause: Pause::default(),
            shutdown: watch::Sender::new(Shutdown::Running),
            obstacles,
            last_client: AtomicU64::new(0),
        }
    }

    /// What is told of the command of that name, in any case.
    pub(super) fn description(&self, name: &[u8]) -> Option<&'static Description> {
        let same = |about: &&&Description| about.name.as_bytes().eq_ignore_ascii_case(name);
        self.commands.iter().find(same).copied()
    }

    /// The commands without their subcommands.
    pub(super) fn commands_alone(&self) -> impl Iterator<Item = &'static Description> {
        self.commands.iter().copied().filter(|about| !about.name.contains('|'))
    }

    /// Whether a command may have to be refused, for whatever reason: one load.
    pub(super) fn has_obstacle(&self) -> bool {
        self.obstacles.load(Ordering::Relaxed) != 0
    }

    /// Whether more memory is used than `maxmemory`, as far as known.
    pub(super) fn may_be_full(&self) -> bool {
        self.obstacles.load(Ordering::Relaxed) & MEMORY_FULL != 0
    }

    /// Whether the data is still being loaded.
    pub fn is_loading(&self) -> bool {
        self.obstacles.load(Ordering::Acquire) & LOADING != 0
    }

    /// Everything is loaded: from here on all commands are answered.
    pub fn end_loading(&self) {
        self.obstacles.fetch_and(!LOADING, Ordering::Release);
    }

    /// Whether more memory is used than `maxmemory`. Looks into every shard; to be called now and
    /// then, and before anything is refused.
    pub fn look_at_memory(&self) -> bool {
        let most = self.settings.memory_bytes_max.count();
        let is_full = most > 0 && self.store.keyspace().memory_bytes() as u64 > most;
        match is_full {
            true => self.obstacles.fetch_or(MEMORY_FULL, Ordering::Relaxed),
            false => self.obstacles.fetch_and(!MEMORY_FULL, Ordering::Relaxed),
        };
        is_full
    }

    /// Has slow log and latency monitor look for what the settings say.
    pub(super) fn set_thresholds(&self) {
        let (settings, stats) = (&self.settings, &self.stats);
        stats.slow_log.set_threshold_us(settings.slow_log_us.get());
        stats.slow_log.set_max_len(settings.slow_log_len.bytes());
        stats.latency_monitor.set_threshold_ms(settings.latency_threshold_ms.count());
    }

    /// The number of the next connection.
    pub fn next_client(&self) -> u64 {
        self.last_client.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A node of Redis has 160 bits; these are made from the 128 of the store.
fn node_id(store_id: u128) -> String {
    let hash = blake3::derive_key("nowthen 2026 node of a cluster", &store_id.to_le_bytes());
    hash.iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}
