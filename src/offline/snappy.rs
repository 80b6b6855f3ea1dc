//! Values out of a packed page without unpacking it.
//!
//! ```text
//! packed      5 "abcde"   copy 4 from 3 back    60000 "…"         each a tag, and bytes or none
//! unpacked     a b c d e  c d e c               …
//! ```
//! Numbers that hardly repeat are packed as long literals, one after the other: where a value
//! stands is found by a walk over their tags, and then it is there to be read. A value that is not
//! within literals takes unpacking. The walk goes on to the end, so what is damaged is found as
//! often as by unpacking.
//! <https://github.com/google/snappy/blob/main/format_description.txt>

use bytes::Bytes;
use snap::raw::{Decoder, decompress_len};

/// A packed part of a page.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    bytes: Bytes,
    /// How many bytes it has unpacked, the page says.
    unpacked: usize,
    /// Where in these what matters begins.
    from: usize,
}

impl Packed {
    pub(super) fn new(bytes: Bytes, unpacked: usize) -> Self {
        Self { bytes, unpacked, from: 0 }
    }

    /// The same from byte `from` on.
    pub(super) fn behind(self, from: usize) -> Option<Self> {
        (from <= self.unpacked).then_some(Self { from, ..self })
    }

    /// How many bytes there are unpacked.
    pub(super) fn len(&self) -> usize {
        self.unpacked - self.from
    }

    /// All of them; `None` if they make no sense or are not as many.
    pub(super) fn unpack(&self) -> Option<Bytes> {
        // A page without values may have no bytes at all.
        if self.unpacked == 0 {
            return Some(Bytes::new());
        }
        if decompress_len(&self.bytes).ok()? != self.unpacked {
            return None;
        }
        let mut unpacked = vec![0; self.unpacked];
        let written = Decoder::new().decompress(&self.bytes, &mut unpacked).ok()?;
        (written == self.unpacked).then(|| Bytes::from(unpacked).slice(self.from..))
    }

    /// Goes through what lies in literals; `None` if it has not the length that the page says.
    pub(super) fn literals(&self) -> Option<Literals<'_>> {
        let mut rest: &[u8] = &self.bytes;
        let mut length = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = *rest.split_off_first()?;
            length |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let is_told = length == self.unpacked as u64;
                let literals = Literals { rest, first: self.from, start: 0, end: 0, literal: &[] };
                return is_told.then_some(literals);
            }
        }
        None
    }
}

/// The elements of a packed page, from the first to the last.
#[derive(Debug)]
pub(super) struct Literals<'a> {
    /// Behind the current element.
    rest: &'a [u8],
    /// Where what matters begins.
    first: usize,
    /// Which bytes the current element unpacks to.
    start: usize,
    end: usize,
    /// These, if it is a literal.
    literal: &'a [u8],
}

impl Literals<'_> {
    /// Reads what stands at `at`, which is no less than that of the last read; `None` if that is
    /// not all in literals.
    pub(super) fn read(&mut self, at: usize, out: &mut [u8]) -> Option<()> {
        let mut at = self.first.checked_add(at)?;
        let mut out = out;
        while !out.is_empty() {
            while self.end <= at {
                self.next()?;
            }
            let bytes = self.literal.get(at.checked_sub(self.start)?..)?;
            let count = bytes.len().min(out.len());
            if count == 0 {
                return None;
            }
            out.split_off_mut(..count)?.copy_from_slice(bytes.get(..count)?);
            at += count;
        }
        Some(())
    }

    /// Walks on to the end; `None` if it is not that of so many bytes as were told.
    pub(super) fn finish(mut self, packed: &Packed) -> Option<()> {
        while !self.rest.is_empty() {
            self.next()?;
        }
        (self.end == packed.unpacked).then_some(())
    }

    fn next(&mut self) -> Option<()> {
        let tag = usize::from(*self.rest.split_off_first()?);
        self.start = self.end;
        self.literal = &[];
        let (length, offset) = match tag & 3 {
            0 => {
                let length = match tag >> 2 {
                    short @ 0..60 => short + 1,
                    long => self.number(long - 59)? + 1,
                };
                self.literal = self.rest.split_off(..length)?;
                self.end += length;
                return Some(());
            }
            1 => (4 + (tag >> 2 & 7), tag >> 5 << 8 | self.number(1)?),
            2 => ((tag >> 2) + 1, self.number(2)?),
            _ => ((tag >> 2) + 1, self.number(4)?),
        };
        self.end += length;
        (1..=self.start).contains(&offset).then_some(())
    }

    /// The next so many bytes as a number.
    fn number(&mut self, bytes: usize) -> Option<usize> {
        let mut number = [0; 8];
        number.get_mut(..bytes)?.copy_from_slice(self.rest.split_off(..bytes)?);
        usize::try_from(u64::from_le_bytes(number)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use snap::raw::Encoder;

    fn noise(seed: &mut u64) -> impl Iterator<Item = u64> {
        std::iter::repeat_with(|| {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
            *seed
        })
    }

    /// Bytes that pack well, badly, or partly.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            vec(any::<u8>(), 0..300),
            (any::<u8>(), 0_usize..300).prop_map(|(byte, count)| vec![byte; count]),
            (any::<u64>(), 60_000_usize..70_000).prop_map(|(mut seed, count)| noise(&mut seed)
                .take(count)
                .map(|word| (word >> 56) as u8)
                .collect()),
        ];
        vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    /// What the walk finds at these places, if it gets there; and whether it ends as it should.
    fn walk(packed: &Packed, places: &[(usize, usize)]) -> (Vec<Option<Vec<u8>>>, bool) {
        let Some(mut literals) = packed.literals() else { return (Vec::new(), false) };
        let read = places.iter().map(|(at, length)| {
            let mut out = vec![0; *length];
            literals.read(*at, &mut out).map(|()| out)
        });
        let read = read.collect();
        (read, literals.finish(packed).is_some())
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_unpacking_gives(
            bytes in bytes(),
            places in vec((any::<prop::sample::Index>(), 1_usize..9), 0..40),
            from in 0_usize..9,
        ) {
            let from = from.min(bytes.len());
            let packed = Encoder::new().compress_vec(&bytes).unwrap();
            let packed = Packed::new(packed.into(), bytes.len()).behind(from).unwrap();
            prop_assert_eq!(packed.unpack().unwrap(), &bytes[from..]);
            prop_assert_eq!(packed.len(), bytes.len() - from);
            let mut places: Vec<(usize, usize)> =
                places.iter().map(|(at, length)| (at.index(bytes.len() + 1), *length)).collect();
            places.sort_unstable();
            let (read, is_whole) = walk(&packed, &places);
            prop_assert!(is_whole);
            for ((at, length), read) in places.iter().zip(read) {
                let expected = bytes[from..].get(*at..at + length);
                prop_assert!(read.is_none() || read.as_deref() == expected);
            }
        }

        #[test]
        fn the_walk_finds_damage_where_unpacking_does(
            bytes in bytes(),
            flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            claimed in prop_oneof![Just(0_isize), -2_isize..3],
        ) {
            let mut packed = Encoder::new().compress_vec(&bytes).unwrap();
            for (at, byte) in flips {
                let at = at.index(packed.len());
                packed[at] = byte;
            }
            let claimed = bytes.len().saturating_add_signed(claimed);
            let packed = Packed::new(packed.into(), claimed);
            if claimed > 0 {
                prop_assert_eq!(walk(&packed, &[]).1, packed.unpack().is_some());
            }
        }
    }

    #[test]
    fn values_of_numbers_that_do_not_repeat_are_found_across_literals() {
        let number = |word: u64| f64::from_bits(0x3fe0_0000_0000_0000 | word >> 12);
        let numbers: Vec<f64> = noise(&mut 7).map(number).take(30_000).collect();
        let head = [9, 0, 0, 0, 1];
        let values = numbers.iter().flat_map(|number| number.to_le_bytes());
        let bytes: Vec<u8> = head.into_iter().chain(values).collect();
        let packed = Encoder::new().compress_vec(&bytes).unwrap();
        let packed = Packed::new(packed.into(), bytes.len()).behind(5).unwrap();
        let places: Vec<(usize, usize)> = (0..30_000).map(|place| (place * 8, 8)).collect();
        let (read, is_whole) = walk(&packed, &places);
        assert!(is_whole);
        let found = read.iter().flatten().count();
        assert!(found > 29_000, "{found} of 30,000");
        for (number, read) in numbers.iter().zip(read) {
            assert!(read.is_none_or(|read| read == number.to_le_bytes()));
        }
    }
}
