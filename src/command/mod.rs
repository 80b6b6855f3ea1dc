//! The commands, from one table: a name, what it may have as arguments, what it does.
//!
//! ```text
//! request -> dispatch -> table -> handler -> store
//!                                         -> reply, once nothing can fail any more
//! ```
//! Invariants
//! - A handler writes its first reply byte after everything that can fail has passed.
//! - A reply that tells of a write leaves only once that write is durable (`Session::wait_for`).
//!
//! Not here: sockets (`server/`), what a write does (`store/`).

#[cfg(test)]
mod reference_tests;

#[cfg(test)]
mod loading_tests;
#[cfg(test)]
mod observation_tests;

#[cfg(test)]
mod feature_arrow_tests;
#[cfg(test)]
mod feature_history_tests;
#[cfg(test)]
mod feature_load_tests;
#[cfg(test)]
mod feature_vector_tests;

#[cfg(test)]
mod feature_cases;

#[cfg(test)]
mod deletion_tests;
#[cfg(test)]
mod behaviour_tests;
#[cfg(test)]
mod definition_tests;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod transaction_wait_tests;
#[cfg(test)]
mod transaction_fault_tests;
#[cfg(test)]
mod transaction_model_tests;
#[cfg(test)]
mod transaction_tests;
#[cfg(test)]
mod field_expiry_tests;
#[cfg(test)]
mod field_model_tests;
#[cfg(test)]
mod field_refusal_tests;

mod dispatch;

mod execute;

mod observation;

mod table;

mod subcommands;

mod acl;
mod cluster;
mod config;
mod debug;
mod field_values;
mod field_expiry;
mod hash_values;
mod hash_walk;
mod hashes;
mod information;
mod introspection;
mod key_names;
mod object;
mod keys;
mod latency;
mod lineage;
mod statistics;

mod materialization;
mod memory;
mod operation;
mod replication;
mod slowlog;
mod string_numbers;
mod string_parts;
mod string_values;
mod strings;
mod training;
mod transactions;
mod verification;

mod connection;
mod definitions;
mod feature_history;
mod features;
mod forget;
mod info_counters;
mod info_storage;

mod info_text;
mod memory_figures;

mod process;

mod client;

mod client_kill;

mod client_list;

mod feature_arrow;

mod feature_vector;

mod request_cache;

mod vector_columns;

mod feature_request;

mod request_rows;

mod typed_value;

mod categories;

mod help;

mod key_access;

mod documentation;

mod hash_slot;

mod long_double;

mod random;

mod scan_options;

mod field_arguments;

mod string_options;

mod plain;

mod context;

mod setting_table;

mod setting_value;

mod open_files;

mod compactions;
mod snapshots;

mod app;

mod pause;

mod session;

mod monitor_feed;

mod settings;

mod description;

mod arguments;

mod pattern;

pub use app::{App, Identity};
pub use compactions::begin_compaction;
pub use config::settings_from;
pub use description::{Description, Keys, Speed};
pub use dispatch::{dispatch, is_slow, paused_until};
pub use feature_request::{FeatureRequest, online_rows};
pub use monitor_feed::MonitorFeed;
pub use operation::is_for_operator;
pub use pause::Pause;
pub use request_rows::{ArgumentRow, KeyRow, KeyText};
pub use session::{ClientInfo, Session};
pub use settings::{Number, SavePoint, Settings, Shutdown};
pub use snapshots::{begin_snapshot, snapshot_is_due, write_last_snapshot};
pub use table::{COMMANDS, Command, LastAsked, Resolved, every_command, resolve};
