//! The store: open, read, write. Commands, HTTP and materialization are clients of this and of
//! nothing below it.
//!
//! ```text
//!            write                                      read
//!  decide under the locks of the keys          plan (names -> slots), once per list of names
//!  append to the log        -> position        one look-up per key, visible or not
//!  apply, now or once durable
//! ```
//! Invariants
//! - [`Keyspace::commit`] is the only way anything changes; replay applies the same changes.
//! - In mode `always` no reader sees what a crash could undo, and none waits for a disk.
//! - Time never goes back: a clock that was set back stands still until it has caught up.

#[cfg(test)]
mod bucket_tests;
#[cfg(test)]
mod compaction_model_tests;
#[cfg(test)]
mod compaction_tests;
#[cfg(test)]
mod retention_tests;
#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod forget_attack_tests;
#[cfg(test)]
mod forget_keys_tests;
#[cfg(test)]
mod forget_tests;
#[cfg(test)]
mod history_attack_tests;
#[cfg(test)]
mod log_tail_tests;
#[cfg(test)]
mod many_runs_tests;
#[cfg(test)]
mod no_skew_tests;
#[cfg(test)]
mod pushed_tests;
#[cfg(test)]
mod race_tests;
#[cfg(test)]
mod restored_tests;
#[cfg(test)]
mod view_statistics_tests;

#[cfg(test)]
mod history_attack_fixture;

mod restored;

mod open;

mod replay;

mod telling;

mod verify;

mod state_digest;

mod forget;

mod compaction;

mod checkpoint;

mod snapshot_loading;

mod entity_history;
mod load;

mod pushed;

mod pushed_log;

mod generations;

mod training_report;

mod training;

mod history;

mod write_features;

mod apply_definitions;

mod commit;

mod key_tiers;

mod view_statistics;

mod keyspace;

mod transaction;

mod plan_cache;

mod read_features;

mod read_plan;

mod publish;

mod locked;

mod engine;

mod registration;

mod checkpoints;

mod compactions;

mod merge_policy;

mod erasure;

mod training_sets;

mod pushed_files;

mod log_tail;

mod future;

mod jobs;

mod loading;

mod meta_entry;

mod schema;

mod clock;
mod plan_cell;

pub use apply_definitions::Applied;
pub use checkpoint::BegunCheckpoint;
pub use checkpoints::{Checkpoint, CheckpointProgress, SinceCheckpoint};
pub use clock::Clock;
pub use commit::{Committed, TransactionKeys, TransactionKind};
pub use compaction::Compacted;
pub use engine::Store;
pub use entity_history::{HistoryEntry, HistoryRequest};
pub use erasure::{Erased, Receipt};
pub use history::{TrainingRequest, column_names};
pub use jobs::RUNS_KEPT;
pub use keyspace::Keyspace;
pub use loading::{LoadPart, LoadProgress};
pub use locked::Locked;
pub use merge_policy::MergePolicy;
pub use open::StoreOptions;
pub use plan_cache::PlanCache;
pub use plan_cell::{NamedCell, PlanCell};
pub use read_features::{Answer, FeatureRead, RowReader};
pub use read_plan::{ReadPlan, Stretch};
pub use restored::{restore, test_restore};
pub use schema::Schema;
pub use state_digest::StateSummary;
pub use telling::{Teller, Told, ToldField, ToldValue};
pub use training::Training;
pub use training_report::{MadeSet, ReportedFile, TrainingReport};
pub use training_sets::TrainingProgress;
pub use verify::verify;
pub use view_statistics::{FeatureStatistics, Numbers, ViewStatistics};
pub use write_features::{FeatureRow, WriteCount};
