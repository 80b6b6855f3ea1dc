//! The body of an entity's row: a section per view, packed by schema. No names, no pointers.
//!
//! `section` has the table of its bytes. Sections follow each other; their order means nothing.

use super::{
    layout::Layout,
    pack_section::SectionPacker,
    section::{CellState, EARLIER_FORM, Head, Section},
    value_ref::{PackedValue, ValueRef},
    words::Words,
};
use crate::feature::{CellWrite, CellsWrite, Stamp, Timestamp, ViewId};

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
pub struct EntityRow<'a> {
    bytes: &'a [u8],
    is_earlier: bool,
    words: Option<&'a Words>,
}

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
    pub const EMPTY: Self = Self { bytes: &[], is_earlier: false, words: None };

    /// The row of this body, which [`EntityRow::merge`] made.
    pub fn new(body: &'a [u8]) -> Self {
        Self { bytes: body, is_earlier: false, words: None }
    }

    /// The row of another body: one that [`EntityRow::merge`] made of this row.
    pub fn with_body<'b>(self, body: &'b [u8]) -> EntityRow<'b>
    where
        'a: 'b,
    {
        EntityRow { bytes: body, is_earlier: false, words: self.words }
    }

    /// The same with what its words say.
    pub(super) fn with_words(self, words: Option<&'a Words>) -> Self {
        Self { words, ..self }
    }

    /// The row of this body, which is made of sections of the earlier form.
    pub(super) fn earlier(body: &'a [u8]) -> Self {
        Self { bytes: body, is_earlier: true, words: None }
    }

    /// The cell in `slot` of the view and generation of `layout`; `None` if it is absent.
    pub fn cell(self, layout: &Layout, slot: u32) -> Option<CellRef<'a>> {
        let section = self.section(layout)?;
        let state = section.state(slot);
        let value = match state {
            CellState::Absent => return None,
            CellState::Null | CellState::Tombstone => None,
            CellState::Value => Some(section.value(layout, slot)?),
        };
        Some(CellRef { state, stamp: section.stamp(slot)?, value })
    }

    /// What stands of the view and generation of `layout`.
    #[inline]
    pub fn section(self, layout: &Layout) -> Option<Section<'a>> {
        let head = self.heads().find(|head| is_of(head, layout))?;
        Section::open(head, layout, self.words)
    }

    /// Whether any cell of any view holds a value: a row of tombstones and nulls does not exist
    /// for a client.
    pub fn has_value(self) -> bool {
        self.heads().any(Head::has_value)
    }

    /// Whether any text is a word.
    pub(super) fn has_words(self) -> bool {
        self.heads().any(Head::has_words)
    }

    /// The bytes of each section, with its view and generation.
    pub(super) fn sections(self) -> impl Iterator<Item = (&'a [u8], (ViewId, u32))> {
        self.heads().map(|head| (head.bytes, (head.view, head.generation)))
    }

    /// The view and generation of each section.
    pub fn views(self) -> impl Iterator<Item = (ViewId, u32)> + 'a {
        self.heads().map(|head| (head.view, head.generation))
    }

    /// The body with `write` merged in, cell by cell, the newest winning.
    ///
    /// `layout` is that of the write, and `layout.accepts(write)`.
    pub fn merge(self, layout: &Layout, write: &CellsWrite) -> Merge {
        let old = self.section(layout);
        if is_replaced(old.as_ref(), layout, write) {
            let values = SectionPacker::of_values(layout, &write.cells, write.stamp);
            let packer = values.unwrap_or_else(|| {
                let mut packer = SectionPacker::new(layout);
                for (_, cell) in &write.cells {
                    push_written(&mut packer, layout, cell, write.stamp);
                }
                packer
            });
            return Merge::Changed(self.with_section(layout, packer));
        }
        // For each slot the number of its cell in the write, plus 1.
        let mut written = vec![0_u32; layout.slot_count()];
        let (mut is_changed, mut is_late) = (false, false);
        for (number, (slot, cell)) in (1..).zip(&write.cells) {
            let Some(place) = written.get_mut(*slot as usize) else { continue };
            let standing = old.as_ref().and_then(|old| Some((old, standing_in(old, *slot)?)));
            match standing {
                Some((_, (stamp, _))) if stamp > write.stamp => is_late = true,
                Some((old, (stamp, state)))
                    if stamp == write.stamp && is_same(old, layout, *slot, state, cell) =>
                {
                    // An earlier cell of this write may be for the slot, too.
                    *place = 0;
                }
                _ => {
                    *place = number;
                    is_changed = true;
                }
            }
        }
        if !is_changed {
            return if is_late { Merge::Late } else { Merge::Unchanged };
        }
        let packer = packed(old.as_ref(), layout, write, &written);
        Merge::Changed(self.with_section(layout, packer))
    }

    /// The body with another section of the view and generation of `layout`, in the place of the
    /// one that stands, as if it were written over.
    fn with_section(self, layout: &Layout, section: SectionPacker) -> Vec<u8> {
        let (mut body, mut section) = (Vec::new(), Some(section));
        for head in self.heads() {
            if is_of(&head, layout) {
                section.take().into_iter().for_each(|section| section.finish(layout, &mut body));
                continue;
            }
            if self.is_earlier {
                body.push(EARLIER_FORM);
            }
            body.extend_from_slice(head.bytes);
        }
        section.into_iter().for_each(|section| section.finish(layout, &mut body));
        body
    }

    fn heads(self) -> impl Iterator<Item = Head<'a>> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let head = match self.is_earlier {
                true => Head::earlier(rest, 0)?,
                false => Head::first_of(rest)?,
            };
            rest = rest.get(head.bytes.len()..)?;
            Some(head)
        })
    }
}

fn is_of(head: &Head<'_>, layout: &Layout) -> bool {
    (head.view, head.generation) == (layout.view, layout.generation)
}

/// Whether `write` has a newer cell for every slot, in order: then what stands need not be read.
fn is_replaced(old: Option<&Section<'_>>, layout: &Layout, write: &CellsWrite) -> bool {
    let is_newer = |old: &Section<'_>| old.shared_stamp().is_some_and(|it| it < write.stamp);
    !write.cells.is_empty()
        && write.cells.len() == layout.slot_count()
        && old.is_none_or(is_newer)
        && (0..).zip(&write.cells).all(|(slot, (written, _))| slot == *written)
}

/// Stamp and state of the cell in `slot`; `None` if it is absent.
#[inline]
fn standing_in(section: &Section<'_>, slot: u32) -> Option<(Stamp, CellState)> {
    let state = section.state(slot);
    if state == CellState::Absent { None } else { Some((section.stamp(slot)?, state)) }
}

/// Whether the cell in `slot`, which has this state, says what `cell` says.
fn is_same(
    section: &Section<'_>,
    layout: &Layout,
    slot: u32,
    state: CellState,
    cell: &CellWrite,
) -> bool {
    match cell {
        CellWrite::Value(value) if state == CellState::Value => {
            let standing = section.value(layout, slot).map(ValueRef::packed);
            standing.is_some_and(|standing| standing == PackedValue::of(value))
        }
        CellWrite::Value(_) => false,
        CellWrite::Null => state == CellState::Null,
        CellWrite::Tombstone => state == CellState::Tombstone,
    }
}

/// Packs a cell as it was written.
#[inline]
fn push_written(packer: &mut SectionPacker, layout: &Layout, cell: &CellWrite, stamp: Stamp) {
    match cell {
        CellWrite::Value(value) => {
            packer.push(layout, CellState::Value, stamp, &PackedValue::of(value));
        }
        CellWrite::Null => packer.push(layout, CellState::Null, stamp, &[]),
        CellWrite::Tombstone => packer.push(layout, CellState::Tombstone, stamp, &[]),
    }
}

/// The section of `old` with those cells of `write` that `written` names.
fn packed(
    old: Option<&Section<'_>>,
    layout: &Layout,
    write: &CellsWrite,
    written: &[u32],
) -> SectionPacker {
    let mut packer = SectionPacker::new(layout);
    let none = Stamp::new(Timestamp::MIN, None);
    let shared = old.and_then(Section::shared_stamp);
    for (slot, number) in (0..).zip(written) {
        let new = number.checked_sub(1).and_then(|index| write.cells.get(index as usize));
        match new {
            Some((_, cell)) => push_written(&mut packer, layout, cell, write.stamp),
            None => {
                let state = old.map_or(CellState::Absent, |old| old.state(slot));
                let value = old.filter(|_| state == CellState::Value);
                let bytes = value.and_then(|old| old.value(layout, slot)).map(ValueRef::packed);
                let stamp = shared.or_else(|| old.and_then(|old| old.stamp(slot)));
                let bytes = bytes.as_deref().unwrap_or_default();
                packer.push(layout, state, stamp.unwrap_or(none), bytes);
            }
        }
    }
    packer
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
        (stamp, prop::collection::btree_map(0u32..6, (0u8..4, any::<u8>()), 1..7))
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
                match EntityRow::new(&body).merge(&layout, &write) {
                    Merge::Changed(changed) => { prop_assert_ne!(&before, &model); body = changed; }
                    Merge::Late | Merge::Unchanged => prop_assert_eq!(&before, &model),
                }
                for slot in 0..6 {
                    let cell = EntityRow::new(&body).cell(&layout, slot).map(|cell| {
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
            for row in [EntityRow::new(&body), EntityRow::earlier(&body)] {
                let _ = row.cell(&layout, slot).and_then(|c| c.value?.to_value());
                let _ = (row.has_value(), row.views().count());
            }
        }

        /// Bytes that begin as a section of the view do.
        #[test]
        fn any_section_is_read_and_written_over_without_panic(
            flags: u8,
            slots in 0u8..9,
            rest: Vec<u8>,
            slot in 0u32..5,
        ) {
            let head = [flags & 0x7f, (3 + rest.len()).min(0x7f) as u8, 7, 1, slots];
            let body = [&head[..], &rest].concat();
            let layout = layout(6);
            let row = EntityRow::new(&body);
            let _ = row.cell(&layout, slot).and_then(|c| c.value?.to_value());
            let write = write((1, None), vec![(slot, CellWrite::Value(value(slot, 2)))]);
            let _ = row.merge(&layout, &write);
        }
    }

    #[test]
    fn cells_written_together_share_one_stamp_and_need_no_states() {
        let cells = (0..5).map(|slot| (slot, CellWrite::Value(value(slot, 2)))).collect();
        let Merge::Changed(body) = EntityRow::EMPTY.merge(&layout(5), &write((1, Some(1)), cells))
        else {
            panic!("an empty row takes every cell")
        };
        // Flags, length, view, generation, slots; the stamp; a double, a bool, two floats; ends.
        assert_eq!(body.len(), 5 + 8 + (8 + 1 + 8) + 2 + "xx".len() + 1);
    }

    #[test]
    fn many_stamps_stand_once_each_and_are_found() {
        let types = std::iter::repeat_n(ValueType::parse("int64").unwrap(), 600);
        let layout = Layout::new(ViewId(7), 1, types);
        let mut body = Vec::new();
        for round in [300, 600] {
            for slot in 0..round {
                let cell = CellWrite::Value(Value::Int64(i64::from(slot) - 300));
                let write = write((i64::from(slot) + i64::from(round), None), vec![(slot, cell)]);
                let Merge::Changed(changed) = EntityRow::new(&body).merge(&layout, &write) else {
                    panic!("slot {slot}")
                };
                body = changed;
            }
            for slot in 0..round {
                let cell = EntityRow::new(&body).cell(&layout, slot).unwrap();
                assert_eq!(cell.stamp.event.us(), i64::from(slot) + i64::from(round));
                let value = cell.value.and_then(ValueRef::to_value);
                assert_eq!(value, Some(Value::Int64(i64::from(slot) - 300)));
            }
            // States, and of each slot a place and an end; of each cell a stamp and its bytes.
            let most = 50 + 600 / 4 + 600 * (2 + 2) + round as usize * (16 + 2);
            assert!(body.len() < most, "{}", body.len());
        }
    }
}
