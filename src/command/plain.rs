//! What plain keys have in common: the changes that write them.

use super::{arguments::wrong_type, context::Context};
use crate::{
    error::{Error, Result},
    feature::{Change, Entity, PlainChange, Timestamp},
    online::{Body, PlainHash, Row},
    store::{Keyspace, Locked},
};

/// The hash that stands under a plain key, as it is at `now`; `None` if nothing does.
#[inline]
pub(super) fn hash_of(row: Option<Row<'_>>, now: Timestamp) -> Result<Option<PlainHash<'_>>> {
    match row.and_then(Row::body) {
        None => Ok(None),
        Some(Body::Hash(hash)) => Ok(Some(hash.at(now))),
        Some(Body::String(_) | Body::Entity(_)) => Err(wrong_type()),
    }
}

/// The string that stands under a plain key; `None` if nothing does.
#[inline]
pub(super) fn string_of(row: Option<Row<'_>>) -> Result<Option<&[u8]>> {
    match row.and_then(Row::body) {
        None => Ok(None),
        Some(Body::String(value)) => Ok(Some(value)),
        Some(Body::Hash(_) | Body::Entity(_)) => Err(wrong_type()),
    }
}

/// Decides about one plain key: the row it has, to a change and an answer.
pub(super) fn write_plain<T>(
    context: &mut Context<'_>,
    key: &[u8],
    decide: impl FnOnce(Option<Row<'_>>, &Locked<'_>) -> Result<(Option<PlainChange>, T)>,
) -> Result<T> {
    let keyspace = context.keyspace;
    let committed = keyspace.commit(&[key], |locked| {
        let row = locked.row(key);
        if row.is_some_and(Row::is_entity) {
            return Err(keyspace.not_plain(key));
        }
        let (change, value) = decide(row, locked)?;
        let change = change.map(|change| vec![Change::Plain { key: key.to_vec(), change }]);
        Ok((change.unwrap_or_default(), value))
    })?;
    Ok(context.committed(committed))
}

/// Refuses a command about plain keys if features of an entity stand under one of them, which was
/// dropped: also where the command would find a key there and change nothing.
pub(super) fn no_entities(
    keyspace: Keyspace<'_>,
    locked: &Locked<'_>,
    keys: &[&[u8]],
) -> Result<()> {
    let is_entity = |key: &&&[u8]| locked.row(key).is_some_and(Row::is_entity);
    keys.iter().find(is_entity).map_or(Ok(()), |key| Err(keyspace.not_plain(key)))
}

/// Refuses what only plain keys have: `what` begins the sentence.
pub(super) fn not_for_entities(what: &str, entity: &Entity) -> Error {
    Error::refused(format!("{what}: {} is a registered entity", entity.name))
}

/// Refuses the keys of registered entities for a command that writes plain strings.
pub(super) fn must_be_plain<'k>(
    context: &Context<'_>,
    name: &str,
    keys: impl IntoIterator<Item = &'k [u8]>,
) -> Result<()> {
    let schema = context.keyspace.schema();
    match keys.into_iter().find_map(|key| schema.catalog.entity_of_key(key)) {
        Some(entity) => {
            let what = format!("{name} writes plain keys; HSET writes features");
            Err(not_for_entities(&what, entity))
        }
        None => Ok(()),
    }
}
