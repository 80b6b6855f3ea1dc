//! What `nowthen backup`, `verify-backup` and `restore` take.

use clap::Args;
use std::path::PathBuf;

pub(super) const BACKUP_HELP: &str = "\
Example: nowthen backup ./data /backups/monday

The server may run meanwhile. The backup holds every write that was acknowledged before it began.
Snapshots and sealed parts of the log are hard links where that is possible, so bring a copy to
another disk, too: one broken sector would hit both.
Exit codes: 0 done, 1 refused or failed, 2 usage, 65 the data directory is damaged.";

pub(super) const VERIFY_BACKUP_HELP: &str = "\
Example: nowthen verify-backup /backups/monday

Compares every file with its hash, restores the backup into a temporary folder, opens it as a server
would, and does so once more from the log instead of from the newest snapshot: both must give the
same state. Takes as much space and memory as a server with this data.
Exit codes: 0 good, 1 refused or failed, 2 usage, 65 damaged.";

pub(super) const RESTORE_HELP: &str = "\
Examples: nowthen restore /backups/monday --to ./data-restored
          nowthen restore ./data --to ./data-restored --to-lsn 41807
          nowthen restore ./data --to ./data-restored --to-time 2026-11-21T06:35:00Z

The source is a backup, or the data directory of a stopped server; it is never changed. What is
restored is a store of its own, with another store id. --to-time counts by the clock of the server
at the moment it wrote a group of records to the log, and takes whole groups only.
Exit codes: 0 done, 1 refused or failed, 2 usage, 65 the source is damaged.";

/// `nowthen backup`
#[derive(Debug, Args)]
pub struct BackupOptions {
    /// The data directory.
    #[arg(value_name = "DIR")]
    pub data: PathBuf,
    /// Where the backup goes: a new or empty folder.
    #[arg(value_name = "TO")]
    pub to: PathBuf,
    /// Copy everything: the backup then shares no byte with the data directory.
    #[arg(long)]
    pub copy: bool,
    /// Print JSON: one object.
    #[arg(long)]
    pub json: bool,
}

/// `nowthen verify-backup`
#[derive(Debug, Args)]
pub struct VerifyBackupOptions {
    /// The backup.
    #[arg(value_name = "BACKUP")]
    pub backup: PathBuf,
    /// Where the temporary folder goes; beside the backup, if it is not given.
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Print JSON: one object.
    #[arg(long)]
    pub json: bool,
}

/// `nowthen restore`
#[derive(Debug, Args)]
pub struct RestoreOptions {
    /// A backup, or the data directory of a stopped server.
    #[arg(value_name = "BACKUP-OR-DIR")]
    pub from: PathBuf,
    /// Where the restored data directory goes: a new or empty folder.
    #[arg(long, value_name = "NEWDIR")]
    pub to: PathBuf,
    /// Restore up to this record of the log, and no further.
    #[arg(long, value_name = "LSN", conflicts_with = "to_time")]
    pub to_lsn: Option<u64>,
    /// Restore what was written to the log at or before this time.
    #[arg(long, value_name = "TIME")]
    pub to_time: Option<String>,
    /// Print JSON: one object.
    #[arg(long)]
    pub json: bool,
}
