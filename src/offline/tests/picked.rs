//! Chosen rows out of pages of every form, against the columns that were written.

use super::fixture::{entity, view, write_file_as};
use crate::{
    feature::KeyType,
    offline::{
        Dataset, convert::convert, gather::gather, number_rows::NumberRows, source::ViewSource,
    },
};
use arrow_array::{
    ArrayRef, BinaryArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, TimestampMillisecondArray, UInt32Array,
};
use arrow_select::{concat::concat, take::take};
use parquet::{
    basic::Compression,
    file::properties::{WriterProperties, WriterVersion},
};
use proptest::{collection::vec, prelude::*, sample::Index};
use std::sync::Arc;

const FEATURES: [(&str, &str); 8] = [
    ("i64", "int64"),
    ("i32", "int32"),
    ("wide", "int64"),
    ("f64", "float64"),
    ("f32", "float32"),
    ("text", "string"),
    ("bytes", "bytes"),
    ("time", "timestamp"),
];

/// A row group: the numbers that its values follow from, `None` for null.
fn batch_of(numbers: &[Option<u16>]) -> RecordBatch {
    let rows = numbers.len() as i64;
    let each = || numbers.iter().map(|number| number.map(i64::from));
    let texts = || each().map(|n| n.map(|n| "ab".repeat(n as usize % 9) + &n.to_string()));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("key", Arc::new(Int64Array::from_iter_values(0..rows))),
        ("event", Arc::new(TimestampMicrosecondArray::from_iter_values(0..rows))),
        ("i64", Arc::new(each().map(|n| n.map(|n| n - 300)).collect::<Int64Array>())),
        ("i32", Arc::new(each().map(|n| n.map(|n| n as i32)).collect::<Int32Array>())),
        ("wide", Arc::new(each().map(|n| n.map(|n| n as i32)).collect::<Int32Array>())),
        ("f64", Arc::new(each().map(|n| n.map(|n| n as f64 / 3.0)).collect::<Float64Array>())),
        ("f32", Arc::new(each().map(|n| n.map(|n| n as f32 / 3.0)).collect::<Float32Array>())),
        ("text", Arc::new(texts().collect::<StringArray>())),
        ("bytes", Arc::new(texts().map(|t| t.map(String::into_bytes)).collect::<BinaryArray>())),
        ("time", Arc::new(each().collect::<TimestampMillisecondArray>())),
    ];
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

prop_compose! {
    fn properties()(
        is_new in any::<bool>(),
        has_dictionary in any::<bool>(),
        is_compressed in any::<bool>(),
        page_rows in 1_usize..60,
        dictionary_bytes in prop::sample::select(vec![16_usize, 200, 100_000]),
    ) -> WriterProperties {
        let version =
            if is_new { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
        WriterProperties::builder()
            .set_writer_version(version)
            .set_encoding(parquet::basic::Encoding::PLAIN)
            .set_dictionary_enabled(has_dictionary)
            .set_dictionary_page_size_limit(dictionary_bytes)
            .set_data_page_row_count_limit(page_rows)
            .set_write_batch_size(7)
            .set_compression(if is_compressed { Compression::SNAPPY } else {
                Compression::UNCOMPRESSED
            })
            .build()
    }
}

fn row_group() -> impl Strategy<Value = Vec<Option<u16>>> {
    let some_null = vec(prop::option::weighted(0.8, 0_u16..500), 1..200);
    let few_values = vec((0_u16..3).prop_map(Some), 1..200);
    let all_null = vec(Just(None), 1..50);
    prop_oneof![4 => some_null, 2 => few_values, 1 => all_null]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn wanted_rows_are_those_that_were_written(
        row_groups in vec(row_group(), 1..4),
        properties in properties(),
        wanted in vec(any::<Index>(), 1..60),
        places in vec(prop::option::weighted(0.8, any::<Index>()), 0..80),
        threads in 1_usize..3,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let batches: Vec<RecordBatch> = row_groups.iter().map(|rows| batch_of(rows)).collect();
        write_file_as(&folder.path().join("rows.parquet"), &batches, properties);
        let view = view("view", "event", "", &FEATURES);
        let entity = entity("thing", &[("key", KeyType::Int64)]);
        let dataset = Dataset::open(folder.path().to_str().unwrap()).unwrap();
        let features: Vec<usize> = (0..FEATURES.len()).collect();
        let source = ViewSource::open(&view, &entity, &dataset, &features, &|_| true, threads);
        let source = source.unwrap();
        let rows: usize = row_groups.iter().map(Vec::len).sum();
        let mut wanted: Vec<u64> = wanted.iter().map(|index| index.index(rows) as u64).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let orders: Vec<u64> = wanted.iter().map(|row| row + 1).collect();
        let found = gather(&source, &orders, threads, &Arc::default()).unwrap();
        let indices = UInt32Array::from_iter_values(wanted.iter().map(|row| *row as u32));
        for ((name, _), (found, value_type)) in FEATURES.iter().zip(found.iter().zip(&source.types))
        {
            let written: Vec<_> =
                batches.iter().map(|batch| batch.column_by_name(name).unwrap().as_ref()).collect();
            let expected = take(&concat(&written).unwrap(), &indices, None).unwrap();
            prop_assert_eq!(found, &convert(&expected, *value_type).unwrap(), "{}", name);
        }
        let Some(mut rows) = NumberRows::new(&source, &orders, threads) else { return Ok(()) };
        let place = |place: &Index| place.index(orders.len()) as u32;
        let places: UInt32Array = places.iter().map(|it| it.as_ref().map(place)).collect();
        for own in [0..4, 2..5, 7..8, 3..5] {
            rows.gather(own.clone(), &Arc::default()).unwrap();
            let types = source.types.get(own.clone()).unwrap();
            for (filled, found) in rows.fill(types, &places).unwrap().iter().zip(&found[own]) {
                prop_assert_eq!(filled, &take(found, &places, None).unwrap());
            }
        }
    }
}
