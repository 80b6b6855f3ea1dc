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
    /// As many as a power of two, or none.
    places: Vec<Place>,
    list: Vec<i64>,
    /// Once sealed, if dense: the numbers of `least`, `least + 1`, ...
    dense: Option<(i64, Vec<u32>)>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    key: i64,
    /// [`UNKNOWN`] if the place is free.
    number: u32,
}

const FREE: Place = Place { key: 0, number: UNKNOWN };

impl Integers {
    /// All of them, in the order of their numbers.
    pub(super) fn list(&self) -> &[i64] {
        &self.list
    }

    /// The number of a key, or [`UNKNOWN`].
    pub(super) fn find(&self, key: i64) -> u32 {
        match &self.dense {
            Some((least, numbers)) => number_in(*least, numbers, key),
            None if self.places.is_empty() => UNKNOWN,
            None => self.place_of(key, self.hash(key)).1.number,
        }
    }

    /// Appends the number of each key to `out`, or [`UNKNOWN`].
    pub(super) fn find_all(&self, keys: &[i64], out: &mut Vec<u32>) {
        if let Some((least, numbers)) = &self.dense {
            out.extend(keys.iter().map(|key| number_in(*least, numbers, *key)));
        } else if self.places.is_empty() {
            out.resize(out.len() + keys.len(), UNKNOWN);
        } else {
            for keys in keys.chunks(STEP_KEYS) {
                let found = keys.iter().zip(self.fetch(keys));
                out.extend(found.map(|(key, hash)| self.place_of(*key, hash).1.number));
            }
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
            let hashes = self.fetch(keys);
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
        let Some(places) = places.ok().filter(|places| *places <= places_max) else { return };
        let mut numbers = vec![UNKNOWN; places];
        for (number, key) in (0..).zip(&self.list) {
            if let Some(place) = numbers.get_mut(key.abs_diff(least) as usize) {
                *place = number;
            }
        }
        self.dense = Some((least, numbers));
    }

    #[inline]
    fn hash(&self, key: i64) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Hashes some keys, [`STEP_KEYS`] at most, and fetches their places from memory, all at once:
    /// when they are compared one by one they would be waited for one by one.
    #[inline]
    fn fetch(&self, keys: &[i64]) -> [u64; STEP_KEYS] {
        let mut hashes = [0; STEP_KEYS];
        let mut fetched = 0;
        let mask = self.places.len() - 1;
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = self.hash(*key);
            fetched ^= self.places.get(*hash as usize & mask).map_or(0, |place| place.key);
        }
        black_box(fetched);
        hashes
    }

    /// Where a key stands, or where it would; there are places, and not all are taken.
    #[allow(clippy::indexing_slicing, reason = "what is masked lies within the places")]
    #[inline]
    fn place_of(&self, key: i64, hash: u64) -> (usize, Place) {
        let mask = self.places.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let place = self.places[at];
            if place.key == key || place.number == UNKNOWN {
                return (at, place);
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    fn intern_with_room(&mut self, key: i64, hash: u64) -> u32 {
        let (at, place) = self.place_of(key, hash);
        if place.number != UNKNOWN {
            return place.number;
        }
        let number = self.list.len() as u32;
        self.list.push(key);
        if let Some(place) = self.places.get_mut(at) {
            *place = Place { key, number };
        }
        number
    }

    /// Makes place for so many new keys, which are not sealed any more.
    fn make_room(&mut self, keys: usize) {
        self.dense = None;
        let wanted = self.list.len() + keys;
        if wanted * 8 <= self.places.len() * TAKEN_OF_EIGHT {
            return;
        }
        let count = (wanted * 8).div_ceil(TAKEN_OF_EIGHT).next_power_of_two();
        self.places = vec![FREE; count];
        for (number, key) in (0..).zip(&self.list) {
            let (at, _) = self.place_of(*key, self.hash(*key));
            if let Some(place) = self.places.get_mut(at) {
                *place = Place { key: *key, number };
            }
        }
    }
}

/// The number of a key in a dense vector: one below `least` wraps round to a place far beyond its
/// end.
#[inline]
fn number_in(least: i64, numbers: &[u32], key: i64) -> u32 {
    let place = usize::try_from(key.wrapping_sub(least).cast_unsigned()).ok();
    place.and_then(|place| numbers.get(place)).copied().unwrap_or(UNKNOWN)
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
