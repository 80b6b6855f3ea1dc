//! The winning row of every slot, while the history is read: one set for all threads.
//!
//! ```text
//! slots of one entity      10        20              35
//! rows of the history    7→│    12 18→│        22 31→│   38: after all slots, left out
//! greatest per slot        7         18              31
//! ```
//! Rows come in any order, and most often in that of time: then the next row of an entity falls
//! where its last one fell, or into the slot behind. Entities are shared out among shards with a
//! lock each, and a thread brings thousands of rows to a shard at a time (`held_rows.rs`), so that
//! most of what they need is in the cache of its core. What is not is fetched for many of them at
//! once, stage by stage, also in the search: a row that waited for memory alone would wait ten
//! times as long.

use super::{
    held_rows::{HeldRows, Row, Shards},
    rank::Rank,
    slots::Slots,
    ties::Ties,
};
use crate::{error::Result, feature::Timestamp, parallel::for_each};
use parking_lot::Mutex;
use std::{
    hint::{black_box, select_unpredictable},
    mem,
};

/// Rows whose memory is fetched at once.
const STEP_ROWS: usize = 128;

/// The bytes that memory is fetched by.
const LINE_BYTES: usize = 64;

/// With a row for so many slots of a shard or less, each line of it will be needed.
const SLOTS_PER_ROW_WARM: usize = 4;

/// After a step with too few rows where they were looked for first, so many are searched at once.
const SEARCHED_STEPS: u32 = 15;

/// The winners so far, of all entities of a spine.
pub(super) struct BestRows<'a, R> {
    slots: &'a Slots,
    map: Shards,
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

impl<'a, R: Rank> BestRows<'a, R> {
    /// No row for any of the slots.
    pub(super) fn new(slots: &'a Slots, has_created: bool, threads: usize) -> Result<Self> {
        let slot_bytes = size_of::<i64>() + size_of::<R>();
        let map = Shards::new(slots.entities(), slots.len(), slot_bytes, threads);
        let built = for_each(threads, map.count(), Vec::new, |built, index| {
            built.push((index, Shard::new(slots, map, index)));
            Ok(())
        })?;
        let mut built: Vec<(usize, Shard<R>)> = built.into_iter().flatten().collect();
        built.sort_unstable_by_key(|(index, _)| *index);
        let shards = built.into_iter().map(|(_, shard)| Mutex::new(shard)).collect();
        Ok(Self { slots, map, shards, has_created })
    }

    /// Where a thread holds rows until they are brought.
    pub(super) fn held(&self) -> HeldRows {
        HeldRows::new(self.map)
    }

    /// Takes rows that can be seen from their event on: row `i` is of entity `entities[i]`, and the
    /// one with place `first_order + i`. Some are held until [`BestRows::flush`]. Tells whether
    /// there are too many ties by now.
    pub(super) fn add_events(
        &self,
        entities: &[u32],
        events: &[i64],
        first_order: u64,
        held: &mut HeldRows,
    ) -> bool {
        let mut is_too_many = false;
        let first = held.number(first_order, entities.len()).unwrap_or_else(|| {
            is_too_many = self.flush(held);
            held.start(first_order);
            0
        });
        let of = held.first_order();
        let event = |row: usize| events.get(row).copied().unwrap_or_default();
        held.push(entities, first, event, |shard, rows| {
            is_too_many |= self.bring(shard, rows, by_event(of));
        });
        is_too_many
    }

    /// Takes the rows of a batch: row `i` is of entity `entities[i]`, can be seen from `known(i)`
    /// on, and is `candidate(i)`. Tells whether there are too many ties by now.
    pub(super) fn add(
        &self,
        entities: &[u32],
        known: impl Fn(usize) -> i64,
        candidate: impl Fn(usize) -> R,
        held: &mut HeldRows,
    ) -> bool {
        let mut is_too_many = self.flush(held);
        let candidate = |row: &Row| candidate(row.row as usize);
        held.push(entities, 0, known, |shard, rows| {
            is_too_many |= self.bring(shard, rows, candidate);
        });
        for shard in 0..self.shards.len() {
            is_too_many |= self.bring(shard, held.take(shard), candidate);
        }
        is_too_many
    }

    /// Takes the rows that are held. Tells whether there are too many ties by now.
    pub(super) fn flush(&self, held: &mut HeldRows) -> bool {
        let of = held.first_order();
        (0..self.shards.len())
            .fold(false, |many, shard| many | self.bring(shard, held.take(shard), by_event(of)))
    }

    fn bring(&self, shard: usize, rows: &[Row], candidate: impl Fn(&Row) -> R) -> bool {
        let Some(shard) = self.shards.get(shard).filter(|_| !rows.is_empty()) else {
            return false;
        };
        let mut shard = shard.lock();
        shard.rows += rows.len() as u64;
        if rows.len() >= shard.best.len() / SLOTS_PER_ROW_WARM {
            shard.warm(self.slots);
        }
        for rows in rows.chunks(STEP_ROWS) {
            shard.add(self, rows, &candidate);
        }
        shard.ties.are_too_many(shard.rows)
    }

    /// The winner of each slot, and the ties.
    pub(super) fn finish(self, threads: usize) -> Result<(Vec<R>, Ties)> {
        let mut ties = Ties::default();
        let mut shards: Vec<Shard<R>> = self.shards.into_iter().map(Mutex::into_inner).collect();
        shards.iter_mut().for_each(|shard| ties.append(mem::take(&mut shard.ties)));
        if let [only] = shards.as_mut_slice() {
            return Ok((mem::take(&mut only.best), ties));
        }
        let mut winners = vec![R::NONE; self.slots.len()];
        self.slots.for_parts(threads, &mut winners, |entities, mut winners| {
            for entity in entities.start as u32..entities.end as u32 {
                let shard = shards.get(self.map.of(entity));
                let track = shard.and_then(|shard| shard.tracks.get(self.map.place(entity)));
                let Some((shard, track)) = shard.zip(track) else { continue };
                let (start, count) = (track.start as usize, track.count as usize);
                let best = shard.best.get(start..start + count);
                if let (Some(own), Some(best)) = (winners.split_off_mut(..count), best) {
                    own.copy_from_slice(best);
                }
            }
        })?;
        Ok((winners, ties))
    }
}

/// What a row is that tells all by its event and its place.
fn by_event<R: Rank>(first_order: u64) -> impl Fn(&Row) -> R {
    move |row| R::new(Timestamp(row.known), None, first_order + u64::from(row.row))
}

impl<R: Rank> Shard<R> {
    fn new(slots: &Slots, map: Shards, index: usize) -> Self {
        let mut tracks = Vec::with_capacity(slots.entities() / map.count() + 1);
        let mut start = 0;
        for entity in map.entities(index, slots.entities()) {
            let range = slots.range(entity);
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

    /// Fetches all of the shard into the cache of this core, one line after the other: from where
    /// another core left them, or from memory, they come in a tenth of the time that way.
    fn warm(&self, slots: &Slots) {
        let tracks = self.tracks.chunks(LINE_BYTES / size_of::<Track>());
        touch(tracks.filter_map(|tracks| Some(i64::from(tracks.first()?.last))));
        let best = self.best.chunks(LINE_BYTES / size_of::<R>());
        touch(best.filter_map(|best| Some(best.first()?.event().us())));
        let mut from = 0;
        for track in &self.tracks {
            let (first, end) = (track.first as usize, (track.first + track.count) as usize);
            let times = slots.times().get(from.max(first)..end).unwrap_or_default();
            let times = times.chunks(LINE_BYTES / size_of::<i64>());
            touch(times.filter_map(|times| times.first().copied()));
            from = end.next_multiple_of(LINE_BYTES / size_of::<i64>());
        }
    }

    /// The hot loop: some steps per row of the history.
    #[allow(clippy::indexing_slicing, reason = "places were found among the slots")]
    fn add(&mut self, all: &BestRows<'_, R>, rows: &[Row], candidate: impl Fn(&Row) -> R) {
        let map = all.map;
        touch(rows.iter().map(|row| i64::from(self.tracks[map.place(row.entity)].last)));
        if self.searched_steps == 0 {
            self.follow(all.slots, map, rows);
            let is_worth_it = self.searches.len() * 4 < rows.len() * 3;
            self.searched_steps = if is_worth_it { 0 } else { SEARCHED_STEPS };
        } else {
            self.searched_steps -= 1;
            let search = |row: &Row| Search::new(row, &self.tracks[map.place(row.entity)]);
            self.searches.extend(rows.iter().map(search));
        }
        self.search(all.slots, map);
        touch(self.found.iter().map(|(_, place)| self.best[*place].event().us()));
        let mut found = mem::take(&mut self.found);
        for (row, place) in found.drain(..) {
            let candidate = candidate(&row);
            let best = &mut self.best[place];
            if all.has_created && candidate.is_tied(best) {
                let track = self.tracks[map.place(row.entity)];
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
    fn follow(&mut self, slots: &Slots, map: Shards, rows: &[Row]) {
        let times = slots.times();
        let last_time = |track: &Track| times.get((track.first + track.last) as usize);
        touch(rows.iter().map(|row| *last_time(&self.tracks[map.place(row.entity)]).unwrap_or(&0)));
        for row in rows {
            let track = &mut self.tracks[map.place(row.entity)];
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
    fn search(&mut self, slots: &Slots, map: Shards) {
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
            let track = &mut self.tracks[map.place(search.row.entity)];
            let is_before = search.left > 0 && times[search.low as usize] < search.row.known;
            track.last = search.low + u32::from(is_before) - track.first;
            if track.last < track.count {
                self.found.push((search.row, (track.start + track.last) as usize));
            }
        }
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
    use super::{
        super::{keys::UNKNOWN, rank::Newest},
        *,
    };
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
            by_event in vec(any::<bool>(), 1..6),
            first_order in prop_oneof![1_u64..9, (u64::from(u32::MAX) - 900)..=u64::from(u32::MAX)],
        ) {
            let mut rows = rows;
            if is_in_order {
                rows.sort_by_key(|(_, time)| *time);
            }
            let asked: Vec<u32> = spine.iter().map(|(entity, _)| *entity).collect();
            let times = Int64Array::from_iter_values(spine.iter().map(|(_, time)| *time));
            let slots = Slots::build(&asked, 6, &times, threads).unwrap();
            let best = BestRows::new(&slots, true, threads).unwrap();
            let mut held = [best.held(), best.held()];
            let candidate = |(order, time)| Newest::new(Timestamp(time), None, order);
            let mut order = first_order;
            for (batch, rows) in rows.chunks(batch_rows).enumerate() {
                let entities: Vec<u32> =
                    rows.iter().map(|(entity, _)| entity.unwrap_or(UNKNOWN)).collect();
                let times: Vec<i64> = rows.iter().map(|(_, time)| *time).collect();
                let held = &mut held[batch % 2];
                if by_event[batch % by_event.len()] {
                    best.add_events(&entities, &times, order, held);
                } else {
                    let row = |row: usize| candidate((order + row as u64, times[row]));
                    best.add(&entities, |row| times[row], row, held);
                }
                order += rows.len() as u64;
            }
            for held in &mut held {
                best.flush(held);
            }
            let mut expected = vec![Newest::NONE; slots.len()];
            for (order, (entity, time)) in (first_order..).zip(&rows) {
                let slot = entity.and_then(|entity| slots.at_or_after(entity, *time));
                if let Some(slot) = slot {
                    expected[slot] = expected[slot].max(candidate((order, *time)));
                }
            }
            prop_assert_eq!(best.finish(threads).unwrap().0, expected);
        }
    }
}
