//! What a server counts: connections, commands, reads by what they met.

use super::{counter::Counter, histogram::Histogram};

/// The counters of one command.
#[derive(Debug, Default)]
pub struct CommandStats {
    /// How long each call took, its wait for the disk aside.
    pub latency: Histogram,
    /// Calls that ended in an error.
    pub failed: Counter,
}

/// The counters of a server.
#[derive(Debug, Default)]
pub struct ServerStats {
    /// Connections there are.
    pub connections: Counter,
    /// Connections there have been.
    pub connections_total: Counter,
    /// Connections refused because there were too many.
    pub connections_refused: Counter,
    /// Commands there have been.
    pub commands_total: Counter,
    /// Bytes that clients sent.
    pub input_bytes_total: Counter,
    /// Bytes sent to clients.
    pub output_bytes_total: Counter,
    /// Reads of an unknown field of a registered entity.
    pub unknown_fields_total: Counter,
    /// Requests for online features by HTTP, in ns.
    pub http_online_features: Histogram,
    /// HTTP requests that ended in an error.
    pub http_failed: Counter,
    /// By the position in the table of commands.
    pub commands: Vec<CommandStats>,
}

impl ServerStats {
    /// Counters for that many commands.
    pub fn new(command_count: usize) -> Self {
        let commands = (0..command_count).map(|_| CommandStats::default()).collect();
        Self { commands, ..Self::default() }
    }

    /// Counts anew, all but the connections there are.
    pub fn reset(&self) {
        let counters = [
            &self.connections_total,
            &self.connections_refused,
            &self.commands_total,
            &self.input_bytes_total,
            &self.output_bytes_total,
            &self.unknown_fields_total,
            &self.http_failed,
        ];
        counters.into_iter().for_each(Counter::reset);
        self.http_online_features.reset();
        for command in &self.commands {
            command.latency.reset();
            command.failed.reset();
        }
    }
}
