//! The command line: one binary, a verb for each job.

mod serve;

mod demo;

mod asof;
mod backup;
mod definitions;
mod get;
mod inspect;
mod materialize;
mod verify;
mod restore;

mod boot;

mod asof_progress;
mod connect;
mod recover;
mod start_progress;

mod options;

mod backup_options;
mod bench;
mod limit_options;
mod snapshot_options;

mod output;

mod bar;

pub use options::{Cli, Verb};

pub use asof::asof;
pub use backup::{backup, verify_backup};
pub use bench::bench;
pub use definitions::{apply, plan};
pub use demo::demo;
pub use get::get;
pub use inspect::inspect;
pub use materialize::materialize;
pub use restore::restore;
pub use serve::serve;
pub use verify::verify;
