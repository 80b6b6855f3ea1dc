//! Plans for plain hashes: at which places of a shape the names of a list stand that clients ask
//! for again and again.

use super::shapes::Shape;
use std::num::NonZeroU64;

/// So many lists and shapes have a plan at a time.
const PLANS_MAX: u64 = 64;
/// The place of a name that the shape does not have. No shape has so many.
const NOWHERE: u16 = u16::MAX;

/// Plans by list and shape. Each thread has its own.
#[derive(Debug, Default)]
pub struct FieldPlans {
    plans: Vec<Option<FieldPlan>>,
}

#[derive(Debug)]
struct FieldPlan {
    list: NonZeroU64,
    shape: u64,
    /// Absent until list and shape meet again: most that never do are not worth it.
    places: Option<Box<[u16]>>,
}

impl FieldPlans {
    /// None yet.
    pub const fn new() -> Self {
        Self { plans: Vec::new() }
    }

    /// For each of `names`, which are the list of this number, its place in `shape`, or one that is
    /// none. `None` if they are to be looked for one by one.
    #[inline]
    pub(super) fn places<'n>(
        &mut self,
        list: Option<NonZeroU64>,
        shape: &Shape,
        names: impl Iterator<Item = &'n [u8]>,
    ) -> Option<&[u16]> {
        let list = list?;
        let at = (list.get().wrapping_add(shape.id()) % PLANS_MAX) as usize;
        if self.plans.is_empty() {
            self.plans.resize_with(PLANS_MAX as usize, || None);
        }
        let slot = self.plans.get_mut(at)?;
        let is_it = |plan: &FieldPlan| (plan.list, plan.shape) == (list, shape.id());
        if !slot.as_ref().is_some_and(is_it) {
            *slot = Some(FieldPlan { list, shape: shape.id(), places: None });
            return None;
        }
        let make = || {
            let mut hint = 0;
            let place = |name| shape.place_of(name, &mut hint);
            let number = |place: Option<usize>| place.map_or(NOWHERE, |place| place as u16);
            names.map(place).map(number).collect()
        };
        Some(slot.as_mut()?.places.get_or_insert_with(make))
    }
}
