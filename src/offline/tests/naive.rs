//! Against the plainest join there is, over domains so small that every tie and edge occurs.

use super::{
    fixture::{join_with_pushed, options, request, view, write_file_as},
    naive_source::{Case, Shape, Source, VALUES, case, shape},
};
use crate::{
    feature::{CellWrite, KeyPart, Stamp, Status, Timestamp, Value, View, visible_at},
    offline::{
        Dataset, JoinReport, Joined, PartedJoin, PushedCells, Spine, SpineSource, Split,
        ViewRequest, Window, as_of_join, cell, latest,
    },
};
use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use proptest::prelude::*;
use std::num::NonZero;

/// So many features has each view.
const FEATURES: usize = 3;

struct Opened {
    view: View,
    dataset: Dataset,
    pushed: Vec<PushedCells>,
    _folder: tempfile::TempDir,
}

fn open(shape: &Shape, source: &Source, index: usize) -> Opened {
    let folder = tempfile::tempdir().unwrap();
    for (number, file) in source.files.iter().enumerate() {
        let batches: Vec<RecordBatch> = file.iter().map(|rows| source.batch(shape, rows)).collect();
        let path = folder.path().join(format!("{number}.parquet"));
        write_file_as(&path, &batches, source.properties());
    }
    let features = [("number", "int64"), ("text", "string"), ("list", "float32[3]")];
    let mut view = view(&format!("view{index}"), "event", "", &features);
    view.ttl = source.ttl;
    view.created_timestamp = source.with_created.then(|| "created".into());
    let pushed = source.writes.iter().map(|write| PushedCells {
        key: shape.parts(write.key.map(Some)).unwrap(),
        stamp: write.stamp,
        order: write.order,
        cells: (10..)
            .zip(&write.cells)
            .filter_map(|(slot, cell)| Some((slot, cell.clone()?)))
            .collect(),
    });
    let dataset = Dataset::open(folder.path().to_str().unwrap()).unwrap();
    Opened { view, dataset, pushed: pushed.collect(), _folder: folder }
}

fn open_both(case: &Case) -> [Opened; 2] {
    [0, 1].map(|index| open(&case.shape, &case.sources[index], index))
}

/// What one feature shows, whether that is a delete, and its event, found by looking at every cell
/// there is.
fn naive(
    shape: &Shape,
    source: &Source,
    feature: usize,
    key: &[KeyPart],
    at: Timestamp,
) -> (Option<Value>, Status, bool, i64) {
    let mut best: Option<((Stamp, bool, u64, usize), CellWrite)> = None;
    let mut offer = |place: (Stamp, bool, u64, usize), write: CellWrite| {
        let stamp = place.0;
        let known = !shape.by_arrival || stamp.created.is_some_and(|created| created <= at);
        if stamp.event <= at && known && best.as_ref().is_none_or(|(other, _)| place > *other) {
            best = Some((place, write));
        }
    };
    for (order, row) in source.rows().enumerate() {
        let own = shape.parts(row.key).is_some_and(|own| own == key);
        let Some(stamp) = source.stamp(row).filter(|_| own) else { continue };
        let value = row.values()[feature].take();
        offer((stamp, false, 0, order), value.map_or(CellWrite::Null, CellWrite::Value));
    }
    for (order, write) in source.writes.iter().enumerate() {
        let own = shape.parts(write.key.map(Some)).is_some_and(|own| own == key);
        let Some(cell) = write.cells[feature].clone().filter(|_| own) else { continue };
        offer((write.stamp, true, write.order, order), cell);
    }
    let Some(((stamp, ..), write)) = best else { return (None, Status::NotFound, false, 0) };
    let (value, status) = match write {
        CellWrite::Tombstone => return (None, Status::NotFound, true, 0),
        _ if !visible_at(stamp.event, at, source.ttl) => (None, Status::OutsideMaxAge),
        CellWrite::Null => (None, Status::NullValue),
        CellWrite::Value(value) => (Some(value), Status::Present),
    };
    (value, status, false, stamp.event.us())
}

fn join(case: &Case, opened: &[Opened; 2], threads: usize) -> Joined {
    join_spine(case, opened, &case.spine(), threads)
}

fn join_spine(case: &Case, opened: &[Opened; 2], spine: &Spine, threads: usize) -> Joined {
    let (customer, map) = (case.shape.entity(), case.map());
    let requests: Vec<_> = opened
        .iter()
        .zip(["a_", "b_"])
        .map(|(o, prefix)| {
            let request = request(&o.view, &customer, Some(&o.dataset), prefix);
            ViewRequest { map: &map, ..request }
        })
        .collect();
    let pushed = opened.each_ref().map(|opened| opened.pushed.as_slice());
    join_with_pushed(spine, &requests, &pushed, &case.options(threads))
}

/// The same in parts.
fn join_in_parts(
    case: &Case,
    opened: &[Opened; 2],
    split: Split,
) -> (Vec<RecordBatch>, JoinReport) {
    let (customer, folder) = (case.shape.entity(), tempfile::tempdir().unwrap());
    let spine = case.spine();
    let parted = PartedJoin {
        spine: SpineSource::Memory(&spine),
        event_timestamp: None,
        entities: vec![&customer],
        map: &case.map(),
        split,
        folder: folder.path(),
    };
    let mut batches = Vec::new();
    let join = |spine: &Spine| Ok(join_spine(case, opened, spine, 2));
    let report = parted.run(&join, &|_| (), &mut |batch| {
        batches.push(batch.clone());
        Ok(())
    });
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    (batches, report.unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_join_in_parts_is_the_join_in_one_whatever_the_parts_and_the_memory(
        case in case(), parts in 1_usize..9, rows_at_once in 1_usize..14,
        column_bytes in prop_oneof![0_usize..2000, Just(usize::MAX)],
    ) {
        let opened = open_both(&case);
        let one = join(&case, &opened, 1);
        let split = Split { parts, rows_at_once, column_bytes };
        let (batches, report) = join_in_parts(&case, &opened, split);
        let whole = concat_batches(&one.batch.schema(), &batches).unwrap();
        prop_assert_eq!(&whole, &one.batch);
        prop_assert_eq!(report.rows, one.report.rows);
        prop_assert_eq!(&report.features, &one.report.features);
        prop_assert!(report.pieces >= (case.spine.len() as u64).div_ceil(rows_at_once as u64));
    }

    #[test]
    fn the_join_is_the_naive_join_whatever_the_threads(case in case()) {
        let opened = open_both(&case);
        let one = join(&case, &opened, 1);
        for threads in [2, 5] {
            let several = join(&case, &opened, threads);
            prop_assert_eq!(&one.batch, &several.batch);
            prop_assert_eq!(&one.statuses, &several.statuses);
        }
        prop_assert_eq!(one.batch.num_rows(), case.spine.len());
        let statuses = one.statuses.as_ref().unwrap();
        let mut deleted = [0; 2 * FEATURES];
        let mut ages: [Vec<u64>; 2 * FEATURES] = Default::default();
        let first = one.batch.num_columns() - ages.len();
        let mut without_key = 0;
        for (row, (key, time)) in case.spine.iter().enumerate() {
            prop_assert_eq!(cell(&one.batch, 0, row), Some(Value::Int64(row as i64)));
            let asked = case.shape.parts(*key).zip(time.map(|time| case.at(time)));
            without_key += u64::from(asked.is_none());
            for (column, statuses) in statuses.iter().enumerate() {
                let source = &case.sources[column / FEATURES];
                let naive = |(key, at): &(Vec<KeyPart>, Timestamp)| {
                    naive(&case.shape, source, column % FEATURES, key, *at)
                };
                let nothing = (None, Status::NotFound, false, 0);
                let (value, status, is_deleted, event) = asked.as_ref().map_or(nothing, naive);
                let found = (cell(&one.batch, first + column, row), statuses[row]);
                prop_assert_eq!(found, (value, status), "row {} column {}", row, column);
                deleted[column] += u64::from(is_deleted);
                let age = asked.as_ref().map(|(_, at)| at.us() - event);
                let age = age.filter(|_| status == Status::Present);
                ages[column].extend(age.map(i64::unsigned_abs));
            }
        }
        for (column, counts) in one.report.features.iter().enumerate() {
            prop_assert_eq!((counts.deleted, counts.without_key), (deleted[column], without_key));
            let (ages, told) = (&mut ages[column], counts.ages.as_ref().unwrap());
            ages.sort_unstable();
            let middle = ages.len().div_ceil(2).checked_sub(1).map(|middle| ages[middle]);
            let about = told.quantile_us(0.5).zip(middle).is_none_or(|(told, age)| {
                (age..=age + age / 1_000).contains(&told)
            });
            prop_assert_eq!(told.count(), ages.len() as u64);
            prop_assert!(about, "{:?} for {:?}", told.quantile_us(0.5), middle);
            prop_assert_eq!(told.least_us(), ages.first().copied());
            prop_assert_eq!(told.greatest_us(), ages.last().copied());
        }
        for (counts, statuses) in one.report.features.iter().zip(statuses) {
            let count = |status| statuses.iter().filter(|s| **s == status).count() as u64;
            prop_assert_eq!(counts.present, count(Status::Present));
            prop_assert_eq!(counts.null_value, count(Status::NullValue));
            prop_assert_eq!(counts.outside_max_age, count(Status::OutsideMaxAge));
            prop_assert_eq!(counts.not_found, count(Status::NotFound));
        }
    }

    #[test]
    fn the_latest_row_is_what_a_join_at_that_time_shows(
        (shape, source, to) in shape().prop_flat_map(|shape| {
            let shape = Shape { by_arrival: false, ..shape };
            (Just(shape.clone()), shape.source(), shape.time(1_000, -1..7))
        }),
        threads in 1_usize..3, batch in 1_usize..4,
    ) {
        let mut source = source;
        source.ttl = None;
        let opened = open(&shape, &source, 0);
        let customer = shape.entity();
        let window = Window { from: None, to: Timestamp(to) };
        let mut newest = latest(
            &opened.view, &customer, &opened.dataset, window, NonZero::new(threads), &|_| (),
        ).unwrap();
        let entities = newest.entities();
        let mut rows = Vec::new();
        while let Some(some) = newest.next_batch(batch).unwrap() {
            prop_assert!((1..=batch).contains(&some.len()));
            rows.extend(some);
        }
        prop_assert_eq!(rows.len(), entities);
        let values = (0..VALUES).flat_map(|a| (0..VALUES).map(move |b| [Some(a), Some(b)]));
        let mut keys: Vec<_> = values.filter_map(|key| shape.parts(key)).collect();
        keys.sort_unstable();
        keys.dedup();
        let spine = Spine::from_rows(&customer, &keys, Timestamp(to)).unwrap();
        let requests = [request(&opened.view, &customer, Some(&opened.dataset), "")];
        let joined = as_of_join(&spine, &requests, &options(threads), &|_| ()).unwrap();
        let events = joined.event_timestamps.unwrap();
        let first = joined.batch.num_columns() - FEATURES;
        for (row, key) in keys.iter().enumerate() {
            let found = rows.iter().find(|found| found.key == *key);
            prop_assert_eq!(found.map(|found| found.stamp.event), events[0][row]);
            if let Some(found) = found {
                let shown = [0, 1, 2].map(|feature| cell(&joined.batch, first + feature, row));
                prop_assert_eq!(&found.cells[..], &shown[..]);
                let is_there = source.rows().any(|row| {
                    shape.parts(row.key).as_ref() == Some(key)
                        && source.stamp(row) == Some(found.stamp)
                        && row.values()[..] == found.cells[..]
                });
                prop_assert!(is_there, "{:?} is no row of the source", found);
            }
        }
    }
}
