//! docs/formats/history.md shows what is written: its schema, its metadata, and its rows.

use super::fixture::{entity, view};
use crate::{
    feature::{CellWrite, Entity, KeyPart, KeyType, Stamp, Timestamp, Value, View, ViewId},
    offline::{
        HistoryFile, PushedCells, cell,
        history_write::{Limits, write_within},
    },
};
use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::{fmt::Write, path::Path};

const DOCUMENT: &str = include_str!("../../../docs/formats/history.md");

fn example() -> (View, Entity, Vec<PushedCells>) {
    let features = [("spend", "float64"), ("genre", "string"), ("taste", "float32[2]")];
    let mut view = view("user_profile", "event", "", &features);
    (view.id, view.generation) = (ViewId(7), 2);
    // The first feature of this generation was removed since.
    (0..).zip(&mut view.features).for_each(|(place, feature)| feature.slot = place + 1);
    let parse = |text: &str| Timestamp::parse(text).unwrap();
    let row = |user: &str, event: &str, order, cells| PushedCells {
        key: vec![KeyPart::Bytes(user.into())],
        stamp: Stamp::new(parse(event), Some(parse("2013-07-04T12:00:05Z"))),
        order,
        cells,
    };
    let text = |text: &str| CellWrite::Value(Value::String(text.into()));
    let taste = Value::parse(b"[0.5,-1]", view.features[2].value_type).unwrap();
    let rows = vec![
        row("8a2f", "2013-07-04T12:00:04Z", 77, vec![(2, CellWrite::Null)]),
        row("17", "2013-07-04T12:00:01Z", 80, vec![(0, CellWrite::Tombstone), (2, text("jazz"))]),
        row(
            "8a2f",
            "2013-07-04T12:00:00Z",
            76,
            vec![(1, CellWrite::Value(Value::Float64(12.5))), (3, CellWrite::Value(taste))],
        ),
    ];
    (view, entity("user", &[("user", KeyType::String)]), rows)
}

fn shown(batch: &RecordBatch) -> String {
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        let cells = (0..batch.num_columns()).map(|column| {
            cell(batch, column, row).map_or("NULL".to_owned(), |value| value.to_text())
        });
        writeln!(text, "{}", cells.collect::<Vec<_>>().join(" | ")).unwrap();
    }
    text
}

#[test]
fn the_example_of_the_document_is_what_is_written() {
    let (view, entity, mut rows) = example();
    let bytes = Bytes::from(write_within(&view, &entity, rows.clone(), Limits::default()).unwrap());
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap();
    let mut lines = String::new();
    for field in builder.schema().fields() {
        let null = if field.is_nullable() { "null" } else { "not null" };
        let metadata = field.metadata();
        let entry = |name: &str| metadata.get(&format!("nowthen.{name}")).map(String::as_str);
        let entries = ["role", "slot", "type"]
            .into_iter()
            .filter_map(|name| Some(format!("{name}={}", entry(name)?)));
        let entries = entries.collect::<Vec<_>>().join(" ");
        writeln!(lines, "{} | {} | {null} | {entries}", field.name(), field.data_type()).unwrap();
    }
    let entries = builder.metadata().file_metadata().key_value_metadata().unwrap().iter();
    for entry in entries.filter(|entry| entry.key.starts_with("nowthen.")) {
        writeln!(lines, "{}={}", entry.key, entry.value.as_deref().unwrap()).unwrap();
    }
    let batch = builder.build().unwrap().next().unwrap().unwrap();
    // An unsigned number is none of our types: it is shown as text by its own means.
    let order = batch.schema().index_of("__order").unwrap();
    let orders = arrow_cast::cast(batch.column(order), &arrow_schema::DataType::Int64).unwrap();
    let columns = batch.schema_ref().fields().iter().map(|f| f.name().clone()).zip(batch.columns());
    let columns = columns.map(|(name, column)| match name.as_str() {
        "__order" => (name, orders.clone()),
        _ => (name, column.clone()),
    });
    let shown = shown(&RecordBatch::try_from_iter(columns).unwrap());
    for (name, block) in [("schema", lines), ("rows", shown)] {
        let fence = format!("```text {name}\n{block}```");
        assert!(DOCUMENT.contains(&fence), "docs/formats/history.md should have\n{fence}");
    }
    let file = HistoryFile::open(bytes, Path::new("x"), &view, &entity).unwrap();
    rows[1].cells.remove(0);
    rows.sort_by_key(|row| (row.key.clone(), row.stamp));
    assert_eq!(file.rows(None, None).unwrap(), rows);
}
