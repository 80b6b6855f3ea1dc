//! Parts two and three, which share their data: snapshots under load, and starting from a log and
//! from a snapshot.
//!
//! ```text
//! load ─> SHUTDOWN ─> starts from the log ─> snapshots under load ─> SAVE ─> starts from it
//! ```
//! While snapshots are written nobody syncs a log: a busy disk would hide what they cost. Redis'
//! log in the other part holds commands, without an RDB preamble: what a log is before its first
//! rewrite. Both start from files that the page cache holds, on all cores.

use crate::{
    Options, Result, median,
    memory::Memory,
    open_loop::{FEATURES_READ, Measured},
    requests::{self, FEATURES},
    server::{BOTH, Kind, Place, Server},
    snapshot::{self, Round},
};
use std::fmt::Write;

const LOG: [&[&str]; 2] = [
    &[
        "--appendonly",
        "yes",
        "--appendfsync",
        "everysec",
        "--aof-use-rdb-preamble",
        "no",
        "--auto-aof-rewrite-percentage",
        "0",
        "--save",
        "",
    ],
    &["--durability", "interval:1000", "--save", ""],
];
/// From the snapshot alone Redis starts without its log; nowthen still verifies what it has of one.
const SNAPSHOT: [&[&str]; 2] =
    [&["--appendonly", "no", "--save", ""], &["--durability", "never", "--save", ""]];

/// One start.
struct Start {
    seconds: f64,
    cpu_seconds: f64,
}

type Starts = [Vec<Start>; 2];

/// Measures both parts, or the one that was asked for.
pub(crate) fn tables(options: &Options) -> Result<String> {
    let places = [Place::new(Kind::Redis, options)?, Place::new(Kind::Nowthen, options)?];
    for (place, log) in places.iter().zip(LOG) {
        eprintln!("loading {} entities into {}", options.entities, place.kind.name());
        let server = place.start(log)?;
        requests::load(server.port, "wide", options.entities, FEATURES)?;
        shut_down(server)?;
    }
    let only = options.only.as_deref();
    let mut text = String::new();
    let from_log = match only {
        Some("snapshot") => None,
        _ => Some(starts(options, &places, LOG, "log")?),
    };
    let mut rounds: [Vec<Round>; 2] = Default::default();
    for round in 0..options.rounds {
        for ((place, log), rounds) in places.iter().zip([LOG[0], SNAPSHOT[1]]).zip(&mut rounds) {
            if only == Some("start") && round > 0 {
                break;
            }
            let server = place.start_pinned(log)?;
            if place.kind == Kind::Redis {
                server.ask(&["CONFIG", "SET", "appendonly", "no"])?;
            }
            if only != Some("start") {
                let measured = snapshot::measure(&server, options, round as u64)?;
                eprintln!("round {round}, {}: {}", place.kind.name(), told(&measured));
                rounds.push(measured);
            }
            if !server.ask(&["SAVE"])?.starts_with("+OK") {
                return Err("SAVE failed".into());
            }
            shut_down(server)?;
        }
    }
    if only != Some("start") {
        text += &snapshot_table(options, &rounds);
    }
    if let Some(from_log) = from_log {
        let from_snapshot = starts(options, &places, SNAPSHOT, "snapshot")?;
        text += &start_table(options, &[("snapshot", from_snapshot), ("log", from_log)]);
    }
    Ok(text)
}

/// Without a snapshot: the log holds everything.
fn shut_down(server: Server) -> Result<()> {
    // The connection closes without a reply.
    let _ = server.ask(&["SHUTDOWN", "NOSAVE"]);
    server.wait()
}

fn starts(
    options: &Options,
    places: &[Place<'_>; 2],
    arguments: [&[&str]; 2],
    from: &str,
) -> Result<Starts> {
    let mut starts: Starts = Default::default();
    for round in 0..options.rounds {
        for ((place, arguments), starts) in places.iter().zip(arguments).zip(&mut starts) {
            let server = place.start(arguments)?;
            let (seconds, cpu) = (server.ready_after.as_secs_f64(), server.cpu()?.as_secs_f64());
            eprintln!("round {round}, {} from its {from}: {seconds:.2} s", place.kind.name());
            starts.push(Start { seconds, cpu_seconds: cpu });
            requests::verify(server.port, "wide", options.entities, FEATURES)?;
            shut_down(server)?;
        }
    }
    Ok(starts)
}

fn start_table(options: &Options, parts: &[(&str, Starts)]) -> String {
    let mut table = format!(
        "Ready after, {} entities x {FEATURES}\n\n| from | Redis s (CPU s) | nowthen s (CPU s) | \
         times faster, wall and CPU |\n|---|--:|--:|--:|\n",
        options.entities
    );
    for (from, starts) in parts {
        let [redis, nowthen] = starts.each_ref().map(|starts| {
            let of = |figure: fn(&Start) -> f64| median(starts.iter().map(figure).collect());
            (of(|start| start.seconds), of(|start| start.cpu_seconds))
        });
        let _ = writeln!(
            table,
            "| {from} | {:.2} ({:.2}) | {:.2} ({:.2}) | {:.1}, {:.1} |",
            redis.0,
            redis.1,
            nowthen.0,
            nowthen.1,
            redis.0 / nowthen.0,
            redis.1 / nowthen.1,
        );
    }
    table
}

fn snapshot_table(options: &Options, rounds: &[Vec<Round>; 2]) -> String {
    let mut table = format!(
        "A snapshot of {} entities x {FEATURES}, {} reads/s of {FEATURES_READ} features and {} \
         writes/s of {FEATURES}, no log synced; µs\n\n| server | when | reads p50 | p99 | p99.9 | \
         writes p50 | p99 | p99.9 | sent late p99.9 | memory MB: Pss, anonymous |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        options.entities, options.rate, options.rate
    );
    for (kind, rounds) in BOTH.iter().zip(rounds) {
        let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
        for (when, measured, memory) in [
            ("rest", rest as fn(&Round) -> &_, rest_memory as fn(&Round) -> Memory),
            ("snapshot", during, peak_memory),
        ] {
            let _ = write!(table, "| {} | {when} |", kind.name());
            for share in [0.5, 0.99, 0.999] {
                let p = of(&|round| measured(round).reads.percentile_us(share));
                let _ = write!(table, " {p:.0} |");
            }
            for share in [0.5, 0.99, 0.999] {
                let p = of(&|round| measured(round).writes.percentile_us(share));
                let _ = write!(table, " {p:.0} |");
            }
            let late = of(&|round| measured(round).sent_late.percentile_us(0.999));
            let pss = of(&|round| memory(round).pss as f64 / 1e6);
            let anonymous = of(&|round| memory(round).anonymous as f64 / 1e6);
            let _ = writeln!(table, " {late:.0} | {pss:.0}, {anonymous:.0} |");
        }
        let reads = |round: &Round, share| {
            round.during.reads.percentile_us(share) / round.rest.reads.percentile_us(share)
        };
        let _ = writeln!(
            table,
            "| {} | ratio | | {:.2} | {:.2} | | | | | {:.3}, {:.3} |",
            kind.name(),
            of(&|round| reads(round, 0.99)),
            of(&|round| reads(round, 0.999)),
            of(&|round| round.peak_memory.pss as f64 / round.rest_memory.pss as f64),
            of(&|round| round.peak_memory.anonymous as f64 / round.rest_memory.anonymous as f64),
        );
        let seconds = of(&|round| round.snapshot_seconds);
        let cpu = of(&|round| round.snapshot_cpu_seconds);
        let _ = writeln!(
            table,
            "| {} | took {seconds:.1} s, {cpu:.1} s of CPU with the load | | | | | | | | |",
            kind.name()
        );
    }
    table.push('\n');
    table
}

fn rest(round: &Round) -> &Measured {
    &round.rest
}

fn during(round: &Round) -> &Measured {
    &round.during
}

fn rest_memory(round: &Round) -> Memory {
    round.rest_memory
}

fn peak_memory(round: &Round) -> Memory {
    round.peak_memory
}

fn told(round: &Round) -> String {
    format!(
        "p99.9 of reads {:.0} -> {:.0} µs, anonymous memory {:.0} -> {:.0} MB, {:.1} s",
        round.rest.reads.percentile_us(0.999),
        round.during.reads.percentile_us(0.999),
        round.rest_memory.anonymous as f64 / 1e6,
        round.peak_memory.anonymous as f64 / 1e6,
        round.snapshot_seconds,
    )
}
