//! Rows that will be read soon, of which all are asked for at once.
//!
//! ```text
//! key -> hash -> shard -> line of its index -> row        each step of all rows, then the next
//! ```

use super::{
    key_hash::{fingerprint_of, shard_of},
    prefetch::prefetch,
    table::Table,
};
use std::slice;

/// So many rows at once: more would push each other out of the first cache.
const ROWS_MAX: usize = 16;
/// So many lines of a shard tell where its index and its rows are.
const SHARD_LINES: usize = 4;

/// Keys whose rows will be read. It is only a hint: whatever the keys are, no answer changes.
#[derive(Debug)]
pub struct Ahead<'t> {
    table: &'t Table,
    hashes: [u64; ROWS_MAX],
    count: usize,
}

impl<'t> Ahead<'t> {
    /// No keys yet.
    pub fn new(table: &'t Table) -> Self {
        Self { table, hashes: [0; ROWS_MAX], count: 0 }
    }

    /// Whether it takes no more keys.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.count == ROWS_MAX
    }

    /// The row of `key` will be read.
    #[inline]
    pub fn push(&mut self, key: &[u8]) {
        if let Some(place) = self.hashes.get_mut(self.count) {
            *place = self.table.hash(key);
            self.count += 1;
        }
    }

    /// Asks for all rows. One alone comes as fast when it is read.
    #[inline]
    pub fn fetch(self) {
        let hashes = self.hashes.get(..self.count).filter(|hashes| hashes.len() > 1);
        let hashes = hashes.unwrap_or_default();
        for hash in hashes {
            prefetch(slice::from_ref(self.table.lock_of(shard_of(*hash))), SHARD_LINES);
        }
        // A shard that somebody writes to is left alone.
        let shards = |hash: &u64| self.table.lock_of(shard_of(*hash)).try_read();
        for hash in hashes {
            if let Some(shard) = shards(hash) {
                shard.fetch_place(fingerprint_of(*hash));
            }
        }
        for hash in hashes {
            if let Some(shard) = shards(hash) {
                shard.fetch_row(fingerprint_of(*hash));
            }
        }
    }
}
