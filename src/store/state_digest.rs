//! The digest of what a store holds, as its clients could tell: the same however it came there.
//!
//! Two ways to a state leave other bytes: a large hash or a packed one, rows that a sweeper took or
//! not, cells that waited or not. So what counts is what can be read at an instant, in one order:
//!
//! ```text
//! string   's' key end value
//! hash     'h' key end, of each field by name: name value end
//! entity   'e' key, of each view and generation in order: slot state stamp value
//! waiting  'f' the record that wrote cells ahead of the clock, and the cells
//! mark     'm' the mark of a forgotten key, since when, and the record that forgot it
//! noted    'n' the record that applied definitions, ended a run or flushed, and what it says
//! ```

use super::{engine::Store, schema::Schema};
use crate::{
    feature::Timestamp,
    log::{Lsn, StateDigest},
    online::{Body, EntityRow, Field, Row, StoredHash},
};
use serde::Serialize;
use std::collections::BTreeSet;

/// How a state is told from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateSummary {
    /// The last record that it follows from.
    pub lsn: Lsn,
    /// The instant: what was over by then does not count.
    pub as_of: Timestamp,
    /// How many keys there are.
    pub keys: u64,
    /// The digest of everything.
    pub digest: StateDigest,
}

impl Store {
    /// The state of this moment, of what readers see. To be asked while nothing is written.
    pub fn summary(&self) -> StateSummary {
        let as_of = self.now();
        let lsn = self.log.last();
        let mut summary = StateSummary { lsn, as_of, keys: 0, digest: StateDigest::default() };
        let schema = self.schema();
        for index in 0..self.table.shard_count() {
            for row in self.table.shard(index).iter() {
                if let Some(entry) = entry_of(row, &schema, as_of) {
                    summary.digest.add(&entry);
                    summary.keys += u64::from(row.has_value());
                }
            }
        }
        // The same cells wait twice if a snapshot and the log behind it both tell them.
        let waiting = self.future.all();
        let waiting: BTreeSet<_> = waiting.iter().map(|cells| tagged(b'f', cells)).collect();
        let jobs = self.jobs.lock();
        let noted = jobs.kept().iter().map(|noted| tagged(b'n', noted));
        let forgotten = self.forgotten.load_full();
        let forgotten = forgotten.marks().map(|mark| tagged(b'm', &mark));
        waiting
            .into_iter()
            .chain(noted)
            .chain(forgotten)
            .for_each(|entry| summary.digest.add(&entry));
        summary
    }
}

/// What a row is to a reader at `now`; `None` if it is nothing.
fn entry_of(row: Row<'_>, schema: &Schema, now: Timestamp) -> Option<Vec<u8>> {
    if row.is_expired(now) {
        return None;
    }
    let mut out = Vec::new();
    match row.body()? {
        Body::String(value) => {
            begin(&mut out, b's', row.key());
            push_end(&mut out, row.expires_at());
            push(&mut out, value);
        }
        Body::Hash(hash) => {
            begin(&mut out, b'h', row.key());
            push_end(&mut out, row.expires_at());
            push_fields(&mut out, hash, now);
        }
        Body::Entity(entity) => {
            begin(&mut out, b'e', row.key());
            push_cells(&mut out, entity, schema);
        }
    }
    Some(out)
}

fn push_fields(out: &mut Vec<u8>, hash: StoredHash<'_>, now: Timestamp) {
    let mut fields: Vec<Field<'_>> = hash.at(now).fields().collect();
    fields.sort_unstable_by_key(|field| field.name);
    for field in fields {
        push(out, field.name);
        push(out, field.value);
        push_end(out, field.end);
    }
}

/// Tombstones count: a late write must find them.
fn push_cells(out: &mut Vec<u8>, entity: EntityRow<'_>, schema: &Schema) {
    let mut views: Vec<_> = entity.views().collect();
    views.sort_unstable();
    for (view, generation) in views {
        let Some(layout) = schema.layout(view, generation) else { continue };
        for slot in 0..layout.slot_count() as u32 {
            let Some(cell) = entity.cell(layout, slot) else { continue };
            for number in [view.0, generation, slot, cell.state as u32] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(&cell.stamp.event.us().to_le_bytes());
            push_end(out, cell.stamp.created);
            match cell.value {
                Some(value) => value.with_wide_bytes(|bytes| push(out, bytes)),
                None => push(out, &[]),
            }
        }
    }
}

fn begin(out: &mut Vec<u8>, tag: u8, key: &[u8]) {
    out.push(tag);
    push(out, key);
}

fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn push_end(out: &mut Vec<u8>, end: Option<Timestamp>) {
    out.push(u8::from(end.is_some()));
    out.extend_from_slice(&end.map_or(0, Timestamp::us).to_le_bytes());
}

fn tagged(tag: u8, entry: &impl Serialize) -> Vec<u8> {
    let mut out = vec![tag];
    // Writing to a vector cannot fail.
    out.extend(postcard::to_stdvec(entry).unwrap_or_default());
    out
}
