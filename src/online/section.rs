//! A section of an entity's row: what stands of one view, as it is written now and as it was.
//!
//! ```text
//! now:  1     flags: 0x01 stamps differ, 0x02 states follow, 0x04 a created timestamp follows,
//!             0x08 there is none, 0x30 width of an end: 0 one byte, 0x10 two, 0x20 four,
//!             0x80 a section of the earlier form follows
//!       v     the bytes behind this number; view; generation; slots s        each a LEB128 varint
//!       8     event timestamp that all cells share; behind it the created one, with 0x04; without
//!             0x04 and 0x08 it is the event timestamp. With 0x01 instead of both: a varint n, n
//!             stamps of 16 bytes, for each slot the place of its stamp among them (one byte if n
//!             is at most 256, else two)
//!       s/4   states, two bits a slot, only with 0x02: 0 absent, 1 value, 2 null, 3 tombstone;
//!             without it every slot has a value
//!       n     values of fixed width, each at its place of `Layout`
//!       n     for each other slot where its bytes end, from the first byte of the text
//!       n     text: bytes of the others; integers and timestamps in as few as hold them
//! ```
//! The earlier form is what `docs/formats/rows.md` calls kind 3. A section of it stays as it is
//! until its view is written.

use super::{
    bytes::{bytes_at, i64_at, u16_at, u32_at, varint_at},
    layout::{Layout, Place},
    value_ref::ValueRef,
    words::Words,
};
use crate::feature::{Stamp, Timestamp, ViewId};
use std::ops::Range;

pub(super) const STAMPS_DIFFER: u8 = 0x01;
pub(super) const HAS_STATES: u8 = 0x02;
pub(super) const HAS_CREATED: u8 = 0x04;
pub(super) const NO_CREATED: u8 = 0x08;
pub(super) const END_WIDTH_SHIFT: u8 = 4;
pub(super) const END_WIDTH_BITS: u8 = 3;
/// In the table alone: some text is the number of a word.
pub(super) const HAS_WORDS: u8 = 0x40;
pub(super) const EARLIER_FORM: u8 = 0x80;
pub(super) const STAMP_BYTES: usize = 8 + 8;
/// With more stamps than this, a place takes two bytes.
pub(super) const SHORT_PLACES_MAX: usize = 256;
/// Of the earlier form: length, view, generation, slots, flags, the shared stamp.
const EARLIER_HEADER_BYTES: usize = 4 + 4 + 4 + 2 + 1 + STAMP_BYTES;
const EARLIER_FLAGS_AT: usize = 14;
const EARLIER_STAMP_AT: usize = 15;
const EARLIER_OWN_STAMPS: u8 = 1;

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellState {
    /// Nothing was ever written.
    Absent,
    /// A value.
    Value,
    /// Null.
    Null,
    /// It was deleted.
    Tombstone,
}

impl CellState {
    fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            1 => Self::Value,
            2 => Self::Null,
            3 => Self::Tombstone,
            _ => Self::Absent,
        }
    }
}

/// Where a section begins and whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    /// All of it, with its flags.
    pub(super) bytes: &'a [u8],
    pub(super) view: ViewId,
    pub(super) generation: u32,
    pub(super) slot_count: usize,
    pub(super) flags: u8,
    /// Where the stamps begin.
    pub(super) stamps_at: usize,
}

impl<'a> Head<'a> {
    /// The section that `bytes` begin with.
    #[inline]
    pub(super) fn first_of(bytes: &'a [u8]) -> Option<Self> {
        let flags = *bytes.first()?;
        if flags & EARLIER_FORM != 0 {
            return Self::earlier(bytes, 1);
        }
        let (rest_bytes, at) = varint_at(bytes, 1)?;
        let bytes = bytes.get(..at.checked_add(rest_bytes)?)?;
        let (view, at) = varint_at(bytes, at)?;
        let (generation, at) = varint_at(bytes, at)?;
        let (slot_count, stamps_at) = varint_at(bytes, at)?;
        let slot_count = usize::from(u16::try_from(slot_count).ok()?);
        let view = ViewId(u32::try_from(view).ok()?);
        let generation = u32::try_from(generation).ok()?;
        Some(Self { bytes, view, generation, slot_count, flags, stamps_at })
    }

    /// The section of the earlier form that begins at `at`, whatever stands before it.
    pub(super) fn earlier(bytes: &'a [u8], at: usize) -> Option<Self> {
        let section_bytes = u32_at(bytes, at)?;
        let bytes = bytes_at(bytes, 0, at.checked_add(section_bytes)?)?;
        let section = bytes.get(at..).filter(|all| all.len() >= EARLIER_HEADER_BYTES)?;
        Some(Self {
            bytes,
            view: ViewId(u32_at(section, 4)? as u32),
            generation: u32_at(section, 8)? as u32,
            slot_count: usize::from(u16_at(section, 12)?),
            flags: EARLIER_FORM,
            stamps_at: at,
        })
    }

    /// Whether any slot holds a value.
    pub(super) fn has_value(self) -> bool {
        if self.flags & (HAS_STATES | EARLIER_FORM) == 0 {
            return self.slot_count > 0;
        }
        let Some((states_at, _)) = self.places() else { return false };
        let has_value = |slot| state_of(self.bytes, states_at, slot) == CellState::Value;
        (0..self.slot_count).any(has_value)
    }

    /// Whether any text is a word.
    pub(super) fn has_words(self) -> bool {
        self.flags & HAS_WORDS != 0
    }

    /// Where the states begin, and what stands behind them.
    #[inline]
    fn places(self) -> Option<(usize, usize)> {
        let state_bytes = self.slot_count.div_ceil(4);
        if self.flags & EARLIER_FORM != 0 {
            let states_at = self.stamps_at + EARLIER_HEADER_BYTES;
            return Some((states_at, states_at + state_bytes));
        }
        let states_at = match self.flags & (STAMPS_DIFFER | HAS_CREATED) {
            0 => self.stamps_at + 8,
            HAS_CREATED => self.stamps_at + STAMP_BYTES,
            _ => {
                let (count, table_at) = varint_at(self.bytes, self.stamps_at)?;
                let place_bytes = if count > SHORT_PLACES_MAX { 2 } else { 1 };
                let places_at = table_at.checked_add(count.checked_mul(STAMP_BYTES)?)?;
                places_at.checked_add(self.slot_count.checked_mul(place_bytes)?)?
            }
        };
        let has_states = self.flags & HAS_STATES != 0;
        let behind = states_at.checked_add(if has_states { state_bytes } else { 0 })?;
        // From here on sums of places and lengths stay small.
        (behind <= self.bytes.len()).then_some((states_at, behind))
    }

    /// The times of the cells; `behind` is what stands behind the states.
    #[inline]
    fn stamps(self, behind: usize) -> Option<Stamps> {
        let Self { bytes, flags, stamps_at, .. } = self;
        if flags & EARLIER_FORM != 0 {
            let is_own = *bytes.get(stamps_at + EARLIER_FLAGS_AT)? & EARLIER_OWN_STAMPS != 0;
            return match is_own {
                true => Some(Stamps::Own(behind)),
                false => stamp_at(bytes, stamps_at + EARLIER_STAMP_AT).map(Stamps::Shared),
            };
        }
        if flags & STAMPS_DIFFER != 0 {
            let (count, table_at) = varint_at(bytes, stamps_at)?;
            let places_at = table_at.checked_add(count.checked_mul(STAMP_BYTES)?)?;
            let is_short = count <= SHORT_PLACES_MAX;
            return Some(Stamps::Table { table_at, places_at, is_short });
        }
        if flags & HAS_CREATED != 0 {
            return stamp_at(bytes, stamps_at).map(Stamps::Shared);
        }
        let event = Timestamp(i64_at(bytes, stamps_at)?);
        let created = if flags & NO_CREATED != 0 { None } else { Some(event) };
        Some(Stamps::Shared(Stamp::new(event, created)))
    }
}

#[inline]
fn state_of(bytes: &[u8], states_at: usize, slot: usize) -> CellState {
    let byte = bytes.get(states_at + slot / 4).copied().unwrap_or(0);
    CellState::from_bits(byte >> (slot % 4 * 2))
}

/// What stands of one view, opened: what its cells have in common is found out once.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    pub(super) head: Head<'a>,
    pub(super) stamps: Stamps,
    states_at: usize,
    pub(super) extent: Extent,
    /// What words of it say.
    words: Option<&'a Words>,
}

/// Where the values of a section stand, of the form it has now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Where those of fixed width begin.
    pub(super) fixed_at: usize,
    /// Where the ends of the others begin.
    ends_at: usize,
    end_bytes: usize,
    text_at: usize,
}

/// Where the times of the cells stand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stamps {
    /// They are the same.
    Shared(Stamp),
    /// Each slot has its own from here on: the earlier form.
    Own(usize),
    /// Each slot has the place of its own among those at `table_at`.
    Table { table_at: usize, places_at: usize, is_short: bool },
}

impl<'a> Section<'a> {
    /// Opens a section; `layout` is that of its view and generation.
    #[inline]
    pub(super) fn open(head: Head<'a>, layout: &Layout, words: Option<&'a Words>) -> Option<Self> {
        let (states_at, behind) = head.places()?;
        let stamps = head.stamps(behind)?;
        if head.flags & EARLIER_FORM != 0 {
            let own_bytes = match stamps {
                Stamps::Own(_) => head.slot_count * STAMP_BYTES,
                Stamps::Shared(_) | Stamps::Table { .. } => 0,
            };
            let (fixed_at, end) = (behind + own_bytes, head.bytes.len());
            let extent = Extent { fixed_at, ends_at: end, end_bytes: 1, text_at: end };
            return Some(Self { head, stamps, states_at, extent, words: None });
        }
        let (fixed_bytes, others) = layout.packed_extent(head.slot_count);
        let end_bytes = 1 << (head.flags >> END_WIDTH_SHIFT & END_WIDTH_BITS).min(2);
        let ends_at = behind + fixed_bytes;
        let text_at = ends_at + others * end_bytes;
        let words = words.filter(|_| head.flags & HAS_WORDS != 0);
        let extent = Extent { fixed_at: behind, ends_at, end_bytes, text_at };
        Some(Self { head, stamps, states_at, extent, words })
    }

    /// What `slot` holds.
    #[inline(always)]
    pub fn state(&self, slot: u32) -> CellState {
        let slot = slot as usize;
        if slot >= self.head.slot_count {
            CellState::Absent
        } else if self.head.flags & (HAS_STATES | EARLIER_FORM) == 0 {
            CellState::Value
        } else {
            state_of(self.head.bytes, self.states_at, slot)
        }
    }

    /// Whether every slot below `slots_end` has a value, and this is no section of the earlier
    /// form: then [`Self::value`] needs no [`Self::state`], and [`Self::fixed`] has them.
    #[inline]
    pub fn has_all_values(&self, slots_end: u32) -> bool {
        self.head.flags & (HAS_STATES | EARLIER_FORM) == 0
            && slots_end as usize <= self.head.slot_count
    }

    /// The bytes of values of fixed width that follow each other, from an offset of
    /// [`Layout::fixed_offset`] to another: of each of `runs`, if all of them stand there.
    #[inline]
    pub fn fixed<'o>(
        &self,
        runs: &'o [Range<u32>],
    ) -> Option<impl Iterator<Item = &'a [u8]> + use<'a, 'o>> {
        let values = self.head.bytes.get(self.extent.fixed_at..self.extent.ends_at)?;
        let run = |run: &Range<u32>| values.get(run.start as usize..run.end as usize);
        runs.iter().all(|it| run(it).is_some()).then(|| runs.iter().filter_map(run))
    }

    /// The times of all cells, unless a partial write made them differ.
    #[inline]
    pub fn shared_stamp(&self) -> Option<Stamp> {
        match self.stamps {
            Stamps::Shared(stamp) => Some(stamp),
            Stamps::Own(_) | Stamps::Table { .. } => None,
        }
    }

    /// The times of the cell in `slot`.
    #[inline]
    pub fn stamp(&self, slot: u32) -> Option<Stamp> {
        let (bytes, slot) = (self.head.bytes, slot as usize);
        match self.stamps {
            Stamps::Shared(stamp) => Some(stamp),
            Stamps::Own(first) => stamp_at(bytes, first + slot * STAMP_BYTES),
            Stamps::Table { table_at, places_at, is_short } => {
                let place = match is_short {
                    true => usize::from(*bytes.get(places_at + slot)?),
                    false => usize::from(u16_at(bytes, places_at + slot * 2)?),
                };
                stamp_at(bytes, table_at + place * STAMP_BYTES)
            }
        }
    }

    /// The value in `slot`, whose state says that there is one; `layout` is that of the section.
    /// Inlined, as is [`Section::state`]: a call costs more than what it does.
    #[inline(always)]
    pub fn value(&self, layout: &Layout, slot: u32) -> Option<ValueRef<'a>> {
        let place = layout.place(slot as usize)?;
        if self.head.flags & EARLIER_FORM != 0 {
            return self.earlier_value(place);
        }
        let value = self.head.bytes.get(self.extent.range(self.head.bytes, place)?)?;
        match self.words {
            Some(words) if place.is_text => {
                Some(ValueRef::new(place.value_type, words.text(value)?))
            }
            _ => Some(ValueRef::new(place.value_type, value)),
        }
    }

    /// Whether any text of it is a word.
    pub(super) fn has_words(&self) -> bool {
        self.head.has_words()
    }

    /// Where the ends of the values of no fixed width begin.
    pub(super) fn ends_at(&self) -> usize {
        self.extent.ends_at
    }

    /// Places and bytes of all values of no fixed width, as they stand; `None` of a section of the
    /// earlier form, and of one with more slots than `layout` knows or with bytes that are none.
    pub(super) fn others<'l>(&self, layout: &'l Layout) -> Option<Vec<(&'l Place, &'a [u8])>> {
        let slot_count = self.head.slot_count;
        if self.head.flags & EARLIER_FORM != 0 || slot_count > layout.slot_count() {
            return None;
        }
        let text = self.head.bytes.get(self.extent.text_at..)?;
        let mut start = 0;
        let others = layout.places(slot_count).iter().filter(|place| !place.is_fixed);
        let cell = |place: &'l Place| {
            let end = self.extent.end(self.head.bytes, place.rank)?;
            Some((place, text.get(std::mem::replace(&mut start, end)..end)?))
        };
        others.map(cell).collect()
    }

    #[inline(never)]
    fn earlier_value(&self, place: &Place) -> Option<ValueRef<'a>> {
        let (bytes, at) = (self.head.bytes, self.extent.fixed_at + place.offset);
        let value = if place.is_inline {
            bytes_at(bytes, at, place.width)?
        } else {
            let section = bytes.get(self.head.stamps_at..)?;
            bytes_at(section, u32_at(bytes, at)?, u32_at(bytes, at + 4)?)?
        };
        Some(ValueRef::new(place.value_type, value))
    }
}

impl Extent {
    /// Where the value of a slot stands in the bytes of the section.
    #[inline(always)]
    pub(super) fn range(self, bytes: &[u8], place: &Place) -> Option<Range<usize>> {
        if place.is_fixed {
            let at = self.fixed_at + place.packed_offset;
            return Some(at..at.checked_add(place.width)?);
        }
        let start = match place.rank.checked_sub(1) {
            Some(before) => self.end(bytes, before)?,
            None => 0,
        };
        Some(self.text_at + start..self.text_at + self.end(bytes, place.rank)?)
    }

    /// Where the bytes of a value of no fixed width end, from the first of the text.
    #[inline]
    fn end(self, bytes: &[u8], rank: usize) -> Option<usize> {
        let at = self.ends_at + rank * self.end_bytes;
        match self.end_bytes {
            1 => bytes.get(at).map(|end| usize::from(*end)),
            2 => u16_at(bytes, at).map(usize::from),
            _ => u32_at(bytes, at),
        }
    }
}

#[inline]
fn stamp_at(bytes: &[u8], at: usize) -> Option<Stamp> {
    let created = i64_at(bytes, at + 8)?;
    let created = (created != i64::MIN).then_some(Timestamp(created));
    Some(Stamp::new(Timestamp(i64_at(bytes, at)?), created))
}
