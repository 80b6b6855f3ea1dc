//! `GET /metrics`: the counters in the text format of Prometheus
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use crate::{command::App, online::Seen, stats::Histogram};
use std::fmt::Write;

/// The upper ends of the buckets that are told, in seconds.
const BUCKET_ENDS_S: [f64; 12] =
    [1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 5e-4, 1e-3, 1e-2, 1e-1, 1.0];

/// All metrics.
pub(super) fn metrics(app: &App) -> String {
    let mut text = String::new();
    for (name, kind, help, value) in numbers(app) {
        head(&mut text, name, kind, help);
        line(&mut text, format_args!("{name} {value}"));
    }
    let name = "nowthen_command_duration_seconds";
    head(&mut text, name, "histogram", "How long commands took, waiting for the disk aside.");
    for stats in &app.stats.commands {
        histogram(&mut text, name, &format!("command=\"{}\"", stats.name), &stats.latency);
    }
    let name = "nowthen_command_errors_total";
    head(&mut text, name, "counter", "Commands that ended in an error.");
    for stats in &app.stats.commands {
        let failed = stats.failed.get();
        line(&mut text, format_args!("{name}{{command=\"{}\"}} {failed}", stats.name));
    }
    let name = "nowthen_error_replies_total";
    head(&mut text, name, "counter", "Error replies, by their first word.");
    for (code, count) in app.stats.errors.by_code() {
        line(&mut text, format_args!("{name}{{code=\"{code}\"}} {count}"));
    }
    let name = "nowthen_http_online_features_duration_seconds";
    head(&mut text, name, "histogram", "How long POST /get-online-features took.");
    histogram(&mut text, name, "", &app.stats.http_online_features);
    text
}

type Metric = (&'static str, &'static str, &'static str, u64);

fn numbers(app: &App) -> Vec<Metric> {
    let stats = &app.stats;
    let log = app.store.log_status();
    let table = app.store.keyspace();
    vec![
        ("nowthen_keys", "gauge", "Keys with a value.", table.live_rows(Seen::Published) as u64),
        ("nowthen_rows_bytes", "gauge", "Memory of the rows.", table.memory_bytes() as u64),
        ("nowthen_connections", "gauge", "Connections there are.", stats.connections.get()),
        (
            "nowthen_connections_total",
            "counter",
            "Connections there have been.",
            stats.connections_total.get(),
        ),
        (
            "nowthen_commands_total",
            "counter",
            "Commands there have been.",
            stats.commands_total.get(),
        ),
        (
            "nowthen_input_bytes_total",
            "counter",
            "Bytes that clients sent.",
            stats.input_bytes_total.get(),
        ),
        (
            "nowthen_output_bytes_total",
            "counter",
            "Bytes sent to clients.",
            stats.output_bytes_total.get(),
        ),
        (
            "nowthen_unknown_fields_total",
            "counter",
            "Reads of a field that no view has.",
            stats.unknown_fields_total.get(),
        ),
        (
            "nowthen_slow_requests_total",
            "counter",
            "Requests that came into the slow log.",
            stats.slow_log.total(),
        ),
        ("nowthen_http_errors_total", "counter", "Refused HTTP requests.", stats.http_failed.get()),
        ("nowthen_log_last_lsn", "gauge", "The last record of the log.", log.last.0),
        ("nowthen_log_durable_lsn", "gauge", "The last durable record.", log.durable.0),
        ("nowthen_log_bytes", "gauge", "The length of the log.", log.bytes),
        ("nowthen_log_syncs_total", "counter", "Syncs of the log.", log.sync_count),
    ]
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    line(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
}

/// One histogram; of one that counted nothing only its count.
fn histogram(text: &mut String, name: &str, label: &str, histogram: &Histogram) {
    let count = histogram.count();
    let comma = if label.is_empty() { "" } else { "," };
    let braces = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
    if count > 0 {
        for end in BUCKET_ENDS_S {
            let within = histogram.count_at_most((end * 1e9) as u64);
            line(text, format_args!("{name}_bucket{{{label}{comma}le=\"{end}\"}} {within}"));
        }
    }
    line(text, format_args!("{name}_bucket{{{label}{comma}le=\"+Inf\"}} {count}"));
    line(text, format_args!("{name}_sum{braces} {}", histogram.sum_ns() as f64 / 1e9));
    line(text, format_args!("{name}_count{braces} {count}"));
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{content}");
}
