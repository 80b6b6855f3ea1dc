//! One run: read what is new, write it, note how it ended.

use crate::{
    error::{Error, Result},
    feature::{CellWrite, Entity, Run, RunState, Timestamp, View},
    log::Lsn,
    offline::{Dataset, Latest, LatestRow, Progress, Window, latest},
    store::{FeatureRow, Store},
};
use parking_lot::Mutex;
use std::{sync::Arc, thread, time::Duration};

/// So many entities are written at once: enough to share one frame of the log, few enough that no
/// reader waits long for a shard.
const ROWS_PER_WRITE: usize = 64;
/// How often a run tells how far it is, in rows written.
const ROWS_PER_REPORT: u64 = 10_000;

/// What is asked of a run.
#[derive(Clone, Debug)]
pub struct Request {
    /// The view, by name.
    pub view: String,
    /// Only events at or after this.
    pub from: Option<Timestamp>,
    /// Only events at or before this; now, if it is not given.
    pub to: Option<Timestamp>,
}

/// Begins runs.
#[derive(Debug)]
pub struct Materializer {
    store: Arc<Store>,
}

/// A run that has its number and has not ended. Dropped without an end it is forgotten.
#[derive(Debug)]
pub struct Begun {
    store: Arc<Store>,
    view: Arc<View>,
    entity: Arc<Entity>,
    run: Run,
}

impl Drop for Begun {
    /// After its end this changes nothing; without one the view could never be run again.
    fn drop(&mut self) {
        self.store.abandon_run(&self.run);
    }
}

/// Tells nobody how far a run is.
pub fn quiet(_: &Run) {}

impl Materializer {
    /// Runs that write to `store`.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// The views that have a source, by name.
    pub fn sourced_views(&self) -> Vec<String> {
        let schema = self.store.schema();
        let views = schema.catalog.views().filter_map(|view| {
            schema.catalog.newest_view(&view.name).filter(|view| view.source.is_some())
        });
        views.map(|view| view.name.clone()).collect()
    }

    /// Numbers a run and notes that it runs.
    pub fn begin(&self, request: &Request) -> Result<Begun> {
        let schema = self.store.schema();
        let view = schema.catalog.newest_view(&request.view).cloned();
        let view = view.ok_or_else(|| schema.catalog.unknown_view(&request.view))?;
        let entity = schema.catalog.entity_by_id(view.entity).cloned();
        let entity = entity.ok_or_else(|| Error::refused("a view of no entity"))?;
        if view.source.is_none() {
            return Err(Error::refused(format!(
                "view {} has no source: it is only pushed to",
                view.name
            )));
        }
        let now = self.store.now();
        let to = request.to.unwrap_or(now);
        if to > now {
            return Err(Error::refused(format!(
                "cannot materialize up to {}: it is {} by the server's clock",
                to.to_iso(),
                now.to_iso()
            )));
        }
        let run = self.store.begin_run(new_run(&view, now, request.from, to))?;
        Ok(Begun { store: Arc::clone(&self.store), view, entity, run })
    }
}

fn new_run(view: &View, started: Timestamp, from: Option<Timestamp>, to: Timestamp) -> Run {
    Run {
        id: 0,
        view: view.name.clone(),
        version: view.version,
        generation: view.generation,
        started,
        finished: None,
        from,
        to,
        rows_total: 0,
        rows_read: 0,
        rows_ahead: 0,
        bytes_read: 0,
        entities_written: 0,
        entities_unchanged: 0,
        state: RunState::Running,
        files: Vec::new(),
    }
}

impl Begun {
    /// Runs to the end on this thread, telling `progress` how far it is now and then.
    pub fn finish(mut self, progress: &(dyn Fn(&Run) + Sync)) -> Result<Run> {
        let result = self.read_and_write(progress);
        self.run.finished = Some(self.store.now());
        self.run.state = match &result {
            Ok(()) => RunState::Done,
            Err(error) => RunState::Failed(error.to_string()),
        };
        self.run = self.store.end_run(self.run.clone())?;
        progress(&self.run);
        result?;
        match &self.run.state {
            RunState::Failed(why) => Err(Error::refused(why.clone())),
            RunState::Done | RunState::Running => Ok(self.run.clone()),
        }
    }

    /// Runs on a thread of its own; returns how it stands at the beginning.
    pub fn in_background(self) -> Result<Run> {
        let run = self.run.clone();
        let work = move || {
            let (id, view) = (self.run.id, self.view.name.clone());
            if let Err(error) = self.finish(&quiet) {
                tracing::error!(%error, id, view, "a run of materialization failed");
            }
        };
        let spawned = thread::Builder::new().name("materialize".into()).spawn(work);
        spawned.map_err(Error::io("starting a thread to materialize", &run.view))?;
        Ok(run)
    }

    fn read_and_write(&mut self, progress: &(dyn Fn(&Run) + Sync)) -> Result<()> {
        let source = self.view.source.as_deref().unwrap_or_default();
        let dataset = Dataset::open(source)?;
        self.run.files = dataset.stamps();
        if let Some(last) = self.last_if_nothing_new() {
            (self.run.files, self.run.rows_total) = (last.files, last.rows_total);
            return Ok(());
        }
        let window = Window { from: self.run.from, to: self.run.to };
        let told = Mutex::new(self.run.clone());
        let tell = |at: Progress| {
            let mut run = told.lock();
            (run.rows_read, run.rows_total, run.bytes_read) = (at.rows, at.rows_total, at.bytes);
            self.store.run_progress(&run);
            progress(&run);
        };
        let (view, entity) = (Arc::clone(&self.view), Arc::clone(&self.entity));
        let mut newest = latest(&view, &entity, &dataset, window, None, &tell)?;
        self.run.files = dataset.stamps();
        self.run.rows_total = newest.rows_total();
        self.run.rows_read = newest.rows_read();
        self.run.rows_ahead = newest.rows_ahead();
        self.write(&mut newest, progress)?;
        self.run.bytes_read = newest.bytes_read();
        Ok(())
    }

    /// The last run, if this one would find nothing: the same files in which nothing was ahead
    /// hold nothing new.
    fn last_if_nothing_new(&self) -> Option<Run> {
        let Run { view, version, generation, from, files, .. } = &self.run;
        let last = || self.store.cursor(view, *version, *generation, files);
        from.is_none().then(last).flatten()
    }

    fn write(&mut self, newest: &mut Latest<'_>, progress: &(dyn Fn(&Run) + Sync)) -> Result<()> {
        let mut last = None;
        while let Some(batch) = newest.next_batch(ROWS_PER_WRITE)? {
            let rows = batch.into_iter().map(|row| self.feature_row(row)).collect();
            last = self.write_rows(rows, progress)?.max(last);
        }
        match last {
            Some(lsn) => self.store.acknowledged_blocking(lsn),
            None => Ok(()),
        }
    }

    fn write_rows(
        &mut self,
        rows: Vec<FeatureRow>,
        progress: &(dyn Fn(&Run) + Sync),
    ) -> Result<Option<Lsn>> {
        while !self.store.has_room() {
            thread::sleep(Duration::from_millis(1));
        }
        let committed =
            self.store.keyspace().materialize_rows(&self.store.schema(), &self.view, rows)?;
        let before = self.run.entities_written + self.run.entities_unchanged;
        self.run.entities_written += committed.value.applied;
        self.run.entities_unchanged += committed.value.late;
        let after = self.run.entities_written + self.run.entities_unchanged;
        if before / ROWS_PER_REPORT != after / ROWS_PER_REPORT {
            self.store.run_progress(&self.run);
            progress(&self.run);
        }
        Ok(committed.wait_for)
    }

    fn feature_row(&self, row: LatestRow) -> FeatureRow {
        let cell = |value| match value {
            Some(value) => CellWrite::Value(value),
            None => CellWrite::Null,
        };
        let slots = self.view.features.iter().map(|feature| feature.slot);
        let mut cells: Vec<_> = slots.zip(row.cells.into_iter().map(cell)).collect();
        cells.sort_unstable_by_key(|(slot, _)| *slot);
        FeatureRow {
            key: self.entity.key(&row.key),
            event: row.stamp.event,
            created: row.stamp.created,
            cells,
        }
    }
}
