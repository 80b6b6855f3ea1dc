//! Counters and latency histograms. Imports nothing, so that every floor may count.

mod server_stats;

mod command_stats;
mod error_stats;
mod latency_monitor;
mod rates;
mod slow_log;

mod distinct;
mod histogram;

mod counter;

pub use command_stats::CommandStats;
pub use counter::Counter;
pub use distinct::Distinct;
pub use histogram::Histogram;
pub use latency_monitor::Series;
pub use server_stats::{CurrentRates, ServerStats};
pub use slow_log::SlowEntry;
