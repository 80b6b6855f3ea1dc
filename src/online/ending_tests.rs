//! Hashes of which fields end, against a model that is only a map.

use super::{Edit, OwnedRow, Row, Seen, Table};
use crate::feature::{EndingField, PlainChange, Timestamp};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

type Model = BTreeMap<String, (String, Option<Timestamp>)>;

#[derive(Clone, Debug)]
enum Step {
    Set(Vec<(u8, u8)>),
    SetEnding {
        is_whole: bool,
        fields: Vec<(u8, u8, Option<i64>)>,
    },
    End(Vec<u8>, Option<i64>),
    Delete(Vec<u8>),
    Expire(Option<i64>),
    /// The row goes through the bytes of a snapshot.
    Reload,
    /// Time passes, and the sweeper comes along.
    Sweep(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let names = || prop::collection::vec(0..12_u8, 1..5);
    let end = || prop::option::of(1..60_i64);
    let ending = prop::collection::vec((0..12_u8, any::<u8>(), end()), 1..5);
    prop_oneof![
        prop::collection::vec((0..12_u8, any::<u8>()), 1..5).prop_map(Step::Set),
        (prop::bool::weighted(0.1), ending)
            .prop_map(|(is_whole, fields)| Step::SetEnding { is_whole, fields }),
        (names(), end()).prop_map(|(names, end)| Step::End(names, end)),
        names().prop_map(Step::Delete),
        prop::option::of(40..80_i64).prop_map(Step::Expire),
        Just(Step::Reload),
        (0..4_i64).prop_map(Step::Sweep),
    ]
}

fn name(number: u8) -> String {
    format!("field-{number}")
}

/// The change that a step is, if it is one.
fn change(step: &Step) -> Option<PlainChange> {
    let bytes = |text: String| text.into_bytes().into();
    Some(match step {
        Step::Set(fields) => {
            let fields = fields.iter().map(|(n, v)| (bytes(name(*n)), bytes(v.to_string())));
            PlainChange::SetFields(fields.collect())
        }
        Step::SetEnding { is_whole, fields } => {
            let field = |(n, v, end): &(u8, u8, Option<i64>)| EndingField {
                name: bytes(name(*n)),
                value: bytes(v.to_string()),
                end: end.map(Timestamp),
            };
            let fields = fields.iter().map(field).collect();
            PlainChange::SetEndingFields { is_whole: *is_whole, fields }
        }
        Step::End(names, end) => {
            let names = names.iter().map(|n| bytes(name(*n))).collect();
            PlainChange::EndFields { names, at: end.map(Timestamp) }
        }
        Step::Delete(names) => {
            PlainChange::DeleteFields(names.iter().map(|n| bytes(name(*n))).collect())
        }
        Step::Expire(end) => PlainChange::ExpireAt(end.map(Timestamp)),
        Step::Reload | Step::Sweep(_) => return None,
    })
}

fn change_model(model: &mut Model, expires_at: &mut Option<Timestamp>, step: &Step) {
    match step {
        Step::Set(fields) => {
            model.extend(fields.iter().map(|(n, v)| (name(*n), (v.to_string(), None))));
        }
        Step::SetEnding { is_whole, fields } => {
            if *is_whole {
                model.clear();
                *expires_at = None;
            }
            let field = |(n, v, end): &(u8, u8, Option<i64>)| {
                (name(*n), (v.to_string(), end.map(Timestamp)))
            };
            model.extend(fields.iter().map(field));
        }
        Step::End(names, end) => {
            for number in names {
                if let Some((_, standing)) = model.get_mut(&name(*number)) {
                    *standing = end.map(Timestamp);
                }
            }
        }
        Step::Delete(names) => names.iter().for_each(|n| drop(model.remove(&name(*n)))),
        Step::Expire(end) => *expires_at = end.map(Timestamp),
        Step::Reload | Step::Sweep(_) => {}
    }
    if model.is_empty() {
        *expires_at = None;
    }
}

fn is_over(end: Option<Timestamp>, now: Timestamp) -> bool {
    end.is_some_and(|end| end <= now)
}

/// What a reader sees at `now` of the row and of the model, which must be the same.
fn compare(row: Option<Row<'_>>, model: &Model, expires_at: Option<Timestamp>, now: Timestamp) {
    let live: Model = match is_over(expires_at, now) {
        true => Model::new(),
        false => {
            let live = model.iter().filter(|(_, (_, end))| !is_over(*end, now));
            live.map(|(name, field)| (name.clone(), field.clone())).collect()
        }
    };
    let Some(row) = row.filter(|row| !row.is_expired(now)) else {
        assert!(live.is_empty(), "a row is missing that has {live:?} at {now:?}");
        return;
    };
    assert_eq!(row.expires_at(), expires_at);
    let first_end = model.values().filter_map(|(_, end)| *end).min();
    assert_eq!((row.first_field_end(), row.has_field_ends()), (first_end, first_end.is_some()));
    let hash = row.stored_hash().unwrap().at(now);
    assert_eq!((hash.len(), hash.is_empty()), (live.len(), live.is_empty()));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let seen: Model =
        hash.fields().map(|field| (text(field.name), (text(field.value), field.end))).collect();
    assert_eq!(seen, live);
    let mut hint = 0;
    for name in model.keys() {
        let value = hash.get(name.as_bytes(), &mut hint).map(text);
        assert_eq!(value, live.get(name).map(|(value, _)| value.clone()), "{name}");
    }
}

/// Passes over what is over, as a sweep does.
fn sweep_model(model: &mut Model, expires_at: &mut Option<Timestamp>, now: Timestamp) {
    model.retain(|_, (_, end)| !is_over(*end, now));
    if is_over(*expires_at, now) {
        model.clear();
    }
    if model.is_empty() {
        *expires_at = None;
    }
}

/// Row and model while up to `lag` writes wait for their syncs: the next write sees what the model
/// is, and readers do once all is durable. The row begins with `filling` fields that stay.
fn run_waiting(lag: usize, filling: usize, steps: &[Step]) {
    let table = Table::new([1, 2, 3, 4]);
    let hash = table.hash(b"k");
    let shard = Table::shard_index(hash);
    let (mut model, mut expires_at, mut now) = (Model::new(), None, Timestamp(0));
    if filling > 0 {
        let names = || (0..filling).map(|number| format!("filling-{number}"));
        model.extend(names().map(|name| (name, ("x".to_owned(), None))));
        let fields = names().map(|name| (name.into_bytes().into(), b"x".to_vec().into()));
        table.apply(0, Edit::Plain(b"k", &PlainChange::SetFields(fields.collect())));
    }
    let mut waiting: VecDeque<(u64, PlainChange)> = VecDeque::new();
    let publish = |waiting: &mut VecDeque<(u64, PlainChange)>, left: usize| {
        while waiting.len() > left {
            let (lsn, change) = waiting.pop_front().unwrap();
            table.publish(lsn, Edit::Plain(b"k", &change));
        }
    };
    for (step, lsn) in steps.iter().zip(1..) {
        let is_row = table.read(b"k", Seen::Latest, |row| row.is_some());
        match change(step) {
            Some(PlainChange::ExpireAt(_)) if !is_row => continue,
            Some(change) => {
                let edit = Edit::Plain(b"k", &change);
                table.shard_mut(shard).apply_pending(hash, lsn, edit);
                waiting.push_back((lsn, change));
                publish(&mut waiting, lag);
            }
            None => {}
        }
        change_model(&mut model, &mut expires_at, step);
        if let Step::Sweep(us) = step {
            now = now.plus_us(*us);
            // What waits is not touched, whatever its ends.
            if !waiting.is_empty() {
                table.sweep(shard, now);
                table.read(b"k", Seen::Latest, |row| compare(row, &model, expires_at, now));
            }
            publish(&mut waiting, 0);
            table.read(b"k", Seen::Published, |row| compare(row, &model, expires_at, now));
            table.sweep(shard, now);
            sweep_model(&mut model, &mut expires_at, now);
        }
        table.read(b"k", Seen::Latest, |row| compare(row, &model, expires_at, now));
    }
    publish(&mut waiting, 0);
    table.read(b"k", Seen::Published, |row| compare(row, &model, expires_at, now));
}

/// Row and model, step by step; the row begins with `filling` fields that no step touches.
fn run(filling: usize, filling_end: Option<i64>, steps: &[Step]) {
    let table = Table::new([1, 2, 3, 4]);
    let shard = Table::shard_index(table.hash(b"k"));
    let something = PlainChange::SetString { value: Vec::new(), expires_at: None };
    table.apply(1, Edit::Plain(b"k", &something));
    table.apply(1, Edit::Plain(b"k", &PlainChange::Delete));
    let bytes_without_row = table.shard(shard).memory_bytes();
    let (mut model, mut expires_at, mut now) = (Model::new(), None, Timestamp(0));
    let fields: Vec<EndingField> = (0..filling)
        .map(|i| EndingField {
            name: format!("filling-{i}").into_bytes().into(),
            value: b"x".to_vec().into(),
            end: filling_end.map(Timestamp),
        })
        .collect();
    model.extend(fields.iter().map(|field| {
        (String::from_utf8(field.name.to_vec()).unwrap(), ("x".to_owned(), field.end))
    }));
    let mut lsn = 1;
    let mut apply = |change: &PlainChange| {
        lsn += 1;
        // Twice: what replay meets again must do no harm.
        (0..2).for_each(|_| table.apply(lsn, Edit::Plain(b"k", change)));
    };
    if filling > 0 {
        apply(&PlainChange::SetEndingFields { is_whole: true, fields });
    }
    for step in steps {
        let is_row = |row: Option<Row<'_>>| row.is_some();
        match change(step) {
            // These are logged of rows that are there only.
            Some(PlainChange::ExpireAt(_)) if !table.read(b"k", Seen::Latest, is_row) => continue,
            Some(change) => apply(&change),
            None => {}
        }
        change_model(&mut model, &mut expires_at, step);
        match step {
            Step::Reload => {
                let bytes = |row: Option<Row<'_>>| row.map(|row| row.to_bytes().into_owned());
                let bytes = table.read(b"k", Seen::Latest, bytes);
                bytes
                    .into_iter()
                    .for_each(|bytes| table.load(OwnedRow::from_bytes(&bytes).unwrap()));
            }
            Step::Sweep(us) => {
                now = now.plus_us(*us);
                assert!(table.sweep(shard, now).is_done);
                sweep_model(&mut model, &mut expires_at, now);
                assert_eq!(table.read(b"k", Seen::Latest, is_row), !model.is_empty());
            }
            _ => {}
        }
        for at in [now, now.plus_us(1), now.plus_us(15), now.plus_us(70)] {
            table.read(b"k", Seen::Published, |row| compare(row, &model, expires_at, at));
        }
        let ending = usize::from(model.values().any(|(_, end)| end.is_some()));
        let shard = table.shard(shard);
        assert_eq!(shard.ending_rows(Seen::Published), ending);
        assert_eq!(shard.expiring_rows(Seen::Published), usize::from(expires_at.is_some()));
        assert_eq!(shard.live_rows(Seen::Published), usize::from(!model.is_empty()));
    }
    table.apply(u64::MAX, Edit::Plain(b"k", &PlainChange::Delete));
    assert_eq!(table.shard(shard).memory_bytes(), bytes_without_row, "every byte is given back");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_small_hash_is_what_a_map_is(steps in prop::collection::vec(step(), 1..60)) {
        run(0, None, &steps);
    }

    #[test]
    fn a_hash_that_waits_for_its_syncs_is_what_a_map_is(
        lag in 1..5_usize,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        run_waiting(lag, 0, &steps);
    }

    #[test]
    fn a_large_hash_that_waits_for_its_syncs_is_what_a_map_is(
        lag in 1..5_usize,
        filling in 60..700_usize,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        run_waiting(lag, filling, &steps);
    }

    #[test]
    fn a_large_hash_is_what_a_map_is(steps in prop::collection::vec(step(), 1..60)) {
        run(70, None, &steps);
    }

    #[test]
    fn a_hash_of_which_most_fields_end_is_what_a_map_is(
        filling in 1..90_usize,
        end in 1..40_i64,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        run(filling, Some(end), &steps);
    }
}

#[test]
fn a_sweep_takes_everything_that_is_over_however_much_it_is() {
    let table = Table::new([1, 2, 3, 4]);
    let field = |i: u32| EndingField {
        name: i.to_le_bytes().to_vec().into(),
        value: b"v".to_vec().into(),
        end: (i > 0).then_some(Timestamp(i64::from(i))),
    };
    let fields = (0..5_000).map(field).collect();
    let change = PlainChange::SetEndingFields { is_whole: true, fields };
    table.apply(1, Edit::Plain(b"k", &change));
    let stored = || {
        let count =
            |row: Option<Row<'_>>| row.map(|row| row.stored_hash().unwrap().every().count());
        table.read(b"k", Seen::Latest, count)
    };
    let shard = Table::shard_index(table.hash(b"k"));
    let sweep = |now| {
        let mut steps = 1;
        while !table.sweep(shard, Timestamp(now)).is_done {
            steps += 1;
        }
        steps
    };
    assert_eq!((sweep(0), stored()), (1, Some(5_000)));
    assert_eq!((sweep(3_000), stored()), (3, Some(2_000)));
    assert_eq!((sweep(9_000), stored()), (2, Some(1)));
    assert_eq!(table.ending_rows(), 0);
}

#[test]
fn a_sweep_leaves_what_waits_for_its_sync() {
    let table = Table::new([1, 2, 3, 4]);
    let ending = |end: i64| {
        let field = EndingField {
            name: b"f".to_vec().into(),
            value: b"v".to_vec().into(),
            end: Some(Timestamp(end)),
        };
        PlainChange::SetEndingFields { is_whole: true, fields: vec![field] }
    };
    table.apply(1, Edit::Plain(b"k", &ending(5)));
    let hash = table.hash(b"k");
    let shard = Table::shard_index(hash);
    let persist = PlainChange::EndFields { names: vec![b"f".to_vec().into()], at: None };
    let other = PlainChange::SetFields(vec![(b"g".to_vec().into(), b"w".to_vec().into())]);
    table.shard_mut(shard).apply_pending(hash, 2, Edit::Plain(b"k", &persist));
    table.shard_mut(shard).apply_pending(hash, 3, Edit::Plain(b"k", &other));
    assert_eq!(table.sweep(shard, Timestamp(9)).rows, 0);
    table.publish(2, Edit::Plain(b"k", &persist));
    let seen = |row: Option<Row<'_>>| row.unwrap().stored_hash().unwrap().at(Timestamp(9)).len();
    assert_eq!(table.read(b"k", Seen::Published, seen), 1);
    table.publish(3, Edit::Plain(b"k", &other));
    assert_eq!(table.read(b"k", Seen::Published, seen), 2);
}
