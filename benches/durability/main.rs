//! Question: what does durability cost beside Redis on the same disk, and what do readers feel?
//! Guess: packed rows and shared syncs make writes cheaper, most of all wide ones; without a fork a
//! snapshot costs no memory; parallel loading of packed rows starts many times faster.
//!
//! ```text
//! writes     50 connections, a closed loop, one core each          always | interval and everysec
//! snapshot   an open loop of reads and writes, without a snapshot and while one is written
//! start      from exec to a PONG that is not LOADING: from a snapshot, from a log of the same data
//! ```
//! Invariants
//! - The two take turns on the same disk, round by round; figures are medians of the rounds, CPU is
//!   the server's own (user + system, with children).
//! - Equal work: the same requests, every reply verified, the same promise on the disk. Redis does
//!   not rewrite its append-only file in the midst, nowthen takes no snapshot unless told.
//! - In an open loop a latency counts from the moment when its request was due.
//!
//! Usage: `cargo bench --bench durability -- [--quick] [--only writes|snapshot|start]
//! [--rounds N] [--seconds S] [--entities N] [--rate N] [--folder DIR] [--nowthen BINARY]
//! [--nice N]`. With `--test` it does nothing. On a machine that others use, as root:
//! `setsid sh -c 'echo -15 > /proc/self/autogroup; cargo bench ... --nice -10'`.

mod connection;
mod histogram;
mod memory;
#[path = "../load/nowthen_bench.rs"]
mod nowthen_bench;
mod open_loop;
mod requests;
mod server;
mod snapshot;
mod start;
mod writes;

use std::{error::Error, path::PathBuf, time::Duration};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What was asked for.
struct Options {
    only: Option<String>,
    rounds: usize,
    timed: Duration,
    /// Of the snapshot and the start.
    entities: usize,
    /// Reads per second, and as many writes, while a snapshot is written.
    rate: u64,
    folder: PathBuf,
    nowthen: PathBuf,
    nice: i32,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--test") {
        return Ok(());
    }
    let options = options(&words)?;
    server::pin_this_process(options.nice)?;
    let wants = |part| options.only.as_deref().is_none_or(|only| only == part);
    if wants("writes") {
        println!("{}", writes::table(&options)?);
    }
    if wants("snapshot") || wants("start") {
        println!("{}", start::tables(&options)?);
    }
    Ok(())
}

fn options(words: &[String]) -> Result<Options> {
    let mut options = Options {
        only: None,
        rounds: 5,
        timed: Duration::from_secs(3),
        entities: 1_000_000,
        rate: 5_000,
        folder: std::env::temp_dir(),
        nowthen: env!("CARGO_BIN_EXE_nowthen").into(),
        nice: 0,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--quick" => {
                options.entities = 20_000;
                options.rounds = 1;
                options.timed = Duration::from_millis(200);
                options.rate = 1_000;
            }
            "--only" => options.only = Some(value()?.clone()),
            "--rounds" => options.rounds = value()?.parse()?,
            "--seconds" => options.timed = Duration::try_from_secs_f64(value()?.parse()?)?,
            "--entities" => options.entities = value()?.parse()?,
            "--rate" => options.rate = value()?.parse()?,
            "--folder" => options.folder = value()?.into(),
            "--nowthen" => options.nowthen = value()?.into(),
            "--nice" => options.nice = value()?.parse()?,
            "--bench" => {} // cargo adds it
            _ => return Err(format!("unknown option {word}").into()),
        }
    }
    if options.rounds == 0 || options.entities == 0 || options.entities > requests::ENTITIES_MAX {
        return Err("give 1 round or more, and 1 to 9000000 entities".into());
    }
    Ok(options)
}

/// The middle one of several figures.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
