//! Words: text that stands in many cells of a table. Each is kept once, and cells say its number.
//!
//! ```text
//! a cell of type string   text       UTF-8, whose first byte is never 10xxxxxx
//!                         a word     10nnnnnn nnnnnnnn: its number
//! ```
//! Text becomes a word as `interner` says. What stands in cells already stays as it is until its
//! row is written. There are at most 16,384 words, of at most 64 bytes.
//!
//! This is about memory alone. Only bytes in the table hold numbers of words: snapshots and the log
//! hold text, so two tables of the same state may have other words, or none.

use super::{interner::Interner, layout::Layout};
use crate::feature::ViewId;
use ahash::RandomState;
use arc_swap::{ArcSwap, Guard};
use std::{collections::HashMap, sync::Arc};

const PAGES: usize = 64;
/// Shorter text would gain nothing, longer text is rarely met again.
const WORD_BYTES_MIN: usize = 4;
const WORD_BYTES_MAX: usize = 64;
const NUMBER_MARK: u8 = 0x80;
const NUMBER_MARK_BITS: u8 = 0xc0;

type Layouts = HashMap<(ViewId, u32), Arc<Layout>, RandomState>;

/// The words of a table, and which cells may hold them.
#[derive(Debug)]
pub(super) struct Words {
    layouts: ArcSwap<Layouts>,
    words: Interner<Box<[u8]>, PAGES>,
}

impl Words {
    pub(super) fn new(seed: [u64; 4]) -> Self {
        Self { layouts: ArcSwap::default(), words: Interner::new(seed) }
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
        let Some(number) = number_of(cell) else { return Some(cell) };
        self.words.get(number).map(|word| &**word)
    }

    /// The number of the word that `text` is, if it is one. It stands under `key`; met often enough
    /// under others, it becomes a word.
    pub(super) fn number(&self, text: &[u8], key: &[u8]) -> Option<[u8; 2]> {
        if !may_be_word(text) {
            return None;
        }
        let hash = self.words.hasher().hash_one(text);
        let number = self.words.number(hash, key, |word| **word == *text, |_| Some(text.into()));
        number.map(cell_of)
    }

    /// The bytes of all words, and of what holds them.
    pub(super) fn memory_bytes(&self) -> usize {
        self.words.memory_bytes(|word| word.len())
    }
}

/// Whether `text` may be a word, or become one.
#[inline]
pub(super) fn may_be_word(text: &[u8]) -> bool {
    (WORD_BYTES_MIN..=WORD_BYTES_MAX).contains(&text.len())
}

/// Whether a cell of type string says the number of a word.
#[inline]
pub(super) fn is_number(cell: &[u8]) -> bool {
    number_of(cell).is_some()
}

#[inline]
fn number_of(cell: &[u8]) -> Option<usize> {
    match cell {
        [high, low] if high & NUMBER_MARK_BITS == NUMBER_MARK => {
            Some(usize::from(u16::from_be_bytes([high & !NUMBER_MARK_BITS, *low])))
        }
        _ => None,
    }
}

fn cell_of(number: u16) -> [u8; 2] {
    let [high, low] = number.to_be_bytes();
    [high | NUMBER_MARK, low]
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
        const WORDS: usize = 16_384;
        let words = Words::new([1, 2, 3, 4]);
        for round in 0..WORDS + 100 {
            let text = format!("word-{round}");
            let keys = (0..64_u64).map(u64::to_be_bytes);
            let number = keys.filter_map(|key| words.number(text.as_bytes(), &key)).last();
            assert_eq!(number.is_some(), round < WORDS, "{round}");
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
