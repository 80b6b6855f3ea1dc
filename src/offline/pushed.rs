//! Cells that clients wrote and that stand in the log: per feature, the one that wins per slot.
//!
//! Invariants
//! - Candidates are sorted by who wins, so comparing two places in the list compares the cells.
//! - Rows of the log may be partial: every feature is searched on its own.

use super::winners::{Group, KnownBy};
use crate::{
    error::{Error, Result},
    feature::{CellWrite, KeyPart, Stamp, Value, View},
};

/// Cells of one entity and one stamp that clients wrote and that no Parquet file holds yet.
#[derive(Clone, Debug, PartialEq)]
pub struct PushedCells {
    /// One part per join key.
    pub key: Vec<KeyPart>,
    /// When they were true, and when they became known.
    pub stamp: Stamp,
    /// The order of arrival; of equal orders the later in the list has arrived later.
    pub order: u64,
    /// The slot of each feature written, and what was written.
    pub cells: Vec<(u32, CellWrite)>,
}

/// A pushed cell of one feature.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) stamp: Stamp,
    pub(super) write: &'a CellWrite,
    order: u64,
    entity: u32,
}

/// The pushed cells of one feature, and which of them wins where.
#[derive(Debug)]
pub(super) struct PushedWinners<'a> {
    candidates: Vec<Candidate<'a>>,
    /// Per slot: one more than the place of the winner in the list, 0 for none.
    best: Vec<u32>,
}

/// The entity of each of `pushed`, where the spine asks for it.
pub(super) fn entities_of(pushed: &[PushedCells], group: &Group) -> Vec<Option<u32>> {
    pushed.iter().map(|cells| group.table.find_one(&cells.key)).collect()
}

impl<'a> PushedWinners<'a> {
    /// The winners among the cells written to `feature_slot`; `None` if there are no such cells.
    /// `entities` are those of `pushed`.
    pub(super) fn find(
        view: &View,
        feature_slot: u32,
        pushed: &'a [PushedCells],
        entities: &[Option<u32>],
        group: &Group,
        known_by: KnownBy,
    ) -> Result<Option<Self>> {
        let mut candidates: Vec<Candidate<'a>> = Vec::new();
        for (cells, entity) in pushed.iter().zip(entities) {
            let Some(entity) = *entity else { continue };
            let written = cells.cells.iter().filter(|(slot, _)| *slot == feature_slot);
            candidates.extend(written.map(|(_, write)| Candidate {
                stamp: cells.stamp,
                write,
                order: cells.order,
                entity,
            }));
        }
        if candidates.is_empty() {
            return Ok(None);
        }
        // The sort is stable: what stands later in the list wins among equals.
        candidates.sort_by_key(|candidate| (candidate.stamp, candidate.order));
        let mut best = vec![0_u32; group.slots.len()];
        for (rank, candidate) in (1_u32..).zip(&candidates) {
            let known = match (known_by, candidate.stamp.created) {
                (KnownBy::Event, _) => candidate.stamp.event,
                (KnownBy::Arrival, Some(created)) => created.max(candidate.stamp.event),
                (KnownBy::Arrival, None) => {
                    return Err(Error::refused(format!(
                        "view {} has pushed cells without a created timestamp: known_by = arrival \
                         cannot tell when they became known",
                        view.name
                    )));
                }
            };
            let slot = group.slots.at_or_after(candidate.entity, known.us());
            if let Some(place) = slot.and_then(|slot| best.get_mut(slot)) {
                *place = rank.max(*place);
            }
        }
        for range in group.slots.ranges() {
            let mut carried = 0;
            for place in best.get_mut(range).into_iter().flatten() {
                carried = carried.max(*place);
                *place = carried;
            }
        }
        Ok(Some(Self { candidates, best }))
    }

    /// The winner at a slot, and its place in [`PushedWinners::values`].
    pub(super) fn at(&self, slot: usize) -> Option<(u32, &Candidate<'a>)> {
        let place = self.best.get(slot)?.checked_sub(1)?;
        Some((place, self.candidates.get(place as usize)?))
    }

    /// What every candidate wrote; `None` for null and for a tombstone.
    pub(super) fn values(&self) -> Vec<Option<&'a Value>> {
        let value = |candidate: &Candidate<'a>| match candidate.write {
            CellWrite::Value(value) => Some(value),
            CellWrite::Null | CellWrite::Tombstone => None,
        };
        self.candidates.iter().map(value).collect()
    }
}
