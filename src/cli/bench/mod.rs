//! `nowthen bench`: load at a stated rate, and how long each request waited since it was due.

mod run;

mod picture;
mod report;

mod fill;
mod worker;

mod connection;
mod wire;

mod measured;
mod process;

mod workload;

mod data;
mod random;
mod schedule;

mod options;

pub(super) use options::{BENCH_HELP, BenchOptions};
pub use run::bench;
