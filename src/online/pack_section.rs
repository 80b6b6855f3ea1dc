//! How a section of an entity's row is written: `section` has the table of its bytes.

use super::{
    bytes::push_varint,
    layout::{Layout, Place},
    section::{
        CellState, END_WIDTH_SHIFT, HAS_CREATED, HAS_STATES, NO_CREATED, SHORT_PLACES_MAX,
        STAMP_BYTES, STAMPS_DIFFER,
    },
    value_ref::PackedValue,
};
use crate::feature::{CellWrite, Stamp, Timestamp, Value};

/// So many stamps are looked through for one that stands already: cells of one write mostly follow
/// each other, and a stamp that stands twice costs its bytes, no more.
const STAMPS_LOOKED_AT: usize = 8;

/// Takes the cells of a view, slot by slot.
pub(super) struct SectionPacker {
    /// Two bits a slot.
    states: Vec<u8>,
    slot_count: usize,
    has_only_values: bool,
    fixed: Vec<u8>,
    ends: Vec<u32>,
    text: Vec<u8>,
    stamps: Vec<Stamp>,
    /// For each slot its stamp among them; empty as long as there is one.
    places: Vec<u16>,
}

impl SectionPacker {
    pub(super) fn new(layout: &Layout) -> Self {
        let (fixed_bytes, others) = layout.packed_extent(layout.slot_count());
        Self {
            states: Vec::with_capacity(layout.slot_count().div_ceil(4)),
            slot_count: 0,
            has_only_values: true,
            fixed: Vec::with_capacity(fixed_bytes),
            ends: Vec::with_capacity(others),
            text: Vec::with_capacity(8 * others),
            stamps: Vec::with_capacity(1),
            places: Vec::new(),
        }
    }

    /// All cells of a view, written at once with one stamp; `None` if one of them is no value.
    pub(super) fn of_values(
        layout: &Layout,
        cells: &[(u32, CellWrite)],
        stamp: Stamp,
    ) -> Option<Self> {
        let mut packer = Self::new(layout);
        for (place, (_, cell)) in layout.places(cells.len()).iter().zip(cells) {
            match cell {
                CellWrite::Value(Value::Float64(double)) if place.is_fixed => {
                    packer.fixed.extend_from_slice(&double.to_le_bytes());
                }
                CellWrite::Value(value) => packer.push_bytes(place, &PackedValue::of(value)),
                CellWrite::Null | CellWrite::Tombstone => return None,
            }
        }
        packer.slot_count = cells.len();
        packer.stamps.push(stamp);
        Some(packer)
    }

    /// The cell of the next slot. `bytes` are those of a value in its packed form, and empty of all
    /// else; the stamp of an absent cell counts for nothing.
    #[inline]
    pub(super) fn push(&mut self, layout: &Layout, state: CellState, stamp: Stamp, bytes: &[u8]) {
        let Some(place) = layout.place(self.slot_count) else { return };
        let shift = self.slot_count % 4 * 2;
        match self.states.last_mut().filter(|_| shift > 0) {
            Some(byte) => *byte |= (state as u8) << shift,
            None => self.states.push(state as u8),
        }
        self.has_only_values &= state == CellState::Value;
        self.push_stamp(state, stamp);
        self.push_bytes(place, bytes);
        self.slot_count += 1;
    }

    #[inline]
    fn push_bytes(&mut self, place: &Place, bytes: &[u8]) {
        if place.is_fixed && bytes.len() == place.width {
            self.fixed.extend_from_slice(bytes);
        } else if place.is_fixed {
            self.fixed.resize(self.fixed.len() + place.width, 0);
        } else {
            self.text.extend_from_slice(bytes);
            debug_assert!(u32::try_from(self.text.len()).is_ok(), "a row is shorter than 4 GiB");
            self.ends.push(self.text.len() as u32);
        }
    }

    #[inline]
    fn push_stamp(&mut self, state: CellState, stamp: Stamp) {
        let is_same = self.stamps.last() == Some(&stamp) || state == CellState::Absent;
        if is_same && self.places.is_empty() && self.stamps.len() <= 1 {
            return;
        }
        let first = self.stamps.len().saturating_sub(STAMPS_LOOKED_AT);
        let looked_at = self.stamps.get(first..).unwrap_or_default();
        let found = match is_same {
            true => self.stamps.len().checked_sub(1),
            false => looked_at.iter().rposition(|other| *other == stamp).map(|at| first + at),
        };
        let place = found.unwrap_or_else(|| {
            self.stamps.push(stamp);
            self.stamps.len() - 1
        });
        if self.stamps.len() > 1 {
            // Slots before the second stamp have the first, or are absent.
            self.places.resize(self.slot_count, 0);
            self.places.push(place as u16);
        }
    }

    /// Appends the section.
    pub(super) fn finish(mut self, layout: &Layout, out: &mut Vec<u8>) {
        let mut head = Vec::with_capacity(3 * 5 + 16);
        push_varint(&mut head, u64::from(layout.view.0));
        push_varint(&mut head, u64::from(layout.generation));
        push_varint(&mut head, self.slot_count as u64);
        let mut flags = if self.has_only_values { 0 } else { HAS_STATES };
        match self.stamps.as_slice() {
            [] => {
                flags |= NO_CREATED;
                head.extend_from_slice(&i64::MIN.to_le_bytes());
            }
            [one] if one.created == Some(one.event) => {
                head.extend_from_slice(&one.event.us().to_le_bytes());
            }
            [Stamp { event, created: None }] => {
                flags |= NO_CREATED;
                head.extend_from_slice(&event.us().to_le_bytes());
            }
            [one] => {
                flags |= HAS_CREATED;
                head.extend_from_slice(&stamp_bytes(*one));
            }
            many => {
                flags |= STAMPS_DIFFER;
                push_varint(&mut head, many.len() as u64);
                many.iter().for_each(|stamp| head.extend_from_slice(&stamp_bytes(*stamp)));
                self.places.resize(self.slot_count, 0);
                for place in &self.places {
                    let [low, high] = place.to_le_bytes();
                    head.push(low);
                    if many.len() > SHORT_PLACES_MAX {
                        head.push(high);
                    }
                }
            }
        }
        let end_width: u8 = match self.text.len() {
            0..=0xff => 0,
            0x100..=0xffff => 1,
            _ => 2,
        };
        let states: &[u8] = if self.has_only_values { &[] } else { &self.states };
        let ends_bytes = self.ends.len() << end_width;
        let rest_bytes =
            head.len() + states.len() + self.fixed.len() + ends_bytes + self.text.len();
        out.reserve(1 + 5 + rest_bytes);
        out.push(flags | end_width << END_WIDTH_SHIFT);
        push_varint(out, rest_bytes as u64);
        out.extend_from_slice(&head);
        out.extend_from_slice(states);
        out.extend_from_slice(&self.fixed);
        for end in &self.ends {
            let bytes = end.to_le_bytes();
            out.extend_from_slice(bytes.get(..1 << end_width).unwrap_or_default());
        }
        out.extend_from_slice(&self.text);
    }
}

/// Event and created timestamp.
pub(super) fn stamp_bytes(stamp: Stamp) -> [u8; STAMP_BYTES] {
    // The earliest instant of all stands for "none"; a created timestamp there moves up by 1 µs.
    let created =
        stamp.created.map_or(i64::MIN, |created: Timestamp| created.us().max(i64::MIN + 1));
    let mut bytes = [0; STAMP_BYTES];
    let (event_at, created_at) = bytes.split_at_mut(8);
    event_at.copy_from_slice(&stamp.event.us().to_le_bytes());
    created_at.copy_from_slice(&created.to_le_bytes());
    bytes
}
