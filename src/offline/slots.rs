//! The spine by entity and time: for each entity the instants that it is asked for.
//!
//! ```text
//! entity 0       entity 1             first = [0, 3, 5]
//! 10  20  35     20  40               times = [10, 20, 35, 20, 40]
//! ```
//! Rows of the spine that ask for one entity at one instant share a slot.

use super::keys::UNKNOWN;
use crate::feature::Timestamp;
use arrow_array::{Array, Int64Array};
use std::ops::Range;

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

impl Slots {
    /// Sorts the rows of a spine: row `i` asks for entity `entities[i]` at `times[i]`. There are
    /// fewer than [`UNKNOWN`] rows, and entities are less than `entity_count`.
    #[allow(clippy::indexing_slicing, reason = "every vector is sized here from the same input")]
    pub(super) fn build(entities: &[u32], entity_count: usize, times: &Int64Array) -> Self {
        let known =
            |row: usize| entities[row] != UNKNOWN && times.is_valid(row) && row < times.len();
        let mut ends = vec![0_u32; entity_count + 1];
        for row in (0..entities.len()).filter(|row| known(*row)) {
            ends[entities[row] as usize + 1] += 1;
        }
        for entity in 0..entity_count {
            ends[entity + 1] += ends[entity];
        }
        let mut next = ends.clone();
        let mut asked = vec![(0_i64, 0_u32); ends[entity_count] as usize];
        for row in (0..entities.len()).filter(|row| known(*row)) {
            let place = &mut next[entities[row] as usize];
            asked[*place as usize] = (times.value(row), row as u32);
            *place += 1;
        }
        let mut slots = Self {
            first: Vec::with_capacity(entity_count + 1),
            times: Vec::with_capacity(asked.len()),
            of_row: vec![UNKNOWN; entities.len()],
        };
        for entity in 0..entity_count {
            let start = slots.times.len();
            slots.first.push(start as u32);
            let asked = &mut asked[ends[entity] as usize..ends[entity + 1] as usize];
            asked.sort_unstable();
            for (time, row) in asked {
                if slots.times.len() == start || slots.times.last() != Some(time) {
                    slots.times.push(*time);
                }
                slots.of_row[*row as usize] = (slots.times.len() - 1) as u32;
            }
        }
        slots.first.push(slots.times.len() as u32);
        slots
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    /// The first slot of `entity` at or after `time`.
    #[inline]
    #[allow(clippy::indexing_slicing, reason = "entities and slots are those of `build`")]
    pub(super) fn at_or_after(&self, entity: u32, time: i64) -> Option<usize> {
        let (start, end) =
            (self.first[entity as usize] as usize, self.first[entity as usize + 1] as usize);
        let slot = start + self.times[start..end].partition_point(|slot| *slot < time);
        (slot < end).then_some(slot)
    }

    /// The first slot of `entity` at or after `time`, with the times that it is first for: after
    /// the one, and not after the other. Behind the last slot lies [`UNKNOWN`]. `last` is where
    /// the entity's last row fell: the next slot is looked at before all others.
    #[inline]
    #[allow(clippy::indexing_slicing, reason = "entities and slots are those of `build`")]
    pub(super) fn interval(&self, entity: u32, time: i64, last: u32) -> (u32, i64, i64) {
        let (start, end) =
            (self.first[entity as usize] as usize, self.first[entity as usize + 1] as usize);
        let next = (last as usize).wrapping_add(1);
        let is_next = last != UNKNOWN
            && next < end
            && self.times[next] >= time
            && self.times[last as usize] < time;
        let slot = if is_next {
            next
        } else {
            start + self.times[start..end].partition_point(|slot| *slot < time)
        };
        let after = if slot == start { i64::MIN } else { self.times[slot - 1] };
        if slot < end { (slot as u32, after, self.times[slot]) } else { (UNKNOWN, after, i64::MAX) }
    }

    /// The slots of every entity.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let ends = self.first.iter().skip(1);
        self.first.iter().zip(ends).map(|(start, end)| *start as usize..*end as usize)
    }

    /// The instant of each slot.
    pub(super) fn times(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.times.iter().map(|time| Timestamp(*time))
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
        self.times().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_entity_and_instant_share_a_slot() {
        let times = Int64Array::from(vec![Some(20), Some(5), Some(10), Some(20), None, Some(1)]);
        let slots = Slots::build(&[0, 1, 0, 0, 0, UNKNOWN], 2, &times);
        let of_rows: Vec<_> = slots.of_rows().collect();
        assert_eq!(of_rows, [Some(1), Some(2), Some(0), Some(1), None, None]);
        assert_eq!(slots.ranges().collect::<Vec<_>>(), [0..2, 2..3]);
        let at = |time| slots.at_or_after(0, time);
        assert_eq!(
            [at(9), at(10), at(11), at(20), at(21)],
            [Some(0), Some(0), Some(1), Some(1), None]
        );
        assert_eq!(slots.last_time(), Some(Timestamp(20)));
        for last in [UNKNOWN, 0, 1] {
            let interval = |time| slots.interval(0, time, last);
            assert_eq!(interval(9), (0, i64::MIN, 10));
            assert_eq!([interval(11), interval(20)], [(1, 10, 20); 2]);
            assert_eq!(interval(21), (UNKNOWN, 20, i64::MAX));
        }
    }

    #[test]
    fn an_empty_spine_has_no_slots() {
        let slots = Slots::build(&[], 0, &Int64Array::from(Vec::<i64>::new()));
        assert_eq!((slots.len(), slots.last_time()), (0, None));
    }
}
