//! docs/formats/rows.md shows what is written: each example is what a row packs to, and reads back.

use super::{Body, EntityRow, Layout, Merge, OwnedRow, field::Field};
use crate::{
    disk::frame::{bytes_of_dump, dump_in, hex_dump},
    feature::{CellWrite, CellsWrite, Origin, Stamp, Timestamp, Value, ValueType, ViewId},
};

const DOCUMENT: &str = include_str!("../../docs/formats/rows.md");

/// The example of that name is the row, and is read and written again as it stands.
fn check(name: &str, row: &OwnedRow) {
    let dump = dump_in(DOCUMENT, name);
    assert_eq!(hex_dump(&row.as_row().to_bytes()), dump, "{name}");
    let bytes = bytes_of_dump(&dump);
    assert_eq!(*OwnedRow::from_bytes(&bytes).unwrap().as_row().to_bytes(), bytes, "{name}");
}

#[test]
fn the_examples_of_the_document_are_read_and_written_again_as_they_stand() {
    check("string", &OwnedRow::string(b"k", 1, None, b"v"));
    let fields = [Field { name: b"f".as_slice(), value: b"v".as_slice(), end: None }];
    check("hash", &OwnedRow::hash(b"k", 7, Some(Timestamp(5)), fields.into_iter()));

    let types = ["float64", "string"].map(|name| ValueType::parse(name).unwrap());
    let layout = Layout::new(ViewId(7), 1, types);
    let value = |slot, value| (slot, CellWrite::Value(value));
    let write = CellsWrite {
        key: b"e:1".to_vec(),
        view: ViewId(7),
        generation: 1,
        stamp: Stamp::new(Timestamp(5), None),
        origin: Origin::Pushed,
        cells: vec![value(0, Value::Float64(12.5)), value(1, Value::String("hi".into()))],
    };
    let Merge::Changed(body) = EntityRow::EMPTY.merge(&layout, &write) else { panic!() };
    check("entity", &OwnedRow::entity(b"e:1", 9, &body));

    let earlier = bytes_of_dump(&dump_in(DOCUMENT, "earlier entity"));
    let row = OwnedRow::from_bytes(&earlier).unwrap();
    let row = row.as_row();
    assert_eq!(*row.to_bytes(), earlier);
    let Some(Body::Entity(entity)) = row.body() else { panic!() };
    let value = |slot| entity.cell(&layout, slot)?.value?.to_value();
    assert_eq!((row.key(), row.lsn()), (&b"e:1"[..], 9));
    assert_eq!(
        [value(0), value(1)],
        [Some(Value::Float64(12.5)), Some(Value::String("hi".into()))]
    );
}
