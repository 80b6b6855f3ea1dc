//! The settings that may change while the server runs: the numbers, and who has to look again.
//!
//! Invariants
//! - Reading one is one load; only those that every request would have to look at are copied by
//!   connections, which compare [`Settings::version`] instead.
//! - Every number is within the bounds that the table of settings gives it.
//!
//! Not here: names, bounds, how they are written as text (`setting_table.rs`).

use nowthen_protocol::RequestLimits;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// A number that few change and many read. Nothing else is ordered by it.
#[derive(Debug, Default)]
pub struct Number(AtomicI64);

impl Number {
    fn new(value: i64) -> Self {
        Self(AtomicI64::new(value))
    }

    /// The number now.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The number now, as a count of things, bytes or seconds.
    pub fn count(&self) -> u64 {
        u64::try_from(self.get()).unwrap_or(0)
    }

    /// As [`Number::count`], for lengths in memory.
    pub fn bytes(&self) -> usize {
        usize::try_from(self.get()).unwrap_or(0)
    }

    pub(super) fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// A snapshot is due after more than so many seconds if at least so many records came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    /// Since the last one.
    pub seconds: u64,
    /// Since the last one.
    pub records: u64,
}

/// How a server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Not at all.
    Running,
    /// At once; the log holds everything.
    Plain,
    /// After a snapshot, or without one if that fails.
    TrySnapshot,
    /// After a snapshot.
    WithSnapshot,
}

/// What a signal to end means, as bits: the words of Redis' settings.
pub(super) const SHUTDOWN_WORDS: [(&str, i64); 5] =
    [("default", 0), ("save", SIGNAL_SAVE), ("nosave", SIGNAL_NOSAVE), ("now", 4), ("force", 8)];
pub(super) const SIGNAL_SAVE: i64 = 1;
pub(super) const SIGNAL_NOSAVE: i64 = 2;

/// What no log line may tell.
#[derive(Default)]
struct Password(Vec<u8>);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(redacted)")
    }
}

/// The settings that may change while the server runs.
#[derive(Debug)]
pub struct Settings {
    /// The most connections at a time; the operator has a place beside them.
    pub clients_max: Number,
    /// A training set is made in about so much memory, its spine and an answer in one piece aside;
    /// 0: no limit.
    pub asof_memory_bytes: Number,
    /// After how many seconds of silence the kernel asks whether a client is still there; 0: never.
    pub tcp_keepalive_s: Number,
    /// With more than this in memory, commands that may need more are refused; 0: no limit.
    pub memory_bytes_max: Number,
    /// After how many seconds without a request a client is closed; 0: never.
    pub idle_timeout_s: Number,
    /// After how many seconds a request must be whole, and again for each MiB of it; 0: never.
    pub partial_timeout_s: Number,
    /// After how many seconds a client must have taken some of its replies; 0: never.
    pub write_timeout_s: Number,
    /// With more than this unsent, a client must take some every second; 0: no limit.
    pub output_hard_bytes: Number,
    /// With more than this unsent, a client must take as much every `output_soft_s`; 0: no limit.
    pub output_soft_bytes: Number,
    /// See [`Self::output_soft_bytes`].
    pub output_soft_s: Number,
    /// The longest reply; who asks for more is closed.
    pub reply_bytes_max: Number,
    /// The longest argument.
    pub bulk_bytes_max: Number,
    /// The longest request.
    pub request_bytes_max: Number,
    /// The most arguments of a request.
    pub arguments_max: Number,
    /// The longest inline command.
    pub inline_bytes_max: Number,
    /// What clients must say with AUTH before anything else; empty: nothing.
    password: Mutex<Password>,
    has_password: AtomicBool,
    /// After how many seconds a client must have said it; 0: never.
    pub login_timeout_s: Number,
    /// The most arguments of a request until then.
    pub login_arguments_max: Number,
    /// The longest argument until then.
    pub login_bulk_bytes_max: Number,
    /// The most bytes it may send until then.
    pub login_bytes_max: Number,
    /// Requests that take at least so many µs come into the slow log; -1: none.
    pub slow_log_us: Number,
    /// So many of them are kept.
    pub slow_log_len: Number,
    /// What takes at least so many ms is noted by the latency monitor; 0: nothing.
    pub latency_threshold_ms: Number,
    /// Whether durations are counted by command; 0: no.
    pub latency_tracking: Number,
    /// Which percentiles of them INFO tells, each from 0 to 100.
    pub percentiles: Mutex<Vec<f64>>,
    /// When snapshots are written, by time.
    pub save_points: Mutex<Vec<SavePoint>>,
    /// A snapshot is written when the log has grown by more bytes; 0: not for that reason.
    pub snapshot_log_bytes: Number,
    /// What SIGTERM means, as bits: see `SHUTDOWN_WORDS`.
    pub sigterm: Number,
    /// What SIGINT means.
    pub sigint: Number,
    version: AtomicU64,
}

impl Default for Settings {
    fn default() -> Self {
        let limits = RequestLimits::DEFAULT;
        let before = RequestLimits::BEFORE_AUTHENTICATION;
        let bytes = |bytes: usize| Number::new(i64::try_from(bytes).unwrap_or(i64::MAX));
        Self {
            clients_max: Number::new(10_000),
            asof_memory_bytes: Number::new(0),
            tcp_keepalive_s: Number::new(300),
            memory_bytes_max: Number::new(0),
            idle_timeout_s: Number::new(0),
            partial_timeout_s: Number::new(30),
            write_timeout_s: Number::new(60),
            output_hard_bytes: Number::new(64 << 20),
            output_soft_bytes: Number::new(16 << 20),
            output_soft_s: Number::new(30),
            reply_bytes_max: Number::new(512 << 20),
            bulk_bytes_max: bytes(limits.bulk_bytes_max),
            request_bytes_max: bytes(limits.request_bytes_max),
            arguments_max: bytes(limits.arguments_max),
            inline_bytes_max: bytes(limits.inline_bytes_max),
            password: Mutex::default(),
            has_password: AtomicBool::new(false),
            login_timeout_s: Number::new(5),
            login_arguments_max: bytes(before.arguments_max),
            login_bulk_bytes_max: bytes(before.bulk_bytes_max),
            login_bytes_max: bytes(before.request_bytes_max),
            slow_log_us: Number::new(10_000),
            slow_log_len: Number::new(128),
            latency_threshold_ms: Number::new(0),
            latency_tracking: Number::new(1),
            percentiles: Mutex::new(vec![50.0, 99.0, 99.9]),
            save_points: Mutex::new(vec![SavePoint { seconds: 3600, records: 1 }]),
            snapshot_log_bytes: Number::new(1 << 30),
            sigterm: Number::new(0),
            sigint: Number::new(0),
            version: AtomicU64::new(0),
        }
    }
}

impl Settings {
    /// Changes with every change of a setting.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Something was set: who holds a copy shall look again.
    pub(super) fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// How SHUTDOWN stops the server if it says no more: as in Redis, with a snapshot if they are
    /// scheduled.
    pub(super) fn ordinary_shutdown(&self) -> Shutdown {
        match self.save_points.lock().is_empty() {
            true => Shutdown::Plain,
            false => Shutdown::TrySnapshot,
        }
    }

    /// How a signal stops the server, of which this is the setting.
    pub fn shutdown_by(&self, signal: &Number) -> Shutdown {
        match signal.get() {
            bits if bits & SIGNAL_SAVE != 0 => Shutdown::WithSnapshot,
            bits if bits & SIGNAL_NOSAVE != 0 => Shutdown::Plain,
            _ => self.ordinary_shutdown(),
        }
    }

    /// Whether clients must say a password.
    pub fn has_password(&self) -> bool {
        self.has_password.load(Ordering::Relaxed)
    }

    /// `requirepass`
    pub(super) fn password(&self) -> Vec<u8> {
        self.password.lock().0.clone()
    }

    pub(super) fn set_password(&self, password: Vec<u8>) {
        self.has_password.store(!password.is_empty(), Ordering::Relaxed);
        self.password.lock().0 = password;
    }

    /// Whether this is the password. Takes the same time for every wrong one: what is compared are
    /// digests.
    pub(super) fn is_password(&self, said: &[u8]) -> bool {
        blake3::hash(said) == blake3::hash(&self.password.lock().0)
    }

    /// What a client may send; before it has said the password, if it must, little.
    pub fn request_limits(&self, is_authenticated: bool) -> RequestLimits {
        if !is_authenticated {
            return RequestLimits {
                bulk_bytes_max: self.login_bulk_bytes_max.bytes(),
                arguments_max: self.login_arguments_max.bytes(),
                inline_bytes_max: self.inline_bytes_max.bytes(),
                request_bytes_max: self.login_bytes_max.bytes(),
                authenticated: false,
            };
        }
        RequestLimits {
            bulk_bytes_max: self.bulk_bytes_max.bytes(),
            arguments_max: self.arguments_max.bytes(),
            inline_bytes_max: self.inline_bytes_max.bytes(),
            request_bytes_max: self.request_bytes_max.bytes(),
            authenticated: true,
        }
    }
}
