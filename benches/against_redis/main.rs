//! Question: how many feature reads does one core serve, beside Redis on the same core and data?
//! Guess: twice as many of 10 in a pipeline, five times as many of 50; without one, the kernel's
//! 7 µs per request make both alike.
//!
//! ```text
//! core 0   redis-server | nowthen serve      never both busy: they take turns, case by case
//! core 1   nowthen bench: 50 connections, a closed loop
//! ```
//! Invariants
//! - Equal work: both hold the same doubles, and replies are compared with them before and after
//!   each run. Neither keeps anything on disk.
//! - Figures are medians of the rounds; CPU is the server's own (user + system) per request.
//! - A latency counts from when a request was sent, with all 16 of a pipeline, in a closed loop: it
//!   compares the two, it does not promise what either does at a given rate.
//!
//! Usage: `cargo bench --bench against_redis -- [--quick] [--seconds S] [--rounds N]
//! [--entities N] [--json FILE]`. With `--test` it does nothing.

#[path = "../load/nowthen_bench.rs"]
mod nowthen_bench;
mod report;
mod server;

use nowthen_bench::{CONNECTIONS, Load, Measured};
use report::Line;
use server::Server;
use std::{error::Error, path::PathBuf, time::Duration};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const FEATURES: u64 = 50;
const WIDTHS: [u64; 3] = [3, 10, FEATURES];
const PIPELINES: [u64; 2] = [1, 16];
const SEED: u64 = 1;
const ENTITIES_MAX: u64 = 9_000_000;

struct Options {
    entities: u64,
    rounds: u64,
    warm_up: Duration,
    timed: Duration,
    json: Option<PathBuf>,
}

/// One question to both servers: how many features, how many requests at once.
#[derive(Clone, Copy)]
struct Case {
    width: u64,
    pipeline: u64,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--test") {
        return Ok(());
    }
    let options = options(&words)?;
    server::pin_this_process()?;

    let servers = [Server::start_redis()?, Server::start_nowthen()?];
    for server in &servers {
        eprintln!("loading {} entities into {}", options.entities, server.name);
        load(&options, Case { width: FEATURES, pipeline: 1 }, server).fill()?;
    }
    let lines = compare(&options, &servers)?;
    println!("{}", report::markdown(&lines));
    if let Some(path) = &options.json {
        std::fs::write(path, report::json(&lines, options.entities, CONNECTIONS))?;
    }
    Ok(())
}

fn options(words: &[String]) -> Result<Options> {
    let mut options = Options {
        entities: 100_000,
        rounds: 3,
        warm_up: Duration::from_millis(500),
        timed: Duration::from_secs(3),
        json: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--quick" => {
                options.entities = 2_000;
                options.rounds = 1;
                options.warm_up = Duration::from_millis(100);
                options.timed = Duration::from_millis(300);
            }
            "--seconds" => options.timed = Duration::try_from_secs_f64(value()?.parse()?)?,
            "--rounds" => options.rounds = value()?.parse()?,
            "--entities" => options.entities = value()?.parse()?,
            "--json" => options.json = Some(value()?.into()),
            "--bench" => {} // cargo adds it
            _ => return Err(format!("unknown option {word}").into()),
        }
    }
    if options.rounds == 0 || options.entities == 0 || options.entities > ENTITIES_MAX {
        return Err(format!("give 1 round or more, 1 to {ENTITIES_MAX} entities").into());
    }
    Ok(options)
}

/// Measures every case on both servers, in turns, and gives the medians.
fn compare(options: &Options, servers: &[Server; 2]) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for width in WIDTHS {
        for pipeline in PIPELINES {
            lines.extend(measure_in_turns(options, Case { width, pipeline }, servers)?);
        }
    }
    Ok(lines)
}

fn measure_in_turns(options: &Options, case: Case, servers: &[Server; 2]) -> Result<[Line; 2]> {
    let mut rounds: [Vec<Measured>; 2] = Default::default();
    for round in 0..options.rounds {
        for (server, measured) in servers.iter().zip(&mut rounds) {
            eprintln!("round {round}: {}, {} at once: {}", case.width, case.pipeline, server.name);
            measured.push(load(options, case, server).measure(SEED + round)?);
        }
    }
    let [redis, nowthen] = servers;
    let [of_redis, of_nowthen] = rounds;
    Ok([Line::median(redis.name, case, &of_redis), Line::median(nowthen.name, case, &of_nowthen)])
}

fn load(options: &Options, case: Case, server: &Server) -> Load {
    Load {
        port: server.port,
        process_id: server.process_id(),
        tier: server.tier,
        entities: options.entities,
        features: FEATURES,
        fields: case.width,
        pipeline: case.pipeline,
        mix: "read=100,write=0",
        warm_up: options.warm_up,
        timed: options.timed,
    }
}
