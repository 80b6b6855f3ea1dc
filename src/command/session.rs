//! What a connection is: who, which protocol, what its replies must wait for.

use super::monitor_feed::MonitorFeed;
use crate::{
    error::{Error, Result},
    log::Lsn,
    online::Seen,
    stats::ServerStats,
};
use nowthen_protocol::{OwnedArguments, ProtocolVersion};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::Notify;

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    /// What others may see of it.
    pub info: Arc<ClientInfo>,
    /// The protocol it speaks.
    pub version: ProtocolVersion,
    /// The record that must be durable before the replies so far may leave.
    pub wait_for: Option<Lsn>,
    /// It is closed once its replies have left.
    pub is_closing: bool,
    /// It said the password, or need not.
    pub is_authenticated: bool,
    /// Which replies it wants.
    pub replies: Replies,
    /// Replies drew on what may not be durable yet.
    pub(super) has_read_latest: bool,
    /// The commands since MULTI.
    pub(super) queue: Option<Box<Queue>>,
    /// The commands that EXEC found in order: they run next.
    pub(super) due: Option<Box<Queue>>,
    /// The keys that must be as they are for EXEC to run.
    pub(super) watched: Watched,
    /// The lines for it, if it monitors.
    pub(super) monitor: Option<Arc<MonitorFeed>>,
    /// What it did since it last told the server.
    pub(super) tally: Tally,
    /// Where a value is formatted before its length is known.
    pub(super) scratch: Vec<u8>,
    /// Where the key of an entity is made of its parts.
    pub(super) key: Vec<u8>,
}

/// What a connection did since it last told the server: counters that all connections share are
/// added to once a pipeline, not once a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Commands that were called.
    pub(super) commands: u64,
    /// Reads of a key that was there.
    pub(super) hits: u64,
    /// Reads of a key that was not.
    pub(super) misses: u64,
}

/// Commands between MULTI and EXEC.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) requests: Vec<OwnedArguments>,
    /// One of them was refused: EXEC will run none.
    pub(super) is_refused: bool,
    /// One of them may take long.
    pub(super) is_slow: bool,
    bytes: usize,
}

impl Queue {
    /// Queues a request. All of them may take as much memory as one request may.
    pub(super) fn push(
        &mut self,
        request: OwnedArguments,
        bytes_max: usize,
        info: &ClientInfo,
    ) -> Result<()> {
        self.bytes += request.memory_bytes() + size_of::<OwnedArguments>();
        if self.bytes > bytes_max {
            let most = bytes_max >> 20;
            return Err(Error::refused(format!("a transaction may have at most {most} MiB")));
        }
        self.requests.push(request);
        info.queued_commands.store(self.requests.len() as i64, Ordering::Relaxed);
        info.queued_bytes.store(self.bytes, Ordering::Relaxed);
        Ok(())
    }
}

/// The keys that WATCH named.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// Each with the record that wrote what stood there; `None` if nothing did.
    pub(super) versions: BTreeMap<Vec<u8>, Option<u64>>,
    bytes: usize,
}

impl Watched {
    /// One more, which must not be there yet. All of them may take as much memory as one request
    /// may.
    pub(super) fn add(
        &mut self,
        key: Vec<u8>,
        version: Option<u64>,
        bytes_max: usize,
    ) -> Result<()> {
        let bytes = self.bytes + key.len() + size_of::<(Vec<u8>, Option<u64>)>();
        if bytes > bytes_max {
            let most = bytes_max >> 20;
            return Err(Error::refused(format!("a client may watch at most {most} MiB of keys")));
        }
        self.bytes = bytes;
        self.versions.insert(key, version);
        Ok(())
    }
}

/// Which replies a client wants: `CLIENT REPLY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// All.
    On,
    /// None.
    Off,
    /// Not the one to the command after `CLIENT REPLY SKIP`.
    SkipNext,
    /// Not this one.
    SkipThis,
}

/// What `CLIENT LIST` tells of a connection.
#[derive(Debug)]
pub struct ClientInfo {
    /// Counts up over all connections.
    pub id: u64,
    /// The other end.
    pub peer: SocketAddr,
    /// This end.
    pub local: SocketAddr,
    /// When it came, µs since 1970 by the machine's clock.
    pub connected_us: i64,
    /// When it last sent something, in ms since the server started.
    pub active_ms: AtomicU64,
    /// The descriptor of its socket.
    pub fd: i32,
    /// Its name, and the name and version of its library.
    pub names: Mutex<Names>,
    /// The last command, by its place in the table.
    pub last_command: AtomicU64,
    /// Wakes it up to end, when somebody says `CLIENT KILL`.
    pub killed: Notify,
    /// `CLIENT NO-EVICT on`
    pub is_never_evicted: AtomicBool,
    /// `CLIENT NO-TOUCH on`
    pub is_never_touching: AtomicBool,
    /// What it sent and was not answered yet, and the space of the buffer for it.
    pub input_bytes: AtomicUsize,
    /// See [`Self::input_bytes`].
    pub input_capacity: AtomicUsize,
    /// What it was answered and did not take yet, and the space of the buffer for it.
    pub output_bytes: AtomicUsize,
    /// See [`Self::output_bytes`].
    pub output_capacity: AtomicUsize,
    /// RESP2 or RESP3.
    pub protocol: AtomicU64,
    /// It monitors.
    pub is_monitor: AtomicBool,
    /// It said the password, or need not.
    pub is_authenticated: AtomicBool,
    /// The commands since MULTI; -1 if there was none.
    pub queued_commands: AtomicI64,
    /// The memory of them.
    pub queued_bytes: AtomicUsize,
}

/// What a client says of itself.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// `CLIENT SETNAME`
    pub name: Vec<u8>,
    /// `CLIENT SETINFO lib-name`
    pub library: Vec<u8>,
    /// `CLIENT SETINFO lib-ver`
    pub library_version: Vec<u8>,
}

impl ClientInfo {
    /// A connection from `peer` to `local` that comes now.
    pub fn new(id: u64, [peer, local]: [SocketAddr; 2], connected_us: i64) -> Self {
        Self {
            id,
            peer,
            local,
            connected_us,
            active_ms: AtomicU64::new(0),
            fd: -1,
            names: Mutex::default(),
            last_command: AtomicU64::new(u64::MAX),
            killed: Notify::new(),
            is_never_evicted: AtomicBool::new(false),
            is_never_touching: AtomicBool::new(false),
            input_bytes: AtomicUsize::new(0),
            input_capacity: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            output_capacity: AtomicUsize::new(0),
            protocol: AtomicU64::new(2),
            is_monitor: AtomicBool::new(false),
            is_authenticated: AtomicBool::new(true),
            queued_commands: AtomicI64::new(-1),
            queued_bytes: AtomicUsize::new(0),
        }
    }
}

impl Session {
    /// A new connection.
    pub fn new(info: Arc<ClientInfo>) -> Self {
        Self {
            info,
            version: ProtocolVersion::default(),
            wait_for: None,
            is_closing: false,
            is_authenticated: true,
            replies: Replies::On,
            has_read_latest: false,
            queue: None,
            due: None,
            watched: Watched::default(),
            monitor: None,
            tally: Tally::default(),
            scratch: Vec::new(),
            key: Vec::new(),
        }
    }

    /// The same, which must say a password before anything else.
    pub fn unauthenticated(mut self) -> Self {
        self.forget_login();
        self
    }

    /// It must say the password again.
    pub(super) fn forget_login(&mut self) {
        self.is_authenticated = false;
        self.info.is_authenticated.store(false, Ordering::Relaxed);
    }

    /// It may do whatever it likes from here on.
    pub(super) fn authenticate(&mut self) {
        self.is_authenticated = true;
        self.info.is_authenticated.store(true, Ordering::Relaxed);
    }

    /// The replies so far must wait for record `lsn` too.
    pub(super) fn must_wait_for(&mut self, lsn: Option<Lsn>) {
        self.wait_for = self.wait_for.max(lsn);
    }

    /// Which state a read of this connection means: its own writes it always sees, and then its
    /// replies wait for them anyway.
    pub(super) fn seen(&self) -> Seen {
        if self.wait_for.is_some() { Seen::Latest } else { Seen::Published }
    }

    /// Whether what is said now is not to be sent.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.replies, Replies::Off | Replies::SkipThis)
    }

    /// What is to be sent besides replies, if it monitors.
    pub fn monitor_feed(&self) -> Option<Arc<MonitorFeed>> {
        self.monitor.clone()
    }

    /// Tells the server what this connection did since it last told.
    pub fn tell(&mut self, stats: &ServerStats) {
        let Tally { commands, hits, misses } = std::mem::take(&mut self.tally);
        stats.commands_total.add(commands);
        if hits + misses > 0 {
            stats.keyspace_hits.add(hits);
            stats.keyspace_misses.add(misses);
        }
    }

    /// Notes that a key was read.
    pub(super) fn looked_up(&mut self, is_there: bool) {
        self.tally.hits += u64::from(is_there);
        self.tally.misses += u64::from(!is_there);
    }

    /// Notes that so many keys were read, and how many of them were there.
    pub(super) fn looked_up_all(&mut self, count: usize, there: usize) {
        self.tally.hits += there as u64;
        self.tally.misses += count.saturating_sub(there) as u64;
    }

    /// Forgets the commands since MULTI, and the keys that were watched.
    pub(super) fn end_transaction(&mut self) {
        (self.queue, self.watched) = (None, Watched::default());
        self.info.queued_commands.store(-1, Ordering::Relaxed);
        self.info.queued_bytes.store(0, Ordering::Relaxed);
    }

    /// Changes the protocol.
    pub(super) fn speak(&mut self, version: ProtocolVersion) {
        self.version = version;
        self.info.protocol.store(version.number() as u64, Ordering::Relaxed);
    }
}
