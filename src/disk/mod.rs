//! Bytes without meaning: files, the checksums every record stands under, memory maps.
//!
//! ```text
//!   log/  offline/  ...
//!        │ FileSystem, File
//!   ┌────┴────┬──────────────┐
//!   RealFs    SimulatedFs    (a power cut keeps any part of what was not synced)
//! ```
//! Invariants
//! - Rooms above open files of ours only through [`FileSystem`], so every test can cut the power.
//! - Nothing here repeats a failed sync, and nothing here knows what a record means.
//!
//! Not here: when to sync and what a failed sync means (`log/`).

mod simulated;
mod simulated_disk;

mod real;

mod fs;
mod map;

pub mod frame;

pub use fs::{DirectoryEntry, File, FileSystem, Lock, Metadata, is_out_of_space};
pub use map::Mapped;
pub use real::RealFs;
pub use simulated::{Call, CallKind, Cut, Moment, SimulatedFs};
