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

#[cfg(feature = "s3")]
mod bucket;
#[cfg(not(feature = "s3"))]
mod no_bucket;

mod io_thread;
#[cfg(feature = "s3")]
mod told;
#[cfg(feature = "s3")]
mod transport;

mod failure;
mod found;

#[cfg(feature = "s3")]
pub use bucket::Bucket;
pub use failure::Failure;
pub use found::Found;
#[cfg(not(feature = "s3"))]
pub use no_bucket::Bucket;
pub use object::{Fetched, Object};
