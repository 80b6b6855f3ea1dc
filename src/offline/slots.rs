//! The spine by entity and time: for each entity the instants that it is asked for.
//!
//! ```text
//! entity 0       entity 1             first = [0, 3, 5]
//! 10  20  35     20  40               times = [10, 20, 35, 20, 40]
//! ```
//! Each row of the spine has a slot of its own. Of slots of one entity and one instant the first is
//! the one that rows of the history fall into, and its answer is carried forward to the others.

use super::keys::UNKNOWN;
use crate::{error::Result, feature::Timestamp, parallel::for_each};
use arrow_array::{Array, Int64Array};
use parking_lot::Mutex;
use std::ops::Range;

/// The spine is sorted in so many parts for each thread, so that none has to wait long.
const PARTS_PER_THREAD: usize = 8;

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
        let known =
            |row: usize| entities[row] != UNKNOWN && times.is_valid(row) && row < times.len();
        let mut first = vec![0_u32; entity_count + 1];
        for row in (0..entities.len()).filter(|row| known(*row)) {
            first[entities[row] as usize + 1] += 1;
        }
        for entity in 0..entity_count {
            first[entity + 1] += first[entity];
        }
        let mut next = first.clone();
        let mut asked: Vec<Asked> = vec![(0, 0); first[entity_count] as usize];
        for row in (0..entities.len()).filter(|row| known(*row)) {
            let place = &mut next[entities[row] as usize];
            asked[*place as usize] = (times.value(row), row as u32);
            *place += 1;
        }
        sort_each(&mut asked, &first, threads)?;
        let mut of_row = vec![UNKNOWN; entities.len()];
        for (slot, (_, row)) in (0..).zip(&asked) {
            of_row[*row as usize] = slot;
        }
        Ok(Self { first, times: asked.iter().map(|(time, _)| *time).collect(), of_row })
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
        let bound = |place: usize| self.first.get(place).map_or(0, |first| *first as usize);
        bound(entity)..bound(entity + 1)
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

/// Sorts the rows of each entity by their times.
fn sort_each(mut asked: &mut [Asked], first: &[u32], threads: usize) -> Result<()> {
    let rows_per_part = asked.len().div_ceil(threads * PARTS_PER_THREAD).max(1);
    let mut parts: Vec<Mutex<Vec<&mut [Asked]>>> = Vec::new();
    let mut rows_left = 0_usize;
    for (start, end) in first.iter().zip(first.iter().skip(1)) {
        let (own, rest) = asked.split_at_mut((end - start) as usize);
        asked = rest;
        if rows_left == 0 {
            parts.push(Mutex::default());
            rows_left = rows_per_part;
        }
        rows_left = rows_left.saturating_sub(own.len());
        if let Some(part) = parts.last_mut() {
            part.get_mut().push(own);
        }
    }
    for_each(
        threads,
        parts.len(),
        || (),
        |(), part| {
            let part = parts.get(part).map(|part| std::mem::take(&mut *part.lock()));
            part.into_iter().flatten().for_each(|rows| rows.sort_unstable());
            Ok(())
        },
    )
    .map(drop)
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
