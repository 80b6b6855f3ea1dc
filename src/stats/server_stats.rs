//! What a server counts: connections, commands, reads by what they met.

use super::{
    command_stats::CommandStats, counter::Counter, error_stats::ErrorStats, histogram::Histogram,
    latency_monitor::LatencyMonitor, rates::Rates, slow_log::SlowLog,
};
use std::time::Instant;

/// The counters of a server.
#[derive(Debug, Default)]
pub struct ServerStats {
    /// Connections there are.
    pub connections: Counter,
    /// Connections there have been.
    pub connections_total: Counter,
    /// Connections refused because there were too many.
    pub connections_refused: Counter,
    /// Commands that were called.
    pub commands_total: Counter,
    /// Bytes that clients sent.
    pub input_bytes_total: Counter,
    /// Bytes sent to clients.
    pub output_bytes_total: Counter,
    /// Reads of a key that was there, or of an entity of which a feature was.
    pub keyspace_hits: Counter,
    /// Other reads.
    pub keyspace_misses: Counter,
    /// Keys removed because their time was over.
    pub expired_keys: Counter,
    /// Fields removed because their time was over.
    pub expired_fields: Counter,
    /// Reads of an unknown field of a registered entity.
    pub unknown_fields_total: Counter,
    /// Snapshots written.
    pub snapshots_total: Counter,
    /// How long the last snapshot took, in ms.
    pub last_snapshot_ms: Counter,
    /// How often files of the history were merged.
    pub compactions_total: Counter,
    /// How often that failed.
    pub compactions_failed: Counter,
    /// The most bytes that rows ever took, as far as anybody looked.
    pub peak_rows_bytes: Counter,
    /// Requests for online features by HTTP, in ns.
    pub http_online_features: Histogram,
    /// HTTP requests that ended in an error.
    pub http_failed: Counter,
    /// By the position in the table of commands.
    pub commands: Vec<CommandStats>,
    /// Error replies.
    pub errors: ErrorStats,
    /// Requests that took long.
    pub slow_log: SlowLog,
    /// When something took long.
    pub latency_monitor: LatencyMonitor,
    rates: Rates<3>,
}

/// What happens per second.
#[derive(Clone, Copy, Debug)]
pub struct CurrentRates {
    /// Commands that were called.
    pub commands: f64,
    /// Bytes that clients sent.
    pub input_bytes: f64,
    /// Bytes sent to clients.
    pub output_bytes: f64,
}

impl ServerStats {
    /// Counters for those commands.
    pub fn new(commands: Vec<CommandStats>) -> Self {
        Self { commands, ..Self::default() }
    }

    /// The lowest duration in ns of a request that anything is done about.
    pub fn notable_ns(&self) -> u64 {
        self.slow_log.threshold_ns().min(self.latency_monitor.threshold_ns())
    }

    /// Takes a sample for the rates. To be called ten times a second.
    pub fn sample(&self, now: Instant) {
        let totals = [&self.commands_total, &self.input_bytes_total, &self.output_bytes_total];
        self.rates.sample(now, totals.map(Counter::get));
    }

    /// What happens per second at this moment.
    pub fn current_rates(&self) -> CurrentRates {
        let [commands, input_bytes, output_bytes] = self.rates.per_second();
        CurrentRates { commands, input_bytes, output_bytes }
    }

    /// `CONFIG RESETSTAT`: everything that only grows counts from 0 again. What stands stays:
    /// connections, the peak of memory, the slow log, latency events.
    pub fn reset(&self) {
        let counters = [
            &self.connections_total,
            &self.connections_refused,
            &self.commands_total,
            &self.input_bytes_total,
            &self.output_bytes_total,
            &self.keyspace_hits,
            &self.keyspace_misses,
            &self.expired_keys,
            &self.expired_fields,
            &self.unknown_fields_total,
            &self.http_failed,
        ];
        counters.into_iter().for_each(Counter::reset);
        self.http_online_features.reset();
        self.commands.iter().for_each(CommandStats::reset);
        self.errors.reset();
        self.rates.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_forgets_what_grew_and_keeps_what_stands() {
        let stats = ServerStats::new(vec![CommandStats::new("get"), CommandStats::new("set")]);
        stats.connections.increment();
        stats.commands_total.increment();
        stats.errors.count("ERR");
        stats.commands[1].latency.record_ns(5);
        let used = || stats.commands.iter().filter(|stats| stats.is_used()).map(|s| s.name);
        assert_eq!(used().collect::<Vec<_>>(), ["set"]);
        stats.reset();
        assert_eq!((used().count(), stats.commands_total.get(), stats.errors.total()), (0, 0, 0));
        assert_eq!((stats.connections.get(), stats.errors.by_code().len()), (1, 0));
    }
}
