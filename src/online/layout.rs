//! Where the slots of one generation of a view stand in a packed section.
//!
//! Slots are only ever added behind the last, so the place of a slot never changes, and a section
//! that was packed with fewer slots is read with the same layout.

use super::value_ref::SHORTENED;
use crate::feature::{CellWrite, CellsWrite, Scalar, ValueType, ViewId};

/// The bytes a value of no fixed size takes among the fixed ones of the earlier form: where its
/// text begins, and how long it is.
pub(super) const TEXT_PLACE_BYTES: usize = 4 + 4;

/// The places of all slots of one generation of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The view.
    pub view: ViewId,
    /// The generation.
    pub generation: u32,
    slots: Vec<Place>,
    /// The bytes of all values of fixed width.
    packed_bytes: usize,
    /// How many values have no fixed width.
    others: usize,
}

/// Where one slot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) value_type: ValueType,
    /// In the earlier form, from the start of the fixed area.
    pub(super) offset: usize,
    pub(super) width: usize,
    /// In the earlier form the value itself stands there, not the place of its text.
    pub(super) is_inline: bool,
    /// It is of type string: text, or the number of a word.
    pub(super) is_text: bool,
    /// It is one of the values of fixed width, the first of which stands at 0.
    pub(super) is_fixed: bool,
    pub(super) packed_offset: usize,
    /// How many slots before it are not: its place among those.
    pub(super) rank: usize,
}

impl Layout {
    /// Lays out slots of these types, in order.
    pub fn new(
        view: ViewId,
        generation: u32,
        value_types: impl IntoIterator<Item = ValueType>,
    ) -> Self {
        let slots = Vec::new();
        let mut layout = Self { view, generation, slots, packed_bytes: 0, others: 0 };
        let mut offset = 0;
        for value_type in value_types {
            let inline_bytes = value_type.fixed_bytes();
            let width = inline_bytes.unwrap_or(TEXT_PLACE_BYTES);
            let is_inline = inline_bytes.is_some();
            let is_fixed = is_inline && !SHORTENED.contains(&value_type);
            let is_text = value_type == ValueType::Scalar(Scalar::String);
            let (packed_offset, rank) = (layout.packed_bytes, layout.others);
            layout.slots.push(Place {
                value_type,
                offset,
                width,
                is_inline,
                is_text,
                is_fixed,
                packed_offset,
                rank,
            });
            offset += width;
            layout.packed_bytes += if is_fixed { width } else { 0 };
            layout.others += usize::from(!is_fixed);
        }
        layout
    }

    /// How many slots there are.
    pub fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// Whether any slot holds text.
    pub(super) fn has_text(&self) -> bool {
        self.slots.iter().any(|place| place.is_text)
    }

    /// The places of the first slots.
    pub(super) fn places(&self, slot_count: usize) -> &[Place] {
        self.slots.get(..slot_count).unwrap_or(&self.slots)
    }

    #[inline]
    pub(super) fn place(&self, slot: usize) -> Option<&Place> {
        self.slots.get(slot)
    }

    /// Where the value in `slot` stands among those of fixed width, if it is one.
    pub fn fixed_offset(&self, slot: u32) -> Option<u32> {
        let place = self.place(slot as usize).filter(|place| place.is_fixed)?;
        u32::try_from(place.packed_offset).ok()
    }

    /// Of a section with `slot_count` slots the bytes of the values of fixed width, and how many
    /// others there are.
    #[inline]
    pub(super) fn packed_extent(&self, slot_count: usize) -> (usize, usize) {
        let all = (self.packed_bytes, self.others);
        self.slots.get(slot_count).map_or(all, |place| (place.packed_offset, place.rank))
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
