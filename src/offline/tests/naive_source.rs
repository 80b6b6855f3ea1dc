//! What the naive join is compared over: keys of each type, alone and in pairs, times in each unit,
//! files and pushes; all out of domains so small that every tie and edge occurs.

use super::fixture::{entity, options, pages_of};
use crate::{
    feature::{CellWrite, Entity, KeyPart, KeyType, List, Stamp, Timestamp, Ttl, Value},
    offline::{JoinOptions, KnownBy, Spine},
};
use arrow_array::{
    ArrayRef, BinaryArray, FixedSizeListArray, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, types::Float32Type,
};
use parquet::file::properties::WriterProperties;
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::sync::Arc;

/// Which value each part of a key has; the second counts where an entity has two.
pub(super) type Key = [Option<usize>; 2];

/// So many values has a part of a key; the last is in no file.
pub(super) const VALUES: usize = 4;
const TEXTS: [&str; VALUES] = ["a", "b", "", "unknown"];
const INTEGERS: [i64; VALUES] = [-1, 0, i32::MAX as i64, 7];
const BYTES: [&[u8]; VALUES] = [b"\xff", b"a\0", b"", b"unknown"];

/// How many ns of a column are one.
const UNITS_NS: [i64; 4] = [1, 1_000, 1_000_000, 1_000_000_000];

/// A time in the unit of its column.
type Time = i64;

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) key: Key,
    pub(super) event: Option<Time>,
    pub(super) created: Option<Time>,
    pub(super) number: Option<i64>,
    pub(super) text: Option<&'static str>,
    pub(super) list: Option<[f32; 3]>,
}

#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) key: [usize; 2],
    pub(super) stamp: Stamp,
    pub(super) order: u64,
    /// One per feature.
    pub(super) cells: [Option<CellWrite>; 3],
}

#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Files of row groups of rows.
    pub(super) files: Vec<Vec<Vec<Row>>>,
    pub(super) writes: Vec<Write>,
    pub(super) ttl: Option<Ttl>,
    pub(super) with_created: bool,
    /// Of event and created timestamps, in ns.
    units: [i64; 2],
    page_rows: usize,
    with_dictionary: bool,
    with_blooms: bool,
    /// Whether integers and lists are of a type that is not the declared one.
    other_types: bool,
}

/// What is the same for all of a case.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) keys: Vec<KeyType>,
    pub(super) by_arrival: bool,
    /// Times are some of these apart, or a unit more or less. No unit is longer.
    pub(super) tick_us: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) shape: Shape,
    pub(super) sources: [Source; 2],
    spine_unit: i64,
    pub(super) spine: Vec<(Key, Option<Time>)>,
    /// Whether the spine calls the first join key otherwise, and something else as it is called.
    is_renamed: bool,
}

pub(super) fn shape() -> impl Strategy<Value = Shape> {
    let key = select(KeyType::ALL.to_vec());
    let keys = prop_oneof![key.clone().prop_map(|key| vec![key]), vec(key, 2)];
    let tick_us = select(vec![1, 1_000, 1_000_000]);
    (keys, any::<bool>(), tick_us).prop_map(|(keys, by_arrival, tick_us)| Shape {
        keys,
        by_arrival,
        tick_us,
    })
}

impl Shape {
    fn unit(&self) -> impl Strategy<Value = i64> + use<> {
        let tick_ns = self.tick_us * 1_000;
        select(UNITS_NS.into_iter().filter(|unit| *unit <= tick_ns).collect::<Vec<_>>())
    }

    pub(super) fn time(
        &self,
        unit: i64,
        ticks: std::ops::Range<i64>,
    ) -> impl Strategy<Value = Time> + use<> {
        let tick = self.tick_us * 1_000 / unit;
        let off = prop_oneof![6 => Just(0_i64), 1 => Just(-1), 1 => Just(1)];
        (ticks, off).prop_map(move |(ticks, off)| ticks * tick + off)
    }

    fn created(&self, unit: i64) -> impl Strategy<Value = Option<Time>> + use<> {
        let by_arrival = self.by_arrival;
        let created = option::weighted(0.7, self.time(unit, 0..6));
        created.prop_map(move |created| if by_arrival { created.or(Some(0)) } else { created })
    }

    fn row(&self, [event, created]: [i64; 2]) -> impl Strategy<Value = Row> + use<> {
        let list = option::weighted(0.8, (0_u8..9).prop_map(|n| [f32::from(n), -0.0, f32::NAN]));
        (
            key(VALUES - 1),
            option::weighted(0.95, self.time(event, 0..6)),
            self.created(created),
            option::weighted(0.8, 0_i64..1000),
            option::weighted(0.8, select(vec!["x", "yy", ""])),
            list,
        )
            .prop_map(|(key, event, created, number, text, list)| Row {
                key,
                event,
                created,
                number,
                text,
                list,
            })
    }

    fn write(&self) -> impl Strategy<Value = Write> + use<> {
        let cell = |value: BoxedStrategy<Value>| {
            option::of(prop_oneof![
                2 => value.prop_map(CellWrite::Value),
                1 => Just(CellWrite::Null),
                1 => Just(CellWrite::Tombstone),
            ])
        };
        let list = (9_u8..12).prop_map(|n| Value::List(List::Float32(vec![f32::from(n); 3])));
        let number = cell((1000_i64..2000).prop_map(Value::Int64).boxed());
        let text = cell(Just(Value::String("pushed".into())).boxed());
        let stamp = (self.time(1_000, 0..6), self.created(1_000))
            .prop_map(|(event, created)| Stamp::new(Timestamp(event), created.map(Timestamp)));
        let key = [0..VALUES, 0..VALUES];
        (key, stamp, 0_u64..3, (number, text, cell(list.boxed()))).prop_map(
            |(key, stamp, order, (number, text, list))| Write {
                key,
                stamp,
                order,
                cells: [number, text, list],
            },
        )
    }

    pub(super) fn source(&self) -> impl Strategy<Value = Source> + use<> {
        let shape = self.clone();
        [self.unit(), self.unit()].prop_flat_map(move |units| {
            let row_group = vec(shape.row(units), 1..4);
            let file = vec(row_group, 1..4);
            // One row group of many pages, of a few entities each: the others are skipped.
            let sorted = vec(shape.row(units), 1..12).prop_map(|mut rows| {
                rows.sort_by_key(|row| (row.key, row.event));
                vec![rows]
            });
            let (by_arrival, tick_us) = (shape.by_arrival, shape.tick_us);
            (
                vec(prop_oneof![file, sorted], 1..4),
                // Without any push a join reads created timestamps for ties only.
                prop_oneof![Just(Vec::new()), vec(shape.write(), 0..6)],
                option::of(1_i64..4),
                (1_usize..4, any::<[bool; 4]>()),
            )
                .prop_map(move |(files, writes, ttl, (page_rows, choices))| Source {
                    files,
                    writes,
                    ttl: ttl.and_then(|ticks| Ttl::from_us(ticks * tick_us)),
                    with_created: by_arrival || choices[0],
                    units,
                    page_rows,
                    with_dictionary: choices[1],
                    with_blooms: choices[2],
                    other_types: choices[3],
                })
        })
    }

    pub(super) fn entity(&self) -> Entity {
        let names = ["key", "second"].into_iter().zip(self.keys.iter().copied());
        entity("customer", &names.collect::<Vec<_>>())
    }

    /// The parts of a key, if it has all of them.
    pub(super) fn parts(&self, key: Key) -> Option<Vec<KeyPart>> {
        let part = |(key_type, value): (&KeyType, Option<usize>)| {
            Some(match key_type {
                KeyType::String => KeyPart::Bytes(TEXTS[value?].into()),
                KeyType::Int64 => KeyPart::Int64(INTEGERS[value?]),
                KeyType::Bytes => KeyPart::Bytes(BYTES[value?].into()),
            })
        };
        self.keys.iter().zip(key).map(part).collect()
    }

    fn key_columns(&self, keys: &[Key], is_narrow: bool) -> Vec<ArrayRef> {
        let column = |(place, key_type): (usize, &KeyType)| {
            let values = keys.iter().map(|key| key[place]);
            match key_type {
                KeyType::String => {
                    Arc::new(values.map(|v| v.map(|v| TEXTS[v])).collect::<StringArray>()) as _
                }
                KeyType::Int64 if is_narrow => {
                    let narrow = values.map(|v| v.map(|v| INTEGERS[v] as i32));
                    Arc::new(narrow.collect::<Int32Array>()) as _
                }
                KeyType::Int64 => {
                    Arc::new(values.map(|v| v.map(|v| INTEGERS[v])).collect::<Int64Array>()) as _
                }
                KeyType::Bytes => {
                    Arc::new(values.map(|v| v.map(|v| BYTES[v])).collect::<BinaryArray>()) as _
                }
            }
        };
        self.keys.iter().enumerate().map(column).collect()
    }
}

fn key(values: usize) -> impl Strategy<Value = Key> {
    // Few seconds, so that pairs are met again.
    [option::weighted(0.95, 0..values), option::weighted(0.95, 0..values.div_ceil(2))]
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let spine = |shape: Shape| shape.unit().prop_map(move |unit| (shape.clone(), unit));
    shape().prop_flat_map(spine).prop_flat_map(|(shape, spine_unit)| {
        let row = (key(VALUES), option::weighted(0.95, shape.time(spine_unit, -1..8)));
        (shape.source(), shape.source(), vec(row, 0..12), any::<bool>()).prop_map(
            move |(a, b, spine, is_renamed)| Case {
                shape: shape.clone(),
                sources: [a, b],
                spine_unit,
                spine,
                is_renamed,
            },
        )
    })
}

fn times(unit: i64, times: impl Iterator<Item = Option<Time>>) -> ArrayRef {
    match unit {
        1 => Arc::new(times.collect::<TimestampNanosecondArray>()),
        1_000 => Arc::new(times.collect::<TimestampMicrosecondArray>()),
        1_000_000 => Arc::new(times.collect::<TimestampMillisecondArray>()),
        _ => Arc::new(times.collect::<TimestampSecondArray>()),
    }
}

/// The first µs that is not before.
fn us_up(time: Time, unit: i64) -> Timestamp {
    us_down(time * unit + 999, 1)
}

/// The last µs that is not after.
fn us_down(time: Time, unit: i64) -> Timestamp {
    Timestamp((time * unit).div_euclid(1_000))
}

impl Row {
    pub(super) fn values(&self) -> [Option<Value>; 3] {
        [
            self.number.map(Value::Int64),
            self.text.map(|text| Value::String(text.into())),
            self.list.map(|list| Value::List(List::Float32(list.to_vec()))),
        ]
    }
}

impl Source {
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.files.iter().flatten().flatten()
    }

    /// When a row was true and known, as a join may know it.
    pub(super) fn stamp(&self, row: &Row) -> Option<Stamp> {
        let [event, created] = self.units;
        let known = row.created.filter(|_| self.with_created).map(|time| us_up(time, created));
        Some(Stamp::new(us_up(row.event?, event), known))
    }

    pub(super) fn properties(&self) -> WriterProperties {
        let properties = pages_of(self.page_rows)
            .set_dictionary_enabled(self.with_dictionary)
            // Without this each filter begins with room for a million values.
            .set_bloom_filter_max_ndv(16)
            .set_bloom_filter_enabled(self.with_blooms);
        properties.build()
    }

    pub(super) fn batch(&self, shape: &Shape, rows: &[Row]) -> RecordBatch {
        let keys: Vec<Key> = rows.iter().map(|row| row.key).collect();
        let lists = rows.iter().map(|row| row.list.map(|list| list.map(Some)));
        let list: ArrayRef = match self.other_types {
            true => Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists)),
            false => {
                Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(lists, 3))
            }
        };
        let [event, created] = self.units;
        let names = ["key", "second"].into_iter().zip(shape.key_columns(&keys, self.other_types));
        let others: [(&str, ArrayRef); 5] = [
            ("event", times(event, rows.iter().map(|row| row.event))),
            ("created", times(created, rows.iter().map(|row| row.created))),
            ("number", Arc::new(rows.iter().map(|r| r.number).collect::<Int64Array>())),
            ("text", Arc::new(rows.iter().map(|r| r.text).collect::<StringArray>())),
            ("list", list),
        ];
        let columns = names.chain(others).map(|(name, column)| (name, column, true));
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }
}

impl Case {
    /// The time of a row of the spine, as a join may know it.
    pub(super) fn at(&self, time: Time) -> Timestamp {
        us_down(time, self.spine_unit)
    }

    pub(super) fn map(&self) -> Vec<(String, String)> {
        let renamed = ("key".to_owned(), "called otherwise".to_owned());
        if self.is_renamed { vec![renamed] } else { Vec::new() }
    }

    /// The number of each row, its keys, its time.
    pub(super) fn spine(&self) -> Spine {
        let numbers: Int64Array = (0..self.spine.len() as i64).map(Some).collect();
        let keys: Vec<Key> = self.spine.iter().map(|(key, _)| *key).collect();
        let names = match self.is_renamed {
            true => ["key", "called otherwise", "second"],
            false => ["id", "key", "second"],
        };
        let numbers = [Arc::new(numbers) as ArrayRef];
        let keys = self.shape.key_columns(&keys, false);
        let time = times(self.spine_unit, self.spine.iter().map(|(_, time)| *time));
        let columns = names.into_iter().zip(numbers.into_iter().chain(keys));
        let columns =
            columns.chain([("asked_at", time)]).map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns);
        Spine::from_batch(batch.unwrap(), None).unwrap()
    }

    pub(super) fn options(&self, threads: usize) -> JoinOptions {
        let known_by = if self.shape.by_arrival { KnownBy::Arrival } else { KnownBy::Event };
        JoinOptions { known_by, with_ages: true, ..options(threads) }
    }
}
