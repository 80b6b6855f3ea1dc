//! The winning row of every slot, while the history is read: one set for all threads.
//!
//! ```text
//! slots of one entity      10        20              35
//! rows of the history    7→│    12 18→│        22 31→│   38: after all slots, left out
//! greatest per slot        7         18              31
//! ```
//! Rows come in any order, and most often in that of time: then the next row of an entity falls
//! where its last one fell, or into the slot behind. Entities are shared out among shards with a
//! lock each, and a thread brings many rows to a shard at a time. Whatever these need from memory
//! is fetched for all of them at once, stage by stage, also in the search: a row that waited for
//! memory alone would wait ten times as long.

use super::{keys::UNKNOWN, rank::Rank, slots::Slots, ties::Ties};
use crate::{error::Result, parallel::for_each};
use parking_lot::Mutex;
use std::{
    hint::{black_box, select_unpredictable},
    mem,
};

/// Rows whose memory is fetched at once.
const STEP_ROWS: usize = 128;

/// Rows that are shared out among the shards at once: they stay in the cache of a core.
const SORTED_ROWS: usize = if cfg!(test) { 300 } else { 8 * 1024 };

/// With so many shards for each thread two seldom ask for one.
const SHARDS_PER_THREAD: usize = 8;

/// After a step with too few rows where they were looked for first, so many are searched at once.
const SEARCHED_STEPS: u32 = 15;

/// The winners so far, of all entities of a spine.
pub(super) struct BestRows<'a, R> {
    slots: &'a Slots,
    /// As many as a power of two; entity `e` belongs to shard `e % count`.
    shards: Vec<Mutex<Shard<R>>>,
    /// Whether there is something that settles ties.
    has_created: bool,
}

struct Shard<R> {
    /// Those of the slots of its entities, one entity after the other.
    best: Vec<R>,
    tracks: Vec<Track>,
    ties: Ties,
    rows: u64,
    searched_steps: u32,
    /// What a step leaves to the next one: room.
    found: Vec<(Row, usize)>,
    searches: Vec<Search>,
}

/// Where an entity has its slots, and where its last row fell.
#[derive(Clone, Copy, Debug)]
struct Track {
    /// Its first slot.
    first: u32,
    /// How many it has.
    count: u32,
    /// The place of the first among those of the shard.
    start: u32,
    /// How many of its slots its last row lay behind.
    last: u32,
}

/// A search for the slot of a row: that is one of the `left` behind `low`, or follows them.
#[derive(Clone, Copy, Debug)]
struct Search {
    row: Row,
    low: u32,
    left: u32,
}

/// A row of the history, of an entity that is asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    /// From when on it can be seen.
    known: i64,
    entity: u32,
    /// Its place in its batch.
    row: u32,
}

/// The rows of a batch by the shards that they belong to.
#[derive(Debug)]
pub(super) struct SortedRows {
    rows: Vec<Row>,
    ends: Vec<usize>,
    /// The shard that this thread begins with.
    turn: usize,
}

impl SortedRows {
    /// For the thread with this number.
    pub(super) fn new(thread: usize) -> Self {
        Self { rows: Vec::new(), ends: Vec::new(), turn: thread * SHARDS_PER_THREAD }
    }

    /// Sorts the rows from `first` on by the shard of their entity. Those of no entity come last,
    /// and are left out.
    #[allow(clippy::indexing_slicing, reason = "every vector is sized here for what follows")]
    fn sort(
        &mut self,
        first: usize,
        entities: &[u32],
        known: impl Fn(usize) -> i64,
        shards: usize,
    ) {
        let shard_of = |entity: u32| match entity {
            UNKNOWN => shards,
            entity => entity as usize & (shards - 1),
        };
        self.ends.clear();
        self.ends.resize(shards + 2, 0);
        for entity in entities {
            self.ends[shard_of(*entity) + 1] += 1;
        }
        for shard in 0..=shards {
            self.ends[shard + 1] += self.ends[shard];
        }
        self.rows.resize(entities.len(), Row::default());
        for (row, entity) in (first..).zip(entities) {
            let place = &mut self.ends[shard_of(*entity)];
            self.rows[*place] = Row { known: known(row), entity: *entity, row: row as u32 };
            *place += 1;
        }
    }

    /// Those of one shard.
    fn of(&self, shard: usize) -> &[Row] {
        let start = shard.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        let end = self.ends.get(shard).copied().unwrap_or(0);
        self.rows.get(start.unwrap_or(0)..end).unwrap_or_default()
    }
}

impl<'a, R: Rank> BestRows<'a, R> {
    /// No row for any of the slots.
    pub(super) fn new(slots: &'a Slots, has_created: bool, threads: usize) -> Result<Self> {
        let count =
            if threads == 1 { 1 } else { (threads * SHARDS_PER_THREAD).next_power_of_two() };
        let built = for_each(threads, count, Vec::new, |built, index| {
            built.push((index, Shard::new(slots, index, count)));
            Ok(())
        })?;
        let mut built: Vec<(usize, Shard<R>)> = built.into_iter().flatten().collect();
        built.sort_unstable_by_key(|(index, _)| *index);
        let shards = built.into_iter().map(|(_, shard)| Mutex::new(shard)).collect();
        Ok(Self { slots, shards, has_created })
    }

    /// Takes the rows of a batch: row `i` is of entity `entities[i]`, can be seen from `known(i)`
    /// on, and is `candidate(i)`. Tells whether there are too many ties by now.
    pub(super) fn add(
        &self,
        entities: &[u32],
        known: impl Fn(usize) -> i64,
        candidate: impl Fn(usize) -> R,
        sorted: &mut SortedRows,
    ) -> bool {
        let mut is_too_many = false;
        for (part, entities) in entities.chunks(SORTED_ROWS).enumerate() {
            sorted.sort(part * SORTED_ROWS, entities, &known, self.shards.len());
            for turn in 0..self.shards.len() {
                let index = (sorted.turn + turn) & (self.shards.len() - 1);
                let rows = sorted.of(index);
                let Some(shard) = self.shards.get(index).filter(|_| !rows.is_empty()) else {
                    continue;
                };
                let mut shard = shard.lock();
                shard.rows += rows.len() as u64;
                for rows in rows.chunks(STEP_ROWS) {
                    shard.add(self, rows, &candidate);
                }
                is_too_many |= shard.ties.are_too_many(shard.rows);
            }
        }
        is_too_many
    }

    /// The winner of each slot, and the ties.
    pub(super) fn finish(self) -> (Vec<R>, Ties) {
        let shift = self.shift();
        let mut ties = Ties::default();
        let mut shards: Vec<Shard<R>> = self.shards.into_iter().map(Mutex::into_inner).collect();
        shards.iter_mut().for_each(|shard| ties.append(mem::take(&mut shard.ties)));
        if let [only] = shards.as_mut_slice() {
            return (mem::take(&mut only.best), ties);
        }
        let mut winners = Vec::with_capacity(self.slots.len());
        for entity in 0..self.slots.entities() {
            let shard = shards.get(entity & (shards.len() - 1));
            let track = shard.and_then(|shard| shard.tracks.get(entity >> shift));
            let Some((shard, track)) = shard.zip(track) else { continue };
            let start = track.start as usize;
            let own = shard.best.get(start..start + track.count as usize);
            winners.extend_from_slice(own.unwrap_or_default());
        }
        (winners, ties)
    }

    /// Entity `e` is the one with the number `e >> shift` in its shard.
    fn shift(&self) -> u32 {
        self.shards.len().trailing_zeros()
    }
}

impl<R: Rank> Shard<R> {
    fn new(slots: &Slots, index: usize, count: usize) -> Self {
        let mut tracks = Vec::with_capacity(slots.entities() / count + 1);
        let mut start = 0;
        for range in slots.ranges().skip(index).step_by(count) {
            let count = range.len() as u32;
            tracks.push(Track { first: range.start as u32, count, start, last: 0 });
            start += count;
        }
        Self {
            best: vec![R::NONE; start as usize],
            tracks,
            ties: Ties::default(),
            rows: 0,
            searched_steps: 0,
            found: Vec::new(),
            searches: Vec::new(),
        }
    }

    /// The hot loop: some steps per row of the history.
    #[allow(clippy::indexing_slicing, reason = "places were found among the slots")]
    fn add(&mut self, all: &BestRows<'_, R>, rows: &[Row], candidate: impl Fn(usize) -> R) {
        let shift = all.shift();
        touch(rows.iter().map(|row| i64::from(self.tracks[row.track(shift)].last)));
        if self.searched_steps == 0 {
            self.follow(all.slots, shift, rows);
            let is_worth_it = self.searches.len() * 4 < rows.len() * 3;
            self.searched_steps = if is_worth_it { 0 } else { SEARCHED_STEPS };
        } else {
            self.searched_steps -= 1;
            let search = |row: &Row| Search::new(row, &self.tracks[row.track(shift)]);
            self.searches.extend(rows.iter().map(search));
        }
        self.search(all.slots, shift);
        touch(self.found.iter().map(|(_, place)| self.best[*place].event().us()));
        let mut found = mem::take(&mut self.found);
        for (row, place) in found.drain(..) {
            let candidate = candidate(row.row as usize);
            let best = &mut self.best[place];
            if all.has_created && candidate.is_tied(best) {
                let track = self.tracks[row.track(shift)];
                let slot = track.first + (place as u32 - track.start);
                self.ties.add(slot, &candidate.min(*best));
            }
            *best = candidate.max(*best);
        }
        self.found = found;
    }

    /// Looks for each row where the last one of its entity fell, and one slot on. The others are
    /// to be searched for.
    #[allow(clippy::indexing_slicing, reason = "tracks lie within the slots")]
    fn follow(&mut self, slots: &Slots, shift: u32, rows: &[Row]) {
        let times = slots.times();
        let last_time = |track: &Track| times.get((track.first + track.last) as usize);
        touch(rows.iter().map(|row| *last_time(&self.tracks[row.track(shift)]).unwrap_or(&0)));
        for row in rows {
            let track = &mut self.tracks[row.track(shift)];
            let own = &times[track.first as usize..(track.first + track.count) as usize];
            let mut last = track.last as usize;
            if own.get(last).is_some_and(|until| *until < row.known) {
                last += 1;
            }
            let is_after = last == 0 || own[last - 1] < row.known;
            let until = own.get(last);
            if !is_after || until.is_some_and(|until| *until < row.known) {
                self.searches.push(Search::new(row, track));
                continue;
            }
            track.last = last as u32;
            if until.is_some() {
                self.found.push((*row, track.start as usize + last));
            }
        }
    }

    /// Goes on with all searches side by side, half of what each has left at a time.
    #[allow(clippy::indexing_slicing, reason = "what is left lies within the slots")]
    fn search(&mut self, slots: &Slots, shift: u32) {
        let times = slots.times();
        let mut longest = self.searches.iter().map(|search| search.left).max().unwrap_or(0);
        while longest > 1 {
            for search in &mut self.searches {
                let half = search.left / 2;
                let middle = (search.low + half).saturating_sub(1);
                let is_before = times[middle as usize] < search.row.known;
                // A branch would be guessed wrong every other time.
                search.low = select_unpredictable(is_before, search.low + half, search.low);
                search.left -= half;
            }
            longest -= longest / 2;
        }
        for search in self.searches.drain(..) {
            let track = &mut self.tracks[search.row.track(shift)];
            let is_before = search.left > 0 && times[search.low as usize] < search.row.known;
            track.last = search.low + u32::from(is_before) - track.first;
            if track.last < track.count {
                self.found.push((search.row, (track.start + track.last) as usize));
            }
        }
    }
}

impl Row {
    /// The place of its entity among those of its shard.
    #[inline]
    fn track(&self, shift: u32) -> usize {
        (self.entity >> shift) as usize
    }
}

impl Search {
    fn new(row: &Row, track: &Track) -> Self {
        Self { row: *row, low: track.first, left: track.count }
    }
}

/// Fetches all of these from memory at once: in the loops they would be waited for one by one.
#[inline]
fn touch(numbers: impl Iterator<Item = i64>) {
    black_box(numbers.fold(0, |all, number| all ^ number));
}

#[cfg(test)]
mod tests {
    use super::{super::rank::Newest, *};
    use crate::feature::Timestamp;
    use arrow_array::Int64Array;
    use proptest::{collection::vec, prelude::*};

    proptest! {
        #[test]
        fn every_slot_has_the_greatest_of_the_rows_that_fall_into_it(
            spine in vec((0_u32..6, 0_i64..40), 0..90),
            rows in vec((prop::option::of(0_u32..6), -1_i64..42), 0..2000),
            is_in_order in any::<bool>(),
            threads in 1_usize..4,
            batch_rows in 1_usize..2000,
        ) {
            let mut rows = rows;
            if is_in_order {
                rows.sort_by_key(|(_, time)| *time);
            }
            let asked: Vec<u32> = spine.iter().map(|(entity, _)| *entity).collect();
            let times = Int64Array::from_iter_values(spine.iter().map(|(_, time)| *time));
            let slots = Slots::build(&asked, 6, &times, threads).unwrap();
            let best = BestRows::new(&slots, true, threads).unwrap();
            let mut sorted = SortedRows::new(threads);
            let candidate = |(order, time)| Newest::new(Timestamp(time), None, order);
            let mut order = 1;
            for batch in rows.chunks(batch_rows) {
                let entities: Vec<u32> =
                    batch.iter().map(|(entity, _)| entity.unwrap_or(UNKNOWN)).collect();
                let row = |row: usize| candidate((order + row as u64, batch[row].1));
                best.add(&entities, |row| batch[row].1, row, &mut sorted);
                order += batch.len() as u64;
            }
            let mut expected = vec![Newest::NONE; slots.len()];
            for (order, (entity, time)) in (1..).zip(&rows) {
                let slot = entity.and_then(|entity| slots.at_or_after(entity, *time));
                if let Some(slot) = slot {
                    expected[slot] = expected[slot].max(candidate((order, *time)));
                }
            }
            prop_assert_eq!(best.finish().0, expected);
        }
    }
}
