//! One entity or one view, read from its table: all that can be said without looking at others.
//!
//! Not here: references between definitions (`resolve.rs`), defaults (`default_value.rs`).

use super::{
    default_value::default_value,
    definition::{EntityDefinition, FeatureDefinition, ViewDefinition},
    node::{Checked, Node, Table, nearest},
};
use crate::{
    error::echo,
    feature::{Expectation, JoinKey, KeyType, Scalar, Ttl, ValueType, parse_duration_us},
};

/// Reads `[entity.NAME]`.
pub(super) fn read_entity(node: &Node<'_>) -> Checked<EntityDefinition> {
    node.check_name()?;
    let table = node.table(&["join_keys", "owner", "description"])?;
    let expected = "a table of names and types such as { origin = \"string\" }";
    let join_keys = table.require("join_keys", expected)?;
    let fields = join_keys.fields(expected)?;
    if fields.is_empty() {
        return Err(join_keys.refuse("expected at least one join key, got none"));
    }
    Ok(EntityDefinition {
        name: node.name().to_owned(),
        join_keys: fields.iter().map(read_join_key).collect::<Checked<_>>()?,
        owner: table.text("owner")?,
        description: table.text("description")?,
    })
}

fn read_join_key(node: &Node<'_>) -> Checked<JoinKey> {
    node.check_name()?;
    let expected = "the type of a join key, one of string, int64, bytes";
    let text = node.text(expected)?;
    let key_type = KeyType::ALL.into_iter().find(|key_type| key_type.name() == text);
    let key_type = key_type.ok_or_else(|| {
        let near = nearest(text, KeyType::ALL.map(KeyType::name));
        if near.is_empty() {
            return node.unexpected(expected);
        }
        node.refuse(format!("unknown type of a join key {}{near}", echo(text.as_bytes())))
    })?;
    Ok(JoinKey { name: node.name().to_owned(), key_type })
}

const VIEW_KEYS: [&str; 10] = [
    "entity",
    "source",
    "event_timestamp",
    "created_timestamp",
    "ttl",
    "retention",
    "schedule",
    "owner",
    "description",
    "features",
];

/// Reads `[view.NAME]` with its features.
pub(super) fn read_view(node: &Node<'_>) -> Checked<ViewDefinition> {
    node.check_name()?;
    let table = node.table(&VIEW_KEYS)?;
    let entity = table.require("entity", "the name of an entity")?.text("the name of an entity")?;
    let features = table.require("features", "a table of names and types")?;
    let fields = features.fields("a table of names and types such as { temp = \"float64\" }")?;
    if fields.is_empty() {
        return Err(features.refuse("expected at least one feature, got none"));
    }
    let view = ViewDefinition {
        name: node.name().to_owned(),
        entity: entity.to_owned(),
        source: column_or_path(&table, "source")?,
        event_timestamp: column_or_path(&table, "event_timestamp")?,
        created_timestamp: column_or_path(&table, "created_timestamp")?,
        ttl: duration_us(&table, "ttl")?.and_then(Ttl::from_us),
        retention_us: duration_us(&table, "retention")?,
        schedule_us: duration_us(&table, "schedule")?,
        owner: table.text("owner")?,
        description: table.text("description")?,
        features: fields.iter().map(read_feature).collect::<Checked<_>>()?,
    };
    check_columns(node, &table, &view, &fields)?;
    Ok(view)
}

fn column_or_path(table: &Table<'_>, name: &str) -> Checked<Option<String>> {
    let text = table.text(name)?;
    match table.get(name) {
        Some(field) if text.as_deref() == Some("") => {
            Err(field.unexpected("a text that is not empty"))
        }
        _ => Ok(text),
    }
}

fn duration_us(table: &Table<'_>, name: &str) -> Checked<Option<i64>> {
    let Some(field) = table.get(name) else { return Ok(None) };
    let text = field.text("a duration such as \"6h\"")?;
    parse_duration_us(text).map(Some).map_err(|error| field.refuse(error.to_string()))
}

/// Refuses columns that need another one, and features that stand for one.
fn check_columns(
    node: &Node<'_>,
    table: &Table<'_>,
    view: &ViewDefinition,
    features: &[Node<'_>],
) -> Checked<()> {
    if let (Some(source), None) = (table.get("source"), &view.event_timestamp) {
        return Err(source.refuse(
            "a source needs 'event_timestamp', the column that tells when a row was true; got none",
        ));
    }
    if view.source.is_none() {
        for name in ["created_timestamp", "schedule"] {
            if let Some(field) = table.get(name) {
                return Err(field.refuse(format!(
                    "expected no '{name}' in view {}, which has no source",
                    node.name()
                )));
            }
        }
    }
    for (column, role) in
        [(&view.event_timestamp, "event_timestamp"), (&view.created_timestamp, "created_timestamp")]
    {
        let taken = features.iter().find(|feature| Some(feature.name()) == column.as_deref());
        if let Some(feature) = taken {
            return Err(feature.refuse(format!(
                "expected a feature named unlike the column that '{role}' names, got '{}'",
                feature.name()
            )));
        }
    }
    Ok(())
}

fn read_feature(node: &Node<'_>) -> Checked<FeatureDefinition> {
    node.check_name()?;
    let name = node.name().to_owned();
    // `temp = "float64"` is short for `temp = { type = "float64" }`.
    if !node.is_table() {
        let value_type = read_type(node)?;
        let (unit, description, default, expect) = (None, None, None, None);
        return Ok(FeatureDefinition { name, value_type, unit, description, default, expect });
    }
    let table = node.table(&["type", "unit", "description", "default", "expect"])?;
    let value_type = read_type(table.require("type", "the name of a type")?)?;
    let default = table.get("default").map(|field| default_value(field, value_type));
    let expect = table.get("expect").map(|field| read_expectation(field, value_type));
    Ok(FeatureDefinition {
        name,
        value_type,
        unit: table.text("unit")?,
        description: table.text("description")?,
        default: default.transpose()?,
        expect: expect.transpose()?.flatten(),
    })
}

fn read_type(node: &Node<'_>) -> Checked<ValueType> {
    let text = node.text("the name of a type, or a table with a 'type'")?;
    ValueType::parse(text).ok_or_else(|| {
        let both = |scalar: Scalar| [scalar.name().to_owned(), format!("{}[]", scalar.name())];
        let names: Vec<String> = Scalar::ALL.into_iter().flat_map(both).collect();
        let near = nearest(text, names.iter().map(String::as_str));
        let got = echo(text.as_bytes());
        if !near.is_empty() {
            return node.refuse(format!("unknown type {got}{near}"));
        }
        let names = Scalar::ALL.map(Scalar::name).join(", ");
        node.refuse(format!(
            "unknown type {got}: expected one of {names}, or a list such as float32[] or \
             float32[128]"
        ))
    })
}

/// Reads `{ min, max, max_null_rate }`; nothing expected is `None`.
fn read_expectation(node: &Node<'_>, value_type: ValueType) -> Checked<Option<Expectation>> {
    let table = node.table(&["min", "max", "max_null_rate"])?;
    let number = |name: &str| table.get(name).map(|field| field.number("a number")).transpose();
    let expect = Expectation {
        min: number("min")?,
        max: number("max")?,
        max_null_rate: number("max_null_rate")?,
    };
    let bound = table.get("min").or(table.get("max"));
    if let Some(bound) = bound.filter(|_| !is_numeric(value_type)) {
        return Err(bound.refuse(format!("expected no bound on a feature of type {value_type}")));
    }
    if let (Some(min), Some(max)) = (expect.min, expect.max)
        && min > max
    {
        return Err(node.refuse(format!("expected min <= max, got min {min} and max {max}")));
    }
    if let (Some(field), Some(rate)) = (table.get("max_null_rate"), expect.max_null_rate)
        && !(0.0..=1.0).contains(&rate)
    {
        return Err(field.unexpected("a share from 0 to 1"));
    }
    Ok((expect != Expectation::default()).then_some(expect))
}

fn is_numeric(value_type: ValueType) -> bool {
    let (ValueType::Scalar(element) | ValueType::List { element, .. }) = value_type;
    matches!(element, Scalar::Int32 | Scalar::Int64 | Scalar::Float32 | Scalar::Float64)
}
