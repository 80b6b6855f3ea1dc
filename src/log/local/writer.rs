//! The thread of the log: it writes, if nobody else does, syncs, and begins segments.
//!
//! ```text
//! wait for work ─> hold the tail ─> write ─> let go ─> sync, if the mode says so ─> on_durable
//!                         segment full? footer, sync, next segment
//! ```
//! Invariants
//! - It alone syncs, seals and names segments.
//! - While it syncs it holds nothing, so whoever writes for himself need not wait.

use super::{
    queue::{Ending, Work},
    tail::{DueSync, PoisonIfPanicking, Shared, Tail},
};
use crate::{error::Result, log::options::Durability};
use std::{sync::Arc, time::Duration};

/// A sync that is due waits for so many rounds of writing at most.
const ROUNDS_MAX: usize = 4;

pub(super) struct Writer {
    shared: Arc<Shared>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Works until the log is closed or poisoned.
    pub(super) fn run(&self) {
        let _poison_if_panicking = PoisonIfPanicking(&self.shared);
        if let Err(error) = self.work() {
            let mut tail = self.shared.tail.lock();
            self.shared.queue.poison(&error.to_string());
            tail.fail(error);
        }
    }

    fn work(&self) -> Result<()> {
        let shared = &*self.shared;
        let interval = match shared.durability {
            Durability::Interval { ms } => Some(Duration::from_millis(ms)),
            Durability::Always | Durability::Never => None,
        };
        loop {
            shared.queue.prepare_spare();
            let is_late = shared.queue.wait(interval);
            let (mut ending, mut due) = (None, None);
            for _ in 0..ROUNDS_MAX {
                let mut tail = shared.tail.lock();
                let written = self.write(&mut tail, is_late);
                // Nobody may write behind what failed: the poison comes first.
                (ending, due) =
                    written.inspect_err(|error| shared.queue.poison(&error.to_string()))?;
                drop(tail);
                // Who found the tail held counts on this look.
                if shared.durability == Durability::Always || !shared.queue.has_batches() {
                    break;
                }
            }
            if let Some(due) = due {
                shared.run(&due)?;
                shared.tail.lock().is_synced(shared, &due);
            }
            if ending.is_some() {
                return Ok(());
            }
        }
    }

    /// Writes what is queued: how the log ends, if it does, and the sync that is due.
    fn write(&self, tail: &mut Tail, is_late: bool) -> Result<(Option<Ending>, Option<DueSync>)> {
        let shared = &*self.shared;
        let work = shared.queue.take();
        shared.queue.refuse_if_poisoned()?;
        for batch in &work.batches {
            tail.write(shared, batch)?;
        }
        if work.ending == Some(Ending::Clean) {
            tail.seal(shared)?;
        }
        tail.acknowledge(shared);
        Ok((work.ending, self.due_sync(tail, &work, is_late)))
    }

    /// The sync that the mode, or somebody who waits, wants now.
    fn due_sync(&self, tail: &Tail, work: &Work, is_late: bool) -> Option<DueSync> {
        let is_due = self.shared.durability == Durability::Always || is_late || work.flush;
        (is_due && tail.synced < tail.written).then(|| tail.to_sync())
    }
}
