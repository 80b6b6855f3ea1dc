//! Question: what does a request cost one core, and an entity of memory, beside Redis on the same
//! core and data? Guess: without a pipeline the kernel's 7 µs make both alike; in a pipeline, in
//! batches and in memory wide rows win by as much as they need no names and no search.
//!
//! ```text
//! core 0   redis-server | nowthen serve      never both busy: they take turns, case by case
//! core 1   nowthen bench, redis-benchmark: a closed loop
//! ```
//! Invariants
//! - Equal work: both hold the same values, and what `nowthen bench` reads of about 1,000 entities
//!   is compared with them before and after each run. Of redis-benchmark and of the echo no value
//!   is compared. Neither keeps anything on disk that it waits for.
//! - Figures are medians of the rounds, but memory, which is measured once; CPU is the server's own
//!   (user + system) per request.
//! - A latency counts from when a request was sent, with all of a pipeline, in a closed loop: it
//!   compares the two, it does not promise what either does at a given rate.
//!
//! Usage: `cargo bench --bench against_redis -- [--quick] [--seconds S] [--rounds N]
//! [--entities N] [--memory-entities N] [--grow-to N] [--only WORDS] [--json FILE]`. `--only` takes
//! the rows whose work holds these words; with `--grow-to` the rounds with a table that grows take
//! as long as it needs to have so many entities. With `--test` it does nothing.

#[path = "../load/nowthen_bench.rs"]
mod nowthen_bench;

mod echo;
mod features;
mod memory;
mod options;
mod report;
mod server;
mod single_key;
mod tails;

use nowthen_bench::Measured;
use options::Options;
use report::{Goal, Line};
use server::Server;
use std::error::Error;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
/// Measures one round, given its number.
type Measure<'a> = &'a mut dyn FnMut(u64) -> Result<Measured>;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--test") {
        return Ok(());
    }
    if let [word, port, reply_bytes] = words.as_slice()
        && word == echo::ECHO
    {
        return echo::serve(port.parse()?, reply_bytes.parse()?);
    }
    let options = Options::parse(&words)?;
    server::pin_this_process()?;
    let mut lines = features::compare(&options)?;
    lines.extend(single_key::compare(&options)?);
    lines.extend(echo::compare(&options)?);
    lines.extend(tails::compare(&options)?);
    lines.extend(memory::compare(&options)?);
    println!("{}", report::markdown(&lines));
    if let Some(path) = &options.json {
        std::fs::write(path, report::json(&lines, options.entities))?;
    }
    Ok(())
}

/// Measures both servers in turns.
fn in_turns(
    options: &Options,
    goal: Goal,
    work: &str,
    mut turns: [(&Server, Measure<'_>); 2],
) -> Result<Line> {
    let mut rounds: [Vec<Measured>; 2] = Default::default();
    for round in 0..options.rounds {
        for measured in &mut rounds {
            let [(server, measure), (other, _)] = &mut turns;
            eprintln!("round {round}: {work}: {}", server.name);
            let other_stands_still = other.stand_still()?;
            measured.push(measure(round)?);
            drop(other_stands_still);
            turns.swap(0, 1);
        }
    }
    let [redis, nowthen] = rounds;
    Ok(Line::of_rounds(work, goal, &redis, &nowthen))
}
