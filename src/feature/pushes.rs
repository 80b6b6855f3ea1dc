//! What a record tells of pushes without their values, which take most of the time to read.
//!
//! Not here: the format, and all that is in a record (`change.rs`).

use super::{
    change::{CELLS, Change, Origin},
    time::Timestamp,
    value::List,
    view::ViewId,
    visible::Stamp,
};
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_bytes::Bytes;
use std::fmt;

/// As [`super::CellsWrite`] begins.
type Head<'a> = (&'a Bytes, ViewId, u32, Stamp, Origin);

/// Tells `take` the view, the key and the event timestamp of each write of cells in the record in
/// `bytes` that a client pushed. Of the last change no cells are read, which may still turn out to
/// be none.
pub fn each_pushed(
    bytes: &[u8],
    mut take: impl FnMut(ViewId, &[u8], Timestamp),
) -> Result<(), String> {
    let (count, mut rest): (usize, _) = first_of(bytes)?;
    for left in (0..count).rev() {
        let (number, behind): (u32, _) = first_of(rest)?;
        if number != CELLS {
            if left > 0 {
                rest = first_of::<Change>(rest)?.1;
            }
            continue;
        }
        let ((key, view, _, stamp, origin), cells): (Head<'_>, _) = first_of(behind)?;
        if origin == Origin::Pushed {
            take(view, key, stamp.event);
        }
        if left > 0 {
            rest = first_of::<SkippedCells>(cells)?.1;
        }
    }
    Ok(())
}

fn first_of<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), String> {
    postcard::take_from_bytes(bytes).map_err(|error| error.to_string())
}

/// The cells of a write, passed over one by one.
struct SkippedCells;

/// As [`super::CellWrite`].
#[derive(Deserialize)]
enum SkippedCell<'a> {
    #[serde(borrow)]
    Value(#[expect(dead_code, reason = "it is passed over")] SkippedValue<'a>),
    Null,
    Tombstone,
}

/// As [`super::Value`]: text and bytes stay where they are.
#[derive(Deserialize)]
#[expect(dead_code, reason = "they are passed over")]
enum SkippedValue<'a> {
    Bool(bool),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    #[serde(borrow)]
    String(&'a Bytes),
    Bytes(&'a Bytes),
    Timestamp(Timestamp),
    List(List),
}

impl<'de> Deserialize<'de> for SkippedCells {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self)
    }
}

impl<'de> Visitor<'de> for SkippedCells {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cells with their slots")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut cells: A) -> Result<Self, A::Error> {
        while cells.next_element::<(u32, SkippedCell<'de>)>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::{
        CellWrite, CellsWrite, PlainChange, Record, Value, decode_record, encode_record,
    };
    use proptest::{collection::vec, prelude::*};

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(Value::Int32),
            any::<i64>().prop_map(Value::Int64),
            any::<f32>().prop_map(Value::Float32),
            any::<f64>().prop_map(Value::Float64),
            any::<String>().prop_map(Value::String),
            any::<Vec<u8>>().prop_map(Value::Bytes),
            any::<i64>().prop_map(|us| Value::Timestamp(Timestamp(us))),
            vec(any::<f32>(), 0..9).prop_map(|list| Value::List(List::Float32(list))),
            vec(any::<String>(), 0..9).prop_map(|list| Value::List(List::String(list))),
        ]
    }

    fn change() -> impl Strategy<Value = Change> {
        let cell = prop_oneof![
            4 => value().prop_map(CellWrite::Value),
            1 => Just(CellWrite::Null),
            1 => Just(CellWrite::Tombstone),
        ];
        let origin = prop_oneof![Just(Origin::Pushed), Just(Origin::Materialized)];
        let stamp = (any::<i64>(), prop::option::of(any::<i64>()))
            .prop_map(|(event, created)| Stamp::new(Timestamp(event), created.map(Timestamp)));
        let cells = (any::<Vec<u8>>(), any::<u32>(), stamp, origin, vec((0..9_u32, cell), 0..6));
        let write = cells.prop_map(|(key, view, stamp, origin, cells)| {
            let view = ViewId(view);
            Change::Cells(CellsWrite { key, view, generation: 1, stamp, origin, cells })
        });
        let plain =
            any::<Vec<u8>>().prop_map(|key| Change::Plain { key, change: PlainChange::Delete });
        prop_oneof![6 => write, 1 => plain, 1 => Just(Change::FlushAll)]
    }

    proptest! {
        #[test]
        fn each_push_is_told_as_it_stands_in_the_record(changes in vec(change(), 0..9)) {
            let bytes = encode_record(&Record { changes });
            let mut told = Vec::new();
            let take = |view, key: &[u8], event| told.push((view, key.to_vec(), event));
            each_pushed(&bytes, take).unwrap();
            let pushed = decode_record(&bytes).unwrap().changes.into_iter().filter_map(|change| {
                let Change::Cells(write) = change else { return None };
                let is_pushed = write.origin == Origin::Pushed;
                is_pushed.then_some((write.view, write.key, write.stamp.event))
            });
            prop_assert_eq!(told, pushed.collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let read = each_pushed(&bytes, |_, _, _| {});
            prop_assert!(read.is_ok() || decode_record(&bytes).is_err());
        }
    }
}
