//! `POST /get-online-features`: the JSON that Feast's feature server takes and gives.
//!
//! ```text
//! {"features": ["view:feature", ...] or "feature_service": "name",
//!  "entities": {"join_key": [value, ...], ...}, "full_feature_names": false}
//! ->
//! {"metadata": {"feature_names": [join keys, then features]},
//!  "results": [{"values": [...], "statuses": [...], "event_timestamps": [...]}, one per name]}
//! ```

use crate::{
    command::{App, FeatureRequest, KeyRow, online_rows},
    error::{Error, Result},
    feature::{Status, Timestamp, Value},
    online::Seen,
    registry::Selected,
    store::{Answer, Schema, column_names},
};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

/// So many rows one request may ask for.
const ROWS_MAX: usize = 100_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default)]
    features: Vec<String>,
    feature_service: Option<String>,
    entities: Map<String, Json>,
    #[serde(default)]
    full_feature_names: bool,
}

/// Answers one request.
pub(super) fn get_online_features(app: &App, body: &[u8]) -> Result<Json> {
    let request: Request = serde_json::from_slice(body)
        .map_err(|error| Error::refused(format!("the body is not the JSON expected: {error}")))?;
    let schema = app.store.schema();
    let selected = selected(&schema, &request)?;
    let names = column_names(&selected, request.full_feature_names);
    let columns = columns(&request.entities)?;
    let rows = columns.first().map_or(0, |(_, column)| column.len());
    let join_keys: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let resolved = FeatureRequest::new(&schema, selected, &join_keys)?;
    resolved.check_size(rows)?;
    let answers = answers(app, &resolved, &columns, rows)?;
    let mut results: Vec<Json> = columns.iter().map(|(_, column)| key_column(column)).collect();
    results.extend((0..names.len()).map(|place| feature_column(&answers, place)));
    let names: Vec<&str> = join_keys.into_iter().chain(names.iter().map(String::as_str)).collect();
    Ok(json!({ "metadata": { "feature_names": names }, "results": results }))
}

fn selected(schema: &Schema, request: &Request) -> Result<Vec<Selected>> {
    match (&request.feature_service, request.features.as_slice()) {
        (Some(service), []) => schema.catalog.select_service(service),
        (None, features) if !features.is_empty() => {
            let names: Vec<&str> = features.iter().map(String::as_str).collect();
            schema.catalog.select(&names)
        }
        _ => Err(Error::refused("expected either features or feature_service")),
    }
}

/// The columns of join keys, all as long as the first.
fn columns(entities: &Map<String, Json>) -> Result<Vec<(&str, &[Json])>> {
    let mut columns: Vec<(&str, &[Json])> = Vec::with_capacity(entities.len());
    for (name, values) in entities {
        // Feast's clients may send {"val": [...]} where others send the list itself.
        let list = values.as_array().or_else(|| values.get("val")?.as_array());
        let list = list.ok_or_else(|| {
            Error::refused(format!("entities.{name}: expected a list of join key values"))
        })?;
        let rows = columns.first().map_or(list.len(), |(_, first)| first.len());
        if list.len() != rows || rows > ROWS_MAX {
            return Err(Error::refused(format!(
                "entities.{name} has {} values; expected {rows}, at most {ROWS_MAX}",
                list.len()
            )));
        }
        columns.push((name, list));
    }
    if columns.is_empty() {
        return Err(Error::refused("entities: expected at least one join key"));
    }
    Ok(columns)
}

/// What each row has.
fn answers(
    app: &App,
    request: &FeatureRequest,
    columns: &[(&str, &[Json])],
    rows: usize,
) -> Result<Vec<Vec<Answer>>> {
    let now = app.store.now();
    let row = |row: usize| {
        let texts = columns.iter().map(|(name, column)| key_text(name, column.get(row)));
        let texts: Vec<Option<String>> = texts.collect::<Result<_>>()?;
        let bytes = texts.iter().map(|text| text.as_ref().map(String::as_bytes));
        let bytes: Vec<_> = bytes.collect();
        let (keyspace, bytes_max) = (app.store.keyspace(), app.settings.reply_bytes_max.bytes());
        let answers = online_rows(
            keyspace,
            request,
            [KeyRow::Texts(&bytes)],
            (now, Seen::Published),
            bytes_max,
        )?;
        Ok(answers.into_iter().next().unwrap_or_default())
    };
    (0..rows).map(row).collect()
}

fn key_text(name: &str, key: Option<&Json>) -> Result<Option<String>> {
    match key {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(Json::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(Error::refused(format!("entities.{name}: expected text and numbers only"))),
    }
}

fn key_column(column: &[Json]) -> Json {
    let epoch = Timestamp(0).to_iso();
    json!({
        "values": column,
        "statuses": vec![Status::Present.name(); column.len()],
        "event_timestamps": vec![epoch; column.len()],
    })
}

fn feature_column(answers: &[Vec<Answer>], place: usize) -> Json {
    let cells = || answers.iter().map(|row| row.get(place));
    let value = |cell: Option<&Answer>| cell.and_then(|cell| cell.value.as_ref()).map(to_json);
    let status = |cell: Option<&Answer>| cell.map_or(Status::NotFound, |cell| cell.status).name();
    let event =
        |cell: Option<&Answer>| cell.and_then(|cell| cell.event).unwrap_or(Timestamp(0)).to_iso();
    json!({
        "values": cells().map(value).collect::<Vec<_>>(),
        "statuses": cells().map(status).collect::<Vec<_>>(),
        "event_timestamps": cells().map(event).collect::<Vec<_>>(),
    })
}

/// JSON has no number for NaN and the infinities; they are null, as Feast gives them.
fn to_json(value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::Int32(value) => json!(value),
        Value::Int64(value) => json!(value),
        // The shortest text of the float itself, not of its double.
        Value::Float32(_) => serde_json::from_str(&value.to_text()).unwrap_or(Json::Null),
        Value::Float64(value) => json!(value),
        Value::List(list) => {
            (0..list.len()).filter_map(|index| list.get(index)).map(|v| to_json(&v)).collect()
        }
        Value::String(_) | Value::Bytes(_) | Value::Timestamp(_) => json!(value.to_text()),
    }
}
