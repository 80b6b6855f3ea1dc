//! What holds for any definitions, any text, and any history of applying and switching.

use super::{
    canonical::canonical_text,
    catalog::{Catalog, SlotType},
    definition::{
        DefinitionFile, Definitions, EntityDefinition, FeatureDefinition, Selection,
        ServiceDefinition, ViewDefinition,
    },
    parse::parse_repository,
    plan::plan,
    sample::{WEATHER, parse},
};
use crate::feature::{
    Expectation, JoinKey, KeyType, List, Scalar, Timestamp, Ttl, Value, ValueType,
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};
use std::collections::BTreeMap;

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z_][a-zA-Z0-9_]{0,8}"
}

/// Any text, often with what TOML would have to escape.
fn prose() -> impl Strategy<Value = Option<String>> {
    option::of(prop_oneof![any::<String>(), "[\"\\\\\n\r\t\u{0}\u{7f}\u{85}a]{0,6}"])
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::Int32),
        any::<i64>().prop_map(Value::Int64),
        any::<f32>().prop_map(Value::Float32),
        any::<f64>().prop_map(Value::Float64),
        select(vec![f64::NAN, f64::INFINITY, -f64::INFINITY, -0.0]).prop_map(Value::Float64),
        any::<String>().prop_map(Value::String),
        any::<String>().prop_map(|text| Value::Bytes(text.into_bytes())),
        any::<i64>().prop_map(|us| Value::Timestamp(Timestamp(us))),
    ]
}

/// A type, and maybe a default of it.
fn typed() -> impl Strategy<Value = (ValueType, Option<Value>)> {
    let list = (scalar(), 1_u32..4, any::<bool>()).prop_map(|(value, length, is_fixed)| {
        let ValueType::Scalar(element) = value.value_type() else { unreachable!() };
        let values = std::iter::repeat_n(value, length as usize);
        let list = List::collect(element, values).map(Value::List);
        (ValueType::List { element, length: is_fixed.then_some(length) }, list)
    });
    prop_oneof![
        scalar().prop_map(|value| (value.value_type(), Some(value))),
        select(Scalar::ALL.to_vec()).prop_map(|scalar| (ValueType::Scalar(scalar), None)),
        list,
    ]
}

fn feature() -> impl Strategy<Value = FeatureDefinition> {
    let rate = option::of(0.0..=1.0);
    (name(), typed(), prose(), prose(), rate, option::of(-1e9..1e9)).prop_map(
        |(name, (value_type, default), unit, description, max_null_rate, min)| {
            let (ValueType::Scalar(element) | ValueType::List { element, .. }) = value_type;
            let numeric = element.name().starts_with("int") || element.name().starts_with("float");
            let min = min.filter(|_| numeric);
            let expect = Expectation { min, max: min.map(|min| min + 1.0), max_null_rate };
            let expect = (expect != Expectation::default()).then_some(expect);
            FeatureDefinition { name, value_type, unit, description, default, expect }
        },
    )
}

fn entity() -> impl Strategy<Value = EntityDefinition> {
    let key = (name(), select(KeyType::ALL.to_vec()));
    (name(), vec(key, 1..4), prose(), prose()).prop_map(|(name, keys, owner, description)| {
        let key = |(name, key_type)| JoinKey { name: format!("key_{name}"), key_type };
        let mut join_keys: Vec<JoinKey> = keys.into_iter().map(key).collect();
        let mut seen = Vec::new();
        join_keys.retain(|key| {
            !seen.contains(&key.name) && {
                seen.push(key.name.clone());
                true
            }
        });
        EntityDefinition { name, join_keys, owner, description }
    })
}

fn view() -> impl Strategy<Value = ViewDefinition> {
    let source =
        option::of(("[^\u{0}]{1,9}", "@.{0,4}", option::of("#.{0,4}"), option::of(1_i64..)));
    let times = (option::of(1_i64..), option::of(1_i64..), source);
    (name(), times, prose(), prose(), vec(feature(), 1..5)).prop_map(
        |(name, (ttl, retention_us, source), owner, description, mut features)| {
            features.sort_by(|a, b| b.name.cmp(&a.name));
            features.dedup_by(|a, b| a.name == b.name);
            let (source, event_timestamp, created_timestamp, schedule_us) = match source {
                Some((source, event, created, schedule)) => {
                    (Some(source), Some(event), created, schedule)
                }
                None => (None, None, None, None),
            };
            ViewDefinition {
                name,
                entity: String::new(),
                source,
                event_timestamp,
                created_timestamp,
                ttl: ttl.and_then(Ttl::from_us),
                retention_us,
                schedule_us,
                owner,
                description,
                features,
            }
        },
    )
}

/// Definitions that hold together: views of known entities, services of known features.
fn definitions() -> impl Strategy<Value = Definitions> {
    let service = (name(), any::<u64>(), prose(), prose());
    let parts = (vec(entity(), 1..4), vec(view(), 0..4), vec(service, 0..3));
    parts.prop_map(|(mut entities, mut views, services)| {
        entities.sort_by(|a, b| a.name.cmp(&b.name));
        entities.dedup_by(|a, b| a.name == b.name);
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views.dedup_by(|a, b| a.name == b.name);
        for (index, view) in views.iter_mut().enumerate() {
            view.entity = entities[index % entities.len()].name.clone();
        }
        let mut chosen = BTreeMap::new();
        for (name, bits, owner, description) in services {
            let select = |(index, view): (usize, &ViewDefinition)| {
                let feature = view.features[bits as usize % view.features.len()].name.clone();
                let feature = (bits >> index & 1 == 0).then_some(feature);
                Selection { view: view.name.clone(), feature }
            };
            let features: Vec<_> = views.iter().enumerate().map(select).collect();
            if !features.is_empty() {
                let service =
                    ServiceDefinition { name: name.clone(), features, owner, description };
                chosen.insert(name, service);
            }
        }
        Definitions { entities, views, services: chosen.into_values().collect() }
    })
}

/// One step of a small history: which views there are and what they look like, or a switch.
#[derive(Clone, Debug)]
enum Step {
    Apply(String),
    Switch(&'static str, u32),
}

const VIEWS: [&str; 3] = ["a", "b", "c"];
const ENTITIES: [&str; 2] = ["plane", "route"];

/// A view text out of few possibilities, so that versions come back.
fn small_view(name: &'static str) -> impl Strategy<Value = String> {
    let feature = option::weighted(0.6, select(vec!["int32", "int64"]));
    let features = vec(feature, 3).prop_map(|types| {
        let named = types.into_iter().zip(["x", "y", "z"]);
        named.filter_map(|(t, name)| Some(format!("{name} = \"{}\"", t?))).collect::<Vec<_>>()
    });
    let source = option::of(select(vec!["s", "t"]));
    let entity = select(ENTITIES.to_vec());
    (features, source, entity, option::of(1..3)).prop_map(move |(features, source, entity, ttl)| {
        if features.is_empty() {
            return String::new();
        }
        let mut text = format!("[view.{name}]\nentity = \"{entity}\"\n");
        if let Some(source) = source {
            text += &format!("source = \"{source}\"\nevent_timestamp = \"e\"\n");
        }
        if let Some(ttl) = ttl {
            text += &format!("ttl = \"{ttl}h\"\n");
        }
        text += &format!("features = {{ {} }}\n", features.join(", "));
        text + &format!("[service.of_{name}]\nfeatures = [\"{name}:*\"]\n")
    })
}

fn step() -> impl Strategy<Value = Step> {
    let views = (small_view("a"), small_view("b"), small_view("c"), any::<bool>());
    let apply = views.prop_map(|(a, b, c, has_both)| {
        let mut text = a + &b + &c;
        for entity in ENTITIES {
            if has_both || text.contains(&format!("entity = \"{entity}\"")) {
                text += &format!("[entity.{entity}]\njoin_keys = {{ k = \"int64\" }}\n");
            }
        }
        Step::Apply(text)
    });
    prop_oneof![
        3 => apply,
        1 => (select(VIEWS.to_vec()), 0_u32..6).prop_map(|(view, to)| Step::Switch(view, to)),
    ]
}

fn take(catalog: &Catalog, step: &Step, at: i64) -> Catalog {
    match step {
        Step::Apply(text) => catalog.apply(&parse(text), Timestamp(at)).unwrap(),
        Step::Switch(view, generation) => catalog.switch(view, *generation),
    }
}

/// All that a catalog holds but its index, which follows from it.
fn assert_equal(a: &Catalog, b: &Catalog) -> Result<(), TestCaseError> {
    prop_assert_eq!(&a.applied, &b.applied);
    prop_assert_eq!(&a.entities, &b.entities);
    prop_assert_eq!(&a.views, &b.views);
    prop_assert_eq!(&a.view_ids, &b.view_ids);
    prop_assert_eq!(&a.services, &b.services);
    for entity in a.entities() {
        prop_assert_eq!(a.views_of(entity.id), b.views_of(entity.id));
    }
    Ok(())
}

proptest! {
    #[test]
    fn canonical_text_reads_back_as_the_same_definitions(definitions in definitions()) {
        let text = canonical_text(&definitions);
        let file = DefinitionFile { path: "canonical".into(), text: text.clone() };
        let back = parse_repository(&[file]);
        prop_assert!(back.is_ok(), "{}\n{}", back.unwrap_err(), text);
        prop_assert_eq!(&back.unwrap(), &definitions, "{}", text);
    }

    #[test]
    fn any_definitions_that_are_read_can_be_applied_and_planned(definitions in definitions()) {
        let catalog = Catalog::empty().apply(&definitions, Timestamp(1)).unwrap();
        prop_assert!(plan(&catalog, &definitions).unwrap().is_empty());
        prop_assert_eq!(catalog.views().count(), definitions.views.len());
    }

    /// A store that starts again applies what was applied, and switches to what had served.
    #[test]
    fn a_replay_gives_the_same_catalog(steps in vec(step(), 1..12)) {
        let mut live = Catalog::empty();
        for (at, step) in steps.iter().enumerate() {
            live = take(&live, step, at as i64);
        }
        let mut again = Catalog::empty();
        for (at, text) in live.applied() {
            again = again.apply(&parse(text), *at).unwrap();
        }
        for view in live.views() {
            again = again.switch(&view.name, view.generation);
        }
        assert_equal(&live, &again)?;
    }

    #[test]
    fn a_slot_never_changes_its_meaning_nor_a_view_its_number(steps in vec(step(), 1..12)) {
        let mut catalog = Catalog::empty();
        let mut slots: BTreeMap<(u32, u32), Vec<SlotType>> = BTreeMap::new();
        let mut ids: BTreeMap<String, u32> = BTreeMap::new();
        for (at, step) in steps.iter().enumerate() {
            catalog = take(&catalog, step, at as i64);
            for name in VIEWS {
                for entry in catalog.view_history(name) {
                    let view = &entry.definition;
                    prop_assert_eq!(*ids.entry(view.name.clone()).or_insert(view.id.0), view.id.0);
                    let now = catalog.slots(view.id, view.generation);
                    let before = slots.entry((view.id.0, view.generation)).or_default();
                    prop_assert!(now.starts_with(before));
                    *before = now.to_vec();
                    for feature in &view.features {
                        let slot = &now[feature.slot as usize];
                        prop_assert_eq!(&slot.name, &feature.name);
                        prop_assert_eq!(slot.value_type, feature.value_type);
                    }
                }
            }
        }
    }

    /// While something fills, something older serves, and every feature of it is found.
    #[test]
    fn what_is_defined_serves(steps in vec(step(), 1..12)) {
        let mut catalog = Catalog::empty();
        for (at, step) in steps.iter().enumerate() {
            catalog = take(&catalog, step, at as i64);
            for name in VIEWS {
                let serving = catalog.view(name);
                prop_assert_eq!(serving.is_some(), catalog.newest_view(name).is_some());
                let Some(serving) = serving else { continue };
                if let Some(filling) = catalog.filling(name) {
                    prop_assert!(serving.generation < filling.generation);
                    prop_assert_eq!(Some(filling), catalog.newest_view(name));
                }
                for feature in &serving.features {
                    let full = format!("{name}:{}", feature.name);
                    let found = catalog.resolve_feature(serving.entity, full.as_bytes()).unwrap();
                    prop_assert_eq!(found.feature, feature);
                }
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        let _ = parse_repository(&[DefinitionFile { path: "any".into(), text }]);
    }

    #[test]
    fn any_change_of_a_good_text_is_read_or_refused(
        cuts in vec((any::<Index>(), 0_usize..9, "[\\[\\]{}=\".,#a-z0-9\n-]{0,4}"), 1..4),
    ) {
        let mut text = WEATHER.to_owned();
        for (index, length, put) in cuts {
            let from = index.index(text.len());
            let to = (from + length).min(text.len());
            text.replace_range(from..to, &put);
        }
        let file = |path: &str| DefinitionFile { path: path.into(), text: text.clone() };
        let Ok(definitions) = parse_repository(&[file("a")]) else { return Ok(()) };
        prop_assert_eq!(&parse(&canonical_text(&definitions)), &definitions);
        let twice = parse_repository(&[file("a"), file("b")]);
        prop_assert!(twice.is_err() || definitions == Definitions::default());
    }
}
