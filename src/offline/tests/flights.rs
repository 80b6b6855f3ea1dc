//! The flights of the example: figures that DuckDB and pandas agree on.

use super::fixture::{entity, options, request, view};
use crate::{
    feature::{Entity, KeyPart, KeyType, Timestamp, Value, View},
    offline::{Dataset, Joined, Spine, SpineFile, ViewRequest, Window, as_of_join, cell, latest},
};
use arrow_array::{Array, RecordBatch, cast::AsArray, types};
use std::path::PathBuf;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/flights/data").join(name)
}

fn dataset(name: &str) -> Dataset {
    Dataset::open(data(name).to_str().unwrap()).unwrap()
}

fn weather() -> (View, Entity) {
    let features = [("temp", "float64"), ("wind_speed", "float64")];
    (
        view("airport_weather", "time_hour", "6h", &features),
        entity("airport", &[("origin", KeyType::String)]),
    )
}

fn spine() -> Spine {
    SpineFile::open(&data("flights.parquet")).unwrap().read(Some("sched_departure"), None).unwrap()
}

fn count_and_sum(batch: &RecordBatch, name: &str) -> (usize, f64) {
    let column = batch.column_by_name(name).unwrap();
    let sum = match column.data_type() {
        arrow_schema::DataType::Int64 => {
            column.as_primitive::<types::Int64Type>().iter().flatten().sum::<i64>() as f64
        }
        _ => column.as_primitive::<types::Float64Type>().iter().flatten().sum(),
    };
    (column.len() - column.null_count(), sum)
}

fn check(batch: &RecordBatch, name: &str, count: usize, sum: f64) {
    let found = count_and_sum(batch, name);
    assert_eq!(found.0, count, "{name}");
    assert!((found.1 - sum).abs() < 0.01, "{name}: {} is not {sum}", found.1);
}

fn join_all(threads: usize) -> Joined {
    let (weather, airport) = weather();
    let tailnum = entity("plane", &[("tailnum", KeyType::String)]);
    let history = view("plane_history", "landed_at", "30d", &[("last_arr_delay", "float64")]);
    let planes = view("planes", "known_from", "", &[("seats", "int64")]);
    let files = ["weather.parquet", "landings.parquet", "planes.parquet"].map(dataset);
    let requests = [
        request(&weather, &airport, Some(&files[0]), ""),
        request(&history, &tailnum, Some(&files[1]), ""),
        request(&planes, &tailnum, Some(&files[2]), ""),
    ];
    as_of_join(&spine(), &requests, &options(threads), &|_| ()).unwrap()
}

#[test]
fn every_flight_gets_the_weather_and_the_plane_of_its_time() {
    let joined = join_all(2);
    let batch = &joined.batch;
    assert_eq!(batch.num_rows(), 336_776);
    let spine = spine();
    assert_eq!(&batch.columns()[..spine.batch().num_columns()], spine.batch().columns());
    check(batch, "temp", 335_983, 19_146_747.26);
    check(batch, "wind_speed", 335_922, 3_734_080.864);
    check(batch, "last_arr_delay", 325_072, 2_313_453.0);
    check(batch, "seats", 284_170, 38_851_317.0);
    assert_eq!(joined.report.features[0].present, 335_983);
    assert_eq!(joined.report.rows_scanned, 26_115 + 327_346 + 3_322);
    assert_eq!(join_all(1).batch, *batch);
}

#[test]
fn the_weather_of_the_destination_is_joined_by_a_renamed_key() {
    let (weather, airport) = weather();
    let file = dataset("weather.parquet");
    let map = [("origin".to_owned(), "dest".to_owned())];
    let by_origin = request(&weather, &airport, Some(&file), "");
    let by_dest = ViewRequest { map: &map, ..request(&weather, &airport, Some(&file), "dest_") };
    let joined = as_of_join(&spine(), &[by_origin, by_dest], &options(2), &|_| ()).unwrap();
    check(&joined.batch, "temp", 335_983, 19_146_747.26);
    // Only one flight of 2013 went from one airport with weather to another.
    assert_eq!(count_and_sum(&joined.batch, "dest_temp").0, 1);
}

#[test]
fn a_question_about_one_airport_at_one_time_reads_one_row() {
    let (weather, airport) = weather();
    let file = dataset("weather.parquet");
    let at = Timestamp::parse("2013-07-04T12:30:00Z").unwrap();
    let keys = ["JFK", "ZZZ"].map(|key| vec![KeyPart::Bytes(key.into())]);
    let spine = Spine::from_rows(&airport, &keys, at).unwrap();
    let requests = [request(&weather, &airport, Some(&file), "")];
    let joined = as_of_join(&spine, &requests, &options(2), &|_| ()).unwrap();
    let temp = |row| cell(&joined.batch, 2, row);
    assert!(matches!(temp(0), Some(Value::Float64(_))));
    assert_eq!(temp(1), None);
    let hour = Timestamp::parse("2013-07-04T12:00:00Z").unwrap();
    assert_eq!(joined.event_timestamps.unwrap()[0], [Some(hour), None]);
}

#[test]
fn the_newest_row_of_each_plane_is_found() {
    let tailnum = entity("plane", &[("tailnum", KeyType::String)]);
    let history = view("plane_history", "landed_at", "30d", &[("last_arr_delay", "float64")]);
    let file = dataset("landings.parquet");
    let window = Window { from: None, to: Timestamp::MAX };
    let mut newest = latest(&history, &tailnum, &file, window, None, &|_| ()).unwrap();
    assert_eq!((newest.rows_read(), newest.bytes_read() > 0), (327_346, true));
    let entities = newest.entities();
    let mut rows = Vec::new();
    while let Some(batch) = newest.next_batch(1024).unwrap() {
        rows.extend(batch);
    }
    assert_eq!(rows.len(), entities);
    assert!(entities > 4_000, "{entities}");
}
