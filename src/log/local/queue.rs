//! What waits to be written, and who waits for what.
//!
//! ```text
//! append ──> packing ──(work)──> who writes ──(progress)──> flush
//!               └─ no room? ─> allocate ─ disk full? ─> NOSPACE
//! ```
//! Invariants
//! - A full disk is met before a record is taken; the writer never looks for space.
//! - One short mutex; files are touched outside of it.
//! - Once poisoned, nothing is taken and nobody waits for ever.

use super::{
    log_frame::{RECORD_BYTES_MAX, RECORD_LENGTH_BYTES, frame_bytes},
    packing::{Batch, Packing},
    segment::{SEGMENT_OVERHEAD_BYTES, Spare},
};
use crate::{
    disk::{FileSystem, is_out_of_space},
    error::{Error, Result},
    log::contract::Lsn,
};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// After space was refused, an append tries again no earlier than this.
const APPEND_RETRY_US: u64 = 100_000;
/// After space was refused, the writer tries again no earlier than this.
const WRITER_RETRY_US: u64 = 1_000_000;
/// With so much waiting the writer begins, even if nobody asked.
const MUCH_BYTES: usize = 256 * 1024;

/// The time in µs since 1970, as the caller has it.
pub type WallClock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Where segments are made.
pub(super) struct Ground {
    pub(super) fs: Arc<dyn FileSystem>,
    pub(super) directory: PathBuf,
    pub(super) segment_bytes: u64,
    pub(super) clock: WallClock,
}

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With a footer.
    Clean,
    /// As if killed.
    Abandoned,
}

/// What the writer has to do.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) batches: Vec<Batch>,
    pub(super) flush: bool,
    pub(super) ending: Option<Ending>,
}

struct State {
    packing: Packing,
    written_lsn: Lsn,
    synced_lsn: Lsn,
    /// When the last sync was done, by the steady clock: the other may be set back, and stand.
    synced_at: Instant,
    flush_to: Lsn,
    allocating: bool,
    refused_at_us: Option<i64>,
    ending: Option<Ending>,
    poisoned: Option<String>,
}

/// The queue between those who append and the one who writes.
pub(super) struct Queue {
    ground: Ground,
    state: Mutex<State>,
    /// The writer waits for something to do.
    work: Condvar,
    /// Others wait for a sync, or for space.
    progress: Condvar,
}

/// What a status shows of the queue.
pub(super) struct QueueStatus {
    pub(super) last_lsn: Lsn,
    pub(super) queued_bytes: usize,
    pub(super) out_of_space: bool,
    pub(super) poisoned: Option<String>,
}

impl Queue {
    pub(super) fn new(ground: Ground, last_lsn: Lsn, next_segment: u64) -> Self {
        let state = State {
            packing: Packing::new(last_lsn, next_segment),
            written_lsn: last_lsn,
            synced_lsn: last_lsn,
            synced_at: Instant::now(),
            flush_to: Lsn(0),
            allocating: false,
            refused_at_us: None,
            ending: None,
            poisoned: None,
        };
        let (work, progress) = (Condvar::new(), Condvar::new());
        Self { ground, state: Mutex::new(state), work, progress }
    }

    /// Takes a record, or says why not. The writer hears of it by [`Self::wake_writer`], or once
    /// much waits.
    pub(super) fn append(&self, record: &[u8]) -> Result<Lsn> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(Error::refused(format!(
                "a record of {} bytes is too long: at most {RECORD_BYTES_MAX}",
                record.len()
            )));
        }
        let mut state = self.state.lock();
        loop {
            state.refuse_if_stopped()?;
            if let Some(lsn) = state.packing.place(record) {
                let is_much = state.packing.queued_bytes() >= MUCH_BYTES;
                drop(state);
                if is_much {
                    self.wake_writer();
                }
                return Ok(lsn);
            }
            self.make_room(&mut state, record_frame_bytes(record), APPEND_RETRY_US)?;
        }
    }

    /// Lets the next record begin a new segment.
    pub(super) fn roll(&self) {
        self.state.lock().packing.roll();
    }

    /// Wakes the writer, if it waits for something to do.
    pub(super) fn wake_writer(&self) {
        self.work.notify_one();
    }

    /// Gets one more spare, in which a frame of `bytes` fits; who calls looks again afterwards.
    fn make_room(
        &self,
        state: &mut MutexGuard<'_, State>,
        bytes: usize,
        retry_us: u64,
    ) -> Result<()> {
        if state.allocating {
            self.progress.wait(state);
            return Ok(());
        }
        let now_us = (self.ground.clock)();
        if state.refused_at_us.is_some_and(|at_us| at_us.abs_diff(now_us) < retry_us) {
            return Err(no_space());
        }
        state.allocating = true;
        let grown = state.packing.take_unplanned_spare();
        let number = state.packing.next_segment();
        let wanted = (bytes + SEGMENT_OVERHEAD_BYTES) as u64;
        let (spare, made) =
            MutexGuard::unlocked(state, || self.ground.get_space(grown, number, wanted));
        state.allocating = false;
        if let Some(spare) = spare {
            state.packing.add_spare(spare);
        }
        self.progress.notify_all();
        state.refused_at_us = None;
        match made {
            Ok(()) => Ok(()),
            Err(error) if is_out_of_space(&error) => {
                state.refused_at_us = Some(now_us);
                Err(no_space())
            }
            Err(error) => {
                let why = Error::io("allocating a segment in", &self.ground.directory)(error);
                state.poison(&why.to_string());
                self.work.notify_one();
                Err(why)
            }
        }
    }

    /// The writer has the next spare made before anybody needs it. A full disk is no error yet.
    pub(super) fn prepare_spare(&self) {
        let mut state = self.state.lock();
        let stopped = state.ending.is_some() || state.poisoned.is_some();
        if !stopped && !state.allocating && !state.packing.has_unplanned_spare() {
            // Refused is seen by whoever needs the space; anything worse has poisoned the queue.
            let _ = self.make_room(&mut state, 0, WRITER_RETRY_US);
        }
    }

    /// Waits for something to do; true if the last sync was `interval` ago, and something was
    /// written since. However often it is woken before, it waits no longer.
    pub(super) fn wait(&self, interval: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        loop {
            let is_unsynced = state.synced_lsn < state.written_lsn;
            let interval = interval.filter(|_| is_unsynced);
            let due = interval.and_then(|interval| state.synced_at.checked_add(interval));
            if due.is_some_and(|due| due <= Instant::now()) {
                return true;
            }
            if state.has_work() {
                return false;
            }
            match due {
                None => self.work.wait(&mut state),
                Some(due) => {
                    self.work.wait_until(&mut state, due);
                }
            }
        }
    }

    /// What there is to do.
    pub(super) fn take(&self) -> Work {
        let mut state = self.state.lock();
        Work {
            batches: state.packing.take_batches(),
            flush: state.flush_to > state.synced_lsn,
            ending: state.ending,
        }
    }

    /// The batches at the front that were planned for a segment, and whether those are all; none of
    /// a queue that is poisoned.
    pub(super) fn take_for(&self, segment: u64) -> (Vec<Batch>, bool) {
        let mut state = self.state.lock();
        if state.poisoned.is_some() {
            return (Vec::new(), true);
        }
        let batches = state.packing.take_batches_for(segment);
        (batches, state.packing.is_empty())
    }

    /// Whether anything waits to be written, and will be.
    pub(super) fn has_batches(&self) -> bool {
        let state = self.state.lock();
        !state.packing.is_empty() && state.poisoned.is_none()
    }

    /// The space of a segment that batches were planned for.
    pub(super) fn take_spare(&self, number: u64) -> Option<Spare> {
        self.state.lock().packing.take_spare(number)
    }

    /// A batch was written and took only `used_bytes` of what was planned for it.
    pub(super) fn written(&self, batch: &Batch, used_bytes: usize) {
        let mut state = self.state.lock();
        state.packing.written(batch, used_bytes);
        let was_synced = state.synced_lsn >= state.written_lsn;
        state.written_lsn = batch.last_lsn();
        drop(state);
        if was_synced {
            // The writer has to sync some time from now.
            self.work.notify_one();
        }
    }

    /// All up to `lsn` is on the disk.
    pub(super) fn synced(&self, lsn: Lsn) {
        let mut state = self.state.lock();
        (state.synced_lsn, state.synced_at) = (lsn, Instant::now());
        drop(state);
        self.progress.notify_all();
    }

    /// Takes nothing any more; nobody knows what became of what was queued.
    pub(super) fn poison(&self, why: &str) {
        self.state.lock().poison(why);
        self.work.notify_all();
        self.progress.notify_all();
    }

    /// Waits until all that is queued now is synced, or until `deadline`; whether it is.
    pub(super) fn flush_until(&self, deadline: Option<Instant>) -> Result<bool> {
        let mut state = self.state.lock();
        let wanted = state.packing.last_lsn();
        while state.synced_lsn < wanted {
            state.refuse_if_poisoned()?;
            state.flush_to = state.flush_to.max(wanted);
            self.work.notify_one();
            match deadline {
                None => self.progress.wait(&mut state),
                Some(deadline) if self.progress.wait_until(&mut state, deadline).timed_out() => {
                    return Ok(state.synced_lsn >= wanted);
                }
                Some(_) => {}
            }
        }
        state.refuse_if_poisoned().map(|()| true)
    }

    /// Takes nothing any more and lets the writer end.
    pub(super) fn end(&self, ending: Ending) {
        self.state.lock().ending.get_or_insert(ending);
        self.work.notify_all();
    }

    pub(super) fn refuse_if_poisoned(&self) -> Result<()> {
        self.state.lock().refuse_if_poisoned()
    }

    pub(super) fn status(&self) -> QueueStatus {
        let state = self.state.lock();
        QueueStatus {
            last_lsn: state.packing.last_lsn(),
            queued_bytes: state.packing.queued_bytes(),
            out_of_space: state.refused_at_us.is_some(),
            poisoned: state.poisoned.clone(),
        }
    }

    pub(super) fn last_lsn(&self) -> Lsn {
        self.state.lock().packing.last_lsn()
    }

    /// Whether no more than `bytes_max` waits to be written; of a queue that is poisoned nothing
    /// will be, and whoever waits for room shall hear of that.
    pub(super) fn has_room(&self, bytes_max: usize) -> bool {
        let state = self.state.lock();
        state.packing.queued_bytes() <= bytes_max || state.poisoned.is_some()
    }
}

fn record_frame_bytes(record: &[u8]) -> usize {
    frame_bytes(RECORD_LENGTH_BYTES + record.len())
}

fn no_space() -> Error {
    Error::refused_as("NOSPACE", "no space left for the log: nothing was written, reads go on")
}

impl Ground {
    /// A spare of at least `wanted` bytes: `grown` made longer, or a new one. A spare that could
    /// not grow comes back as it was.
    fn get_space(
        &self,
        grown: Option<Spare>,
        number: u64,
        wanted: u64,
    ) -> (Option<Spare>, io::Result<()>) {
        let bytes = self.segment_bytes.max(wanted);
        if let Some(mut spare) = grown {
            let made = spare.grow(bytes);
            return (Some(spare), made);
        }
        match Spare::allocate(&*self.fs, &self.directory, number, bytes) {
            Ok(spare) => (Some(spare), Ok(())),
            Err(error) => (None, Err(error)),
        }
    }
}

impl State {
    fn has_work(&self) -> bool {
        let flush = self.flush_to > self.synced_lsn;
        flush || !self.packing.is_empty() || self.ending.is_some() || self.poisoned.is_some()
    }

    fn refuse_if_poisoned(&self) -> Result<()> {
        match &self.poisoned {
            Some(why) => Err(Error::refused_as("IOERR", format!("outcome unknown: {why}"))),
            None => Ok(()),
        }
    }

    fn refuse_if_stopped(&self) -> Result<()> {
        self.refuse_if_poisoned()?;
        match self.ending {
            Some(_) => Err(Error::refused("the log is closed")),
            None => Ok(()),
        }
    }

    fn poison(&mut self, why: &str) {
        self.poisoned.get_or_insert_with(|| why.to_string());
    }
}
