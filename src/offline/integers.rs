//! Integers, numbered from 0 as they come: the join keys of most tables.
//!
//! ```text
//! hash of 12236632 = ..5    places   4:  -          5: 10510767, 7    6: 12236632, 3   7:  -
//!                                                   taken by another, so the next one is looked at
//! ```
//! A place is one look into memory, and mostly into none that a core has in its cache: those of
//! many keys are fetched together, before the first of them is compared. Integers that lie close
//! together are found by one look into a plain vector.

use ahash::RandomState;
use std::hint::black_box;

/// The number of what has none: a null, or a key that nobody asked for.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// Keys whose places are fetched at once.
const STEP_KEYS: usize = 64;

/// A vector in place of a hash may have this many places per key.
const PLACES_PER_KEY_MAX: usize = 8;

/// Of eight places so many are taken at most: a key that is not there is looked for up to the next
/// one that is free.
const TAKEN_OF_EIGHT: usize = 5;

/// The distinct integers of a join key.
#[derive(Debug, Default)]
pub(super) struct Integers {
    hasher: RandomState,
    table: Table<i64>,
    list: Vec<i64>,
    sealed: Option<Sealed>,
}

/// What keys are found by when all of them have their numbers. The less memory, the more of it lies
/// in a core's cache.
#[derive(Debug)]
enum Sealed {
    /// The numbers of `least`, `least + 1`, ...
    Dense { least: i64, numbers: Vec<u32> },
    /// By what a key has above `least`.
    Narrow { least: i64, table: Table<u32> },
}

/// As many places as a power of two, or none. Not all are taken.
#[derive(Debug, Default)]
struct Table<K> {
    places: Vec<Place<K>>,
}

#[derive(Clone, Copy, Debug)]
struct Place<K> {
    key: K,
    /// [`UNKNOWN`] if the place is free.
    number: u32,
}

impl<K: Copy + Eq + Default> Table<K> {
    /// Room for so many keys.
    fn for_keys(keys: usize) -> Self {
        let count = (keys * 8).div_ceil(TAKEN_OF_EIGHT).next_power_of_two();
        Self { places: vec![Place { key: K::default(), number: UNKNOWN }; count] }
    }

    fn has_room_for(&self, keys: usize) -> bool {
        keys * 8 <= self.places.len() * TAKEN_OF_EIGHT
    }

    /// The number of a key, or [`UNKNOWN`].
    #[inline]
    fn find(&self, key: K, hash: u64) -> u32 {
        self.place_of(key, hash).1
    }

    /// Where a key stands and its number; or where it would stand, and [`UNKNOWN`].
    #[allow(clippy::indexing_slicing, reason = "what is masked lies within the places")]
    #[inline]
    fn place_of(&self, key: K, hash: u64) -> (usize, u32) {
        let mask = self.places.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let place = self.places[at];
            if place.key == key || place.number == UNKNOWN {
                return (at, place.number);
            }
            at = (at + 1) & mask;
        }
    }

    fn put(&mut self, at: usize, key: K, number: u32) {
        self.places.get_mut(at).into_iter().for_each(|place| *place = Place { key, number });
    }

    /// Fetches the places of some keys from memory, all at once: when they are compared one by one
    /// they would be waited for one by one.
    #[inline]
    fn fetch(&self, hashes: &[u64]) {
        let mask = self.places.len() - 1;
        let number = |hash: &u64| self.places.get(*hash as usize & mask).map(|place| place.number);
        black_box(hashes.iter().fold(0, |all, hash| all ^ number(hash).unwrap_or(0)));
    }
}

impl Integers {
    /// All of them, in the order of their numbers.
    pub(super) fn list(&self) -> &[i64] {
        &self.list
    }

    /// The number of a key, or [`UNKNOWN`].
    pub(super) fn find(&self, key: i64) -> u32 {
        match &self.sealed {
            Some(Sealed::Dense { least, numbers }) => number_in(*least, numbers, key),
            Some(Sealed::Narrow { least, table }) => {
                narrow(*least, key).map_or(UNKNOWN, |narrow| table.find(narrow, self.hash(key)))
            }
            None if self.list.is_empty() => UNKNOWN,
            None => self.table.find(key, self.hash(key)),
        }
    }

    /// Appends the number of each key to `out`, or [`UNKNOWN`].
    pub(super) fn find_all(&self, keys: &[i64], out: &mut Vec<u32>) {
        match &self.sealed {
            Some(Sealed::Dense { least, numbers }) => {
                out.extend(keys.iter().map(|key| number_in(*least, numbers, *key)));
            }
            Some(Sealed::Narrow { least, table }) => {
                self.find_in(table, |key| narrow(*least, key), keys, out);
            }
            None if self.list.is_empty() => out.resize(out.len() + keys.len(), UNKNOWN),
            None => self.find_in(&self.table, Some, keys, out),
        }
    }

    /// The same in `table`, where keys stand as `stored` makes them; `None` is no key of it.
    #[inline]
    fn find_in<K: Copy + Eq + Default>(
        &self,
        table: &Table<K>,
        stored: impl Fn(i64) -> Option<K>,
        keys: &[i64],
        out: &mut Vec<u32>,
    ) {
        for keys in keys.chunks(STEP_KEYS) {
            let hashes = self.hashes(keys);
            table.fetch(&hashes);
            let found = keys.iter().zip(hashes);
            out.extend(found.map(|(key, hash)| match stored(*key) {
                Some(key) => table.find(key, hash),
                None => UNKNOWN,
            }));
        }
    }

    /// The number of a key, a new one if it has none.
    pub(super) fn intern(&mut self, key: i64) -> u32 {
        self.make_room(1);
        self.intern_with_room(key, self.hash(key))
    }

    /// Appends the number of each key to `out`, a new one where there is none.
    pub(super) fn intern_all(&mut self, keys: &[i64], out: &mut Vec<u32>) {
        for keys in keys.chunks(STEP_KEYS) {
            self.make_room(keys.len());
            let hashes = self.hashes(keys);
            self.table.fetch(&hashes);
            for (key, hash) in keys.iter().zip(hashes) {
                out.push(self.intern_with_room(*key, hash));
            }
        }
    }

    /// Makes finding faster; to be called when all have their numbers.
    pub(super) fn seal(&mut self) {
        let (least, greatest) = (self.list.iter().min(), self.list.iter().max());
        let Some((&least, &greatest)) = least.zip(greatest) else { return };
        let places = usize::try_from(i128::from(greatest) - i128::from(least) + 1);
        let places_max = PLACES_PER_KEY_MAX * self.list.len() + 1024;
        let numbered = (0..).zip(&self.list);
        if let Some(places) = places.ok().filter(|places| *places <= places_max) {
            let mut numbers = vec![UNKNOWN; places];
            for (number, key) in numbered {
                if let Some(place) = numbers.get_mut(key.abs_diff(least) as usize) {
                    *place = number;
                }
            }
            self.sealed = Some(Sealed::Dense { least, numbers });
        } else if narrow(least, greatest).is_some() {
            let mut table = Table::for_keys(self.list.len());
            for (number, key) in numbered {
                let Some(narrow) = narrow(least, *key) else { continue };
                let (at, _) = table.place_of(narrow, self.hash(*key));
                table.put(at, narrow, number);
            }
            self.sealed = Some(Sealed::Narrow { least, table });
        } else {
            return;
        }
        self.table = Table::default();
    }

    #[inline]
    fn hash(&self, key: i64) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The hashes of some keys, [`STEP_KEYS`] at most.
    #[inline]
    fn hashes(&self, keys: &[i64]) -> [u64; STEP_KEYS] {
        let mut hashes = [0; STEP_KEYS];
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = self.hash(*key);
        }
        hashes
    }

    #[inline]
    fn intern_with_room(&mut self, key: i64, hash: u64) -> u32 {
        let (at, number) = self.table.place_of(key, hash);
        if number != UNKNOWN {
            return number;
        }
        let number = self.list.len() as u32;
        self.list.push(key);
        self.table.put(at, key, number);
        number
    }

    /// Makes place for so many new keys, which are not sealed any more.
    fn make_room(&mut self, keys: usize) {
        self.sealed = None;
        let wanted = self.list.len() + keys;
        if self.table.has_room_for(wanted) {
            return;
        }
        let mut table = Table::for_keys(wanted);
        for (number, key) in (0..).zip(&self.list) {
            let (at, _) = table.place_of(*key, self.hash(*key));
            table.put(at, *key, number);
        }
        self.table = table;
    }
}

/// The number of a key in a dense vector: one below `least` wraps round to a place far beyond its
/// end.
#[inline]
fn number_in(least: i64, numbers: &[u32], key: i64) -> u32 {
    let place = usize::try_from(key.wrapping_sub(least).cast_unsigned()).ok();
    place.and_then(|place| numbers.get(place)).copied().unwrap_or(UNKNOWN)
}

/// What a key has above `least`, if 32 bits hold it.
#[inline]
fn narrow(least: i64, key: i64) -> Option<u32> {
    u32::try_from(key.wrapping_sub(least).cast_unsigned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use std::collections::HashMap;

    fn keys() -> impl Strategy<Value = Vec<i64>> {
        let key = prop_oneof![
            -9_i64..9,
            (0_i64..300).prop_map(|key| key * 1009),
            (0_i64..40).prop_map(|key| key << 40),
            Just(i64::MIN),
            Just(i64::MAX),
        ];
        vec(key, 0..400)
    }

    proptest! {
        #[test]
        fn each_key_has_the_number_of_its_first_time(
            first in keys(), later in keys(), others in keys(), is_sealed in any::<bool>(),
        ) {
            let mut model: HashMap<i64, u32> = HashMap::new();
            let mut integers = Integers::default();
            prop_assert_eq!(integers.find(0), UNKNOWN);
            for keys in [&first, &later] {
                let mut numbers = Vec::new();
                integers.intern_all(keys, &mut numbers);
                for (key, number) in keys.iter().zip(numbers) {
                    let next = model.len() as u32;
                    prop_assert_eq!(number, *model.entry(*key).or_insert(next));
                    prop_assert_eq!(integers.intern(*key), number);
                    prop_assert_eq!(integers.list()[number as usize], *key);
                }
                if is_sealed {
                    integers.seal();
                }
                let asked: Vec<i64> = first.iter().chain(&later).chain(&others).copied().collect();
                let mut found = Vec::new();
                integers.find_all(&asked, &mut found);
                for (key, number) in asked.iter().zip(found) {
                    prop_assert_eq!(number, model.get(key).copied().unwrap_or(UNKNOWN));
                    prop_assert_eq!(integers.find(*key), number);
                }
            }
            prop_assert_eq!(integers.list().len(), model.len());
        }
    }
}
