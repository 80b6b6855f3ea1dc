//! The body of an entity's row: a section per view, packed by schema. No names, no pointers.
//!
//! ```text
//! offset  size  field of a section
//!      0     4  length of the section
//!      4     4  view
//!      8     4  generation
//!     12     2  slot count s
//!     14     1  flags; 1: every slot has a stamp of its own
//!     15     8  event timestamp that the cells share
//!     23     8  created timestamp that the cells share; i64::MIN for none
//!     31   s/4  states, two bits a slot: 0 absent, 1 value, 2 null, 3 tombstone
//!           16s  stamps, only with flag 1
//!            n  values at the places of `Layout`; of text its offset in the section and its length
//!            n  text
//! ```
//! All numbers are little-endian. Sections follow each other; their order means nothing.

use super::{
    bytes::{bytes_at, i64_at, push_len, u16_at, u32_at},
    layout::Layout,
    value_ref::{PackedValue, ValueRef},
};
use crate::feature::{CellWrite, CellsWrite, Stamp, Timestamp, ViewId};

const HEADER_BYTES: usize = 4 + 4 + 4 + 2 + 1 + 8 + 8;
const STAMP_BYTES: usize = 8 + 8;
const FLAG_OWN_STAMPS: u8 = 1;

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellState {
    /// Nothing was ever written.
    Absent,
    /// A value.
    Value,
    /// Null.
    Null,
    /// It was deleted.
    Tombstone,
}

impl CellState {
    fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            1 => Self::Value,
            2 => Self::Null,
            3 => Self::Tombstone,
            _ => Self::Absent,
        }
    }
}

/// One cell where it stands.
#[derive(Clone, Copy, Debug)]
pub struct CellRef<'a> {
    /// Value, null or tombstone; an absent cell is no `CellRef`.
    pub state: CellState,
    /// Its times.
    pub stamp: Stamp,
    /// Its value, if the state says there is one.
    pub value: Option<ValueRef<'a>>,
}

/// The body of an entity's row, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct EntityRow<'a>(pub(super) &'a [u8]);

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
pub enum Merge {
    /// At least one cell is newer: this is the body now.
    Changed(Vec<u8>),
    /// Nothing is newer, and at least one cell is older than what stands.
    Late,
    /// Everything stands already.
    Unchanged,
}

impl<'a> EntityRow<'a> {
    /// A row without any cell.
    pub const EMPTY: Self = Self(&[]);

    /// The row of this body, which [`EntityRow::merge`] made.
    pub fn new(body: &'a [u8]) -> Self {
        Self(body)
    }

    /// The cell in `slot` of the view and generation of `layout`; `None` if it is absent.
    pub fn cell(self, layout: &Layout, slot: u32) -> Option<CellRef<'a>> {
        self.section(layout)?.cell(layout, slot)
    }

    /// Whether any cell of any view holds a value: a row of tombstones and nulls does not exist
    /// for a client.
    pub fn has_value(self) -> bool {
        self.sections().any(|section| section.states().any(|state| state == CellState::Value))
    }

    /// The view and generation of each section.
    pub fn views(self) -> impl Iterator<Item = (ViewId, u32)> + 'a {
        self.sections().map(|section| (section.view, section.generation))
    }

    /// The body with `write` merged in, cell by cell, the newest winning.
    ///
    /// `layout` is that of the write, and `layout.accepts(write)`.
    pub fn merge(self, layout: &Layout, write: &CellsWrite) -> Merge {
        let old = self.section(layout);
        let mut cells: Vec<Option<Unpacked<'_>>> = (0..layout.slot_count() as u32)
            .map(|slot| old.and_then(|section| section.cell(layout, slot)).map(Unpacked::of))
            .collect();
        let (mut is_changed, mut is_late) = (false, false);
        for (slot, written) in &write.cells {
            let Some(cell) = cells.get_mut(*slot as usize) else { continue };
            let new = Unpacked::written(written, write.stamp);
            match cell {
                Some(standing) if standing.stamp > new.stamp => is_late = true,
                Some(standing) if *standing == new => {}
                _ => {
                    *cell = Some(new);
                    is_changed = true;
                }
            }
        }
        if !is_changed {
            return if is_late { Merge::Late } else { Merge::Unchanged };
        }
        let mut body = Vec::with_capacity(self.0.len() + HEADER_BYTES + 16 * write.cells.len());
        for section in self.sections() {
            if (section.view, section.generation) != (layout.view, layout.generation) {
                body.extend_from_slice(section.bytes);
            }
        }
        pack_section(layout, &cells, &mut body);
        Merge::Changed(body)
    }

    /// What stands of the view and generation of `layout`.
    #[inline]
    pub fn section(self, layout: &Layout) -> Option<Section<'a>> {
        let is_it = |section: &Section<'_>| {
            (section.view, section.generation) == (layout.view, layout.generation)
        };
        self.sections().find(is_it)
    }

    fn sections(self) -> impl Iterator<Item = Section<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let section = Section::first_of(rest)?;
            rest = rest.get(section.bytes.len()..)?;
            Some(section)
        })
    }
}

/// What stands of one view, opened: what its cells have in common is found out once.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    bytes: &'a [u8],
    view: ViewId,
    generation: u32,
    slot_count: usize,
    has_own_stamps: bool,
    /// Where the values of fixed width begin.
    fixed_at: usize,
}

impl<'a> Section<'a> {
    #[inline]
    fn first_of(bytes: &'a [u8]) -> Option<Self> {
        let section_bytes = u32_at(bytes, 0)?;
        let bytes = bytes_at(bytes, 0, section_bytes).filter(|all| all.len() >= HEADER_BYTES)?;
        let slot_count = usize::from(u16_at(bytes, 12)?);
        let has_own_stamps = bytes.get(14)? & FLAG_OWN_STAMPS != 0;
        let stamps_at = HEADER_BYTES + slot_count.div_ceil(4);
        let stamps_bytes = if has_own_stamps { slot_count * STAMP_BYTES } else { 0 };
        Some(Self {
            bytes,
            view: ViewId(u32_at(bytes, 4)? as u32),
            generation: u32_at(bytes, 8)? as u32,
            slot_count,
            has_own_stamps,
            fixed_at: stamps_at + stamps_bytes,
        })
    }

    /// What `slot` holds.
    #[inline]
    pub fn state(self, slot: u32) -> CellState {
        let slot = slot as usize;
        if slot >= self.slot_count {
            return CellState::Absent;
        }
        let byte = self.bytes.get(HEADER_BYTES + slot / 4).copied().unwrap_or(0);
        CellState::from_bits(byte >> (slot % 4 * 2))
    }

    fn states(self) -> impl Iterator<Item = CellState> + 'a {
        (0..self.slot_count as u32).map(move |slot| self.state(slot))
    }

    /// The times of all cells, unless a partial write made them differ.
    #[inline]
    pub fn shared_stamp(self) -> Option<Stamp> {
        if self.has_own_stamps { None } else { self.stamp_at(15) }
    }

    /// The times of the cell in `slot`.
    #[inline]
    pub fn stamp(self, slot: u32) -> Option<Stamp> {
        if self.has_own_stamps {
            let stamps_at = HEADER_BYTES + self.slot_count.div_ceil(4);
            self.stamp_at(stamps_at + slot as usize * STAMP_BYTES)
        } else {
            self.shared_stamp()
        }
    }

    fn stamp_at(self, at: usize) -> Option<Stamp> {
        let created = i64_at(self.bytes, at + 8)?;
        let created = (created != i64::MIN).then_some(Timestamp(created));
        Some(Stamp::new(Timestamp(i64_at(self.bytes, at)?), created))
    }

    /// The value in `slot`, whose state says that there is one; `layout` is that of the section.
    #[inline]
    pub fn value(self, layout: &Layout, slot: u32) -> Option<ValueRef<'a>> {
        let place = layout.place(slot as usize)?;
        let at = self.fixed_at + place.offset;
        let bytes = if place.is_inline {
            bytes_at(self.bytes, at, place.width)?
        } else {
            bytes_at(self.bytes, u32_at(self.bytes, at)?, u32_at(self.bytes, at + 4)?)?
        };
        Some(ValueRef::new(place.value_type, bytes))
    }

    fn cell(self, layout: &Layout, slot: u32) -> Option<CellRef<'a>> {
        let state = self.state(slot);
        let value = match state {
            CellState::Absent => return None,
            CellState::Null | CellState::Tombstone => None,
            CellState::Value => Some(self.value(layout, slot)?),
        };
        Some(CellRef { state, stamp: self.stamp(slot)?, value })
    }
}

/// A cell on its way from one packed section to the next.
#[derive(PartialEq)]
struct Unpacked<'a> {
    state: CellState,
    stamp: Stamp,
    bytes: PackedValue<'a>,
}

impl<'a> Unpacked<'a> {
    fn of(cell: CellRef<'a>) -> Self {
        let bytes = cell.value.map_or(&[][..], ValueRef::bytes);
        Self { state: cell.state, stamp: cell.stamp, bytes: PackedValue::Borrowed(bytes) }
    }

    fn written(cell: &'a CellWrite, stamp: Stamp) -> Self {
        let none = PackedValue::Borrowed(&[]);
        let (state, bytes) = match cell {
            CellWrite::Value(value) => (CellState::Value, PackedValue::of(value)),
            CellWrite::Null => (CellState::Null, none),
            CellWrite::Tombstone => (CellState::Tombstone, none),
        };
        Self { state, stamp, bytes }
    }
}

fn pack_section(layout: &Layout, cells: &[Option<Unpacked<'_>>], out: &mut Vec<u8>) {
    let start = out.len();
    let mut stamps = cells.iter().flatten().map(|cell| cell.stamp);
    let shared = stamps.next().unwrap_or(Stamp::new(Timestamp::MIN, None));
    let has_own_stamps = stamps.any(|stamp| stamp != shared);

    push_len(out, 0);
    push_len(out, layout.view.0 as usize);
    push_len(out, layout.generation as usize);
    debug_assert!(u16::try_from(cells.len()).is_ok(), "the registry bounds the slots of a view");
    out.extend_from_slice(&(cells.len() as u16).to_le_bytes());
    out.push(if has_own_stamps { FLAG_OWN_STAMPS } else { 0 });
    push_stamp(out, shared);
    for four in cells.chunks(4) {
        let states = four.iter().map(|cell| cell.as_ref().map_or(CellState::Absent, |c| c.state));
        out.push(states.rev().fold(0, |byte, state| byte << 2 | state as u8));
    }
    if has_own_stamps {
        for cell in cells {
            push_stamp(out, cell.as_ref().map_or(shared, |cell| cell.stamp));
        }
    }
    let mut text_at = out.len() - start + layout.fixed_bytes(cells.len());
    for (slot, cell) in cells.iter().enumerate() {
        let Some(place) = layout.place(slot) else { continue };
        let bytes = cell.as_ref().map_or(&[][..], |cell| &cell.bytes);
        if place.is_inline && bytes.len() == place.width {
            out.extend_from_slice(bytes);
        } else if place.is_inline {
            out.resize(out.len() + place.width, 0);
        } else {
            push_len(out, text_at);
            push_len(out, bytes.len());
            text_at += bytes.len();
        }
    }
    for (slot, cell) in cells.iter().enumerate() {
        if let (Some(cell), Some(false)) = (cell, layout.place(slot).map(|place| place.is_inline)) {
            out.extend_from_slice(&cell.bytes);
        }
    }
    let section_bytes = (out.len() - start) as u32;
    if let Some(length) = out.get_mut(start..start + 4) {
        length.copy_from_slice(&section_bytes.to_le_bytes());
    }
}

fn push_stamp(out: &mut Vec<u8>, stamp: Stamp) {
    out.extend_from_slice(&stamp.event.us().to_le_bytes());
    // The earliest instant of all stands for "none"; a created timestamp there moves up by 1 µs.
    let created = stamp.created.map_or(i64::MIN, |created| created.us().max(i64::MIN + 1));
    out.extend_from_slice(&created.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::{Origin, Value, ValueType};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn layout(slots: usize) -> Layout {
        let types = ["float64", "string", "bool", "int64", "float32[2]"];
        let types = types.iter().cycle().take(slots).map(|name| ValueType::parse(name).unwrap());
        Layout::new(ViewId(7), 1, types)
    }

    fn value(slot: u32, seed: u8) -> Value {
        match slot % 5 {
            0 => Value::Float64(f64::from(seed)),
            1 => Value::String("x".repeat(usize::from(seed % 4))),
            2 => Value::Bool(seed % 2 == 1),
            3 => Value::Int64(i64::from(seed)),
            _ => Value::List(crate::feature::List::Float32(vec![f32::from(seed), 0.0])),
        }
    }

    fn write(stamp: (i64, Option<i64>), cells: Vec<(u32, CellWrite)>) -> CellsWrite {
        CellsWrite {
            key: b"e:1".to_vec(),
            view: ViewId(7),
            generation: 1,
            stamp: Stamp::new(Timestamp(stamp.0), stamp.1.map(Timestamp)),
            origin: Origin::Pushed,
            cells,
        }
    }

    type Op = ((i64, Option<i64>), BTreeMap<u32, (u8, u8)>);

    fn operation() -> impl Strategy<Value = Op> {
        let stamp = (0i64..4, prop::option::of(0i64..3));
        (stamp, prop::collection::btree_map(0u32..6, (0u8..4, any::<u8>()), 1..6))
    }

    proptest! {
        /// The model: a map from slot to (stamp, what was written); the greatest stamp stands, and
        /// of equal stamps the later arrival. The view grows from four slots to six on the way.
        #[test]
        fn a_packed_row_is_the_newest_cell_of_every_slot(
            operations in prop::collection::vec(operation(), 1..12),
        ) {
            let mut body = Vec::new();
            let mut model: BTreeMap<u32, (Stamp, CellWrite)> = BTreeMap::new();
            for (index, (stamp, cells)) in operations.iter().enumerate() {
                let layout = layout(if index < 4 { 4 } else { 6 });
                let has = |slot: u32| (slot as usize) < layout.slot_count();
                let cells = cells.iter().filter(|(slot, _)| has(**slot));
                let cells = cells.map(|(slot, (kind, seed))| (*slot, match kind {
                    0 => CellWrite::Null,
                    1 => CellWrite::Tombstone,
                    _ => CellWrite::Value(value(*slot, *seed)),
                }));
                let write = write(*stamp, cells.collect());
                prop_assert!(layout.accepts(&write));
                let before = model.clone();
                for (slot, cell) in &write.cells {
                    if model.get(slot).is_none_or(|(standing, _)| *standing <= write.stamp) {
                        model.insert(*slot, (write.stamp, cell.clone()));
                    }
                }
                match EntityRow(&body).merge(&layout, &write) {
                    Merge::Changed(changed) => { prop_assert_ne!(&before, &model); body = changed; }
                    Merge::Late | Merge::Unchanged => prop_assert_eq!(&before, &model),
                }
                for slot in 0..6 {
                    let cell = EntityRow(&body).cell(&layout, slot).map(|cell| {
                        let value = cell.value.and_then(ValueRef::to_value);
                        let written = match cell.state {
                            CellState::Value => CellWrite::Value(value.unwrap()),
                            CellState::Null => CellWrite::Null,
                            _ => CellWrite::Tombstone,
                        };
                        (cell.stamp, written)
                    });
                    prop_assert_eq!(cell.as_ref(), model.get(&slot));
                }
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(body: Vec<u8>, slot in 0u32..9) {
            let layout = layout(6);
            let _ = EntityRow(&body).cell(&layout, slot).and_then(|c| c.value?.to_value());
            let _ = EntityRow(&body).has_value();
        }
    }

    #[test]
    fn cells_written_together_share_one_stamp_of_sixteen_bytes() {
        let cells = (0..5).map(|slot| (slot, CellWrite::Value(value(slot, 2)))).collect();
        let Merge::Changed(body) = EntityRow(&[]).merge(&layout(5), &write((1, None), cells))
        else {
            panic!("an empty row takes every cell")
        };
        assert_eq!(body.len(), HEADER_BYTES + 2 + (8 + 8 + 1 + 8 + 8) + "xx".len());
    }
}
