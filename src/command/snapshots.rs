//! Snapshots: when one is due, and writing one beside the work or at the end.
//!
//! Invariants
//! - At most one is being written (`Store::checkpoint` holds to it).
//! - After one that failed the next is not due before [`RETRY_AFTER`].

use super::{
    app::App,
    settings::{SavePoint, Shutdown},
};
use crate::{
    error::{Error, Result},
    parallel::stand_back,
    store::{BegunCheckpoint, SinceCheckpoint},
};
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// After one that failed, the schedule waits so long. Whoever asks for one may try at once.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// How often the end of the server looks whether the snapshot is finished that was begun before.
const RUNNING_POLL: Duration = Duration::from_millis(10);

/// Whether the schedule wants a snapshot now.
pub fn snapshot_is_due(app: &App) -> bool {
    let log_bytes_max = app.settings.snapshot_log_bytes.count();
    let points = app.settings.save_points.lock().clone();
    !app.store.is_checkpointing() && is_due(&points, log_bytes_max, &app.store.since_checkpoint())
}

/// As in Redis: after so many seconds if so many records came. And when the log has grown by so
/// many bytes; 0 is no limit.
fn is_due(points: &[SavePoint], log_bytes_max: u64, since: &SinceCheckpoint) -> bool {
    let is_reached = |point: &SavePoint| {
        since.records >= point.records && since.elapsed > Duration::from_secs(point.seconds)
    };
    let has_just_failed = since.failed.is_some_and(|elapsed| elapsed < RETRY_AFTER);
    let is_log_long = log_bytes_max > 0 && since.log_bytes > log_bytes_max;
    !has_just_failed && (is_log_long || points.iter().any(is_reached))
}

/// Begins a snapshot, to be written on a thread of its own; refused while another one is being
/// written. That it failed is logged, and told by INFO. Whoever holds locks of rows says so.
pub fn begin_snapshot(app: &Arc<App>, holds_rows: bool) -> Result<()> {
    let begun = app.store.begin_checkpoint()?;
    if !holds_rows {
        begun.count_rows();
    }
    let app = Arc::clone(app);
    let write = move || {
        stand_back();
        if let Err(error) = write_begun(&app, begun) {
            tracing::error!(%error, "a snapshot failed");
        }
    };
    let spawned = thread::Builder::new().name("snapshot".into()).spawn(write);
    spawned.map(drop).map_err(Error::io("starting a thread for the snapshot", "snapshot"))
}

/// Writes a snapshot, and notes how long that took.
pub(super) fn write_snapshot(app: &App) -> Result<()> {
    write_begun(app, app.store.begin_checkpoint()?)
}

fn write_begun(app: &App, begun: BegunCheckpoint) -> Result<()> {
    let started = Instant::now();
    let written = begun.write()?;
    let took = started.elapsed();
    app.stats.snapshots_total.increment();
    app.stats.last_snapshot_ms.set(took.as_millis() as u64);
    let now_s = app.store.now().us() / 1_000_000;
    app.stats.latency_monitor.note("snapshot", took.as_nanos() as u64, now_s);
    tracing::info!(lsn = written.lsn.0, ms = took.as_millis() as u64, "a snapshot was written");
    Ok(())
}

/// The snapshot at the end of a server, if it is to end with one; to be called when no client
/// writes any more. Without it the log holds everything.
pub fn write_last_snapshot(app: &App) -> Result<()> {
    let how = *app.shutdown.borrow();
    if matches!(how, Shutdown::Running | Shutdown::Plain) {
        return Ok(());
    }
    while app.store.is_checkpointing() {
        thread::sleep(RUNNING_POLL);
    }
    if how == Shutdown::WithSnapshot {
        return write_snapshot(app);
    }
    if app.store.since_checkpoint().records > 0
        && let Err(error) = write_snapshot(app)
    {
        tracing::warn!(%error, "no snapshot at the end; the log holds everything");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn since(elapsed: Duration, records: u64, log_bytes: u64) -> SinceCheckpoint {
        SinceCheckpoint { elapsed, failed: None, records, log_bytes }
    }

    #[test]
    fn a_snapshot_is_due_by_time_and_records_or_by_the_bytes_of_the_log() {
        let points =
            [SavePoint { seconds: 3600, records: 1 }, SavePoint { seconds: 60, records: 1000 }];
        let due = |since: &SinceCheckpoint| is_due(&points, 1 << 20, since);
        let more = Duration::from_secs(1);
        assert!(!due(&since(HOUR, 1, 0)) && due(&since(HOUR + more, 1, 0)));
        assert!(!due(&since(HOUR * 9, 0, 0)), "nothing came");
        assert!(!due(&since(more * 59, 1000, 0)) && due(&since(more * 61, 1000, 0)));
        assert!(!due(&since(more, 9, 1 << 20)) && due(&since(more, 9, (1 << 20) + 1)));
        assert!(!is_due(&[], 0, &since(HOUR * 9, 1 << 40, 1 << 40)), "both are off");
    }

    #[test]
    fn after_one_that_failed_the_schedule_waits() {
        let points = [SavePoint { seconds: 1, records: 1 }];
        let failed = |failed| SinceCheckpoint { failed: Some(failed), ..since(HOUR, 1, 0) };
        assert!(!is_due(&points, 1, &failed(RETRY_AFTER / 2)));
        assert!(is_due(&points, 1, &failed(RETRY_AFTER)));
    }
}
