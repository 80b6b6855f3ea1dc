//! Values written over others of the same length, where the row stands: what a client writes again
//! and again mostly is as long as before, and a row that is not made anew needs no room of its own.

use super::{
    bytes::{varint_at, varint_bytes, write_varint},
    layout::Layout,
    overwrite_section::overwrite_cells,
    pack_row::{
        FLAG_EXPIRES, KEY_AT, KIND_BITS, KIND_SHAPED_HASH, KIND_STRING, entity_body_at, key_place,
    },
    shaped_fields::ShapedFields,
    shapes::Shapes,
    words::Words,
};
use crate::feature::{CellsWrite, PlainChange};
use serde_bytes::ByteBuf;

/// Writes what `change` says over the packed row in `bytes`, as record `lsn`; false, and nothing is
/// changed, if the row would have another length or end of life then, or is of another kind. No
/// later record has written the row.
pub(super) fn overwrite(bytes: &mut [u8], shapes: &Shapes, lsn: u64, change: &PlainChange) -> bool {
    let written = match (bytes.first().copied().unwrap_or(0), change) {
        (kind, PlainChange::SetString { value, expires_at: None })
            if kind & (KIND_BITS | FLAG_EXPIRES) == KIND_STRING =>
        {
            overwrite_string(bytes, lsn, value)
        }
        (kind, PlainChange::SetFields(fields)) if kind & KIND_BITS == KIND_SHAPED_HASH => {
            overwrite_fields(bytes, shapes, lsn, fields)
        }
        _ => None,
    };
    written.is_some()
}

/// Writes cells over those of a packed row, as record `lsn` or as the later one that wrote it;
/// `None`, and nothing is changed, where [`overwrite_cells`] says so or the LSN takes more bytes.
pub(super) fn overwrite_entity(
    bytes: &mut [u8],
    words: &Words,
    lsn: u64,
    layout: &Layout,
    write: &CellsWrite,
) -> Option<()> {
    let body_at = entity_body_at(bytes)?;
    let (key_at, key_bytes) = key_place(bytes)?;
    let lsn_at = key_at + key_bytes;
    let lsn = lsn.max(varint_at(bytes, lsn_at)?.0 as u64);
    if varint_bytes(lsn) != body_at - lsn_at {
        return None;
    }
    let (head, body) = bytes.split_at_mut_checked(body_at)?;
    overwrite_cells(body, words, layout, write)?;
    write_varint(head.get_mut(lsn_at..)?, lsn);
    Some(())
}

fn overwrite_string(bytes: &mut [u8], lsn: u64, value: &[u8]) -> Option<()> {
    let (key_at, key_bytes) = key_place(bytes)?;
    let standing = bytes.get_mut(key_at + key_bytes..).filter(|body| body.len() == value.len())?;
    standing.copy_from_slice(value);
    bytes.get_mut(1..KEY_AT)?.first_chunk_mut().map(|at| *at = lsn.to_le_bytes())
}

fn overwrite_fields(
    bytes: &mut [u8],
    shapes: &Shapes,
    lsn: u64,
    written: &[(ByteBuf, ByteBuf)],
) -> Option<()> {
    let (key_at, key_bytes) = key_place(bytes)?;
    let lsn_at = key_at + key_bytes;
    let (_, lsn_end) = varint_at(bytes, lsn_at)?;
    if varint_bytes(lsn) != lsn_end - lsn_at {
        return None;
    }
    let end_bytes = if bytes.first()? & FLAG_EXPIRES == 0 { 0 } else { 8 };
    let (head, body) = bytes.split_at_mut_checked(lsn_end + end_bytes)?;
    // All of them, or none; of one that is the same.
    let passes: &[bool] = if written.len() > 1 { &[false, true] } else { &[true] };
    for is_checked in passes {
        let mut hint = 0;
        for (name, value) in written {
            let fields = ShapedFields::open(body, shapes)?;
            let place = fields.shape().place_of(name, &mut hint)?;
            let range = fields.range(place, body.len())?;
            let standing = body.get_mut(range).filter(|standing| standing.len() == value.len())?;
            if *is_checked {
                standing.copy_from_slice(value);
            }
        }
    }
    write_varint(head.get_mut(lsn_at..lsn_end)?, lsn);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        feature::Timestamp,
        online::{
            dictionary::Dictionary,
            edit::{Edit, Edited, edited},
            field::Field,
            owned_row::OwnedRow,
            row::Row,
            shaped_hash::shaped,
            shared::Shared,
        },
    };
    use proptest::prelude::*;
    use std::sync::LazyLock;

    const NAMES: [&[u8]; 3] = [b"a", b"bb", b""];
    static SHARED: LazyLock<Shared> = LazyLock::new(|| {
        let shared = Shared::new([1, 2, 3, 4]);
        for key in 0..50_u8 {
            let _ = shaped(hash(&[key], 1, None, &[0; 3]).as_row(), &shared.dictionary.shapes);
        }
        shared
    });

    fn hash(key: &[u8], lsn: u64, end: Option<Timestamp>, lengths: &[usize; 3]) -> OwnedRow {
        let values = lengths.map(|length| vec![7; length]);
        let fields = NAMES.iter().zip(&values);
        let fields = fields.map(|(name, value)| Field { name, value, end: None });
        OwnedRow::hash(key, lsn, end, fields)
    }

    fn change() -> impl Strategy<Value = PlainChange> {
        let value = || prop_oneof![4 => Just(2_usize), 1 => 0..300_usize];
        let value = move || (any::<u8>(), value()).prop_map(|(byte, length)| vec![byte; length]);
        let name = prop_oneof![12 => 0..NAMES.len(), 1 => Just(NAMES.len())];
        let name = name.prop_map(|name| NAMES.get(name).copied().unwrap_or(b"new").to_vec());
        let field = (name, value()).prop_map(|(name, value)| (name.into(), value.into()));
        let end = prop::option::weighted(0.2, (0..9_i64).prop_map(Timestamp));
        prop_oneof![
            3 => prop::collection::vec(field, 1..5).prop_map(PlainChange::SetFields),
            2 => (value(), end).prop_map(|(value, expires_at)| {
                PlainChange::SetString { value, expires_at }
            }),
            1 => Just(PlainChange::Delete),
        ]
    }

    /// What can be told of a row.
    fn told(bytes: &[u8], dictionary: &Dictionary) -> (Vec<u8>, u64, Option<Timestamp>) {
        let row = Row::Packed(bytes, Some(dictionary));
        (row.to_bytes().into_owned(), row.lsn(), row.expires_at())
    }

    proptest! {
        /// What is written over a row is what the same change makes of it anew; where it is not, no
        /// byte has changed. It is, where lengths and end of life stay.
        #[test]
        fn what_is_written_over_is_what_would_be_made_anew(
            is_hash: bool,
            lsn in prop_oneof![Just(5_u64), Just(127), Just(300)],
            end in prop::option::of((0..9_i64).prop_map(Timestamp)),
            lengths in [0..4_usize, 1..4, 2..3],
            changes in prop::collection::vec(change(), 1..9),
        ) {
            let dictionary = &SHARED.dictionary;
            let row = match is_hash {
                true => hash(b"key", lsn, end, &lengths),
                false => OwnedRow::string(b"key", lsn, end, &vec![7; lengths[0]]),
            };
            let mut bytes = match is_hash {
                true => shaped(row.as_row(), &dictionary.shapes).unwrap(),
                false => row.as_row().to_bytes().into(),
            };
            for (change, lsn) in changes.iter().zip(lsn + 1..) {
                let row = Row::Packed(&bytes, Some(dictionary));
                let stays_as_long = varint_bytes(row.lsn()) == varint_bytes(lsn);
                let anew = match edited(Some(row), lsn, Edit::Plain(b"key", change)) {
                    Edited::Replace(OwnedRow::Packed(anew)) => Some(anew),
                    _ => None,
                };
                let mut over = bytes.clone();
                if overwrite(&mut over, &dictionary.shapes, lsn, change) {
                    prop_assert_eq!(told(&over, dictionary), told(&anew.unwrap(), dictionary));
                    bytes = over;
                    continue;
                }
                prop_assert_eq!(&over, &bytes);
                let is_as_long = anew.is_some_and(|anew| {
                    let row = Row::Packed(&anew, Some(dictionary));
                    anew.len() == bytes.len()
                        && row.kind() == Row::Packed(&bytes, Some(dictionary)).kind()
                        && stays_as_long
                        && row.expires_at().is_none()
                        && !matches!(change, PlainChange::SetFields(fields) if fields.len() > 1)
                });
                prop_assert!(!is_as_long, "{:?} could be written over {:?}", change, bytes);
            }
        }
    }
}
