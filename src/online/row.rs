//! One key and what stands under it: a single allocation, but for large hashes.
//!
//! ```text
//! offset  size  field
//!      0     1  kind: 1 string, 2 hash, 4 hash of which fields have ends of life;
//!               flags: 0x80 has an end of life, 0x40 a value
//!      1     8  LSN of the record that wrote it last
//!      9     4  length of the key
//!     13     n  key
//!            8  end of life, µs since 1970; only with 0x80
//!            n  body
//!
//! An entity, kind 5: 1 kind and flag 0x40, varint length of the key, key, varint LSN, sections.
//! Kind 3 is an entity as it was written earlier; it stays as it is until it is written.
//! ```
//! Kind 4 always has 0x80. What stands there is when nothing is left: the end of the key or of the
//! last field, whichever is first; `i64::MAX` for never. So a row is judged alike whatever it is.
//! In front of its fields stand the end of the key itself and that of the first field to go.
//!
//! Snapshots hold these bytes as they are; a large hash is written in the packed form.

use super::{
    bytes::{bytes_at, i64_at, u64_at, varint_at},
    entity_row::EntityRow,
    field::{Field, end_of, end_us},
    large_fields::LargeFields,
    pack_row::{
        ENDING_HEAD_BYTES, Extent, FLAG_EXPIRES, FLAG_HAS_VALUE, KEY_AT, KIND_BITS,
        KIND_EARLIER_ENTITY, KIND_ENDING_HASH, KIND_ENTITY, KIND_HASH, KIND_STRING, key_place,
        pack, pack_entity, packed_hash, packed_hash_of,
    },
    plain_hash::{PACKED_BYTES_MAX, PACKED_FIELDS_MAX, PackedFields, PlainHash, StoredHash},
};
use crate::feature::Timestamp;

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
    /// `NEVER_US` without an end of life.
    expires_at_us: i64,
    fields: LargeFields,
}

/// What stands under a key.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// A Redis string.
    String(&'a [u8]),
    /// A Redis hash.
    Hash(StoredHash<'a>),
    /// The features of a registered entity.
    Entity(EntityRow<'a>),
}

impl Row {
    /// A string.
    pub fn string(key: &[u8], lsn: u64, expires_at: Option<Timestamp>, value: &[u8]) -> Self {
        let kind = KIND_STRING | FLAG_HAS_VALUE;
        let pack_value = |out: &mut Vec<u8>| out.extend_from_slice(value);
        Self::Packed(pack(kind, key, lsn, expires_at, value.len(), pack_value))
    }

    /// An entity with this body.
    pub fn entity(key: &[u8], lsn: u64, body: &[u8]) -> Self {
        Self::Packed(pack_entity(key, lsn, body))
    }

    /// A hash of these fields, packed if it is small enough.
    pub fn hash<'a>(
        key: &[u8],
        lsn: u64,
        expires_at: Option<Timestamp>,
        fields: impl Iterator<Item = Field<'a>> + Clone,
    ) -> Self {
        let extent = Extent::of(fields.clone());
        if extent.count <= PACKED_FIELDS_MAX && extent.bytes <= PACKED_BYTES_MAX {
            return Self::Packed(packed_hash_of(&extent, key, lsn, expires_at, fields));
        }
        let (expires_at_us, fields) = (end_us(expires_at), fields.collect());
        Self::Large(Box::new(LargeHash { key: key.into(), lsn, expires_at_us, fields }))
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Packed(bytes) => {
                let place = key_place(bytes);
                place.and_then(|(at, count)| bytes_at(bytes, at, count)).unwrap_or(&[])
            }
            Self::Large(large) => &large.key,
        }
    }

    /// The record that wrote it last.
    pub fn lsn(&self) -> u64 {
        match self {
            Self::Packed(bytes) if self.kind() & KIND_BITS == KIND_ENTITY => {
                let lsn = key_place(bytes).and_then(|(at, count)| varint_at(bytes, at + count));
                lsn.map_or(0, |(lsn, _)| lsn as u64)
            }
            Self::Packed(bytes) => u64_at(bytes, 1).unwrap_or(0),
            Self::Large(large) => large.lsn,
        }
    }

    /// When the key is gone; `None` for never. Its fields may all be gone before.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::Packed(bytes) if self.is_packed_ending() => {
                i64_at(bytes, self.body_at()?).and_then(end_of)
            }
            Self::Packed(_) => self.gone_at(),
            Self::Large(large) => end_of(large.expires_at_us),
        }
    }

    /// When nothing is left to be seen; `None` for never.
    #[inline]
    fn gone_at(&self) -> Option<Timestamp> {
        match self {
            Self::Packed(bytes) if self.kind() & FLAG_EXPIRES != 0 => {
                i64_at(bytes, KEY_AT + self.key().len()).and_then(end_of)
            }
            Self::Packed(_) => None,
            Self::Large(large) => first_of(end_of(large.expires_at_us), large.fields.last_end()),
        }
    }

    /// Whether a plain key is past its end of life at `now`, or each of its fields is.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.gone_at().is_some_and(|at| at <= now)
    }

    /// Whether any field of a plain hash has an end of life.
    pub fn has_field_ends(&self) -> bool {
        match self {
            Self::Packed(_) => self.is_packed_ending(),
            Self::Large(large) => large.fields.has_ends(),
        }
    }

    /// When the first field of a plain hash is gone; `None` if none has an end of life.
    pub fn first_field_end(&self) -> Option<Timestamp> {
        match self {
            Self::Packed(bytes) if self.is_packed_ending() => {
                i64_at(bytes, self.body_at()? + 8).and_then(end_of)
            }
            Self::Packed(_) => None,
            Self::Large(large) => large.fields.first_end(),
        }
    }

    /// Whether there is anything but nulls and tombstones.
    pub fn has_value(&self) -> bool {
        match self {
            Self::Packed(_) => self.kind() & FLAG_HAS_VALUE != 0,
            Self::Large(_) => true,
        }
    }

    /// What stands under the key; `None` if the bytes are no row, which ours always are.
    #[inline]
    pub fn body(&self) -> Option<Body<'_>> {
        let bytes = match self {
            Self::Packed(bytes) => bytes,
            Self::Large(large) => return Some(Body::Hash(StoredHash::of_large(&large.fields))),
        };
        let body = bytes.get(self.body_at()?..)?;
        match self.kind() & KIND_BITS {
            KIND_STRING => Some(Body::String(body)),
            KIND_HASH => Some(Body::Hash(StoredHash(PlainHash::Packed(PackedFields(body))))),
            KIND_ENTITY => Some(Body::Entity(EntityRow::new(body))),
            KIND_EARLIER_ENTITY => Some(Body::Entity(EntityRow::earlier(body))),
            KIND_ENDING_HASH => {
                let fields = PackedFields(body.get(ENDING_HEAD_BYTES..)?);
                Some(Body::Hash(StoredHash(PlainHash::PackedEnding(fields, Timestamp::MIN))))
            }
            _ => None,
        }
    }

    /// The hash that stands here, if it is one.
    pub fn stored_hash(&self) -> Option<StoredHash<'_>> {
        match self.body()? {
            Body::Hash(hash) => Some(hash),
            Body::String(_) | Body::Entity(_) => None,
        }
    }

    /// The same row with another end of life.
    pub fn with_expiry(&self, lsn: u64, expires_at: Option<Timestamp>) -> Option<Self> {
        let mut row = match (self, self.body()?) {
            (_, Body::String(value)) => Self::string(self.key(), lsn, expires_at, value),
            (Self::Packed(_), Body::Hash(hash)) => {
                let fields: Vec<_> = hash.every().collect();
                Self::Packed(packed_hash(self.key(), lsn, expires_at, fields.into_iter()))
            }
            (_, Body::Hash(_) | Body::Entity(_)) => self.clone(),
        };
        if let Self::Large(large) = &mut row {
            (large.lsn, large.expires_at_us) = (lsn, end_us(expires_at));
        }
        Some(row)
    }

    /// Removes at most `count` fields that are over at `now`, and at least one of them; how many,
    /// and whether no field is left. What wrote the row last stays as it is: nothing was written.
    pub(super) fn remove_over(&mut self, now: Timestamp, count: usize) -> (usize, bool) {
        if let Self::Large(large) = self {
            let removed = large.fields.remove_over(now, count.max(1));
            return (removed, large.fields.values().is_empty());
        }
        let Some(hash) = self.stored_hash() else { return (0, false) };
        let left: Vec<_> = hash.at(now).fields().collect();
        let removed = hash.every().count() - left.len();
        let is_empty = left.is_empty();
        let row = packed_hash(self.key(), self.lsn(), self.expires_at(), left.into_iter());
        *self = Self::Packed(row);
        (removed, is_empty)
    }

    /// The fields of a large hash, to be changed in place, after noting who changes it.
    pub(super) fn large_fields_mut(&mut self, lsn: u64) -> Option<&mut LargeFields> {
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
                let expires_at = end_of(large.expires_at_us);
                let row = packed_hash(&large.key, large.lsn, expires_at, large.fields.iter());
                std::borrow::Cow::Owned(row.into_vec())
            }
        }
    }

    /// The row that a snapshot's bytes hold; `None` if they hold none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let row = Self::Packed(bytes.into());
        let (key_at, key_bytes) = key_place(bytes)?;
        bytes_at(bytes, key_at, key_bytes)?;
        // What is written says so of itself; an entity has no end.
        if row.kind() & (KIND_BITS | FLAG_EXPIRES) == KIND_ENTITY | FLAG_EXPIRES {
            return None;
        }
        let hash = match row.body()? {
            Body::Hash(hash) => hash,
            Body::String(_) | Body::Entity(_) => return Some(row),
        };
        match hash.0 {
            PlainHash::Packed(packed) if !packed.is_whole() => return None,
            PlainHash::PackedEnding(packed, _) if !packed.is_whole() => return None,
            PlainHash::Packed(packed)
                if hash.0.len() <= PACKED_FIELDS_MAX && packed.0.len() <= PACKED_BYTES_MAX =>
            {
                return Some(row);
            }
            _ => {}
        }
        // When the row is gone follows from its fields, whatever its bytes say.
        let fields: Vec<_> = hash.every().collect();
        // One that ends before all time was never there; without any there is no hash.
        (!fields.is_empty())
            .then(|| Self::hash(row.key(), row.lsn(), row.expires_at(), fields.into_iter()))
    }

    /// The bytes it takes, the table's slot aside; of a large hash an estimate.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Packed(bytes) => bytes.len(),
            Self::Large(large) => large.fields.memory_bytes(),
        }
    }

    /// Where the body of a packed row begins.
    #[inline]
    fn body_at(&self) -> Option<usize> {
        let Self::Packed(bytes) = self else { return None };
        let (key_at, key_bytes) = key_place(bytes)?;
        let key_end = key_at + key_bytes;
        match self.kind() & (KIND_BITS | FLAG_EXPIRES) {
            KIND_ENTITY => varint_at(bytes, key_end).map(|(_, at)| at),
            kind if kind & FLAG_EXPIRES == 0 => Some(key_end),
            _ => Some(key_end + 8),
        }
    }

    fn is_packed_ending(&self) -> bool {
        self.kind() & KIND_BITS == KIND_ENDING_HASH
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Packed(bytes) => bytes.first().copied().unwrap_or(0),
            Self::Large(_) => KIND_HASH,
        }
    }
}

/// The earlier of two ends of life.
fn first_of(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_of_nothing_but_fields_that_end_before_all_time_is_no_row() {
        let field = |end| Field { name: b"f", value: b"v", end: Some(Timestamp(end)) };
        let read = |ends: &[i64]| {
            let fields: Vec<_> = ends.iter().map(|end| field(*end)).collect();
            Row::from_bytes(&packed_hash(b"k", 1, None, fields.into_iter()))
        };
        assert!(read(&[i64::MIN]).is_none() && read(&[i64::MIN, i64::MIN]).is_none());
        let written = read(&[i64::MIN + 1, i64::MIN]).unwrap();
        assert!(Row::from_bytes(&written.to_bytes()).is_some());
    }

    type Owned = (Vec<u8>, Vec<u8>, Option<Timestamp>);

    /// So many fields; every third has an end if `has_ends`.
    fn fields(count: usize, has_ends: bool) -> Vec<Owned> {
        let end = |i: usize| (has_ends && i.is_multiple_of(3)).then_some(Timestamp(100 + i as i64));
        let field = |i| (format!("f{i}").into_bytes(), format!("v{i}").into_bytes(), end(i));
        (0..count).map(field).collect()
    }

    fn borrowed(fields: &[Owned]) -> impl Iterator<Item = Field<'_>> + Clone {
        fields.iter().map(|(name, value, end)| Field { name, value, end: *end })
    }

    #[test]
    fn a_row_survives_its_bytes_whatever_its_size() {
        for count in [1, PACKED_FIELDS_MAX, PACKED_FIELDS_MAX + 1, 1000] {
            for has_ends in [false, true] {
                let fields = fields(count, has_ends);
                let row = Row::hash(b"k", 9, Some(Timestamp(5)), borrowed(&fields));
                assert_eq!(matches!(row, Row::Large(_)), count > PACKED_FIELDS_MAX);
                let back = Row::from_bytes(&row.to_bytes()).unwrap();
                assert_eq!(
                    (back.key(), back.lsn(), back.expires_at()),
                    (&b"k"[..], 9, row.expires_at())
                );
                assert_eq!(back.has_field_ends(), has_ends);
                assert_eq!(back.first_field_end(), has_ends.then_some(Timestamp(100)));
                let (mut hint, hash) = (0, back.stored_hash().unwrap().at(Timestamp::MIN));
                for field in borrowed(&fields) {
                    assert_eq!(hash.field(field.name, &mut hint), Some(field));
                }
            }
        }
    }

    #[test]
    fn a_field_is_found_from_any_hint() {
        for has_ends in [false, true] {
            let fields = fields(10, has_ends);
            let row = Row::hash(b"k", 1, None, borrowed(&fields));
            let hash = row.stored_hash().unwrap().at(Timestamp(99));
            let mut hint = 0;
            for index in [9, 0, 5, 4, 9, 9] {
                let (name, value, _) = &fields[index];
                assert_eq!(hash.get(name, &mut hint), Some(&value[..]));
            }
            assert_eq!(hash.get(b"other", &mut hint), None);
        }
    }

    #[test]
    fn the_bytes_of_a_hash_never_change() {
        let hex = |row: &Row| -> String {
            row.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let plain = Field { name: b"f", value: b"vw", end: None };
        let row = Row::hash(b"k", 7, Some(Timestamp(5)), [plain].into_iter());
        let plain_hex = "c2070000000000000001000000 6b 0500000000000000\
                         01000000 01000000 02000000 66 7677";
        assert_eq!(hex(&row), plain_hex.replace(' ', ""));
        let ending = Field { end: Some(Timestamp(4)), ..plain };
        let row = Row::hash(b"k", 7, None, [ending].into_iter());
        let ending_hex = "c4070000000000000001000000 6b 0400000000000000\
                          ffffffffffffff7f 0400000000000000\
                          01000000 01000000 02000000 0400000000000000 66 7677";
        assert_eq!(hex(&row), ending_hex.replace(' ', ""));
        // A hash without ends takes no byte for them.
        let row = Row::hash(b"k", 7, None, [plain].into_iter());
        assert_eq!(row.memory_bytes(), KEY_AT + 1 + 4 + 8 + 3);
    }

    #[test]
    fn damaged_ends_and_counts_are_judged_by_the_fields_or_refused() {
        let ending = Field { name: b"f", value: b"v", end: Some(Timestamp(4)) };
        let mut bytes = Row::hash(b"k", 7, None, [ending].into_iter()).to_bytes().into_owned();
        // The row says it is gone at 0; its field says 4.
        bytes[KEY_AT + 1] = 0;
        let row = Row::from_bytes(&bytes).unwrap();
        assert!(!row.is_expired(Timestamp(3)) && row.is_expired(Timestamp(4)));
        for cut in 0..bytes.len() {
            assert!(Row::from_bytes(&bytes[..cut]).is_none(), "{cut}");
        }
        bytes[KEY_AT + 1 + 8 + ENDING_HEAD_BYTES] = 2;
        assert!(Row::from_bytes(&bytes).is_none());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_make_a_row_or_none_without_panic(kind: u8, mut bytes: Vec<u8>) {
            // Half of them begin as rows of a key without bytes do.
            if kind & 1 == 0 {
                let head = [&[(kind / 2) | 0xc0][..], &[0; 12]].concat();
                bytes.splice(0..0, head);
            } else if kind & 2 == 0 {
                bytes.splice(0..0, [KIND_ENTITY | FLAG_HAS_VALUE, kind / 4]);
            }
            if let Some(row) = Row::from_bytes(&bytes) {
                let _ = (row.key(), row.lsn(), row.expires_at(), row.has_value());
                let _ = (row.is_expired(Timestamp(0)), row.first_field_end());
                let _ = row.stored_hash().map(|hash| hash.at(Timestamp(0)).fields().count());
            }
        }
    }
}
