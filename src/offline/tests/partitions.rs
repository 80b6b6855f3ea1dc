//! Values that folders tell, and files of one source that differ: against the plainest join there
//! is, over files of which each has its own folders, columns and types.

use super::{
    drifting_source::{Case, DAY_US, File, Row, USERS, ZONES, case, folder_of, whole},
    fixture::{entity, options, request, view, write_file},
};
use crate::{
    feature::{Entity, KeyPart, KeyType, Stamp, Status, Timestamp, Value, View, visible_at},
    offline::{Dataset, JoinOptions, KnownBy, Spine, Window, as_of_join, cell, history, latest},
};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use proptest::{prelude::*, sample::select};
use std::{collections::HashMap, fs, num::NonZero, path::PathBuf, sync::Arc};

struct Opened {
    view: View,
    dataset: Dataset,
    /// In the order of their paths.
    files: Vec<File>,
    _folder: tempfile::TempDir,
}

fn open(case: &Case) -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let mut placed: Vec<(PathBuf, File)> = Vec::new();
    for (number, file) in case.files.iter().cloned().chain([whole()]).enumerate() {
        let mut path: PathBuf =
            file.folders.iter().map(|name| folder_of(name, &file.told)).collect();
        path.push(format!("{number}.parquet"));
        let path = folder.path().join("root=no").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_file(&path, &[file.batch()]);
        placed.push((path, file));
    }
    placed.sort_by(|(a, _), (b, _)| a.cmp(b));
    let features = [("number", "int64"), ("ratio", "float64"), ("label", "string")];
    let mut view = view("trips", "event", "", &features);
    view.created_timestamp = case.with_created.then(|| "created".into());
    let dataset = Dataset::open(folder.path().join("root=no").to_str().unwrap()).unwrap();
    let files = placed.into_iter().map(|(_, file)| file).collect();
    Opened { view, dataset, files, _folder: folder }
}

fn trip() -> Entity {
    entity("trip", &[("user", KeyType::String), ("zone", KeyType::Int64)])
}

/// The row that a reader at `at` sees, by looking at every row there is.
fn naive<'a>(
    rows: &'a [Row],
    case: &Case,
    key: (Option<&str>, Option<i64>),
    at: Option<i64>,
    from: Option<i64>,
) -> Option<&'a Row> {
    let (user, zone, at) = (key.0?, key.1?, Timestamp(at? * DAY_US));
    let rows = rows.iter().enumerate().filter_map(|(order, row)| {
        let created = row.created.filter(|_| case.with_created).map(|day| Timestamp(day * DAY_US));
        let event = Timestamp(row.event? * DAY_US);
        let is_known = !case.by_arrival || created? <= at;
        let is_own = row.user? == user && row.zone? == zone;
        let is_new = from.is_none_or(|from| event.us() >= from * DAY_US);
        (is_own && is_known && is_new && visible_at(event, at, None))
            .then(|| ((Stamp::new(event, created), order), row))
    });
    rows.max_by_key(|(rank, _)| *rank).map(|(_, row)| row)
}

fn values(row: &Row) -> [Option<Value>; 3] {
    [
        row.number.map(Value::Int64),
        row.ratio.map(|ratio| Value::Float64(ratio as f64 / 4.0)),
        row.label.map(|label| Value::String(label.into())),
    ]
}

fn spine_of(case: &Case) -> Spine {
    let users: StringArray = case.spine.iter().map(|(user, ..)| *user).collect();
    let zones: Int64Array = case.spine.iter().map(|(_, zone, _)| *zone).collect();
    let times: TimestampMicrosecondArray =
        case.spine.iter().map(|(.., at)| at.map(|at| at * DAY_US)).collect();
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("user", Arc::new(users) as ArrayRef, true),
        ("zone", Arc::new(zones) as ArrayRef, true),
        ("at", Arc::new(times) as ArrayRef, true),
    ]);
    Spine::from_batch(batch.unwrap(), Some("at")).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_join_over_folders_and_drift_is_the_naive_join(case in case(), threads in 1_usize..3) {
        let opened = open(&case);
        let rows: Vec<Row> =
            opened.files.iter().flat_map(|f| f.rows.iter().map(|row| f.seen(row))).collect();
        let trip = trip();
        let requests = [request(&opened.view, &trip, Some(&opened.dataset), "")];
        let known_by = if case.by_arrival { KnownBy::Arrival } else { KnownBy::Event };
        let options = JoinOptions { known_by, ..options(threads) };
        let joined = as_of_join(&spine_of(&case), &requests, &options, &|_| ()).unwrap();
        let statuses = joined.statuses.as_ref().unwrap();
        for (row, (user, zone, at)) in case.spine.iter().enumerate() {
            let found = naive(&rows, &case, (*user, *zone), *at, None);
            let expected = found.map_or([None, None, None], values);
            for (column, expected) in expected.into_iter().enumerate() {
                let status = match (&found, &expected) {
                    (None, _) => Status::NotFound,
                    (Some(_), None) => Status::NullValue,
                    (Some(_), Some(_)) => Status::Present,
                };
                let shown = (cell(&joined.batch, 3 + column, row), statuses[column][row]);
                prop_assert_eq!(shown, (expected, status), "row {} column {}", row, column);
            }
        }
        let times = case.spine.iter().filter_map(|(user, zone, at)| user.and(*zone).and(*at));
        let last = times.max();
        let skipped = |last| opened.files.iter().filter(|f| f.is_out_of_reach(&case, last)).count();
        prop_assert_eq!(joined.report.files_skipped, last.map_or(0, skipped) as u64);
        let opened_files = opened.dataset.files().iter().filter(|f| f.opened().is_some()).count();
        prop_assert_eq!(joined.report.files, opened.files.len() as u64);
        if last.is_some() {
            prop_assert_eq!(opened_files as u64, joined.report.files - joined.report.files_skipped);
        }
    }

    #[test]
    fn the_history_of_an_entity_over_folders_and_drift_is_all_that_was_said_of_it(
        case in case(), user in select(&USERS[..]), zone in select(&ZONES[..]),
        from in prop::option::of(0_i64..6), to in -1_i64..6, rows_max in 1_usize..6,
    ) {
        let opened = open(&case);
        let rows: Vec<Row> =
            opened.files.iter().flat_map(|f| f.rows.iter().map(|row| f.seen(row))).collect();
        let day = |day| Timestamp(day * DAY_US);
        let window = Window { from: from.map(day), to: day(to) };
        let key = [KeyPart::Bytes(user.into()), KeyPart::Int64(zone)];
        let found =
            history(&opened.view, &trip(), &opened.dataset, &[0, 1, 2], &key, window, rows_max);
        let found: Vec<_> = found.unwrap().into_iter().map(|row| (row.stamp, row.cells)).collect();
        let own = rows.iter().filter(|row| row.user == Some(user) && row.zone == Some(zone));
        let own = own.filter_map(|row| {
            let created = row.created.filter(|_| case.with_created).map(day);
            let event = Some(day(row.event?)).filter(|event| window.holds(*event))?;
            Some((Stamp::new(event, created), values(row).to_vec()))
        });
        let mut expected: Vec<_> = own.collect();
        expected.sort_by_key(|(stamp, _)| *stamp);
        expected.truncate(rows_max);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn the_newest_rows_over_folders_and_drift_are_those_of_the_naive_join(
        case in case(), from in prop::option::of(0_i64..6), to in -1_i64..6, threads in 1_usize..3,
    ) {
        let case = Case { by_arrival: false, ..case };
        let opened = open(&case);
        let rows: Vec<Row> =
            opened.files.iter().flat_map(|f| f.rows.iter().map(|row| f.seen(row))).collect();
        let window = Window {
            from: from.map(|from| Timestamp(from * DAY_US)),
            to: Timestamp(to * DAY_US),
        };
        let trip = trip();
        let mut newest = latest(
            &opened.view, &trip, &opened.dataset, window, NonZero::new(threads), &|_| (),
        ).unwrap();
        let mut found = HashMap::new();
        while let Some(some) = newest.next_batch(2).unwrap() {
            found.extend(some.into_iter().map(|row| (row.key, row.cells)));
        }
        for user in USERS {
            for zone in ZONES {
                let expected = naive(&rows, &case, (Some(user), Some(zone)), Some(to), from);
                let key = vec![KeyPart::Bytes(user.into()), KeyPart::Int64(zone)];
                prop_assert_eq!(found.remove(&key), expected.map(|row| values(row).to_vec()));
            }
        }
        prop_assert!(found.is_empty());
        // By this a second run of materialization knows whether it may find more.
        let usable = |row: &&Row| row.user.is_some() && row.zone.is_some();
        let ahead = rows.iter().filter(usable).any(|row| row.event.is_some_and(|event| event > to));
        prop_assert!(from.is_some() || !ahead || newest.rows_ahead() > 0);
    }
}
