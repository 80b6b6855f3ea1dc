//! Against the plainest join there is, over domains so small that every tie and edge occurs.

use super::fixture::{entity, join_with_pushed, options, pages_of, request, view, write_file_as};
use crate::{
    feature::{
        CellWrite, Entity, KeyPart, KeyType, Stamp, Status, Timestamp, Ttl, Value, View, visible_at,
    },
    offline::{
        Dataset, JoinOptions, JoinReport, Joined, KnownBy, PartedJoin, PushedCells, Spine,
        SpineSource, Split, Window, as_of_join, cell, latest,
    },
};
use arrow_array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_select::concat::concat_batches;
use proptest::prelude::*;
use std::{num::NonZero, sync::Arc};

#[derive(Clone, Debug)]
struct Row {
    key: Option<&'static str>,
    event: Option<i64>,
    created: Option<i64>,
    number: Option<i64>,
    text: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct Write {
    key: &'static str,
    event: i64,
    created: Option<i64>,
    order: u64,
    number: Option<CellWrite>,
    text: Option<CellWrite>,
}

#[derive(Clone, Debug)]
struct Source {
    /// Files of row groups of rows.
    files: Vec<Vec<Vec<Row>>>,
    writes: Vec<Write>,
    ttl: Option<i64>,
    with_created: bool,
    page_rows: usize,
    with_dictionary: bool,
}

#[derive(Clone, Debug)]
struct Case {
    sources: [Source; 2],
    spine: Vec<(Option<&'static str>, Option<i64>)>,
    by_arrival: bool,
}

const KEYS: [&str; 4] = ["a", "b", "", "unknown"];

fn created(always: bool) -> impl Strategy<Value = Option<i64>> {
    let created = prop::option::weighted(0.7, 0_i64..6);
    created.prop_map(move |created| if always { created.or(Some(0)) } else { created })
}

fn row(created_always: bool) -> impl Strategy<Value = Row> {
    (
        prop::option::weighted(0.95, prop::sample::select(&KEYS[..3])),
        prop::option::weighted(0.95, 0_i64..6),
        created(created_always),
        prop::option::weighted(0.8, 0_i64..1000),
        prop::option::weighted(0.8, prop::sample::select(vec!["x", "yy", ""])),
    )
        .prop_map(|(key, event, created, number, text)| Row {
            key,
            event,
            created,
            number,
            text,
        })
}

fn write(created_always: bool) -> impl Strategy<Value = Write> {
    let number = prop_oneof![
        (1000_i64..2000).prop_map(|n| Some(CellWrite::Value(Value::Int64(n)))),
        Just(Some(CellWrite::Null)),
        Just(Some(CellWrite::Tombstone)),
        Just(None),
    ];
    let text = prop_oneof![
        Just(Some(CellWrite::Value(Value::String("pushed".into())))),
        Just(Some(CellWrite::Tombstone)),
        Just(None),
    ];
    let created = created(created_always);
    (prop::sample::select(KEYS.to_vec()), 0_i64..6, created, 0_u64..3, number, text).prop_map(
        |(key, event, created, order, number, text)| Write {
            key,
            event,
            created,
            order,
            number,
            text,
        },
    )
}

fn source(by_arrival: bool) -> impl Strategy<Value = Source> {
    let row_group = prop::collection::vec(row(by_arrival), 1..4);
    let file = prop::collection::vec(row_group, 1..4);
    // One row group of many pages, of a few entities each: the others are skipped.
    let sorted = prop::collection::vec(row(by_arrival), 1..12).prop_map(|mut rows| {
        rows.sort_by_key(|row| (row.key, row.event));
        vec![rows]
    });
    (
        prop::collection::vec(prop_oneof![file, sorted], 1..4),
        // Without any push a join reads created timestamps for ties only.
        prop_oneof![Just(Vec::new()), prop::collection::vec(write(by_arrival), 0..6)],
        prop::option::of(1_i64..4),
        any::<bool>().prop_map(move |with_created| with_created || by_arrival),
        (1_usize..4, any::<bool>()),
    )
        .prop_map(|(files, writes, ttl, with_created, (page_rows, with_dictionary))| Source {
            files,
            writes,
            ttl,
            with_created,
            page_rows,
            with_dictionary,
        })
}

fn case() -> impl Strategy<Value = Case> {
    any::<bool>().prop_flat_map(|by_arrival| {
        let key = prop::option::weighted(0.95, prop::sample::select(KEYS.to_vec()));
        let spine = prop::collection::vec((key, prop::option::weighted(0.95, -1_i64..8)), 0..12);
        (source(by_arrival), source(by_arrival), spine).prop_map(move |(a, b, spine)| Case {
            sources: [a, b],
            spine,
            by_arrival,
        })
    })
}

fn batch_of(rows: &[Row]) -> RecordBatch {
    let times = |of: fn(&Row) -> Option<i64>| {
        Arc::new(rows.iter().map(of).collect::<TimestampMicrosecondArray>())
    };
    RecordBatch::try_from_iter_with_nullable([
        ("key", Arc::new(rows.iter().map(|r| r.key).collect::<StringArray>()) as _, true),
        ("event", times(|r| r.event) as _, true),
        ("created", times(|r| r.created) as _, true),
        ("number", Arc::new(rows.iter().map(|r| r.number).collect::<Int64Array>()) as _, true),
        ("text", Arc::new(rows.iter().map(|r| r.text).collect::<StringArray>()) as _, true),
    ])
    .unwrap()
}

struct Opened {
    view: View,
    dataset: Dataset,
    pushed: Vec<PushedCells>,
    _folder: tempfile::TempDir,
}

fn open(source: &Source, index: usize) -> Opened {
    let folder = tempfile::tempdir().unwrap();
    for (number, file) in source.files.iter().enumerate() {
        let batches: Vec<RecordBatch> = file.iter().map(|rows| batch_of(rows)).collect();
        let properties = pages_of(source.page_rows);
        let properties = properties.set_dictionary_enabled(source.with_dictionary).build();
        write_file_as(&folder.path().join(format!("{number}.parquet")), &batches, properties);
    }
    let mut view =
        view(&format!("view{index}"), "event", "", &[("number", "int64"), ("text", "string")]);
    view.ttl = source.ttl.and_then(Ttl::from_us);
    view.created_timestamp = source.with_created.then(|| "created".into());
    let pushed = source.writes.iter().map(|write| PushedCells {
        key: vec![KeyPart::Bytes(write.key.into())],
        stamp: Stamp::new(Timestamp(write.event), write.created.map(Timestamp)),
        order: write.order,
        cells: [(10, &write.number), (11, &write.text)]
            .into_iter()
            .filter_map(|(slot, cell)| Some((slot, cell.clone()?)))
            .collect(),
    });
    let dataset = Dataset::open(folder.path().to_str().unwrap()).unwrap();
    Opened { view, dataset, pushed: pushed.collect(), _folder: folder }
}

fn customer() -> Entity {
    entity("customer", &[("key", KeyType::String)])
}

fn spine_of(rows: &[(Option<&'static str>, Option<i64>)]) -> Spine {
    let times: TimestampMicrosecondArray = rows.iter().map(|(_, time)| *time).collect();
    let keys: StringArray = rows.iter().map(|(key, _)| *key).collect();
    let ids: Int64Array = (0..rows.len() as i64).map(Some).collect();
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(ids) as _, true),
        ("key", Arc::new(keys) as _, true),
        ("asked_at", Arc::new(times) as _, true),
    ]);
    Spine::from_batch(batch.unwrap(), None).unwrap()
}

/// What one feature shows, whether that is a delete, and its event, found by looking at every cell
/// there is.
fn naive(
    source: &Source,
    feature: usize,
    key: Option<&str>,
    at: Option<i64>,
    by_arrival: bool,
) -> (Option<Value>, Status, bool, i64) {
    let (Some(key), Some(at)) = (key, at) else { return (None, Status::NotFound, false, 0) };
    let at = Timestamp(at);
    let mut best: Option<((Stamp, bool, u64, usize), CellWrite)> = None;
    let mut offer = |place: (Stamp, bool, u64, usize), write: CellWrite| {
        let stamp = place.0;
        let known = !by_arrival || stamp.created.is_some_and(|created| created <= at);
        if stamp.event <= at && known && best.as_ref().is_none_or(|(other, _)| place > *other) {
            best = Some((place, write));
        }
    };
    for (order, row) in source.files.iter().flatten().flatten().enumerate() {
        let (Some(event), true) = (row.event, row.key == Some(key)) else { continue };
        let created = row.created.filter(|_| source.with_created).map(Timestamp);
        let value = match feature {
            0 => row.number.map(Value::Int64),
            _ => row.text.map(|text| Value::String(text.into())),
        };
        let write = value.map_or(CellWrite::Null, CellWrite::Value);
        offer((Stamp::new(Timestamp(event), created), false, 0, order), write);
    }
    for (order, write) in source.writes.iter().enumerate() {
        let cell = if feature == 0 { &write.number } else { &write.text };
        let (Some(cell), true) = (cell, write.key == key) else { continue };
        let stamp = Stamp::new(Timestamp(write.event), write.created.map(Timestamp));
        offer((stamp, true, write.order, order), cell.clone());
    }
    let ttl = source.ttl.and_then(Ttl::from_us);
    let Some(((stamp, ..), write)) = best else { return (None, Status::NotFound, false, 0) };
    let (value, status) = match write {
        CellWrite::Tombstone => return (None, Status::NotFound, true, 0),
        _ if !visible_at(stamp.event, at, ttl) => (None, Status::OutsideMaxAge),
        CellWrite::Null => (None, Status::NullValue),
        CellWrite::Value(value) => (Some(value), Status::Present),
    };
    (value, status, false, stamp.event.us())
}

fn join(case: &Case, opened: &[Opened; 2], threads: usize) -> Joined {
    join_spine(case, opened, &spine_of(&case.spine), threads)
}

fn join_spine(case: &Case, opened: &[Opened; 2], spine: &Spine, threads: usize) -> Joined {
    let customer = customer();
    let requests: Vec<_> = opened
        .iter()
        .zip(["a_", "b_"])
        .map(|(o, prefix)| request(&o.view, &customer, Some(&o.dataset), prefix))
        .collect();
    let known_by = if case.by_arrival { KnownBy::Arrival } else { KnownBy::Event };
    let options = JoinOptions { known_by, with_ages: true, ..options(threads) };
    let pushed = opened.each_ref().map(|opened| opened.pushed.as_slice());
    join_with_pushed(spine, &requests, &pushed, &options)
}

/// The same in parts.
fn join_in_parts(
    case: &Case,
    opened: &[Opened; 2],
    split: Split,
) -> (Vec<RecordBatch>, JoinReport) {
    let (customer, folder) = (customer(), tempfile::tempdir().unwrap());
    let spine = spine_of(&case.spine);
    let parted = PartedJoin {
        spine: SpineSource::Memory(&spine),
        event_timestamp: None,
        entities: vec![&customer],
        map: &[],
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
        let opened = [open(&case.sources[0], 0), open(&case.sources[1], 1)];
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
        let opened = [open(&case.sources[0], 0), open(&case.sources[1], 1)];
        let one = join(&case, &opened, 1);
        for threads in [2, 5] {
            let several = join(&case, &opened, threads);
            prop_assert_eq!(&one.batch, &several.batch);
            prop_assert_eq!(&one.statuses, &several.statuses);
        }
        prop_assert_eq!(one.batch.num_rows(), case.spine.len());
        let statuses = one.statuses.as_ref().unwrap();
        let mut deleted = [0; 4];
        let mut ages: [Vec<u64>; 4] = Default::default();
        for (row, (key, at)) in case.spine.iter().enumerate() {
            prop_assert_eq!(cell(&one.batch, 0, row), Some(Value::Int64(row as i64)));
            for (column, statuses) in statuses.iter().enumerate() {
                let source = &case.sources[column / 2];
                let (value, status, is_deleted, event) =
                    naive(source, column % 2, *key, *at, case.by_arrival);
                let found = (cell(&one.batch, 3 + column, row), statuses[row]);
                prop_assert_eq!(found, (value, status), "row {} column {}", row, column);
                deleted[column] += u64::from(is_deleted);
                ages[column].extend((status == Status::Present).then(|| at.unwrap() - event)
                    .map(i64::unsigned_abs));
            }
        }
        let without_key = case.spine.iter().filter(|(key, at)| key.is_none() || at.is_none());
        let without_key = without_key.count() as u64;
        for (column, counts) in one.report.features.iter().enumerate() {
            prop_assert_eq!((counts.deleted, counts.without_key), (deleted[column], without_key));
            let (ages, told) = (&mut ages[column], counts.ages.as_ref().unwrap());
            ages.sort_unstable();
            let middle = ages.len().div_ceil(2).checked_sub(1).map(|middle| ages[middle]);
            prop_assert_eq!(told.count(), ages.len() as u64);
            prop_assert_eq!(told.quantile_us(0.5), middle);
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
        source in source(false), to in -1_i64..7, threads in 1_usize..3, batch in 1_usize..4
    ) {
        let source = Source { ttl: None, writes: Vec::new(), ..source };
        let opened = open(&source, 0);
        let customer = customer();
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
        let keys = KEYS.map(|key| vec![KeyPart::Bytes(key.into())]);
        let spine = Spine::from_rows(&customer, &keys, Timestamp(to)).unwrap();
        let requests = [request(&opened.view, &customer, Some(&opened.dataset), "")];
        let joined = as_of_join(&spine, &requests, &options(threads), &|_| ()).unwrap();
        let events = joined.event_timestamps.unwrap();
        for (row, key) in keys.iter().enumerate() {
            let found = rows.iter().find(|found| found.key == *key);
            prop_assert_eq!(found.map(|found| found.stamp.event), events[0][row]);
            if let Some(found) = found {
                let shown = [cell(&joined.batch, 2, row), cell(&joined.batch, 3, row)];
                prop_assert_eq!(&found.cells[..], &shown[..]);
                let created = found.stamp.created.map(Timestamp::us);
                let is_there = source.files.iter().flatten().flatten().any(|row| {
                    let own = row.created.filter(|_| source.with_created);
                    let number = row.number.map(Value::Int64);
                    row.key.map(|key| KeyPart::Bytes(key.into())).as_ref() == key.first()
                        && (row.event, own) == (Some(found.stamp.event.us()), created)
                        && number == found.cells[0]
                });
                prop_assert!(is_there, "{:?} is no row of the source", found);
            }
        }
    }
}
