//! One key and what stands under it: a single allocation, but for large hashes.
//!
//! ```text
//! offset  size  field
//!      0     1  kind: 1 string, 2 hash, 3 entity; flags: 0x80 has an end of life, 0x40 a value
//!      1     8  LSN of the record that wrote it last
//!      9     4  length of the key
//!     13     n  key
//!            8  end of life, µs since 1970; only with 0x80
//!            n  body
//! ```
//! Snapshots hold these bytes as they are; a large hash is written in the packed form.

use super::{
    bytes::{bytes_at, i64_at, push_len, u32_at, u64_at},
    entity_row::EntityRow,
    plain_hash::{
        Fields, PACKED_BYTES_MAX, PACKED_FIELDS_MAX, PackedFields, PlainHash, pack_fields,
    },
};
use crate::feature::Timestamp;

const KEY_AT: usize = 1 + 8 + 4;
const KIND_STRING: u8 = 1;
const KIND_HASH: u8 = 2;
const KIND_ENTITY: u8 = 3;
const FLAG_EXPIRES: u8 = 0x80;
const FLAG_HAS_VALUE: u8 = 0x40;

/// A key and what stands under it.
#[derive(Clone, Debug)]
pub enum Row {
    /// In one piece.
    Packed(Box<[u8]>),
    /// A hash too large to copy for every write.
    Large(Box<LargeHash>),
}
const _: () = assert!(size_of::<Row>() == 16, "a table holds two words a row");

/// A hash as a map.
#[derive(Clone, Debug)]
pub struct LargeHash {
    key: Box<[u8]>,
    lsn: u64,
    expires_at: Option<Timestamp>,
    fields: Fields,
}

/// What stands under a key.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// A Redis string.
    String(&'a [u8]),
    /// A Redis hash.
    Hash(PlainHash<'a>),
    /// The features of a registered entity.
    Entity(EntityRow<'a>),
}

impl Row {
    /// A string.
    pub fn string(key: &[u8], lsn: u64, expires_at: Option<Timestamp>, value: &[u8]) -> Self {
        Self::pack(KIND_STRING | FLAG_HAS_VALUE, key, lsn, expires_at, |out| {
            out.extend_from_slice(value);
        })
    }

    /// An entity with this body.
    pub fn entity(key: &[u8], lsn: u64, body: &[u8]) -> Self {
        let has_value = if EntityRow(body).has_value() { FLAG_HAS_VALUE } else { 0 };
        Self::pack(KIND_ENTITY | has_value, key, lsn, None, |out| out.extend_from_slice(body))
    }

    /// A hash of these fields, packed if it is small enough.
    pub fn hash<'a>(
        key: &[u8],
        lsn: u64,
        expires_at: Option<Timestamp>,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Self {
        let size = fields.clone().fold((0, 0), |(count, bytes), (name, value)| {
            (count + 1, bytes + name.len() + value.len())
        });
        if size.0 <= PACKED_FIELDS_MAX && size.1 <= PACKED_BYTES_MAX {
            let kind = KIND_HASH | FLAG_HAS_VALUE;
            return Self::pack(kind, key, lsn, expires_at, |out| pack_fields(fields, out));
        }
        let fields = fields.map(|(name, value)| (name.into(), value.into())).collect();
        Self::Large(Box::new(LargeHash { key: key.into(), lsn, expires_at, fields }))
    }

    fn pack(
        kind: u8,
        key: &[u8],
        lsn: u64,
        expires_at: Option<Timestamp>,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Self {
        let mut out = Vec::with_capacity(KEY_AT + key.len() + 64);
        out.push(kind | if expires_at.is_some() { FLAG_EXPIRES } else { 0 });
        out.extend_from_slice(&lsn.to_le_bytes());
        push_len(&mut out, key.len());
        out.extend_from_slice(key);
        if let Some(at) = expires_at {
            out.extend_from_slice(&at.us().to_le_bytes());
        }
        body(&mut out);
        Self::Packed(out.into_boxed_slice())
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Packed(bytes) => {
                u32_at(bytes, 9).and_then(|count| bytes_at(bytes, KEY_AT, count)).unwrap_or(&[])
            }
            Self::Large(large) => &large.key,
        }
    }

    /// The record that wrote it last.
    pub fn lsn(&self) -> u64 {
        match self {
            Self::Packed(bytes) => u64_at(bytes, 1).unwrap_or(0),
            Self::Large(large) => large.lsn,
        }
    }

    /// When it is gone; `None` for never.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::Packed(bytes) if self.kind() & FLAG_EXPIRES != 0 => {
                i64_at(bytes, KEY_AT + self.key().len()).map(Timestamp)
            }
            Self::Packed(_) => None,
            Self::Large(large) => large.expires_at,
        }
    }

    /// Whether a plain key is past its end of life at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at().is_some_and(|at| at <= now)
    }

    /// Whether there is anything but nulls and tombstones.
    pub fn has_value(&self) -> bool {
        match self {
            Self::Packed(_) => self.kind() & FLAG_HAS_VALUE != 0,
            Self::Large(_) => true,
        }
    }

    /// What stands under the key; `None` if the bytes are no row, which ours always are.
    pub fn body(&self) -> Option<Body<'_>> {
        let bytes = match self {
            Self::Packed(bytes) => bytes,
            Self::Large(large) => return Some(Body::Hash(PlainHash::Large(&large.fields))),
        };
        let expiry_bytes = if self.kind() & FLAG_EXPIRES == 0 { 0 } else { 8 };
        let body = bytes.get(KEY_AT + self.key().len() + expiry_bytes..)?;
        match self.kind() & 0x0f {
            KIND_STRING => Some(Body::String(body)),
            KIND_HASH => Some(Body::Hash(PlainHash::Packed(PackedFields(body)))),
            KIND_ENTITY => Some(Body::Entity(EntityRow(body))),
            _ => None,
        }
    }

    /// The hash that stands here, if it is one.
    pub fn plain_hash(&self) -> Option<PlainHash<'_>> {
        match self.body()? {
            Body::Hash(hash) => Some(hash),
            Body::String(_) | Body::Entity(_) => None,
        }
    }

    /// The same row with another end of life.
    pub fn with_expiry(&self, lsn: u64, expires_at: Option<Timestamp>) -> Option<Self> {
        Some(match self.body()? {
            Body::String(value) => Self::string(self.key(), lsn, expires_at, value),
            Body::Hash(PlainHash::Packed(packed)) => {
                let kind = KIND_HASH | FLAG_HAS_VALUE;
                Self::pack(kind, self.key(), lsn, expires_at, |out| {
                    out.extend_from_slice(packed.0);
                })
            }
            Body::Hash(PlainHash::Large(_)) | Body::Entity(_) => {
                let mut row = self.clone();
                if let Self::Large(large) = &mut row {
                    (large.lsn, large.expires_at) = (lsn, expires_at);
                }
                row
            }
        })
    }

    /// The map of a large hash, to be changed in place, after noting who changes it.
    pub(super) fn large_fields_mut(&mut self, lsn: u64) -> Option<&mut Fields> {
        match self {
            Self::Packed(_) => None,
            Self::Large(large) => {
                large.lsn = lsn;
                Some(&mut large.fields)
            }
        }
    }

    /// The bytes a snapshot holds.
    pub fn to_bytes(&self) -> std::borrow::Cow<'_, [u8]> {
        match self {
            Self::Packed(bytes) => std::borrow::Cow::Borrowed(bytes),
            Self::Large(large) => {
                let kind = KIND_HASH | FLAG_HAS_VALUE;
                let fields = large.fields.iter().map(|(name, value)| (&**name, &**value));
                let pack = |out: &mut Vec<u8>| pack_fields(fields, out);
                match Self::pack(kind, &large.key, large.lsn, large.expires_at, pack) {
                    Self::Packed(bytes) => std::borrow::Cow::Owned(bytes.into_vec()),
                    Self::Large(_) => std::borrow::Cow::Borrowed(&[]),
                }
            }
        }
    }

    /// The row that a snapshot's bytes hold; `None` if they hold none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let row = Self::Packed(bytes.into());
        bytes_at(bytes, KEY_AT, u32_at(bytes, 9)?)?;
        match row.body()? {
            Body::Hash(PlainHash::Packed(packed)) => {
                let hash = PlainHash::Packed(packed);
                if hash.iter().count() != hash.len() {
                    return None;
                }
                if hash.len() <= PACKED_FIELDS_MAX && packed.0.len() <= PACKED_BYTES_MAX {
                    return Some(row);
                }
                let fields: Vec<_> = hash.iter().collect();
                Some(Self::hash(row.key(), row.lsn(), row.expires_at(), fields.into_iter()))
            }
            Body::String(_) | Body::Entity(_) | Body::Hash(_) => Some(row),
        }
    }

    /// The bytes it takes, the table's slot aside; of a large hash an estimate.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Packed(bytes) => bytes.len(),
            Self::Large(large) => {
                large.fields.iter().map(|(name, value)| name.len() + value.len() + 48).sum()
            }
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Packed(bytes) => bytes.first().copied().unwrap_or(0),
            Self::Large(_) => KIND_HASH,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let field = |i| (format!("f{i}").into_bytes(), format!("v{i}").into_bytes());
        (0..count).map(field).collect()
    }

    #[test]
    fn a_row_survives_its_bytes_whatever_its_size() {
        for count in [1, PACKED_FIELDS_MAX, PACKED_FIELDS_MAX + 1, 1000] {
            let fields = fields(count);
            let borrowed = fields.iter().map(|(name, value)| (&name[..], &value[..]));
            let row = Row::hash(b"k", 9, Some(Timestamp(5)), borrowed);
            assert_eq!(matches!(row, Row::Large(_)), count > PACKED_FIELDS_MAX);
            let back = Row::from_bytes(&row.to_bytes()).unwrap();
            assert_eq!(
                (back.key(), back.lsn(), back.expires_at()),
                (&b"k"[..], 9, row.expires_at())
            );
            let mut hint = 0;
            for (name, value) in &fields {
                assert_eq!(back.plain_hash().unwrap().get(name, &mut hint), Some(&value[..]));
            }
        }
    }

    #[test]
    fn a_field_is_found_from_any_hint() {
        let fields = fields(10);
        let borrowed = fields.iter().map(|(name, value)| (&name[..], &value[..]));
        let row = Row::hash(b"k", 1, None, borrowed);
        let mut hint = 0;
        for index in [9, 0, 5, 4, 9, 9] {
            let (name, value) = &fields[index];
            assert_eq!(row.plain_hash().unwrap().get(name, &mut hint), Some(&value[..]));
        }
        assert_eq!(row.plain_hash().unwrap().get(b"other", &mut hint), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_make_a_row_or_none_without_panic(bytes: Vec<u8>) {
            if let Some(row) = Row::from_bytes(&bytes) {
                let _ = (row.key(), row.lsn(), row.expires_at(), row.has_value());
            }
        }
    }
}
