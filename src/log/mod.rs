//! The log and its snapshots: what was acknowledged survives a crash, and nothing else is served.
//!
//! ```text
//! DATA/LOCK                              held for the life of the process
//! DATA/MANIFEST-<n>                      which snapshots and history count, sizes and hashes
//! DATA/log/wal-<n>.log                   the order of all changes          (append ──> durable)
//! DATA/snapshots/<id>-<shard>.snap       the state at an LSN, two generations kept
//! DATA/history/<view>-...parquet         what was pushed, up to the LSN of a snapshot
//! DATA/aside/                            what no manifest lists: never deleted, never read
//! DATA/RECOVERED-<n>                     a recovery is decided and not through (`rebuilt.rs`)
//! DATA/audit.log                         what recoveries gave up, and who was forgotten
//! ```
//! A backup is a folder of its own: `BACKUP`, which lists it, a manifest, and what that needs.
//! Start: [`DataDirectory::open`], [`DataDirectory::open_snapshot`] of each listed file,
//! [`LocalLog::open`], [`Log::read`] after the LSN of the snapshot, [`DataDirectory::tidy`].
//!
//! Invariants
//! - Records and entries are opaque bytes here; what they mean is `feature/change.rs`.
//! - Nothing is changed on disk before all of it was found good; damage names file and offset.
//! - Any bytes read give records or an error, never a panic and never a record we did not write.
//!
//! Not here: which record a command makes (`store/`), files and checksums as such (`disk/`).

#[cfg(test)]
mod backup_fault_tests;
#[cfg(test)]
mod backup_tests;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod directory_tests;
#[cfg(test)]
mod recover_tests;
#[cfg(test)]
mod verify_agreement_tests;
#[cfg(test)]
mod verify_tests;

#[cfg(test)]
mod verify_fixture;

#[cfg(test)]
mod history_fixture;

mod verify;

mod inspect;

mod restore;

mod backup;
mod backup_manifest;

mod recover;

mod directory;

mod directory_setup;
mod listed_files;

mod history_files;
mod rebuilt;

mod local;
mod snapshot;

mod pieces;

mod manifest;
mod marks;

mod audit;
mod examination;
mod folder;

mod pending;

mod contract;
mod options;

mod digest;

pub use audit::append_audit;
pub use backup::{BackupOptions, TakenBackup, back_up};
pub use backup_manifest::{BackupManifest, read_backup_bytes};
pub use contract::{Log, LogIdentity, LogStatus, Lsn, Records, SegmentInfo};
pub use digest::StateDigest;
pub use directory::DataDirectory;
pub use examination::{
    Decoders, Finding, GenerationReport, Progress, Report, SegmentReport, Severity,
};
pub use history_files::{HistoryWriter, PartFile, PartHead, open_part as open_history_part};
pub use inspect::inspect;
pub use local::{LocalLog, OnDurable, Recovered, Surroundings, WallClock, read_log_bytes};
pub use manifest::{Generation, History, HistoryPart, ListedFile, read_manifest_bytes};
pub use options::{Durability, LogOptions, RecoverMode};
pub use pending::PendingLog;
pub use pieces::{Piece, SegmentHead, SnapshotHead, Take};
pub use recover::{Losses, Recovery, recover};
pub use restore::{RestorePlan, RestorePoint, RestoreSource, UnfinishedRestore};
pub use snapshot::{
    SnapshotFile, SnapshotHeader, SnapshotSummary, SnapshotWriter, read_snapshot_bytes,
};
pub use verify::{verify, verify_running};
