//! Objects of a store such as S3, read by range: the only door to `object_store`.
//!
//! ```text
//! Bucket: what is there ──> Object: bytes by range, some of them fetched ahead
//! ```
//! Invariants
//! - Who reads waits on its own thread: one thread of this room talks to the network for all.
//! - An object is read as it was found, or not at all: every request names its ETag.
//! - Errors name the object, and what the store said.
//!
//! Not here: what the bytes mean (`offline/`).

mod object;

mod bucket;

mod io_thread;
mod transport;

mod failure;

pub use bucket::{Bucket, Found};
pub use failure::Failure;
pub use object::{Fetched, Object};
