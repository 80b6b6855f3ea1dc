//! Row groups whose bloom filters say that they have none of the keys are passed over: of a user's
//! files, whoever wrote them.

use super::{
    fixture::{entity, options, request, view, write_file_as},
    sources::{batch, integers, micros, numbers},
};
use crate::{
    feature::{KeyPart, KeyType, Timestamp},
    offline::{Dataset, Spine, Window, as_of_join, history},
};
use arrow_array::{
    ArrayRef, BinaryArray, FixedSizeBinaryArray, Int32Array, RecordBatch, StringArray, UInt32Array,
};
use parquet::{arrow::arrow_reader::ArrowReaderMetadata, file::properties::WriterProperties};
use std::{fs, path::Path, sync::Arc};

const GROUPS: i64 = 8;
const KEYS: i64 = 800;

/// Makes a column of keys of their numbers.
type Column = fn(&[i64]) -> ArrayRef;

/// Each row group has every eighth key, once, so that its statistics tell nothing; and the same
/// number as its zone and its feature.
fn write(path: &Path, key: Column, with_blooms: bool) {
    let group = |group: i64| -> RecordBatch {
        let keys: Vec<i64> = (group..KEYS).step_by(GROUPS as usize).collect();
        let events = micros(&vec![5; keys.len()]);
        let (zone, number) = (integers(&keys), integers(&keys));
        batch(vec![("key", key(&keys)), ("zone", zone), ("event", events), ("number", number)])
    };
    let groups: Vec<RecordBatch> = (0..GROUPS).map(group).collect();
    let properties = match with_blooms {
        true => {
            WriterProperties::builder().set_bloom_filter_fpp(1e-6).set_bloom_filter_max_ndv(100)
        }
        false => WriterProperties::builder(),
    };
    write_file_as(path, &groups, properties.build());
}

/// Asks for keys with their zones, which are a part of the key if `join_keys` has them; tells how
/// many row groups were skipped.
fn ask(path: &Path, join_keys: &[(&str, KeyType)], key: Column, asked: &[(i64, i64)]) -> u64 {
    let dataset = Dataset::open(path.to_str().unwrap()).unwrap();
    let (keys, zones): (Vec<i64>, Vec<i64>) = asked.iter().copied().unzip();
    let at = micros(&vec![5; asked.len()]);
    let spine = batch(vec![("key", key(&keys)), ("zone", integers(&zones)), ("at", at)]);
    let spine = Spine::from_batch(spine, Some("at")).unwrap();
    let (view, entity) = (view("v", "event", "", &[("number", "int64")]), entity("e", join_keys));
    let requests = [request(&view, &entity, Some(&dataset), "")];
    let joined = as_of_join(&spine, &requests, &options(2), &|_| ()).unwrap();
    let is_there = |(key, zone): &(i64, i64)| {
        ((0..KEYS).contains(key) && (join_keys.len() == 1 || key == zone)).then_some(*key)
    };
    assert_eq!(numbers(&joined), asked.iter().map(is_there).collect::<Vec<_>>());
    assert_eq!(joined.report.row_groups + joined.report.row_groups_skipped, GROUPS as u64);
    joined.report.row_groups_skipped
}

fn text(keys: &[i64]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(keys.iter().map(|key| format!("k{key:05}"))))
}

fn bytes(keys: &[i64]) -> ArrayRef {
    Arc::new(BinaryArray::from_iter_values(keys.iter().map(|key| key.to_be_bytes())))
}

fn fixed(keys: &[i64]) -> ArrayRef {
    let keys = keys.iter().map(|key| key.to_be_bytes());
    Arc::new(FixedSizeBinaryArray::try_from_iter(keys).unwrap())
}

fn wide(keys: &[i64]) -> ArrayRef {
    integers(keys)
}

/// Below 0 too.
fn narrow(keys: &[i64]) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(keys.iter().map(|key| *key as i32 - 400)))
}

/// Beyond what is a positive number of 32 bits.
fn unsigned(keys: &[i64]) -> ArrayRef {
    Arc::new(UInt32Array::from_iter_values(keys.iter().map(|key| *key as u32 + 3_000_000_000)))
}

/// Of the row groups 3 and 0.
const ASKED: [(i64, i64); 3] = [(3, 0), (43, 0), (792, 0)];

#[test]
fn of_a_few_keys_those_row_groups_are_read_whose_filters_may_have_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("interleaved.parquet");
    let cases: [(KeyType, Column, u64); 6] = [
        (KeyType::String, text, 6),
        (KeyType::Bytes, bytes, 6),
        (KeyType::Bytes, fixed, 0),
        (KeyType::Int64, wide, 6),
        (KeyType::Int64, narrow, 6),
        (KeyType::Int64, unsigned, 6),
    ];
    for (case, (key_type, key, skipped)) in cases.into_iter().enumerate() {
        write(&path, key, true);
        assert_eq!(ask(&path, &[("key", key_type)], key, &ASKED), skipped, "case {case}");
        write(&path, key, false);
        assert_eq!(ask(&path, &[("key", key_type)], key, &ASKED), 0, "case {case}");
    }
}

#[test]
fn more_than_256_keys_are_not_asked_for_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("interleaved.parquet");
    write(&path, wide, true);
    for (keys, skipped) in [(255, 6), (256, 6), (257, 0)] {
        let nobody = (KEYS..).map(|key| (key, 0));
        let asked: Vec<_> = ASKED.into_iter().chain(nobody).take(keys).collect();
        assert_eq!(ask(&path, &[("key", KeyType::Int64)], wide, &asked), skipped, "{keys} keys");
    }
}

#[test]
fn of_a_composite_key_a_row_group_may_have_all_parts_or_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("interleaved.parquet");
    write(&path, text, true);
    let join_keys = [("key", KeyType::String), ("zone", KeyType::Int64)];
    for (asked, skipped) in [
        (&[(3, 3)][..], 7),
        // Both are in the row group 3, on rows of their own.
        (&[(3, 11)], 7),
        (&[(3, 4)], 8),
        (&[(3, 4), (4, 3), (792, 792)], 7),
    ] {
        assert_eq!(ask(&path, &join_keys, text, asked), skipped, "{asked:?}");
    }
}

#[test]
fn the_history_of_an_entity_reads_the_row_group_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("interleaved.parquet");
    let view = view("v", "event", "", &[("number", "int64")]);
    let entity = entity("e", &[("key", KeyType::Int64)]);
    let window = Window { from: None, to: Timestamp::MAX };
    write(&path, wide, true);
    let dataset = Dataset::open(path.to_str().unwrap()).unwrap();
    for key in [0, 43, 799, 800] {
        let found =
            history(&view, &entity, &dataset, &[0], &[KeyPart::Int64(key)], window, 9).unwrap();
        assert_eq!(found.len(), usize::from(key < KEYS), "key {key}");
    }
}

#[test]
fn a_filter_that_makes_no_sense_is_as_good_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("interleaved.parquet");
    write(&path, wide, true);
    let good = fs::read(&path).unwrap();
    let metadata = ArrowReaderMetadata::load(&fs::File::open(&path).unwrap(), Default::default());
    let metadata = metadata.unwrap();
    let join_keys = [("key", KeyType::Int64)];
    let header = |group: usize| {
        let offset = metadata.metadata().row_group(group).column(0).bloom_filter_offset();
        offset.unwrap() as usize
    };
    assert_eq!(ask(&path, &join_keys, wide, &ASKED), 6);
    // A header of another type, a filter of no bytes, and one hashed in a way that nobody knows.
    for (at, byte) in [(0, 0x1c), (1, 0), (header_of_hash(&good[header(5)..]), 0x2c)] {
        let mut damaged = good.clone();
        for group in [3, 5] {
            damaged[header(group) + at] = byte;
        }
        fs::write(&path, &damaged).unwrap();
        assert_eq!(ask(&path, &join_keys, wide, &ASKED), 5, "byte {at}");
    }
}

/// Where the choice of the hash begins: it is the second of its kind.
fn header_of_hash(header: &[u8]) -> usize {
    let choices = header.windows(2).enumerate().filter(|(_, pair)| *pair == [0x1c, 0x1c]);
    choices.map(|(at, _)| at + 1).nth(1).unwrap()
}
