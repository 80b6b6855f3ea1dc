//! The offline store: every cell ever, in Parquet, and what was true at any time.
//!
//! Invariants
//! - The only door to arrow and parquet.
//! - Reading someone's Parquet never panics and never gives part of an answer: the error names the
//!   file.
//! - Nothing here knows a clock, and no answer depends on the number of threads.
//!
//! Not here: the rule of visibility (`feature/visible.rs`), who runs what when (`materialize/`).

#[cfg(test)]
mod tests;

mod feature_table;

mod output;

mod history_merge;
mod history_run;
mod keep;

mod history_entity;
mod history_erase;

mod history_file;
mod history_write;

mod gathered;

mod history_keys;
mod history_layout;

mod history;
mod load;

mod join_memory;
mod parted_join;

mod as_of_join;
mod latest;
mod latest_rows;
mod view_columns;

mod report;

mod answers;

mod pushed;

mod grouped_spine;

mod join_request;
mod names;
mod number_rows;

mod ages;
mod order_set;
mod winners;

mod best_rows;
mod held_rows;
mod ties;

mod gather;
mod picks;
mod rank;

mod scan;
mod slots;

mod prune;
mod row_reader;

mod spill;
mod spine_file;

mod file_hash;
mod spine;

mod keys;

mod key_blooms;

mod bloom;

mod key_filter;
mod bucket;
mod key_part;
mod sink;
mod chunk;
mod column_reader;
mod extents;
mod integers;
mod pages;

mod page_reader;

mod read_ahead;

mod source;

mod columns;

mod dataset;

mod data_file;
mod find_objects;

mod find_files;
mod partitions;
mod ipc_stream;
mod page_index;
mod parquet_file;
mod reads;
mod phase_progress;
mod runs;
mod snappy;
mod headers;
mod thrift;

mod cells;
mod coded_texts;
mod constant;
mod convert;
mod lists;

pub use ages::Ages;
pub use answers::FeatureCounts;
pub use as_of_join::{Joined, as_of_join, as_of_join_with};
pub use bucket::Bucket;
pub use cells::cell;
pub use convert::arrow_type;
pub use dataset::{DataFile, Dataset, SourceFile};
pub use feature_table::{FeatureTable, TableCell, TableColumns};
pub use file_hash::{hash_files, hash_path};
pub use grouped_spine::GroupedSpine;
pub use history::{HistoryRow, history};
pub use history_file::HistoryFile;
pub use history_keys::AskedKeys;
pub use history_layout::Kept;
pub use history_merge::{Merged, merge_history};
pub use history_write::HistoryFileWriter;
pub use join_memory::JoinShape;
pub use join_request::{JoinOptions, ViewRequest};
pub use keep::Retention;
pub use key_filter::KeyFilter;
pub use latest::{Progress, Window, latest};
pub use latest_rows::{Latest, LatestRow};
pub use load::{LoadStream, LoadedRow};
pub use names::output_names;
pub use output::{IpcStream, ResultFile, to_ipc_stream, write_batch};
pub use parted_join::{BatchSink, PartedJoin, Split};
pub use phase_progress::PhaseProgress;
pub use pushed::{PushedCells, PushedWinners};
pub use report::{JoinReport, Phase, PhaseTimes};
pub use source::check_source;
pub use spine::Spine;
pub use spine_file::{SpineFile, SpineSource};
pub use winners::KnownBy;
