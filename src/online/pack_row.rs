//! How the bytes of a row are put together: `row` has the table of them.

use super::{
    bytes::{push_len, push_varint, u32_at, varint_at, varint_bytes},
    entity_row::EntityRow,
    field::{Field, NEVER_US, end_us},
    plain_hash::{PackedFields, pack_fields},
};
use crate::feature::Timestamp;

pub(super) const KEY_AT: usize = 1 + 8 + 4;
pub(super) const KIND_STRING: u8 = 1;
pub(super) const KIND_HASH: u8 = 2;
pub(super) const KIND_EARLIER_ENTITY: u8 = 3;
pub(super) const KIND_ENDING_HASH: u8 = 4;
pub(super) const KIND_ENTITY: u8 = 5;
/// In the table alone.
pub(super) const KIND_SHAPED_HASH: u8 = 6;
pub(super) const KIND_BITS: u8 = 0x0f;
pub(super) const FLAG_EXPIRES: u8 = 0x80;
pub(super) const FLAG_HAS_VALUE: u8 = 0x40;
/// The bytes in front of the fields of a hash of which fields have ends.
pub(super) const ENDING_HEAD_BYTES: usize = 8 + 8;

/// Where the key of a packed row begins, and how long it is.
#[inline]
pub(super) fn key_place(bytes: &[u8]) -> Option<(usize, usize)> {
    if has_short_head(*bytes.first()?) {
        let (count, at) = varint_at(bytes, 1)?;
        return (count <= bytes.len()).then_some((at, count));
    }
    Some((KEY_AT, u32_at(bytes, 9)?))
}

/// Whether numbers in front of the body of such a row are varints.
#[inline]
pub(super) fn has_short_head(kind: u8) -> bool {
    matches!(kind & KIND_BITS, KIND_ENTITY | KIND_SHAPED_HASH)
}

/// Where what all kinds of rows begin with ends: kind, key, LSN.
#[inline]
pub(super) fn head_end(bytes: &[u8]) -> Option<usize> {
    let (key_at, key_bytes) = key_place(bytes)?;
    let key_end = key_at + key_bytes;
    match has_short_head(*bytes.first()?) {
        true => varint_at(bytes, key_end).map(|(_, at)| at),
        false => Some(key_end),
    }
}

/// Where the body of an entity's row begins; `None` of any other row, and of one of the earlier
/// form.
#[inline]
pub(super) fn entity_body_at(bytes: &[u8]) -> Option<usize> {
    (*bytes.first()? & KIND_BITS == KIND_ENTITY).then_some(())?;
    head_end(bytes)
}

/// An entity with this body.
pub(super) fn pack_entity(key: &[u8], lsn: u64, body: &[u8]) -> Box<[u8]> {
    let has_value = if EntityRow::new(body).has_value() { FLAG_HAS_VALUE } else { 0 };
    let push_body = |out: &mut Vec<u8>| out.extend_from_slice(body);
    pack_short(KIND_ENTITY | has_value, key, lsn, None, body.len(), push_body)
}

/// A row whose head is short.
pub(super) fn pack_short(
    kind: u8,
    key: &[u8],
    lsn: u64,
    expires_at: Option<Timestamp>,
    body_bytes: usize,
    body: impl FnOnce(&mut Vec<u8>),
) -> Box<[u8]> {
    let (key_bytes, end_bytes) = (key.len() as u64, if expires_at.is_some() { 8 } else { 0 });
    // Exactly: a row that fits its space is not moved again.
    let head_bytes = 1 + varint_bytes(key_bytes) + key.len() + varint_bytes(lsn) + end_bytes;
    let mut out = Vec::with_capacity(head_bytes + body_bytes);
    out.push(kind | if expires_at.is_some() { FLAG_EXPIRES } else { 0 });
    push_varint(&mut out, key_bytes);
    out.extend_from_slice(key);
    push_varint(&mut out, lsn);
    if let Some(at) = expires_at {
        out.extend_from_slice(&at.us().to_le_bytes());
    }
    body(&mut out);
    out.into_boxed_slice()
}

/// What a pass over the fields of a hash tells.
pub(super) struct Extent {
    pub(super) count: usize,
    /// Of names and values.
    pub(super) bytes: usize,
    first_end_us: i64,
    last_end_us: i64,
}

impl Extent {
    pub(super) fn of<'a>(fields: impl Iterator<Item = Field<'a>>) -> Self {
        let none = Self { count: 0, bytes: 0, first_end_us: NEVER_US, last_end_us: i64::MIN };
        fields.fold(none, |extent, field| {
            let end_us = end_us(field.end);
            Self {
                count: extent.count + 1,
                bytes: extent.bytes + field.name.len() + field.value.len(),
                first_end_us: extent.first_end_us.min(end_us),
                last_end_us: extent.last_end_us.max(end_us),
            }
        })
    }
}

/// A hash of these fields in one piece.
pub(super) fn packed_hash<'a>(
    key: &[u8],
    lsn: u64,
    expires_at: Option<Timestamp>,
    fields: impl Iterator<Item = Field<'a>> + Clone,
) -> Box<[u8]> {
    packed_hash_of(&Extent::of(fields.clone()), key, lsn, expires_at, fields)
}

pub(super) fn packed_hash_of<'a>(
    extent: &Extent,
    key: &[u8],
    lsn: u64,
    expires_at: Option<Timestamp>,
    fields: impl Iterator<Item = Field<'a>>,
) -> Box<[u8]> {
    let first_us = extent.first_end_us;
    if first_us == NEVER_US {
        let kind = KIND_HASH | FLAG_HAS_VALUE;
        let bytes = PackedFields::<false>::bytes(extent.count, extent.bytes);
        return pack(kind, key, lsn, expires_at, bytes, |out| {
            pack_fields::<false>(fields, out);
        });
    }
    let kind = KIND_ENDING_HASH | FLAG_HAS_VALUE;
    let gone_at = Timestamp(extent.last_end_us.min(end_us(expires_at)));
    let bytes = ENDING_HEAD_BYTES + PackedFields::<true>::bytes(extent.count, extent.bytes);
    pack(kind, key, lsn, Some(gone_at), bytes, |out| {
        out.extend_from_slice(&end_us(expires_at).to_le_bytes());
        out.extend_from_slice(&first_us.to_le_bytes());
        pack_fields::<true>(fields, out);
    })
}

pub(super) fn pack(
    kind: u8,
    key: &[u8],
    lsn: u64,
    expires_at: Option<Timestamp>,
    body_bytes: usize,
    body: impl FnOnce(&mut Vec<u8>),
) -> Box<[u8]> {
    let expiry_bytes = if expires_at.is_some() { 8 } else { 0 };
    // Exactly: a row that is as long as its space is not moved once more.
    let mut out = Vec::with_capacity(KEY_AT + key.len() + expiry_bytes + body_bytes);
    out.push(kind | if expires_at.is_some() { FLAG_EXPIRES } else { 0 });
    out.extend_from_slice(&lsn.to_le_bytes());
    push_len(&mut out, key.len());
    out.extend_from_slice(key);
    if let Some(at) = expires_at {
        out.extend_from_slice(&at.us().to_le_bytes());
    }
    body(&mut out);
    out.into_boxed_slice()
}
