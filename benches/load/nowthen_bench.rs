//! `nowthen bench` in a process of its own, and what it tells: the load of the other benches.
//!
//! It runs on the cores that this process has, and fails if a reply was wrong.

use serde_json::Value as Json;
use std::{
    error::Error,
    process::{Command, Stdio},
    time::Duration,
};

pub(crate) const CONNECTIONS: u64 = 50;

/// As fast as it can, or at a rate.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) port: u16,
    pub(crate) process_id: u32,
    /// `plain` or `registered`.
    pub(crate) tier: &'static str,
    pub(crate) entities: u64,
    pub(crate) features: u64,
    /// How many features a read asks for.
    pub(crate) fields: u64,
    /// How many connections.
    pub(crate) clients: u64,
    pub(crate) pipeline: u64,
    /// How many entities a request is about.
    pub(crate) batch: u64,
    /// `hmget`, `fs.get-values` or `fs.get-vector`.
    pub(crate) read: &'static str,
    /// `read=95,write=5`
    pub(crate) mix: &'static str,
    /// How many requests are due a second.
    pub(crate) rate: Option<u64>,
    pub(crate) warm_up: Duration,
    pub(crate) timed: Duration,
}

/// What came of it.
#[derive(Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) requests_per_second: f64,
    pub(crate) server_cpu_us_per_request: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
}

impl Load {
    /// Writes every feature of every entity, and looks that they are there.
    pub(crate) fn fill(self) -> Result<(), Box<dyn Error>> {
        let moment = Duration::from_millis(100);
        Self { warm_up: moment, timed: moment, ..self }.run(&["--load"]).map(drop)
    }

    /// Measures on what is there.
    pub(crate) fn measure(&self, seed: u64) -> Result<Measured, Box<dyn Error>> {
        let told = self.run(&["--no-load", "--seed", &seed.to_string()])?;
        // Null is what nothing came of in so short a time.
        let figure = |path: &str| match told.pointer(path) {
            Some(Json::Null) => Ok(f64::NAN),
            figure => {
                let figure = figure.and_then(Json::as_f64);
                figure.ok_or_else(|| format!("nowthen bench did not tell {path}: {told}"))
            }
        };
        let kind = if self.mix.starts_with("read=0,") { "writes" } else { "reads" };
        Ok(Measured {
            requests_per_second: figure("/requests_per_second")?,
            server_cpu_us_per_request: figure("/server_cpu/us_per_request")?,
            p50_us: figure(&format!("/{kind}/p50_us"))?,
            p99_us: figure(&format!("/{kind}/p99_us"))?,
            p999_us: figure(&format!("/{kind}/p999_us"))?,
        })
    }

    fn run(&self, more: &[&str]) -> Result<Json, Box<dyn Error>> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nowthen"));
        command.args(["bench", "--json", "--late-max", "1h"]).args(more);
        for (name, value) in [
            ("--url", format!("redis://127.0.0.1:{}", self.port)),
            ("--server-pid", self.process_id.to_string()),
            ("--clients", self.clients.to_string()),
            ("--tier", self.tier.to_owned()),
            ("--entities", self.entities.to_string()),
            ("--features", self.features.to_string()),
            ("--fields", self.fields.to_string()),
            ("--pipeline", self.pipeline.to_string()),
            ("--batch", self.batch.to_string()),
            ("--read", self.read.to_owned()),
            ("--rate", self.rate.map_or_else(|| "max".to_owned(), |rate| rate.to_string())),
            ("--mix", self.mix.to_owned()),
            ("--warmup", format!("{}us", self.warm_up.as_micros())),
            ("--duration", format!("{}us", self.timed.as_micros())),
        ] {
            command.args([name, &value]);
        }
        let ended = command.stderr(Stdio::piped()).output()?;
        if !ended.status.success() {
            let said = String::from_utf8_lossy(&ended.stderr);
            return Err(format!("{command:?}: {said}").into());
        }
        Ok(serde_json::from_slice(&ended.stdout)?)
    }
}
