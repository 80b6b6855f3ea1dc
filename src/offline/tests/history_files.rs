//! History files against a sorted list of what was written: of every type, with ties, partial rows,
//! nulls and tombstones, cut into small row groups and pages.

use super::fixture::{entity, view};
use crate::{
    error::Result,
    feature::{
        CellWrite, Entity, KeyPart, KeyType, List, Scalar, Stamp, Timestamp, Value, ValueType, View,
    },
    offline::{
        HistoryFile, PushedCells,
        history_write::{HistoryFileWriter, Limits, write_within},
    },
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::{collections::HashSet, path::Path};

const PATH: &str = "history/7-1-20.parquet";

const TYPES: [&str; 20] = [
    "bool",
    "int32",
    "int64",
    "float32",
    "float64",
    "string",
    "bytes",
    "timestamp",
    "bool[]",
    "int32[]",
    "int64[1]",
    "float32[]",
    "float32[3]",
    "float64[2]",
    "string[]",
    "string[2]",
    "bytes[]",
    "bytes[1]",
    "timestamp[]",
    "timestamp[2]",
];

fn text() -> BoxedStrategy<String> {
    let long = |tail: &str| format!("{}{tail}", "long".repeat(20));
    let fixed = ["".to_owned(), "a".into(), "a:b".into(), "Zürich\0".into(), long("a"), long("b")];
    prop_oneof![select(fixed.to_vec()), ".{0,6}"].boxed()
}

fn scalar(scalar: Scalar) -> BoxedStrategy<Value> {
    match scalar {
        Scalar::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Scalar::Int32 => any::<i32>().prop_map(Value::Int32).boxed(),
        Scalar::Int64 => any::<i64>().prop_map(Value::Int64).boxed(),
        // Of all bits: infinities, both zeros, and NaN with whatever it carries.
        Scalar::Float32 => {
            let special = select(vec![0x8000_0000, 0, 0x7fc0_0001, 0xffc0_1234, 0x7f80_0001]);
            let bits = prop_oneof![any::<u32>(), special];
            bits.prop_map(|bits| Value::Float32(f32::from_bits(bits))).boxed()
        }
        Scalar::Float64 => {
            let special = select(vec![1 << 63, 0, 0x7ff8_0000_0000_0001, 0xfff0_0000_0000_0007]);
            let bits = prop_oneof![any::<u64>(), special];
            bits.prop_map(|bits| Value::Float64(f64::from_bits(bits))).boxed()
        }
        Scalar::String => text().prop_map(Value::String).boxed(),
        Scalar::Bytes => vec(any::<u8>(), 0..6).prop_map(Value::Bytes).boxed(),
        Scalar::Timestamp => any::<i64>().prop_map(|us| Value::Timestamp(Timestamp(us))).boxed(),
    }
}

fn value(value_type: ValueType) -> BoxedStrategy<Value> {
    match value_type {
        ValueType::Scalar(of) => scalar(of),
        ValueType::List { element, length } => {
            let lengths = length.map_or(0..=4, |length| length as usize..=length as usize);
            vec(scalar(element), lengths)
                .prop_map(move |values| Value::List(List::collect(element, values).unwrap()))
                .boxed()
        }
    }
}

fn key_part(key_type: KeyType) -> BoxedStrategy<KeyPart> {
    match key_type {
        KeyType::Int64 => {
            let few = select(vec![i64::MIN, -1, 0, 1, 2, 3, i64::MAX]);
            few.prop_map(KeyPart::Int64).boxed()
        }
        KeyType::String => text().prop_map(|text| KeyPart::Bytes(text.into_bytes())).boxed(),
        KeyType::Bytes => {
            let few = select(vec![&b""[..], b"\0", b"\xff", b"\xff\xff", b"ab", &[0xff; 80]]);
            few.prop_map(|bytes| KeyPart::Bytes(bytes.to_vec())).boxed()
        }
    }
}

fn time() -> BoxedStrategy<Timestamp> {
    prop_oneof![(0..4_i64), select(vec![i64::MIN, i64::MAX])].prop_map(Timestamp).boxed()
}

fn write(value_type: ValueType) -> BoxedStrategy<Option<CellWrite>> {
    let write = prop_oneof![
        6 => value(value_type).prop_map(CellWrite::Value),
        1 => Just(CellWrite::Null),
        1 => Just(CellWrite::Tombstone),
    ];
    option::weighted(0.7, write).boxed()
}

/// A history, and what is asked of it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    features: Vec<(String, &'static str)>,
    key_types: Vec<KeyType>,
    pub(super) rows: Vec<PushedCells>,
    /// Per feature whether the view has it when written, when read, and whether it is asked for.
    pub(super) has: Vec<(bool, bool, bool)>,
    asks_slots: bool,
    pub(super) asked_keys: Option<HashSet<Vec<KeyPart>>>,
    pub(super) limits: Limits,
}

impl Case {
    /// So many rows, twenty of each key, far apart.
    pub(super) fn of_many(rows: u64) -> Self {
        let keys = rows / 20 + 1;
        let row = |number: u64| PushedCells {
            key: vec![KeyPart::Int64((number * 7919 % keys) as i64)],
            stamp: Stamp::new(Timestamp(number as i64), None),
            order: number,
            cells: vec![(10, CellWrite::Value(Value::Float64(number as f64)))],
        };
        Self {
            features: vec![("score".into(), "float64")],
            key_types: vec![KeyType::Int64],
            rows: (0..rows).map(row).collect(),
            has: vec![(true, true, true)],
            asks_slots: false,
            asked_keys: None,
            limits: Limits::default(),
        }
    }

    pub(super) fn entity(&self) -> Entity {
        let names = ["a", "b", "c"];
        let keys: Vec<_> = names.into_iter().zip(self.key_types.iter().copied()).collect();
        entity("thing", &keys)
    }

    pub(super) fn view(&self, has: impl Fn(&(bool, bool, bool)) -> bool) -> View {
        let features: Vec<_> =
            self.features.iter().map(|(name, value_type)| (name.as_str(), *value_type)).collect();
        let mut view = view("things", "event", "", &features);
        let mut kept = self.has.iter().map(has);
        view.features.retain(|_| kept.next().unwrap());
        view
    }

    /// What the file must give: no more is known here than that the sort is stable.
    fn expected(&self) -> Vec<PushedCells> {
        let mut rows = self.rows.clone();
        rows.sort_by_key(|row| (row.key.clone(), row.stamp, row.order));
        rows.retain(|row| self.asked_keys.as_ref().is_none_or(|keys| keys.contains(&row.key)));
        for row in &mut rows {
            row.cells.retain(|(slot, _)| {
                let (_, read, asked) = self.has[*slot as usize - 10];
                read && (asked || !self.asks_slots)
            });
        }
        rows.retain(|row| !row.cells.is_empty());
        rows
    }

    pub(super) fn written(&self) -> Vec<u8> {
        let (view, rows) = (self.view(|has| has.0), self.rows.clone());
        write_within(&view, &self.entity(), rows, self.limits).unwrap()
    }

    pub(super) fn open(&self, bytes: Vec<u8>) -> Result<HistoryFile> {
        let (view, entity) = (self.view(|has| has.1), self.entity());
        HistoryFile::open(bytes.into(), Path::new(PATH), &view, &entity)
    }

    fn found(&self, bytes: Vec<u8>) -> Result<Vec<PushedCells>> {
        let file = self.open(bytes)?;
        let asked = (10..).zip(&self.has).filter(|(_, has)| has.2).map(|(slot, _)| slot);
        let asked: Option<Vec<u32>> = self.asks_slots.then(|| asked.chain([7]).collect());
        file.rows(asked.as_deref(), self.asked_keys.as_ref())
    }
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let shape = (vec(select(TYPES.to_vec()), 1..6), vec(select(KeyType::ALL.to_vec()), 1..4));
    shape.prop_flat_map(|(types, key_types)| {
        let names = (0..).map(|place: usize| format!("f{place}"));
        let features: Vec<_> = names.zip(types.iter().copied()).collect();
        let parsed = types.iter().map(|text| ValueType::parse(text).unwrap());
        let writes: Vec<_> = parsed.map(write).collect();
        let key = key_types.iter().copied().map(key_part).collect::<Vec<_>>();
        let stamp = (time(), option::of(time()));
        let row = (key.clone(), stamp, 0..3_u64, writes).prop_map(|(key, stamp, order, writes)| {
            let cells = (10..).zip(writes).filter_map(|(slot, write)| Some((slot, write?)));
            let stamp = Stamp::new(stamp.0, stamp.1);
            let order = if order == 2 { u64::MAX } else { order };
            PushedCells { key, stamp, order, cells: cells.collect() }
        });
        let limits = (1..40_usize, 1..8_usize, 1..20_usize, 1..200_usize);
        let limits = limits.prop_map(|(row_group_rows, page_rows, batch_rows, batch_bytes)| {
            Limits { row_group_rows, page_rows, batch_rows, batch_bytes, ..Limits::default() }
        });
        let has = (prop::bool::weighted(0.8), prop::bool::weighted(0.8), any::<bool>());
        let has = vec(has, types.len());
        let keys = option::of(vec(key, 0..4));
        let asks = (any::<bool>(), keys, vec(any::<prop::sample::Index>(), 0..3));
        (vec(row, 0..120), has, limits, asks).prop_map(move |(rows, has, limits, asks)| {
            let (asks_slots, keys, present) = asks;
            let present = present.iter().filter(|_| !rows.is_empty());
            let present = present.map(|index| index.get(&rows).key.clone()).collect::<Vec<_>>();
            Case {
                features: features.clone(),
                key_types: key_types.clone(),
                asked_keys: keys.map(|keys| keys.into_iter().chain(present).collect()),
                rows,
                has,
                asks_slots,
                limits,
            }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_comes_back_in_order_and_as_asked(case in case()) {
        let bytes = case.written();
        prop_assert_eq!(case.open(bytes.clone()).unwrap().row_count(), case.rows.len() as u64);
        prop_assert_eq!(case.found(bytes).unwrap(), case.expected());
    }

    #[test]
    fn what_is_added_in_pieces_comes_back_as_it_was_written(
        case in case(),
        cuts: [prop::sample::Index; 2],
    ) {
        let (view, entity) = (case.view(|_| true), case.entity());
        let mut writer = HistoryFileWriter::new(&view, &entity, Vec::new()).unwrap();
        let (together, last) = case.rows.split_at(cuts[0].index(case.rows.len() + 1));
        let (first, second) = together.split_at(cuts[1].index(together.len() + 1));
        writer.add(first.to_vec()).unwrap();
        writer.add(second.to_vec()).unwrap();
        writer.write_added().unwrap();
        writer.add(last.to_vec()).unwrap();
        let mut expected = Vec::new();
        for rows in [together, last] {
            expected.extend(Case { rows: rows.to_vec(), ..case.clone() }.expected());
        }
        prop_assert_eq!(case.found(writer.finish().unwrap()).unwrap(), expected);
    }

    #[test]
    fn what_is_left_after_forgetting_is_all_but_those_keys(mut case in case()) {
        let keys = case.asked_keys.take().unwrap_or_default();
        let file = case.open(case.written()).unwrap();
        let goes = |row: &PushedCells| row.order < 2;
        let is_gone = |row: &PushedCells| keys.contains(&row.key) && goes(row);
        let count = case.rows.iter().filter(|row| is_gone(row)).count() as u64;
        prop_assert_eq!(file.count_where(&keys, goes).unwrap(), count);
        let left = file.write_without(&keys, goes, Vec::new()).unwrap();
        case.rows.retain(|row| !is_gone(row));
        prop_assert_eq!(case.open(left.clone()).unwrap().row_count(), case.rows.len() as u64);
        // A feature that was gone when the file was written again may come back.
        case.has.iter_mut().for_each(|has| has.1 = true);
        prop_assert_eq!(case.found(left).unwrap(), case.expected());
    }

    #[test]
    fn damaged_bytes_give_rows_or_an_error_that_names_the_file(
        case in case(),
        damage in vec(any::<(prop::sample::Index, u8)>(), 1..4),
    ) {
        let mut bytes = case.written();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Err(error) = case.found(bytes) {
            prop_assert!(error.to_string().contains(PATH), "{}", error);
        }
    }
}
