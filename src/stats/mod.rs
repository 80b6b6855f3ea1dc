//! Counters and latency histograms. Imports nothing, so that every floor may count.

mod server_stats;

mod histogram;

mod counter;

pub use counter::Counter;
pub use histogram::Histogram;
pub use server_stats::{CommandStats, ServerStats};
