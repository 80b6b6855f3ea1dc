//! Snapshots: the state at an LSN in a few files, which know nothing of rows.
//!
//! ```text
//! add(shard, entry) ─> block ─ 64 KiB ─> lz4 ─> <id>-<shard>.snap.tmp
//! finish ─> footer, synced ─> read back, verified ─> renamed ─> folder synced ─> Generation
//! ```
//! Not here: which snapshots count (`manifest.rs`), when one is taken (`store/`).

#[cfg(test)]
mod format_document_tests;
#[cfg(test)]
mod snapshot_tests;

mod snapshot_writer;
mod snapshot_pieces;
mod survey;

mod block_reader;

mod snapshot_copy;

mod snapshot_file;

mod block;

pub(super) use snapshot_copy::copy_snapshot_file;
pub use snapshot_file::{SnapshotFile, SnapshotHeader, SnapshotSummary, read_snapshot_bytes};
pub(super) use snapshot_pieces::inspect_snapshot;
pub use snapshot_writer::SnapshotWriter;
pub(super) use survey::survey_generation;
