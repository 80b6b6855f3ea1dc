//! Sockets: listener, connection, shutdown.
//!
//! ```text
//! thread per core: one runtime, one listener on the same port (SO_REUSEPORT), its connections
//! ```
//! Invariants
//! - One write per pipeline: replies leave when there is nothing left to read.
//! - A reply never leaves before what it tells is durable, as the mode demands.
//! - Whoever keeps us waiting, for a request or with a reply, is ended in time (`pulse.rs`).
//!
//! Not here: what a command does (`command/`).

#[cfg(test)]
mod connection_tests;

mod run;

mod reaper;

mod connection;

mod acknowledging;
mod buffers;
mod lingering;
mod look_ahead;
mod pulse;

mod listener;

pub use connection::serve_stream;
pub use listener::{bind, bound_port};
pub use run::{listen, maintain};
