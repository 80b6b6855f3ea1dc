//! The bytes of the packed rows of a shard, one behind the other, without an allocation for each.
//!
//! ```text
//! segment   [record][record][record] ...        16 KiB, from the pool that all shards share
//! record    2   bits 0..11 the length of the row, 12..14 bytes of padding, 15 whether it is dead
//!           n   the row
//!           p   padding: what a shorter row left when it took the place of a longer one
//! ```
//! A row that changes and no longer fits its place is written anew at the end, and its record is
//! dead. Once an eighth of all bytes is dead, the owner takes out the segment with most of them,
//! writes what is alive in it anew, and gives it back: one segment a write, so no write waits long.
//!
//! A row is known by its place, which stays the same until the owner moves it: number of the
//! segment, then where in it the record begins.

use super::{
    prefetch::prefetch,
    segment_pool::{SEGMENT_BYTES, SegmentPool},
};
use bytes::BytesMut;
use std::sync::Arc;

/// A longer row is better off with an allocation of its own.
pub(super) const ROW_BYTES_MAX: usize = 2048;
/// What a row takes beside its bytes.
pub(super) const HEAD_BYTES: usize = 2;

/// So many lines of a row are asked for ahead; the processor sees by itself that more are read.
const ROW_LINES: usize = 4;

const OFFSET_BITS: u32 = 14;
const _: () = assert!(SEGMENT_BYTES <= 1 << OFFSET_BITS);
/// The highest bit of a place is not ours.
const SEGMENTS_MAX: usize = 1 << (u32::BITS - 1 - OFFSET_BITS);

const LENGTH_BITS: u16 = 0x0fff;
const PADDING_SHIFT: u32 = 12;
const PADDING_MAX: usize = 7;
const DEAD: u16 = 0x8000;
const _: () = assert!(ROW_BYTES_MAX + PADDING_MAX <= LENGTH_BITS as usize);

/// One part in so many may be dead, and so many bytes beside.
const DEAD_PART: usize = 8;
const DEAD_BYTES_MIN: usize = SEGMENT_BYTES / 2;
/// So many segments are looked at for the one with most dead bytes.
const LOOKED_AT: usize = 16;

/// The packed rows of a shard.
#[derive(Debug)]
pub(super) struct Segments {
    pool: Arc<SegmentPool>,
    segments: Vec<Segment>,
    /// Numbers of segments without bytes.
    vacant: Vec<usize>,
    /// The number of the one that rows are appended to.
    open: usize,
    /// Of all segments: bytes written, and those of them that are dead.
    bytes: usize,
    dead_bytes: usize,
    /// Where the search for dead bytes goes on.
    next_looked_at: usize,
}

#[derive(Debug, Default)]
struct Segment {
    bytes: BytesMut,
    dead_bytes: usize,
}

/// A segment that was taken out, and its number.
#[derive(Debug)]
pub(super) struct Taken {
    number: usize,
    bytes: BytesMut,
}

/// What the two bytes in front of a row say.
#[derive(Clone, Copy)]
struct Head(u16);

impl Head {
    fn new(row_bytes: usize, padding: usize) -> Self {
        debug_assert!(row_bytes <= ROW_BYTES_MAX + PADDING_MAX && padding <= PADDING_MAX);
        Self(row_bytes as u16 | (padding as u16) << PADDING_SHIFT)
    }

    #[inline]
    fn row_bytes(self) -> usize {
        usize::from(self.0 & LENGTH_BITS)
    }

    fn padding(self) -> usize {
        usize::from(self.0 >> PADDING_SHIFT) & PADDING_MAX
    }

    fn is_dead(self) -> bool {
        self.0 & DEAD != 0
    }

    fn room(self) -> usize {
        self.row_bytes() + self.padding()
    }

    fn record_bytes(self) -> usize {
        HEAD_BYTES + self.room()
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        self.pool.give(self.segments.drain(..).map(|segment| segment.bytes));
    }
}

impl Segments {
    /// No rows.
    pub(super) fn new(pool: Arc<SegmentPool>) -> Self {
        let (segments, vacant) = (Vec::new(), Vec::new());
        Self { pool, segments, vacant, open: 0, bytes: 0, dead_bytes: 0, next_looked_at: 0 }
    }

    /// The row at a place.
    #[inline]
    pub(super) fn row(&self, place: u32) -> Option<&[u8]> {
        let (number, offset) = parts(place);
        let record = self.segments.get(number)?.bytes.get(offset..)?;
        let (head, rest) = record.split_first_chunk()?;
        rest.get(..Head(u16::from_le_bytes(*head)).row_bytes())
    }

    /// Asks for the row at a place.
    #[inline]
    pub(super) fn fetch(&self, place: u32) {
        let (number, offset) = parts(place);
        let segment = self.segments.get(number);
        prefetch(segment.and_then(|it| it.bytes.get(offset..)).unwrap_or_default(), ROW_LINES);
    }

    /// Writes a row of at most [`ROW_BYTES_MAX`] bytes behind the last; its place, or `None` if
    /// there are as many rows as places can tell apart.
    pub(super) fn append(&mut self, row: &[u8]) -> Option<u32> {
        let needed = HEAD_BYTES + row.len();
        let has_room = |open: &Segment| open.bytes.len() + needed <= open.bytes.capacity();
        if !self.segments.get(self.open).is_some_and(has_room) {
            self.begin_segment();
        }
        let number = u32::try_from(self.open).ok().filter(|_| self.open < SEGMENTS_MAX)?;
        let bytes = &mut self.segments.get_mut(self.open)?.bytes;
        let place = number << OFFSET_BITS | bytes.len() as u32;
        bytes.extend_from_slice(&Head::new(row.len(), 0).0.to_le_bytes());
        bytes.extend_from_slice(row);
        self.bytes += needed;
        Some(place)
    }

    fn begin_segment(&mut self) {
        self.open = self.vacant.pop().unwrap_or(self.segments.len());
        if self.open == self.segments.len() {
            self.segments.reserve_exact(self.open / 8 + 1);
            self.segments.push(Segment::default());
        }
        if let Some(open) = self.segments.get_mut(self.open) {
            open.bytes = self.pool.take();
        }
    }

    /// Writes a row over the one at `place`; false, and nothing is changed, if it does not fit.
    pub(super) fn replace(&mut self, place: u32, row: &[u8]) -> bool {
        let Some((record, head)) = self.record_mut(place) else { return false };
        let padding = head.room().checked_sub(row.len());
        let Some(padding) = padding.filter(|padding| *padding <= PADDING_MAX) else { return false };
        let (start, rest) = record.split_at_mut(HEAD_BYTES);
        start.copy_from_slice(&Head::new(row.len(), padding).0.to_le_bytes());
        if let Some(standing) = rest.get_mut(..row.len()) {
            standing.copy_from_slice(row);
        }
        true
    }

    /// The row at `place`, to be changed.
    pub(super) fn row_mut(&mut self, place: u32) -> Option<&mut [u8]> {
        let (record, head) = self.record_mut(place)?;
        record.get_mut(HEAD_BYTES..HEAD_BYTES + head.row_bytes())
    }

    /// The row at `place` is no more.
    pub(super) fn remove(&mut self, place: u32) {
        let Some((record, head)) = self.record_mut(place) else { return };
        if let Some(start) = record.get_mut(..HEAD_BYTES) {
            start.copy_from_slice(&(head.0 | DEAD).to_le_bytes());
        }
        let (number, _) = parts(place);
        if let Some(segment) = self.segments.get_mut(number) {
            segment.dead_bytes += head.record_bytes();
            self.dead_bytes += head.record_bytes();
        }
    }

    /// Takes out a segment of which much is dead, if much of all is: its rows are to be written
    /// anew, and it is to be given back by [`Segments::free`].
    pub(super) fn take_dead(&mut self) -> Option<Taken> {
        if self.dead_bytes < self.bytes / DEAD_PART + DEAD_BYTES_MIN {
            return None;
        }
        let count = self.segments.len();
        let looked_at = (0..count.min(LOOKED_AT)).map(|step| (self.next_looked_at + step) % count);
        let dead_bytes = |number: usize| self.segments.get(number).map_or(0, |it| it.dead_bytes);
        let closed = looked_at.filter(|number| *number != self.open);
        let number = closed.max_by_key(|number| dead_bytes(*number));
        self.next_looked_at = (self.next_looked_at + LOOKED_AT) % count.max(1);
        // Little would come of one with less.
        let number = number.filter(|number| dead_bytes(*number) > SEGMENT_BYTES / DEAD_PART / 2)?;
        let segment = std::mem::take(self.segments.get_mut(number)?);
        self.bytes -= segment.bytes.len();
        self.dead_bytes -= segment.dead_bytes;
        Some(Taken { number, bytes: segment.bytes })
    }

    /// A segment that was taken is no longer needed.
    pub(super) fn free(&mut self, taken: Taken) {
        self.vacant.push(taken.number);
        self.pool.give(std::iter::once(taken.bytes));
    }

    /// Place and bytes of each row, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let numbered = self.segments.iter().enumerate();
        numbered.flat_map(|(number, segment)| rows(number, &segment.bytes))
    }

    /// The bytes of all rows and their heads, and what it takes to know the segments.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes - self.dead_bytes + self.segments.capacity() * size_of::<Segment>()
    }

    /// The record at `place` and its head.
    fn record_mut(&mut self, place: u32) -> Option<(&mut [u8], Head)> {
        let (number, offset) = parts(place);
        let record = self.segments.get_mut(number)?.bytes.get_mut(offset..)?;
        let head = Head(u16::from_le_bytes(*record.first_chunk()?));
        Some((record.get_mut(..head.record_bytes())?, head))
    }
}

impl Taken {
    /// Place and bytes of each row of it.
    pub(super) fn rows(&self) -> impl Iterator<Item = (u32, &[u8])> {
        rows(self.number, &self.bytes)
    }
}

#[inline]
fn parts(place: u32) -> (usize, usize) {
    ((place >> OFFSET_BITS) as usize, (place & ((1 << OFFSET_BITS) - 1)) as usize)
}

/// The rows of a segment that are alive.
fn rows(number: usize, bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut at = 0;
    let records = std::iter::from_fn(move || {
        let (start, rest) = bytes.get(at..)?.split_first_chunk()?;
        let head = Head(u16::from_le_bytes(*start));
        let place = (number as u32) << OFFSET_BITS | at as u32;
        at += head.record_bytes();
        Some((head, place, rest.get(..head.row_bytes())?))
    });
    records.filter(|(head, ..)| !head.is_dead()).map(|(_, place, row)| (place, row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[derive(Clone, Debug)]
    enum Step {
        Append(usize),
        Replace(usize, usize),
        Remove(usize),
        TakeDead,
    }

    fn step() -> impl Strategy<Value = Step> {
        let length = || prop_oneof![4 => 0..300_usize, 1 => 0..=ROW_BYTES_MAX];
        prop_oneof![
            4 => length().prop_map(Step::Append),
            3 => (any::<usize>(), length()).prop_map(|(any, length)| Step::Replace(any, length)),
            2 => any::<usize>().prop_map(Step::Remove),
            1 => Just(Step::TakeDead),
        ]
    }

    fn row(seed: usize, length: usize) -> Vec<u8> {
        (0..length).map(|at| (seed * 31 + at) as u8).collect()
    }

    proptest! {
        #[test]
        fn segments_are_a_map_from_place_to_row(steps in prop::collection::vec(step(), 1..300)) {
            let mut segments = Segments::new(Arc::default());
            let mut model = HashMap::<u32, Vec<u8>>::new();
            let any_place = |model: &HashMap<u32, Vec<u8>>, any: usize| {
                let mut places: Vec<u32> = model.keys().copied().collect();
                places.sort_unstable();
                places.get(any.checked_rem(places.len())?).copied()
            };
            for (seed, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Append(length) => {
                        let row = row(seed, length);
                        let place = segments.append(&row).unwrap();
                        prop_assert_eq!(model.insert(place, row), None);
                    }
                    Step::Replace(any, length) => if let Some(place) = any_place(&model, any) {
                        // Near the length that stands, or of any.
                        let old = model[&place].len();
                        let near = old.saturating_sub(length % 9);
                        let length = if seed % 2 == 0 { near } else { length };
                        let row = row(seed, length);
                        if segments.replace(place, &row) {
                            model.insert(place, row);
                        } else {
                            prop_assert!(old != length);
                        }
                    },
                    Step::Remove(any) => if let Some(place) = any_place(&model, any) {
                        segments.remove(place);
                        model.remove(&place);
                    },
                    Step::TakeDead => if let Some(taken) = segments.take_dead() {
                        for (place, row) in taken.rows() {
                            let old = model.remove(&place);
                            prop_assert_eq!(old.as_deref(), Some(row));
                            let place = segments.append(row).unwrap();
                            prop_assert_eq!(model.insert(place, row.to_vec()), None);
                        }
                        segments.free(taken);
                    },
                }
                let standing: HashMap<_, _> =
                    segments.iter().map(|(place, row)| (place, row.to_vec())).collect();
                prop_assert_eq!(&standing, &model);
                for (place, row) in &model {
                    prop_assert_eq!(segments.row(*place), Some(&row[..]));
                }
                let alive: usize = model.values().map(|row| HEAD_BYTES + row.len()).sum();
                let memory = segments.memory_bytes();
                prop_assert!(memory >= alive, "{} of {}", memory, alive);
            }
        }
    }

    #[test]
    fn rows_that_change_their_length_leave_an_eighth_dead_and_no_more() {
        let mut segments = Segments::new(Arc::default());
        let rows = (0..1000).map(|seed| row(seed, 170));
        let mut places: Vec<u32> = rows.map(|row| segments.append(&row).unwrap()).collect();
        for round in 0..50_000 {
            let at = round * 7919 % 1000;
            segments.remove(places[at]);
            places[at] = segments.append(&row(at, 150 + round % 40)).unwrap();
            if let Some(taken) = segments.take_dead() {
                for (place, row) in taken.rows() {
                    let moved = segments.append(row).unwrap();
                    *places.iter_mut().find(|other| **other == place).unwrap() = moved;
                }
                segments.free(taken);
            }
        }
        let count = segments.segments.len() - segments.vacant.len();
        let held = count * SEGMENT_BYTES;
        let alive: usize = segments.iter().map(|(_, row)| HEAD_BYTES + row.len()).sum();
        assert!(held < alive + alive / 4, "{held} for {alive}");
    }
}
