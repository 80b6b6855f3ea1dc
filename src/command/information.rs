//! INFO: how the server does, in the sections and names that Redis' tools read.

use super::{arguments::Args, connection::REDIS_VERSION, context::Context};
use crate::{error::Result, online::Seen};
use nowthen_protocol::Reply;
use std::fmt::Write;

type Section = (&'static str, fn(&Context<'_>, &mut String));

const SECTIONS: [Section; 9] = [
    ("server", server),
    ("clients", clients),
    ("memory", memory),
    ("persistence", persistence),
    ("stats", stats),
    ("replication", replication),
    ("commandstats", commandstats),
    ("cluster", cluster),
    ("keyspace", keyspace),
];

/// `INFO [section ...]`: text, `name:value` a line.
pub(super) fn info(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let wanted: Vec<String> =
        args.rest().map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect();
    let is_all = wanted.iter().any(|name| ["all", "everything"].contains(&name.as_str()));
    let is_default = wanted.is_empty() || wanted.iter().any(|name| name == "default");
    let mut text = String::new();
    for (name, write) in SECTIONS {
        let is_wanted = is_all
            || is_default && name != "commandstats"
            || wanted.iter().any(|wanted| wanted == name);
        if is_wanted {
            let title: String = name.chars().take(1).flat_map(char::to_uppercase).collect();
            let gap = if text.is_empty() { "" } else { "\r\n" };
            line(&mut text, format_args!("{gap}# {title}{}", name.get(1..).unwrap_or_default()));
            write(ctx, &mut text);
        }
    }
    reply.verbatim(&text);
    Ok(())
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = write!(text, "{content}\r\n");
}

fn server(ctx: &Context<'_>, text: &mut String) {
    let identity = &ctx.app.identity;
    let uptime = identity.started.elapsed().as_secs();
    line(text, format_args!("redis_version:{REDIS_VERSION}"));
    line(text, format_args!("redis_mode:standalone"));
    line(text, format_args!("nowthen_version:{}", env!("CARGO_PKG_VERSION")));
    line(text, format_args!("os:{} {}", std::env::consts::OS, std::env::consts::ARCH));
    line(text, format_args!("process_id:{}", std::process::id()));
    line(text, format_args!("run_id:{}", identity.run_id));
    line(text, format_args!("tcp_port:{}", identity.port));
    line(text, format_args!("http_port:{}", identity.http_port));
    line(text, format_args!("threads:{}", identity.threads));
    line(text, format_args!("server_time_usec:{}", ctx.now.us()));
    line(text, format_args!("uptime_in_seconds:{uptime}"));
    line(text, format_args!("uptime_in_days:{}", uptime / 86_400));
}

fn clients(ctx: &Context<'_>, text: &mut String) {
    line(text, format_args!("connected_clients:{}", ctx.app.stats.connections.get()));
}

fn memory(ctx: &Context<'_>, text: &mut String) {
    let rows_bytes = ctx.keyspace.memory_bytes();
    let resident_bytes = resident_bytes().unwrap_or(0);
    line(text, format_args!("used_memory:{rows_bytes}"));
    line(text, format_args!("used_memory_dataset:{rows_bytes}"));
    line(text, format_args!("used_memory_rss:{resident_bytes}"));
}

/// What the kernel says this process holds in memory.
fn resident_bytes() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let resident: usize = pages.split(' ').nth(1)?.parse().ok()?;
    Some(resident * rustix::param::page_size())
}

fn persistence(ctx: &Context<'_>, text: &mut String) {
    let status = ctx.app.store.log_status();
    let last = ctx.app.store.last_checkpoint();
    line(text, format_args!("loading:0"));
    line(text, format_args!("durability:{}", ctx.app.store.durability()));
    line(text, format_args!("log_last_lsn:{}", status.last.0));
    line(text, format_args!("log_durable_lsn:{}", status.durable.0));
    line(text, format_args!("log_queued_bytes:{}", status.queued_bytes));
    line(text, format_args!("log_sync_errors:{}", u8::from(status.poisoned.is_some())));
    line(text, format_args!("log_last_sync_usec:{}", status.last_sync_us));
    let is_saving = u8::from(ctx.app.store.is_checkpointing());
    line(text, format_args!("rdb_bgsave_in_progress:{is_saving}"));
    line(text, format_args!("rdb_last_save_time:{}", last.time.us() / 1_000_000));
    line(text, format_args!("rdb_last_bgsave_status:{}", if last.is_ok { "ok" } else { "err" }));
    line(
        text,
        format_args!("rdb_changes_since_last_save:{}", status.last.0.saturating_sub(last.lsn.0)),
    );
    line(text, format_args!("aof_enabled:1"));
}

fn stats(ctx: &Context<'_>, text: &mut String) {
    let stats = &ctx.app.stats;
    let lines = [
        ("total_connections_received", stats.connections_total.get()),
        ("total_commands_processed", stats.commands_total.get()),
        ("total_net_input_bytes", stats.input_bytes_total.get()),
        ("total_net_output_bytes", stats.output_bytes_total.get()),
        ("rejected_connections", stats.connections_refused.get()),
        ("unknown_fields", stats.unknown_fields_total.get()),
    ];
    for (name, value) in lines {
        line(text, format_args!("{name}:{value}"));
    }
}

fn replication(_: &Context<'_>, text: &mut String) {
    line(text, format_args!("role:master"));
    line(text, format_args!("connected_slaves:0"));
}

fn commandstats(ctx: &Context<'_>, text: &mut String) {
    for (command, stats) in ctx.app.commands.iter().zip(&ctx.app.stats.commands) {
        let calls = stats.latency.count();
        if calls > 0 {
            let us = stats.latency.sum_ns() as f64 / 1000.0;
            line(
                text,
                format_args!(
                    "cmdstat_{}:calls={calls},usec={us:.0},usec_per_call={:.2},\
                     rejected_calls=0,failed_calls={}",
                    command.name,
                    us / calls as f64,
                    stats.failed.get()
                ),
            );
        }
    }
}

/// See `cluster.rs`.
fn cluster(_: &Context<'_>, text: &mut String) {
    line(text, format_args!("cluster_enabled:1"));
}

fn keyspace(ctx: &Context<'_>, text: &mut String) {
    let keys = ctx.keyspace.live_rows(Seen::Published);
    if keys > 0 {
        let expiring = ctx.keyspace.expiring_rows();
        line(text, format_args!("db0:keys={keys},expires={expiring},avg_ttl=0"));
    }
}
