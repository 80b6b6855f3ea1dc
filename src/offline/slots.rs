//! The spine by entity and time: for each entity the instants that it is asked for.
//!
//! ```text
//! entity 0       entity 1             first = [0, 3, 5]
//! 10  20  35     20  40               times = [10, 20, 35, 20, 40]
//! ```
//! Each row of the spine has a slot of its own. Of slots of one entity and one instant the first is
//! the one that rows of the history fall into, and its answer is carried forward to the others.

use super::keys::UNKNOWN;
use crate::{error::Result, feature::Timestamp, parallel::for_all};
use arrow_array::{Array, Int64Array};
use std::{
    ops::Range,
    sync::atomic::{AtomicU32, Ordering},
};

/// Entities are shared out in so many parts for each thread, so that none has to wait long for
/// another. Each part goes through all rows of a spine.
const PARTS_PER_THREAD: usize = 2;

/// Fewer slots are done with sooner than a thread is started.
const PART_SLOTS: usize = if cfg!(test) { 8 } else { 64 * 1024 };

/// Where an answer for each row of the spine will stand.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Entity `e` has the slots `first[e]..first[e + 1]`.
    first: Vec<u32>,
    /// The instant of each slot, ascending within an entity.
    times: Vec<i64>,
    /// The slot of each row of the spine, [`UNKNOWN`] for a row without key or time.
    of_row: Vec<u32>,
}

/// A row of the spine: when it asks, and its number.
type Asked = (i64, u32);

impl Slots {
    /// Sorts the rows of a spine: row `i` asks for entity `entities[i]` at `times[i]`. There are
    /// fewer than [`UNKNOWN`] rows, and entities are less than `entity_count`.
    #[allow(clippy::indexing_slicing, reason = "every vector is sized here from the same input")]
    pub(super) fn build(
        entities: &[u32],
        entity_count: usize,
        times: &Int64Array,
        threads: usize,
    ) -> Result<Self> {
        let with_times: Vec<u32>;
        let entities = match times.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => entities,
            Some(nulls) => {
                let pairs = entities.iter().zip(nulls);
                with_times =
                    pairs.map(|(e, has_time)| if has_time { *e } else { UNKNOWN }).collect();
                &with_times
            }
        };
        let mut first = vec![0_u32; entity_count + 1];
        for entity in entities.iter().filter(|entity| **entity != UNKNOWN) {
            first[*entity as usize + 1] += 1;
        }
        for entity in 0..entity_count {
            first[entity + 1] += first[entity];
        }
        let mut slot_times = vec![0; first[entity_count] as usize];
        let of_row: Vec<AtomicU32> = entities.iter().map(|_| AtomicU32::new(UNKNOWN)).collect();
        let parts = parts(&first, threads);
        let pieces = split(&first, &parts, &mut slot_times);
        for_all(threads, parts.into_iter().zip(pieces).collect(), |(own, slot_times)| {
            let bounds = &first[own.start..=own.end];
            let asked = sort_part(entities, times.values(), own.start as u32, bounds);
            for ((slot, slot_time), (time, row)) in (bounds[0]..).zip(slot_times).zip(asked) {
                *slot_time = time;
                of_row[row as usize].store(slot, Ordering::Relaxed);
            }
            Ok(())
        })?;
        let of_row = of_row.into_iter().map(AtomicU32::into_inner).collect();
        Ok(Self { first, times: slot_times, of_row })
    }

    /// Does `work` with stretches of entities, side by side, and what each has of `all`: that is an
    /// item per slot.
    pub(super) fn for_parts<T: Send>(
        &self,
        threads: usize,
        all: &mut [T],
        work: impl Fn(Range<usize>, &mut [T]) + Sync,
    ) -> Result<()> {
        let parts = parts(&self.first, threads);
        let pieces = split(&self.first, &parts, all);
        for_all(threads, parts.into_iter().zip(pieces).collect(), |(entities, own)| {
            work(entities, own);
            Ok(())
        })
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    /// The first slot of `entity` at or after `time`.
    pub(super) fn at_or_after(&self, entity: u32, time: i64) -> Option<usize> {
        let entity = entity as usize;
        let (start, end) =
            (*self.first.get(entity)? as usize, *self.first.get(entity + 1)? as usize);
        let slot = start + self.times.get(start..end)?.partition_point(|slot| *slot < time);
        (slot < end).then_some(slot)
    }

    /// How many entities there are.
    pub(super) fn entities(&self) -> usize {
        self.first.len().saturating_sub(1)
    }

    /// The slots of an entity.
    pub(super) fn range(&self, entity: usize) -> Range<usize> {
        self.stretch(&(entity..entity + 1))
    }

    /// The slots of entities that stand side by side.
    pub(super) fn stretch(&self, entities: &Range<usize>) -> Range<usize> {
        let bound = |place: usize| self.first.get(place).map_or(0, |first| *first as usize);
        bound(entities.start)..bound(entities.end)
    }

    /// The slots of every entity.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let ends = self.first.iter().skip(1);
        self.first.iter().zip(ends).map(|(start, end)| *start as usize..*end as usize)
    }

    /// The instant of each slot, in µs.
    pub(super) fn times(&self) -> &[i64] {
        &self.times
    }

    /// What each row of the spine has of `all`, an item per slot; `none` for a row without a slot.
    pub(super) fn to_rows<T: Copy + Default + Send + Sync>(
        &self,
        threads: usize,
        all: &[T],
        none: T,
    ) -> Result<Vec<T>> {
        let mut rows = vec![T::default(); self.of_row.len()];
        let piece = rows.len().div_ceil(threads * PARTS_PER_THREAD).max(PART_SLOTS);
        let pieces = rows.chunks_mut(piece).zip(self.of_row.chunks(piece)).collect();
        for_all(threads, pieces, |(rows, slots)| {
            for (row, slot) in rows.iter_mut().zip(slots) {
                // No slot is as large as what stands for none.
                *row = all.get(*slot as usize).copied().unwrap_or(none);
            }
            Ok(())
        })?;
        Ok(rows)
    }

    /// The slot of each row of the spine.
    pub(super) fn of_rows(&self) -> impl ExactSizeIterator<Item = Option<usize>> + '_ {
        self.of_row.iter().map(|slot| (*slot != UNKNOWN).then_some(*slot as usize))
    }

    /// The instant that each row of the spine asks for; of a row without a slot, any.
    pub(super) fn times_of_rows(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let time = |slot: Option<usize>| slot.and_then(|slot| self.times.get(slot)).copied();
        self.of_rows().map(move |slot| Timestamp(time(slot).unwrap_or_default()))
    }

    /// The latest instant asked for.
    pub(super) fn last_time(&self) -> Option<Timestamp> {
        self.times.iter().max().map(|time| Timestamp(*time))
    }
}

/// The rows of some entities, one entity after the other, each by time. The entities count from
/// `start`; their rows lie between these bounds, if those of all stand in a row.
#[allow(clippy::indexing_slicing, reason = "each row has the place that was counted for it")]
fn sort_part(entities: &[u32], times: &[i64], start: u32, bounds: &[u32]) -> Vec<Asked> {
    let bounds: Vec<usize> = bounds.iter().map(|bound| (bound - bounds[0]) as usize).collect();
    let count = bounds.len() - 1;
    let mut next = bounds.clone();
    // Rows of others go to one place behind all: a branch would be guessed wrong for every other
    // row.
    let mut asked: Vec<Asked> = vec![(0, 0); bounds[count] + 1];
    for (row, (entity, time)) in (0..).zip(entities.iter().zip(times)) {
        let own = (entity.wrapping_sub(start) as usize).min(count);
        asked[next[own]] = (*time, row);
        next[own] += usize::from(own < count);
    }
    asked.pop();
    for bounds in bounds.windows(2) {
        asked[bounds[0]..bounds[1]].sort_unstable();
    }
    asked
}

/// The entities in stretches with about as many slots each.
fn parts(first: &[u32], threads: usize) -> Vec<Range<usize>> {
    let entities = first.len().saturating_sub(1);
    let slots = first.last().map_or(0, |slots| *slots as usize);
    let count = (slots / PART_SLOTS).clamp(1, threads * PARTS_PER_THREAD);
    let bound = |part: usize| match part {
        0 => 0,
        part if part == count => entities,
        part => first.partition_point(|first| (*first as usize) < slots / count * part),
    };
    (0..count).map(|part| bound(part)..bound(part + 1)).collect()
}

/// What each of `parts` has of `all`, which are items of slots.
fn split<'a, T>(first: &[u32], parts: &[Range<usize>], mut all: &'a mut [T]) -> Vec<&'a mut [T]> {
    let slot = |entity: usize| first.get(entity).map_or(0, |first| *first as usize);
    let slots = parts.iter().map(|part| slot(part.end) - slot(part.start));
    slots.map(|slots| all.split_off_mut(..slots).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_with_key_and_time_has_a_slot() {
        let times = Int64Array::from(vec![Some(20), Some(5), Some(10), Some(20), None, Some(1)]);
        for threads in [1, 3] {
            let slots = Slots::build(&[0, 1, 0, 0, 0, UNKNOWN], 2, &times, threads).unwrap();
            let of_rows: Vec<_> = slots.of_rows().collect();
            assert_eq!(of_rows, [Some(1), Some(3), Some(0), Some(2), None, None]);
            assert_eq!(slots.ranges().collect::<Vec<_>>(), [0..3, 3..4]);
            assert_eq!((slots.times(), slots.entities()), (&[10, 20, 20, 5][..], 2));
            let at = |time| slots.at_or_after(0, time);
            let expected = [Some(0), Some(0), Some(1), Some(1), None];
            assert_eq!([at(9), at(10), at(11), at(20), at(21)], expected);
            assert_eq!(slots.last_time(), Some(Timestamp(20)));
        }
    }

    #[test]
    fn an_empty_spine_has_no_slots() {
        let slots = Slots::build(&[], 0, &Int64Array::from(Vec::<i64>::new()), 2).unwrap();
        assert_eq!((slots.len(), slots.last_time()), (0, None));
    }
}
