//! What the command line takes.

use super::{
    backup_options::{
        BACKUP_HELP, BackupOptions, RESTORE_HELP, RestoreOptions, VERIFY_BACKUP_HELP,
        VerifyBackupOptions,
    },
    bench::{BENCH_HELP, BenchOptions},
    limit_options::LimitOptions,
    snapshot_options::SnapshotOptions,
};
use clap::{Args, Parser, Subcommand};
use std::{net::IpAddr, path::PathBuf};

/// A feature store in one binary: features as of now for serving, as of then for training.
#[derive(Debug, Parser)]
#[command(name = "nowthen", version, about, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Serve features to Redis clients and over HTTP.
    #[command(after_help = "Example: nowthen serve --data ./data --repo ./features")]
    Serve(Box<ServeOptions>),
    /// Show it all on the New York flights of 2013: apply, materialize, serve.
    #[command(after_help = "Example: nowthen demo --data /tmp/nowthen-demo")]
    Demo(DemoOptions),
    /// Print what applying a feature repository would change.
    #[command(after_help = "Example: nowthen plan --repo examples/flights")]
    Plan(RepositoryOptions),
    /// Make a feature repository true on a running server.
    #[command(after_help = "Example: nowthen apply --repo examples/flights")]
    Apply(RepositoryOptions),
    /// Join features to a spine as of its times, from files alone; no server is needed.
    #[command(after_help = "Example: nowthen asof --repo examples/flights --service delay_model \
                            --spine examples/flights/data/flights.parquet --out training.parquet")]
    Asof(AsofOptions),
    /// Bring the newest rows of sources to the online store of a running server.
    #[command(after_help = "Example: nowthen materialize --all --wait")]
    Materialize(MaterializeOptions),
    /// Read features of one entity from a running server.
    #[command(after_help = "Example: nowthen get airport:JFK temp wind_speed")]
    Get(GetOptions),
    /// Look at everything in a data directory that no server uses, and tell all that is wrong.
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyOptions),
    /// Print what stands in a log segment, a snapshot file or a manifest, a line for each thing.
    #[command(after_help = INSPECT_HELP)]
    Inspect(InspectOptions),
    /// Take a backup of a data directory while its server runs.
    #[command(after_help = BACKUP_HELP)]
    Backup(BackupOptions),
    /// Restore a backup for a test, and see that it gives the state it should.
    #[command(after_help = VERIFY_BACKUP_HELP)]
    VerifyBackup(VerifyBackupOptions),
    /// Restore a backup, or a stopped server's data, into a new folder: all, or up to a record.
    #[command(after_help = RESTORE_HELP)]
    Restore(RestoreOptions),
    /// Send requests to a server at a stated rate, and tell how long each waited.
    #[command(after_help = BENCH_HELP)]
    Bench(Box<BenchOptions>),
}

const INSPECT_HELP: &str = "\
Example: nowthen inspect ./data/log/wal-00000000000000000001.log --key airport:JFK

Columns: offset, LSN, time, kind, key, fields. Lines with # tell of the file itself. Files are only
read; one that a server writes to may end in the middle. Where something is damaged a line says so,
and what can still be read behind it follows.
Exit codes: 0 done, 1 it could not be read, 2 usage, 65 damage.";

const VERIFY_HELP: &str = "\
Example: nowthen verify ./data

Reads every byte that counts: manifest, snapshots, log, and what belongs to none of them. Changes
nothing. A server cannot start on the directory meanwhile; one that runs answers FS.VERIFY.
Exit codes: 0 all is well (a torn tail is), 1 something could not be read, 2 usage, 65 damage.";

/// `nowthen serve`
#[derive(Debug, Args)]
pub struct ServeOptions {
    /// The data directory; made if it is not there.
    #[arg(long, env = "NOWTHEN_DATA", value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// A feature repository to apply at the start.
    #[arg(long, env = "NOWTHEN_REPO", value_name = "DIR")]
    pub repo: Option<PathBuf>,
    #[command(flatten)]
    /// Where to listen.
    pub network: NetworkOptions,
    /// When a write is acknowledged: `always` (after a sync), `interval:<ms>` or `never`.
    #[arg(long, env = "NOWTHEN_DURABILITY", value_name = "MODE", default_value = "always")]
    pub durability: String,
    /// How many bytes of disk the log reserves at a time; a longer record gets what it needs.
    #[arg(long, env = "NOWTHEN_SEGMENT_BYTES", value_name = "BYTES", default_value_t = 67_108_864,
          value_parser = clap::value_parser!(u64).range(4096..=1 << 32))]
    pub segment_bytes: u64,
    /// How many threads serve connections; 0 for one per core.
    #[arg(long, env = "NOWTHEN_THREADS", value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// How far an event may lie ahead of the clock.
    #[arg(long, env = "NOWTHEN_MAX_FUTURE", value_name = "SPAN", default_value = "5m")]
    pub max_future: String,
    /// Who may say DEBUG: `no` for nobody, `local` for clients of this machine, or `yes`.
    #[arg(long, env = "NOWTHEN_ENABLE_DEBUG_COMMAND", value_name = "WHO", default_value = "no",
          value_parser = ["no", "local", "yes"])]
    pub enable_debug_command: String,
    /// Start the clock at this time instead of now, to serve history as of then.
    #[arg(long, env = "NOWTHEN_CLOCK_START", value_name = "TIME")]
    pub clock_start: Option<String>,
    #[command(flatten)]
    /// What a start may give up.
    pub recover: RecoverOptions,
    #[command(flatten)]
    /// When snapshots are written.
    pub snapshots: SnapshotOptions,
    #[command(flatten)]
    /// What clients may do.
    pub limits: LimitOptions,
}

/// What a start may give up of a damaged directory.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recovery")]
pub struct RecoverOptions {
    /// What to give up if the directory is damaged: `strict-tail` (nothing: stop), `point-in-time`
    /// (all from the first damage on) or `salvage` (only what is damaged)
    #[arg(long, env = "NOWTHEN_RECOVER", value_name = "MODE", default_value = "strict-tail")]
    pub recover: String,
    /// Acknowledged writes may be lost by that; a copy of everything stays in DIR/aside, and
    /// DIR/audit.log tells
    #[arg(long)]
    pub accept_data_loss: bool,
}

/// Where to listen.
#[derive(Clone, Debug, Args)]
pub struct NetworkOptions {
    /// The port for Redis clients; 0 takes a free one.
    #[arg(long, env = "NOWTHEN_PORT", value_name = "PORT", default_value_t = 6379)]
    pub port: u16,
    /// The port for HTTP; 0 takes a free one.
    #[arg(long, env = "NOWTHEN_HTTP_PORT", value_name = "PORT", default_value_t = 6566)]
    pub http_port: u16,
    /// The address; only loopback, as long as there are no users.
    #[arg(long, env = "NOWTHEN_BIND", value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub bind: IpAddr,
}

/// `nowthen demo`
#[derive(Debug, Args)]
pub struct DemoOptions {
    /// The data directory; a new one in the temporary folder if it is not given.
    #[arg(long, env = "NOWTHEN_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The feature repository to show.
    #[arg(long, value_name = "DIR", default_value = "examples/flights")]
    pub repo: PathBuf,
    /// The time at which the clock of the demo starts.
    #[arg(long, value_name = "TIME", default_value = "2013-07-04T12:00:00Z")]
    pub clock_start: String,
    #[command(flatten)]
    /// Where to listen.
    pub network: NetworkOptions,
}

/// `nowthen plan` and `nowthen apply`
#[derive(Debug, Args)]
pub struct RepositoryOptions {
    /// The feature repository: a folder of TOML files.
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// The server.
    #[arg(long, env = "NOWTHEN_URL", default_value = "redis://127.0.0.1:6379")]
    pub url: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `nowthen asof`
#[derive(Debug, Args)]
pub struct AsofOptions {
    /// The feature repository: a folder of TOML files.
    #[arg(long, value_name = "DIR")]
    pub repo: PathBuf,
    /// The Parquet file with join keys and event timestamps.
    #[arg(long, value_name = "FILE")]
    pub spine: PathBuf,
    /// Features: `view:feature`, `view:*` or `feature`, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',', required_unless_present = "service")]
    pub features: Vec<String>,
    /// A feature service, instead of features.
    #[arg(long, value_name = "NAME", conflicts_with = "features")]
    pub service: Option<String>,
    /// Where the training set goes: .parquet, .arrow or .csv.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Where a report goes, as JSON: what the set holds, and every definition and file, by its
    /// hash, that it was made of.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// The column of the spine that is the event timestamp, if it has several.
    #[arg(long, value_name = "COLUMN")]
    pub event_timestamp: Option<String>,
    /// A join key that has another name in the spine: `origin=dest`.
    #[arg(long, value_name = "KEY=COLUMN", value_delimiter = ',')]
    pub map: Vec<String>,
    /// `event`: what was true; `arrival`: what was also known by then.
    #[arg(long, value_name = "WHEN", default_value = "event")]
    pub known_by: String,
    /// Name columns `view__feature`.
    #[arg(long)]
    pub full_names: bool,
    /// About how much memory the join may take, such as `1GiB`: a spine that takes more is joined
    /// in parts, which wait on the disk beside the result. Without it all is done in memory.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Tell what was read and skipped, and how long each phase took.
    #[arg(long)]
    pub explain: bool,
    /// How many threads; 0 for one per core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `nowthen materialize`
#[derive(Debug, Args)]
pub struct MaterializeOptions {
    /// The views; or all with --all.
    #[arg(value_name = "VIEW", required_unless_present = "all")]
    pub views: Vec<String>,
    /// Every view that has a source.
    #[arg(long, conflicts_with = "views")]
    pub all: bool,
    /// Only events at or after this time.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Only events at or before this time; now, if it is not given.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Wait for the end, with a progress bar on a terminal.
    #[arg(long)]
    pub wait: bool,
    /// The server.
    #[arg(long, env = "NOWTHEN_URL", default_value = "redis://127.0.0.1:6379")]
    pub url: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `nowthen get`
#[derive(Debug, Args)]
pub struct GetOptions {
    /// The key of an entity: `airport:JFK`.
    #[arg(value_name = "KEY")]
    pub key: String,
    /// The features.
    #[arg(value_name = "FEATURE", required = true)]
    pub features: Vec<String>,
    /// As of this time instead of now.
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// The server.
    #[arg(long, env = "NOWTHEN_URL", default_value = "redis://127.0.0.1:6379")]
    pub url: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `nowthen inspect`
#[derive(Debug, Args)]
pub struct InspectOptions {
    /// A log segment, a snapshot file, a manifest; or a data directory, for all of them in order.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only what is about this key.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Only what this record or a later one wrote.
    #[arg(long, value_name = "N")]
    pub from_lsn: Option<u64>,
    /// Only what this record or an earlier one wrote.
    #[arg(long, value_name = "N")]
    pub to_lsn: Option<u64>,
    /// Print JSON: an object a line.
    #[arg(long)]
    pub json: bool,
}

/// `nowthen verify`
#[derive(Debug, Args)]
pub struct VerifyOptions {
    /// The data directory.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Print JSON: one object.
    #[arg(long)]
    pub json: bool,
}
