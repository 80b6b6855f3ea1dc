//! The load: `nowthen bench` in a process of its own, and what it tells.

use crate::{CONNECTIONS, Case, FEATURES, Result, SEED, server::Server};
use serde_json::Value as Json;
use std::{
    process::{Command, Stdio},
    time::Duration,
};

#[derive(Clone, Copy)]
pub(super) struct Timing {
    pub(super) warm_up: Duration,
    pub(super) timed: Duration,
}

pub(super) struct Measured {
    pub(super) requests_per_second: f64,
    pub(super) server_cpu_us_per_request: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
}

/// Writes every feature of every entity, and looks that they are there.
pub(super) fn fill(server: &Server, entities: u64) -> Result<()> {
    let case = Case { width: FEATURES, pipeline: 1 };
    let moment = Duration::from_millis(100);
    let timing = Timing { warm_up: moment, timed: moment };
    run(server, entities, case, timing, &["--load"]).map(drop)
}

/// One closed loop on `server` after a warm-up.
pub(super) fn measure(
    server: &Server,
    entities: u64,
    case: Case,
    timing: Timing,
    round: u64,
) -> Result<Measured> {
    let seed = (SEED + round).to_string();
    let told = run(server, entities, case, timing, &["--no-load", "--seed", &seed])?;
    let figure = |path: &str| {
        let figure = told.pointer(path).and_then(Json::as_f64);
        figure.ok_or_else(|| format!("nowthen bench did not tell {path}: {told}"))
    };
    Ok(Measured {
        requests_per_second: figure("/requests_per_second")?,
        server_cpu_us_per_request: figure("/server_cpu/us_per_request")?,
        p50_us: figure("/reads/p50_us")?,
        p99_us: figure("/reads/p99_us")?,
        p999_us: figure("/reads/p999_us")?,
    })
}

fn run(server: &Server, entities: u64, case: Case, timing: Timing, more: &[&str]) -> Result<Json> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nowthen"));
    command.args(["bench", "--rate", "max", "--json", "--tier", server.tier]);
    command.args(["--server-pid", &server.process_id().to_string()]);
    command.args(["--url", &format!("redis://127.0.0.1:{}", server.port)]);
    for (name, number) in [
        ("--entities", entities),
        ("--clients", CONNECTIONS),
        ("--features", FEATURES),
        ("--fields", case.width),
        ("--pipeline", case.pipeline),
    ] {
        command.args([name, &number.to_string()]);
    }
    for (name, span) in [("--warmup", timing.warm_up), ("--duration", timing.timed)] {
        command.args([name, &format!("{}us", span.as_micros())]);
    }
    let ended = command.args(more).stderr(Stdio::piped()).output()?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        return Err(format!("nowthen bench on {}: {said}", server.name).into());
    }
    Ok(serde_json::from_slice(&ended.stdout)?)
}
