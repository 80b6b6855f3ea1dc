//! Entities by number: typed, composite join keys that can never collide.
//!
//! ```text
//! origin "JFK" --> part 0 --> 7 ┐
//! dest   "LAX" --> part 1 --> 3 ┴ pair (7, 3) --> entity 12       no separator, nothing to escape
//! ```
//! Each distinct value of a join key has a number, and each pair of numbers has one again. A key
//! column that comes as a dictionary is looked up once per entry of the dictionary.

use super::key_part::{Find, Intern, Part, part_numbers};
use crate::feature::{Entity, KeyPart};
use ahash::RandomState;
use arrow_array::{Array, ArrayRef};
use hashbrown::HashMap;

pub(super) use super::key_part::{DictionaryCache, KeySpan, UNKNOWN};

/// Numbers the entities that a spine or a source names.
#[derive(Debug)]
pub(super) struct KeyTable {
    parts: Vec<Part>,
    /// One less than there are parts.
    pairs: Vec<Pairs>,
}

#[derive(Debug, Default)]
struct Pairs {
    numbers: HashMap<(u32, u32), u32, RandomState>,
    list: Vec<(u32, u32)>,
}

impl KeyTable {
    /// An empty table for the keys of `entity`.
    pub(super) fn new(entity: &Entity) -> Self {
        let parts: Vec<Part> =
            entity.join_keys.iter().map(|join_key| Part::new(join_key.key_type)).collect();
        let pairs = parts.iter().skip(1).map(|_| Pairs::default()).collect();
        Self { parts, pairs }
    }

    /// How many entities have a number.
    pub(super) fn len(&self) -> usize {
        match self.pairs.last() {
            Some(pairs) => pairs.list.len(),
            None => self.parts.first().map_or(0, Part::len),
        }
    }

    /// Gives every row the number of its entity, a new one where needed. [`UNKNOWN`] stands for a
    /// key with a null in it, or with text where an integer is expected.
    pub(super) fn intern(
        &mut self,
        columns: &[ArrayRef],
        caches: &mut Vec<DictionaryCache>,
        out: &mut Vec<u32>,
    ) -> Result<(), String> {
        caches.resize_with(self.parts.len(), DictionaryCache::default);
        let mut numbers = Vec::new();
        for (index, ((column, part), cache)) in
            columns.iter().zip(&mut self.parts).zip(caches).enumerate()
        {
            if part.len() + column.len() >= UNKNOWN as usize {
                return Err("more than 4,294,967,294 different keys".into());
            }
            if index == 0 {
                part_numbers(column, &mut Intern(part), cache, out)?;
                continue;
            }
            part_numbers(column, &mut Intern(part), cache, &mut numbers)?;
            let Some(pairs) = self.pairs.get_mut(index - 1) else { continue };
            for (left, right) in out.iter_mut().zip(&numbers) {
                let known = *left != UNKNOWN && *right != UNKNOWN;
                *left = if known { pairs.intern(*left, *right) } else { UNKNOWN };
            }
        }
        Ok(())
    }

    /// Gives every row the number of its entity, or [`UNKNOWN`].
    pub(super) fn find(
        &self,
        columns: &[ArrayRef],
        caches: &mut Vec<DictionaryCache>,
        out: &mut Vec<u32>,
    ) -> Result<(), String> {
        caches.resize_with(self.parts.len(), DictionaryCache::default);
        let mut numbers = Vec::new();
        for (index, ((column, part), cache)) in
            columns.iter().zip(&self.parts).zip(caches).enumerate()
        {
            if index == 0 {
                part_numbers(column, &mut Find(part), cache, out)?;
                continue;
            }
            part_numbers(column, &mut Find(part), cache, &mut numbers)?;
            let Some(pairs) = self.pairs.get(index - 1) else { continue };
            for (left, right) in out.iter_mut().zip(&numbers) {
                *left = pairs.numbers.get(&(*left, *right)).copied().unwrap_or(UNKNOWN);
            }
        }
        Ok(())
    }

    /// The number of one entity.
    pub(super) fn find_one(&self, key: &[KeyPart]) -> Option<u32> {
        if key.len() != self.parts.len() {
            return None;
        }
        let mut numbers = key.iter().zip(&self.parts).map(|(key, part)| part.find(key));
        let first = numbers.next()??;
        let mut rest = numbers.zip(&self.pairs);
        rest.try_fold(first, |left, (right, pairs)| pairs.numbers.get(&(left, right?)).copied())
    }

    /// Whether there may be an entity whose key has these parts, as far as they are given.
    pub(super) fn may_have(&self, parts: &[Option<KeyPart>]) -> bool {
        let whole: Option<Vec<KeyPart>> = parts.iter().cloned().collect();
        match whole {
            Some(key) => self.find_one(&key).is_some(),
            None => self
                .parts
                .iter()
                .zip(parts)
                .all(|(part, key)| key.as_ref().is_none_or(|key| part.find(key).is_some())),
        }
    }

    /// The key of the entity with that number.
    pub(super) fn key(&self, entity: u32) -> Option<Vec<KeyPart>> {
        let mut number = entity;
        let mut key = Vec::with_capacity(self.parts.len());
        for (pairs, part) in self.pairs.iter().rev().zip(self.parts.iter().rev()) {
            let (left, right) = *pairs.list.get(number as usize)?;
            key.push(part.key(right)?);
            number = left;
        }
        key.push(self.parts.first()?.key(number)?);
        key.reverse();
        Some(key)
    }

    /// Takes in every entity of `other`; entity `i` there is entity `numbers[i]` here.
    pub(super) fn absorb(&mut self, other: &Self) -> Vec<u32> {
        let parts = self.parts.iter_mut().zip(&other.parts);
        let mut parts = parts.map(|(part, other)| part.absorb(other));
        let Some(mut numbers) = parts.next() else { return Vec::new() };
        let levels = self.pairs.iter_mut().zip(&other.pairs).zip(parts);
        for ((pairs, other), rights) in levels {
            let number = |of: &[u32], i: u32| of.get(i as usize).copied().unwrap_or(UNKNOWN);
            let entries = other.list.iter();
            numbers = entries
                .map(|(left, right)| pairs.intern(number(&numbers, *left), number(&rights, *right)))
                .collect();
        }
        numbers
    }

    /// Makes [`KeyTable::find`] faster; to be called when all entities have their numbers.
    pub(super) fn seal(&mut self) {
        self.parts.iter_mut().for_each(Part::seal);
    }

    /// Where the values of each join key lie.
    pub(super) fn spans(&self) -> Vec<KeySpan> {
        self.parts.iter().map(Part::span).collect()
    }
}

impl Pairs {
    fn intern(&mut self, left: u32, right: u32) -> u32 {
        let list = &mut self.list;
        *self.numbers.entry((left, right)).or_insert_with(|| {
            list.push((left, right));
            u32::try_from(list.len() - 1).unwrap_or(UNKNOWN)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::{EntityId, JoinKey, KeyType};
    use arrow_array::{
        DictionaryArray, Int64Array, StringArray, StringViewArray, types::Int32Type,
    };
    use std::sync::Arc;

    fn table(key_types: &[KeyType]) -> KeyTable {
        let join_keys = key_types
            .iter()
            .map(|key_type| JoinKey { name: "k".into(), key_type: *key_type })
            .collect();
        KeyTable::new(&Entity {
            id: EntityId(0),
            name: "e".into(),
            join_keys,
            owner: None,
            description: None,
        })
    }

    fn numbers(table: &mut KeyTable, columns: &[ArrayRef]) -> Vec<u32> {
        let mut out = Vec::new();
        table.intern(columns, &mut Vec::new(), &mut out).unwrap();
        let mut again = Vec::new();
        table.seal();
        table.find(columns, &mut Vec::new(), &mut again).unwrap();
        assert_eq!(out, again);
        out
    }

    #[test]
    fn composite_keys_with_separators_inside_stay_apart() {
        let left: ArrayRef = Arc::new(StringArray::from(vec!["a", "a,b", "a", ""]));
        let right: ArrayRef = Arc::new(StringArray::from(vec!["b,c", "c", "b,c", "ab,c"]));
        let mut table = table(&[KeyType::String, KeyType::String]);
        assert_eq!(numbers(&mut table, &[left, right]), [0, 1, 0, 2]);
        let text = |text: &str| KeyPart::Bytes(text.into());
        assert_eq!(table.key(1), Some(vec![text("a,b"), text("c")]));
        assert_eq!(table.find_one(&[text("a,b"), text("c")]), Some(1));
        assert_eq!(table.find_one(&[text("a"), text("c")]), None);
        assert_eq!(table.find_one(&[text("a,b")]), None);
    }

    #[test]
    fn text_in_every_form_is_one_key_and_null_is_none() {
        let mut table = table(&[KeyType::String]);
        let plain: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("y")]));
        let view: ArrayRef = Arc::new(StringViewArray::from(vec![Some("y"), Some("x"), None]));
        let dictionary: DictionaryArray<Int32Type> =
            vec![Some("y"), Some("y"), None, Some("x")].into_iter().collect();
        assert_eq!(numbers(&mut table, &[plain]), [0, UNKNOWN, 1]);
        assert_eq!(numbers(&mut table, &[view]), [1, 0, UNKNOWN]);
        assert_eq!(numbers(&mut table, &[Arc::new(dictionary)]), [1, 1, UNKNOWN, 0]);
    }

    #[test]
    fn text_where_an_integer_is_expected_is_read_or_unknown() {
        let mut table = table(&[KeyType::Int64]);
        let numeric: ArrayRef = Arc::new(Int64Array::from(vec![7, i64::MIN, i64::MAX, 7]));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["+07", "x", "", "7"]));
        assert_eq!(numbers(&mut table, &[numeric]), [0, 1, 2, 0]);
        assert_eq!(numbers(&mut table, &[text]), [0, UNKNOWN, UNKNOWN, 0]);
    }

    #[test]
    fn a_table_takes_in_another() {
        let types = [KeyType::String, KeyType::Int64];
        let (mut a, mut b) = (table(&types), table(&types));
        let text = |texts: Vec<&str>| Arc::new(StringArray::from(texts)) as ArrayRef;
        let ints = |ints: Vec<i64>| Arc::new(Int64Array::from(ints)) as ArrayRef;
        numbers(&mut a, &[text(vec!["x", "y"]), ints(vec![1, 2])]);
        numbers(&mut b, &[text(vec!["z", "y"]), ints(vec![1, 2])]);
        let map = a.absorb(&b);
        assert_eq!(map, [2, 1]);
        assert_eq!(a.key(2), b.key(0));
        assert_eq!(a.len(), 3);
    }
}
