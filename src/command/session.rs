//! What a connection is: who, which protocol, what its replies must wait for.

use crate::{log::Lsn, online::Seen};
use nowthen_protocol::ProtocolVersion;
use parking_lot::Mutex;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

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
    /// Which replies it wants.
    pub replies: Replies,
    /// Replies drew on what may not be durable yet.
    pub(super) has_read_latest: bool,
    /// Where a value is formatted before its length is known.
    pub(super) scratch: Vec<u8>,
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
    /// When it last sent a command, likewise.
    pub active_us: AtomicI64,
    /// Its name, and the name and version of its library.
    pub names: Mutex<Names>,
    /// The last command, by its place in the table.
    pub last_command: AtomicU64,
    /// Somebody ended it with `CLIENT KILL`.
    pub is_killed: AtomicBool,
    /// RESP2 or RESP3.
    pub protocol: AtomicU64,
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

impl Session {
    /// A new connection.
    pub fn new(info: Arc<ClientInfo>) -> Self {
        Self {
            info,
            version: ProtocolVersion::default(),
            wait_for: None,
            is_closing: false,
            replies: Replies::On,
            has_read_latest: false,
            scratch: Vec::new(),
        }
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

    /// Changes the protocol.
    pub(super) fn speak(&mut self, version: ProtocolVersion) {
        self.version = version;
        self.info.protocol.store(version.number() as u64, Ordering::Relaxed);
    }
}
