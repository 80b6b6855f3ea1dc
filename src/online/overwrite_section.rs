//! Cells written over others, where the section of their view stands.
//!
//! ```text
//! before  stamp 1: a b c   stamp 2: d e        a newer write of d and e alone, each as long
//! after   stamp 1: a b c   stamp 3: d e        as before: its stamp stands where theirs stood
//! ```
//! So are taken the writes of a client that writes the same features again and again, be they all
//! of the view or a part of it that others do not write. Any other makes the section anew.

use super::{
    bytes::u16_at,
    layout::Layout,
    pack_section::stamp_bytes,
    section::{
        CellState, EARLIER_FORM, HAS_CREATED, Head, NO_CREATED, STAMP_BYTES, Section, Stamps,
    },
    value_ref::PackedValue,
    words::{Words, may_be_word},
};
use crate::feature::{CellWrite, CellsWrite, Stamp};
use std::ops::Range;

/// Writes `write` over the section of its view in `body`; `None`, and nothing is changed, if one of
/// its cells is no newer value as long as the one that stands, or if its stamp cannot stand where
/// theirs does. `layout.accepts(write)`.
pub(super) fn overwrite_cells(
    body: &mut [u8],
    words: &Words,
    layout: &Layout,
    write: &CellsWrite,
) -> Option<()> {
    let bytes = body.get_mut(range_of(body, layout)?)?;
    let section = Section::open(Head::first_of(bytes)?, layout, Some(words))?;
    // A section from before the view grew is rewritten in passing.
    if section.head.slot_count != layout.slot_count() {
        return None;
    }
    let (extent, stamps) = (section.extent, stamp_range(&section, write)?);
    let has_all = section.has_all_values(section.head.slot_count as u32)
        && section.ends_at() <= section.head.bytes.len();
    // Where every slot has a value, nothing of a number need be compared.
    let fits = |(slot, cell): &(u32, CellWrite)| match layout.place(*slot as usize) {
        Some(place) if has_all && place.is_fixed => matches!(cell, CellWrite::Value(_)),
        _ => fits(&section, words, layout, *slot, cell),
    };
    if !write.cells.iter().all(fits) {
        return None;
    }
    for (slot, cell) in &write.cells {
        let (Some(place), CellWrite::Value(value)) = (layout.place(*slot as usize), cell) else {
            continue;
        };
        let value = PackedValue::of(value);
        let standing = extent.range(bytes, place).and_then(|range| bytes.get_mut(range));
        // Of the same length, unless it stands as the number of a word that says the same.
        if let Some(standing) = standing.filter(|standing| standing.len() == value.len()) {
            standing.copy_from_slice(&value);
        }
    }
    let standing = bytes.get_mut(stamps)?;
    standing.copy_from_slice(stamp_bytes(write.stamp).get(..standing.len())?);
    Some(())
}

/// Where the section of the view and generation of `layout` stands.
fn range_of(body: &[u8], layout: &Layout) -> Option<Range<usize>> {
    let mut at = 0;
    loop {
        let head = Head::first_of(body.get(at..)?)?;
        let end = at + head.bytes.len();
        if (head.view, head.generation) == (layout.view, layout.generation) {
            return (head.flags & EARLIER_FORM == 0).then_some(at..end);
        }
        at = end;
    }
}

/// Where the stamp stands that the cells of `write` have and no others, if it is older.
fn stamp_range(section: &Section<'_>, write: &CellsWrite) -> Option<Range<usize>> {
    let (head, count) = (section.head, write.cells.len());
    let is_written_once = write.cells.is_sorted_by(|(a, _), (b, _)| a < b);
    let (first, _) = write.cells.first().filter(|_| is_written_once)?;
    let all = 0..head.slot_count;
    let is_older = |standing: Stamp| standing < write.stamp;
    match section.stamps {
        Stamps::Shared(standing) => {
            // The event timestamp alone may stand for both.
            let form = match write.stamp.created {
                Some(created) if created == write.stamp.event => 0,
                Some(_) => HAS_CREATED,
                None => NO_CREATED,
            };
            let is_there = |slot: &usize| section.state(*slot as u32) != CellState::Absent;
            let are_all = match section.has_all_values(head.slot_count as u32) {
                true => head.slot_count == count,
                false => all.filter(is_there).count() == count,
            };
            let is_such = head.flags & (HAS_CREATED | NO_CREATED) == form;
            let bytes = if form == HAS_CREATED { STAMP_BYTES } else { STAMP_BYTES / 2 };
            (are_all && is_such && is_older(standing))
                .then_some(head.stamps_at..head.stamps_at + bytes)
        }
        Stamps::Table { table_at, places_at, is_short } => {
            let place = |slot: usize| match is_short {
                true => head.bytes.get(places_at + slot).map(|place| usize::from(*place)),
                false => u16_at(head.bytes, places_at + slot * 2).map(usize::from),
            };
            let shared = place(*first as usize)?;
            let is_shared = |slot: usize| place(slot) == Some(shared);
            let are_all = write.cells.iter().all(|(slot, _)| is_shared(*slot as usize))
                && all.filter(|slot| is_shared(*slot)).count() == count;
            let at = table_at + shared * STAMP_BYTES;
            // Where others have the same stamp, it is one for all.
            let table = head.bytes.get(table_at..places_at)?;
            let stamp = stamp_bytes(write.stamp);
            if table.chunks_exact(STAMP_BYTES).any(|standing| standing == stamp) {
                return None;
            }
            (are_all && section.stamp(*first).is_some_and(is_older)).then_some(at..at + STAMP_BYTES)
        }
        Stamps::Own(_) => None,
    }
}

/// Whether a value stands in `slot` that `cell` may be written over.
fn fits(
    section: &Section<'_>,
    words: &Words,
    layout: &Layout,
    slot: u32,
    cell: &CellWrite,
) -> bool {
    let CellWrite::Value(value) = cell else { return false };
    if section.state(slot) != CellState::Value {
        return false;
    }
    let Some(place) = layout.place(slot as usize) else { return false };
    let bytes = section.head.bytes;
    let standing = section.extent.range(bytes, place).and_then(|range| bytes.get(range));
    let Some(standing) = standing else { return false };
    if place.is_fixed {
        return true;
    }
    let value = PackedValue::of(value);
    if !place.is_text {
        return standing.len() == value.len();
    }
    // What may be a word, or may become one, is left to what makes words.
    match may_be_word(&value) {
        true => standing.len() != value.len() && words.text(standing) == Some(&value),
        false => standing.len() == value.len() && words.text(standing) == Some(standing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        feature::{List, Origin, Timestamp, Value, ValueType, ViewId},
        online::{
            dictionary::Dictionary,
            entity_row::{EntityRow, Merge},
            in_place::overwrite_entity,
            owned_row::OwnedRow,
            row::{Body, Row},
            shared::Shared,
            worded_row::worded,
        },
    };
    use proptest::prelude::*;
    use std::{
        collections::BTreeMap,
        sync::{Arc, LazyLock},
    };

    const KEY: &[u8] = b"user:7";
    const SLOTS: u32 = 6;
    static LAYOUT: LazyLock<Arc<Layout>> = LazyLock::new(|| layout(SLOTS as usize));
    static SHARED: LazyLock<Shared> = LazyLock::new(|| {
        let shared = Shared::new([1, 2, 3, 4]);
        shared.dictionary.words.know([&*LAYOUT].into_iter());
        for (word, key) in (0..4_u8).flat_map(|word| (0..99_u8).map(move |key| (word, key))) {
            shared.dictionary.words.number(format!("word {word}").as_bytes(), &[key]);
        }
        shared
    });

    fn layout(slots: usize) -> Arc<Layout> {
        let types = ["float64", "int64", "string", "bool", "string", "float32[2]"];
        let types = types.iter().take(slots).map(|name| ValueType::parse(name).unwrap());
        Arc::new(Layout::new(ViewId(7), 1, types))
    }

    fn value(slot: u32, seed: u8) -> Value {
        match slot {
            0 => Value::Float64(f64::from(seed)),
            1 => Value::Int64(i64::from(seed) << (seed % 9)),
            2 => Value::String("x".repeat(usize::from(seed % 6))),
            3 => Value::Bool(seed % 2 == 1),
            4 => Value::String(format!("word {}", seed % 6)),
            _ => Value::List(List::Float32(vec![f32::from(seed), 0.0])),
        }
    }

    fn write(stamp: (i64, Option<i64>), cells: Vec<(u32, CellWrite)>) -> CellsWrite {
        CellsWrite {
            key: KEY.to_vec(),
            view: ViewId(7),
            generation: 1,
            stamp: Stamp::new(Timestamp(stamp.0), stamp.1.map(Timestamp)),
            origin: Origin::Pushed,
            cells,
        }
    }

    /// LSN, and of each slot state, stamp and value.
    type Told = (u64, Vec<Option<(CellState, Stamp, Option<Value>)>>);

    fn told(row: &[u8], dictionary: &Dictionary) -> Told {
        let row = Row::Packed(row, Some(dictionary));
        let Some(Body::Entity(entity)) = row.body() else { panic!("no entity") };
        let cell = |slot| {
            let cell = entity.cell(&LAYOUT, slot)?;
            Some((cell.state, cell.stamp, cell.value.and_then(|value| value.to_value())))
        };
        (row.lsn(), (0..SLOTS).map(cell).collect())
    }

    /// The row that merging makes; `None` if it changes nothing.
    fn anew(row: &[u8], lsn: u64, write: &CellsWrite, layout: &Layout) -> Option<Box<[u8]>> {
        let dictionary = &SHARED.dictionary;
        let standing = match Row::Packed(row, Some(dictionary)).body() {
            Some(Body::Entity(entity)) => entity,
            _ => EntityRow::EMPTY,
        };
        let Merge::Changed(body) = standing.merge(layout, write) else { return None };
        let OwnedRow::Packed(row) = OwnedRow::entity(KEY, lsn, &body) else { return None };
        Some(worded(&row, &dictionary.words).map_or(row, Vec::into_boxed_slice))
    }

    fn overwritten(row: &mut [u8], lsn: u64, write: &CellsWrite) -> bool {
        let words = &SHARED.dictionary.words;
        overwrite_entity(row, words, lsn, &LAYOUT, write).is_some()
    }

    /// The slots that are written mostly are one of these sets: several writers of one view.
    fn slots() -> impl Strategy<Value = Vec<u32>> {
        prop_oneof![
            3 => Just(vec![0, 1, 2]),
            3 => Just(vec![3, 4, 5]),
            2 => Just((0..SLOTS).collect()),
            1 => prop::collection::btree_set(0..SLOTS, 1..4).prop_map(Vec::from_iter),
        ]
    }

    /// A stamp, and for each slot the kind of its cell and the seed of its value.
    type Operation = ((i64, Option<i64>), BTreeMap<u32, (u8, u8)>);

    fn operation() -> impl Strategy<Value = Operation> {
        let created = |event| prop_oneof![4 => Just(Some(event)), 1 => prop::option::of(0_i64..9)];
        let stamp = (0_i64..60).prop_flat_map(move |event| (Just(event), created(event)));
        let cell = || (prop_oneof![1 => 0_u8..2, 20 => Just(2)], 0_u8..3);
        let cells = slots().prop_flat_map(move |slots| {
            let count = slots.len();
            let cells = prop::collection::vec(cell(), count);
            cells.prop_map(move |cells| slots.iter().copied().zip(cells).collect())
        });
        (stamp, cells)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// What is written over a row is what merging makes of it; where it is not, no byte has
        /// changed. The view grows from four slots to six on the way.
        #[test]
        fn what_is_written_over_is_what_merging_makes(
            first_lsn in prop_oneof![Just(1_u64), Just(120)],
            operations in prop::collection::vec(operation(), 1..14),
        ) {
            let mut row: Box<[u8]> = Box::default();
            for (index, ((event, created), cells)) in operations.iter().enumerate() {
                let layout = layout(if index < 3 { 4 } else { 6 });
                let has = |slot: u32| (slot as usize) < layout.slot_count();
                let cells = cells.iter().filter(|(slot, _)| has(**slot));
                let cells = cells.map(|(slot, (kind, seed))| (*slot, match kind {
                    0 => CellWrite::Null,
                    1 => CellWrite::Tombstone,
                    _ => CellWrite::Value(value(*slot, *seed)),
                }));
                let lsn = first_lsn + index as u64;
                // Mostly newer than what stands.
                let write = write((event + index as i64 * 30, *created), cells.collect());
                let anew = anew(&row, lsn, &write, &layout);
                let mut over = row.clone();
                let words = &SHARED.dictionary.words;
                if overwrite_entity(&mut over, words, lsn, &layout, &write).is_some() {
                    let Some(anew) = anew else { panic!("nothing changes") };
                    let told = |row| told(row, &SHARED.dictionary);
                    prop_assert_eq!(told(&over), told(&anew));
                    prop_assert_eq!(&over, &anew, "byte for byte");
                    row = over;
                } else {
                    prop_assert_eq!(&over, &row);
                    row = anew.unwrap_or(row);
                }
            }
        }

        #[test]
        fn any_row_is_written_over_without_panic(
            flags: u8,
            slots in 0u8..9,
            rest: Vec<u8>,
            slot in 0..SLOTS,
        ) {
            let section = [flags & 0x7f, (3 + rest.len()).min(0x7f) as u8, 7, 1, slots];
            let mut row = [&[0x45, 1, b'k', 5][..], &section, &rest].concat();
            let write = write((i64::MAX, None), vec![(slot, CellWrite::Value(value(slot, 2)))]);
            let _ = overwritten(&mut row, 9, &write);
            let _ = overwritten(&mut [&[0x45], &*rest].concat(), 9, &write);
        }
    }

    #[test]
    fn writers_of_the_same_features_write_over_their_own() {
        let cells = |slots: Range<u32>, seed| -> Vec<(u32, CellWrite)> {
            slots.map(|slot| (slot, CellWrite::Value(value(slot, seed)))).collect()
        };
        let mut row: Box<[u8]> = Box::default();
        for (time, slots) in [(1, 0..SLOTS), (2, 0..3)] {
            row = anew(&row, 1, &write((time, Some(time)), cells(slots, 2)), &LAYOUT).unwrap();
        }
        for time in 3..40 {
            let slots = if time % 2 == 0 { 0..3 } else { 3..SLOTS };
            let write = write((time, Some(time)), cells(slots, 2));
            assert!(overwritten(&mut row, 2, &write), "at {time}");
            // What is as old already stands.
            assert!(!overwritten(&mut row, 2, &write), "again at {time}");
        }
        // Longer text, a word that others say, a feature of each writer.
        let longer = (2, CellWrite::Value(value(2, 3)));
        let word = (4, CellWrite::Value(value(4, 3)));
        let [first, second] = [cells(0..2, 2), cells(3..4, 2)];
        let last = cells(5..6, 2);
        let others = [
            [first.clone(), vec![longer]].concat(),
            [second, vec![word], last].concat(),
            cells(2..4, 2),
            first,
        ];
        for cells in others {
            assert!(!overwritten(&mut row, 2, &write((90, Some(90)), cells)));
        }
    }
}
