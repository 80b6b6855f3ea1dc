//! What a source may look like, and how it is refused where it may not.

use super::fixture::{entity, options, pages_of, request, view, write_file, write_file_as};
use crate::{
    error::Result,
    feature::{Entity, KeyType, Timestamp, Value, View},
    offline::{
        Dataset, JoinOptions, Joined, KnownBy, Progress, Spine, Window, as_of_join, cell,
        check_source, latest,
    },
};
use arrow_array::{
    ArrayRef, Date32Array, DictionaryArray, Float64Array, Int32Array, Int64Array, LargeStringArray,
    RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, types::Int32Type,
};
use std::{fs, path::Path, sync::Arc};

pub(super) type Columns = Vec<(&'static str, ArrayRef)>;

pub(super) fn batch(columns: Columns) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

pub(super) fn texts(texts: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}

pub(super) fn integers(integers: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(integers.to_vec()))
}

pub(super) fn micros(times: &[i64]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(times.to_vec()))
}

pub(super) fn user() -> Entity {
    entity("user", &[("key", KeyType::String)])
}

pub(super) fn number() -> View {
    view("numbers", "event", "", &[("number", "int64")])
}

/// Joins one file to a spine.
fn join(columns: Columns, spine: Columns, view: &View, entity: &Entity) -> Result<Joined> {
    join_with(columns, spine, view, entity, options(2))
}

fn join_with(
    columns: Columns,
    spine: Columns,
    view: &View,
    entity: &Entity,
    options: JoinOptions,
) -> Result<Joined> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.parquet");
    write_file(&path, &[batch(columns)]);
    let dataset = Dataset::open(path.to_str().unwrap()).unwrap();
    let spine = Spine::from_batch(batch(spine), Some("at")).unwrap();
    as_of_join(&spine, &[request(view, entity, Some(&dataset), "")], &options, &|_| ())
}

pub(super) fn numbers(joined: &Joined) -> Vec<Option<i64>> {
    let column = joined.batch.num_columns() - 1;
    let number = |row| match cell(&joined.batch, column, row) {
        Some(Value::Int64(number)) => Some(number),
        _ => None,
    };
    (0..joined.batch.num_rows()).map(number).collect()
}

#[test]
fn times_in_every_unit_are_the_same_instants() {
    let day = 86_400_i64;
    let utc = |array: TimestampMillisecondArray| array.with_timezone("Europe/Paris");
    let sources: [ArrayRef; 6] = [
        Arc::new(TimestampSecondArray::from(vec![day])),
        Arc::new(TimestampMillisecondArray::from(vec![day * 1_000])),
        Arc::new(utc(TimestampMillisecondArray::from(vec![day * 1_000]))),
        Arc::new(TimestampMicrosecondArray::from(vec![day * 1_000_000])),
        Arc::new(TimestampNanosecondArray::from(vec![day * 1_000_000_000])),
        Arc::new(Date32Array::from(vec![1])),
    ];
    for event in &sources {
        let us = day * 1_000_000;
        let columns =
            vec![("key", texts(&["a"])), ("event", Arc::clone(event)), ("number", integers(&[7]))];
        let spine = vec![("key", texts(&["a", "a"])), ("at", micros(&[us - 1, us]))];
        let joined = join(columns, spine, &number(), &user()).unwrap();
        assert_eq!(numbers(&joined), [None, Some(7)], "{}", event.data_type());
        let columns =
            vec![("key", texts(&["a"])), ("event", micros(&[us])), ("number", integers(&[7]))];
        let spine = vec![("key", texts(&["a"])), ("at", Arc::clone(event))];
        let joined = join(columns, spine, &number(), &user()).unwrap();
        assert_eq!(numbers(&joined), [Some(7)], "{}", event.data_type());
    }
}

#[test]
fn nothing_is_seen_a_nanosecond_before_it_happened() {
    let nanos = |ns: &[i64]| Arc::new(TimestampNanosecondArray::from(ns.to_vec())) as ArrayRef;
    let columns =
        vec![("key", texts(&["a"])), ("event", nanos(&[1_001])), ("number", integers(&[7]))];
    let spine = vec![("key", texts(&["a"; 3])), ("at", nanos(&[1_000, 1_999, 2_000]))];
    let joined = join(columns, spine, &number(), &user()).unwrap();
    assert_eq!(numbers(&joined), [None, None, Some(7)]);
}

#[test]
fn a_time_that_does_not_fit_names_file_and_column() {
    let event: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX / 2]));
    let columns = vec![("key", texts(&["a"])), ("event", event), ("number", integers(&[7]))];
    let spine = vec![("key", texts(&["a"])), ("at", micros(&[i64::MAX]))];
    let why = join(columns, spine, &number(), &user()).unwrap_err().to_string();
    assert!(why.contains("file.parquet: column 'event'") && why.contains("beyond"), "{why}");
}

#[test]
fn the_year_9999_of_an_old_writer_stays_in_the_future() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("int96.parquet");
    fs::write(&path, include_bytes!("int96.parquet")).unwrap();
    let dataset = Dataset::open(path.to_str().unwrap()).unwrap();
    let keys = [vec![crate::feature::KeyPart::Bytes(b"a".to_vec())]];
    let (view, user) = (number(), user());
    let requests = [request(&view, &user, Some(&dataset), "")];
    for (at, expected) in [
        ("2013-07-04T11:59:59.999999Z", None),
        ("2013-07-04T12:00:00Z", Some(1)),
        ("2026-01-01", Some(1)),
        ("9999-12-31", Some(2)),
    ] {
        let spine = Spine::from_rows(&user, &keys, Timestamp::parse(at).unwrap()).unwrap();
        let joined = as_of_join(&spine, &requests, &options(1), &|_| ()).unwrap();
        assert_eq!(numbers(&joined), [expected], "{at}");
    }
}

#[test]
fn keys_in_every_form_of_text_meet() {
    let dictionary: DictionaryArray<Int32Type> = vec!["b", "a"].into_iter().collect();
    let forms: [ArrayRef; 4] = [
        texts(&["b", "a"]),
        Arc::new(LargeStringArray::from(vec!["b", "a"])),
        Arc::new(StringViewArray::from(vec!["b", "a"])),
        Arc::new(dictionary),
    ];
    for source in &forms {
        for asked in &forms {
            let columns = vec![
                ("key", Arc::clone(source)),
                ("event", micros(&[0, 0])),
                ("number", integers(&[1, 2])),
            ];
            let spine = vec![("key", Arc::clone(asked)), ("at", micros(&[0, 0]))];
            let joined = join(columns, spine, &number(), &user()).unwrap();
            assert_eq!(numbers(&joined), [Some(1), Some(2)]);
        }
    }
}

#[test]
fn composite_keys_never_collide_whatever_their_text() {
    let route = entity("route", &[("from", KeyType::String), ("to", KeyType::String)]);
    let columns = vec![
        ("to", texts(&["b:c", "c", "", "c"])),
        ("from", texts(&["a", "a:b", "a:b:c", "a,b"])),
        ("event", micros(&[0; 4])),
        ("number", integers(&[1, 2, 3, 4])),
    ];
    let spine = vec![
        ("from", texts(&["a:b", "a", "a:b:c", "a", "a,b"])),
        ("to", texts(&["c", "b:c", "", "c", "c"])),
        ("at", micros(&[0; 5])),
    ];
    let joined = join(columns, spine, &number(), &route).unwrap();
    assert_eq!(numbers(&joined), [Some(2), Some(1), Some(3), None, Some(4)]);
}

#[test]
fn an_integer_key_may_come_as_text_in_the_spine_and_narrow_in_the_source() {
    let user = entity("user", &[("key", KeyType::Int64)]);
    let columns = vec![
        ("key", Arc::new(Int32Array::from(vec![7, -1])) as ArrayRef),
        ("event", micros(&[0, 0])),
        ("number", integers(&[1, 2])),
    ];
    let spine = vec![("key", texts(&["07", "x", "-1", ""])), ("at", micros(&[0; 4]))];
    let joined = join(columns, spine, &number(), &user).unwrap();
    assert_eq!(numbers(&joined), [Some(1), None, Some(2), None]);
}

#[test]
fn a_source_that_does_not_fit_its_view_names_file_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let why = |columns: Columns| {
        let path = folder.path().join("file.parquet");
        write_file(&path, &[batch(columns)]);
        let dataset = Dataset::open(path.to_str().unwrap()).unwrap();
        let why = check_source(&number(), &user(), &dataset).unwrap_err().to_string();
        why.strip_prefix(folder.path().to_str().unwrap()).unwrap().to_owned()
    };
    let (key, event) = (texts(&["a"]), micros(&[0]));
    assert_eq!(
        why(vec![("key", key.clone()), ("event", event.clone()), ("nmber", integers(&[1]))]),
        "/file.parquet: no column 'number' (feature of view numbers, int64); did you mean \
         'nmber'?; the file has key, event, nmber"
    );
    let float: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    assert_eq!(
        why(vec![("key", key.clone()), ("event", event.clone()), ("number", float)]),
        "/file.parquet: column 'number' (feature of view numbers) holds Float64, expected int64"
    );
    assert_eq!(
        why(vec![("key", integers(&[1])), ("event", event), ("number", integers(&[1]))]),
        "/file.parquet: column 'key' (join key of view numbers) holds Int64, expected string"
    );
    assert_eq!(
        why(vec![("key", key), ("event", integers(&[0])), ("number", integers(&[1]))]),
        "/file.parquet: column 'event' (event timestamp of view numbers) holds Int64, expected \
         timestamp"
    );
}

#[test]
fn known_by_arrival_refuses_what_has_no_created_timestamp() {
    let arrival = JoinOptions { known_by: KnownBy::Arrival, ..options(1) };
    let why = |view: &View| {
        let created: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None]));
        let columns = vec![
            ("key", texts(&["a", "b"])),
            ("event", micros(&[0, 0])),
            ("created", created),
            ("number", integers(&[1, 2])),
        ];
        let spine = vec![("key", texts(&["a"])), ("at", micros(&[0]))];
        join_with(columns, spine, view, &user(), arrival).unwrap_err().to_string()
    };
    assert!(why(&number()).contains("view numbers has no created_timestamp"));
    let view = View { created_timestamp: Some("created".into()), ..number() };
    let why = why(&view);
    assert!(why.contains("file.parquet: view numbers has rows without created"), "{why}");
}

#[test]
fn a_folder_a_glob_and_a_path_are_sources_and_nothing_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("b/deep")).unwrap();
    fs::create_dir_all(root.join("_temporary")).unwrap();
    let file = batch(vec![("key", texts(&["a"]))]);
    for name in ["b/deep/1.parquet", "a.parquet", "_temporary/2.parquet", ".3.parquet", "note.txt"]
    {
        write_file(&root.join(name), std::slice::from_ref(&file));
    }
    let found = |source: &Path| -> Result<Vec<String>> {
        let dataset = Dataset::open(source.to_str().unwrap())?;
        let name = |path: &str| path.strip_prefix(root.to_str().unwrap()).unwrap().to_owned();
        Ok(dataset.stamps().iter().map(|stamp| name(&stamp.path)).collect())
    };
    assert_eq!(found(root).unwrap(), ["/a.parquet", "/b/deep/1.parquet"]);
    assert_eq!(found(&root.join("*/*/*.parquet")).unwrap(), ["/b/deep/1.parquet"]);
    assert_eq!(found(&root.join("?")).unwrap(), ["/b/deep/1.parquet"]);
    assert_eq!(found(&root.join("a.parquet")).unwrap(), ["/a.parquet"]);
    let why = found(&root.join("c*.parquet")).unwrap_err().to_string();
    assert!(why.starts_with("no Parquet file matches") && why.contains("c*.parquet"), "{why}");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(root, root.join("b/loop")).unwrap();
        assert_eq!(found(root).unwrap(), ["/a.parquet", "/b/deep/1.parquet"]);
    }
}

#[test]
fn few_winners_in_a_large_row_group_are_read_by_their_pages_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.parquet");
    let rows = 200_000_i64;
    let properties = pages_of(1_000).set_dictionary_enabled(false).build();
    let key: StringArray = (0..rows).map(|row| Some((row % 1000).to_string())).collect();
    let scattered: Int64Array =
        (0..rows).map(|row| row.wrapping_mul(0x1E37_79B9_7F4A_7C15)).map(Some).collect();
    let event: Vec<i64> = (0..rows).collect();
    let file = batch(vec![
        ("key", Arc::new(key) as ArrayRef),
        ("event", micros(&event)),
        ("number", Arc::new(scattered) as ArrayRef),
    ]);
    write_file_as(&path, &[file], properties);
    let dataset = Dataset::open(path.to_str().unwrap()).unwrap();
    let spine = vec![
        ("key", texts(&["3", "999", "0", "3"])),
        ("at", micros(&[50_000, rows, 1_000, 100_003])),
    ];
    let spine = Spine::from_batch(batch(spine), Some("at")).unwrap();
    let (view, user) = (number(), user());
    let requests = [request(&view, &user, Some(&dataset), "")];
    let joined = as_of_join(&spine, &requests, &options(2), &|_| ()).unwrap();
    let value = |row: i64| Some(row.wrapping_mul(0x1E37_79B9_7F4A_7C15));
    assert_eq!(numbers(&joined), [value(49_003), value(199_999), value(1_000), value(100_003)]);
    // Keys and times are read whole, of the numbers a few pages of 8 KB.
    let numbers_bytes = 8 * rows as u64;
    let others = dataset.files()[0].bytes() - numbers_bytes;
    assert!(joined.report.bytes < others + numbers_bytes / 5, "{}", joined.report.bytes);
}

#[test]
fn latest_reads_only_what_lies_in_its_window_and_tells_its_progress() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.parquet");
    let group = |times: &[i64], values: &[i64]| {
        batch(vec![
            ("key", texts(&["a", "b"])),
            ("event", micros(times)),
            ("number", integers(values)),
        ])
    };
    write_file(&path, &[group(&[1, 2], &[1, 2]), group(&[3, 4], &[3, 4]), group(&[9, 9], &[5, 6])]);
    let dataset = Dataset::open(path.to_str().unwrap()).unwrap();
    let window = Window { from: Some(Timestamp(2)), to: Timestamp(3) };
    let seen = std::sync::atomic::AtomicU64::new(0);
    let progress = |at: Progress| {
        assert_eq!(at.rows_total, 6);
        seen.fetch_max(at.rows, std::sync::atomic::Ordering::Relaxed);
    };
    let (view, user) = (number(), user());
    let mut newest = latest(&view, &user, &dataset, window, None, &progress).unwrap();
    let rows = newest.next_batch(10).unwrap().unwrap();
    let more = newest.next_batch(10).unwrap().unwrap();
    assert_eq!(newest.next_batch(10).unwrap(), None);
    let values: Vec<_> = rows.iter().chain(&more).map(|row| row.cells[0].clone()).collect();
    assert_eq!(values, [Some(Value::Int64(2)), Some(Value::Int64(3))]);
    // The third row group lies after the window: its statistics say so.
    assert_eq!((newest.rows_read(), seen.into_inner()), (4, 4));
}
