//! A plain Redis hash: small ones packed as one piece, large ones as a map.
//!
//! ```text
//! u32 count, then per field: u32 name length, u32 value length, name, value
//! ```
//! Packed, a field is found by walking; clients mostly ask for fields in the order they stand, so
//! [`PlainHash::get`] of a packed hash takes a hint where to begin.

use super::bytes::{bytes_at, push_len, u32_at};
use std::collections::HashMap;

/// Above this many fields a hash is a map: walking would cost more than hashing.
pub(super) const PACKED_FIELDS_MAX: usize = 64;
/// Above this many bytes too: every write copies a packed hash.
pub(super) const PACKED_BYTES_MAX: usize = 8 * 1024;

/// The fields of a large hash.
pub(super) type Fields = HashMap<Box<[u8]>, Box<[u8]>, ahash::RandomState>;

/// A hash as a reader sees it.
#[derive(Clone, Copy, Debug)]
pub enum PlainHash<'a> {
    /// One piece of bytes.
    Packed(PackedFields<'a>),
    /// A map.
    Large(&'a Fields),
}

/// The fields of a small hash in one piece.
#[derive(Clone, Copy, Debug)]
pub struct PackedFields<'a>(pub(super) &'a [u8]);

impl<'a> PlainHash<'a> {
    /// How many fields.
    pub fn len(self) -> usize {
        match self {
            Self::Packed(packed) => packed.count(),
            Self::Large(fields) => fields.len(),
        }
    }

    /// Whether there is none; such a hash does not exist for a client.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The value of `field`. `hint` is where the search begins and, after it, where the field
    /// behind the one found stands: keep one over several calls.
    pub fn get(self, field: &[u8], hint: &mut usize) -> Option<&'a [u8]> {
        match self {
            Self::Packed(packed) => packed.get(field, hint),
            Self::Large(fields) => fields.get(field).map(|value| &**value),
        }
    }

    /// Every field with its value.
    pub fn iter(self) -> Box<dyn Iterator<Item = (&'a [u8], &'a [u8])> + 'a> {
        match self {
            Self::Packed(packed) => Box::new(packed.iter()),
            Self::Large(fields) => Box::new(fields.iter().map(|(name, value)| (&**name, &**value))),
        }
    }
}

impl<'a> PackedFields<'a> {
    fn count(self) -> usize {
        u32_at(self.0, 0).unwrap_or(0)
    }

    /// The field at `at` and where the next one stands.
    fn field(self, at: usize) -> Option<(&'a [u8], &'a [u8], usize)> {
        let (name_bytes, value_bytes) = (u32_at(self.0, at)?, u32_at(self.0, at + 4)?);
        let name = bytes_at(self.0, at + 8, name_bytes)?;
        let value = bytes_at(self.0, at + 8 + name_bytes, value_bytes)?;
        Some((name, value, at + 8 + name_bytes + value_bytes))
    }

    fn get(self, wanted: &[u8], hint: &mut usize) -> Option<&'a [u8]> {
        let start = (*hint).max(4);
        let from_hint = self.search(wanted, start, usize::MAX);
        let (value, next) = from_hint.or_else(|| self.search(wanted, 4, start))?;
        *hint = next;
        Some(value)
    }

    fn search(self, wanted: &[u8], from: usize, to: usize) -> Option<(&'a [u8], usize)> {
        let mut at = from;
        while at < to {
            let (name, value, next) = self.field(at)?;
            if name == wanted {
                return Some((value, next));
            }
            at = next;
        }
        None
    }

    fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut at = 4;
        std::iter::from_fn(move || {
            let (name, value, next) = self.field(at)?;
            at = next;
            Some((name, value))
        })
    }
}

/// Packs fields in one piece.
pub(super) fn pack_fields<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    push_len(out, 0);
    let mut count = 0_u32;
    for (name, value) in fields {
        push_len(out, name.len());
        push_len(out, value.len());
        out.extend_from_slice(name);
        out.extend_from_slice(value);
        count += 1;
    }
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&count.to_le_bytes());
    }
}
