//! Compaction of the history, beside the work: after each snapshot, with half of one core.
//!
//! Invariants
//! - At most one is running (`Store::compact_history` holds to it).
//! - It sleeps as long as it works, behind the threads that serve, and ends when the server does.

use super::{app::App, settings::Shutdown};
use crate::{
    error::{Error, Result},
    parallel::stand_back,
    store::{Compacted, MergePolicy},
};
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// It never sleeps longer at a time: an erasure may be waiting for it to end.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Begins to merge files of the history on a thread of its own, until no more are due. That it
/// failed is logged, and told by INFO.
pub fn begin_compaction(app: &Arc<App>) -> Result<()> {
    let app = Arc::clone(app);
    let spawned = thread::Builder::new().name("compaction".into()).spawn(move || compact(&app));
    spawned.map(drop).map_err(Error::io("starting a thread for the compaction", "compaction"))
}

fn compact(app: &App) {
    stand_back();
    loop {
        let started = Instant::now();
        let mut worked_since = started;
        let compacted = app.store.compact_history(&MergePolicy::default(), &mut || {
            thread::sleep(worked_since.elapsed().min(PAUSE_MAX));
            worked_since = Instant::now();
            *app.shutdown.borrow() == Shutdown::Running
        });
        let ms = started.elapsed().as_millis() as u64;
        match compacted {
            Ok(Some(done)) => {
                app.stats.compactions_total.increment();
                let Compacted { view_name: view, files, buckets, rows, given_up, bytes } = done;
                let what = "history was compacted";
                tracing::info!(view, files, buckets, rows, given_up, bytes, ms, what);
            }
            Ok(None) => return,
            Err(error) => {
                app.stats.compactions_failed.increment();
                return tracing::error!(%error, "history could not be compacted");
            }
        }
    }
}
