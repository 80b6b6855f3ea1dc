//! What a report counts where a scan is begun anew, and a file that claims more rows than it has.

use super::fixture::{entity, options, request, view, write_file};
use crate::{
    feature::{KeyPart, KeyType, Timestamp},
    offline::{Dataset, Spine, SpineFile, as_of_join},
};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use parquet::{arrow::ArrowWriter, file::metadata::ParquetMetaDataWriter};
use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    sync::Arc,
};

/// Rows of seven entities at one instant, every 50th without its key.
fn tied_rows(row_group: i64) -> RecordBatch {
    let rows = 400;
    let keys: Int64Array = (0..rows).map(|row| (row % 50 > 0).then_some(row % 7)).collect();
    let times = TimestampMicrosecondArray::from(vec![1; rows as usize]);
    let created = (0..rows).map(|row| row * 7 % 13 + row_group);
    let columns: [(&str, ArrayRef, bool); 4] = [
        ("key", Arc::new(keys), true),
        ("event", Arc::new(times), true),
        ("created", Arc::new(TimestampMicrosecondArray::from_iter_values(created)), true),
        ("x", Arc::new(Int64Array::from_iter_values(0..rows)), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[test]
fn a_scan_that_is_begun_anew_counts_each_row_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ties.parquet");
    write_file(&path, &(0..6).map(tied_rows).collect::<Vec<_>>());
    let dataset = Dataset::open(path.to_str().unwrap()).unwrap();
    let mut view = view("view", "event", "", &[("x", "int64")]);
    view.created_timestamp = Some("created".into());
    let entity = entity("thing", &[("key", KeyType::Int64)]);
    let keys: Vec<Vec<KeyPart>> = (0..7).map(|key| vec![KeyPart::Int64(key)]).collect();
    let spine = Spine::from_rows(&entity, &keys, Timestamp(10)).unwrap();
    for threads in [1, 2, 4] {
        let requests = [request(&view, &entity, Some(&dataset), "")];
        let report = as_of_join(&spine, &requests, &options(threads), &|_| ()).unwrap().report;
        let counts = (report.row_groups, report.rows_scanned, report.rows_skipped);
        assert_eq!(counts, (6, 2400, 48), "{threads} threads");
    }
}

#[test]
fn a_spine_that_claims_more_rows_than_fit_into_memory_is_refused() {
    let times = TimestampMicrosecondArray::from(vec![1; 10]);
    let batch = RecordBatch::try_from_iter([("t", Arc::new(times) as ArrayRef)]).unwrap();
    let mut pages = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut pages, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let footer = writer.close().unwrap();
    let row_groups = footer.row_groups().iter().cloned();
    let row_groups = row_groups
        .map(|it| it.into_builder().set_num_rows(4_200_000_000).build().unwrap())
        .collect();
    let footer = footer.into_builder().set_page_index(None).set_row_groups(row_groups).build();
    let mut tail = Vec::new();
    ParquetMetaDataWriter::new(&mut tail, &footer).finish().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spine.parquet");
    let mut file = File::create(&path).unwrap();
    file.write_all(&pages).unwrap();
    // A hole takes no room, but makes the claim likelier.
    file.seek(SeekFrom::Start(600 << 20)).unwrap();
    file.write_all(&tail).unwrap();
    drop(file);
    let spine = SpineFile::open(&path).unwrap();
    assert_eq!(spine.rows(), 4_200_000_000);
    let refused = spine.read(Some("t"), None).unwrap_err().to_string();
    assert!(refused.contains("spine.parquet: the file is damaged"), "{refused}");
}
