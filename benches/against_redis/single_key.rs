//! GET, SET, and HSET of one field of a plain hash, by redis-benchmark.

use crate::{
    Result, in_turns,
    nowthen_bench::{CONNECTIONS, Measured},
    options::Options,
    report::{Figure, Goal, Line},
    server::Server,
};
use std::process::{Command, Stdio};

/// SET before GET: what is not there is cheaper.
const COMMANDS: [(&str, &[&str]); 3] = [
    ("SET", &["SET", "key:__rand_int__", VALUE]),
    ("GET", &["GET", "key:__rand_int__"]),
    ("HSET of 1 field", &["HSET", "hash:__rand_int__", "field", VALUE]),
];
const VALUE: &str = "twenty bytes of text";
/// About so many a second, with and without a pipeline.
const PER_SECOND: [(u64, f64); 2] = [(1, 100_000.0), (16, 700_000.0)];

/// A line per command and pipeline.
pub(super) fn compare(options: &Options) -> Result<Vec<Line>> {
    let rows = COMMANDS.iter().flat_map(|command| PER_SECOND.map(|pipeline| (command, pipeline)));
    let rows = rows.map(|((name, words), (pipeline, per_second))| {
        let piped = if pipeline == 1 { "no pipeline" } else { "16 in a pipeline" };
        (format!("{name}, {piped}"), *words, pipeline, per_second)
    });
    let rows: Vec<_> = rows.filter(|(work, ..)| options.wants(work)).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let (redis, nowthen) = (Server::start_redis("Redis", &[])?, Server::start_nowthen()?);
    for server in [&redis, &nowthen] {
        run(options, server, COMMANDS[0].1, [CONNECTIONS, 16], 2 * options.entities)?;
    }
    let goal = Goal { figure: Figure::Throughput, times: 1.0 };
    let mut lines = Vec::new();
    for (work, words, pipeline, per_second) in rows {
        let part = if options.is_quick { 0.2 } else { 1.0 };
        let requests = (per_second * options.timed.as_secs_f64() * part) as u64;
        let at_once = [CONNECTIONS, pipeline];
        let mut of_redis = |_| run(options, &redis, words, at_once, requests);
        let mut of_nowthen = |_| run(options, &nowthen, words, at_once, requests);
        let measure: [(&Server, &mut dyn FnMut(u64) -> Result<_>); 2] =
            [(&redis, &mut of_redis), (&nowthen, &mut of_nowthen)];
        lines.push(in_turns(options, goal, &work, measure)?);
    }
    Ok(lines)
}

/// A command many times: how fast, and what it costs the server.
pub(super) fn run(
    options: &Options,
    server: &Server,
    words: &[&str],
    [clients, pipeline]: [u64; 2],
    requests: u64,
) -> Result<Measured> {
    let mut command = Command::new("redis-benchmark");
    for (name, value) in [
        ("-p", u64::from(server.port)),
        ("-c", clients),
        ("-P", pipeline),
        ("-n", requests),
        ("-r", options.entities),
    ] {
        command.arg(name).arg(value.to_string());
    }
    command.arg("--csv").args(words).stderr(Stdio::piped());
    let before = server.cpu()?;
    let ended = command.output()?;
    let cpu = server.cpu()?.saturating_sub(before);
    let told = String::from_utf8(ended.stdout)?;
    let said = String::from_utf8_lossy(&ended.stderr);
    let is_right = ended.status.success() && !told.contains("rror") && !said.contains("rror");
    // "test","rps","avg_latency_ms","min","p50","p95","p99","max"; words may hold commas.
    let line = told.lines().last().unwrap_or_default();
    let mut cells: Vec<&str> = line.rsplit("\",\"").take(7).collect();
    cells.reverse();
    let figure = |index: usize| -> Result<f64> {
        let cell = cells.get(index).filter(|_| is_right);
        let cell = cell.ok_or_else(|| format!("{command:?}: {told} {said}"))?;
        Ok(cell.trim_matches('"').parse()?)
    };
    Ok(Measured {
        requests_per_second: figure(0)?,
        server_cpu_us_per_request: cpu.as_secs_f64() * 1e6 / requests as f64,
        p50_us: figure(3)? * 1000.0,
        p99_us: figure(5)? * 1000.0,
        p999_us: f64::NAN,
    })
}
