//! Rows of the history on their way to the winners, shared out by the shard of their entity.
//!
//! ```text
//! rows as they were read     e7 e2 e9 e4 e7 e1 ...
//! shard 0                    e2 e1 ...             full: brought to the winners at once
//! shard 1                    e7 e4 e7 ...
//! ```
//! What a shard knows of its entities fits into the cache of a core, all of the winners do not: a
//! row that is brought alone waits for memory three times, one of thousands hardly ever.

use super::keys::UNKNOWN;

/// Bytes of a shard's slots and winners, about: of a core's cache a part.
const SHARD_BYTES: usize = 512 * 1024;

/// What is kept of an entity beside its slots.
const ENTITY_BYTES: usize = 16;

/// With so many shards for each thread two seldom ask for one.
const SHARDS_PER_THREAD: usize = 8;

/// More of them and there would be no page of memory at hand for each.
const SHARDS_MAX: usize = 256;

/// Neighbours among the entities have their times in one line of memory: so many stay together.
const BLOCK_ENTITIES_MAX: usize = 64;

/// Rows that a thread holds of all shards together, at most; 32 MiB of them.
const ROWS_MAX: usize = 2 * 1024 * 1024;

/// Rows that are looked through at once for those with an entity.
const STEP_ROWS: usize = 256;

/// Rows of a shard, at least.
const SHARD_ROWS_MIN: usize = if cfg!(test) { 40 } else { 256 };

/// Which entities belong to which shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shards {
    /// Log2 of how many entities a block has. Blocks are dealt out one by one.
    block: u32,
    /// Log2 of how many shards there are.
    count: u32,
    /// Log2 of how many rows of one shard are brought at once.
    rows: u32,
}

impl Shards {
    /// For so many entities with so many slots, of so many bytes each.
    pub(super) fn new(entities: usize, slots: usize, slot_bytes: usize, threads: usize) -> Self {
        let bytes = entities * ENTITY_BYTES + slots * slot_bytes;
        let alone = if threads == 1 { 1 } else { threads * SHARDS_PER_THREAD };
        let count = (bytes / SHARD_BYTES).max(alone).next_power_of_two().min(SHARDS_MAX);
        let block_entities = (entities / count / 4).clamp(1, BLOCK_ENTITIES_MAX);
        // As many bytes of rows as of what they are brought to.
        let rows = (bytes / count / size_of::<Row>()).min(ROWS_MAX / count).max(SHARD_ROWS_MIN);
        Self { block: block_entities.ilog2(), count: count.trailing_zeros(), rows: rows.ilog2() }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        1 << self.count
    }

    /// The shard of an entity.
    #[inline]
    pub(super) fn of(&self, entity: u32) -> usize {
        (entity >> self.block) as usize & (self.count() - 1)
    }

    /// The place of an entity among those of its shard.
    #[inline]
    pub(super) fn place(&self, entity: u32) -> usize {
        let block = entity >> self.block >> self.count << self.block;
        (block | entity & ((1 << self.block) - 1)) as usize
    }

    /// The entities of a shard, by their places.
    pub(super) fn entities(&self, shard: usize, all: usize) -> impl Iterator<Item = usize> {
        let size = 1_usize << self.block;
        let blocks = (shard * size..all).step_by(size << self.count);
        blocks.flat_map(move |first| first..(first + size).min(all))
    }
}

/// A row of the history.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row {
    /// From when on it can be seen.
    pub(super) known: i64,
    pub(super) entity: u32,
    /// How far it lies behind the first row that is held.
    pub(super) row: u32,
}

/// The rows that one thread holds.
#[derive(Debug)]
pub(super) struct HeldRows {
    shards: Shards,
    /// As many for each shard.
    rows: Vec<Row>,
    /// Where the next row of each goes.
    next: Vec<usize>,
    /// The place in the source of the row with number 0.
    first_order: u64,
}

impl HeldRows {
    /// None yet.
    pub(super) fn new(shards: Shards) -> Self {
        let lists = shards.count();
        let next = (0..lists).map(|list| list << shards.rows).collect();
        Self { shards, rows: vec![Row::default(); lists << shards.rows], next, first_order: 0 }
    }

    /// Takes rows, numbered from `first`: the `i`th is of entity `entities[i]` and can be seen from
    /// `known(i)` on. `full` is given those of each shard that has no room for more.
    #[allow(clippy::indexing_slicing, reason = "a list is begun anew when it is full")]
    #[inline]
    pub(super) fn push(
        &mut self,
        entities: &[u32],
        first: u32,
        known: impl Fn(usize) -> i64,
        mut full: impl FnMut(usize, &[Row]),
    ) {
        let shard_rows = 1 << self.shards.rows;
        for start in (0..entities.len()).step_by(STEP_ROWS) {
            let step = &entities[start..entities.len().min(start + STEP_ROWS)];
            // Those with an entity, without a branch, which would be guessed wrong where many rows
            // are not asked for.
            let mut asked = [0; STEP_ROWS];
            let mut count = 0;
            for (place, entity) in step.iter().enumerate() {
                asked[count] = place as u32;
                count += usize::from(*entity != UNKNOWN);
            }
            for place in &asked[..count] {
                let entity = step[*place as usize];
                let row = start + *place as usize;
                let shard = self.shards.of(entity);
                let at = self.next[shard];
                self.rows[at] = Row { known: known(row), entity, row: first + row as u32 };
                let next = at + 1;
                self.next[shard] = next;
                if next.is_multiple_of(shard_rows) {
                    let start = next - shard_rows;
                    self.next[shard] = start;
                    full(shard, &self.rows[start..next]);
                }
            }
        }
    }

    /// The rows of a shard, which are held no longer.
    pub(super) fn take(&mut self, shard: usize) -> &[Row] {
        let start = shard << self.shards.rows;
        let end = self.next.get_mut(shard).map_or(start, |next| std::mem::replace(next, start));
        self.rows.get(start..end).unwrap_or_default()
    }

    /// The place in the source of row 0.
    pub(super) fn first_order(&self) -> u64 {
        self.first_order
    }

    /// The number of the row with this place in the source; `None` if it has none, nor has one of
    /// the `count` behind it.
    pub(super) fn number(&self, order: u64, count: usize) -> Option<u32> {
        let number = order.checked_sub(self.first_order)?;
        number.checked_add(count as u64).filter(|end| *end < u64::from(u32::MAX))?;
        u32::try_from(number).ok()
    }

    /// Numbers rows from this one on; none is held.
    pub(super) fn start(&mut self, order: u64) {
        self.first_order = order;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    proptest! {
        #[test]
        fn each_entity_has_one_shard_and_one_place_in_it(
            entities in 0_usize..9000, slots_each in 1_usize..400, threads in 1_usize..9,
        ) {
            let shards = Shards::new(entities, entities * slots_each, 24, threads);
            let mut seen = vec![false; entities];
            for shard in 0..shards.count() {
                for (place, entity) in shards.entities(shard, entities).enumerate() {
                    prop_assert!(!std::mem::replace(&mut seen[entity], true));
                    let entity = entity as u32;
                    prop_assert_eq!((shards.of(entity), shards.place(entity)), (shard, place));
                }
            }
            prop_assert!(seen.into_iter().all(|seen| seen));
        }

        #[test]
        fn each_row_of_an_entity_comes_back_once_in_its_order(
            rows in vec(prop::option::weighted(0.8, 0_u32..900), 0..3000),
            threads in 1_usize..3,
        ) {
            let shards = Shards::new(900, 9000, 24, threads);
            let mut held = HeldRows::new(shards);
            let entities: Vec<u32> = rows.iter().map(|entity| entity.unwrap_or(UNKNOWN)).collect();
            let mut came: Vec<Vec<Row>> = vec![Vec::new(); shards.count()];
            held.push(&entities, 7, |row| -(row as i64), |shard, rows| came[shard].extend(rows));
            for (shard, came) in came.iter_mut().enumerate() {
                came.extend(held.take(shard));
                prop_assert!(held.take(shard).is_empty());
            }
            for (shard, came) in came.into_iter().enumerate() {
                let is_own = |entity: &Option<u32>| entity.is_some_and(|e| shards.of(e) == shard);
                let own = (0..).zip(&rows).filter(|(_, entity)| is_own(entity));
                let expected = own.map(|(row, _): (i64, _)| (-row, row as u32 + 7));
                let expected: Vec<(i64, u32)> = expected.collect();
                let came: Vec<(i64, u32)> = came.iter().map(|row| (row.known, row.row)).collect();
                prop_assert_eq!(came, expected);
            }
        }
    }
}
