//! A table that knows layouts keeps less and says the same as one that knows none.

use super::{
    Body, Edit, EntityRow, Layout, OwnedRow, Row, Seen, Shard, Table, ValueRef, pack_row::key_place,
};
use crate::feature::{CellWrite, CellsWrite, Origin, Stamp, Timestamp, Value, ValueType, ViewId};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};

const TYPES: [&str; 5] = ["string", "float64", "int64", "string[]", "string"];
/// What is written to cells of text: some come often, and some never twice.
const TEXTS: [&str; 6] = ["segment_01", "segment_02", "Zürich", "ab", "", "\u{80}\u{bf}"];

/// A view of the first so many types.
fn layout(view: u32, slots: usize) -> Arc<Layout> {
    let types = TYPES.iter().take(slots).map(|name| ValueType::parse(name).unwrap());
    Arc::new(Layout::new(ViewId(view), 1, types))
}

fn value(slot: u32, seed: u16) -> Value {
    let text = match seed % 8 {
        kind @ 0..6 => TEXTS[usize::from(kind)].to_owned(),
        6 => format!("name-{seed}"),
        _ => "long ".repeat(usize::from(seed % 120)),
    };
    match slot {
        1 => Value::Float64(f64::from(seed)),
        // The bytes of some of them look like the number of a word.
        2 => Value::Int64(i64::from(seed) - 32_768),
        3 => Value::List(crate::feature::List::String(vec![text])),
        _ => Value::String(text),
    }
}

fn write(key: u8, view: u32, event: i64, cells: Vec<(u32, CellWrite)>) -> CellsWrite {
    CellsWrite {
        key: format!("user:{key}").into_bytes(),
        view: ViewId(view),
        generation: 1,
        stamp: Stamp::new(Timestamp(event), None),
        origin: Origin::Pushed,
        cells,
    }
}

fn entity(row: Row<'_>) -> EntityRow<'_> {
    let Some(Body::Entity(entity)) = row.body() else { panic!("no entity") };
    entity
}

fn texts(row: Row<'_>, layout: &Layout) -> Vec<Option<Value>> {
    let value = |slot| entity(row).cell(layout, slot)?.value.and_then(ValueRef::to_value);
    (0..5).map(value).collect()
}

fn snapshot(table: &Table) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let shards = (0..table.shard_count()).map(|index| table.shard(index));
    let rows = shards.flat_map(|shard| {
        let row = |row: Row<'_>| (row.key().to_vec(), row.to_bytes().into_owned());
        shard.iter().map(row).collect::<Vec<_>>()
    });
    rows.collect()
}

/// Applies it, or lets it wait for its sync first.
fn apply(table: &Table, lsn: u64, edit: Edit<'_>, waits: bool) {
    let hash = table.hash(edit.key());
    let shard = || table.shard_mut(Table::shard_index(hash));
    match waits {
        false => Shard::apply(&mut shard(), hash, lsn, edit),
        true => {
            shard().apply_pending(hash, lsn, edit);
            shard().publish(hash, lsn, edit);
        }
    }
}

type Op = (u8, bool, i64, BTreeMap<u32, (u8, u16)>, bool);

fn operation() -> impl Strategy<Value = Op> {
    let cells = prop::collection::btree_map(0..5_u32, (0..8_u8, any::<u16>()), 1..6);
    (0..12_u8, any::<bool>(), 0..100_i64, cells, any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_table_with_words_says_what_one_without_says(
        operations in prop::collection::vec(operation(), 1..250),
    ) {
        let (with, without) = (Table::new([1, 2, 3, 4]), Table::new([1, 2, 3, 4]));
        for (lsn, (key, is_second, event, cells, waits)) in (1..).zip(operations) {
            // The first view grows on the way, and the table hears of it a little before.
            let slots = if lsn < 100 { 3 } else { 5 };
            let layout = if is_second { layout(8, 5) } else { layout(7, slots) };
            if lsn == 20 || lsn == 95 {
                let slots = if lsn == 20 { 3 } else { 5 };
                with.know([self::layout(8, 5), self::layout(7, slots)].iter());
            }
            let has = |slot: u32| (slot as usize) < layout.slot_count();
            let cells = cells.into_iter().filter(|(slot, _)| has(*slot));
            let cells = cells.map(|(slot, (kind, seed))| (slot, match kind {
                0 => CellWrite::Null,
                1 => CellWrite::Tombstone,
                _ => CellWrite::Value(value(slot, seed)),
            }));
            let write = write(key, layout.view.0, event, cells.collect());
            for table in [&with, &without] {
                apply(table, lsn, Edit::Cells(&layout, &write), waits);
            }
            let said = |table: &Table| table.read(&write.key, Seen::Latest, |row| {
                row.map(|row| (texts(row, &layout), row.to_bytes().into_owned()))
            });
            prop_assert_eq!(said(&with), said(&without));
            let bytes = |table: &Table| table.read(&write.key, Seen::Latest, |row| {
                row.map(Row::memory_bytes)
            });
            prop_assert!(bytes(&with) <= bytes(&without));
        }
        let rows = snapshot(&without);
        prop_assert_eq!(&snapshot(&with), &rows);
        for bytes in rows.values() {
            with.load(OwnedRow::from_bytes(bytes).unwrap());
        }
        prop_assert_eq!(&snapshot(&with), &rows);
        let told = |table: &Table| (table.live_rows(Seen::Published), rows.len());
        prop_assert_eq!(told(&with), told(&without));
    }
}

#[test]
fn text_of_few_values_takes_two_bytes_and_a_snapshot_has_all_of_it() {
    let (table, layout) = (Table::new([1, 2, 3, 4]), layout(7, 1));
    table.know([Arc::clone(&layout)].iter());
    let text = |i: u32| format!("segment_{:02}", i % 20);
    let user = |i: u32| {
        let cells = vec![(0, CellWrite::Value(Value::String(text(i))))];
        CellsWrite { key: format!("user:{i:04}").into_bytes(), ..write(0, 7, 1, cells) }
    };
    (0..2000).for_each(|i| table.apply(1, Edit::Cells(&layout, &user(i))));
    let bytes = |i: u32| {
        table.read(&user(i).key, Seen::Published, |row| {
            let row = row.unwrap();
            assert_eq!(texts(row, &layout)[0], Some(Value::String(text(i))));
            (row.memory_bytes(), row.to_bytes().len())
        })
    };
    let (first, last) = (bytes(0), bytes(1999));
    assert_eq!(first.0, first.1);
    assert_eq!((last.0, last.1), (first.0 - text(0).len() + 2, first.1));
}

#[test]
fn no_snapshot_brings_a_word() {
    let mut bytes = OwnedRow::entity(b"e:1", 9, &[0, 11, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let OwnedRow::Packed(row) = &mut bytes else { panic!("an entity is packed") };
    assert!(OwnedRow::from_bytes(row).is_some());
    let (key_at, key_bytes) = key_place(row).unwrap();
    row[key_at + key_bytes + 1] |= 0x40;
    assert!(OwnedRow::from_bytes(row).is_none());
}
