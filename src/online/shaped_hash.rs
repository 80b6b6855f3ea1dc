//! Rows of plain hashes with a shape in the place of their names: how they come to be, and change.

use super::{
    bytes::{push_varint, varint_bytes},
    field::Field,
    pack_row::{FLAG_HAS_VALUE, KIND_SHAPED_HASH, pack_short},
    plain_hash::{PACKED_BYTES_MAX, PlainHash},
    row::Row,
    shapes::{SHAPE_NAMES_MAX, Shape, Shapes},
};
use crate::feature::Timestamp;

/// The bytes of the row of a plain hash with a shape in the place of its names; `None` if they stay
/// as they are: it is no such hash, has ends, or names that are no shape.
pub(super) fn shaped(row: Row<'_>, shapes: &Shapes) -> Option<Box<[u8]>> {
    let fields: Vec<Field<'_>> = match row.stored_hash()?.0 {
        PlainHash::Packed(packed) => packed.iter().collect(),
        // A map has no order: names get one that is the same for all.
        PlainHash::Large(large) if large.len() <= SHAPE_NAMES_MAX => {
            let field = |(name, value)| Field { name, value, end: None };
            let mut fields: Vec<_> = large.iter().map(field).collect();
            fields.sort_unstable_by_key(|field| field.name);
            fields
        }
        _ => return None,
    };
    let shape = shapes.of(&fields, row.key())?;
    let values: Vec<&[u8]> = fields.iter().map(|field| field.value).collect();
    packed(row.key(), row.lsn(), row.expires_at(), shape, &values)
}

/// The row with other values of some names, as record `lsn`; `None` if its names are no shape, or
/// not all of these, or its values would take more than they may in one piece.
pub(super) fn with_values<'a>(
    row: Row<'a>,
    lsn: u64,
    written: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Option<Box<[u8]>> {
    let PlainHash::Shaped(fields) = row.stored_hash()?.0 else { return None };
    let shape = fields.shape();
    let mut values: Vec<&[u8]> = Vec::with_capacity(shape.len());
    values.extend(fields.values());
    let mut hint = 0;
    for (name, value) in written {
        let place = shape.place_of(name, &mut hint)?;
        *values.get_mut(place)? = value;
    }
    packed(row.key(), lsn, row.expires_at(), shape, &values)
}

fn packed(
    key: &[u8],
    lsn: u64,
    expires_at: Option<Timestamp>,
    shape: &Shape,
    values: &[&[u8]],
) -> Option<Box<[u8]>> {
    let value_bytes: usize = values.iter().map(|value| value.len()).sum();
    if value_bytes > PACKED_BYTES_MAX || values.len() != shape.len() {
        return None;
    }
    let is_wide = value_bytes > usize::from(u8::MAX);
    let number = u64::from(shape.number()) * 2 + u64::from(is_wide);
    let body_bytes = varint_bytes(number) + (values.len() << u8::from(is_wide)) + value_bytes;
    let kind = KIND_SHAPED_HASH | FLAG_HAS_VALUE;
    Some(pack_short(kind, key, lsn, expires_at, body_bytes, |out| {
        push_varint(out, number);
        let mut end = 0_u16;
        for value in values {
            end += value.len() as u16;
            match is_wide {
                false => out.push(end as u8),
                true => out.extend_from_slice(&end.to_le_bytes()),
            }
        }
        values.iter().for_each(|value| out.extend_from_slice(value));
    }))
}
