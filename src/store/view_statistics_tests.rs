//! The figures of a view are what a count of a naive model gives, over random histories, in steps
//! of any size, and after a restart.

use super::{Clock, FeatureRow, Numbers, Store, StoreOptions, ViewStatistics};
use crate::{
    disk::SimulatedFs,
    feature::{CellWrite, Timestamp, Value},
    log::Durability,
    online::Seen,
    registry::{DefinitionFile, parse_repository},
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
};

const DEFINITIONS: &str = r#"
[entity.user]
join_keys = { user = "int64" }
[entity.item]
join_keys = { item = "int64" }

[view.v]
entity = "user"
ttl = "20us"
features = { whole = "int64", real = "float64", text = "string" }
[view.other]
entity = "user"
features = { whole = "int64" }
[view.items]
entity = "item"
features = { whole = "int64" }
"#;
const VIEWS: [(&str, &str); 3] = [("v", "user"), ("other", "user"), ("items", "item")];
const NOW: i64 = 1_000;

/// A write of one cell: view, key, feature, event, and which value.
type Write = (usize, i64, usize, i64, usize);

/// The values that are written to the features of `v`, and of the other views to their one.
fn cell(feature: usize, which: usize) -> CellWrite {
    let whole = [0, 1, -7, i64::MAX, i64::MIN];
    let real = [0.5, -1e308, 1e308, f64::NAN, f64::INFINITY];
    let text = ["", "a", "b", "a:b", "long enough to stand apart"];
    match which {
        5 => CellWrite::Null,
        6 => CellWrite::Tombstone,
        _ => CellWrite::Value(match feature {
            0 => Value::Int64(whole[which]),
            1 => Value::Float64(real[which]),
            _ => Value::String(text[which].into()),
        }),
    }
}

fn open(fs: &SimulatedFs, durability: Durability) -> Arc<Store> {
    let options = StoreOptions { durability, segment_bytes: 64 * 1024, ..StoreOptions::default() };
    let clock = Clock::manual(Timestamp(NOW));
    Store::open(Arc::new(fs.clone()), Path::new("/data"), &options, clock).unwrap()
}

fn write(store: &Store, (view, key, feature, event, which): Write) {
    let schema = store.schema();
    let (name, entity) = VIEWS[view];
    let view = schema.catalog.view(name).unwrap();
    let feature = feature % view.features.len();
    let slot = view.feature(["whole", "real", "text"][feature]).unwrap().slot;
    let cells = vec![(slot, cell(feature, which))];
    let key = format!("{entity}:{key}").into_bytes();
    let row = FeatureRow { key, event: Timestamp(event), created: None, cells };
    let written = store.keyspace().push_rows(&schema, view, vec![row]).unwrap();
    if let Some(lsn) = written.wait_for {
        store.acknowledged_blocking(lsn).unwrap();
    }
}

fn statistics(store: &Store, view: &str, step_rows: usize) -> ViewStatistics {
    let schema = store.schema();
    let view = schema.catalog.view(view).unwrap();
    store.keyspace().view_statistics_by(step_rows, &schema, view, Seen::Published, store.now())
}

/// The newest cell of each key and feature of a view: of equal events the later one.
fn newest(writes: &[Write], wanted: usize) -> BTreeMap<(i64, usize), (i64, CellWrite)> {
    let mut cells = BTreeMap::new();
    for (view, key, feature, event, which) in writes.iter().copied() {
        let feature = if view == 0 { feature } else { 0 };
        let cell = (event, cell(feature, which));
        let standing = cells.get(&(key, feature)).map_or(i64::MIN, |(event, _)| *event);
        if view == wanted && event >= standing {
            cells.insert((key, feature), cell);
        }
    }
    cells.retain(|_, (_, cell)| *cell != CellWrite::Tombstone);
    cells
}

fn check(store: &Store, writes: &[Write], view: usize, step_rows: usize) {
    let (name, _) = VIEWS[view];
    let told = statistics(store, name, step_rows);
    let cells = newest(writes, view);
    let entities: HashSet<i64> = cells.keys().map(|(key, _)| *key).collect();
    assert_eq!(told.entities, entities.len() as u64);
    let events = || cells.values().map(|(event, _)| Timestamp(*event));
    assert_eq!(told.events, events().min().zip(events().max()));
    assert_eq!(told.features.len(), if view == 0 { 3 } else { 1 });
    let definition = Arc::clone(store.schema().catalog.view(name).unwrap());
    for (feature, told) in definition.features.iter().zip(&told.features) {
        let place = ["whole", "real", "text"].iter().position(|name| *name == feature.name);
        let of_it = || cells.iter().filter(|((_, feature), _)| Some(*feature) == place);
        let is_old = |event: i64| view == 0 && NOW - event > 20;
        let seen = || of_it().filter(|(_, (event, _))| !is_old(*event)).map(|(_, (_, cell))| cell);
        let values = || {
            seen().filter_map(|cell| match cell {
                CellWrite::Value(value) => Some(value),
                CellWrite::Null | CellWrite::Tombstone => None,
            })
        };
        let counts = [told.present, told.null, told.expired, told.absent];
        let present = values().count();
        let (null, old) = (seen().count() - present, of_it().count() - seen().count());
        let absent = entities.len() - of_it().count();
        assert_eq!(counts, [present, null, old, absent].map(|count| count as u64));
        let events = || of_it().map(|(_, (event, _))| Timestamp(*event));
        assert_eq!(told.events, events().min().zip(events().max()));
        let texts: HashSet<String> = values().map(|value| value.to_text()).collect();
        assert_eq!(told.distinct.count(), (texts.len() as u64, 0.0));
        let wholes =
            || values().filter_map(|v| if let Value::Int64(v) = v { Some(*v) } else { None });
        let reals =
            || values().filter_map(|v| if let Value::Float64(v) = v { Some(*v) } else { None });
        let finite = || reals().filter(|real| real.is_finite());
        assert_eq!(told.not_finite as usize, reals().count() - finite().count());
        match told.numbers {
            None => assert_eq!(wholes().count() + finite().count(), 0),
            Some(Numbers::Whole { min, max, sum, count }) => {
                assert_eq!((Some(min), Some(max)), (wholes().min(), wholes().max()));
                assert_eq!(sum, wholes().map(i128::from).sum::<i128>());
                assert_eq!(count as usize, wholes().count());
            }
            Some(Numbers::Float { min, max, mean, count }) => {
                assert_eq!(min, finite().fold(f64::INFINITY, f64::min));
                assert_eq!(max, finite().fold(f64::NEG_INFINITY, f64::max));
                assert_eq!(count as usize, finite().count());
                let naive: f64 = finite().map(|real| real / count as f64).sum();
                assert!((mean - naive).abs() <= 1e-12 * max.abs().max(min.abs()), "{mean} {naive}");
            }
        }
    }
}

fn any_write() -> impl Strategy<Value = Write> {
    (0..VIEWS.len(), 0..12_i64, 0..3_usize, NOW - 25..=NOW, 0..7_usize)
}

proptest! {
    #[test]
    fn the_figures_are_those_of_a_naive_count(
        writes in prop::collection::vec(any_write(), 0..60),
        step_rows in 1..20_usize,
        durability in prop::sample::select(vec![Durability::Never, Durability::Always]),
    ) {
        let fs = SimulatedFs::new();
        let store = open(&fs, durability);
        let file = DefinitionFile { path: "test".into(), text: DEFINITIONS.into() };
        store.apply_definitions(&parse_repository(&[file]).unwrap(), false).unwrap();
        writes.iter().for_each(|each| write(&store, *each));
        (0..3).for_each(|view| check(&store, &writes, view, step_rows));
        store.close().unwrap();
        drop(store);
        let store = open(&fs, durability);
        (0..3).for_each(|view| check(&store, &writes, view, step_rows));
    }
}

#[test]
fn a_mean_of_numbers_whose_sum_is_too_large_is_a_number() {
    let store = open(&SimulatedFs::new(), Durability::Never);
    let file = DefinitionFile { path: "test".into(), text: DEFINITIONS.into() };
    store.apply_definitions(&parse_repository(&[file]).unwrap(), false).unwrap();
    (0..9).for_each(|key| write(&store, (0, key, 1, NOW, 2)));
    (0..9).for_each(|key| write(&store, (0, key, 0, NOW, 3)));
    let told = statistics(&store, "v", 1000);
    let means: Vec<f64> =
        told.features.iter().filter_map(|told| told.numbers).map(Numbers::mean).collect();
    assert_eq!(means.len(), 2);
    assert!(means.iter().any(|mean| (mean / 1e308 - 1.0).abs() < 1e-12), "{means:?}");
    assert!(means.contains(&(i64::MAX as f64)), "{means:?}");
}
