//! Words: text that stands in many cells of a table. Each is kept once, and cells say its number.
//!
//! ```text
//! a cell of type string   text       UTF-8, whose first byte is never 10xxxxxx
//!                         a word     10pppppp iiiiiiii: the page and the place in it
//! ```
//! Text becomes a word when it was met some times, each time under another key than before: what
//! one entity alone says never does. What stands in cells already stays as it is until its row is
//! written. A word is never given up: there are at most 16,384, of at most 64 bytes.
//!
//! This is about memory alone. Only bytes in the table hold numbers of words: snapshots and the log
//! hold text, so two tables of the same state may have other words, or none.

use super::layout::Layout;
use crate::feature::ViewId;
use ahash::RandomState;
use arc_swap::{ArcSwap, Guard};
use hashbrown::HashTable;
use parking_lot::RwLock;
use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

const PAGES: usize = 64;
const PAGE_WORDS: usize = 256;
/// Shorter text would gain nothing, longer text is rarely met again.
const WORD_BYTES_MIN: usize = 4;
const WORD_BYTES_MAX: usize = 64;
/// Text that was met so often becomes a word.
const FREQUENT: u64 = 16;
/// So many texts are watched at a time. Others that fall on the place of one take away what it has
/// gained, so that text that rarely comes again does not become a word however much there is of it.
const WATCHED: usize = 4096;
/// Of what is noted of a text: a part of its hash, how often it was met, and the key it was under.
const TEXT_BITS: u64 = 0xffff_ff00_0000_0000;
const COUNT_ONE: u64 = 1 << 32;
const COUNT_BITS: u64 = 0xff * COUNT_ONE;
const KEY_BITS: u64 = COUNT_ONE - 1;
const NUMBER_MARK: u8 = 0x80;
const NUMBER_MARK_BITS: u8 = 0xc0;

type Page = Box<[OnceLock<Box<[u8]>>]>;
type Layouts = HashMap<(ViewId, u32), Arc<Layout>, RandomState>;

/// The words of a table, and which cells may hold them.
pub struct Words {
    layouts: ArcSwap<Layouts>,
    pages: [OnceLock<Page>; PAGES],
    numbers: RwLock<HashTable<u16>>,
    watched: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Words").field("count", &self.numbers.read().len()).finish_non_exhaustive()
    }
}

impl Words {
    pub(super) fn new([a, b, c, d]: [u64; 4]) -> Self {
        Self {
            layouts: ArcSwap::default(),
            pages: [const { OnceLock::new() }; PAGES],
            numbers: RwLock::default(),
            watched: (0..WATCHED).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::with_seeds(d, c, b, a),
        }
    }

    /// Rows of these layouts hold words from now on. Slots are only added behind the last: of two
    /// layouts of one generation the longer one stands for both.
    pub(super) fn know<'l>(&self, layouts: impl Iterator<Item = &'l Arc<Layout>>) {
        let layouts: Vec<_> = layouts.filter(|layout| layout.has_text()).collect();
        self.layouts.rcu(|known| {
            let mut known = Layouts::clone(known);
            for layout in &layouts {
                let standing = known.entry((layout.view, layout.generation));
                let standing = standing.or_insert_with(|| Arc::clone(*layout));
                if standing.slot_count() < layout.slot_count() {
                    *standing = Arc::clone(*layout);
                }
            }
            known
        });
    }

    /// The layouts with text.
    pub(super) fn layouts(&self) -> Guard<Arc<Layouts>> {
        self.layouts.load()
    }

    /// The text that a cell of type string says.
    #[inline]
    pub(super) fn text<'a>(&'a self, cell: &'a [u8]) -> Option<&'a [u8]> {
        let Some((page, place)) = number_of(cell) else { return Some(cell) };
        self.pages.get(page)?.get()?.get(place)?.get().map(|word| &**word)
    }

    /// The number of the word that `text` is, if it is one. It stands under `key`; met often enough
    /// under others, it becomes a word.
    pub(super) fn number(&self, text: &[u8], key: &[u8]) -> Option<[u8; 2]> {
        if !(WORD_BYTES_MIN..=WORD_BYTES_MAX).contains(&text.len()) {
            return None;
        }
        let hash = self.hasher.hash_one(text);
        let is_it = |number: &u16| self.text(&cell_of(*number)) == Some(text);
        if let Some(number) = self.numbers.read().find(hash, is_it) {
            return Some(cell_of(*number));
        }
        if !self.is_frequent(hash, key) {
            return None;
        }
        let mut numbers = self.numbers.write();
        if let Some(number) = numbers.find(hash, is_it) {
            return Some(cell_of(*number));
        }
        let number = u16::try_from(numbers.len()).ok()?;
        let page = self.pages.get(usize::from(number) / PAGE_WORDS)?;
        let page = page.get_or_init(|| (0..PAGE_WORDS).map(|_| OnceLock::new()).collect());
        page.get(usize::from(number) % PAGE_WORDS)?.set(text.into()).ok()?;
        let rehash =
            |number: &u16| self.hasher.hash_one(self.text(&cell_of(*number)).unwrap_or(&[]));
        numbers.insert_unique(hash, number, rehash);
        Some(cell_of(number))
    }

    /// Notes that text of this hash was met under `key`; whether it was often enough.
    fn is_frequent(&self, hash: u64, key: &[u8]) -> bool {
        let Some(place) = self.watched.get(hash as usize % WATCHED) else { return false };
        let (text, key) = (hash & TEXT_BITS, self.hasher.hash_one(key) & KEY_BITS);
        // Two at a time may count as one: nothing hangs on it.
        let standing = place.load(Ordering::Relaxed);
        let count = standing & COUNT_BITS;
        let (next, is_frequent) = match standing & TEXT_BITS == text {
            true if standing & KEY_BITS == key => return false,
            true if count + COUNT_ONE >= FREQUENT * COUNT_ONE => (0, true),
            true => (text | (count + COUNT_ONE) | key, false),
            false if count > 0 => (standing - COUNT_ONE, false),
            false => (text | COUNT_ONE | key, false),
        };
        place.store(next, Ordering::Relaxed);
        is_frequent
    }

    /// The bytes of all words, and of what holds them.
    pub(super) fn memory_bytes(&self) -> usize {
        let pages = self.pages.iter().filter_map(OnceLock::get);
        let words = pages.clone().flat_map(|page| page.iter().filter_map(OnceLock::get));
        let numbers = self.numbers.read().allocation_size();
        let page_bytes = PAGE_WORDS * size_of::<OnceLock<Box<[u8]>>>();
        pages.count() * page_bytes + words.map(|word| word.len()).sum::<usize>() + numbers
    }
}

/// Whether a cell of type string says the number of a word.
#[inline]
pub(super) fn is_number(cell: &[u8]) -> bool {
    number_of(cell).is_some()
}

#[inline]
fn number_of(cell: &[u8]) -> Option<(usize, usize)> {
    match cell {
        [page, place] if page & NUMBER_MARK_BITS == NUMBER_MARK => {
            Some((usize::from(page & !NUMBER_MARK_BITS), usize::from(*place)))
        }
        _ => None,
    }
}

fn cell_of(number: u16) -> [u8; 2] {
    let [page, place] = number.to_be_bytes();
    [page | NUMBER_MARK, place]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_comes_often_becomes_a_word_and_other_text_never() {
        let words = Words::new([1, 2, 3, 4]);
        let mut met = Vec::new();
        for round in 0..20_000_u32 {
            let key = round.to_be_bytes();
            let once = format!("name-{round}");
            assert_eq!(words.number(once.as_bytes(), &key), None, "{once}");
            // However often it writes the same.
            assert_eq!(words.number(b"one's own", b"user:1"), None);
            let often = format!("segment-{}", round % 20);
            if let Some(number) = words.number(often.as_bytes(), &key) {
                assert!(is_number(&number));
                assert_eq!(words.text(&number), Some(often.as_bytes()));
                met.push(often);
            }
        }
        met.sort_unstable();
        met.dedup();
        assert!(met.len() == 20 && words.memory_bytes() < 16 * 1024, "{}", met.len());
        assert_eq!(words.text(b"as it is"), Some(&b"as it is"[..]));
        assert_eq!(words.text(&[NUMBER_MARK | 63, 255]), None);
    }

    #[test]
    fn there_is_an_end_to_words() {
        let words = Words::new([1, 2, 3, 4]);
        for round in 0..PAGES * PAGE_WORDS + 100 {
            let text = format!("word-{round}");
            let keys = (0..FREQUENT * 4).map(u64::to_be_bytes);
            let number = keys.filter_map(|key| words.number(text.as_bytes(), &key)).last();
            assert_eq!(number.is_some(), round < PAGES * PAGE_WORDS, "{round}");
            assert!(number.is_none_or(|cell| words.text(&cell) == Some(text.as_bytes())));
        }
        let one = words.number(b"word-777", b"").unwrap();
        assert_eq!(words.text(&one), Some(&b"word-777"[..]));
    }

    #[test]
    fn no_text_looks_like_a_word() {
        for first in 0..=char::MAX as u32 {
            let Some(first) = char::from_u32(first) else { continue };
            assert!(!is_number(first.to_string().as_bytes()));
            assert!(!is_number(format!("{first}a").as_bytes()));
        }
        assert!(!is_number(b"") && is_number(&cell_of(0)) && is_number(&cell_of(16_383)));
    }
}
