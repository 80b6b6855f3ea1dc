//! What was measured, as a Markdown table for people and as JSON for machines.

use crate::{Case, FEATURES, nowthen_bench::Measured};
use serde_json::json;
use std::fmt::Write;

/// The medians of one case on one server.
pub(super) struct Line {
    server: &'static str,
    case: Case,
    requests_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    server_cpu_us_per_request: f64,
}

impl Line {
    pub(super) fn median(server: &'static str, case: Case, rounds: &[Measured]) -> Self {
        let of = |figure: &dyn Fn(&Measured) -> f64| median(rounds.iter().map(figure).collect());
        Self {
            server,
            case,
            requests_per_second: of(&|round| round.requests_per_second),
            p50_us: of(&|round| round.p50_us),
            p99_us: of(&|round| round.p99_us),
            p999_us: of(&|round| round.p999_us),
            server_cpu_us_per_request: of(&|round| round.server_cpu_us_per_request),
        }
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Two lines per case, Redis first; the last column tells nowthen's requests per second and CPU
/// per request as parts of Redis'.
pub(super) fn markdown(lines: &[Line]) -> String {
    let mut table = String::from(
        "| HMGET | server | requests/s | p50 µs | p99 µs | p99.9 µs | CPU µs/request \
         | ratio: requests/s, CPU |\n|---|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for pair in lines.chunks(2) {
        for line in pair {
            let ratio = match pair {
                [redis, nowthen] if std::ptr::eq(line, nowthen) => ratio(redis, nowthen),
                _ => String::new(),
            };
            let _ = writeln!(
                table,
                "| {} of {FEATURES}, {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2} | {ratio} |",
                line.case.width,
                pipeline_text(line.case.pipeline),
                line.server,
                line.requests_per_second,
                line.p50_us,
                line.p99_us,
                line.p999_us,
                line.server_cpu_us_per_request,
            );
        }
    }
    table
}

fn ratio(redis: &Line, nowthen: &Line) -> String {
    let requests = nowthen.requests_per_second / redis.requests_per_second;
    let cpu = nowthen.server_cpu_us_per_request / redis.server_cpu_us_per_request;
    format!("{requests:.2}, {cpu:.2}")
}

fn pipeline_text(pipeline: u64) -> String {
    if pipeline == 1 { "one at a time".into() } else { format!("{pipeline} in a pipeline") }
}

pub(super) fn json(lines: &[Line], entities: u64, connections: u64) -> String {
    let lines: Vec<_> = lines
        .iter()
        .map(|line| {
            json!({
                "server": line.server,
                "features_read": line.case.width,
                "features_stored": FEATURES,
                "pipeline": line.case.pipeline,
                "requests_per_second": line.requests_per_second,
                "p50_us": line.p50_us,
                "p99_us": line.p99_us,
                "p999_us": line.p999_us,
                "server_cpu_us_per_request": line.server_cpu_us_per_request,
            })
        })
        .collect();
    json!({ "entities": entities, "connections": connections, "cases": lines }).to_string()
}
