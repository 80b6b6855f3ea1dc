//! What clients pushed, held to a spine: per feature the cell that wins in each slot.
//!
//! Invariants
//! - Rows come in any order, each once, and only those of one record in its own; what is kept of
//!   them is no more than a cell for each slot and feature, however many there are.
//! - Rows may be partial: the winners of every feature are its own.

use super::{
    grouped_spine::GroupedSpine,
    join_request::ViewRequest,
    slots::Slots,
    winners::{Group, KnownBy},
};
use crate::{
    error::{Error, Result},
    feature::{CellWrite, KeyPart, Stamp, Timestamp, Value, View},
};

/// Cells of one entity and one stamp that clients wrote.
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

/// The pushed cells that win somewhere in a spine, of each view that is joined to it.
#[derive(Debug)]
pub struct PushedWinners<'a> {
    views: Vec<ViewPushed<'a>>,
}

/// Those of one view.
#[derive(Debug)]
pub(super) struct ViewPushed<'a> {
    view: &'a View,
    group: &'a Group,
    known_by: KnownBy,
    /// In the order of the request.
    features: Vec<FeaturePushed>,
    rows: u64,
}

/// Those of one feature.
#[derive(Debug)]
pub(super) struct FeaturePushed {
    slot: u32,
    candidates: Vec<Candidate>,
    /// Per slot of the spine: one more than the place of the winner in the list, 0 for none; empty
    /// as long as there are no candidates.
    best: Vec<u32>,
}

/// A pushed cell of one feature.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) stamp: Stamp,
    pub(super) write: CellWrite,
    order: u64,
}

impl<'a> PushedWinners<'a> {
    /// None yet, for the views of `requests`, which are those of `spine`.
    pub fn new(
        spine: &'a GroupedSpine<'_>,
        requests: &'a [ViewRequest<'_>],
        known_by: KnownBy,
    ) -> Result<Self> {
        let view = |(place, request): (usize, &ViewRequest<'a>)| {
            let (view, group) = (request.view, spine.group(place)?);
            let slots = request.features.iter().map(|index| Some(view.features.get(*index)?.slot));
            // What the view does not have is refused by the join.
            let features = slots.map(|slot| FeaturePushed::new(slot.unwrap_or(u32::MAX)));
            Ok(ViewPushed { view, group, known_by, features: features.collect(), rows: 0 })
        };
        let views = requests.iter().enumerate().map(view).collect::<Result<_>>()?;
        Ok(Self { views })
    }

    /// Takes a row of the view with that place.
    pub fn take(&mut self, view: usize, pushed: &PushedCells) -> Result<()> {
        self.views.get_mut(view).map_or(Ok(()), |view| view.take(pushed))
    }

    /// How many of the rows of the view with that place were of entities of the spine.
    pub fn rows(&self, view: usize) -> u64 {
        self.views.get(view).map_or(0, |view| view.rows)
    }

    /// Lets each winner win until the next one, and hands out the views.
    pub(super) fn into_views(mut self) -> Vec<ViewPushed<'a>> {
        for view in &mut self.views {
            let slots = &view.group.slots;
            view.features.iter_mut().for_each(|feature| feature.carry_forward(slots));
        }
        self.views
    }
}

impl ViewPushed<'_> {
    fn take(&mut self, pushed: &PushedCells) -> Result<()> {
        let Some(entity) = self.group.table.find_one(&pushed.key) else { return Ok(()) };
        self.rows += 1;
        let (slots, known_by, view) = (&self.group.slots, self.known_by, self.view);
        let mut slot = None;
        for feature in &mut self.features {
            let own = feature.slot;
            for (_, write) in pushed.cells.iter().filter(|(slot, _)| *slot == own) {
                let slot = match slot {
                    Some(slot) => slot,
                    None => {
                        let known = known(view, pushed.stamp, known_by)?;
                        *slot.insert(slots.at_or_after(entity, known.us()))
                    }
                };
                if let Some(slot) = slot {
                    feature.offer(slot, slots.len(), (pushed.stamp, pushed.order), write);
                }
            }
        }
        Ok(())
    }

    /// Whether no cell wins anywhere.
    pub(super) fn is_empty(&self) -> bool {
        self.features.iter().all(|feature| feature.candidates.is_empty())
    }

    /// The winners of the feature with that place in the request; `None` if there are none.
    pub(super) fn feature(&self, place: usize) -> Option<&FeaturePushed> {
        self.features.get(place).filter(|feature| !feature.candidates.is_empty())
    }
}

/// When a push with that stamp may be known to a row.
fn known(view: &View, stamp: Stamp, known_by: KnownBy) -> Result<Timestamp> {
    match (known_by, stamp.created) {
        (KnownBy::Event, _) => Ok(stamp.event),
        (KnownBy::Arrival, Some(created)) => Ok(created.max(stamp.event)),
        (KnownBy::Arrival, None) => Err(Error::refused(format!(
            "view {} has pushed cells without a created timestamp: known_by = arrival cannot tell \
             when they became known",
            view.name
        ))),
    }
}

impl FeaturePushed {
    fn new(slot: u32) -> Self {
        Self { slot, candidates: Vec::new(), best: Vec::new() }
    }

    /// Keeps a cell if it wins in `slot`, of `slots_len` there are.
    fn offer(&mut self, slot: usize, slots_len: usize, rank: (Stamp, u64), write: &CellWrite) {
        if self.best.is_empty() {
            self.best = vec![0; slots_len];
        }
        let Some(best) = self.best.get_mut(slot) else { return };
        let candidate = || Candidate { stamp: rank.0, write: write.clone(), order: rank.1 };
        let standing = best.checked_sub(1).and_then(|at| self.candidates.get_mut(at as usize));
        match standing {
            // What comes later wins among equals.
            Some(standing) if rank >= standing.rank() => *standing = candidate(),
            Some(_) => {}
            None => {
                self.candidates.push(candidate());
                *best = u32::try_from(self.candidates.len()).unwrap_or(0);
            }
        }
    }

    fn carry_forward(&mut self, slots: &Slots) {
        if self.candidates.is_empty() {
            return;
        }
        let rank = |place: u32| {
            let candidate = self.candidates.get(place.checked_sub(1)? as usize);
            candidate.map(Candidate::rank)
        };
        for range in slots.ranges() {
            let mut carried = 0;
            for place in self.best.get_mut(range).into_iter().flatten() {
                if rank(*place) > rank(carried) {
                    carried = *place;
                }
                *place = carried;
            }
        }
    }

    /// The winner at a slot, and its place in [`FeaturePushed::values`].
    pub(super) fn at(&self, slot: usize) -> Option<(u32, &Candidate)> {
        let place = self.best.get(slot)?.checked_sub(1)?;
        Some((place, self.candidates.get(place as usize)?))
    }

    /// What every candidate wrote; `None` for null and for a tombstone.
    pub(super) fn values(&self) -> Vec<Option<&Value>> {
        let writes = self.candidates.iter().map(|candidate| &candidate.write);
        writes
            .map(|write| match write {
                CellWrite::Value(value) => Some(value),
                CellWrite::Null | CellWrite::Tombstone => None,
            })
            .collect()
    }
}

impl Candidate {
    fn rank(&self) -> (Stamp, u64) {
        (self.stamp, self.order)
    }
}
