//! One key and what stands under it, as a write made it or a snapshot holds it.

use super::{
    bytes::bytes_at,
    dictionary::Dictionary,
    field::{Field, end_us},
    large_fields::LargeFields,
    pack_row::{
        Extent, FLAG_EXPIRES, FLAG_HAS_VALUE, KIND_BITS, KIND_ENTITY, KIND_STRING, key_place, pack,
        pack_entity, packed_hash, packed_hash_of,
    },
    plain_hash::{PACKED_BYTES_MAX, PACKED_FIELDS_MAX, PlainHash},
    row::{Body, LargeHash, Row},
};
use crate::{feature::Timestamp, parallel::drop_later};

/// A hash of more fields, or a longer row, is dropped where nobody waits for it.
const DROPPED_FIELDS_MAX: usize = 1024;
const DROPPED_BYTES_MAX: usize = 1024 * 1024;

/// A key and what stands under it. One that was made of a row in a table may hold numbers of that
/// table's dictionary.
#[derive(Clone, Debug)]
pub enum OwnedRow {
    /// In one piece.
    Packed(Box<[u8]>),
    /// A hash too large to copy for every write.
    Large(Box<LargeHash>),
}

impl From<Row<'_>> for OwnedRow {
    fn from(row: Row<'_>) -> Self {
        match row {
            Row::Packed(bytes, _) => Self::Packed(bytes.into()),
            Row::Large(large) => Self::Large(Box::new(large.clone())),
        }
    }
}

impl OwnedRow {
    /// What readers are given.
    pub fn as_row(&self) -> Row<'_> {
        match self {
            Self::Packed(bytes) => Row::Packed(bytes, None),
            Self::Large(large) => Row::Large(large),
        }
    }

    /// What readers are given of a row that may hold numbers: one made of a row in a table.
    #[inline]
    pub(super) fn with<'a>(&'a self, dictionary: &'a Dictionary) -> Row<'a> {
        match self {
            Self::Packed(bytes) => Row::Packed(bytes, Some(dictionary)),
            Self::Large(large) => Row::Large(large),
        }
    }

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

    /// `row` with another end of life.
    pub(super) fn with_expiry(
        row: Row<'_>,
        lsn: u64,
        expires_at: Option<Timestamp>,
    ) -> Option<Self> {
        let mut changed = match (row, row.body()?) {
            (_, Body::String(value)) => Self::string(row.key(), lsn, expires_at, value),
            (Row::Packed(..), Body::Hash(hash)) => {
                let fields: Vec<_> = hash.every().collect();
                Self::hash(row.key(), lsn, expires_at, fields.into_iter())
            }
            (_, Body::Hash(_) | Body::Entity(_)) => row.into(),
        };
        if let Self::Large(large) = &mut changed {
            (large.lsn, large.expires_at_us) = (lsn, end_us(expires_at));
        }
        Some(changed)
    }

    /// A packed row without the fields that are over at `now`, and how many those are; no row if
    /// nothing is left. What wrote it last stays as it is: nothing was written.
    pub(super) fn without_over(row: Row<'_>, now: Timestamp) -> (Option<Self>, usize) {
        let Some(hash) = row.stored_hash() else { return (Some(row.into()), 0) };
        let left: Vec<_> = hash.at(now).fields().collect();
        let removed = hash.every().count() - left.len();
        if left.is_empty() {
            return (None, removed);
        }
        let bytes = packed_hash(row.key(), row.lsn(), row.expires_at(), left.into_iter());
        (Some(Self::Packed(bytes)), removed)
    }

    /// Removes at most `count` fields of a large hash that are over at `now`, and at least one of
    /// them; how many, and whether no field is left.
    pub(super) fn remove_over(&mut self, now: Timestamp, count: usize) -> (usize, bool) {
        let Self::Large(large) = self else { return (0, false) };
        let removed = large.fields.remove_over(now, count.max(1));
        (removed, large.fields.values().is_empty())
    }

    /// Drops it, later if that takes a while: shards are locked where rows go.
    pub(super) fn let_go(self) {
        let is_quick = match &self {
            Self::Packed(bytes) => bytes.len() <= DROPPED_BYTES_MAX,
            Self::Large(large) => large.fields.values().len() <= DROPPED_FIELDS_MAX,
        };
        if !is_quick {
            drop_later(self);
        }
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

    /// The row that a snapshot's bytes hold; `None` if they hold none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let row = Row::Packed(bytes, None);
        let (key_at, key_bytes) = key_place(bytes)?;
        bytes_at(bytes, key_at, key_bytes)?;
        // What is written says so of itself; an entity has no end.
        if row.kind() & (KIND_BITS | FLAG_EXPIRES) == KIND_ENTITY | FLAG_EXPIRES {
            return None;
        }
        let hash = match row.body()? {
            Body::Hash(hash) => hash,
            // Words are the table's own.
            Body::Entity(entity) if entity.has_words() => return None,
            Body::String(_) | Body::Entity(_) => return Some(row.into()),
        };
        match hash.0 {
            PlainHash::Packed(packed) if !packed.is_whole() => return None,
            PlainHash::PackedEnding(packed, _) if !packed.is_whole() => return None,
            PlainHash::Packed(packed)
                if hash.0.len() <= PACKED_FIELDS_MAX && packed.0.len() <= PACKED_BYTES_MAX =>
            {
                return Some(row.into());
            }
            _ => {}
        }
        // When the row is gone follows from its fields, whatever its bytes say.
        let fields: Vec<_> = hash.every().collect();
        // One that ends before all time was never there; without any there is no hash.
        (!fields.is_empty())
            .then(|| Self::hash(row.key(), row.lsn(), row.expires_at(), fields.into_iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::online::pack_row::{ENDING_HEAD_BYTES, KEY_AT};

    #[test]
    fn a_hash_of_nothing_but_fields_that_end_before_all_time_is_no_row() {
        let field = |end| Field { name: b"f", value: b"v", end: Some(Timestamp(end)) };
        let read = |ends: &[i64]| {
            let fields: Vec<_> = ends.iter().map(|end| field(*end)).collect();
            OwnedRow::from_bytes(&packed_hash(b"k", 1, None, fields.into_iter()))
        };
        assert!(read(&[i64::MIN]).is_none() && read(&[i64::MIN, i64::MIN]).is_none());
        let written = read(&[i64::MIN + 1, i64::MIN]).unwrap();
        assert!(OwnedRow::from_bytes(&written.as_row().to_bytes()).is_some());
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
                let row = OwnedRow::hash(b"k", 9, Some(Timestamp(5)), borrowed(&fields));
                assert_eq!(matches!(row, OwnedRow::Large(_)), count > PACKED_FIELDS_MAX);
                let back = OwnedRow::from_bytes(&row.as_row().to_bytes()).unwrap();
                let (row, back) = (row.as_row(), back.as_row());
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
            let row = OwnedRow::hash(b"k", 1, None, borrowed(&fields));
            let hash = row.as_row().stored_hash().unwrap().at(Timestamp(99));
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
        let hex = |row: &OwnedRow| -> String {
            row.as_row().to_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let plain = Field { name: b"f", value: b"vw", end: None };
        let row = OwnedRow::hash(b"k", 7, Some(Timestamp(5)), [plain].into_iter());
        let plain_hex = "c2070000000000000001000000 6b 0500000000000000\
                         01000000 01000000 02000000 66 7677";
        assert_eq!(hex(&row), plain_hex.replace(' ', ""));
        let ending = Field { end: Some(Timestamp(4)), ..plain };
        let row = OwnedRow::hash(b"k", 7, None, [ending].into_iter());
        let ending_hex = "c4070000000000000001000000 6b 0400000000000000\
                          ffffffffffffff7f 0400000000000000\
                          01000000 01000000 02000000 0400000000000000 66 7677";
        assert_eq!(hex(&row), ending_hex.replace(' ', ""));
        // A hash without ends takes no byte for them.
        let row = OwnedRow::hash(b"k", 7, None, [plain].into_iter());
        assert_eq!(row.as_row().memory_bytes(), KEY_AT + 1 + 4 + 8 + 3);
    }

    #[test]
    fn damaged_ends_and_counts_are_judged_by_the_fields_or_refused() {
        let ending = Field { name: b"f", value: b"v", end: Some(Timestamp(4)) };
        let bytes = OwnedRow::hash(b"k", 7, None, [ending].into_iter());
        let mut bytes = bytes.as_row().to_bytes().into_owned();
        // The row says it is gone at 0; its field says 4.
        bytes[KEY_AT + 1] = 0;
        let row = OwnedRow::from_bytes(&bytes).unwrap();
        let row = row.as_row();
        assert!(!row.is_expired(Timestamp(3)) && row.is_expired(Timestamp(4)));
        for cut in 0..bytes.len() {
            assert!(OwnedRow::from_bytes(&bytes[..cut]).is_none(), "{cut}");
        }
        bytes[KEY_AT + 1 + 8 + ENDING_HEAD_BYTES] = 2;
        assert!(OwnedRow::from_bytes(&bytes).is_none());
    }

    /// Found by the fuzzer: a table of times whose end no number can tell.
    #[test]
    fn a_section_that_claims_more_times_than_can_be_has_no_value() {
        let bytes = [
            0x15, 0x00, 0xf6, 0x87, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0xfd, 0xff, 0xff, 0xff,
            0xff, 0xff, 0xff, 0xff, 0x0f, 0x0f, 0x87, 0x0f,
        ];
        let row = OwnedRow::from_bytes(&bytes).unwrap();
        let Some(Body::Entity(entity)) = row.as_row().body() else { panic!("it is an entity's") };
        assert!(!entity.has_value());
        assert_eq!(entity.views().count(), 1);
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
            if let Some(row) = OwnedRow::from_bytes(&bytes) {
                let row = row.as_row();
                let _ = (row.key(), row.lsn(), row.expires_at(), row.has_value());
                let _ = (row.is_expired(Timestamp(0)), row.first_field_end());
                let _ = row.stored_hash().map(|hash| hash.at(Timestamp(0)).fields().count());
            }
        }
    }
}
