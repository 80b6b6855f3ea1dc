//! A map from names to values that grows in small steps, and of which a copy shares what is alike.
//!
//! ```text
//! parts   0    1    2    3    4    5
//!         └────┬────┘         ↑ of 0  ↑ of 1       part 2 is the next to be split
//!         hashes of some bits more        hashes of some bits less: 2 and 3
//! ```
//! Linear hashing: when there are too many fields for so many parts, the next part in turn is split
//! in two, and nobody looks at the others. So a write moves, and a copy of the map costs who writes
//! to it, a part or two, however many fields there are.

use ahash::RandomState;
use hashbrown::HashTable;
use std::{mem, sync::Arc};

/// So many fields a part on the mean, at most.
const PART_FIELDS: usize = 256;
/// The bits of a hash below these say where a field stands in its part.
const PART_SHIFT: u32 = 24;

type Entry = (Box<[u8]>, Box<[u8]>);

/// Names and their values, in no order.
#[derive(Clone, Debug)]
pub struct FieldMap {
    hasher: RandomState,
    /// Never none.
    parts: Vec<Arc<HashTable<Entry>>>,
    len: usize,
}

impl Default for FieldMap {
    fn default() -> Self {
        Self { hasher: RandomState::default(), parts: vec![Arc::default()], len: 0 }
    }
}

impl FieldMap {
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value under `name`, and the name as it is kept.
    #[inline]
    pub(super) fn get_key_value(&self, name: &[u8]) -> Option<(&[u8], &[u8])> {
        let hash = self.hasher.hash_one(name);
        let part = self.parts.get(part_of(hash, self.parts.len()))?;
        let (name, value) = part.find(hash, |(known, _)| **known == *name)?;
        Some((name, value))
    }

    /// The value under `name`.
    #[inline]
    pub(super) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.get_key_value(name).map(|(_, value)| value)
    }

    /// Whether there is a value under `name`.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.get(name).is_some()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.parts.iter().flat_map(|part| part.iter()).map(|(name, value)| (&**name, &**value))
    }

    /// Puts a value under `name`; the one that stood there.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) -> Option<Box<[u8]>> {
        let hash = self.hasher.hash_one(name);
        let place = part_of(hash, self.parts.len());
        let part = Arc::make_mut(self.parts.get_mut(place)?);
        if let Some((_, standing)) = part.find_mut(hash, |(known, _)| **known == *name) {
            return Some(mem::replace(standing, value.into()));
        }
        let hasher = &self.hasher;
        part.insert_unique(hash, (name.into(), value.into()), |(name, _)| hasher.hash_one(&**name));
        self.len += 1;
        if self.len > self.parts.len() * PART_FIELDS {
            self.split();
        }
        None
    }

    /// Removes what stands under `name`; its value.
    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Box<[u8]>> {
        // What is not there is no reason to copy a part.
        self.get(name)?;
        let hash = self.hasher.hash_one(name);
        let place = part_of(hash, self.parts.len());
        let part = Arc::make_mut(self.parts.get_mut(place)?);
        let found = part.find_entry(hash, |(known, _)| **known == *name).ok()?;
        self.len -= 1;
        Some(found.remove().0.1)
    }

    /// Splits the next part in turn.
    fn split(&mut self) {
        let count = self.parts.len();
        let Some(part) = self.parts.get_mut(count - (1 << count.ilog2())) else { return };
        let all = Arc::unwrap_or_clone(mem::take(part));
        let mut behind = HashTable::with_capacity(all.len() / 2);
        let mut rest = HashTable::with_capacity(all.len() / 2);
        let hash_of = |(name, _): &Entry| self.hasher.hash_one(&**name);
        for field in all {
            let hash = hash_of(&field);
            let is_behind = part_of(hash, count + 1) == count;
            let to = if is_behind { &mut behind } else { &mut rest };
            to.insert_unique(hash, field, hash_of);
        }
        *part = Arc::new(rest);
        self.parts.push(Arc::new(behind));
    }
}

/// The part of a hash where there are `count`: its lower bits say so, one bit less where they name
/// a part that is not there yet.
#[inline]
fn part_of(hash: u64, count: usize) -> usize {
    if count == 1 {
        return 0;
    }
    let half = 1_usize << count.ilog2();
    let place = (hash >> PART_SHIFT) as usize & (2 * half - 1);
    if place < count { place } else { place & (half - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, option, prelude::*};
    use std::collections::BTreeMap;

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    fn check(map: &FieldMap, model: &Model) {
        assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
        let owned = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
        assert_eq!(map.iter().map(owned).collect::<Model>(), *model);
        assert_eq!(map.iter().count(), model.len());
        for (name, value) in model {
            assert_eq!(map.get_key_value(name), Some((&name[..], &value[..])));
        }
        assert!(!map.contains(b"nobody"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// What was copied before a write stays as it was.
        #[test]
        fn it_is_a_map_and_so_is_every_copy(
            fill in 0..2_000_u32,
            writes in vec((0..2_500_u32, option::weighted(0.7, 0..9_u8)), 300),
        ) {
            let (mut map, mut model, mut copies) = (FieldMap::default(), Model::new(), Vec::new());
            let filling = (0..fill).map(|number| (number, Some(9)));
            for (step, (number, value)) in filling.chain(writes).enumerate() {
                let name = number.to_string().into_bytes();
                let (was, is) = match value {
                    Some(value) => (map.insert(&name, &[value]), model.insert(name, vec![value])),
                    None => (map.remove(&name), model.remove(&name)),
                };
                prop_assert_eq!(was.map(<[u8]>::into_vec), is);
                if step % 100 == 0 {
                    copies.push((map.clone(), model.clone()));
                }
            }
            copies.push((map, model));
            copies.iter().for_each(|(map, model)| check(map, model));
        }
    }

    #[test]
    fn no_write_changes_more_than_two_parts_of_however_many() {
        let mut map = FieldMap::default();
        for number in 0..40_000_u32 {
            let before = map.parts.clone();
            map.insert(number.to_string().as_bytes(), b"value");
            let changed = |(part, before): &(&Arc<_>, &Arc<_>)| !Arc::ptr_eq(part, before);
            let changed = map.parts.iter().zip(&before).filter(changed).count();
            assert!(changed <= 2 && map.parts.len() <= before.len() + 1, "at {number}");
        }
        let lengths = || map.parts.iter().map(|part| part.len());
        assert!(lengths().max() < Some(4 * PART_FIELDS), "{:?}", lengths().max());
        assert!(lengths().min() > Some(PART_FIELDS / 4), "{:?}", lengths().min());
    }
}
