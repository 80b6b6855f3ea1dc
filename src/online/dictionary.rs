//! What rows of a table say by number: words in the place of text, shapes in the place of names.

use super::{shapes::Shapes, words::Words};

/// The words and the shapes of a table. Numbers mean something in its rows alone.
#[derive(Debug)]
pub struct Dictionary {
    pub(super) words: Words,
    pub(super) shapes: Shapes,
}

impl Dictionary {
    pub(super) fn new(seed: [u64; 4]) -> Self {
        Self { words: Words::new(seed), shapes: Shapes::new(seed) }
    }

    /// The bytes of all of it.
    pub(super) fn memory_bytes(&self) -> usize {
        self.words.memory_bytes() + self.shapes.memory_bytes()
    }
}
