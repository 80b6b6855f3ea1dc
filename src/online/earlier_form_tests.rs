//! Rows of snapshots of earlier versions, kind 3: read as they are, and written anew in passing.

use super::{
    Body, CellState, Edit, EntityRow, Layout, Merge, OwnedRow, Seen, Table, ValueRef,
    bytes::push_len,
};
use crate::feature::{CellWrite, CellsWrite, Origin, Stamp, Timestamp, Value, ValueType, ViewId};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Cells = BTreeMap<u32, (Stamp, CellWrite)>;

const TYPES: [&str; 6] = ["float64", "string", "int64", "bool", "int32", "float32[2]"];

fn layout(view: u32) -> Layout {
    let types = TYPES.map(|name| ValueType::parse(name).unwrap());
    Layout::new(ViewId(view), 1, types)
}

fn value(slot: u32, seed: u8) -> Value {
    let text = match slot {
        0 => format!("{seed}.5"),
        1 => "x".repeat(usize::from(seed % 4)),
        2 => (i64::from(seed) - 128).to_string(),
        3 => (seed % 2 == 1).to_string(),
        4 => (i64::from(seed) * 1000).to_string(),
        _ => format!("[{seed},0]"),
    };
    Value::parse(text.as_bytes(), ValueType::parse(TYPES[slot as usize]).unwrap()).unwrap()
}

/// A section as docs/formats/rows.md tells it of kind 3.
fn earlier_section(view: u32, slots: u32, cells: &Cells) -> Vec<u8> {
    let mut stamps = cells.values().map(|(stamp, _)| *stamp);
    let shared = stamps.next().unwrap_or(Stamp::new(Timestamp(0), None));
    let has_own = stamps.any(|stamp| stamp != shared);
    let mut out = vec![0; 4];
    push_len(&mut out, view as usize);
    push_len(&mut out, 1);
    out.extend_from_slice(&(slots as u16).to_le_bytes());
    out.push(u8::from(has_own));
    let push_stamp = |out: &mut Vec<u8>, stamp: Stamp| {
        out.extend_from_slice(&stamp.event.us().to_le_bytes());
        out.extend_from_slice(&stamp.created.map_or(i64::MIN, Timestamp::us).to_le_bytes());
    };
    push_stamp(&mut out, shared);
    let state = |slot: u32| match cells.get(&slot) {
        None => 0,
        Some((_, CellWrite::Value(_))) => 1,
        Some((_, CellWrite::Null)) => 2,
        Some((_, CellWrite::Tombstone)) => 3_u8,
    };
    for first in (0..slots).step_by(4) {
        let four = (first..slots.min(first + 4)).rev();
        out.push(four.fold(0, |byte, slot| byte << 2 | state(slot)));
    }
    for slot in (0..slots).filter(|_| has_own) {
        push_stamp(&mut out, cells.get(&slot).map_or(shared, |(stamp, _)| *stamp));
    }
    let (mut fixed, mut text) = (Vec::new(), Vec::new());
    let width = |slot: u32| [8, 8, 8, 1, 4, 8][slot as usize];
    let text_at = out.len() + (0..slots).map(width).sum::<usize>();
    for slot in 0..slots {
        let before = fixed.len();
        match cells.get(&slot) {
            Some((_, CellWrite::Value(Value::Float64(number)))) => {
                fixed.extend(number.to_le_bytes());
            }
            Some((_, CellWrite::Value(Value::Int64(number)))) => fixed.extend(number.to_le_bytes()),
            Some((_, CellWrite::Value(Value::Int32(number)))) => fixed.extend(number.to_le_bytes()),
            Some((_, CellWrite::Value(Value::Bool(is)))) => fixed.push(u8::from(*is)),
            Some((_, CellWrite::Value(Value::String(string)))) => {
                push_len(&mut fixed, text_at + text.len());
                push_len(&mut fixed, string.len());
                text.extend_from_slice(string.as_bytes());
            }
            Some((_, CellWrite::Value(Value::List(crate::feature::List::Float32(list))))) => {
                list.iter().for_each(|number| fixed.extend(number.to_le_bytes()));
            }
            _ => {}
        }
        fixed.resize(before + width(slot), 0);
    }
    out.extend(fixed);
    out.extend(text);
    let count = (out.len() as u32).to_le_bytes();
    out[..4].copy_from_slice(&count);
    out
}

fn earlier_row(sections: &[Vec<u8>]) -> OwnedRow {
    let mut bytes = vec![0x43];
    bytes.extend_from_slice(&9_u64.to_le_bytes());
    push_len(&mut bytes, 3);
    bytes.extend_from_slice(b"e:1");
    bytes.extend(sections.concat());
    let owned = OwnedRow::from_bytes(&bytes).unwrap();
    let row = owned.as_row();
    assert_eq!((row.key(), row.lsn(), row.has_value()), (&b"e:1"[..], 9, true));
    assert_eq!(*row.to_bytes(), bytes);
    owned
}

fn cells_of(row: EntityRow<'_>, layout: &Layout) -> Cells {
    let cell = |slot| {
        let cell = row.cell(layout, slot)?;
        let written = match cell.state {
            CellState::Value => CellWrite::Value(cell.value.and_then(ValueRef::to_value)?),
            CellState::Null => CellWrite::Null,
            _ => CellWrite::Tombstone,
        };
        Some((slot, (cell.stamp, written)))
    };
    (0..7).filter_map(cell).collect()
}

fn cells(slots: u32) -> impl Strategy<Value = Cells> {
    let cell = (0i64..4, prop::option::of(0i64..3), 0u8..4, any::<u8>());
    prop::collection::btree_map(0..slots, cell, 0..6).prop_map(|cells| {
        let cell = |(slot, (event, created, kind, seed)): (u32, (i64, Option<i64>, u8, u8))| {
            let written = match kind {
                0 => CellWrite::Null,
                1 => CellWrite::Tombstone,
                _ => CellWrite::Value(value(slot, seed)),
            };
            (slot, (Stamp::new(Timestamp(event), created.map(Timestamp)), written))
        };
        cells.into_iter().map(cell).collect()
    })
}

proptest! {
    #[test]
    fn a_row_of_the_earlier_form_is_read_merged_and_read_again(
        slots in 1u32..=6,
        all in (1u32..=6).prop_flat_map(cells),
        beside in cells(6),
        written in cells(6),
        event in 0i64..4,
    ) {
        let standing: Cells = all.into_iter().filter(|(slot, _)| *slot < slots).collect();
        let sections = [earlier_section(8, 6, &beside), earlier_section(7, slots, &standing)];
        let row = OwnedRow::from_bytes(&{
            let mut bytes = vec![0x43, 9, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, b'e', b':', b'1'];
            bytes.extend(sections.concat());
            bytes
        }).unwrap();
        let (layout, other) = (layout(7), layout(8));
        let Some(Body::Entity(row)) = row.as_row().body() else { panic!() };
        prop_assert_eq!(&cells_of(row, &layout), &standing);
        prop_assert_eq!(&cells_of(row, &other), &beside);

        let stamp = Stamp::new(Timestamp(event), None);
        let mut model = standing.clone();
        let mut cells = Vec::new();
        for (slot, (_, cell)) in written {
            if model.get(&slot).is_none_or(|(standing, _)| *standing <= stamp) {
                model.insert(slot, (stamp, cell.clone()));
            }
            cells.push((slot, cell));
        }
        let key = b"e:1".to_vec();
        let (view, generation, origin) = (ViewId(7), 1, Origin::Pushed);
        let write = CellsWrite { key, view, generation, stamp, origin, cells };
        match row.merge(&layout, &write) {
            Merge::Changed(body) => {
                let row = OwnedRow::entity(b"e:1", 10, &body);
                let row = OwnedRow::from_bytes(&row.as_row().to_bytes()).unwrap();
                let row = row.as_row();
                prop_assert_eq!((row.key(), row.lsn()), (&b"e:1"[..], 10));
                let Some(Body::Entity(row)) = row.body() else { panic!() };
                prop_assert_eq!(cells_of(row, &layout), model);
                prop_assert_eq!(&cells_of(row, &other), &beside);
                let has_value = cells_of(row, &layout).values().chain(beside.values())
                    .any(|(_, cell)| matches!(cell, CellWrite::Value(_)));
                prop_assert_eq!(row.has_value(), has_value);
            }
            Merge::Late | Merge::Unchanged => prop_assert_eq!(standing, model),
        }
    }

    #[test]
    fn a_key_and_an_lsn_of_any_length_are_found_again(
        key in prop::collection::vec(any::<u8>(), 0..300),
        lsn: u64,
        shift in 0u32..64,
    ) {
        let lsn = lsn >> shift;
        let owned = OwnedRow::entity(&key, lsn, &[]);
        let row = owned.as_row();
        prop_assert_eq!((row.key(), row.lsn()), (&key[..], lsn));
        let again = OwnedRow::from_bytes(&row.to_bytes()).unwrap();
        let again = again.as_row();
        prop_assert_eq!((again.key(), again.lsn()), (&key[..], lsn));
        prop_assert!(!again.has_value() && again.body().is_some());
    }
}

#[test]
fn a_row_that_a_snapshot_brought_is_written_over_by_the_log_behind_it() {
    let stamp = |at| Stamp::new(Timestamp(at), None);
    let standing = [(0, 5), (1, 2)]
        .map(|(slot, seed)| (slot, (stamp(3), CellWrite::Value(value(slot, seed)))));
    let table = Table::new([1, 2, 3, 4]);
    table.load(earlier_row(&[earlier_section(7, 3, &standing.into())]));
    let layout = layout(7);
    let write = |at, seed| CellsWrite {
        key: b"e:1".to_vec(),
        view: ViewId(7),
        generation: 1,
        stamp: stamp(at),
        origin: Origin::Pushed,
        cells: vec![(1, CellWrite::Value(value(1, seed)))],
    };
    table.apply(8, Edit::Cells(&layout, &write(2, 3)));
    table.apply(10, Edit::Cells(&layout, &write(4, 1)));
    table.read(b"e:1", Seen::Published, |row| {
        let row = row.unwrap();
        assert_eq!(row.lsn(), 10);
        let Some(Body::Entity(row)) = row.body() else { panic!() };
        let value = |slot| row.cell(&layout, slot)?.value?.to_value();
        assert_eq!(value(0), Some(Value::Float64(5.5)));
        assert_eq!(value(1), Some(Value::String("x".into())));
    });
}
