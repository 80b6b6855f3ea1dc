//! The one text of a definition: what is hashed, what is logged, what two repositories are
//! compared by.
//!
//! Invariants
//! - `parse_repository` reads the canonical text of definitions back as equal definitions.
//! - The text of a definition does not depend on the file it came from, nor on its neighbours.

use super::definition::{
    Definitions, EntityDefinition, FeatureDefinition, ServiceDefinition, ViewDefinition,
};
use crate::feature::{Expectation, Timestamp, Value, duration_text};
use std::fmt::Write as _;

/// The whole feature repository as one TOML text: entities, views, services, each sorted by name.
pub fn canonical_text(definitions: &Definitions) -> String {
    let entities = definitions.entities.iter().map(entity_text);
    let views = definitions.views.iter().map(view_text);
    let services = definitions.services.iter().map(service_text);
    entities.chain(views).chain(services).collect::<Vec<_>>().join("\n")
}

/// The first 16 hexadecimal digits of the BLAKE3 hash of a canonical text.
pub(super) fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().chars().take(HASH_DIGITS).collect()
}

const HASH_DIGITS: usize = 16;

/// The canonical text of one entity.
pub(super) fn entity_text(entity: &EntityDefinition) -> String {
    let mut out = format!("[entity.{}]\n", entity.name);
    let join_keys = entity.join_keys.iter();
    let join_keys = join_keys.map(|key| format!("{} = \"{}\"", key.name, key.key_type.name()));
    push_line(&mut out, "join_keys", &inline_table(join_keys));
    push_text(&mut out, "owner", entity.owner.as_deref());
    push_text(&mut out, "description", entity.description.as_deref());
    out
}

/// The canonical text of one view.
pub(super) fn view_text(view: &ViewDefinition) -> String {
    let mut out = format!("[view.{}]\n", view.name);
    push_text(&mut out, "entity", Some(&view.entity));
    push_text(&mut out, "source", view.source.as_deref());
    push_text(&mut out, "event_timestamp", view.event_timestamp.as_deref());
    push_text(&mut out, "created_timestamp", view.created_timestamp.as_deref());
    push_text(&mut out, "ttl", view.ttl.map(|ttl| ttl.text()).as_deref());
    push_text(&mut out, "retention", view.retention_us.map(duration_text).as_deref());
    push_text(&mut out, "schedule", view.schedule_us.map(duration_text).as_deref());
    push_text(&mut out, "owner", view.owner.as_deref());
    push_text(&mut out, "description", view.description.as_deref());
    _ = writeln!(out, "\n[view.{}.features]", view.name);
    for feature in &view.features {
        push_line(&mut out, &feature.name, &feature_text(feature));
    }
    out
}

fn feature_text(feature: &FeatureDefinition) -> String {
    let value_type = format!("\"{}\"", feature.value_type);
    let mut rest = Vec::new();
    let text = |name: &str, text: &Option<String>| {
        text.as_ref().map(|text| format!("{name} = {}", quoted(text)))
    };
    rest.extend(text("unit", &feature.unit));
    rest.extend(text("description", &feature.description));
    rest.extend(
        feature.default.as_ref().map(|default| format!("default = {}", value_text(default))),
    );
    rest.extend(feature.expect.as_ref().map(|expect| format!("expect = {}", expect_text(expect))));
    if rest.is_empty() {
        return value_type;
    }
    inline_table([format!("type = {value_type}")].into_iter().chain(rest))
}

pub(super) fn expect_text(expect: &Expectation) -> String {
    let fields =
        [("min", expect.min), ("max", expect.max), ("max_null_rate", expect.max_null_rate)];
    let number = |number: f64| value_text(&Value::Float64(number));
    let fields = fields.into_iter();
    inline_table(fields.filter_map(|(name, value)| Some(format!("{name} = {}", number(value?)))))
}

/// The canonical text of one service.
pub(super) fn service_text(service: &ServiceDefinition) -> String {
    let mut out = format!("[service.{}]\n", service.name);
    let features = service.features.iter().map(|selection| {
        format!("\"{}:{}\"", selection.view, selection.feature.as_deref().unwrap_or("*"))
    });
    push_line(&mut out, "features", &format!("[{}]", features.collect::<Vec<_>>().join(", ")));
    push_text(&mut out, "owner", service.owner.as_deref());
    push_text(&mut out, "description", service.description.as_deref());
    out
}

fn push_line(out: &mut String, name: &str, value: &str) {
    _ = writeln!(out, "{name} = {value}");
}

fn push_text(out: &mut String, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        push_line(out, name, &quoted(text));
    }
}

fn inline_table(fields: impl Iterator<Item = String>) -> String {
    format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
}

/// A TOML basic string: what would end it or is a control character stands escaped.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => _ = write!(out, "\\u{:04X}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A default as TOML. What TOML has no type for stands as a string.
pub(super) fn value_text(value: &Value) -> String {
    match value {
        Value::Bool(_) | Value::Int32(_) | Value::Int64(_) => value.to_text(),
        Value::Float32(float) if float.is_finite() => {
            zmij::Buffer::new().format_finite(*float).to_owned()
        }
        Value::Float64(float) if float.is_finite() => {
            zmij::Buffer::new().format_finite(*float).to_owned()
        }
        Value::Float32(_) | Value::Float64(_) => value.to_text(),
        Value::String(text) => quoted(text),
        Value::Bytes(bytes) => quoted(&String::from_utf8_lossy(bytes)),
        Value::Timestamp(time) => quoted(&time_text(*time)),
        Value::List(list) => {
            let elements = (0..list.len()).filter_map(|index| list.get(index));
            format!("[{}]", elements.map(|value| value_text(&value)).collect::<Vec<_>>().join(", "))
        }
    }
}

/// ISO-8601 where it reads back as the same instant: years of five digits do not.
fn time_text(time: Timestamp) -> String {
    let iso = time.to_iso();
    if Timestamp::parse(&iso).is_ok_and(|back| back == time) { iso } else { time.us().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::{JoinKey, KeyType, List};

    #[test]
    fn a_hash_is_16_digits_of_the_text_alone() {
        assert_eq!(hash(""), "af1349b9f5f9a1a6");
        assert_ne!(hash("a"), hash("b"));
    }

    #[test]
    fn join_keys_keep_the_order_in_which_they_are_written() {
        let key = |name: &str| JoinKey { name: name.into(), key_type: KeyType::Int64 };
        let entity = EntityDefinition {
            name: "route".into(),
            join_keys: vec![key("origin"), key("dest")],
            owner: Some("a \"b\"\n\u{7f}".into()),
            description: None,
        };
        assert_eq!(
            entity_text(&entity),
            "[entity.route]\njoin_keys = { origin = \"int64\", dest = \"int64\" }\n\
             owner = \"a \\\"b\\\"\\n\\u007F\"\n"
        );
    }

    #[test]
    fn a_default_of_every_type_is_toml() {
        for (value, text) in [
            (Value::Float64(12.0), "12.0"),
            (Value::Float32(f32::NEG_INFINITY), "-inf"),
            (Value::Float64(f64::NAN), "nan"),
            (Value::Timestamp(Timestamp(0)), "\"1970-01-01T00:00:00Z\""),
            (Value::Timestamp(Timestamp::MAX), "\"9223372036854775807\""),
            (Value::List(List::String(vec!["a".into(), "\\".into()])), "[\"a\", \"\\\\\"]"),
        ] {
            assert_eq!(value_text(&value), text);
        }
    }
}
