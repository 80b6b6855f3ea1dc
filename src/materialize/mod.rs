//! Materialization: the newest row of each entity goes from a source to the online store, through
//! the same commit as every other write.
//!
//! ```text
//! source ─> what is new? ─> newest row per entity ─> Store::materialize_rows ─> RunEnded
//!           (cursor)                                                            (the next cursor)
//! ```
//! Invariants
//! - The cursor is what was read, never a time: rows that arrive late in old files are picked up.
//! - A run that stops half-way is repeated whole; repeating changes nothing that is new already.
//! - One run per view at a time.

mod run;

pub use run::{Begun, Materializer, Request, quiet};
