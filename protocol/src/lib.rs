//! RESP2 and RESP3 as a server needs them: requests parsed in place, replies written straight out.
//!
//! ```text
//! bytes of a client --> RequestParser --> Arguments        (borrowed from those bytes)
//! bytes to a client <-- Reply         <-- a command
//! bytes of a server --> value::decode --> Value            (the client's side)
//! VectorWriter --> a bulk string --> VectorFrame           (features as a matrix)
//! ```
//! Invariants
//! - Pure: no socket, no clock, no task. The caller reads, writes and decides when to close.
//! - Total: any bytes give a request, a value, an error or "more bytes, please"; never a panic.
//! - Memory grows with bytes received, never with a number that the other side wrote.
//!
//! Not here: what a command means (`src/command/`), sockets (`src/server/`, `client/`). The wire
//! format is told in `PROTOCOL.md`, whose examples `tests/protocol_document.rs` checks.

mod keys_ahead;

pub mod request;

pub mod reply;

pub mod value;

pub mod command;

pub mod vector;

mod frame;
mod inline;

mod known_lists;
mod limits;

mod arguments;
mod number;
mod short_number;

mod error;

pub use arguments::{Arguments, OwnedArguments};
pub use command::encode_request;
pub use error::ProtocolError;
pub use frame::FrameFinder;
pub use keys_ahead::KeysAhead;
pub use known_lists::KnownLists;
pub use limits::RequestLimits;
pub use number::{format_double, parse_integer};
pub use reply::{ProtocolVersion, Reply};
pub use request::{Parsed, RequestParser};
pub use value::{ReplyDecoder, Value, decode};
