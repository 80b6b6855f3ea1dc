//! Sources of several files: what the names of folders tell, and columns that some files lack.

use super::{
    fixture::{options, request, write_file},
    sources::{Columns, batch, integers, micros, number, numbers, texts, user},
};
use crate::{
    error::Result,
    feature::Timestamp,
    offline::{Dataset, Spine, Window, as_of_join, check_source, latest},
};
use arrow_array::{ArrayRef, Float64Array};
use std::{fs, sync::Arc};

/// A source of files with the columns given, in a folder of its own.
fn source_of(files: &[(&str, Columns)]) -> (tempfile::TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    for (name, columns) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_file(&path, &[batch(columns.clone())]);
    }
    let dataset = Dataset::open(folder.path().to_str().unwrap()).unwrap();
    (folder, dataset)
}

/// A row of user "a", without what is left out.
fn row_without(left_out: &[&str]) -> Columns {
    let mut columns =
        vec![("key", texts(&["a"])), ("event", micros(&[0])), ("number", integers(&[1]))];
    columns.retain(|(name, _)| !left_out.contains(name));
    columns
}

/// What is wrong with a source, without the name of its folder.
fn wrong(files: &[(&str, Columns)]) -> String {
    let (folder, dataset) = source_of(files);
    let why = check_source(&number(), &user(), &dataset).unwrap_err().to_string();
    why.strip_prefix(folder.path().to_str().unwrap()).unwrap().to_owned()
}

#[test]
fn one_file_without_a_key_or_a_timestamp_is_refused_and_one_without_a_feature_is_not() {
    let whole = || row_without(&[]);
    assert_eq!(
        wrong(&[("1.parquet", whole()), ("2.parquet", row_without(&["key"]))]),
        "/2.parquet: no column 'key' (join key of view numbers, string); the file has event, number"
    );
    assert_eq!(
        wrong(&[("1.parquet", row_without(&["event"])), ("2.parquet", whole())]),
        "/1.parquet: no column 'event' (event timestamp of view numbers, timestamp); the file has \
         key, number"
    );
    let (_folder, dataset) =
        source_of(&[("1.parquet", row_without(&["number"])), ("2.parquet", whole())]);
    check_source(&number(), &user(), &dataset).unwrap();
    let without = || row_without(&["number"]);
    assert_eq!(
        wrong(&[("1.parquet", without()), ("2.parquet", without()), ("3.parquet", without())]),
        "/1.parquet: no column 'number' (feature of view numbers, int64), nor in the 2 other \
         files; the file has key, event"
    );
}

#[test]
fn a_type_that_does_not_widen_is_refused_by_file_and_column_wherever_it_stands() {
    let float: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let drifted = [row_without(&["number"]), vec![("number", float)]].concat();
    assert_eq!(
        wrong(&[("day=1/1.parquet", row_without(&[])), ("day=2/2.parquet", drifted)]),
        "/day=2/2.parquet: column 'number' (feature of view numbers) holds Float64, expected int64"
    );
}

#[test]
fn folders_that_tell_no_value_of_the_type_are_refused_even_if_nobody_asks_for_them() {
    let keyless = || row_without(&["event", "key"]);
    let files = [
        ("key=a/event=2024-01-31/1.parquet", keyless()),
        ("key=b/event=20240131/2.parquet", keyless()),
    ];
    let why = "/key=b/event=20240131/2.parquet: folder 'event=20240131': '20240131' is no \
               timestamp: expected a date such as 2024-01-31, or a time such as 2024-01-31 \
               06:30:00 (event timestamp of view numbers)";
    assert_eq!(wrong(&files), why);
    let (_folder, dataset) = source_of(&files);
    let (view, user) = (number(), user());
    let spine = Spine::from_batch(
        batch(vec![("key", texts(&["a"])), ("at", micros(&[i64::MAX]))]),
        Some("at"),
    );
    let requests = [request(&view, &user, Some(&dataset), "")];
    let refused = as_of_join(&spine.unwrap(), &requests, &options(1), &|_| ()).unwrap_err();
    assert!(refused.to_string().ends_with(why), "{refused}");
    assert_eq!(
        wrong(&[("number=x/1.parquet", row_without(&["number"]))]),
        "/number=x/1.parquet: folder 'number=x': 'x' is no int64 (feature of view numbers)"
    );
    assert_eq!(
        wrong(&[("key=a/x/key=b/1.parquet", keyless())]),
        "/key=a/x/key=b/1.parquet: folders 'key=a' and 'key=b' both tell column 'key': expected \
         one (join key of view numbers)"
    );
}

#[test]
fn folders_count_below_the_root_of_a_folder_and_of_a_glob_and_not_above() {
    let keyless = || row_without(&["key"]);
    let (folder, _) = source_of(&[("key=a/1.parquet", keyless()), ("key=b/2.parquet", keyless())]);
    let keys = |source: &str| -> Result<Vec<Option<i64>>> {
        let source = folder.path().join(source);
        let dataset = Dataset::open(source.to_str().unwrap())?;
        let spine = vec![("key", texts(&["a", "b"])), ("at", micros(&[0; 2]))];
        let spine = Spine::from_batch(batch(spine), Some("at")).unwrap();
        let (view, user) = (number(), user());
        let requests = [request(&view, &user, Some(&dataset), "")];
        Ok(numbers(&as_of_join(&spine, &requests, &options(1), &|_| ())?))
    };
    for source in ["", "*/*.parquet", "**/*.parquet", "*", "key=?/*.parquet"] {
        assert_eq!(keys(source).unwrap(), [Some(1), Some(1)], "{source}");
    }
    assert_eq!(keys("key=[b]/2.parquet").unwrap(), [None, Some(1)]);
    for source in ["key=a", "key=a/1.parquet", "key=a/*.parquet"] {
        let why = keys(source).unwrap_err().to_string();
        let told = "folder 'key=a' does not count, since the source does not begin above it";
        assert!(why.ends_with(told), "{source}: {why}");
    }
}

#[test]
fn what_folders_tell_goes_before_what_the_file_has_whatever_its_type() {
    let float: ArrayRef = Arc::new(Float64Array::from(vec![9.5]));
    let columns = [row_without(&["number"]), vec![("number", float)]].concat();
    let (_folder, dataset) = source_of(&[("number=7/key=b/1.parquet", columns)]);
    let spine = vec![("key", texts(&["a", "b"])), ("at", micros(&[0; 2]))];
    let spine = Spine::from_batch(batch(spine), Some("at")).unwrap();
    let (view, user) = (number(), user());
    let requests = [request(&view, &user, Some(&dataset), "")];
    let joined = as_of_join(&spine, &requests, &options(1), &|_| ()).unwrap();
    assert_eq!(numbers(&joined), [None, Some(7)]);
}

#[test]
fn a_feature_that_only_files_out_of_reach_have_is_null_and_no_error() {
    let event = |us| vec![("event", micros(&[us])), ("number", integers(&[1]))];
    let old = vec![("event", micros(&[0]))];
    let (_folder, dataset) = source_of(&[
        ("key=a/1.parquet", old),
        ("key=b/2.parquet", event(0)),
        ("key=c/3.parquet", event(0)),
    ]);
    let spine = vec![("key", texts(&["a"])), ("at", micros(&[0]))];
    let spine = Spine::from_batch(batch(spine), Some("at")).unwrap();
    let (view, user) = (number(), user());
    let requests = [request(&view, &user, Some(&dataset), "")];
    let joined = as_of_join(&spine, &requests, &options(1), &|_| ()).unwrap();
    assert_eq!((numbers(&joined), joined.report.files_skipped), (vec![None], 2));
    assert_eq!(joined.report.features[0].null_value, 1);
    // The last of the others was looked into, for the name; and no further one.
    let opened: Vec<bool> = dataset.files().iter().map(|file| file.opened().is_some()).collect();
    assert_eq!(opened, [true, false, true]);
}

#[test]
fn a_file_that_nobody_needs_is_not_even_opened_and_one_that_changed_is_refused() {
    let (folder, dataset) = source_of(&[
        ("event=1970-01-01/1.parquet", row_without(&["event"])),
        ("event=1970-01-03/2.parquet", row_without(&["event"])),
    ]);
    let broken = folder.path().join("event=1970-01-03/2.parquet");
    fs::write(&broken, b"no Parquet").unwrap();
    let (view, user) = (number(), user());
    let requests = [request(&view, &user, Some(&dataset), "")];
    let day = 86_400_000_000;
    let join = |at: i64| {
        let spine = vec![("key", texts(&["a"])), ("at", micros(&[at]))];
        let spine = Spine::from_batch(batch(spine), Some("at")).unwrap();
        as_of_join(&spine, &requests, &options(1), &|_| ())
    };
    let joined = join(2 * day - 1).unwrap();
    assert_eq!((numbers(&joined), joined.report.files_skipped), (vec![Some(1)], 1));
    let why = join(2 * day).unwrap_err().to_string();
    assert!(
        why.ends_with(
            "event=1970-01-03/2.parquet: not a Parquet file: it does not begin \
                           with PAR1 and end with a footer and PAR1"
        ),
        "{why}"
    );
    write_file(&broken, &[batch(row_without(&["event"]))]);
    let why = join(2 * day).unwrap_err().to_string();
    assert!(why.ends_with("2.parquet: the file was changed while it was read"), "{why}");
    let dataset = Dataset::open(folder.path().to_str().unwrap()).unwrap();
    let window = Window { from: Some(Timestamp(1)), to: Timestamp(3 * day) };
    let newest = latest(&view, &user, &dataset, window, None, &|_| ()).unwrap();
    assert_eq!((newest.rows_read(), newest.rows_total()), (1, 1));
    assert!(dataset.files()[0].opened().is_none());
}
