//! The log in files of this machine: one writer at a time, group commit.
//!
//! ```text
//! append ──> queue ──(who holds the tail)──> frame ──> segment ──> sync ──> on_durable
//!            packs records into frames that surely fit
//! open   ──> recovery (judge, repair) ──> reader
//! ```
//! Invariants
//! - Only who holds the tail writes to a segment; only `recovery` touches those of another process.
//! - A segment has its name only after its header is synced; what has no name holds nothing that
//!   was acknowledged.

#[cfg(test)]
mod behaviour_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod format_document_tests;
#[cfg(test)]
mod recovery_tests;

#[cfg(test)]
pub(super) mod fixture;

mod local_log;

mod segment_pieces;
mod rebuild;
mod survey;
mod still_log;

mod recovery;
mod writer;

mod tail;

mod segment_records;

mod catalog;
mod queue;

mod packing;

mod live_copy;

mod walked;

mod landmarks;

mod reader;

mod segment;

mod compression;

mod log_frame;

pub(super) use live_copy::{segment_names, whole_frames};
pub use local_log::{LocalLog, Surroundings};
pub use queue::WallClock;
pub use reader::read_log_bytes;
pub(super) use rebuild::{Rebuild, Survivors, name_rebuilt, rebuild, survivors};
pub use recovery::Recovered;
pub(super) use recovery::judge_log;
pub(super) use segment::{LogFile, log_file};
pub(super) use segment_pieces::inspect_segment;
pub(super) use still_log::{Anew, StillLog};
pub(super) use survey::{Part, Survey};
pub use tail::OnDurable;
