//! Where the slots of one generation of a view stand in a packed section.
//!
//! Slots are only ever added behind the last, so the place of a slot never changes, and a section
//! that was packed with fewer slots is read with the same layout.

use crate::feature::{CellWrite, CellsWrite, ValueType, ViewId};

/// The bytes a value of no fixed size takes among the fixed ones: where its text begins, and how
/// long it is.
pub(super) const TEXT_PLACE_BYTES: usize = 4 + 4;

/// The places of all slots of one generation of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The view.
    pub view: ViewId,
    /// The generation.
    pub generation: u32,
    slots: Vec<Place>,
    /// The bytes of the fixed area with all slots.
    fixed_bytes: usize,
}

/// Where one slot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) value_type: ValueType,
    /// From the start of the fixed area.
    pub(super) offset: usize,
    pub(super) width: usize,
    /// The value itself stands there, not the place of its text.
    pub(super) is_inline: bool,
}

impl Layout {
    /// Lays out slots of these types, in order.
    pub fn new(
        view: ViewId,
        generation: u32,
        value_types: impl IntoIterator<Item = ValueType>,
    ) -> Self {
        let mut layout = Self { view, generation, slots: Vec::new(), fixed_bytes: 0 };
        for value_type in value_types {
            let inline_bytes = value_type.fixed_bytes();
            let width = inline_bytes.unwrap_or(TEXT_PLACE_BYTES);
            let is_inline = inline_bytes.is_some();
            layout.slots.push(Place { value_type, offset: layout.fixed_bytes, width, is_inline });
            layout.fixed_bytes += width;
        }
        layout
    }

    /// How many slots there are.
    pub fn slot_count(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub(super) fn place(&self, slot: usize) -> Option<Place> {
        self.slots.get(slot).copied()
    }

    /// The bytes of the fixed area of a section with `slot_count` slots.
    pub(super) fn fixed_bytes(&self, slot_count: usize) -> usize {
        self.slots.get(slot_count).map_or(self.fixed_bytes, |place| place.offset)
    }

    /// Whether every cell of `write` has a slot here and a value of that slot's type.
    pub fn accepts(&self, write: &CellsWrite) -> bool {
        (self.view, self.generation) == (write.view, write.generation)
            && write.cells.iter().all(|(slot, cell)| {
                self.place(*slot as usize).is_some_and(|place| match cell {
                    CellWrite::Value(value) => value.is_of(place.value_type),
                    CellWrite::Null | CellWrite::Tombstone => true,
                })
            })
    }
}
