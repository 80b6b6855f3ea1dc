//! What `nowthen bench` takes.

use crate::feature::parse_duration_us;
use clap::{Args, ValueEnum};
use std::{fmt, num::NonZero, path::PathBuf, str::FromStr, time::Duration};

pub(in crate::cli) const BENCH_HELP: &str = "\
Examples:
  nowthen bench --rate 20000 --duration 30s --picture latency.svg
  nowthen bench --url redis://127.0.0.1:6380 --rate max --clients 50 --pipeline 16 --json

Requests are due at fixed times, whatever the server does, and a latency counts from when its
request was due: a server that stands still for a second has a second's worth of late requests.
A request whose connections all wait (--clients times --pipeline) is sent as soon as one of them has
room, and its latency counts from when it was due all the same. The warm-up counts for nothing.
With --rate max each client sends --pipeline requests, waits for all replies, and sends again; that
finds out how much a server can do, and its latencies say nothing about a lower rate.

Between requests this program sleeps, which adds some ten µs to each latency; with --spin it does
not, and takes a whole core for each thread.

A request reads, or writes, --batch entities. Writes are HSETs of every feature. Values are a
function of entity and feature, the same in every run, and replies are compared with them before and
after.
Keys are bench_plain50:1000000 and on, with 50 for --features; with --tier registered the entity
is bench_typed50, which is applied first. They stay in the server.

Exit codes: 0 measured; 1 failed, or errors in replies, or this program was itself too late (then
the figures are printed, and not valid); 2 usage.";

/// Enough digits for keys of one length.
const ENTITIES_MAX: u64 = 9_000_000;
const FEATURES_MAX: i64 = 10_000;
const RATE_MAX: u64 = 100_000_000;
const DURATION_MAX_US: i64 = 24 * 3600 * 1_000_000;
const EXPONENT_MAX: f64 = 10.0;
const PERCENT: u64 = 100;

/// `nowthen bench`
#[derive(Clone, Debug, Args)]
pub struct BenchOptions {
    /// The server: nowthen, or a Redis server
    #[arg(long, env = "NOWTHEN_URL", default_value = "redis://127.0.0.1:6379")]
    pub url: String,
    /// Requests per second, or `max`
    #[arg(long, value_name = "N", default_value = "10000", value_parser = parse_rate)]
    pub rate: Rate,
    /// How long to measure
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// How long to send before that
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = parse_duration)]
    pub warmup: Duration,
    /// How many connections
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: u32,
    /// How many threads of this program share them
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub threads: u32,
    /// How many requests may be on their way on a connection
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub pipeline: u32,
    /// Reads and writes of a hundred requests
    #[arg(long, value_name = "read=N,write=N", default_value = "read=100,write=0")]
    pub mix: Mix,
    /// How many entities there are
    #[arg(long, value_name = "N", default_value_t = 100_000,
          value_parser = clap::value_parser!(u64).range(1..=ENTITIES_MAX))]
    pub entities: u64,
    /// How many features each has, all doubles
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=FEATURES_MAX))]
    pub features: u32,
    /// How many features a read asks for; all, if it is not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=FEATURES_MAX))]
    pub fields: Option<u32>,
    /// How many entities a request is about
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch: u32,
    /// How a request reads; `hmget` sends one for each entity, at once
    #[arg(long, value_name = "HOW", default_value = "hmget")]
    pub read: ReadCommand,
    /// Which entities: each as often, or by rank as in Zipf's law
    #[arg(long, value_name = "uniform|zipf[:EXPONENT]", default_value = "uniform")]
    pub keys: Keys,
    /// Plain hashes, or a registered entity with typed features (nowthen only)
    #[arg(long, value_name = "TIER", default_value = "plain")]
    pub tier: Tier,
    /// Write every entity first; this is the default
    #[arg(long, overrides_with = "no_load")]
    pub load: bool,
    /// Use what an earlier run with the same --entities, --features and --tier wrote
    #[arg(long)]
    pub no_load: bool,
    /// Another seed asks for other entities in another order
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The 99th percentile of how late this program itself may send
    #[arg(long, value_name = "SPAN", default_value = "1ms", value_parser = parse_duration)]
    pub late_max: Duration,
    /// Look for replies and due requests all the time instead of sleeping between them: to the
    /// microsecond, if each thread has a core of its own
    #[arg(long)]
    pub spin: bool,
    /// The process whose CPU time is told, with children that ended; found by itself if the server
    /// is on this machine
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Draw latency by percentile
    #[arg(long, value_name = "FILE.svg")]
    pub picture: Option<PathBuf>,
    /// Print JSON: one object
    #[arg(long)]
    pub json: bool,
}

/// When requests are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// So many per second, whatever the server does.
    PerSecond(NonZero<u64>),
    /// As soon as the ones before have their replies.
    Max,
}

/// How features are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReadCommand {
    /// An HMGET for each entity.
    Hmget,
    /// One FS.GET AS VALUES.
    #[value(name = "fs.get-values")]
    FsGetValues,
    /// One FS.GET AS VECTOR.
    #[value(name = "fs.get-vector")]
    FsGetVector,
}

/// What the entities are to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tier {
    /// Hashes, as Redis has them.
    Plain,
    /// A view of typed features.
    Registered,
}

/// How many of a hundred requests read; the others write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// 0 to 100.
    pub read_percent: u64,
}

/// How often which entity is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keys {
    /// Each as often.
    Uniform,
    /// The one of rank r in proportion to 1 / r to the power of `exponent`.
    Zipf {
        /// Above 0.
        exponent: f64,
    },
}

impl BenchOptions {
    /// How many features a read asks for.
    pub(super) fn fields(&self) -> u32 {
        self.fields.unwrap_or(self.features)
    }

    /// What is wrong between arguments that are right each by itself.
    pub(super) fn contradiction(&self) -> Option<String> {
        if self.fields() > self.features {
            return Some(format!(
                "--fields {} is more than --features {}: a read asks for some or all of them",
                self.fields(),
                self.features
            ));
        }
        if self.threads > self.clients {
            return Some(format!(
                "--threads {} is more than --clients {}: each thread needs a connection",
                self.threads, self.clients
            ));
        }
        if self.read != ReadCommand::Hmget && self.tier == Tier::Plain {
            return Some(format!(
                "--read {} needs --tier registered: FS.GET reads no plain hashes",
                name_of(&self.read)
            ));
        }
        None
    }
}

/// The name of a value on the command line.
pub(super) fn name_of(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    let rate = text.parse().ok().filter(|rate: &NonZero<u64>| rate.get() <= RATE_MAX);
    rate.map(Rate::PerSecond)
        .ok_or_else(|| format!("expected requests per second, from 1 to {RATE_MAX}, or max"))
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let us = parse_duration_us(text).map_err(|error| error.to_string())?;
    if us > DURATION_MAX_US {
        return Err("expected a day (24h) at most".into());
    }
    Ok(Duration::from_micros(us.unsigned_abs()))
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerSecond(rate) => write!(f, "{rate}"),
            Self::Max => f.write_str("max"),
        }
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected shares that make 100, such as read=95,write=5".to_owned();
        let (mut read, mut write) = (None, None);
        for part in text.split(',') {
            let (name, share) = part.split_once('=').ok_or_else(expected)?;
            let share: u64 = share.parse().map_err(|_| expected())?;
            let place = match name {
                "read" => &mut read,
                "write" => &mut write,
                _ => return Err(expected()),
            };
            if share > PERCENT || place.replace(share).is_some() {
                return Err(expected());
            }
        }
        let (read_percent, write) = (read.unwrap_or(0), write.unwrap_or(0));
        if read_percent + write == PERCENT { Ok(Self { read_percent }) } else { Err(expected()) }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read={},write={}", self.read_percent, PERCENT - self.read_percent)
    }
}

impl FromStr for Keys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let exponent = match text.split_once(':') {
            None if text == "uniform" => return Ok(Self::Uniform),
            None if text == "zipf" => Some(0.99),
            Some(("zipf", exponent)) => exponent.parse().ok(),
            _ => None,
        };
        let exponent = exponent.filter(|it| *it > 0.0 && *it <= EXPONENT_MAX);
        exponent.map(|exponent| Self::Zipf { exponent }).ok_or_else(|| {
            format!("expected uniform, zipf, or zipf:EXPONENT above 0, at most {EXPONENT_MAX}")
        })
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf { exponent } => write!(f, "zipf:{exponent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_make_a_hundred_or_are_refused() {
        for (text, read) in [("read=95,write=5", 95), ("write=100", 0), ("write=1,read=99", 99)] {
            let mix: Mix = text.parse().unwrap();
            assert_eq!(mix.read_percent, read, "{text}");
            assert_eq!(mix.to_string().parse(), Ok(mix));
        }
        for text in ["", "read", "read=x", "read=50", "read=50,read=50", "read=101", "delete=100"] {
            assert!(text.parse::<Mix>().unwrap_err().contains("read=95,write=5"), "{text}");
        }
    }

    #[test]
    fn keys_are_uniform_or_zipf_with_a_sensible_exponent() {
        assert_eq!("uniform".parse(), Ok(Keys::Uniform));
        assert_eq!("zipf".parse(), Ok(Keys::Zipf { exponent: 0.99 }));
        assert_eq!("zipf:1.2".parse(), Ok(Keys::Zipf { exponent: 1.2 }));
        for text in ["", "zipf:", "zipf:0", "zipf:-1", "zipf:11", "zipf:NaN", "uniform:1", "hot"] {
            assert!(text.parse::<Keys>().unwrap_err().starts_with("expected uniform"), "{text}");
        }
    }

    #[test]
    fn a_rate_is_a_number_above_zero_or_max() {
        assert_eq!(parse_rate("max"), Ok(Rate::Max));
        assert_eq!(parse_rate("7").map(|rate| rate.to_string()), Ok("7".into()));
        for text in ["", "0", "-1", "1.5", "100000001", "MAX"] {
            assert!(parse_rate(text).unwrap_err().contains("or max"), "{text}");
        }
    }
}
