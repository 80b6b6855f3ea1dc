//! History files of which something is unusual, or not as it should be; and how little of one is
//! read to find a key.

use super::fixture::{entity, rows_in_reach, view};
use crate::{
    error::Error,
    feature::{
        CellWrite, Entity, Feature, KeyPart, KeyType, Scalar, Stamp, Timestamp, Value, ValueType,
        View, ViewId,
    },
    offline::{
        HistoryFile, PushedCells,
        history_keys::AskedKeys,
        history_layout,
        history_write::{HistoryFileWriter, Limits, write_within},
    },
};
use bytes::Bytes;
use parquet::basic::Compression;
use std::{
    collections::HashSet,
    io::{self, Write},
    path::Path,
};

const PATH: &str = "history/7-1-20.parquet";

/// `count` entities with `each` rows.
fn many(count: i64, each: u64) -> (View, Entity, Vec<PushedCells>) {
    let features = [("score", "float64"), ("note", "string")];
    let row = |key: i64, order: u64| PushedCells {
        key: vec![KeyPart::Int64(key * 2), KeyPart::Bytes(format!("k{key}").into_bytes())],
        stamp: Stamp::new(Timestamp(order as i64), Some(Timestamp(order as i64 + 1))),
        order,
        cells: vec![(10, CellWrite::Value(Value::Float64(key as f64))), (11, CellWrite::Null)],
    };
    let rows = (0..count).flat_map(|key| (1..=each).map(move |order| row(key, order)));
    let keys = [("id", KeyType::Int64), ("name", KeyType::String)];
    (view("things", "event", "", &features), entity("thing", &keys), rows.collect())
}

const SMALL: Limits = Limits {
    row_group_rows: 4000,
    page_rows: 100,
    batch_rows: 1000,
    batch_bytes: 1 << 20,
    compression: Compression::LZ4_RAW,
};

#[test]
fn a_key_reaches_the_pages_that_hold_it_and_no_others() {
    let (view, entity, rows) = many(1000, 10);
    let bytes = write_within(&view, &entity, rows, SMALL).unwrap();
    let file = HistoryFile::open(bytes.into(), Path::new(PATH), &view, &entity).unwrap();
    let (mut in_reach, mut absent_in_reach) = (0, 0);
    for key in 0..1000 {
        for id in [key * 2, key * 2 + 1] {
            let name = KeyPart::Bytes(format!("k{key}").into_bytes());
            let keys = HashSet::from([vec![KeyPart::Int64(id), name]]);
            let asked = AskedKeys::new(&entity, &keys).unwrap();
            let reach = rows_in_reach(&file, &asked);
            let found = file.rows(None, Some(&keys)).unwrap();
            if id % 2 == 0 {
                in_reach += reach;
                assert_eq!(found.len(), 10);
                assert!(reach <= 200, "{reach} rows for key {key}");
            } else {
                absent_in_reach += reach;
                assert_eq!(found, []);
            }
        }
    }
    assert!(in_reach >= 10 * 1000);
    assert!(absent_in_reach <= 100 * 100, "{absent_in_reach} rows of keys that are not there");
}

#[test]
fn the_history_of_another_view_generation_or_shape_is_refused() {
    let (view, entity, rows) = many(3, 2);
    let bytes = Bytes::from(write_within(&view, &entity, rows, Limits::default()).unwrap());
    let why = |view: &View, entity: &Entity| {
        let opened = HistoryFile::open(bytes.clone(), Path::new(PATH), view, entity);
        opened.map(drop).unwrap_err().to_string()
    };
    let other = View { id: ViewId(9), name: "others".into(), ..view.clone() };
    assert_eq!(
        why(&other, &entity),
        "history/7-1-20.parquet: is the history of view 'things', number '0', generation '1'; \
         expected view 'others', number '9', generation '1'"
    );
    let later = View { generation: 2, ..view.clone() };
    assert!(why(&later, &entity).contains("generation '1'; expected view 'things', number '0', g"));
    let mut renamed = entity.clone();
    renamed.join_keys[1].name = "title".into();
    assert_eq!(
        why(&view, &renamed),
        "history/7-1-20.parquet: expected a column 'title' (key, Utf8), found 'name', Utf8"
    );
    let mut shorter = entity.clone();
    shorter.join_keys.pop();
    assert!(why(&view, &shorter).contains("(event, Timestamp(µs, \"UTC\")), found 'name', Utf8"));
    let mut retyped = view.clone();
    retyped.features[0].value_type = ValueType::Scalar(Scalar::Float32);
    assert_eq!(
        why(&retyped, &entity),
        "history/7-1-20.parquet: column 'score' (slot 10) holds float64, expected float32 of \
         feature score of view things"
    );
    let file = HistoryFile::open(bytes.clone(), Path::new(PATH), &view, &entity).unwrap();
    let longer = vec![KeyPart::Int64(0), KeyPart::Bytes(b"k0".into()), KeyPart::Int64(0)];
    let why = file.rows(None, Some(&HashSet::from([longer]))).unwrap_err().to_string();
    assert_eq!(why, "no key of entity thing");
    let weather = include_bytes!("../../../examples/flights/data/weather.parquet");
    let opened = HistoryFile::open(Bytes::from_static(weather), Path::new(PATH), &view, &entity);
    let why = opened.map(drop).unwrap_err().to_string();
    assert_eq!(why, "history/7-1-20.parquet: is no history file: it says no format");
}

#[test]
fn what_does_not_fit_the_view_is_not_written() {
    let (view, entity, rows) = many(1, 1);
    let why = |change: &dyn Fn(&mut PushedCells)| {
        let mut rows = rows.clone();
        change(&mut rows[0]);
        write_within(&view, &entity, rows, Limits::default()).unwrap_err().to_string()
    };
    let number = CellWrite::Value(Value::Int64(1));
    for (expected, change) in [
        (
            "history of things: a value of score is not float64",
            Box::new(|row: &mut PushedCells| row.cells[0].1 = number.clone())
                as Box<dyn Fn(&mut PushedCells)>,
        ),
        (
            "history of things: the cells of a row do not ascend by slot",
            Box::new(|row| row.cells.reverse()),
        ),
        (
            "history of things: a key has not the parts of entity thing",
            Box::new(|row| drop(row.key.pop())),
        ),
        (
            "history of things: a key is not int64 (id)",
            Box::new(|row| row.key[0] = KeyPart::Bytes(b"1".to_vec())),
        ),
    ] {
        assert_eq!(why(&change), expected);
    }
}

#[test]
fn features_called_as_our_columns_keep_their_names() {
    let features = [("__event", "int64"), ("__cells", "bool"), ("___cells", "bool")];
    let (view, entity) =
        (view("odd", "event", "", &features), entity("e", &[("k", KeyType::Int64)]));
    let row = PushedCells {
        key: vec![KeyPart::Int64(1)],
        stamp: Stamp::new(Timestamp(5), None),
        order: 1,
        cells: vec![
            (3, CellWrite::Null),
            (10, CellWrite::Value(Value::Int64(8))),
            (11, CellWrite::Tombstone),
        ],
    };
    let slots = history_layout::slot_columns(&view, &entity, std::slice::from_ref(&row));
    let schema = history_layout::schema(&entity, &slots);
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(
        names,
        [
            "k",
            "___event",
            "__created",
            "__order",
            "____cells",
            "__slot_3",
            "__event",
            "__cells",
            "___cells"
        ]
    );
    let bytes = write_within(&view, &entity, vec![row.clone()], Limits::default()).unwrap();
    let file = HistoryFile::open(bytes.into(), Path::new(PATH), &view, &entity).unwrap();
    let expected = PushedCells { cells: row.cells[1..].to_vec(), ..row.clone() };
    assert_eq!(file.rows(None, None).unwrap(), [expected]);
    // A feature may come back, and its slot with it.
    let mut with_it = view.clone();
    let again = Feature { slot: 3, name: "again".into(), ..view.features[0].clone() };
    with_it.features.insert(0, again);
    let bytes = write_within(&view, &entity, vec![row.clone()], Limits::default()).unwrap();
    let file = HistoryFile::open(bytes.into(), Path::new(PATH), &with_it, &entity).unwrap();
    assert_eq!(file.rows(None, None).unwrap(), [row]);
}

/// Whatever the bytes, there is an answer or an error with the name of the file.
fn check_total(bytes: Vec<u8>, view: &View, entity: &Entity) -> bool {
    let some = HashSet::from([vec![KeyPart::Int64(40), KeyPart::Bytes(b"k20".to_vec())]]);
    let read = || {
        let file = HistoryFile::open(bytes.into(), Path::new(PATH), view, entity)?;
        file.rows(Some(&[10]), Some(&some))?;
        file.rows(Some(&[11]), None)?;
        file.rows(None, None)
    };
    read().map_err(|error| assert!(error.to_string().contains(PATH), "{error}")).is_ok()
}

#[test]
fn cut_and_flipped_bytes_never_panic() {
    let (view, entity, rows) = many(60, 3);
    let limits = Limits { row_group_rows: 70, page_rows: 20, ..SMALL };
    let bytes = write_within(&view, &entity, rows, limits).unwrap();
    for length in (0..bytes.len()).step_by(7) {
        assert!(!check_total(bytes[..length].to_vec(), &view, &entity), "cut to {length}");
    }
    let mut seed = 5_u64;
    for round in 0..4000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (seed >> 33) as usize % bytes.len();
        let mut bytes = bytes.clone();
        // Once a bit, once any byte.
        bytes[at] = if round % 2 == 0 { bytes[at] ^ (1 << (seed >> 61)) } else { seed as u8 };
        check_total(bytes, &view, &entity);
    }
    assert!(check_total(bytes, &view, &entity));
}

/// A disk with so much room.
struct Full {
    room: usize,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.room);
        self.room -= count;
        if count == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(count) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_told_as_one_wherever_the_file_meets_it() {
    let (view, entity, rows) = many(20, 3);
    let whole = write_within(&view, &entity, rows.clone(), SMALL).unwrap().len();
    for room in (0..whole).step_by(13).chain(whole - 20..whole) {
        let writer = HistoryFileWriter::new(&view, &entity, Full { room });
        let written = writer.and_then(|mut writer| {
            writer.add(rows.clone())?;
            writer.finish()
        });
        match written.err() {
            Some(Error::Io { source, .. }) if source.kind() == io::ErrorKind::StorageFull => {}
            other => panic!("{room} of {whole} bytes: {other:?}"),
        }
    }
}
