//! Loading: many rows of one view at once, pushed as a stream of batches.
//!
//! The stream is read twice, because nothing may be written if any of it is wrong, and because
//! it may be larger, decompressed, than what memory should hold. Its rows then go in by the way
//! of every other push, some at a time: readers see each row whole, and the load bit by bit. What
//! a crash cuts short was never acknowledged; loading it again changes nothing that is there.

use super::{
    commit::Committed,
    engine::Store,
    schema::Schema,
    write_features::{FeatureRow, WriteCount},
};
use crate::{
    error::{Error, Result},
    feature::View,
    log::Lsn,
    offline::{LoadStream, LoadedRow},
};
use std::{thread, time::Duration};

/// How long a load waits for the log, in steps of 1 ms. A log that takes nothing any more says so
/// when it is written to.
const WAIT_STEPS_MAX: u32 = 10_000;

impl Store {
    /// Writes all rows of an Arrow IPC stream to `view`, or none if one of them cannot be.
    pub fn load(
        &self,
        schema: &Schema,
        view: &View,
        stream: &[u8],
    ) -> Result<Committed<WriteCount>> {
        let entity = schema.catalog.entity_by_id(view.entity);
        let entity = entity.ok_or_else(|| Error::refused("a view of no entity"))?;
        let stream = LoadStream::open(view, entity, stream)?;
        stream.for_each(|first, rows| self.refuse_ahead(first, &rows))?;
        let mut count = WriteCount::default();
        let mut wait_for: Option<Lsn> = None;
        stream.for_each(|_, rows| {
            self.wait_for_room();
            let row = |row: LoadedRow| FeatureRow {
                key: entity.key(&row.key),
                event: row.event,
                created: None,
                cells: row.cells,
            };
            let rows = rows.into_iter().map(row).collect();
            let committed = self.keyspace().push_rows(schema, view, rows)?;
            count.applied += committed.value.applied;
            count.late += committed.value.late;
            wait_for = committed.wait_for.max(wait_for);
            Ok(())
        })?;
        Ok(Committed { value: count, wait_for })
    }

    /// What lies too far ahead of the clock, as for every push.
    fn refuse_ahead(&self, first: u64, rows: &[LoadedRow]) -> Result<()> {
        let latest = self.latest_event();
        let Some(row) = rows.iter().position(|row| row.event > latest) else { return Ok(()) };
        let event = rows.get(row).map_or(latest, |row| row.event);
        let number = first.saturating_add(row as u64);
        Err(Error::refused(format!("row {number}: {}", self.ahead_of_clock(event))))
    }

    fn wait_for_room(&self) {
        for _ in 0..WAIT_STEPS_MAX {
            if self.has_room() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}
