//! Part one: throughput of writes under the same promise.

use crate::{
    Options, Result, median,
    nowthen_bench::{CONNECTIONS, Load, Measured},
    server::{BOTH, Kind, Place, Server},
};
use std::fmt::Write;

const ENTITIES: usize = 100_000;
const FEATURES: u64 = 20;
const CASES: [Case; 4] = [
    Case { features: 1, pipeline: 1 },
    Case { features: 1, pipeline: 16 },
    Case { features: FEATURES, pipeline: 1 },
    Case { features: FEATURES, pipeline: 16 },
];

/// What is written: one field of a plain hash, or every feature of an entity, which is registered
/// with nowthen.
#[derive(Clone, Copy, Debug)]
struct Case {
    features: u64,
    pipeline: u64,
}

impl Case {
    fn load(self, options: &Options, kind: Kind, server: &Server) -> Load {
        let is_registered = kind == Kind::Nowthen && self.features > 1;
        Load {
            port: server.port,
            process_id: server.process_id(),
            tier: if is_registered { "registered" } else { "plain" },
            entities: ENTITIES.min(options.entities) as u64,
            features: self.features,
            fields: self.features,
            clients: CONNECTIONS,
            pipeline: self.pipeline,
            batch: 1,
            read: "hmget",
            mix: "read=0,write=100",
            rate: None,
            warm_up: options.timed / 5,
            timed: options.timed,
        }
    }
}

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
        "HSET, {CONNECTIONS} connections, {} entities; with 20 fields, registered with nowthen\n\n\
         | promise | HSET | server | requests/s | p50 µs | p99 µs | p99.9 µs \
         | CPU µs/request | ratio: requests/s, p99, CPU |\n|---|---|---|--:|--:|--:|--:|--:|--:|\n",
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
        case.load(options, place.kind, &server).fill()?;
        servers.push(server);
    }
    for round in 0..options.rounds {
        for ((kind, server), measured) in BOTH.into_iter().zip(&servers).zip(&mut rounds) {
            measured.push(case.load(options, kind, server).measure(1 + round as u64)?);
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
    let figures: Vec<[f64; 5]> = rounds
        .iter()
        .map(|rounds| {
            [
                of(rounds, &|it| it.requests_per_second),
                of(rounds, &|it| it.p50_us),
                of(rounds, &|it| it.p99_us),
                of(rounds, &|it| it.p999_us),
                of(rounds, &|it| it.server_cpu_us_per_request),
            ]
        })
        .collect();
    let [redis, nowthen] = figures.as_slice() else { return };
    let ratio = |index: usize| {
        nowthen.get(index).copied().unwrap_or(f64::NAN)
            / redis.get(index).copied().unwrap_or(f64::NAN)
    };
    for (kind, [rate, p50, p99, p999, cpu]) in BOTH.iter().zip([redis, nowthen]) {
        let ratios = match kind {
            Kind::Redis => String::new(),
            Kind::Nowthen => format!("{:.2}, {:.2}, {:.2}", ratio(0), ratio(2), ratio(4)),
        };
        let _ = writeln!(
            table,
            "| {} | {} field{}, {} at once | {} | {rate:.0} | {p50:.0} | {p99:.0} | {p999:.0} \
             | {cpu:.2} | {ratios} |",
            promise.name,
            case.features,
            if case.features == 1 { "" } else { "s" },
            case.pipeline,
            kind.name(),
        );
    }
}
