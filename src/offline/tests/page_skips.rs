//! Pages that hold no answer are passed over, and what tells so is believed only where it fits.

use super::{
    fixture::{entity, options, pages_of, request, view, write_file_as},
    sources::{batch, integers, micros},
};
use crate::{
    feature::{Entity, KeyType, Timestamp, Value},
    offline::{Dataset, Joined, Spine, Window, as_of_join, cell, latest},
};
use arrow_array::{Array, ArrayRef, Int32Array, StringArray, UInt32Array};
use parquet::{
    arrow::arrow_reader::ArrowReaderMetadata,
    file::properties::{EnabledStatistics, WriterPropertiesBuilder},
};
use std::{fs, path::Path, sync::Arc};

const ENTITIES: i64 = 1_000;
const TIMES: i64 = 10;
const ROWS: i64 = ENTITIES * TIMES;
const PAGE_ROWS: i64 = 100;

fn properties() -> WriterPropertiesBuilder {
    pages_of(PAGE_ROWS as usize)
}

/// Ten rows of each entity, sorted by entity and time; `key` makes the column of their numbers.
fn write(path: &Path, key: &dyn Fn(&[i64]) -> ArrayRef, properties: WriterPropertiesBuilder) {
    let rows: Vec<i64> = (0..ROWS).collect();
    let numbers: Vec<i64> = rows.iter().map(|row| row * 7 % 1_013).collect();
    let times: Vec<i64> = rows.iter().map(|row| row % TIMES * 10).collect();
    let keys: Vec<i64> = rows.iter().map(|row| row / TIMES).collect();
    let file =
        batch(vec![("key", key(&keys)), ("event", micros(&times)), ("number", integers(&numbers))]);
    write_file_as(path, &[file], properties.build());
}

fn join(path: &Path, entity: &Entity, key: ArrayRef, times: &[i64]) -> Joined {
    let dataset = Dataset::open(path.to_str().unwrap()).unwrap();
    let spine = batch(vec![("key", key), ("at", micros(times))]);
    let spine = Spine::from_batch(spine, Some("at")).unwrap();
    let view = view("numbers", "event", "", &[("number", "int64")]);
    let requests = [request(&view, entity, Some(&dataset), "")];
    as_of_join(&spine, &requests, &options(2), &|_| ()).unwrap()
}

/// The numbers that are right for these entities and times.
fn expected(asked: &[(i64, i64)]) -> Vec<Option<Value>> {
    let number = |(key, at): &(i64, i64)| {
        let row = key * TIMES + (at / 10).min(TIMES - 1);
        (*at >= 0).then_some(Value::Int64(row * 7 % 1_013))
    };
    asked.iter().map(number).collect()
}

const ASKED: [(i64, i64); 4] = [(3, 25), (512, 1_000), (513, -1), (999, 40)];

/// Asks for [`ASKED`]; tells how many rows were scanned.
fn ask(path: &Path, key_type: KeyType, key: &dyn Fn(&[i64]) -> ArrayRef) -> u64 {
    let entity = entity("thing", &[("key", key_type)]);
    let times = ASKED.map(|(_, at)| at);
    let joined = join(path, &entity, key(&ASKED.map(|(key, _)| key)), &times);
    let numbers: Vec<_> = (0..ASKED.len()).map(|row| cell(&joined.batch, 2, row)).collect();
    assert_eq!(numbers, expected(&ASKED));
    joined.report.rows_scanned
}

fn text(keys: &[i64]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(keys.iter().map(|key| format!("k{key:04}"))))
}

fn wide(keys: &[i64]) -> ArrayRef {
    integers(keys)
}

fn narrow(keys: &[i64]) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(keys.iter().map(|key| *key as i32)))
}

/// Its statistics are those of signed numbers.
fn unsigned(keys: &[i64]) -> ArrayRef {
    Arc::new(UInt32Array::from_iter_values(keys.iter().map(|key| *key as u32)))
}

#[test]
fn of_sorted_rows_those_pages_are_read_in_which_an_entity_lies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sorted.parquet");
    type Column = fn(&[i64]) -> ArrayRef;
    let cases: [(KeyType, Column, i64); 4] = [
        (KeyType::String, text, 3 * PAGE_ROWS),
        (KeyType::Int64, wide, 3 * PAGE_ROWS),
        (KeyType::Int64, narrow, 3 * PAGE_ROWS),
        (KeyType::Int64, unsigned, ROWS),
    ];
    for (key_type, key, rows) in cases {
        for with_dictionary in [false, true] {
            write(&path, &key, properties().set_dictionary_enabled(with_dictionary));
            // 512 and 513 lie in one page.
            assert_eq!(ask(&path, key_type, &key), rows as u64, "{key_type:?}");
        }
        let chunks_alone = properties().set_statistics_enabled(EnabledStatistics::Chunk);
        write(&path, &key, chunks_alone);
        assert_eq!(ask(&path, key_type, &key), ROWS as u64, "{key_type:?}");
    }
}

#[test]
fn of_rows_sorted_by_time_those_pages_are_read_that_begin_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("by_time.parquet");
    let rows: Vec<i64> = (0..ROWS).collect();
    let file = batch(vec![
        ("key", text(&rows.iter().map(|row| row % ENTITIES).collect::<Vec<_>>())),
        ("event", micros(&rows)),
        ("number", integers(&rows)),
    ]);
    write_file_as(&path, &[file], properties().build());
    let thing = entity("thing", &[("key", KeyType::String)]);
    let joined = join(&path, &thing, text(&[7, 8]), &[2_500, 1_003]);
    let numbers = [0, 1].map(|row| cell(&joined.batch, 2, row));
    assert_eq!(numbers, [Some(Value::Int64(2_007)), Some(Value::Int64(8))]);
    // Of the 26 pages that begin in time, of a hundred entities each.
    assert_eq!(joined.report.rows_scanned, 3 * PAGE_ROWS as u64);

    let view = view("numbers", "event", "", &[("number", "int64")]);
    let dataset = Dataset::open(path.to_str().unwrap()).unwrap();
    let newest = |from: Option<i64>, to| {
        let window = Window { from: from.map(Timestamp), to: Timestamp(to) };
        let newest = latest(&view, &thing, &dataset, window, None, &|_| ()).unwrap();
        (newest.entities(), newest.rows_read(), newest.rows_ahead())
    };
    assert_eq!(newest(None, 2_449), (1_000, 2_500, 7_550));
    assert_eq!(newest(Some(300), 449), (150, 200, 50));
}

#[test]
fn what_tells_of_pages_is_not_believed_where_it_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sorted.parquet");
    write(&path, &text, properties());
    let good = fs::read(&path).unwrap();
    let metadata = ArrowReaderMetadata::load(&fs::File::open(&path).unwrap(), Default::default());
    let metadata = metadata.unwrap();
    let index = metadata.metadata().row_group(0).column(0).column_index_range().unwrap();
    let index = index.start as usize..index.end as usize;
    // Its first field, and how many pages it tells of.
    for (at, byte) in [(index.start, 0x15), (index.start + 2, 99), (index.start + 2, 101)] {
        let mut bytes = good.clone();
        assert_ne!(bytes[at], byte);
        bytes[at] = byte;
        fs::write(&path, bytes).unwrap();
        assert_eq!(ask(&path, KeyType::String, &text), ROWS as u64, "byte {at}");
    }
}

#[test]
fn rows_between_pages_that_are_read_keep_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ties.parquet");
    // The same entity and time in the first, in the middle and in the last page: the last row wins.
    let keys: Vec<i64> = (0..ROWS).map(|row| if row % 4_999 == 1 { -5 } else { row }).collect();
    let rows: Vec<i64> = (0..ROWS).collect();
    for key in [wide as fn(&[i64]) -> ArrayRef, narrow] {
        let file = batch(vec![
            ("key", key(&keys)),
            ("event", micros(&vec![0; ROWS as usize])),
            ("number", integers(&rows)),
        ]);
        write_file_as(&path, &[file], properties().build());
        let thing = entity("thing", &[("key", KeyType::Int64)]);
        let joined = join(&path, &thing, wide(&[-5, 4_321]), &[5, 5]);
        let numbers = [0, 1].map(|row| cell(&joined.batch, 2, row));
        assert_eq!(numbers, [Some(Value::Int64(9_999)), Some(Value::Int64(4_321))]);
        assert_eq!(joined.batch.column(2).null_count(), 0);
        assert!(joined.report.rows_scanned <= 4 * PAGE_ROWS as u64);
    }
}
