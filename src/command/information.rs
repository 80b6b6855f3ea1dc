//! INFO: how the server does, in the sections and names that Redis' tools read.
//!
//! A figure that could mean nothing here is left out, unless a tool needs the name: then it is the
//! constant that is true. Not here: counters (`info_counters.rs`), memory and disk
//! (`info_storage.rs`).

use super::{
    arguments::Args,
    connection::REDIS_VERSION,
    context::Context,
    info_counters::{commandstats, errorstats, latencystats, stats},
    info_storage::{memory, persistence},
    info_text::InfoText,
    process,
};
use crate::{error::Result, offline::Phase, online::Seen};
use nowthen_protocol::Reply;

type Section = (&'static str, fn(&Context<'_>, &mut InfoText));

/// In the order and with the names of Redis; `training` is our own.
const SECTIONS: [Section; 14] = [
    ("server", server),
    ("clients", clients),
    ("memory", memory),
    ("persistence", persistence),
    ("stats", stats),
    ("replication", replication),
    ("cpu", cpu),
    ("modules", |_, _| ()),
    ("commandstats", commandstats),
    ("errorstats", errorstats),
    ("latencystats", latencystats),
    ("cluster", cluster),
    ("keyspace", keyspace),
    ("training", training),
];
/// Told only when asked for.
const EXTRA_SECTIONS: [&str; 2] = ["commandstats", "latencystats"];
/// `INFO [section ...]`: text, `name:value` a line.
pub(super) fn info(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    ctx.session.tell(&ctx.app.stats);
    let wanted: Vec<String> =
        args.rest().map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect();
    let is_all = wanted.iter().any(|name| ["all", "everything"].contains(&name.as_str()));
    let is_default = wanted.is_empty() || wanted.iter().any(|name| name == "default");
    let mut text = InfoText::default();
    for (name, write) in SECTIONS {
        let is_named = wanted.iter().any(|wanted| wanted == name)
            || name == "modules" && wanted.iter().any(|wanted| wanted == "module_list");
        if is_all || is_named || is_default && !EXTRA_SECTIONS.contains(&name) {
            text.section(name);
            write(ctx, &mut text);
        }
    }
    reply.verbatim(text.as_str());
    Ok(())
}

fn server(ctx: &Context<'_>, text: &mut InfoText) {
    let identity = &ctx.app.identity;
    let uptime = identity.started.elapsed().as_secs();
    text.line("redis_version", REDIS_VERSION);
    text.line("nowthen_version", env!("CARGO_PKG_VERSION"));
    text.line("redis_mode", "standalone");
    text.line("os", process::operating_system());
    text.line("arch_bits", usize::BITS);
    text.line("monotonic_clock", "POSIX clock_gettime");
    text.line("multiplexing_api", "epoll");
    text.line("process_id", std::process::id());
    text.line("process_supervised", "no");
    text.line("run_id", &identity.run_id);
    text.line("tcp_port", identity.port);
    text.line("http_port", identity.http_port);
    text.line("threads", identity.threads);
    text.line("server_time_usec", ctx.now.us());
    text.line("uptime_in_seconds", uptime);
    text.line("uptime_in_days", uptime / 86_400);
    // How often expired rows are looked for.
    text.line("hz", 10);
    if let Ok(path) = std::env::current_exe() {
        text.line("executable", path.display());
    }
}

fn clients(ctx: &Context<'_>, text: &mut InfoText) {
    text.line("connected_clients", ctx.app.stats.connections.get());
    text.line("maxclients", ctx.app.settings.clients_max.get());
    // No command blocks, and caches of clients are not tracked.
    text.line("blocked_clients", 0);
    text.line("tracking_clients", 0);
}

/// A single server has no replicas and keeps nothing for them; its history is the log.
fn replication(ctx: &Context<'_>, text: &mut InfoText) {
    text.line("role", "master");
    text.line("connected_slaves", 0);
    text.line("master_failover_state", "no-failover");
    text.line("master_replid", &ctx.app.identity.run_id);
    text.line("master_replid2", "0".repeat(40));
    text.line("master_repl_offset", 0);
    text.line("second_repl_offset", -1);
    text.line("repl_backlog_active", 0);
}

fn cpu(_: &Context<'_>, text: &mut InfoText) {
    let used = process::cpu_seconds();
    text.line("used_cpu_sys", format_args!("{:.6}", used.system));
    text.line("used_cpu_user", format_args!("{:.6}", used.user));
    text.line("used_cpu_sys_children", format_args!("{:.6}", used.children_system));
    text.line("used_cpu_user_children", format_args!("{:.6}", used.children_user));
}

/// See `cluster.rs`.
fn cluster(_: &Context<'_>, text: &mut InfoText) {
    text.line("cluster_enabled", 1);
}

fn keyspace(ctx: &Context<'_>, text: &mut InfoText) {
    let keys = ctx.keyspace.live_rows(Seen::Published);
    if keys > 0 {
        let expiring = ctx.keyspace.expiring_rows();
        let avg_ttl = ctx.keyspace.mean_ttl_ms(ctx.now);
        let ending = ctx.keyspace.ending_rows();
        text.line(
            "db0",
            format_args!("keys={keys},expires={expiring},avg_ttl={avg_ttl},subexpiry={ending}"),
        );
    }
}

/// A line for each training set in the making.
fn training(ctx: &Context<'_>, text: &mut InfoText) {
    let sets = ctx.app.store.training_sets();
    text.line("training_sets_in_progress", sets.len());
    for (number, set) in sets {
        let (phase, elapsed_ms) = (set.phase(), set.started.elapsed().as_millis());
        let reached = match &phase {
            Phase::Pushed { progress } => {
                let (read, total) = progress.done_of();
                format!(",files_read={read},files_total={total}")
            }
            Phase::Scan { view, progress } => {
                let (read, total) = progress.done_of();
                format!(",view={view},row_groups_read={read},row_groups_total={total}")
            }
            _ => String::new(),
        };
        let told = format_args!(
            "rows={},elapsed_ms={elapsed_ms},phase={}{reached}",
            set.rows(),
            phase.name()
        );
        text.line(&format!("training_set_{number}"), told);
    }
}
