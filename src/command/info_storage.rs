//! The sections of INFO about memory and disk.

use super::{
    context::Context, info_text::InfoText, memory_figures::MemoryFigures, process::machine_bytes,
};
use crate::store::LoadProgress;

pub(super) fn memory(ctx: &Context<'_>, text: &mut InfoText) {
    let figures = MemoryFigures::now(ctx);
    text.bytes("used_memory", figures.used);
    text.bytes("used_memory_rss", figures.resident);
    text.bytes("used_memory_peak", figures.peak);
    text.line("used_memory_peak_perc", format_args!("{:.2}%", figures.peak_percent()));
    text.line("used_memory_overhead", figures.overhead);
    text.line("used_memory_startup", 0);
    text.line("used_memory_dataset", figures.dataset);
    text.line("used_memory_dataset_perc", format_args!("{:.2}%", figures.dataset_percent()));
    text.bytes("total_system_memory", machine_bytes());
    // There is no scripting.
    text.bytes("used_memory_lua", 0);
    text.bytes("maxmemory", ctx.app.settings.memory_bytes_max.bytes());
    text.line("maxmemory_policy", "noeviction");
    text.line("mem_fragmentation_ratio", format_args!("{:.2}", figures.fragmentation()));
    text.line("mem_fragmentation_bytes", figures.fragmentation_bytes());
    text.line("mem_allocator", "libc");
    text.line("active_defrag_running", 0);
}

pub(super) fn persistence(ctx: &Context<'_>, text: &mut InfoText) {
    let (status, stats) = (ctx.app.store.log_status(), &ctx.app.stats);
    let last = ctx.app.store.last_checkpoint();
    let is_poisoned = status.poisoned.is_some();
    text.line("loading", u8::from(ctx.app.is_loading()));
    text.line("async_loading", 0);
    // No copy is made of what is being written; see DESIGN.md.
    text.line("current_cow_peak", 0);
    text.line("current_cow_size", 0);
    text.line("current_cow_size_age", 0);
    text.line("current_fork_perc", "0.00");
    let progress = ctx.app.store.checkpoint_progress();
    text.line("current_save_keys_processed", progress.map_or(0, |at| at.rows_written));
    text.line("current_save_keys_total", progress.map_or(0, |at| at.rows_total));
    text.line("durability", ctx.app.store.durability());
    text.line("log_last_lsn", status.last.0);
    text.line("log_durable_lsn", status.durable.0);
    text.line("log_synced_lsn", status.synced.0);
    text.line("log_queued_bytes", status.queued_bytes);
    text.line("log_sync_errors", u8::from(is_poisoned));
    text.line("log_last_sync_usec", status.last_sync_us);
    text.line("rdb_changes_since_last_save", status.last.0.saturating_sub(last.lsn.0));
    text.line("rdb_bgsave_in_progress", u8::from(progress.is_some()));
    text.line("rdb_last_save_time", last.time.us() / 1_000_000);
    text.line("rdb_last_bgsave_status", if last.is_ok { "ok" } else { "err" });
    text.line(
        "rdb_last_bgsave_time_sec",
        match stats.snapshots_total.get() {
            0 => -1,
            _ => i64::try_from(stats.last_snapshot_ms.get() / 1000).unwrap_or(i64::MAX),
        },
    );
    let running_s = progress.and_then(|at| i64::try_from(at.started.elapsed().as_secs()).ok());
    text.line("rdb_current_bgsave_time_sec", running_s.unwrap_or(-1));
    text.line("rdb_saves", stats.snapshots_total.get());
    let (history_files, history_bytes) = ctx.app.store.history_size();
    text.line("history_files", history_files);
    text.line("history_bytes", history_bytes);
    text.line("history_compaction_in_progress", u8::from(ctx.app.store.is_compacting()));
    text.line("history_compactions", stats.compactions_total.get());
    text.line("history_compactions_failed", stats.compactions_failed.get());
    // The log takes the place of Redis' append-only file; it is trimmed, never rewritten.
    text.line("aof_enabled", 1);
    text.line("aof_rewrite_in_progress", 0);
    text.line("aof_rewrite_scheduled", 0);
    text.line("aof_last_bgrewrite_status", "ok");
    text.line("aof_last_write_status", if is_poisoned { "err" } else { "ok" });
    text.line("aof_current_size", status.bytes);
    if ctx.app.is_loading() {
        loading(ctx.app.store.load_progress(), text);
    }
}

/// As in Redis, but for the memory that the writer of an RDB file says it used.
fn loading(progress: &LoadProgress, text: &mut InfoText) {
    let (done, total) = progress.bytes();
    let percent = if total == 0 { 0.0 } else { done as f64 * 100.0 / total as f64 };
    let elapsed_s = progress.elapsed().as_secs();
    // Redis' guess: a second as long as nothing is known.
    let eta_s = match elapsed_s {
        0 => 1,
        _ => {
            u128::from(elapsed_s) * u128::from(total.saturating_sub(done)) / (u128::from(done) + 1)
        }
    };
    text.line("loading_start_time", progress.started_at.us() / 1_000_000);
    text.line("loading_total_bytes", total);
    text.line("loading_loaded_bytes", done);
    text.line("loading_loaded_perc", format_args!("{percent:.2}"));
    text.line("loading_eta_seconds", eta_s);
}
