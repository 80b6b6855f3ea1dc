//! A store on a simulated disk that takes steps, and a model of each record it was given.
//!
//! ```text
//! record  0 ─ 1 ─ 2 ─ ... ─ acknowledged ─ ... ─ begun        a cut leaves the state of one record
//!                           └──────── any of these ────────┘  from here on
//! ```

use crate::{
    campaign::Failure,
    commit::{commit, compact},
    model::Model,
    step::{Key, MAX_FUTURE_US, Step, VERSIONS, Write, definitions},
};
use nowthen::{
    disk::SimulatedFs,
    error::Error,
    feature::{Run, RunState, Timestamp},
    log::{Durability, Lsn},
    online::{Row, Seen},
    registry::{DefinitionFile, parse_repository},
    store::{
        Checkpoint, Clock, Compacted, Keyspace, Store, StoreOptions, TransactionKeys,
        TransactionKind,
    },
};
use std::{
    path::Path,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

/// Six frames fill a segment.
const SEGMENT_BYTES: u64 = 4096;
pub(crate) const DATA: &str = "/data";

/// How far a store is, to be read by whoever cuts its power: the last record that must survive,
/// and the last that may.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) kept: AtomicU64,
    /// What must survive a kill of the process.
    pub(crate) kept_by_kill: AtomicU64,
    pub(crate) begun: AtomicU64,
}

/// A store and what it must show.
pub(crate) struct Subject {
    pub(crate) fs: SimulatedFs,
    pub(crate) store: Arc<Store>,
    pub(crate) progress: Arc<Progress>,
    /// The model after each record, from 0.
    pub(crate) models: Vec<Model>,
    pub(crate) now_us: i64,
    checkpoint: Option<JoinHandle<Result<Checkpoint, Error>>>,
    compaction: Option<JoinHandle<Result<Option<Compacted>, Error>>>,
}

/// Opens the store on a disk, with a clock that stands at `now_us`.
pub(crate) fn open(
    fs: &SimulatedFs,
    durability: Durability,
    now_us: i64,
) -> Result<Arc<Store>, Error> {
    open_at(fs, Path::new(DATA), durability, now_us)
}

/// The same in another folder.
pub(crate) fn open_at(
    fs: &SimulatedFs,
    data: &Path,
    durability: Durability,
    now_us: i64,
) -> Result<Arc<Store>, Error> {
    let options =
        StoreOptions { durability, max_future_us: MAX_FUTURE_US, segment_bytes: SEGMENT_BYTES };
    Store::open(Arc::new(fs.clone()), data, &options, Clock::manual(Timestamp(now_us)))
}

/// Ends a store as a kill would, once nobody else works with it.
pub(crate) fn end(store: Arc<Store>) {
    // The thread of its log holds it for a moment whenever something became durable; it must not
    // be the last one that does, since the end of a store waits for that thread.
    while Arc::strong_count(&store) > 1 {
        std::thread::yield_now();
    }
    drop(store);
}

impl Subject {
    /// Opens what is on `fs`, of which `models` tell all that may be there.
    pub(crate) fn open(
        fs: &SimulatedFs,
        durability: Durability,
        models: Vec<Model>,
        progress: Arc<Progress>,
    ) -> Result<Self, Error> {
        let store = open(fs, durability, 1)?;
        // What was recovered may know a later time than its last record.
        let now_us = store.clock().now().us();
        let (fs, checkpoint, compaction) = (fs.clone(), None, None);
        let mut subject = Self { fs, store, progress, models, now_us, checkpoint, compaction };
        let last = subject.store.last_written().0;
        subject.models.truncate(last as usize + 1);
        subject.progress.begun.store(last, Ordering::SeqCst);
        subject.note_kept();
        Ok(subject)
    }

    /// The last record that was taken.
    pub(crate) fn last(&self) -> u64 {
        self.models.len() as u64 - 1
    }

    fn model(&self) -> &Model {
        self.models.last().unwrap()
    }

    /// Takes one step; `Ok(Some)` is what the store answered if it refused.
    pub(crate) fn take(&mut self, step: &Step) -> Result<Option<Error>, Failure> {
        if is_traced() {
            eprintln!("after record {} at {}: {step:.40?}", self.last(), self.now_us + 7);
        }
        self.take_untold(step).map_err(|failure| failure.during(&format!("{step:.40?}")))
    }

    fn take_untold(&mut self, step: &Step) -> Result<Option<Error>, Failure> {
        self.now_us += 7;
        self.store.clock().advance_to(Timestamp(self.now_us));
        self.store.now();
        match step {
            Step::Write(write) => self.write(std::slice::from_ref(write), true),
            Step::WriteAndGoOn(write) => self.write(std::slice::from_ref(write), write.is_ahead()),
            Step::Transaction(writes) => self.write(writes, true),
            Step::Apply => self.apply_definitions(),
            Step::Run => self.run(),
            Step::Forget { user } => self.forget(*user),
            Step::Checkpoint => {
                let beside = self.finish_checkpoint();
                Ok(beside.or(self.store.checkpoint().err()))
            }
            Step::CheckpointBeside => {
                let beside = self.finish_checkpoint();
                // The turn is taken here: the thread may begin behind a step that wants it, too.
                let begun = self.store.begin_checkpoint();
                let writing = begun.map(|begun| std::thread::spawn(move || begun.write()));
                Ok(beside.or(writing.map(|writing| self.checkpoint = Some(writing)).err()))
            }
            Step::Compact => {
                let beside = self.finish_checkpoint();
                Ok(beside.or(compact(&self.store).err()))
            }
            Step::CompactBeside => {
                let beside = self.finish_compaction();
                let store = Arc::clone(&self.store);
                self.compaction = Some(std::thread::spawn(move || compact(&store)));
                Ok(beside)
            }
            Step::Sync => {
                let synced = self.store.sync_until(None);
                self.note_kept();
                match synced {
                    Ok(_) => {
                        self.progress.kept.fetch_max(self.last(), Ordering::SeqCst);
                        Ok(None)
                    }
                    Err(error) => Ok(Some(error)),
                }
            }
            Step::Sweep => {
                for shard in 0..self.store.shard_count() {
                    self.store.sweep(shard);
                }
                Ok(None)
            }
            Step::Wait { us } => {
                self.now_us += us;
                self.store.clock().advance_to(Timestamp(self.now_us));
                Ok(None)
            }
        }
    }

    /// Waits for the checkpoint and the compaction beside, if there are any; their error.
    pub(crate) fn finish_checkpoint(&mut self) -> Option<Error> {
        let checkpoint = self.checkpoint.take().map(JoinHandle::join);
        let checkpoint =
            checkpoint.and_then(|done| done.expect("a checkpoint does not panic").err());
        let compaction = self.finish_compaction();
        checkpoint.or(compaction)
    }

    fn finish_compaction(&mut self) -> Option<Error> {
        self.compaction.take()?.join().expect("a compaction does not panic").err()
    }

    /// Tells what must survive from here on.
    fn note_kept(&self) {
        let status = self.store.log_status();
        self.progress.kept.fetch_max(status.synced.0, Ordering::SeqCst);
        self.progress.kept_by_kill.fetch_max(status.durable.0, Ordering::SeqCst);
    }

    /// Takes as record what `commit` does, if it gives one; `next` is what is true then.
    fn record(
        &mut self,
        next: Option<Model>,
        commit: impl FnOnce(&Self) -> Result<Option<Lsn>, Error>,
        is_waited_for: bool,
    ) -> Result<Option<Error>, Failure> {
        let before = self.store.last_written().0;
        let expected = before + u64::from(next.is_some());
        self.progress.begun.fetch_max(expected, Ordering::SeqCst);
        let committed = commit(self);
        let after = self.store.last_written().0;
        if after > before {
            let Some(mut model) = next else {
                return Err(self.failure("a record that changes nothing"));
            };
            model.decided_us = self.now_us;
            self.models.push(model);
        }
        let must_be_taken = committed.is_ok() && !self.is_behind();
        if after > expected || (must_be_taken && after != expected) {
            let what = format!("record {after} after {before}, where {expected} was to come");
            return Err(self.failure(&what));
        }
        let acknowledged = match committed {
            Ok(Some(lsn)) if is_waited_for => {
                let acknowledged = self.store.acknowledged_blocking(lsn);
                if acknowledged.is_ok() {
                    // In every mode it is with the kernel; in this one on the disk, too.
                    self.progress.kept_by_kill.fetch_max(lsn.0, Ordering::SeqCst);
                    if self.store.is_deferred() {
                        self.progress.kept.fetch_max(lsn.0, Ordering::SeqCst);
                    }
                }
                acknowledged
            }
            other => other.map(drop),
        };
        self.check_published()?;
        self.note_kept();
        Ok(acknowledged.err())
    }

    /// Whether definitions that a poisoned log took, and that never became durable, are in the
    /// model and not in the store: to write what they define it finds nothing.
    fn is_behind(&self) -> bool {
        let applied = self.store.schema().catalog.catalog_version();
        self.store.log_status().poisoned.is_some() && applied < self.model().version
    }

    /// In mode `always` no reader sees what a crash could undo.
    fn check_published(&self) -> Result<(), Failure> {
        if !self.store.is_deferred() {
            return Ok(());
        }
        let mut newest = 0;
        for key in (0..4).flat_map(|key| [Key::Text(key), Key::Hash(key)]) {
            let lsn = |row: Option<Row<'_>>| row.map_or(0, Row::lsn);
            let key = key.name();
            newest = newest.max(self.store.keyspace().read(key.as_bytes(), Seen::Published, lsn));
        }
        let synced = self.store.log_status().synced.0;
        if newest > synced {
            let what =
                format!("a reader sees record {newest}, and {synced} is the last on the disk");
            return Err(self.failure(&what));
        }
        Ok(())
    }

    fn failure(&self, what: &str) -> Failure {
        Failure::on(&self.fs, what)
    }

    fn write(&mut self, writes: &[Write], is_waited_for: bool) -> Result<Option<Error>, Failure> {
        let mut next = self.model().clone();
        let mut is_changed = false;
        for write in writes {
            is_changed |= next.apply(write, self.now_us);
        }
        let model = self.model().clone();
        let now_us = self.now_us;
        let commit = |subject: &Self| match writes {
            [write] => commit(subject.store.keyspace(), &model, write, now_us).map(|c| c.wait_for),
            writes => {
                let mut steps = Ok(());
                let run = |keyspace: Keyspace<'_>, _| {
                    let mut model = model.clone();
                    for write in writes {
                        if steps.is_ok() {
                            steps = commit(keyspace, &model, write, now_us).map(drop);
                        }
                        model.apply(write, now_us);
                    }
                };
                let committed = subject.store.transaction(
                    |_| TransactionKeys::All,
                    TransactionKind::Writes,
                    run,
                );
                steps?;
                committed.map(|committed| committed.wait_for)
            }
        };
        self.record(is_changed.then_some(next), commit, is_waited_for)
    }

    fn apply_definitions(&mut self) -> Result<Option<Error>, Failure> {
        let version = self.model().version + 1;
        if version > VERSIONS {
            return Ok(None);
        }
        let mut next = self.model().clone();
        next.version = version;
        let file = DefinitionFile { path: "test".into(), text: definitions(version) };
        let apply = |subject: &Self| {
            subject.store.apply_definitions(&parse_repository(&[file])?, false)?;
            Ok(Some(subject.store.last_written()))
        };
        self.record(Some(next), apply, true)
    }

    /// One record forgets, and one begins the segment behind it.
    fn forget(&mut self, user: i64) -> Result<Option<Error>, Failure> {
        if self.model().version == 0 {
            return Ok(None);
        }
        let mut next = self.model().clone();
        next.forget(user, self.now_us);
        next.decided_us = self.now_us;
        let before = self.store.last_written().0;
        self.progress.begun.fetch_max(before + 2, Ordering::SeqCst);
        let forgotten = self.store.forget(format!("user:{user}").as_bytes());
        let after = self.store.last_written().0;
        self.models.extend((before..after).map(|_| next.clone()));
        if after > before + 2 || (forgotten.is_ok() && after != before + 2) {
            let what = format!("record {after} after {before}, where two were to come");
            return Err(self.failure(&what));
        }
        if forgotten.is_ok() {
            self.progress.kept_by_kill.fetch_max(after, Ordering::SeqCst);
            self.progress.kept.fetch_max(after, Ordering::SeqCst);
            if self.store.erasure_is_due() {
                return Err(self.failure("an erasure that is through and still due"));
            }
        }
        self.check_published()?;
        self.note_kept();
        Ok(forgotten.err())
    }

    fn run(&mut self) -> Result<Option<Error>, Failure> {
        if self.model().version == 0 {
            return Ok(None);
        }
        let mut next = self.model().clone();
        next.runs += 1;
        let run = a_run(self.now_us);
        let end_run = |subject: &Self| {
            let begun = subject.store.begin_run(run)?;
            subject.store.end_run(Run { state: RunState::Done, ..begun })?;
            Ok(Some(subject.store.last_written()))
        };
        self.record(Some(next), end_run, true)
    }
}

/// Whether each step is told: `CAMPAIGN_TRACE=1`.
fn is_traced() -> bool {
    static TRACED: LazyLock<bool> = LazyLock::new(|| std::env::var("CAMPAIGN_TRACE").is_ok());
    *TRACED
}

fn a_run(now_us: i64) -> Run {
    let now = Timestamp(now_us);
    Run {
        id: 0,
        view: "spending".into(),
        version: 1,
        generation: 1,
        started: now,
        finished: Some(now),
        from: None,
        to: now,
        rows_total: 1,
        rows_read: 1,
        rows_ahead: 0,
        bytes_read: 1,
        entities_written: 1,
        entities_unchanged: 0,
        state: RunState::Running,
        files: Vec::new(),
    }
}
