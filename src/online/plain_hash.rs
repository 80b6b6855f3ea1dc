//! A plain Redis hash: small ones packed as one piece, large ones as a map; those whose names many
//! others have, too, as `shaped_fields` says. Packed:
//!
//! ```text
//! u32 count, then per field: u32 name length, u32 value length, name, value
//! u32 count, then per field: u32 name length, u32 value length, i64 end in µs, name, value
//! ```
//! The second form is that of a hash of which any field has an end of life; `i64::MAX` is no end.
//! So a hash without ends pays nothing for those that have them. Packed, a field is found by
//! walking; clients mostly ask for fields in the order they stand, so [`PlainHash::get`] of a
//! packed hash takes a hint where to begin.

use super::{
    bytes::{i64_at, push_len, u32_at},
    field::{Field, end_of, end_us},
    field_map::FieldMap,
    field_plans::FieldPlans,
    large_fields::LargeFields,
    shaped_fields::ShapedFields,
};
use crate::feature::Timestamp;
use std::num::NonZeroU64;

/// Above this many fields a hash is a map: walking would cost more than hashing.
pub(super) const PACKED_FIELDS_MAX: usize = 64;
/// Above this many bytes too: every write copies a packed hash.
pub(super) const PACKED_BYTES_MAX: usize = 8 * 1024;
/// A hash as it is stored, with the fields that are over and not yet swept away.
#[derive(Clone, Copy, Debug)]
pub struct StoredHash<'a>(pub(super) PlainHash<'a>);

/// A hash as a reader sees it at an instant: a field past its end of life is none.
#[derive(Clone, Copy, Debug)]
pub enum PlainHash<'a> {
    /// One piece of bytes.
    Packed(PackedFields<'a, false>),
    /// One piece of bytes without names: those are a shape.
    Shaped(ShapedFields<'a>),
    /// A map.
    Large(&'a FieldMap),
    /// One piece of bytes with ends of life, and the instant.
    PackedEnding(PackedFields<'a, true>, Timestamp),
    /// A map with ends of life beside it, and the instant.
    LargeEnding(&'a LargeFields, Timestamp),
}

/// The fields of a small hash in one piece; `ENDS` tells whether each has an end of life.
#[derive(Clone, Copy, Debug)]
pub struct PackedFields<'a, const ENDS: bool>(pub(super) &'a [u8]);

impl<'a> StoredHash<'a> {
    /// The hash of these fields.
    pub(super) fn of_large(fields: &'a LargeFields) -> Self {
        Self(match fields.has_ends() {
            true => PlainHash::LargeEnding(fields, Timestamp::MIN),
            false => PlainHash::Large(fields.values()),
        })
    }

    /// What a reader sees at `now`.
    #[inline]
    pub fn at(self, now: Timestamp) -> PlainHash<'a> {
        match self.0 {
            PlainHash::PackedEnding(packed, _) => PlainHash::PackedEnding(packed, now),
            PlainHash::LargeEnding(large, _) => PlainHash::LargeEnding(large, now),
            without_ends => without_ends,
        }
    }

    /// Appends every field, whether its end has come or not.
    pub(super) fn append_to(self, fields: &mut Vec<Field<'a>>) {
        match self.0 {
            PlainHash::Packed(packed) => fields.extend(packed.iter()),
            PlainHash::Shaped(shaped) => fields.extend(shaped.iter()),
            _ => fields.extend(self.every()),
        }
    }

    /// Every field, whether its end has come or not.
    pub(super) fn every(self) -> Box<dyn Iterator<Item = Field<'a>> + 'a> {
        self.at(Timestamp::MIN).fields()
    }
}

impl<'a> PlainHash<'a> {
    /// How many fields.
    pub fn len(self) -> usize {
        match self {
            Self::Packed(packed) => packed.count(),
            Self::Shaped(shaped) => shaped.shape().len(),
            Self::Large(fields) => fields.len(),
            Self::PackedEnding(packed, now) => {
                packed.iter().filter(|field| !field.is_over(now)).count()
            }
            Self::LargeEnding(large, now) => large.count(now),
        }
    }

    /// Whether there is none; such a hash does not exist for a client.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The value of `field`. `hint` is where the search begins and, after it, where the field
    /// behind the one found stands: keep one over several calls.
    #[inline]
    pub fn get(self, field: &[u8], hint: &mut usize) -> Option<&'a [u8]> {
        match self {
            Self::Packed(packed) => packed.get(field, hint).map(|field| field.value),
            Self::Shaped(shaped) => shaped.get(field, hint).map(|field| field.value),
            Self::Large(fields) => fields.get(field),
            Self::PackedEnding(..) | Self::LargeEnding(..) => {
                self.field(field, hint).map(|field| field.value)
            }
        }
    }

    /// Gives the value of each of `names`, in the order asked. If they are a list that has this
    /// number, their places are found by a plan.
    #[inline]
    pub fn get_each<'n>(
        self,
        names: impl Iterator<Item = &'n [u8]> + Clone,
        list: Option<NonZeroU64>,
        plans: &mut FieldPlans,
        mut give: impl FnMut(Option<&'a [u8]>),
    ) {
        let mut hint = 0;
        match self {
            // The usual kind is found out once, not once for every name.
            Self::Packed(packed) => names.for_each(|name| {
                give(packed.get(name, &mut hint).map(|field| field.value));
            }),
            Self::Shaped(shaped) => match plans.places(list, shaped.shape(), names.clone()) {
                Some(places) => {
                    places.iter().for_each(|place| give(shaped.value(usize::from(*place))));
                }
                None => names.for_each(|name| {
                    give(shaped.get(name, &mut hint).map(|field| field.value));
                }),
            },
            other => names.for_each(|name| give(other.get(name, &mut hint))),
        }
    }

    /// [`PlainHash::get`] with the end of life.
    pub fn field(self, name: &[u8], hint: &mut usize) -> Option<Field<'a>> {
        match self {
            Self::Packed(packed) => packed.get(name, hint),
            Self::Shaped(shaped) => shaped.get(name, hint),
            Self::Large(fields) => {
                let (name, value) = fields.get_key_value(name)?;
                Some(Field { name, value, end: None })
            }
            Self::PackedEnding(packed, now) => {
                packed.get(name, hint).filter(|field| !field.is_over(now))
            }
            Self::LargeEnding(large, now) => large.field(name).filter(|field| !field.is_over(now)),
        }
    }

    /// Calls `visit` with every field.
    pub fn each(self, mut visit: impl FnMut(Field<'a>)) {
        match self {
            Self::Packed(packed) => packed.iter().for_each(visit),
            Self::Shaped(shaped) => shaped.iter().for_each(visit),
            Self::Large(fields) => {
                fields.iter().for_each(|(name, value)| visit(Field { name, value, end: None }));
            }
            Self::PackedEnding(packed, now) => {
                packed.iter().filter(|field| !field.is_over(now)).for_each(visit);
            }
            Self::LargeEnding(large, now) => {
                large.iter().filter(|field| !field.is_over(now)).for_each(visit);
            }
        }
    }

    /// Every field with its value and its end of life.
    pub fn fields(self) -> Box<dyn Iterator<Item = Field<'a>> + 'a> {
        match self {
            Self::Packed(packed) => Box::new(packed.iter()),
            Self::Shaped(shaped) => Box::new(shaped.iter()),
            Self::Large(fields) => {
                Box::new(fields.iter().map(|(name, value)| Field { name, value, end: None }))
            }
            Self::PackedEnding(packed, now) => {
                Box::new(packed.iter().filter(move |field| !field.is_over(now)))
            }
            Self::LargeEnding(large, now) => {
                Box::new(large.iter().filter(move |field| !field.is_over(now)))
            }
        }
    }
}

impl<'a, const ENDS: bool> PackedFields<'a, ENDS> {
    const LENGTHS_BYTES: usize = 8;
    const HEAD_BYTES: usize = Self::LENGTHS_BYTES + if ENDS { 8 } else { 0 };

    /// How many bytes so many fields take, of which names and values take `text_bytes`.
    pub(super) fn bytes(count: usize, text_bytes: usize) -> usize {
        4 + count * Self::HEAD_BYTES + text_bytes
    }

    fn count(self) -> usize {
        u32_at(self.0, 0).unwrap_or(0)
    }

    /// Whether there are fields, and as many as the count says.
    pub(super) fn is_whole(self) -> bool {
        self.count() > 0 && self.iter().count() == self.count()
    }

    /// The field at `at` and where the next one stands.
    #[inline]
    fn field(self, at: usize) -> Option<(Field<'a>, usize)> {
        let (head, text) = self.0.get(at..)?.split_at_checked(Self::HEAD_BYTES)?;
        let (name_bytes, value_bytes) = (u32_at(head, 0)?, u32_at(head, 4)?);
        let (name, text) = text.split_at_checked(name_bytes)?;
        let value = text.get(..value_bytes)?;
        let end = if ENDS { end_of(i64_at(head, Self::LENGTHS_BYTES)?) } else { None };
        Some((Field { name, value, end }, at + Self::HEAD_BYTES + name_bytes + value_bytes))
    }

    #[inline]
    fn get(self, wanted: &[u8], hint: &mut usize) -> Option<Field<'a>> {
        let start = (*hint).max(4);
        let from_hint = self.search(wanted, start, usize::MAX);
        let (field, next) = from_hint.or_else(|| self.search(wanted, 4, start))?;
        *hint = next;
        Some(field)
    }

    #[inline]
    fn search(self, wanted: &[u8], from: usize, to: usize) -> Option<(Field<'a>, usize)> {
        let mut at = from;
        while at < to {
            let (field, next) = self.field(at)?;
            if field.name == wanted {
                return Some((field, next));
            }
            at = next;
        }
        None
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Field<'a>> {
        let mut at = 4;
        std::iter::from_fn(move || {
            let (field, next) = self.field(at)?;
            at = next;
            Some(field)
        })
    }
}

/// Packs fields in one piece; with `ENDS` each has its end of life.
pub(super) fn pack_fields<'a, const ENDS: bool>(
    fields: impl Iterator<Item = Field<'a>>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    push_len(out, 0);
    let mut count = 0_u32;
    for field in fields {
        push_len(out, field.name.len());
        push_len(out, field.value.len());
        if ENDS {
            out.extend_from_slice(&end_us(field.end).to_le_bytes());
        }
        out.extend_from_slice(field.name);
        out.extend_from_slice(field.value);
        count += 1;
    }
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&count.to_le_bytes());
    }
}
