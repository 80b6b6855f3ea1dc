//! What a record does to the store: the same for a live write, for one that became durable, and
//! for replay.

use super::{
    engine::Store,
    locked::{Held, Reach, Showing},
    schema::Schema,
};
use crate::{
    error::{Error, Result},
    feature::{CellsWrite, Change, Origin, PlainChange, Record, RunState, Timestamp},
    log::Lsn,
    online::{Edit, Layout, Seen},
    registry::{DefinitionFile, parse_repository},
};
use std::sync::Arc;

impl Store {
    /// Everything up to `lsn` may be acknowledged: what waited for that is shown to readers, in
    /// order.
    pub(super) fn publish_durable(&self, lsn: Lsn) {
        loop {
            let first = self.unpublished.lock().front().filter(|first| first.lsn <= lsn).cloned();
            let Some(first) = first else { break };
            if let Err(error) = self.publish(first.lsn, &first.record, first.decided_at) {
                // The record was validated before it was appended.
                tracing::error!(%error, lsn = first.lsn.0, "a validated record cannot be applied");
            }
            // It leaves once it is applied: whoever looks here and then there misses nothing.
            self.unpublished.lock().pop_front();
        }
        self.published.send_if_modified(|published| {
            let is_news = *published < lsn;
            *published = lsn.max(*published);
            is_news
        });
    }

    /// Applies record `lsn` to what readers see. Cells that lie ahead of `now` are kept aside; of a
    /// live write that is the time it was decided at: cells that stand in no pending row must not
    /// be published as if they did, however long the sync took.
    pub(super) fn publish(&self, lsn: Lsn, record: &Record, now: Timestamp) -> Result<()> {
        let Some(reach) = self.shown_together(record) else {
            return record
                .changes
                .iter()
                .try_for_each(|change| self.publish_change(lsn, change, now));
        };
        let mut held = Held::new(&self.table, &reach, Seen::Published, || now);
        self.apply_held(&mut held, lsn, record, now, Showing::Durable)
            .map_err(|error| self.unusable(lsn, &error.to_string()))
    }

    /// The rows of which readers must see all or none as `record` leaves them: those of a command
    /// about several keys, and of a transaction. A run of materialization promises no such thing,
    /// and would make readers wait.
    fn shown_together(&self, record: &Record) -> Option<Reach> {
        if record.changes.iter().any(|change| matches!(change, Change::FlushAll)) {
            return Some(Reach::everything(true));
        }
        let mut keys: Vec<&[u8]> = Vec::with_capacity(record.changes.len());
        for change in &record.changes {
            match change {
                Change::Cells(write) if write.origin == Origin::Pushed => keys.push(&write.key),
                Change::Plain { key, .. } => keys.push(key),
                Change::Cells(_)
                | Change::FlushAll
                | Change::Forget { .. }
                | Change::Apply { .. }
                | Change::RunEnded(_) => return None,
            }
        }
        (keys.len() > 1).then(|| Reach::write(&self.table, keys))
    }

    pub(super) fn publish_change(&self, lsn: Lsn, change: &Change, now: Timestamp) -> Result<()> {
        // A snapshot may hold what is about no row although the log behind it tells it again.
        let is_known = || self.jobs.lock().knows(lsn.0);
        match change {
            Change::Apply { .. } | Change::RunEnded(_) if is_known() => {}
            Change::Cells(write) if write.stamp.event > now => {
                self.future.keep(lsn.0, write.clone());
            }
            Change::Cells(write) => {
                let schema = self.schema();
                let layout = schema.layout_for(write).map_err(|why| self.unusable(lsn, &why))?;
                self.table.publish(lsn.0, Edit::Cells(layout, write));
            }
            Change::Plain { key, change } => self.table.publish(lsn.0, Edit::Plain(key, change)),
            Change::Forget { key, at } => {
                self.table.publish(lsn.0, Edit::Plain(key, &PlainChange::Delete));
                self.note_forgotten(key, lsn, *at);
            }
            Change::FlushAll => {
                self.table.flush(lsn.0);
                self.future.flush(lsn.0);
                self.jobs.lock().note(lsn.0, change);
            }
            Change::Apply { definitions, at } => {
                let text = definitions.clone();
                let file = DefinitionFile { path: "the log".into(), text };
                let catalog = parse_repository(&[file])
                    .and_then(|definitions| self.schema().catalog.apply(&definitions, *at))
                    .map_err(|error| self.unusable(lsn, &error.to_string()))?;
                self.show_schema(Schema::new(catalog));
                self.jobs.lock().note(lsn.0, change);
            }
            Change::RunEnded(run) => {
                let schema = self.schema();
                let filling = schema.catalog.filling(&run.view).map(|view| view.generation);
                // A part of the past fills nothing.
                let is_whole = run.from.is_none() && run.to >= run.started;
                if run.state == RunState::Done && is_whole && filling == Some(run.generation) {
                    let catalog = schema.catalog.switch(&run.view, run.generation);
                    self.show_schema(Schema::new(catalog));
                }
                self.jobs.lock().note(lsn.0, change);
            }
        }
        Ok(())
    }

    /// Moves to the table every cell whose time has come.
    pub(super) fn admit_due(&self, now: Timestamp) {
        // What is loaded may yet say that they are gone.
        if !self.loading.is_over() {
            return;
        }
        let schema = self.schema();
        self.future.admit_due(now, |lsn, write| self.admit(&schema, lsn, write));
    }

    pub(super) fn admit(&self, schema: &Schema, lsn: u64, write: &CellsWrite) {
        if let Ok(layout) = schema.layout_for(write) {
            // Whoever forgets holds the row until the mark is set.
            let is_gone = || self.forgotten.load().hides(&write.key, lsn, write.stamp.event);
            self.table.admit(lsn, Edit::Cells(layout, write), is_gone);
        }
    }

    /// Makes `schema` the one that counts.
    fn show_schema(&self, schema: Schema) {
        self.table.know(schema.layouts());
        if schema.catalog.had_drop_of_entity() {
            self.registration.note_drop();
        }
        self.schema.store(Arc::new(schema));
    }

    fn unusable(&self, lsn: Lsn, why: &str) -> Error {
        Error::corrupt(&self.root, 0, format!("a record {} that can be applied: {why}", lsn.0))
    }
}

impl Schema {
    /// A record that cannot be applied must never reach the log: no store would open upon it.
    pub(super) fn check_layouts(&self, changes: &[Change]) -> Result<()> {
        for change in changes {
            if let Change::Cells(write) = change {
                self.layout_for(write).map_err(Error::refused)?;
            }
        }
        Ok(())
    }

    /// The layout that `write` was made for.
    pub(super) fn layout_for(&self, write: &CellsWrite) -> Result<&Layout, String> {
        let layout = self.layout_of(write)?;
        if layout.accepts(write) {
            Ok(layout)
        } else {
            Err(format!("its cells do not fit view {}", write.view.0))
        }
    }

    /// The same of a write that was found to fit before: what fits a generation once always does.
    pub(super) fn layout_of(&self, write: &CellsWrite) -> Result<&Layout, String> {
        let layout = self.layout(write.view, write.generation).map(|layout| &**layout);
        layout
            .ok_or_else(|| format!("view {} has no generation {}", write.view.0, write.generation))
    }
}
