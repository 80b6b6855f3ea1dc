//! The sections of INFO about what was counted: requests, errors, durations.

use super::{context::Context, info_text::InfoText, setting_value::percentile_text};

const BYTES_PER_KIB: f64 = 1024.0;

pub(super) fn stats(ctx: &Context<'_>, text: &mut InfoText) {
    let stats = &ctx.app.stats;
    let rates = stats.current_rates();
    text.line("total_connections_received", stats.connections_total.get());
    text.line("total_commands_processed", stats.commands_total.get());
    text.line("instantaneous_ops_per_sec", rates.commands.round());
    text.line("total_net_input_bytes", stats.input_bytes_total.get());
    text.line("total_net_output_bytes", stats.output_bytes_total.get());
    let kbps = |bytes: f64| format!("{:.2}", bytes / BYTES_PER_KIB);
    text.line("instantaneous_input_kbps", kbps(rates.input_bytes));
    text.line("instantaneous_output_kbps", kbps(rates.output_bytes));
    text.line("rejected_connections", stats.connections_refused.get());
    text.line("expired_keys", stats.expired_keys.get());
    text.line("expired_subkeys", stats.expired_fields.get());
    // Nothing is evicted, nobody subscribes, nothing forks.
    text.line("evicted_keys", 0);
    text.line("keyspace_hits", stats.keyspace_hits.get());
    text.line("keyspace_misses", stats.keyspace_misses.get());
    text.line("pubsub_channels", 0);
    text.line("pubsub_patterns", 0);
    text.line("latest_fork_usec", 0);
    text.line("total_forks", 0);
    text.line("total_error_replies", stats.errors.total());
    text.line("unknown_fields", stats.unknown_fields_total.get());
    text.line("slow_requests", stats.slow_log.total());
}

pub(super) fn commandstats(ctx: &Context<'_>, text: &mut InfoText) {
    for stats in ctx.app.stats.commands.iter().filter(|stats| stats.is_used()) {
        let calls = stats.calls();
        let us = stats.total_ns() / 1000;
        let us_per_call = if calls == 0 { 0.0 } else { us as f64 / calls as f64 };
        text.line(
            &format!("cmdstat_{}", stats.name),
            format_args!(
                "calls={calls},usec={us},usec_per_call={us_per_call:.2},rejected_calls={},\
                 failed_calls={}",
                stats.rejected.get(),
                stats.failed.get()
            ),
        );
    }
}

pub(super) fn errorstats(ctx: &Context<'_>, text: &mut InfoText) {
    for (code, count) in ctx.app.stats.errors.by_code() {
        text.line(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

pub(super) fn latencystats(ctx: &Context<'_>, text: &mut InfoText) {
    let settings = &ctx.app.settings;
    if settings.latency_tracking.get() == 0 {
        return;
    }
    let percentiles = settings.percentiles.lock().clone();
    let called = |stats: &&crate::stats::CommandStats| stats.latency.count() > 0;
    for stats in ctx.app.stats.commands.iter().filter(called) {
        let told = percentiles.iter().map(|percentile| {
            let us = stats.latency.quantile_ns(percentile / 100.0) as f64 / 1000.0;
            format!("p{}={us:.3}", percentile_text(*percentile))
        });
        let told: Vec<String> = told.collect();
        text.line(&format!("latency_percentiles_usec_{}", stats.name), told.join(","));
    }
}
