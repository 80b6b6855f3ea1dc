//! What was measured, as a table for people and as JSON for programs.
//!
//! With `--json` one object. Times end in their unit; a percentile without requests is null:
//!
//! ```text
//! server        {name: nowthen | redis, version, address, process_id: null if it is elsewhere}
//! parameters    each option by its name; rate is a number or "max"
//! requests      due in the timed part: answered + failed + unanswered
//! errors        {text: requests}
//! requests_per_second, reply_bytes_per_second           of replies that came in the timed part
//! reads, writes, sent_late
//!               {count, mean_us, p50_us, p90_us, p99_us, p999_us, p9999_us, max_us}
//! server_cpu    {user_us_per_request, system_us_per_request, us_per_request, cores}, or null
//! own_cpu_cores how many cores this program kept busy
//! is_valid, problems [text]                             false, and why: exit code 1
//! ```

use super::{
    measured::{Latencies, Measured},
    options::{BenchOptions, Rate, ReadCommand, name_of},
    process::CpuTime,
};
use serde_json::{Map, Value as Json, json};
use std::{
    fmt::Write,
    thread,
    time::{Duration, Instant},
};

const QUANTILES: [(&str, &str, f64); 5] = [
    ("p50", "p50_us", 0.5),
    ("p90", "p90_us", 0.9),
    ("p99", "p99_us", 0.99),
    ("p99.9", "p999_us", 0.999),
    ("p99.99", "p9999_us", 0.9999),
];
/// Below this share of the rate, a server did not keep up.
const KEPT_UP: f64 = 0.99;

/// What the server says it is.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) version: String,
    /// If it is on this machine.
    pub(super) process_id: Option<u32>,
}

/// CPU time in the timed part.
#[derive(Clone, Copy, Debug)]
pub(super) struct CpuUse {
    server: Option<CpuTime>,
    own: Option<CpuTime>,
    elapsed: Duration,
}

impl CpuUse {
    /// Sleeps until `end`.
    pub(super) fn between(server: Option<u32>, start: Instant, end: Instant) -> Self {
        let look = |at: Instant| {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            (Instant::now(), server.and_then(CpuTime::of), CpuTime::of_this())
        };
        let ((from, server_before, own_before), (to, server, own)) = (look(start), look(end));
        let since = |before: Option<CpuTime>, after: Option<CpuTime>| Some(after?.since(before?));
        Self {
            server: since(server_before, server),
            own: since(own_before, own),
            elapsed: to - from,
        }
    }

    fn cores(&self, time: CpuTime) -> f64 {
        time.total().as_secs_f64() / self.elapsed.as_secs_f64()
    }
}

/// All there is to tell.
pub(super) struct Report<'a> {
    pub(super) options: &'a BenchOptions,
    pub(super) address: String,
    pub(super) server: Server,
    pub(super) measured: Measured,
    pub(super) cpu: CpuUse,
}

impl Report<'_> {
    /// One line about what was done to whom.
    pub(super) fn title(&self) -> String {
        let rate = match self.options.rate {
            Rate::PerSecond(rate) => format!("{rate} requests/s"),
            Rate::Max => "as fast as it can".to_owned(),
        };
        let Server { name, version, .. } = &self.server;
        format!("{name} {version}: {}, {rate}", self.request_text())
    }

    fn request_text(&self) -> String {
        let (entities, features) = (self.options.batch, self.options.fields());
        let read = match self.options.read {
            ReadCommand::Hmget if entities > 1 => {
                return format!("{entities} HMGETs of {features}");
            }
            ReadCommand::Hmget => return format!("HMGET of {features}"),
            ReadCommand::FsGetValues => "FS.GET AS VALUES",
            ReadCommand::FsGetVector => "FS.GET AS VECTOR",
        };
        format!("{read} of {features} features of {entities} entities")
    }

    /// Why the figures are not to be trusted, or that requests failed.
    pub(super) fn problems(&self) -> Vec<String> {
        let (measured, options) = (&self.measured, self.options);
        let mut problems = Vec::new();
        if self.is_late() {
            problems.push(format!(
                "NOT VALID: this program could not keep up with its own schedule: 1 of 100 \
                 requests left {:.0} µs or more later than it could have (--late-max {:?}); give \
                 it --threads, a core of its own, or a lower --rate",
                us(measured.sent_late.quantile_ns(0.99)),
                options.late_max
            ));
        }
        if measured.requests == 0 {
            problems.push("NOT VALID: no request was due in the timed part".into());
        }
        if measured.unanswered > 0 {
            problems.push(format!(
                "{} of {} requests had no reply 10 s after the end; their latencies are longer \
                 than told",
                measured.unanswered, measured.requests
            ));
        }
        if measured.failed() > 0 {
            problems.push(format!(
                "{} of {} requests failed",
                measured.failed(),
                measured.requests
            ));
        }
        problems
    }

    fn is_late(&self) -> bool {
        u128::from(self.measured.sent_late.quantile_ns(0.99)) > self.options.late_max.as_nanos()
    }

    fn requests_per_second(&self) -> f64 {
        self.measured.replied_in_time as f64 / self.options.duration.as_secs_f64()
    }

    fn per_request_us(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.measured.replied_in_time as f64
    }

    fn answered(&self) -> u64 {
        let measured = &self.measured;
        measured.requests.saturating_sub(measured.failed()).saturating_sub(measured.unanswered)
    }

    pub(super) fn text(&self) -> String {
        let (options, measured) = (self.options, &self.measured);
        let mut text = format!("{}\n", self.title());
        let _ = writeln!(
            text,
            "{} entities of {} features ({}), keys {}, {}, seed {}; {} clients, at most {} on \
             the way on each; {:?} after {:?} of warm-up\n",
            options.entities,
            options.features,
            name_of(&options.tier),
            options.keys,
            options.mix,
            options.seed,
            options.clients,
            options.pipeline,
            options.duration,
            options.warmup,
        );
        let names: String = QUANTILES.iter().map(|(name, ..)| format!("{name:>10}")).collect();
        let _ = writeln!(text, "{:<12}{:>11}{names}{:>10}", "latency, µs", "requests", "max");
        let late = ("sent late", &measured.sent_late);
        for (name, latencies) in [("reads", &measured.reads), ("writes", &measured.writes), late] {
            if latencies.count() > 0 {
                push_line(&mut text, name, latencies);
            }
        }
        let _ = writeln!(
            text,
            "\n{:.1} replies/s, {:.1} MB/s; {} of {} requests answered",
            self.requests_per_second(),
            measured.reply_bytes_in_time as f64 / options.duration.as_secs_f64() / 1e6,
            self.answered(),
            measured.requests
        );
        if let (Some(server), Some(own)) = (self.cpu.server, self.cpu.own) {
            let _ = writeln!(
                text,
                "server CPU: {:.2} µs/request ({:.2} user, {:.2} system), {:.2} cores; this \
                 program: {:.2} cores",
                self.per_request_us(server.total()),
                self.per_request_us(server.user),
                self.per_request_us(server.system),
                self.cpu.cores(server),
                self.cpu.cores(own)
            );
        }
        for (error, count) in &measured.errors {
            let _ = writeln!(text, "error, {count} times: {error}");
        }
        if let Rate::PerSecond(rate) = options.rate
            && !self.is_late()
            && self.requests_per_second() < rate.get() as f64 * KEPT_UP
        {
            let _ = writeln!(
                text,
                "the server did not keep up with {rate} requests/s: latencies grow with the time"
            );
        }
        text
    }

    pub(super) fn json(&self) -> Json {
        let (measured, cpu) = (&self.measured, &self.cpu);
        let problems = self.problems();
        let server_cpu = cpu.server.map(|server| {
            json!({
                "user_us_per_request": number(self.per_request_us(server.user)),
                "system_us_per_request": number(self.per_request_us(server.system)),
                "us_per_request": number(self.per_request_us(server.total())),
                "cores": number(cpu.cores(server)),
            })
        });
        json!({
            "server": {
                "name": self.server.name,
                "version": self.server.version,
                "address": self.address,
                "process_id": self.server.process_id,
            },
            "parameters": self.parameters(),
            "requests": measured.requests,
            "answered": self.answered(),
            "failed": measured.failed(),
            "unanswered": measured.unanswered,
            "errors": measured.errors,
            "requests_per_second": number(self.requests_per_second()),
            "reply_bytes_per_second":
                number(measured.reply_bytes_in_time as f64 / self.options.duration.as_secs_f64()),
            "reads": latencies_json(&measured.reads),
            "writes": latencies_json(&measured.writes),
            "sent_late": latencies_json(&measured.sent_late),
            "server_cpu": server_cpu,
            "own_cpu_cores": cpu.own.map(|own| number(cpu.cores(own))),
            "is_valid": problems.is_empty(),
            "problems": problems,
        })
    }

    fn parameters(&self) -> Json {
        let options = self.options;
        let rate = match options.rate {
            Rate::PerSecond(rate) => json!(rate),
            Rate::Max => json!("max"),
        };
        json!({
            "rate": rate,
            "duration_s": options.duration.as_secs_f64(),
            "warmup_s": options.warmup.as_secs_f64(),
            "clients": options.clients,
            "threads": options.threads,
            "pipeline": options.pipeline,
            "mix": options.mix.to_string(),
            "entities": options.entities,
            "features": options.features,
            "fields": options.fields(),
            "batch": options.batch,
            "read": name_of(&options.read),
            "keys": options.keys.to_string(),
            "tier": name_of(&options.tier),
            "load": !options.no_load,
            "seed": options.seed,
            "spin": options.spin,
            "late_max_us": options.late_max.as_secs_f64() * 1e6,
        })
    }
}

fn push_line(text: &mut String, name: &str, latencies: &Latencies) {
    let _ = write!(text, "{name:<12}{:>11}", latencies.count());
    for (.., quantile) in QUANTILES {
        let _ = write!(text, "{:>10.1}", us(latencies.quantile_ns(quantile)));
    }
    let _ = writeln!(text, "{:>10.1}", us(latencies.max_ns()));
}

fn latencies_json(latencies: &Latencies) -> Json {
    let is_empty = latencies.count() == 0;
    let figure = |us: f64| if is_empty { Json::Null } else { number(us) };
    let mut object = Map::new();
    object.insert("count".into(), latencies.count().into());
    object.insert("mean_us".into(), figure(latencies.mean_ns() / 1e3));
    for (_, name, quantile) in QUANTILES {
        object.insert(name.into(), figure(us(latencies.quantile_ns(quantile))));
    }
    object.insert("max_us".into(), figure(us(latencies.max_ns())));
    object.into()
}

/// Three digits behind the point; JSON has no number for what is none.
fn number(figure: f64) -> Json {
    json!((figure * 1e3).round() / 1e3)
}

fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}
