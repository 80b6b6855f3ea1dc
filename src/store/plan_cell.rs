//! Where one feature stands in the rows of its entity.

use crate::{
    feature::{Scalar, Ttl, ValueType, View, ViewId},
    online::Layout,
};
use std::sync::Arc;

/// Where a feature stands and how long it may be seen.
#[derive(Clone, Debug)]
pub struct PlanCell {
    /// Its view, as it serves.
    pub view: Arc<View>,
    /// Its place in `view.features`.
    pub feature: usize,
    pub(super) layout: Arc<Layout>,
    pub(super) slot: u32,
    pub(super) ttl: Option<Ttl>,
}

/// A feature with the name a client reads it by.
pub type NamedCell = (String, PlanCell);

/// View, generation and slot.
pub(super) type CellPlace = (ViewId, u32, u32);

impl PlanCell {
    /// The slot it stands in.
    pub fn feature_slot(&self) -> u32 {
        self.slot
    }

    /// Where it stands in the row of an entity: an older version of a view has a generation of its
    /// own, with slots of the same numbers.
    pub(super) fn place(&self) -> CellPlace {
        (self.view.id, self.view.generation, self.slot)
    }

    /// Whether what is looked at for one of the two holds for the other, too.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.layout, &other.layout)
            && self.ttl == other.ttl
            && self.float() == other.float()
    }

    /// The type of a float.
    pub(super) fn float(&self) -> Option<Scalar> {
        match self.view.features.get(self.feature)?.value_type {
            ValueType::Scalar(scalar @ (Scalar::Float32 | Scalar::Float64)) => Some(scalar),
            _ => None,
        }
    }
}
