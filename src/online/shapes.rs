//! Shapes: lists of names that the fields of many plain hashes have. Each is kept once.
//!
//! Like words (`words`) they are about memory and time alone: only bytes in the table hold numbers
//! of shapes, snapshots and the log hold names. There are at most 4,096 of them, of at most 512
//! names each, and of 16 MiB of names together; hashes with other names keep them.

use super::{field::Field, interner::Interner};
use ahash::RandomState;
use hashbrown::HashTable;
use std::{
    hash::{BuildHasher, Hasher},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// A hash of more fields is a map.
pub(super) const SHAPE_NAMES_MAX: usize = 512;
const PAGES: usize = 16;
const NAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Numbers the shapes of the process.
static SHAPES: AtomicU64 = AtomicU64::new(1);

/// The shapes of a table.
#[derive(Debug)]
pub(super) struct Shapes {
    shapes: Interner<Shape, PAGES>,
    name_bytes: AtomicUsize,
}

/// The names of the fields of a hash, in the order of their values.
#[derive(Debug)]
pub(super) struct Shape {
    /// Another one for each shape of the process.
    id: u64,
    number: u16,
    names: Box<[u8]>,
    ends: Box<[u32]>,
    places: HashTable<u16>,
    hasher: RandomState,
}

impl Shapes {
    pub(super) fn new(seed: [u64; 4]) -> Self {
        Self { shapes: Interner::new(seed), name_bytes: AtomicUsize::new(0) }
    }

    /// The shape of this number.
    #[inline]
    pub(super) fn get(&self, number: usize) -> Option<&Shape> {
        self.shapes.get(number)
    }

    /// The shape of the names of these fields, if they are one. They stand under `key`; met often
    /// enough under others, they become a shape.
    pub(super) fn of(&self, fields: &[Field<'_>], key: &[u8]) -> Option<&Shape> {
        if !(1..=SHAPE_NAMES_MAX).contains(&fields.len()) {
            return None;
        }
        let names = fields.iter().map(|field| field.name);
        let mut hasher = self.shapes.hasher().build_hasher();
        names.clone().for_each(|name| {
            hasher.write(name);
            hasher.write_u8(0xff);
        });
        let is_it = |shape: &Shape| shape.names().eq(names.clone());
        let make = |number| {
            let name_bytes = names.clone().map(<[u8]>::len).sum();
            let before = self.name_bytes.fetch_add(name_bytes, Ordering::Relaxed);
            if before + name_bytes > NAME_BYTES_MAX {
                self.name_bytes.fetch_sub(name_bytes, Ordering::Relaxed);
                return None;
            }
            Shape::new(number, names.clone(), self.shapes.hasher().clone())
        };
        let number = self.shapes.number(hasher.finish(), key, is_it, make)?;
        self.get(usize::from(number))
    }

    /// The bytes of all shapes, and of what holds them.
    pub(super) fn memory_bytes(&self) -> usize {
        self.shapes.memory_bytes(|shape| {
            shape.names.len() + size_of_val(&*shape.ends) + shape.places.allocation_size()
        })
    }
}

impl Shape {
    fn new<'n>(
        number: u16,
        all: impl Iterator<Item = &'n [u8]>,
        hasher: RandomState,
    ) -> Option<Self> {
        let (mut names, mut ends) = (Vec::new(), Vec::new());
        for name in all {
            names.extend_from_slice(name);
            ends.push(u32::try_from(names.len()).ok()?);
        }
        let id = SHAPES.fetch_add(1, Ordering::Relaxed);
        let (names, ends) = (names.into(), ends.into());
        let mut shape = Self { id, number, names, ends, places: HashTable::new(), hasher };
        let hash = |name: &[u8]| shape.hasher.hash_one(name);
        let mut places = HashTable::with_capacity(shape.len());
        for (place, name) in (0_u16..).zip(shape.names()) {
            let rehash = |place: &u16| hash(shape.name(usize::from(*place)).unwrap_or(&[]));
            places.insert_unique(hash(name), place, rehash);
        }
        shape.places = places;
        Some(shape)
    }

    /// Another number for each shape of the process.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The number by which the rows of its table mean it.
    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// How many names.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The names, in the order of their values.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|place| self.name(place))
    }

    /// The name at this place.
    #[inline]
    pub(super) fn name(&self, place: usize) -> Option<&[u8]> {
        let end = *self.ends.get(place)? as usize;
        let start = match place.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.names.get(start..end)
    }

    /// The place of `name`; it is looked for at `hint` first, which then is the place behind it.
    #[inline]
    pub(super) fn place_of(&self, name: &[u8], hint: &mut usize) -> Option<usize> {
        let place = match self.name(*hint) {
            Some(standing) if standing == name => *hint,
            _ => self.find(name)?,
        };
        *hint = place + 1;
        Some(place)
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        let is_it = |place: &u16| self.name(usize::from(*place)) == Some(name);
        self.places.find(self.hasher.hash_one(name), is_it).map(|place| usize::from(*place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<'n>(names: &'n [&'n str]) -> impl Iterator<Item = &'n [u8]> {
        names.iter().map(|name| name.as_bytes())
    }

    fn of<'s>(shapes: &'s Shapes, names: &[&str], key: &[u8]) -> Option<&'s Shape> {
        let field = |name| Field { name, value: b"v", end: None };
        shapes.of(&bytes(names).map(field).collect::<Vec<_>>(), key)
    }

    /// The shape of names that were met under so many keys.
    fn met<'s>(shapes: &'s Shapes, names: &[&str], keys: u32) -> Option<&'s Shape> {
        (0..keys).filter_map(|key| of(shapes, names, &key.to_be_bytes())).last()
    }

    #[test]
    fn names_of_many_keys_become_a_shape_in_their_order() {
        let shapes = Shapes::new([1, 2, 3, 4]);
        let names = ["age", "spend", "", "city"];
        assert!((0..100).all(|_| of(&shapes, &names, b"one's own").is_none()));
        assert!(met(&shapes, &names, 14).is_none());
        let shape = met(&shapes, &names, 20).unwrap();
        assert!(shape.names().eq(bytes(&names)));
        let mut hint = 0;
        for (place, name) in names.iter().enumerate().chain([(0, &"age"), (3, &"city")]) {
            assert_eq!(shape.place_of(name.as_bytes(), &mut hint), Some(place));
            assert_eq!(hint, place + 1);
        }
        assert_eq!(shape.place_of(b"agespend", &mut hint), None);
        // Where one name ends and the next begins is a part of it.
        let other = met(&shapes, &["agespend", "", "", "city"], 20).unwrap();
        assert_ne!((shape.id(), shape.number()), (other.id(), other.number()));
        assert!(met(&shapes, &["spend", "age", "", "city"], 20).unwrap().id() != shape.id());
        assert!(shapes.memory_bytes() > 0);
    }

    #[test]
    fn there_is_an_end_to_names_and_to_their_bytes() {
        let shapes = Shapes::new([1, 2, 3, 4]);
        assert!(met(&shapes, &[], 40).is_none());
        let names: Vec<String> = (0..=SHAPE_NAMES_MAX).map(|name| name.to_string()).collect();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        assert!(met(&shapes, &names, 40).is_none());
        assert_eq!(met(&shapes, &names[1..], 40).unwrap().len(), SHAPE_NAMES_MAX);
        let long = "x".repeat(NAME_BYTES_MAX / 2);
        assert!(met(&shapes, &[&long], 20).is_some());
        assert!(met(&shapes, &[&long, "y"], 20).is_none());
        assert!(met(&shapes, &["y"], 20).is_some());
    }
}
