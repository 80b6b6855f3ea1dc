//! Part one: throughput of writes under the same promise.

use crate::{
    Options, Result,
    closed_loop::{CONNECTIONS, Case, Measured, measure},
    median,
    requests::{self, FEATURES},
    server::{BOTH, Kind, Place},
};
use std::fmt::Write;

const ENTITIES: usize = 100_000;
const CASES: [Case; 4] = [
    Case { prefix: "narrow", features: 1, pipeline: 1 },
    Case { prefix: "narrow", features: 1, pipeline: 16 },
    Case { prefix: "wide", features: FEATURES, pipeline: 1 },
    Case { prefix: "wide", features: FEATURES, pipeline: 16 },
];

/// A promise, and how each of the two is told to keep it.
struct Promise {
    name: &'static str,
    redis: &'static str,
    nowthen: &'static str,
}

const PROMISES: [Promise; 2] = [
    Promise { name: "synced before the reply", redis: "always", nowthen: "always" },
    Promise { name: "synced every second", redis: "everysec", nowthen: "interval:1000" },
];

/// Measures every case under both promises, in turns.
pub(crate) fn table(options: &Options) -> Result<String> {
    let mut table = format!(
        "HSET, {CONNECTIONS} connections, {} entities; `wide` is registered with nowthen\n\n\
         | promise | HSET | server | requests/s | p50 µs | p99 µs | CPU µs/request | ratio: \
         requests/s, p99, CPU |\n|---|---|---|--:|--:|--:|--:|--:|\n",
        ENTITIES.min(options.entities),
    );
    for promise in &PROMISES {
        for case in CASES {
            let rounds = measure_in_turns(options, promise, case)?;
            write_lines(&mut table, promise, case, &rounds);
        }
    }
    Ok(table)
}

fn measure_in_turns(
    options: &Options,
    promise: &Promise,
    case: Case,
) -> Result<[Vec<Measured>; 2]> {
    let entities = ENTITIES.min(options.entities);
    let mut rounds: [Vec<Measured>; 2] = Default::default();
    let places = [Place::new(Kind::Redis, options)?, Place::new(Kind::Nowthen, options)?];
    let mut servers = Vec::new();
    for place in &places {
        let server = place.start_pinned(&match place.kind {
            Kind::Redis => vec![
                "--appendonly",
                "yes",
                "--appendfsync",
                promise.redis,
                "--save",
                "",
                "--auto-aof-rewrite-percentage",
                "0",
            ],
            Kind::Nowthen => vec!["--durability", promise.nowthen, "--save", ""],
        })?;
        requests::load(server.port, case.prefix, entities, case.features)?;
        requests::verify(server.port, case.prefix, entities, case.features)?;
        servers.push(server);
    }
    for round in 0..options.rounds {
        for (server, measured) in servers.iter().zip(&mut rounds) {
            let seed = 1 + round as u64;
            measured.push(measure(server, case, entities, options.timed, seed)?);
            let last = measured.last().map_or(0.0, |it| it.requests_per_second);
            eprintln!("{}, {:?}, round {round}: {last:.0}/s", promise.name, case);
        }
    }
    Ok(rounds)
}

fn write_lines(table: &mut String, promise: &Promise, case: Case, rounds: &[Vec<Measured>; 2]) {
    let of = |rounds: &[Measured], figure: &dyn Fn(&Measured) -> f64| {
        median(rounds.iter().map(figure).collect())
    };
    let figures: Vec<[f64; 4]> = rounds
        .iter()
        .map(|rounds| {
            [
                of(rounds, &|it| it.requests_per_second),
                of(rounds, &|it| it.latency.percentile_us(0.5)),
                of(rounds, &|it| it.latency.percentile_us(0.99)),
                of(rounds, &|it| it.cpu_us_per_request),
            ]
        })
        .collect();
    let [redis, nowthen] = figures.as_slice() else { return };
    let ratio = |index: usize| {
        nowthen.get(index).copied().unwrap_or(f64::NAN)
            / redis.get(index).copied().unwrap_or(f64::NAN)
    };
    for (kind, [rate, p50, p99, cpu]) in BOTH.iter().zip([redis, nowthen]) {
        let ratios = match kind {
            Kind::Redis => String::new(),
            Kind::Nowthen => format!("{:.2}, {:.2}, {:.2}", ratio(0), ratio(2), ratio(3)),
        };
        let _ = writeln!(
            table,
            "| {} | {} field{}, {} at once | {} | {rate:.0} | {p50:.0} | {p99:.0} | {cpu:.2} | \
             {ratios} |",
            promise.name,
            case.features,
            if case.features == 1 { "" } else { "s" },
            case.pipeline,
            kind.name(),
        );
    }
}
