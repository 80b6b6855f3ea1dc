//! What was measured, as a Markdown table for people and as JSON for machines.

use crate::nowthen_bench::Measured;
use serde_json::{Value as Json, json};
use std::fmt::Write;

/// How many times better than Redis a figure should be.
#[derive(Clone, Copy)]
pub(super) struct Goal {
    pub(super) figure: Figure,
    pub(super) times: f64,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Figure {
    CpuPerRequest,
    Throughput,
    TimePerBatch,
    Tail,
    BytesPerEntity,
}

impl Goal {
    /// In the place of `times`: nothing is asked, the figure is worth knowing.
    pub(super) const NONE: f64 = 0.0;

    fn text(self, is_missed: bool) -> String {
        match self.times {
            Self::NONE => String::new(),
            times => {
                let digits = if (times * 10.0).fract() == 0.0 { 1 } else { 2 };
                format!("{times:.digits$}{}", if is_missed { " missed" } else { "" })
            }
        }
    }
}

impl Figure {
    fn name(self) -> &'static str {
        match self {
            Self::CpuPerRequest => "CPU µs/request",
            Self::Throughput => "requests/s",
            Self::TimePerBatch => "µs/batch, p50",
            Self::Tail => "p99.9 µs",
            Self::BytesPerEntity => "bytes",
        }
    }

    fn of(self, measured: &Measured) -> f64 {
        match self {
            Self::CpuPerRequest => measured.server_cpu_us_per_request,
            Self::Throughput => measured.requests_per_second,
            Self::TimePerBatch => measured.p50_us,
            Self::Tail => measured.p999_us,
            Self::BytesPerEntity => f64::NAN,
        }
    }

    fn text(self, value: f64) -> String {
        match self {
            Self::CpuPerRequest => format!("{value:.2}"),
            _ => format!("{value:.0}"),
        }
    }
}

/// One row: the medians of Redis and of nowthen.
pub(super) struct Line {
    work: String,
    goal: Goal,
    figures: [f64; 2],
    measured: Option<[Measured; 2]>,
}

impl Line {
    pub(super) fn of_rounds(
        work: &str,
        goal: Goal,
        redis: &[Measured],
        nowthen: &[Measured],
    ) -> Self {
        let measured = [medians(redis), medians(nowthen)];
        let figures = measured.map(|measured| goal.figure.of(&measured));
        Self { work: work.to_owned(), goal, figures, measured: Some(measured) }
    }

    pub(super) fn of_figures(work: &str, goal: Goal, figures: [f64; 2]) -> Self {
        Self { work: work.to_owned(), goal, figures, measured: None }
    }

    /// How many times better nowthen is.
    fn times(&self) -> f64 {
        let [redis, nowthen] = self.figures;
        if self.goal.figure == Figure::Throughput { nowthen / redis } else { redis / nowthen }
    }
}

fn medians(rounds: &[Measured]) -> Measured {
    let of = |figure: &dyn Fn(&Measured) -> f64| median(rounds.iter().map(figure).collect());
    Measured {
        requests_per_second: of(&|round| round.requests_per_second),
        p50_us: of(&|round| round.p50_us),
        p99_us: of(&|round| round.p99_us),
        p999_us: of(&|round| round.p999_us),
        server_cpu_us_per_request: of(&|round| round.server_cpu_us_per_request),
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A line per row; the goal is how many times better than Redis it should be.
pub(super) fn markdown(lines: &[Line]) -> String {
    let mut table = String::from(
        "| work | figure | Redis | nowthen | times better | goal | requests/s | p99 µs \
         | CPU µs/request |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for line in lines {
        let figure = line.goal.figure;
        let [redis, nowthen] = line.figures.map(|value| figure.text(value));
        let of = |of: fn(&Measured) -> f64, digits: usize| {
            let both = line.measured.as_ref().map(|both| both.each_ref().map(of));
            both.map_or_else(String::new, |[r, n]| format!("{r:.digits$}, {n:.digits$}"))
        };
        let _ = writeln!(
            table,
            "| {} | {} | {redis} | {nowthen} | {:.2} | {} | {} | {} | {} |",
            line.work,
            figure.name(),
            line.times(),
            line.goal.text(line.times() < line.goal.times),
            of(|it| it.requests_per_second, 0),
            of(|it| it.p99_us, 0),
            of(|it| it.server_cpu_us_per_request, 2),
        );
    }
    table
}

pub(super) fn json(lines: &[Line], entities: u64) -> String {
    let of = |measured: &Measured| {
        json!({
            "requests_per_second": measured.requests_per_second,
            "p50_us": measured.p50_us,
            "p99_us": measured.p99_us,
            "p999_us": measured.p999_us,
            "server_cpu_us_per_request": measured.server_cpu_us_per_request,
        })
    };
    let lines = lines.iter().map(|line| {
        json!({
            "work": line.work,
            "figure": line.goal.figure.name(),
            "redis": line.figures[0],
            "nowthen": line.figures[1],
            "times_better": line.times(),
            "goal": line.goal.times,
            "measured": line.measured.as_ref().map(|[redis, nowthen]| {
                json!({ "redis": of(redis), "nowthen": of(nowthen) })
            }),
        })
    });
    json!({ "entities": entities, "lines": lines.collect::<Vec<Json>>() }).to_string()
}
