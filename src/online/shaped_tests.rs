//! A table whose hashes share lists of names says what a map of maps says.

use super::{
    Body, Edit, Field, FieldPlans, OwnedRow, PlainHash, Row, Seen, Shard, Table, plain_hash::*,
    shapes::SHAPE_NAMES_MAX,
};
use crate::feature::{EndingField, PlainChange, Timestamp};
use proptest::prelude::*;
use serde_bytes::ByteBuf;
use std::{collections::BTreeMap, num::NonZeroU64};

type Fields = BTreeMap<Vec<u8>, (Vec<u8>, Option<Timestamp>)>;
type Model = BTreeMap<Vec<u8>, (Fields, Option<Timestamp>)>;

/// So many names that many hashes have: two that pack, and one that is a map.
const COUNTS: [usize; 3] = [3, 20, 90];

fn name(number: usize) -> Vec<u8> {
    format!("field{number}").into_bytes()
}

#[derive(Clone, Debug)]
enum Op {
    /// All fields of one of the lists, from its first or its last.
    All {
        list: usize,
        is_backwards: bool,
        bytes: usize,
    },
    /// Some fields, which a hash may have or not.
    Some(Vec<(usize, usize)>),
    DeleteFields(Vec<usize>),
    EndField(usize, bool),
    ExpireAt(Option<i64>),
    Delete,
}

fn operation() -> impl Strategy<Value = Op> {
    let bytes = prop_oneof![6 => 0..12_usize, 1 => 90..110_usize, 1 => 400..420_usize];
    prop_oneof![
        8 => (0..3_usize, any::<bool>(), bytes.clone())
            .prop_map(|(list, is_backwards, bytes)| Op::All { list, is_backwards, bytes }),
        4 => prop::collection::vec((0..24_usize, bytes), 1..4).prop_map(Op::Some),
        1 => prop::collection::vec(0..24_usize, 1..4).prop_map(Op::DeleteFields),
        1 => (0..24_usize, any::<bool>()).prop_map(|(name, has_end)| Op::EndField(name, has_end)),
        1 => prop::option::of(1000..2000_i64).prop_map(Op::ExpireAt),
        1 => Just(Op::Delete),
    ]
}

fn pairs(fields: impl Iterator<Item = (usize, usize)>, lsn: u64) -> Vec<(ByteBuf, ByteBuf)> {
    let value = |bytes: usize| vec![b'a' + (lsn % 26) as u8; bytes];
    fields.map(|(number, bytes)| (name(number).into(), value(bytes).into())).collect()
}

/// The change, and the same done to the model.
fn change(op: Op, lsn: u64, key: &[u8], model: &mut Model) -> PlainChange {
    let set = |model: &mut Model, written: &[(ByteBuf, ByteBuf)]| {
        let (fields, _) = model.entry(key.to_vec()).or_default();
        for (name, value) in written {
            fields.insert(name.to_vec(), (value.to_vec(), None));
        }
    };
    match op {
        Op::All { list, is_backwards, bytes } => {
            let mut numbers: Vec<_> = (0..COUNTS[list]).map(|it| (it, bytes)).collect();
            if is_backwards {
                numbers.reverse();
            }
            let written = pairs(numbers.into_iter(), lsn);
            model.remove(key);
            set(model, &written);
            PlainChange::SetHash(written)
        }
        Op::Some(numbers) => {
            let written = pairs(numbers.into_iter(), lsn);
            set(model, &written);
            PlainChange::SetFields(written)
        }
        Op::DeleteFields(numbers) => {
            let names: Vec<_> = numbers.into_iter().map(|it| ByteBuf::from(name(it))).collect();
            if let Some((fields, _)) = model.get_mut(key) {
                names.iter().for_each(|name| drop(fields.remove(name.as_slice())));
                if fields.is_empty() {
                    model.remove(key);
                }
            }
            PlainChange::DeleteFields(names)
        }
        Op::EndField(number, has_end) => {
            let at = has_end.then_some(Timestamp(5000));
            let field = model.get_mut(key).and_then(|(fields, _)| fields.get_mut(&name(number)));
            if let Some((_, end)) = field {
                *end = at;
            }
            PlainChange::EndFields { names: vec![name(number).into()], at }
        }
        Op::ExpireAt(at) => {
            let at = at.map(Timestamp);
            if let Some((_, expires_at)) = model.get_mut(key) {
                *expires_at = at;
            }
            PlainChange::ExpireAt(at)
        }
        Op::Delete => {
            model.remove(key);
            PlainChange::Delete
        }
    }
}

fn apply(table: &Table, lsn: u64, edit: Edit<'_>, waits: bool) {
    let hash = table.hash(edit.key());
    let shard = || table.shard_mut(Table::shard_index(hash));
    match waits {
        false => Shard::apply(&mut shard(), hash, lsn, edit),
        true => {
            shard().apply_pending(hash, lsn, edit);
            shard().publish(hash, lsn, edit);
        }
    }
}

fn hash(row: Row<'_>) -> PlainHash<'_> {
    row.stored_hash().unwrap().at(Timestamp(100))
}

fn fields_of(hash: PlainHash<'_>) -> Fields {
    let owned = |field: Field<'_>| (field.name.to_vec(), (field.value.to_vec(), field.end));
    let fields: Vec<_> = hash.fields().map(owned).collect();
    assert_eq!(fields.len(), hash.len());
    fields.into_iter().collect()
}

/// Each name is found as the model has it: by itself, from any hint, and by the plan of a list.
fn check_reads(hash: PlainHash<'_>, model: &Fields, plans: &mut FieldPlans) {
    let names: Vec<_> = (0..95).step_by(3).chain([7, 5, 5]).map(name).collect();
    let expected: Vec<_> = names.iter().map(|name| model.get(name).map(|(it, _)| &**it)).collect();
    let mut hint = 0;
    let found: Vec<_> = names.iter().map(|name| hash.get(name, &mut hint)).collect();
    assert_eq!(found, expected);
    for list in [None, NonZeroU64::new(7), NonZeroU64::new(7)] {
        let mut given = Vec::new();
        hash.get_each(names.iter().map(|name| &**name), list, plans, |value| given.push(value));
        assert_eq!(given, expected);
    }
}

fn model_of(table: &Table) -> Model {
    let mut model = Model::new();
    table.scan(0, usize::MAX, Seen::Published, |row| {
        model.insert(row.key().to_vec(), (fields_of(hash(row)), row.expires_at()));
    });
    model
}

fn shaped_count(table: &Table) -> usize {
    let mut count = 0;
    table.scan(0, usize::MAX, Seen::Published, |row| {
        count += usize::from(matches!(hash(row), PlainHash::Shaped(_)));
    });
    count
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn hashes_with_shapes_are_maps_of_their_fields(
        operations in prop::collection::vec((0..40_usize, operation(), any::<bool>()), 1..400),
    ) {
        let (table, mut model) = (Table::new([1, 2, 3, 4]), Model::new());
        let mut plans = FieldPlans::new();
        for (lsn, (key, op, waits)) in (1..).zip(operations) {
            let key = format!("user:{key}").into_bytes();
            let change = change(op, lsn, &key, &mut model);
            apply(&table, lsn, Edit::Plain(&key, &change), waits);
            table.read(&key, Seen::Latest, |row| {
                let standing = row.map(|row| (fields_of(hash(row)), row.expires_at()));
                assert_eq!(standing.as_ref(), model.get(&key));
                let Some((row, (fields, _))) = row.zip(standing.as_ref()) else { return };
                check_reads(hash(row), fields, &mut plans);
                // As a snapshot holds it: with its names, and read back.
                let bytes = row.to_bytes();
                let back = OwnedRow::from_bytes(&bytes).unwrap();
                let back = back.as_row();
                assert_eq!(&fields_of(hash(back)), fields);
                assert_eq!((back.key(), back.lsn()), (row.key(), row.lsn()));
                assert_eq!(back.expires_at(), row.expires_at());
            });
        }
        prop_assert_eq!(&model_of(&table), &model);
        let other = Table::new([4, 3, 2, 1]);
        table.scan(0, usize::MAX, Seen::Published, |row| {
            other.load(OwnedRow::from_bytes(&row.to_bytes()).unwrap());
        });
        prop_assert_eq!(&model_of(&other), &model);
        prop_assert_eq!(other.live_rows(Seen::Published), table.live_rows(Seen::Published));
        prop_assert_eq!(other.expiring_rows(), table.expiring_rows());
    }
}

fn set(table: &Table, key: u32, lsn: u64, change: &PlainChange) {
    table.apply(lsn, Edit::Plain(format!("user:{key:04}").as_bytes(), change));
}

fn stored_bytes(table: &Table, key: u32) -> (usize, Vec<u8>) {
    table.read(format!("user:{key:04}").as_bytes(), Seen::Published, |row| {
        let row = row.unwrap();
        (row.memory_bytes(), row.to_bytes().into_owned())
    })
}

#[test]
fn names_of_many_hashes_take_no_bytes_of_a_row_and_stand_in_its_snapshot() {
    for (count, of_name) in [(1, 6), (20, 8), (64, 8), (200, 8), (SHAPE_NAMES_MAX, 8)] {
        let table = Table::new([1, 2, 3, 4]);
        let written = PlainChange::SetHash(pairs((0..count).map(|it| (it, 4)), 1));
        (0..100).for_each(|key| set(&table, key, 1, &written));
        assert!(shaped_count(&table) > 80, "{count}");
        let ((first, names), (last, same)) = (stored_bytes(&table, 0), stored_bytes(&table, 99));
        // Key, LSN, shape; ends of one or two bytes; values.
        assert!(last <= 13 + count * (2 + 4) && first >= last + count * of_name, "{first} {last}");
        assert_eq!(names.len(), same.len());
        if count <= PACKED_FIELDS_MAX {
            let at = |row: &[u8]| row.len() - PackedFields::<false>::bytes(count, 0);
            assert_eq!(&names[names.len() - 20..], &same[same.len() - 20..], "{}", at(&names));
        }
    }
}

#[test]
fn a_write_of_some_fields_keeps_the_shape_and_the_order() {
    let table = Table::new([1, 2, 3, 4]);
    let written = PlainChange::SetHash(pairs((0..50).map(|it| (it, 4)), 1));
    (0..40).for_each(|key| set(&table, key, 1, &written));
    let order = || {
        table.read(b"user:0039", Seen::Published, |row| {
            let Some(Body::Hash(hash)) = row.unwrap().body() else { panic!("no hash") };
            assert!(matches!(hash.0, PlainHash::Shaped(_)));
            hash.every().map(|field| field.name.to_vec()).collect::<Vec<_>>()
        })
    };
    let before = order();
    assert_eq!(before, (0..50).map(name).collect::<Vec<_>>());
    for (lsn, some) in
        [(2, vec![(49, 1), (3, 300), (49, 2)]), (3, (0..50).map(|n| (n, 9)).collect())]
    {
        set(&table, 39, lsn, &PlainChange::SetFields(pairs(some.into_iter(), lsn)));
        assert_eq!(order(), before);
    }
    // More fields than are compared with each other, of a hash without a shape: in order, too.
    let (alone, all) = (Table::new([1, 2, 3, 4]), || (0..50).map(|it| (it, 4)));
    set(&alone, 1, 1, &PlainChange::SetHash(pairs(all(), 1)));
    set(&alone, 1, 2, &PlainChange::SetFields(pairs(all().rev(), 2)));
    alone.read(b"user:0001", Seen::Published, |row| {
        let names: Vec<_> = hash(row.unwrap()).fields().map(|field| field.name.to_vec()).collect();
        assert_eq!(names, before);
    });
}

#[test]
fn a_field_with_an_end_takes_the_hash_out_of_its_shape_and_without_it_back() {
    let table = Table::new([1, 2, 3, 4]);
    let written = PlainChange::SetHash(pairs((0..5).map(|it| (it, 4)), 1));
    (0..40).for_each(|key| set(&table, key, 1, &written));
    let shaped = shaped_count(&table);
    let ending = |end| EndingField { name: name(2).into(), value: b"v".to_vec().into(), end };
    let end = |end| PlainChange::SetEndingFields { is_whole: false, fields: vec![ending(end)] };
    set(&table, 39, 2, &end(Some(Timestamp(5000))));
    assert_eq!((shaped_count(&table), table.ending_rows()), (shaped - 1, 1));
    set(&table, 39, 3, &end(None));
    assert_eq!((shaped_count(&table), table.ending_rows()), (shaped, 0));
}

#[test]
fn no_snapshot_brings_a_shape() {
    let table = Table::new([1, 2, 3, 4]);
    let written = PlainChange::SetHash(pairs((0..5).map(|it| (it, 4)), 1));
    (0..40).for_each(|key| set(&table, key, 1, &written));
    table.read(b"user:0039", Seen::Published, |row| {
        let Some(Row::Packed(bytes, Some(_))) = row else { panic!("no packed row") };
        assert!(matches!(hash(row.unwrap()), PlainHash::Shaped(_)));
        assert!(OwnedRow::from_bytes(bytes).is_none());
    });
}
