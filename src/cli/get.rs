//! `nowthen get`

use super::{
    connect::{converse, refusal},
    options::GetOptions,
};
use crate::error::{Error, Result};
use nowthen_client::{Client, FeatureCell, Value};
use serde_json::{Value as Json, json};

/// Prints features of one entity, each with its status and event timestamp.
pub fn get(options: &GetOptions) -> Result<()> {
    let (entity, key) = options.key.split_once(':').ok_or_else(|| {
        Error::refused(format!(
            "'{}' is no key of an entity: expected entity:key, such as airport:JFK",
            options.key
        ))
    })?;
    let cells = converse(&options.url, async |client| {
        let join_keys = join_keys_of(client, entity).await?;
        let parts = match join_keys.len() {
            1 => vec![key.to_owned()],
            _ => key.split(':').map(|part| part.replace("%3A", ":").replace("%25", "%")).collect(),
        };
        let features: Vec<&str> = options.features.iter().map(String::as_str).collect();
        let join_keys: Vec<&str> = join_keys.iter().map(String::as_str).collect();
        let at = options.at.as_deref();
        let rows = client.get_online_features(&features, &join_keys, &[parts], at).await;
        Ok(rows.map_err(refusal)?.rows.into_iter().next().unwrap_or_default())
    })?;
    for (feature, cell) in options.features.iter().zip(&cells) {
        print_cell(feature, cell, options.json);
    }
    Ok(())
}

async fn join_keys_of(client: &mut Client, entity: &str) -> Result<Vec<String>> {
    let described = client.command(&["FS.DESCRIBE", entity]).await.map_err(refusal)?;
    let Value::Map(fields) = described else {
        return Err(Error::refused(format!("the server cannot describe {entity}")));
    };
    let keys = fields.into_iter().find(|(name, _)| name.as_text() == Some("join_keys"));
    match keys {
        Some((_, Value::Array(keys))) => {
            let name = |key: &Value| match key {
                Value::Map(fields) => fields
                    .iter()
                    .find(|(field, _)| field.as_text() == Some("name"))
                    .and_then(|(_, name)| name.as_text().map(str::to_owned)),
                other => other.as_text().map(str::to_owned),
            };
            Ok(keys.iter().filter_map(name).collect())
        }
        _ => Err(Error::refused(format!("'{entity}' is no entity; FS.ENTITIES lists them"))),
    }
}

fn print_cell(feature: &str, cell: &FeatureCell, is_json: bool) {
    let event = cell.event_timestamp_us.map(|us| crate::feature::Timestamp(us).to_iso());
    if is_json {
        let line = json!({
            "feature": feature,
            "value": to_json(&cell.value),
            "status": cell.status.as_str(),
            "event_timestamp": event,
        });
        println!("{line}");
    } else {
        let event = event.unwrap_or_else(|| "-".into());
        println!("{feature}\t{}\t{}\t{event}", to_json(&cell.value), cell.status.as_str());
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Integer(value) => json!(value),
        Value::Double(value) => json!(value),
        Value::Boolean(value) => json!(value),
        Value::Array(items) => items.iter().map(to_json).collect(),
        other => other.as_text().map_or(Json::Null, |text| json!(text)),
    }
}
