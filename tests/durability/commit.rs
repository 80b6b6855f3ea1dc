//! How a store is given a write, and how all that it shows is read.

use crate::{
    model::{Model, Visible},
    step::{Feature, Key, MAX_FUTURE_US, Write},
};
use nowthen::{
    error::Error,
    feature::{CellWrite, Change, EndingField, KeyPart, PlainChange, Status, Timestamp, Value},
    online::{Body, Row, Seen, ValueRef},
    store::{Committed, Compacted, FeatureRow, Keyspace, Locked, MergePolicy, Store},
};
use serde_bytes::ByteBuf;

/// Commits one write; the model says which names the definitions know.
pub(crate) fn commit(
    keyspace: Keyspace<'_>,
    model: &Model,
    write: &Write,
    now_us: i64,
) -> Result<Committed<()>, Error> {
    let plain = |key: String, decide: &dyn Fn(&Locked<'_>) -> Option<PlainChange>| {
        keyspace.commit(&[key.as_bytes()], |locked| {
            let change = decide(locked);
            let key = key.clone().into_bytes();
            Ok((change.map(|change| Change::Plain { key, change }).into_iter().collect(), ()))
        })
    };
    let end = |in_us: &Option<i64>| in_us.map(|us| Timestamp(now_us + us));
    match write {
        Write::SetText { key, text, end_in_us } => plain(Key::Text(*key).name(), &|_| {
            let value = text.clone().into_bytes();
            Some(PlainChange::SetString { value, expires_at: end(end_in_us) })
        }),
        Write::SetFields { key, fields, end_in_us } => {
            let name = Key::Hash(*key).name();
            plain(name.clone(), &|locked| {
                let is_whole = locked.row(name.as_bytes()).is_none();
                Some(set_fields(fields, end(end_in_us), is_whole))
            })
        }
        Write::DeleteFields { key, names } => {
            let name = Key::Hash(*key).name();
            plain(name.clone(), &|locked| {
                seen_fields(locked, &name, names).map(PlainChange::DeleteFields)
            })
        }
        Write::EndFields { key, names, end_in_us } => {
            let name = Key::Hash(*key).name();
            plain(name.clone(), &|locked| {
                let names = seen_fields(locked, &name, names)?;
                Some(PlainChange::EndFields { names, at: end(end_in_us) })
            })
        }
        Write::Delete { key } => plain(key.name(), &|locked| {
            locked.row(key.name().as_bytes()).map(|_| PlainChange::Delete)
        }),
        Write::Expire { key, end_in_us } => plain(key.name(), &|locked| {
            locked.row(key.name().as_bytes()).map(|_| PlainChange::ExpireAt(end(end_in_us)))
        }),
        Write::FlushAll => keyspace.flush_all(),
        Write::SetFeatures { .. }
        | Write::Push { .. }
        | Write::DeleteFeatures { .. }
        | Write::DeleteEntity { .. } => commit_features(keyspace, model, write, now_us),
    }
}

fn set_fields(fields: &[(String, String)], end: Option<Timestamp>, is_whole: bool) -> PlainChange {
    let bytes = |text: &String| ByteBuf::from(text.as_bytes());
    if end.is_some() {
        let fields = fields.iter();
        let ending = |(name, value)| EndingField { name: bytes(name), value: bytes(value), end };
        let fields = fields.map(|(name, value)| ending((name, value))).collect();
        return PlainChange::SetEndingFields { is_whole, fields };
    }
    let fields = fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
    if is_whole { PlainChange::SetHash(fields) } else { PlainChange::SetFields(fields) }
}

/// Of these fields those that stand; `None` for none.
fn seen_fields(locked: &Locked<'_>, key: &str, names: &[String]) -> Option<Vec<ByteBuf>> {
    let hash = locked.row(key.as_bytes())?.stored_hash()?.at(locked.now);
    let stands = |name: &&String| hash.get(name.as_bytes(), &mut 0).is_some();
    let seen: Vec<_> = names.iter().filter(stands).map(|n| ByteBuf::from(n.as_bytes())).collect();
    (!seen.is_empty()).then_some(seen)
}

fn commit_features(
    keyspace: Keyspace<'_>,
    model: &Model,
    write: &Write,
    now_us: i64,
) -> Result<Committed<()>, Error> {
    let nothing = Committed { value: (), wait_for: None };
    let schema = keyspace.schema();
    let Some(entity) = schema.catalog.entity("user") else { return Ok(nothing) };
    let key = |user: &i64| format!("user:{user}").into_bytes();
    let told = |committed: Committed<usize>| Committed { value: (), wait_for: committed.wait_for };
    match write {
        Write::SetFeatures { user, features } => {
            let known = features.iter().filter(|(f, _)| f.since_version() <= model.version);
            let texts: Vec<_> = known.map(|(f, number)| (f.name(), f.text(*number))).collect();
            let fields: Vec<(&[u8], &[u8])> =
                texts.iter().map(|(name, text)| (name.as_bytes(), text.as_bytes())).collect();
            let plan = schema.plan(entity, fields.iter().map(|(name, _)| *name));
            keyspace.set_features(&schema, entity, &key(user), &plan, fields).map(told)
        }
        Write::Push { user, event_in_us, cells } => {
            let view = schema.catalog.view("spending").expect("the view of the entity");
            let mut row_cells = Vec::new();
            for (feature, number) in cells.iter().filter(|(f, _)| model.may_push(*f)) {
                // A poisoned store may be without the definitions that its log took last.
                let Some(definition) = view.feature(feature.name()) else { return Ok(nothing) };
                let value =
                    number.map(|n| Value::parse(feature.text(n).as_bytes(), definition.value_type));
                let cell = match value {
                    None => CellWrite::Null,
                    Some(value) => CellWrite::Value(value?),
                };
                row_cells.push((definition.slot, cell));
            }
            if row_cells.is_empty() {
                return Ok(nothing);
            }
            row_cells.sort_unstable_by_key(|(slot, _)| *slot);
            let event = Timestamp(now_us + (*event_in_us).min(MAX_FUTURE_US));
            let row = FeatureRow { key: key(user), event, created: None, cells: row_cells };
            let pushed = keyspace.push_rows(&schema, view, vec![row])?;
            Ok(Committed { value: (), wait_for: pushed.wait_for })
        }
        Write::DeleteFeatures { user, features } => {
            let names: Vec<_> = model.known(features).into_iter().map(Feature::name).collect();
            let names = names.iter().map(|name| name.as_bytes());
            keyspace.delete_features(&schema, entity, &key(user), names).map(told)
        }
        Write::DeleteEntity { user } => {
            let key = key(user);
            keyspace.commit(&[&key], |locked| {
                Ok((keyspace.entity_tombstones(&schema, entity, &key, locked).0, ()))
            })
        }
        _ => Ok(nothing),
    }
}

/// Merges all files of the history that may be, the longer ones into one for each bucket.
pub(crate) fn compact(store: &Store) -> Result<Option<Compacted>, Error> {
    let file_bytes = 8 << 10;
    let policy = MergePolicy { parts_min: 2, growth: 1, file_bytes, ..MergePolicy::default() };
    store.compact_history(&policy, &mut || true)
}

/// What a client sees in a store at `now_us`.
pub(crate) fn visible(store: &Store, now_us: i64) -> Visible {
    store.clock().advance_to(Timestamp(now_us));
    let now = store.now();
    let mut visible = Visible::new();
    let until =
        |end: Option<Timestamp>| end.map_or_else(String::new, |e| format!(" until {}", e.us()));
    let show = |row: Row<'_>| {
        if row.is_expired(now) {
            return;
        }
        let name = String::from_utf8_lossy(row.key());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match row.body() {
            Some(Body::String(value)) => {
                visible.insert(format!("{name}{}", until(row.expires_at())), text(value));
            }
            Some(Body::Hash(hash)) => {
                let end = until(row.expires_at());
                for field in hash.at(now).fields() {
                    let name = format!("{name}{end} {}{}", text(field.name), until(field.end));
                    visible.insert(name, text(field.value));
                }
            }
            Some(Body::Entity(_)) | None => {}
        }
    };
    let step = store.keyspace().scan(0, usize::MAX, Seen::Published, show);
    assert_eq!(step.cursor, 0, "a scan without bound is one step");
    let schema = store.schema();
    if let Some(entity) = schema.catalog.entity("user") {
        let plan = schema.plan(entity, Feature::ALL.map(|feature| feature.name().as_bytes()));
        for user in 0..3 {
            let key = entity.key(&[KeyPart::Int64(user)]);
            let mut features = Feature::ALL.iter();
            store.keyspace().get_online_features(&key, &plan, now, Seen::Published, |read| {
                let name = features.next().map_or("", |feature| feature.name());
                let value = read.value.and_then(ValueRef::to_value);
                let text = value.map(|value| value.to_text());
                let null = (read.status == Status::NullValue).then(|| "null".into());
                if let Some(text) = text.or(null) {
                    visible.insert(format!("user:{user} {name}"), text);
                }
            });
        }
    }
    visible.insert("definitions".into(), schema.catalog.catalog_version().to_string());
    let runs = store.runs(None, usize::MAX);
    visible.insert("runs".into(), runs.first().map_or(0, |run| run.id).to_string());
    visible
}
