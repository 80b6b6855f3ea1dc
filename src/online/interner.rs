//! What many rows of a table say, kept once and known by a number.
//!
//! Something gets a number when it was met some times, each time under another key than before:
//! what one key alone says never does. A number is never given up, and there is an end to them.

use ahash::RandomState;
use hashbrown::HashTable;
use parking_lot::RwLock;
use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

const PAGE_ITEMS: usize = 256;
/// What was met so often gets a number.
const FREQUENT: u64 = 16;
/// So many things are watched at a time. Others that fall on the place of one take away what it has
/// gained, so that what rarely comes again gets no number however much there is of it.
const WATCHED: usize = 4096;
/// Of what is noted of a thing: a part of its hash, how often it was met, and the key it was under.
const ITEM_BITS: u64 = 0xffff_ff00_0000_0000;
const COUNT_ONE: u64 = 1 << 32;
const COUNT_BITS: u64 = 0xff * COUNT_ONE;
const KEY_BITS: u64 = COUNT_ONE - 1;

type Page<T> = Box<[OnceLock<T>]>;

/// At most 256 times `PAGES` things by their numbers. Reading one takes no lock.
pub(super) struct Interner<T, const PAGES: usize> {
    pages: [OnceLock<Page<T>>; PAGES],
    numbers: RwLock<HashTable<Numbered>>,
    watched: Box<[AtomicU64]>,
    hasher: RandomState,
}

#[derive(Clone, Copy)]
struct Numbered {
    hash: u64,
    number: u16,
}

impl<T, const PAGES: usize> std::fmt::Debug for Interner<T, PAGES> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interner")
            .field("count", &self.numbers.read().len())
            .finish_non_exhaustive()
    }
}

impl<T, const PAGES: usize> Interner<T, PAGES> {
    const NUMBERS_MAX: usize = {
        assert!(PAGES * PAGE_ITEMS <= 1 << u16::BITS);
        PAGES * PAGE_ITEMS
    };

    pub(super) fn new([a, b, c, d]: [u64; 4]) -> Self {
        Self {
            pages: [const { OnceLock::new() }; PAGES],
            numbers: RwLock::default(),
            watched: (0..WATCHED).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::with_seeds(d, c, b, a),
        }
    }

    /// What has this number.
    #[inline]
    pub(super) fn get(&self, number: usize) -> Option<&T> {
        self.pages.get(number / PAGE_ITEMS)?.get()?.get(number % PAGE_ITEMS)?.get()
    }

    /// How things and keys are hashed.
    pub(super) fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    /// The number of the thing with this hash that is the one for which `is_it` says so, if it has
    /// one. It was met under `key`; met often enough under others, `make` makes it, or declines.
    pub(super) fn number(
        &self,
        hash: u64,
        key: &[u8],
        is_it: impl Fn(&T) -> bool,
        make: impl FnOnce(u16) -> Option<T>,
    ) -> Option<u16> {
        let is_it = |numbered: &Numbered| {
            numbered.hash == hash && self.get(usize::from(numbered.number)).is_some_and(&is_it)
        };
        if let Some(numbered) = self.numbers.read().find(hash, is_it) {
            return Some(numbered.number);
        }
        if !self.is_frequent(hash, key) {
            return None;
        }
        let mut numbers = self.numbers.write();
        if let Some(numbered) = numbers.find(hash, is_it) {
            return Some(numbered.number);
        }
        if numbers.len() >= Self::NUMBERS_MAX {
            return None;
        }
        let number = u16::try_from(numbers.len()).ok()?;
        let page = self.pages.get(usize::from(number) / PAGE_ITEMS)?;
        let page = page.get_or_init(|| (0..PAGE_ITEMS).map(|_| OnceLock::new()).collect());
        page.get(usize::from(number) % PAGE_ITEMS)?.set(make(number)?).ok()?;
        numbers.insert_unique(hash, Numbered { hash, number }, |numbered| numbered.hash);
        Some(number)
    }

    /// Notes that what has this hash was met under `key`; whether it was often enough.
    fn is_frequent(&self, hash: u64, key: &[u8]) -> bool {
        let Some(place) = self.watched.get(hash as usize % WATCHED) else { return false };
        let (item, key) = (hash & ITEM_BITS, self.hasher.hash_one(key) & KEY_BITS);
        // Two at a time may count as one: nothing hangs on it.
        let standing = place.load(Ordering::Relaxed);
        let count = standing & COUNT_BITS;
        let (next, is_frequent) = match standing & ITEM_BITS == item {
            true if standing & KEY_BITS == key => return false,
            true if count + COUNT_ONE >= FREQUENT * COUNT_ONE => (0, true),
            true => (item | (count + COUNT_ONE) | key, false),
            false if count > 0 => (standing - COUNT_ONE, false),
            false => (item | COUNT_ONE | key, false),
        };
        place.store(next, Ordering::Relaxed);
        is_frequent
    }

    /// The bytes of all that has a number, each of which takes `bytes`, and of what holds it.
    pub(super) fn memory_bytes(&self, bytes: impl Fn(&T) -> usize) -> usize {
        let pages = self.pages.iter().filter_map(OnceLock::get);
        let items = pages.clone().flat_map(|page| page.iter().filter_map(OnceLock::get));
        let numbers = self.numbers.read().allocation_size();
        let page_bytes = PAGE_ITEMS * size_of::<OnceLock<T>>();
        pages.count() * page_bytes + items.map(bytes).sum::<usize>() + numbers
    }
}
