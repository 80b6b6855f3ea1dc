//! The fields of a large hash as a map, and beside it the ends of life of those that have one.
//!
//! ```text
//! fields    name ─> value
//! ends      name ─> end, and the same in the order of their ends; absent if no field has one
//! ```
//! In order, so that what is over is found, counted and removed without looking at the others.

use super::{field::Field, field_map::FieldMap};
use crate::feature::Timestamp;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// What a field of a map costs beside its bytes, as an estimate.
const FIELD_BYTES: usize = 48;
/// What an end of life costs, as an estimate: its places in two tables, and the name they share.
const END_BYTES: usize = 96;

/// The fields of a large hash.
#[derive(Clone, Debug, Default)]
pub struct LargeFields {
    values: FieldMap,
    ends: Option<Box<Ends>>,
    bytes: usize,
}

#[derive(Clone, Debug, Default)]
struct Ends {
    by_name: HashMap<Arc<[u8]>, Timestamp, ahash::RandomState>,
    in_order: BTreeSet<(Timestamp, Arc<[u8]>)>,
}

impl LargeFields {
    /// The values.
    pub(super) fn values(&self) -> &FieldMap {
        &self.values
    }

    /// Whether any field has an end of life.
    pub(super) fn has_ends(&self) -> bool {
        self.ends.is_some()
    }

    /// When the first field is gone.
    pub(super) fn first_end(&self) -> Option<Timestamp> {
        self.ends.as_ref()?.in_order.first().map(|(end, _)| *end)
    }

    /// When the last field is gone; `None` if one has no end.
    pub(super) fn last_end(&self) -> Option<Timestamp> {
        let ends = self.ends.as_ref().filter(|ends| ends.by_name.len() == self.values.len())?;
        ends.in_order.last().map(|(end, _)| *end)
    }

    /// How many fields there are at `now`.
    pub(super) fn count(&self, now: Timestamp) -> usize {
        let ends = self.ends.iter().flat_map(|ends| &ends.in_order);
        self.values.len() - ends.take_while(|(end, _)| *end <= now).count()
    }

    /// A field, whether its end has come or not.
    pub(super) fn field(&self, name: &[u8]) -> Option<Field<'_>> {
        let (name, value) = self.values.get_key_value(name)?;
        Some(Field { name, value, end: self.end(name) })
    }

    /// Every field, whether its end has come or not.
    pub(super) fn iter(&self) -> impl Iterator<Item = Field<'_>> + Clone {
        self.values.iter().map(|(name, value)| Field { name, value, end: self.end(name) })
    }

    fn end(&self, name: &[u8]) -> Option<Timestamp> {
        self.ends.as_ref()?.by_name.get(name).copied()
    }

    /// Gives a field its value and its end of life.
    pub(super) fn set(&mut self, field: Field<'_>) {
        match self.values.insert(field.name, field.value) {
            Some(old) => self.bytes -= old.len(),
            None => self.bytes += field.name.len() + FIELD_BYTES,
        }
        self.bytes += field.value.len();
        self.set_end(field.name, field.end);
    }

    /// Gives a field its end of life, if there is such a field.
    pub(super) fn set_end(&mut self, name: &[u8], end: Option<Timestamp>) {
        self.forget_end(name);
        if let Some(end) = end.filter(|_| self.values.contains(name)) {
            self.bytes += name.len() + END_BYTES;
            let ends = self.ends.get_or_insert_default();
            let name: Arc<[u8]> = name.into();
            ends.by_name.insert(Arc::clone(&name), end);
            ends.in_order.insert((end, name));
        }
    }

    /// Removes a field.
    pub(super) fn remove(&mut self, name: &[u8]) {
        if let Some(value) = self.values.remove(name) {
            self.bytes -= name.len() + value.len() + FIELD_BYTES;
        }
        self.forget_end(name);
    }

    /// Removes fields that are over at `now`, the first ones first and at most `count`; how many.
    pub(super) fn remove_over(&mut self, now: Timestamp, count: usize) -> usize {
        let mut removed = 0;
        while removed < count
            && let Some(ends) = &self.ends
            && let Some((end, name)) = ends.in_order.first()
            && *end <= now
        {
            let name = Arc::clone(name);
            self.remove(&name);
            removed += 1;
        }
        removed
    }

    fn forget_end(&mut self, name: &[u8]) {
        let Some(ends) = &mut self.ends else { return };
        if let Some((name, end)) = ends.by_name.remove_entry(name) {
            self.bytes -= name.len() + END_BYTES;
            ends.in_order.remove(&(end, name));
        }
        if ends.by_name.is_empty() {
            self.ends = None;
        }
    }

    /// The bytes it takes: an estimate, kept up to date.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

impl<'a> FromIterator<Field<'a>> for LargeFields {
    fn from_iter<I: IntoIterator<Item = Field<'a>>>(fields: I) -> Self {
        let mut all = Self::default();
        fields.into_iter().for_each(|field| all.set(field));
        all
    }
}
