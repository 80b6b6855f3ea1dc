//! Which rows of a shard have which fingerprint: an array in the order of fingerprints, with gaps.
//!
//! ```text
//! home(f) = f * homes / 2^16         homes = 8, fingerprints in hexadecimal:
//! 0      1      2      3      4      5      6      7      8
//! [    ] [21..] [24..] [5c..] [8001] [8002] [    ] [f0..] [f1..]
//!                ^ at home is 24.. in 1: the place behind the last before it that is not free
//! ```
//! Invariants
//! - Fingerprints ascend, free places aside.
//! - A row stands at its home or behind it, and no place between the two is free.
//!
//! A look-up begins at home and mostly ends in the same line of the cache. To grow is to copy the
//! array once, by an eighth more: it moves six bytes a row and looks at no row. Were rows to come
//! in the order of their hashes, as from a scan, they would crowd at the front for as long as the
//! rest is missing; a binary search finds its way then.

use super::prefetch::prefetch;

/// A row in six bytes.
#[derive(Clone, Copy, Debug)]
struct Place {
    fingerprint: [u8; 2],
    row: [u8; 4],
}

/// A row mostly stands within so many lines from its home.
const PLACE_LINES: usize = 2;
/// No row has this number.
pub(super) const NO_ROW: u32 = u32::MAX;
/// So many places behind home are looked at one by one.
const NEAR: usize = 16;
/// Of eight homes seven may be taken.
const LOAD: (usize, usize) = (7, 8);
/// With fewer rows than an eighth of the homes, half of them go.
const SPARSE: usize = 8;
const HOMES_MIN: usize = 8;

/// The numbers of rows by fingerprint.
#[derive(Debug, Default)]
pub(super) struct Index {
    places: Vec<Place>,
    homes: usize,
    len: usize,
}

impl Place {
    /// What a row takes here.
    const BYTES: usize = size_of::<Self>();
    const FREE: Self = Self { fingerprint: [0; 2], row: NO_ROW.to_le_bytes() };

    #[inline]
    fn fingerprint(self) -> u16 {
        u16::from_le_bytes(self.fingerprint)
    }

    #[inline]
    fn row(self) -> u32 {
        u32::from_le_bytes(self.row)
    }

    #[inline]
    fn is_free(self) -> bool {
        self.row() == NO_ROW
    }

    /// Whether a row of `fingerprint` or a greater one stands behind it.
    #[inline]
    fn is_before(self, fingerprint: u16) -> bool {
        self.fingerprint() < fingerprint && !self.is_free()
    }
}
const _: () = assert!(Place::BYTES == 6, "an array of bytes has no gaps for alignment");

impl Index {
    /// What a row takes, free places aside.
    pub(super) const PLACE_BYTES: usize = Place::BYTES;

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where the row stands that has this fingerprint and for which `is_it` says so.
    #[inline]
    pub(super) fn find(&self, fingerprint: u16, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        let first = self.first_from(fingerprint);
        for (index, place) in self.places.get(first..)?.iter().enumerate() {
            if place.fingerprint() != fingerprint || place.is_free() {
                return None;
            }
            if is_it(place.row()) {
                return Some(first + index);
            }
        }
        None
    }

    /// Asks for the place of a row of this fingerprint.
    #[inline]
    pub(super) fn fetch(&self, fingerprint: u16) {
        let home = home(fingerprint, self.homes);
        prefetch(self.places.get(home..).unwrap_or_default(), PLACE_LINES);
    }

    /// The number of the row that stands at `at`, which [`Index::find`] gave.
    #[inline]
    pub(super) fn row(&self, at: usize) -> u32 {
        self.places.get(at).map_or(NO_ROW, |place| place.row())
    }

    /// Gives the row that stands at `at` another number.
    pub(super) fn set_row(&mut self, at: usize, row: u32) {
        if let Some(place) = self.places.get_mut(at) {
            place.row = row.to_le_bytes();
        }
    }

    /// Adds a row.
    pub(super) fn insert(&mut self, fingerprint: u16, row: u32) {
        debug_assert!(row != NO_ROW, "a place without a row is free");
        if (self.len + 1) * LOAD.1 > self.homes * LOAD.0 {
            // Were all shards to grow at once to one size, each would leave its hole in the heap.
            let more = HOMES_MIN + usize::from(fingerprint) % HOMES_MIN;
            self.rebuild(self.homes + (self.homes / 8).max(more));
        }
        let at = self.first_from(fingerprint);
        let behind = self.places.get(at..).unwrap_or_default();
        let free = at + behind.iter().position(|place| place.is_free()).unwrap_or(behind.len());
        if free == self.places.len() {
            self.places.reserve_exact(1);
            self.places.push(Place::FREE);
        }
        self.places.copy_within(at..free, at + 1);
        if let Some(place) = self.places.get_mut(at) {
            *place = Place { fingerprint: fingerprint.to_le_bytes(), row: row.to_le_bytes() };
        }
        self.len += 1;
    }

    /// Takes out the row that stands at `at`, which [`Index::find`] gave.
    pub(super) fn remove(&mut self, at: usize) {
        // Those behind it move up, as far as they are not at home.
        let behind = (at + 1..).zip(self.places.get(at + 1..).unwrap_or_default());
        let stays = |at: usize, place: &Place| {
            place.is_free() || home(place.fingerprint(), self.homes) == at
        };
        let moved = behind.take_while(|(at, place)| !stays(*at, place)).count();
        self.places.copy_within(at + 1..at + 1 + moved, at);
        if let Some(place) = self.places.get_mut(at + moved) {
            *place = Place::FREE;
        }
        self.len -= 1;
        if self.homes > HOMES_MIN && self.len * SPARSE < self.homes {
            self.rebuild(self.homes / 2);
        }
    }

    /// Fingerprint and number of each row, from `fingerprint` on, in their order.
    pub(super) fn iter_from(&self, fingerprint: u16) -> impl Iterator<Item = (u16, u32)> {
        let places = self.places.get(self.first_from(fingerprint)..).unwrap_or_default();
        let rows = places.iter().filter(|place| !place.is_free());
        rows.map(|place| (place.fingerprint(), place.row()))
    }

    /// The bytes of the array.
    pub(super) fn memory_bytes(&self) -> usize {
        self.places.capacity() * Place::BYTES
    }

    /// The first place at home of `fingerprint` or behind it that no lesser one takes.
    #[inline]
    fn first_from(&self, fingerprint: u16) -> usize {
        let home = home(fingerprint, self.homes);
        let places = self.places.get(home..).unwrap_or_default();
        let near = places.iter().take(NEAR).position(|place| !place.is_before(fingerprint));
        home + near.unwrap_or_else(|| places.partition_point(|place| place.is_before(fingerprint)))
    }

    fn rebuild(&mut self, homes: usize) {
        let mut places = Vec::with_capacity(homes + NEAR / 2);
        for place in self.places.iter().filter(|place| !place.is_free()) {
            let at = places.len().max(home(place.fingerprint(), homes));
            places.resize(at, Place::FREE);
            places.push(*place);
        }
        places.resize(places.len().max(homes), Place::FREE);
        (self.places, self.homes) = (places, homes);
    }
}

#[inline]
fn home(fingerprint: u16, homes: usize) -> usize {
    (usize::from(fingerprint) * homes) >> u16::BITS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Index {
        fn check(&self, model: &[(u16, u32)]) {
            let mut standing: Vec<_> = self.iter_from(0).collect();
            assert!(standing.is_sorted_by_key(|(fingerprint, _)| *fingerprint));
            for (at, place) in self.places.iter().enumerate().filter(|(_, place)| !place.is_free())
            {
                let home = home(place.fingerprint(), self.homes);
                assert!(home <= at && self.places[home..at].iter().all(|place| !place.is_free()));
            }
            assert_eq!(standing.len(), self.len());
            let mut model = model.to_vec();
            standing.sort_unstable();
            model.sort_unstable();
            assert_eq!(standing, model);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16),
        Remove(usize),
        IterFrom(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        // Some crowd in one corner, and at the end, where there is nothing behind.
        let fingerprint = || prop_oneof![any::<u16>(), 100..110_u16, 0xffc0..=u16::MAX];
        prop_oneof![
            4 => fingerprint().prop_map(Step::Insert),
            3 => any::<usize>().prop_map(Step::Remove),
            1 => fingerprint().prop_map(Step::IterFrom),
        ]
    }

    proptest! {
        #[test]
        fn an_index_is_a_list_of_pairs(steps in prop::collection::vec(step(), 1..200)) {
            let (mut index, mut model) = (Index::default(), Vec::new());
            for (number, step) in (0..).zip(steps) {
                match step {
                    Step::Insert(fingerprint) => {
                        index.insert(fingerprint, number);
                        model.push((fingerprint, number));
                    }
                    Step::Remove(any) if !model.is_empty() => {
                        let (fingerprint, row) = model.swap_remove(any % model.len());
                        let at = index.find(fingerprint, |other| other == row).unwrap();
                        index.remove(at);
                    }
                    Step::Remove(_) => {}
                    Step::IterFrom(first) => {
                        let count = model.iter().filter(|(other, _)| *other >= first).count();
                        prop_assert_eq!(index.iter_from(first).count(), count);
                        prop_assert!(index.iter_from(first).all(|(other, _)| other >= first));
                    }
                }
                index.check(&model);
                for (fingerprint, row) in &model {
                    let at = index.find(*fingerprint, |other| other == *row).unwrap();
                    prop_assert_eq!(index.row(at), *row);
                }
                prop_assert_eq!(index.find(105, |_| false), None);
            }
        }
    }

    #[test]
    fn rows_in_the_order_of_their_hashes_are_found_while_they_come() {
        let mut index = Index::default();
        for row in 0..20_000_u32 {
            index.insert((row * 3) as u16, row);
            assert!(index.find((row * 3) as u16, |other| other == row).is_some());
        }
        assert!((0..20_000).all(|row: u32| index.find((row * 3) as u16, |it| it == row).is_some()));
        // Seven bytes and a bit, where a hash table that doubles takes up to eleven.
        assert!(index.memory_bytes() < 20_000 * 8, "{}", index.memory_bytes());
        for row in 0..20_000 {
            let at = index.find((row * 3) as u16, |other| other == row).unwrap();
            index.remove(at);
        }
        assert!(index.len() == 0 && index.memory_bytes() < 1000, "{}", index.memory_bytes());
    }
}
