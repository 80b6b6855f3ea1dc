//! The fields of a definition as text, and which of them two versions differ in.

use super::canonical::{expect_text, value_text};
use crate::feature::{Entity, Feature, View, duration_text};

/// One field of a definition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    name: &'static str,
    value: Option<String>,
    /// Too long to be shown: a change of it is only named.
    is_prose: bool,
}

impl Field {
    fn new(name: &'static str, value: Option<String>) -> Self {
        Self { name, value, is_prose: false }
    }

    fn prose(name: &'static str, value: Option<String>) -> Self {
        Self { name, value, is_prose: true }
    }

    /// `ttl 6h`, if it has a value.
    pub(super) fn written(&self) -> Option<String> {
        Some(format!("{} {}", self.name, self.value.as_ref()?))
    }
}

/// `ttl 6h -> 12h` for every field in which `before` and `after`, of one kind, differ.
pub(super) fn changed_fields(before: &[Field], after: &[Field]) -> Vec<String> {
    let pairs = before.iter().zip(after).filter(|(before, after)| before.value != after.value);
    let text = |(before, after): (&Field, &Field)| {
        let shown = |field: &Field| field.value.clone().unwrap_or_else(|| "none".to_owned());
        match (before.name, before.is_prose) {
            (name, true) => name.to_owned(),
            ("", false) => format!("{} -> {}", shown(before), shown(after)),
            (name, false) => format!("{name} {} -> {}", shown(before), shown(after)),
        }
    };
    pairs.map(text).collect()
}

pub(super) fn entity_fields(entity: &Entity) -> Vec<Field> {
    let keys = entity.join_keys.iter();
    let keys: Vec<_> = keys.map(|key| format!("{} {}", key.name, key.key_type.name())).collect();
    vec![
        Field::new("join keys", Some(keys.join(" + "))),
        Field::new("owner", entity.owner.clone()),
        Field::prose("description", entity.description.clone()),
    ]
}

pub(super) fn view_fields(view: &View, entity: &str) -> Vec<Field> {
    vec![
        Field::new("entity", Some(entity.to_owned())),
        Field::new("source", view.source.clone()),
        Field::new("event_timestamp", view.event_timestamp.clone()),
        Field::new("created_timestamp", view.created_timestamp.clone()),
        Field::new("ttl", view.ttl.map(|ttl| ttl.text())),
        Field::new("retention", view.retention_us.map(duration_text)),
        Field::new("schedule", view.schedule_us.map(duration_text)),
        Field::new("owner", view.owner.clone()),
        Field::prose("description", view.description.clone()),
    ]
}

pub(super) fn feature_fields(feature: &Feature) -> Vec<Field> {
    vec![
        // The type needs no name in front of it: `temp: float64 -> float32`.
        Field::new("", Some(feature.value_type.to_string())),
        Field::new("unit", feature.unit.clone()),
        Field::new("default", feature.default.as_ref().map(value_text)),
        Field::new("expect", feature.expect.as_ref().map(expect_text)),
        Field::prose("description", feature.description.clone()),
    ]
}
