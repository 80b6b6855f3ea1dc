//! The rows of a shard that readers see, by key: their bytes in segments, and an index to them.
//!
//! Long rows and large hashes stand alone, each in an allocation of its own, and have a number with
//! the highest bit set.

use super::{
    edit::Edit,
    in_place::{overwrite, overwrite_entity},
    index::Index,
    key_hash::fingerprint_of,
    owned_row::OwnedRow,
    pack_row::{KIND_BITS, KIND_ENTITY, KIND_HASH},
    row::Row,
    segments::{HEAD_BYTES, ROW_BYTES_MAX, Segments},
    shaped_hash::shaped,
    shared::Shared,
    worded_row::worded,
};
use crate::parallel::drop_later;
use std::sync::Arc;

/// A row that stands alone.
const ALONE: u32 = 1 << (u32::BITS - 1);

/// Rows by key.
#[derive(Debug)]
pub(super) struct ShardRows {
    shared: Arc<Shared>,
    index: Index,
    packed: Segments,
    alone: Vec<Option<OwnedRow>>,
    vacant: Vec<u32>,
}

/// Where a row stands, until the next one of its shard is put or removed.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    at: usize,
    number: u32,
}

impl ShardRows {
    /// What a row takes beside its bytes, free places aside.
    pub(super) const ROW_BYTES: usize = Index::PLACE_BYTES + HEAD_BYTES;

    /// No rows.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let packed = Segments::new(Arc::clone(&shared.segments));
        let index = Index::default();
        Self { shared, index, packed, alone: Vec::new(), vacant: Vec::new() }
    }

    /// Where the row of `key` stands, whose hash is `hash`.
    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<Found> {
        let is_it = |number| self.row(number).is_some_and(|row| row.key() == key);
        let at = self.index.find(fingerprint_of(hash), is_it)?;
        Some(Found { at, number: self.index.row(at) })
    }

    /// The row of `key`, whose hash is `hash`.
    #[inline]
    pub(super) fn get(&self, hash: u64, key: &[u8]) -> Option<Row<'_>> {
        self.at(self.find(hash, key)?)
    }

    /// Asks for the place in the index of a row of this fingerprint.
    #[inline]
    pub(super) fn fetch_place(&self, fingerprint: u16) {
        self.index.fetch(fingerprint);
    }

    /// Asks for the first row of this fingerprint, which mostly is the only one.
    #[inline]
    pub(super) fn fetch_row(&self, fingerprint: u16) {
        let first = self.index.find(fingerprint, |_| true).map(|at| self.index.row(at));
        if let Some(number) = first.filter(|number| alone_place(*number).is_none()) {
            self.packed.fetch(number);
        }
    }

    /// The row that was found.
    #[inline]
    pub(super) fn at(&self, found: Found) -> Option<Row<'_>> {
        self.row(found.number)
    }

    /// A row that stands alone, to be changed.
    pub(super) fn alone_mut(&mut self, found: Found) -> Option<&mut OwnedRow> {
        self.alone.get_mut(alone_place(found.number)?)?.as_mut()
    }

    /// Changes a packed row without making it anew, where `edit`, as record `lsn`, leaves it as
    /// long as it is; whether it did. No later record has written a plain row.
    pub(super) fn overwrite(&mut self, found: Found, lsn: u64, edit: Edit<'_>) -> bool {
        let bytes = match alone_place(found.number) {
            None => self.packed.row_mut(found.number),
            Some(place) => match self.alone.get_mut(place).and_then(Option::as_mut) {
                Some(OwnedRow::Packed(bytes)) => Some(&mut **bytes),
                Some(OwnedRow::Large(_)) | None => None,
            },
        };
        let Some(bytes) = bytes else { return false };
        let dictionary = &self.shared.dictionary;
        match edit {
            Edit::Plain(_, change) => overwrite(bytes, &dictionary.shapes, lsn, change),
            Edit::Cells(layout, write) => {
                overwrite_entity(bytes, &dictionary.words, lsn, layout, write).is_some()
            }
        }
    }

    /// Adds a row; none of its key stands. Gives it as it stands now.
    pub(super) fn insert(&mut self, hash: u64, row: OwnedRow) -> Option<Row<'_>> {
        let numbered = self.numbered(&row);
        let number = self.store(row, numbered);
        self.index.insert(fingerprint_of(hash), number);
        self.row(number)
    }

    /// Puts a row of the same key in the place of the one that was found. Gives it as it stands
    /// now.
    pub(super) fn replace(&mut self, found: Found, row: OwnedRow) -> Option<Row<'_>> {
        let numbered = self.numbered(&row);
        if let Some(bytes) = packed_bytes(&row, numbered.as_deref())
            && self.packed.replace(found.number, bytes)
        {
            return self.row(found.number);
        }
        self.discard(found.number);
        let number = self.store(row, numbered);
        self.index.set_row(found.at, number);
        self.tidy();
        // It may have been moved.
        self.row(self.index.row(found.at))
    }

    /// Removes the row that was found.
    pub(super) fn remove(&mut self, found: Found) {
        self.index.remove(found.at);
        self.discard(found.number);
        if self.index.len() == 0 {
            *self = Self::new(Arc::clone(&self.shared));
        }
        self.tidy();
    }

    /// Removes every row; what they took is dropped later.
    pub(super) fn clear(&mut self) {
        if self.index.len() > 0 {
            drop_later(std::mem::replace(self, Self::new(Arc::clone(&self.shared))));
        }
    }

    /// Every row, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        let dictionary = &self.shared.dictionary;
        let packed = self.packed.iter().map(|(_, bytes)| Row::Packed(bytes, Some(dictionary)));
        packed.chain(self.alone.iter().flatten().map(|row| row.with(dictionary)))
    }

    /// Every row whose fingerprint is `fingerprint` or greater, in the order of fingerprints.
    pub(super) fn iter_from(&self, fingerprint: u16) -> impl Iterator<Item = (u16, Row<'_>)> {
        let rows = self.index.iter_from(fingerprint);
        rows.filter_map(|(fingerprint, number)| Some((fingerprint, self.row(number)?)))
    }

    /// The bytes of the segments and of the index. What is dead in segments does not count: it is
    /// at most an eighth, and goes as rows are written.
    pub(super) fn memory_bytes(&self) -> usize {
        let alone = self.alone.capacity() * size_of::<Option<OwnedRow>>();
        self.packed.memory_bytes() + self.index.memory_bytes() + alone
    }

    #[inline]
    fn row(&self, number: u32) -> Option<Row<'_>> {
        let dictionary = &self.shared.dictionary;
        match alone_place(number) {
            None => Some(Row::Packed(self.packed.row(number)?, Some(dictionary))),
            Some(place) => Some(self.alone.get(place)?.as_ref()?.with(dictionary)),
        }
    }

    /// The bytes of a row with numbers in the place of text and of names, if that changes them.
    fn numbered(&self, row: &OwnedRow) -> Option<Vec<u8>> {
        let dictionary = &self.shared.dictionary;
        match row.as_row().kind() & KIND_BITS {
            KIND_ENTITY => match row {
                OwnedRow::Packed(bytes) => worded(bytes, &dictionary.words),
                OwnedRow::Large(_) => None,
            },
            KIND_HASH => shaped(row.as_row(), &dictionary.shapes).map(<[u8]>::into_vec),
            _ => None,
        }
    }

    /// Writes down a row, of which the bytes may be `numbered`; its number.
    fn store(&mut self, row: OwnedRow, numbered: Option<Vec<u8>>) -> u32 {
        let packed = packed_bytes(&row, numbered.as_deref());
        let packed = packed.filter(|bytes| bytes.len() <= ROW_BYTES_MAX);
        let number = packed.and_then(|bytes| self.packed.append(bytes));
        let numbered_row = |bytes: Vec<u8>| OwnedRow::Packed(bytes.into());
        number.unwrap_or_else(|| self.store_alone(numbered.map_or(row, numbered_row)))
    }

    fn store_alone(&mut self, row: OwnedRow) -> u32 {
        let place = self.vacant.pop().unwrap_or(self.alone.len() as u32);
        match self.alone.get_mut(place as usize) {
            Some(vacant) => *vacant = Some(row),
            None => self.alone.push(Some(row)),
        }
        ALONE | place
    }

    /// The bytes of a row are no longer needed.
    fn discard(&mut self, number: u32) {
        match alone_place(number) {
            None => self.packed.remove(number),
            Some(place) => {
                self.vacant.push(place as u32);
                let old = self.alone.get_mut(place).and_then(Option::take);
                old.into_iter().for_each(OwnedRow::let_go);
            }
        }
    }

    /// Writes anew what is alive in a segment of which much is dead, if much of all is.
    fn tidy(&mut self) {
        let Some(taken) = self.packed.take_dead() else { return };
        for (number, bytes) in taken.rows() {
            let fingerprint =
                fingerprint_of(self.shared.hasher.hash(Row::Packed(bytes, None).key()));
            let at = self.index.find(fingerprint, |other| other == number);
            debug_assert!(at.is_some(), "the index knows every row");
            if let Some(at) = at {
                let moved = self.packed.append(bytes);
                let moved =
                    moved.unwrap_or_else(|| self.store_alone(OwnedRow::Packed(bytes.into())));
                self.index.set_row(at, moved);
            }
        }
        self.packed.free(taken);
    }
}

/// The bytes of a packed row, which may be `numbered`.
fn packed_bytes<'r>(row: &'r OwnedRow, numbered: Option<&'r [u8]>) -> Option<&'r [u8]> {
    match row {
        OwnedRow::Packed(bytes) => Some(numbered.unwrap_or(bytes)),
        OwnedRow::Large(_) => numbered,
    }
}

/// Where the row of this number stands alone, if it does.
#[inline]
fn alone_place(number: u32) -> Option<usize> {
    (number & ALONE != 0).then_some((number & !ALONE) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::online::field::Field;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const KEYS: usize = 150;

    /// A row of that key, and of a size: packed, alone for its length, or a large hash.
    fn row(key: &[u8], lsn: u64, size: usize) -> OwnedRow {
        if size < 2 * ROW_BYTES_MAX {
            return OwnedRow::string(key, lsn, None, &vec![lsn as u8; size]);
        }
        let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let names = names.iter().map(|name| name.as_bytes());
        OwnedRow::hash(key, lsn, None, names.map(|name| Field { name, value: b"v", end: None }))
    }

    fn size() -> impl Strategy<Value = usize> {
        prop_oneof![30 => 80..400_usize, 2 => ROW_BYTES_MAX - 30..2 * ROW_BYTES_MAX + 2]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The model: a map from key to the bytes of its row. Some writes keep the length.
        #[test]
        fn rows_are_a_map_from_key_to_row(
            writes in prop::collection::vec((0..KEYS, prop::option::weighted(0.85, size())), 800),
        ) {
            let shared = Arc::new(Shared::new([1, 2, 3, 4]));
            let (mut rows, mut model) = (ShardRows::new(Arc::clone(&shared)), BTreeMap::new());
            let hasher = &shared.hasher;
            for (lsn, (key, size)) in (0..).zip(writes) {
                let key = format!("user:{key}").into_bytes();
                let hash = hasher.hash(&key);
                let found = rows.find(hash, &key);
                prop_assert_eq!(found.is_some(), model.contains_key(&key));
                match (found, size) {
                    (Some(found), Some(size)) => {
                        let put = row(&key, lsn, size);
                        model.insert(key, put.as_row().to_bytes().into_owned());
                        let _ = rows.replace(found, put);
                    }
                    (None, Some(size)) => {
                        let put = row(&key, lsn, size);
                        model.insert(key, put.as_row().to_bytes().into_owned());
                        let _ = rows.insert(hash, put);
                    }
                    (Some(found), None) => {
                        model.remove(&key);
                        rows.remove(found);
                    }
                    (None, None) => {}
                }
            }
            let bytes = |row: Row<'_>| (row.key().to_vec(), row.to_bytes().len());
            let expected = || model.iter().map(|(key, bytes)| (key.clone(), bytes.len()));
            let standing: BTreeMap<_, _> = rows.iter().map(bytes).collect();
            prop_assert_eq!(standing, expected().collect::<BTreeMap<_, _>>());
            prop_assert_eq!(rows.iter().count(), model.len());
            prop_assert_eq!(rows.iter_from(0).count(), model.len());
            for (key, bytes) in &model {
                let row = rows.get(hasher.hash(key), key);
                let is_large = matches!(row, Some(Row::Large(_)));
                let standing = row.map(|row| row.to_bytes().into_owned());
                prop_assert!(is_large || standing.as_ref() == Some(bytes));
                prop_assert_eq!(standing.map(|standing| standing.len()), Some(bytes.len()));
            }
        }
    }
}
