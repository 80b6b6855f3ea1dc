//! What a write makes of a row: the same for a live write and for replay, which knows no time.

use super::{
    entity_row::{EntityRow, Merge},
    field::Field,
    large_fields::LargeFields,
    layout::Layout,
    owned_row::OwnedRow,
    plain_hash::{PACKED_FIELDS_MAX, StoredHash},
    row::{Body, Row},
    shaped_hash::with_values,
};
use crate::feature::{CellsWrite, EndingField, PlainChange, Timestamp};
use serde_bytes::ByteBuf;
use std::collections::{HashMap, HashSet};

/// What a write does to a row.
#[derive(Clone, Copy, Debug)]
pub enum Edit<'a> {
    /// It writes cells of an entity.
    Cells(&'a Layout, &'a CellsWrite),
    /// It changes a plain key.
    Plain(&'a [u8], &'a PlainChange),
}

impl Edit<'_> {
    /// The key it is about.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Cells(_, write) => &write.key,
            Self::Plain(key, _) => key,
        }
    }
}

/// What an edit makes of a row.
pub(super) enum Edited {
    Keep,
    Replace(OwnedRow),
    Remove,
}

/// Changes a large hash without copying it; false if this change cannot be made so.
pub(super) fn edit_in_place(fields: &mut LargeFields, change: &PlainChange) -> bool {
    match change {
        PlainChange::SetFields(written) => {
            written.iter().map(without_end).for_each(|field| fields.set(field));
            true
        }
        PlainChange::SetEndingFields { is_whole: false, fields: written } => {
            written.iter().map(with_end).for_each(|field| fields.set(field));
            true
        }
        PlainChange::EndFields { names, at } => {
            names.iter().for_each(|name| fields.set_end(name, *at));
            true
        }
        PlainChange::DeleteFields(gone) if gone.len() < fields.values().len() => {
            gone.iter().for_each(|name| fields.remove(name));
            true
        }
        _ => false,
    }
}

/// What `edit`, as record `lsn`, makes of `row`. A plain key that a later record already wrote is
/// kept: log replay over a snapshot meets such rows.
pub(super) fn edited(row: Option<Row<'_>>, lsn: u64, edit: Edit<'_>) -> Edited {
    match edit {
        Edit::Cells(layout, write) => {
            let body = match row.and_then(Row::body) {
                Some(Body::Entity(body)) => body,
                _ => EntityRow::EMPTY,
            };
            match body.merge(layout, write) {
                Merge::Changed(body) => {
                    let lsn = lsn.max(row.map_or(0, Row::lsn));
                    Edited::Replace(OwnedRow::entity(&write.key, lsn, &body))
                }
                Merge::Late | Merge::Unchanged => Edited::Keep,
            }
        }
        Edit::Plain(..) if row.is_some_and(|row| row.lsn() > lsn) => Edited::Keep,
        Edit::Plain(key, change) => edited_plain(row, lsn, key, change),
    }
}

fn edited_plain(row: Option<Row<'_>>, lsn: u64, key: &[u8], change: &PlainChange) -> Edited {
    if let Some(row @ Row::Large(_)) = row
        && let Some(changed) = edited_copy(row, lsn, change)
    {
        return Edited::Replace(changed);
    }
    let hash = row.and_then(Row::stored_hash);
    let expires_at = row.and_then(Row::expires_at);
    let replace = |expires_at: Option<Timestamp>, fields: Vec<Field<'_>>| {
        Edited::Replace(OwnedRow::hash(key, lsn, expires_at, fields.into_iter()))
    };
    match change {
        PlainChange::SetString { value, expires_at } => {
            Edited::Replace(OwnedRow::string(key, lsn, *expires_at, value))
        }
        PlainChange::Delete => Edited::Remove,
        PlainChange::ExpireAt(at) => {
            let changed = row.and_then(|row| OwnedRow::with_expiry(row, lsn, *at));
            changed.map_or(Edited::Keep, Edited::Replace)
        }
        PlainChange::SetFields(written) => {
            let values = written.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
            match row.and_then(|row| with_values(row, lsn, values)) {
                Some(row) => Edited::Replace(OwnedRow::Packed(row)),
                None => replace(expires_at, with_fields(hash, written.iter().map(without_end))),
            }
        }
        PlainChange::SetHash(written) => {
            replace(None, with_fields(None, written.iter().map(without_end)))
        }
        PlainChange::SetEndingFields { is_whole: false, fields } => {
            replace(expires_at, with_fields(hash, fields.iter().map(with_end)))
        }
        PlainChange::SetEndingFields { is_whole: true, fields } => {
            replace(None, with_fields(None, fields.iter().map(with_end)))
        }
        PlainChange::DeleteFields(gone) => {
            let Some(hash) = hash else { return Edited::Keep };
            let gone = names(gone);
            let fields: Vec<_> = hash.every().filter(|field| !gone.contains(field.name)).collect();
            if fields.is_empty() { Edited::Remove } else { replace(expires_at, fields) }
        }
        PlainChange::EndFields { names: ending, at } => {
            let Some(hash) = hash else { return Edited::Keep };
            let ending = names(ending);
            let end = |field: Field<'_>| {
                if ending.contains(field.name) { *at } else { field.end }
            };
            let fields = hash.every().map(|field| Field { end: end(field), ..field });
            replace(expires_at, fields.collect())
        }
    }
}

/// A copy of a large hash with a change that can be made in place: the two share what is alike.
fn edited_copy(row: Row<'_>, lsn: u64, change: &PlainChange) -> Option<OwnedRow> {
    if matches!(
        change,
        PlainChange::SetString { .. } | PlainChange::Delete | PlainChange::SetHash(_)
    ) {
        return None;
    }
    let mut copy = OwnedRow::from(row);
    let is_edited = edit_in_place(copy.large_fields_mut(lsn)?, change);
    is_edited.then_some(copy)
}

fn names(names: &[ByteBuf]) -> HashSet<&[u8], ahash::RandomState> {
    names.iter().map(|name| name.as_slice()).collect()
}

fn without_end((name, value): &(ByteBuf, ByteBuf)) -> Field<'_> {
    Field { name, value, end: None }
}

fn with_end(field: &EndingField) -> Field<'_> {
    Field { name: &field.name, value: &field.value, end: field.end }
}

/// The fields of a hash, where there is one, with those `written` in their places or behind.
fn with_fields<'a>(
    hash: Option<StoredHash<'a>>,
    written: impl ExactSizeIterator<Item = Field<'a>>,
) -> Vec<Field<'a>> {
    let mut fields = Vec::with_capacity(PACKED_FIELDS_MAX);
    if let Some(hash) = hash {
        hash.append_to(&mut fields);
    }
    if fields.len() + written.len() <= PACKED_FIELDS_MAX {
        for field in written {
            match fields.iter_mut().find(|standing| standing.name == field.name) {
                Some(standing) => *standing = field,
                None => fields.push(field),
            }
        }
        return fields;
    }
    // Comparing each with each would take minutes for a request of a million arguments.
    let place = |(place, field): (usize, &Field<'a>)| (field.name, place);
    let mut places: HashMap<&[u8], usize, ahash::RandomState> =
        fields.iter().enumerate().map(place).collect();
    for field in written {
        let place = *places.entry(field.name).or_insert(fields.len());
        match fields.get_mut(place) {
            Some(standing) => *standing = field,
            None => fields.push(field),
        }
    }
    fields
}
