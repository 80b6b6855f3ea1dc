//! One key and what stands under it, where it stands: in one piece, but for large hashes.
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
//! Kind 3 is an entity as it was written earlier; it stays as it is until it is written. Kind 6, in
//! the table alone, is a hash whose names are a shape (`shaped_hash`); its head is that of kind 5,
//! and behind it an end of life, with 0x80.
//! ```
//! Kind 4 always has 0x80. What stands there is when nothing is left: the end of the key or of the
//! last field, whichever is first; `i64::MAX` for never. So a row is judged alike whatever it is.
//! In front of its fields stand the end of the key itself and that of the first field to go.
//!
//! Snapshots hold these bytes as they are; a large hash is written in the packed form.

use super::{
    bytes::{bytes_at, i64_at, u64_at, varint_at},
    dictionary::Dictionary,
    entity_row::EntityRow,
    field::end_of,
    large_fields::LargeFields,
    pack_row::{
        ENDING_HEAD_BYTES, FLAG_EXPIRES, FLAG_HAS_VALUE, KIND_BITS, KIND_EARLIER_ENTITY,
        KIND_ENDING_HASH, KIND_ENTITY, KIND_HASH, KIND_SHAPED_HASH, KIND_STRING, has_short_head,
        head_end, key_place, packed_hash,
    },
    plain_hash::{PackedFields, PlainHash, StoredHash},
    shaped_fields::ShapedFields,
    worded_row::plain,
};
use crate::feature::Timestamp;
use std::borrow::Cow;

/// A key and what stands under it, borrowed.
#[derive(Clone, Copy, Debug)]
pub enum Row<'a> {
    /// In one piece, and what numbers in it say.
    Packed(&'a [u8], Option<&'a Dictionary>),
    /// A hash too large to copy for every write.
    Large(&'a LargeHash),
}

/// A hash as a map.
#[derive(Clone, Debug)]
pub struct LargeHash {
    pub(super) key: Box<[u8]>,
    pub(super) lsn: u64,
    /// `NEVER_US` without an end of life.
    pub(super) expires_at_us: i64,
    pub(super) fields: LargeFields,
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

impl<'a> Row<'a> {
    /// The key.
    pub fn key(self) -> &'a [u8] {
        match self {
            Self::Packed(bytes, _) => {
                let place = key_place(bytes);
                place.and_then(|(at, count)| bytes_at(bytes, at, count)).unwrap_or(&[])
            }
            Self::Large(large) => &large.key,
        }
    }

    /// The record that wrote it last.
    pub fn lsn(self) -> u64 {
        match self {
            Self::Packed(bytes, _) if has_short_head(self.kind()) => {
                let lsn = key_place(bytes).and_then(|(at, count)| varint_at(bytes, at + count));
                lsn.map_or(0, |(lsn, _)| lsn as u64)
            }
            Self::Packed(bytes, _) => u64_at(bytes, 1).unwrap_or(0),
            Self::Large(large) => large.lsn,
        }
    }

    /// When the key is gone; `None` for never. Its fields may all be gone before.
    pub fn expires_at(self) -> Option<Timestamp> {
        match self {
            Self::Packed(bytes, _) if self.is_packed_ending() => {
                i64_at(bytes, self.body_at()?).and_then(end_of)
            }
            Self::Packed(..) => self.gone_at(),
            Self::Large(large) => end_of(large.expires_at_us),
        }
    }

    /// When nothing is left to be seen; `None` for never.
    #[inline]
    fn gone_at(self) -> Option<Timestamp> {
        match self {
            Self::Packed(bytes, _) if self.kind() & FLAG_EXPIRES != 0 => {
                i64_at(bytes, head_end(bytes)?).and_then(end_of)
            }
            Self::Packed(..) => None,
            Self::Large(large) => first_of(end_of(large.expires_at_us), large.fields.last_end()),
        }
    }

    /// Whether a plain key is past its end of life at `now`, or each of its fields is.
    pub fn is_expired(self, now: Timestamp) -> bool {
        self.gone_at().is_some_and(|at| at <= now)
    }

    /// Whether any field of a plain hash has an end of life.
    pub fn has_field_ends(self) -> bool {
        match self {
            Self::Packed(..) => self.is_packed_ending(),
            Self::Large(large) => large.fields.has_ends(),
        }
    }

    /// When the first field of a plain hash is gone; `None` if none has an end of life.
    pub fn first_field_end(self) -> Option<Timestamp> {
        match self {
            Self::Packed(bytes, _) if self.is_packed_ending() => {
                i64_at(bytes, self.body_at()? + 8).and_then(end_of)
            }
            Self::Packed(..) => None,
            Self::Large(large) => large.fields.first_end(),
        }
    }

    /// Whether there is anything but nulls and tombstones.
    #[inline]
    pub fn has_value(self) -> bool {
        match self {
            Self::Packed(..) => self.kind() & FLAG_HAS_VALUE != 0,
            Self::Large(_) => true,
        }
    }

    /// Whether it has the features of a registered entity, or what is left of their deletion.
    #[inline]
    pub fn is_entity(self) -> bool {
        matches!(self.kind() & KIND_BITS, KIND_ENTITY | KIND_EARLIER_ENTITY)
    }

    /// What stands under the key; `None` if the bytes are no row, which ours always are.
    #[inline]
    pub fn body(self) -> Option<Body<'a>> {
        let (bytes, dictionary) = match self {
            Self::Packed(bytes, dictionary) => (bytes, dictionary),
            Self::Large(large) => return Some(Body::Hash(StoredHash::of_large(&large.fields))),
        };
        let body = bytes.get(self.body_at()?..)?;
        match self.kind() & KIND_BITS {
            KIND_STRING => Some(Body::String(body)),
            KIND_HASH => Some(Body::Hash(StoredHash(PlainHash::Packed(PackedFields(body))))),
            KIND_ENTITY => {
                let words = dictionary.map(|dictionary| &dictionary.words);
                Some(Body::Entity(EntityRow::new(body).with_words(words)))
            }
            KIND_SHAPED_HASH => {
                let fields = ShapedFields::open(body, &dictionary?.shapes)?;
                Some(Body::Hash(StoredHash(PlainHash::Shaped(fields))))
            }
            KIND_EARLIER_ENTITY => Some(Body::Entity(EntityRow::earlier(body))),
            KIND_ENDING_HASH => {
                let fields = PackedFields(body.get(ENDING_HEAD_BYTES..)?);
                Some(Body::Hash(StoredHash(PlainHash::PackedEnding(fields, Timestamp::MIN))))
            }
            _ => None,
        }
    }

    /// The hash that stands here, if it is one.
    pub fn stored_hash(self) -> Option<StoredHash<'a>> {
        match self.body()? {
            Body::Hash(hash) => Some(hash),
            Body::String(_) | Body::Entity(_) => None,
        }
    }

    /// The bytes a snapshot holds.
    pub fn to_bytes(self) -> Cow<'a, [u8]> {
        match self {
            Self::Packed(_, Some(_)) if self.kind() & KIND_BITS == KIND_SHAPED_HASH => {
                let fields = self.stored_hash().map(|hash| hash.every().collect::<Vec<_>>());
                let fields = fields.unwrap_or_default().into_iter();
                let row = packed_hash(self.key(), self.lsn(), self.expires_at(), fields);
                Cow::Owned(row.into_vec())
            }
            Self::Packed(bytes, dictionary) => {
                match dictionary.and_then(|dictionary| plain(bytes, &dictionary.words)) {
                    Some(bytes) => Cow::Owned(bytes),
                    None => Cow::Borrowed(bytes),
                }
            }
            Self::Large(large) => {
                let expires_at = end_of(large.expires_at_us);
                let row = packed_hash(&large.key, large.lsn, expires_at, large.fields.iter());
                Cow::Owned(row.into_vec())
            }
        }
    }

    /// The bytes it takes, the table's slot aside; of a large hash an estimate.
    pub fn memory_bytes(self) -> usize {
        match self {
            Self::Packed(bytes, _) => bytes.len(),
            Self::Large(large) => large.fields.memory_bytes(),
        }
    }

    /// Where the body of a packed row begins.
    #[inline]
    fn body_at(self) -> Option<usize> {
        let Self::Packed(bytes, _) = self else { return None };
        Some(head_end(bytes)? + if self.kind() & FLAG_EXPIRES == 0 { 0 } else { 8 })
    }

    fn is_packed_ending(self) -> bool {
        self.kind() & KIND_BITS == KIND_ENDING_HASH
    }

    pub(super) fn kind(self) -> u8 {
        match self {
            Self::Packed(bytes, _) => bytes.first().copied().unwrap_or(0),
            Self::Large(_) => KIND_HASH,
        }
    }
}

/// The earlier of two ends of life.
fn first_of(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}
