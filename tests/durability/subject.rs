//! A store on a simulated disk that takes steps, and a model of each record it was given.
//!
//! ```text
//! record  0 ─ 1 ─ 2 ─ ... ─ acknowledged ─ ... ─ begun        a cut leaves the state of one record
//!                           └──────── any of these ────────┘  from here on
//! ```

use crate::{
    campaign::Failure,
    model::{Model, Visible},
    step::{Feature, Key, MAX_FUTURE_US, Step, VERSIONS, Write, definitions},
};
use nowthen::{
    disk::SimulatedFs,
    error::Error,
    feature::{
        CellWrite, Change, EndingField, KeyPart, PlainChange, Run, RunState, Timestamp, Value,
    },
    log::{Durability, Lsn},
    online::{Body, Row, Seen, ValueRef},
    registry::{DefinitionFile, parse_repository},
    store::{
        Checkpoint, Clock, Committed, FeatureRow, Keyspace, Locked, Store, StoreOptions,
        TransactionKeys,
    },
};
use serde_bytes::ByteBuf;
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
const DATA: &str = "/data";

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
}

/// Opens the store on a disk, with a clock that stands at `now_us`.
pub(crate) fn open(
    fs: &SimulatedFs,
    durability: Durability,
    now_us: i64,
) -> Result<Arc<Store>, Error> {
    let options = StoreOptions {
        durability,
        max_future_us: MAX_FUTURE_US,
        segment_bytes: SEGMENT_BYTES,
        ..StoreOptions::default()
    };
    let clock = Clock::manual(Timestamp(now_us));
    Store::open(Arc::new(fs.clone()), Path::new(DATA), &options, clock)
}

/// Ends a store as a kill would, once nobody else works with it.
pub(crate) fn end(store: Arc<Store>) {
    // The thread of its log holds it for a moment whenever something became durable; it must not
    // be the last one that does, since the end of a store waits for that thread.
    while Arc::strong_count(&store) > 1 {
        std::thread::yield_now();
    }
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
        let mut subject =
            Self { fs: fs.clone(), store, progress, models, now_us, checkpoint: None };
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
            Step::Checkpoint => {
                let beside = self.finish_checkpoint();
                Ok(beside.or(self.store.checkpoint().err()))
            }
            Step::CheckpointBeside => {
                let beside = self.finish_checkpoint();
                let store = Arc::clone(&self.store);
                self.checkpoint = Some(std::thread::spawn(move || {
                    let done = store.checkpoint();
                    end_shared(store);
                    done
                }));
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

    /// Waits for the checkpoint beside, if there is one; its error.
    pub(crate) fn finish_checkpoint(&mut self) -> Option<Error> {
        self.checkpoint.take()?.join().expect("a checkpoint does not panic").err()
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
        if after > expected || (committed.is_ok() && after != expected) {
            let what = format!("record {after} after {before}, where {expected} was to come");
            return Err(self.failure(&what));
        }
        let acknowledged = match committed {
            Ok(Some(lsn)) if is_waited_for => {
                let acknowledged = self.store.acknowledged_blocking(lsn);
                if acknowledged.is_ok() && self.store.is_deferred() {
                    self.progress.kept.fetch_max(lsn.0, Ordering::SeqCst);
                    self.progress.kept_by_kill.fetch_max(lsn.0, Ordering::SeqCst);
                }
                acknowledged
            }
            other => other.map(drop),
        };
        self.check_published()?;
        self.note_kept();
        Ok(acknowledged.err())
    }

    /// In mode `always` no reader sees what a crash could undo.
    fn check_published(&self) -> Result<(), Failure> {
        if !self.store.is_deferred() {
            return Ok(());
        }
        let mut newest = 0;
        for key in (0..4).flat_map(|key| [Key::Text(key), Key::Hash(key)]) {
            let lsn = |row: Option<&Row>| row.map_or(0, Row::lsn);
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
                let committed = subject.store.transaction(|_| TransactionKeys::All, true, run);
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

fn end_shared(store: Arc<Store>) {
    drop(store);
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

/// What a client sees in a store at `now_us`.
pub(crate) fn visible(store: &Store, now_us: i64) -> Visible {
    store.clock().advance_to(Timestamp(now_us));
    let now = store.now();
    let mut visible = Visible::new();
    let until =
        |end: Option<Timestamp>| end.map_or_else(String::new, |e| format!(" until {}", e.us()));
    let show = |row: &Row| {
        if row.is_expired(now) {
            return;
        }
        let name = String::from_utf8_lossy(row.key());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match row.body() {
            Some(Body::String(value)) => {
                visible.insert(format!("{name}{}", until(row.expires_at())), text(value));
            }
            Some(Body::Hash(hash)) => {
                let end = until(row.expires_at());
                for field in hash.at(now).fields() {
                    let name = format!("{name}{end} {}{}", text(field.name), until(field.end));
                    visible.insert(name, text(field.value));
                }
            }
            Some(Body::Entity(_)) | None => {}
        }
    };
    let step = store.keyspace().scan(0, usize::MAX, Seen::Published, show);
    assert_eq!(step.cursor, 0, "a scan without bound is one step");
    let schema = store.schema();
    if let Some(entity) = schema.catalog.entity("user") {
        let plan = schema.plan(entity, Feature::ALL.map(|feature| feature.name().as_bytes()));
        for user in 0..3 {
            let key = entity.key(&[KeyPart::Int64(user)]);
            let mut features = Feature::ALL.iter();
            store.keyspace().get_online_features(&key, &plan, now, Seen::Published, |read| {
                let name = features.next().map_or("", |feature| feature.name());
                let value = read.value.and_then(ValueRef::to_value);
                let text = value.map(|value| value.to_text());
                let null =
                    (read.status == nowthen::feature::Status::NullValue).then(|| "null".into());
                if let Some(text) = text.or(null) {
                    visible.insert(format!("user:{user} {name}"), text);
                }
            });
        }
    }
    visible.insert("definitions".into(), schema.catalog.catalog_version().to_string());
    let runs = store.runs(None, usize::MAX);
    visible.insert("runs".into(), runs.first().map_or(0, |run| run.id).to_string());
    visible
}

/// Commits one write; the model says which names the definitions know.
fn commit(
    keyspace: Keyspace<'_>,
    model: &Model,
    write: &Write,
    now_us: i64,
) -> Result<Committed<()>, Error> {
    let plain = |key: String, decide: &dyn Fn(&Locked<'_>) -> Option<PlainChange>| {
        keyspace.commit(&[key.as_bytes()], |locked| {
            let change = decide(locked);
            let key = key.clone().into_bytes();
            Ok((change.map(|change| Change::Plain { key, change }).into_iter().collect(), ()))
        })
    };
    let end = |in_us: &Option<i64>| in_us.map(|us| Timestamp(now_us + us));
    match write {
        Write::SetText { key, text, end_in_us } => plain(Key::Text(*key).name(), &|_| {
            let value = text.clone().into_bytes();
            Some(PlainChange::SetString { value, expires_at: end(end_in_us) })
        }),
        Write::SetFields { key, fields, end_in_us } => {
            let name = Key::Hash(*key).name();
            plain(name.clone(), &|locked| {
                let is_whole = locked.row(name.as_bytes()).is_none();
                Some(set_fields(fields, end(end_in_us), is_whole))
            })
        }
        Write::DeleteFields { key, names } => {
            let name = Key::Hash(*key).name();
            plain(name.clone(), &|locked| {
                seen_fields(locked, &name, names).map(PlainChange::DeleteFields)
            })
        }
        Write::EndFields { key, names, end_in_us } => {
            let name = Key::Hash(*key).name();
            plain(name.clone(), &|locked| {
                let names = seen_fields(locked, &name, names)?;
                Some(PlainChange::EndFields { names, at: end(end_in_us) })
            })
        }
        Write::Delete { key } => plain(key.name(), &|locked| {
            locked.row(key.name().as_bytes()).map(|_| PlainChange::Delete)
        }),
        Write::Expire { key, end_in_us } => plain(key.name(), &|locked| {
            locked.row(key.name().as_bytes()).map(|_| PlainChange::ExpireAt(end(end_in_us)))
        }),
        Write::FlushAll => keyspace.flush_all(),
        Write::SetFeatures { .. }
        | Write::Push { .. }
        | Write::DeleteFeatures { .. }
        | Write::DeleteEntity { .. } => commit_features(keyspace, model, write, now_us),
    }
}

fn set_fields(fields: &[(String, String)], end: Option<Timestamp>, is_whole: bool) -> PlainChange {
    let bytes = |text: &String| ByteBuf::from(text.as_bytes());
    if end.is_some() {
        let fields = fields.iter();
        let ending = |(name, value)| EndingField { name: bytes(name), value: bytes(value), end };
        let fields = fields.map(|(name, value)| ending((name, value))).collect();
        return PlainChange::SetEndingFields { is_whole, fields };
    }
    let fields = fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
    if is_whole { PlainChange::SetHash(fields) } else { PlainChange::SetFields(fields) }
}

/// Of these fields those that stand; `None` for none.
fn seen_fields(locked: &Locked<'_>, key: &str, names: &[String]) -> Option<Vec<ByteBuf>> {
    let hash = locked.row(key.as_bytes())?.stored_hash()?.at(locked.now);
    let stands = |name: &&String| hash.get(name.as_bytes(), &mut 0).is_some();
    let seen: Vec<_> = names.iter().filter(stands).map(|n| ByteBuf::from(n.as_bytes())).collect();
    (!seen.is_empty()).then_some(seen)
}

fn commit_features(
    keyspace: Keyspace<'_>,
    model: &Model,
    write: &Write,
    now_us: i64,
) -> Result<Committed<()>, Error> {
    let nothing = Committed { value: (), wait_for: None };
    let schema = keyspace.schema();
    let Some(entity) = schema.catalog.entity("user") else { return Ok(nothing) };
    let key = |user: &i64| format!("user:{user}").into_bytes();
    let told = |committed: Committed<usize>| Committed { value: (), wait_for: committed.wait_for };
    match write {
        Write::SetFeatures { user, features } => {
            let known = features.iter().filter(|(f, _)| f.since_version() <= model.version);
            let texts: Vec<_> = known.map(|(f, number)| (f.name(), f.text(*number))).collect();
            let fields: Vec<(&[u8], &[u8])> =
                texts.iter().map(|(name, text)| (name.as_bytes(), text.as_bytes())).collect();
            keyspace.set_features(&schema, entity, &key(user), &fields).map(told)
        }
        Write::Push { user, event_in_us, cells } => {
            let view = schema.catalog.view("spending").expect("the view of the entity");
            let mut row_cells = Vec::new();
            for (feature, number) in cells.iter().filter(|(f, _)| model.may_push(*f)) {
                let definition = view.feature(feature.name()).expect("a known feature");
                let value =
                    number.map(|n| Value::parse(feature.text(n).as_bytes(), definition.value_type));
                let cell = match value {
                    None => CellWrite::Null,
                    Some(value) => CellWrite::Value(value?),
                };
                row_cells.push((definition.slot, cell));
            }
            if row_cells.is_empty() {
                return Ok(nothing);
            }
            row_cells.sort_unstable_by_key(|(slot, _)| *slot);
            let event = Timestamp(now_us + (*event_in_us).min(MAX_FUTURE_US));
            let row = FeatureRow { key: key(user), event, created: None, cells: row_cells };
            let pushed = keyspace.push_rows(&schema, view, vec![row])?;
            Ok(Committed { value: (), wait_for: pushed.wait_for })
        }
        Write::DeleteFeatures { user, features } => {
            let names: Vec<_> = model.known(features).into_iter().map(Feature::name).collect();
            let names = names.iter().map(|name| name.as_bytes());
            keyspace.delete_features(&schema, entity, &key(user), names).map(told)
        }
        Write::DeleteEntity { user } => {
            let key = key(user);
            keyspace.commit(&[&key], |locked| {
                Ok((keyspace.entity_tombstones(&schema, entity, &key, locked).0, ()))
            })
        }
        _ => Ok(nothing),
    }
}
