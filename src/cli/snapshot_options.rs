//! When snapshots are written, as the command line and the environment give it. Names and defaults
//! stand in the table of settings (`command/setting_table.rs`).

use clap::Args;

/// When snapshots are written; each is also a setting of the same name that `CONFIG SET` changes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Snapshots")]
pub struct SnapshotOptions {
    /// After so many seconds, if at least so many records came; several pairs, or nothing for never
    /// [default: "3600 1"]
    #[arg(long, env = "NOWTHEN_SAVE", value_name = "SECONDS RECORDS")]
    pub save: Option<String>,
    /// When the log has grown by more since the last one; 0 for never [default: 1gb]
    #[arg(long, env = "NOWTHEN_SNAPSHOT_LOG_BYTES", value_name = "SIZE")]
    pub snapshot_log_bytes: Option<String>,
    /// On SIGTERM: default (if they are scheduled), save or nosave
    #[arg(long, env = "NOWTHEN_SHUTDOWN_ON_SIGTERM", value_name = "HOW")]
    pub shutdown_on_sigterm: Option<String>,
    /// On SIGINT: default (if they are scheduled), save or nosave
    #[arg(long, env = "NOWTHEN_SHUTDOWN_ON_SIGINT", value_name = "HOW")]
    pub shutdown_on_sigint: Option<String>,
}

impl SnapshotOptions {
    /// Those that were given, by the names of settings.
    pub(super) fn pairs(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("save", &self.save),
            ("snapshot-log-bytes", &self.snapshot_log_bytes),
            ("shutdown-on-sigterm", &self.shutdown_on_sigterm),
            ("shutdown-on-sigint", &self.shutdown_on_sigint),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }
}
