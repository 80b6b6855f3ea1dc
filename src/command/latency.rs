//! LATENCY: how long commands take, and when something took long.

use super::{arguments::Args, context::Context, help::help};
use crate::{
    error::Result,
    stats::{CommandStats, Histogram, Series},
};
use nowthen_protocol::Reply;

/// Redis' buckets: from 2^10 ns on, each twice the one before; the last holds all that is longer.
const FIRST_BUCKET: u32 = 10;
const LAST_BUCKET: u32 = 30;

/// `LATENCY DOCTOR | HISTOGRAM [command ...] | HISTORY event | LATEST | RESET [event ...] | HELP`
pub(super) fn latency(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let subcommand = args.next()?.to_ascii_lowercase();
    let monitor = &ctx.app.stats.latency_monitor;
    match subcommand.as_slice() {
        b"histogram" => histograms(ctx, args, reply),
        b"history" => {
            let wanted = args.next()?;
            let events = monitor.events();
            let series = events.into_iter().find(|(event, _)| event.as_bytes() == wanted);
            let samples = series.map(|(_, series)| series.samples).unwrap_or_default();
            reply.array(samples.len());
            for (second, ms) in samples {
                reply.array(2);
                reply.integer(second);
                reply.integer(ms as i64);
            }
        }
        b"latest" => {
            let events = monitor.events();
            reply.array(events.len());
            for (event, series) in events {
                let (second, ms) = series.samples.back().copied().unwrap_or_default();
                reply.array(4);
                reply.bulk_text(event);
                reply.integer(second);
                reply.integer(ms as i64);
                reply.integer(series.max_ms as i64);
            }
        }
        b"reset" => {
            let named = |event: &str| {
                args.rest().any(|wanted| wanted.eq_ignore_ascii_case(event.as_bytes()))
            };
            let count = monitor.forget(|event| args.is_empty() || named(event));
            reply.integer(count as i64);
        }
        b"doctor" => reply.verbatim(&report(ctx)),
        _ => help(ctx, "latency", reply),
    }
    Ok(())
}

/// Of the commands named, and their subcommands; of all if none is named.
fn histograms(ctx: &Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) {
    let all = || ctx.app.stats.commands.iter();
    let named = |name: &[u8]| {
        let prefix = [name, b"|"].concat().to_ascii_lowercase();
        let name = name.to_ascii_lowercase();
        let is_it = move |stats: &&CommandStats| {
            let own = stats.name.as_bytes();
            own == name.as_slice() || own.starts_with(&prefix)
        };
        all().filter(is_it)
    };
    let wanted: Vec<&CommandStats> = match args.is_empty() {
        true => all().collect(),
        false => args.rest().flat_map(named).collect(),
    };
    let called: Vec<_> = wanted.into_iter().filter(|stats| stats.latency.count() > 0).collect();
    reply.map(called.len());
    for stats in called {
        reply.bulk_text(stats.name);
        reply.map(2);
        reply.bulk_text("calls");
        reply.integer(stats.latency.count() as i64);
        reply.bulk_text("histogram_usec");
        let buckets = buckets(&stats.latency);
        reply.map(buckets.len());
        for (us, count) in buckets {
            reply.integer(us as i64);
            reply.integer(count as i64);
        }
    }
}

/// Each bucket that holds something: its end as Redis tells it, in µs, and how many durations do
/// not exceed it.
fn buckets(histogram: &Histogram) -> Vec<(u64, u64)> {
    let (mut buckets, mut before) = (Vec::new(), 0);
    for exponent in FIRST_BUCKET..=LAST_BUCKET {
        let start_ns = 1_u64 << exponent;
        let count = match exponent {
            LAST_BUCKET => histogram.count(),
            _ => histogram.count_at_most(start_ns - 1),
        };
        if count > before {
            // The buckets of HdrHistogram with two digits reach a 128th further.
            buckets.push(((start_ns + start_ns / 128 - 1) / 1000, count));
            before = count;
        }
    }
    buckets
}

/// What an operator may want to know, in sentences.
fn report(ctx: &Context<'_>) -> String {
    let monitor = &ctx.app.stats.latency_monitor;
    let (threshold_ms, events) = (monitor.threshold_ms(), monitor.events());
    if events.is_empty() && threshold_ms == 0 {
        return "Latency monitoring is disabled in this server. You may use \"CONFIG SET \
                latency-monitor-threshold <milliseconds>\" in order to enable it.\n"
            .to_owned();
    }
    if events.is_empty() {
        return format!("Nothing took {threshold_ms} ms or longer.\n");
    }
    let now_s = ctx.now.us() / 1_000_000;
    let told = events.iter().zip(1..).map(|((event, series), number)| {
        format!("{number}. {event}: {} {}\n", summary(series, now_s), advice(event))
    });
    told.collect()
}

fn summary(series: &Series, now_s: i64) -> String {
    let count = series.samples.len().max(1) as u64;
    let longest = series.samples.iter().map(|(_, ms)| *ms);
    let mean_ms = longest.clone().sum::<u64>() / count;
    let deviation_ms = longest.map(|ms| ms.abs_diff(mean_ms)).sum::<u64>() / count;
    let first_s = series.samples.front().map_or(now_s, |(second, _)| *second);
    let period_s = (now_s - first_s).max(1) as f64 / count as f64;
    format!(
        "{count} latency spikes (average {mean_ms}ms, mean deviation {deviation_ms}ms, period \
         {period_s:.2} sec). Worst all time event {}ms.",
        series.max_ms
    )
}

fn advice(event: &str) -> &'static str {
    match event {
        "command" => "SLOWLOG GET tells which requests these were.",
        "fast-command" => {
            "Commands of this kind take microseconds: look for other programs on the machine."
        }
        "log-sync" => "The disk was slow; writes in mode `always` waited for it.",
        "expire-cycle" => "Many keys ended at once in one shard.",
        "snapshot" => "Requests are served while a snapshot is written.",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_redis_and_cumulative() {
        let histogram = Histogram::default();
        let durations_ns = [900, 900, 3_000, 20_000, 40_000, 5_000_000_000];
        durations_ns.into_iter().for_each(|ns| histogram.record_ns(ns));
        let wanted = [(1, 2), (4, 3), (33, 4), (66, 5), (1_082_130, 6)];
        assert_eq!(buckets(&histogram), wanted);
        assert_eq!(buckets(&Histogram::default()), []);
    }

    #[test]
    fn a_summary_of_three_seconds() {
        let samples = [(10, 300), (12, 400), (14, 500)].into();
        let told = summary(&Series { samples, max_ms: 900 }, 16);
        assert!(told.starts_with("3 latency spikes (average 400ms, mean deviation 66ms, "));
        assert!(told.ends_with("period 2.00 sec). Worst all time event 900ms."), "{told}");
    }
}
