//! The runs that Parquet packs levels and dictionary codes in, as many numbers at a time as asked.
//!
//! ```text
//! varint 2n        then one number in as few bytes as hold it: n times that number
//! varint 2n + 1    then n times 8 numbers, each as many bits wide as the page says, lowest first
//! ```
//! A number can be picked out without unpacking those before it: only the heads of runs are read.
//! From the hybrid encoding of <https://parquet.apache.org/docs/file-format/data-pages/encodings>.

use bytes::Bytes;

/// A page of runs, read from its beginning.
pub(super) struct Runs {
    bytes: Bytes,
    /// The next byte behind the current run.
    at: usize,
    /// The bits of a number, at most 32.
    width: usize,
    run: Run,
}

enum Run {
    Repeated {
        number: u32,
        left: usize,
    },
    /// The next number begins at this bit of the page.
    Packed {
        bit: usize,
        left: usize,
    },
}

impl Runs {
    /// Numbers of so many bits; `None` if they are wider than 32.
    pub(super) fn new(bytes: Bytes, width: u8) -> Option<Self> {
        let run = Run::Repeated { number: 0, left: 0 };
        (width <= 32).then_some(Self { bytes, at: 0, width: width.into(), run })
    }

    /// Whether the next `count` numbers are known to be `wanted`, which are then taken.
    pub(super) fn take_all_of(&mut self, wanted: u32, count: usize) -> bool {
        if let Run::Repeated { left: 0, .. } = self.run
            && self.next_run().is_none()
        {
            return false;
        }
        match &mut self.run {
            Run::Repeated { number, left } if *number == wanted && *left >= count => {
                *left -= count;
                true
            }
            _ => false,
        }
    }

    /// Appends the next `count` numbers to `out`; `None` if there are not as many.
    pub(super) fn read(&mut self, mut count: usize, out: &mut Vec<u32>) -> Option<()> {
        while count > 0 {
            let taken = match &mut self.run {
                Run::Repeated { left: 0, .. } | Run::Packed { left: 0, .. } => {
                    self.next_run()?;
                    continue;
                }
                Run::Repeated { number, left } => {
                    let taken = count.min(*left);
                    out.resize(out.len() + taken, *number);
                    *left -= taken;
                    taken
                }
                Run::Packed { bit, left } => {
                    let taken = count.min(*left);
                    unpack(&self.bytes, *bit, self.width, taken, out)?;
                    *bit += taken * self.width;
                    *left -= taken;
                    taken
                }
            };
            count -= taken;
        }
        Some(())
    }

    /// Appends the numbers at `places`, which ascend; the next number has place 0. What is left of
    /// the page begins somewhere behind them. `None` if there are not as many.
    pub(super) fn pick(
        &mut self,
        places: impl Iterator<Item = usize>,
        out: &mut Vec<u32>,
    ) -> Option<()> {
        // The place of the first number that the current run has left.
        let mut first = 0_usize;
        for place in places {
            let mut left = self.left();
            while place - first >= left {
                first += left;
                self.next_run()?;
                left = self.left();
            }
            out.push(match &self.run {
                Run::Repeated { number, .. } => *number,
                Run::Packed { bit, .. } => {
                    let bit = bit + (place - first) * self.width;
                    bits_at(&self.bytes, bit, self.width)? as u32
                }
            });
        }
        Some(())
    }

    /// Tells of each of `places`, which ascend, whether the number there is 1 and how many before
    /// it are; the next number has place 0. All have one bit. What is left of the page begins
    /// behind the last place. `None` if there are not as many.
    pub(super) fn rank(
        &mut self,
        places: impl Iterator<Item = usize>,
        mut each: impl FnMut(bool, usize),
    ) -> Option<()> {
        let (mut next, mut ones) = (0, 0);
        for place in places {
            ones += self.take_ones(place - next)?;
            let is_one = self.take_ones(1)? == 1;
            each(is_one, ones);
            ones += usize::from(is_one);
            next = place + 1;
        }
        Some(())
    }

    /// Takes the next `count` numbers, of one bit each, and tells how many of them are 1.
    fn take_ones(&mut self, mut count: usize) -> Option<usize> {
        let mut ones = 0;
        while count > 0 {
            let taken = match &mut self.run {
                Run::Repeated { left: 0, .. } | Run::Packed { left: 0, .. } => {
                    self.next_run()?;
                    continue;
                }
                Run::Repeated { number, left } => {
                    let taken = count.min(*left);
                    ones += taken * usize::from(*number == 1);
                    *left -= taken;
                    taken
                }
                Run::Packed { bit, left } => {
                    let taken = count.min(*left).min(BITS_AT_ONCE);
                    ones += bits_at(&self.bytes, *bit, taken)?.count_ones() as usize;
                    *bit += taken;
                    *left -= taken;
                    taken
                }
            };
            count -= taken;
        }
        Some(ones)
    }

    /// How many numbers the current run has left.
    fn left(&self) -> usize {
        match self.run {
            Run::Repeated { left, .. } | Run::Packed { left, .. } => left,
        }
    }

    fn next_run(&mut self) -> Option<()> {
        if self.width == 0 {
            // Of one number there is nothing to tell, and some writers do not.
            self.run = Run::Repeated { number: 0, left: usize::MAX };
            return Some(());
        }
        let header = self.varint()?;
        let length = usize::try_from(header >> 1).ok()?;
        if header & 1 == 1 {
            let bit = self.at.checked_mul(8)?;
            self.at = self.at.checked_add(length.checked_mul(self.width)?)?;
            self.run = Run::Packed { bit, left: length.checked_mul(8)? };
            return Some(());
        }
        let mut number = 0_u32;
        for index in 0..self.width.div_ceil(8) {
            number |= u32::from(*self.bytes.get(self.at + index)?) << (8 * index);
        }
        self.at += self.width.div_ceil(8);
        self.run = Run::Repeated { number, left: length };
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for index in 0..5 {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// Numbers of `width` bits, 1 to 32, from bit `first` of `bytes` on.
fn unpack(
    bytes: &[u8],
    first: usize,
    width: usize,
    count: usize,
    out: &mut Vec<u32>,
) -> Option<()> {
    let end = first.checked_add(count.checked_mul(width)?)?;
    if end.div_ceil(8) > bytes.len() {
        return None;
    }
    let mask = u64::MAX >> (64 - width);
    let mut bit = first;
    out.extend((0..count).map(|_| {
        let rest = bytes.get(bit / 8..).unwrap_or_default();
        let word = match rest.first_chunk::<8>() {
            Some(word) => u64::from_le_bytes(*word),
            None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        let number = (word >> (bit % 8)) & mask;
        bit += width;
        number as u32
    }));
    Some(())
}

/// So many bits stand in eight bytes, wherever in the first of them they begin.
const BITS_AT_ONCE: usize = 57;

/// The number of `width` bits, 1 to [`BITS_AT_ONCE`], at bit `first` of `bytes`.
#[inline]
fn bits_at(bytes: &[u8], first: usize, width: usize) -> Option<u64> {
    let rest = bytes.get(first / 8..)?;
    let mask = u64::MAX >> (64 - width);
    let word = match rest.first_chunk::<8>() {
        Some(word) => u64::from_le_bytes(*word),
        None if first % 8 + width <= rest.len() * 8 => {
            rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
        }
        None => return None,
    };
    Some((word >> (first % 8)) & mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &'static [u8], width: u8, count: usize) -> Option<Vec<u32>> {
        let mut out = Vec::new();
        Runs::new(Bytes::from_static(bytes), width)?.read(count, &mut out)?;
        Some(out)
    }

    #[test]
    fn the_examples_of_the_format() {
        // 0 to 7 with three bits each; then 5 four times.
        let bytes = b"\x03\x88\xc6\xfa\x08\x05";
        assert_eq!(read(bytes, 3, 12), Some(vec![0, 1, 2, 3, 4, 5, 6, 7, 5, 5, 5, 5]));
        assert_eq!(read(bytes, 3, 13), None);
        assert_eq!(read(b"", 0, 3), Some(vec![0; 3]));
        assert!(Runs::new(Bytes::new(), 33).is_none());
        let mut levels = Runs::new(Bytes::from_static(b"\x14\x01"), 1).unwrap();
        assert!(levels.take_all_of(1, 7) && !levels.take_all_of(1, 4) && levels.take_all_of(1, 3));
        assert!(!levels.take_all_of(1, 1));
    }

    fn packed(numbers: &[u32], width: u8) -> Vec<u8> {
        let mut bytes = vec![0; numbers.len() * usize::from(width) / 8];
        for (index, number) in numbers.iter().enumerate() {
            for bit in (0..usize::from(width)).filter(|bit| number >> bit & 1 == 1) {
                let place = index * usize::from(width) + bit;
                bytes[place / 8] |= 1 << (place % 8);
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_back_in_pieces_of_any_size(
            width in 1_u8..=32,
            runs in prop::collection::vec(
                (any::<bool>(), prop::array::uniform8(any::<u32>())), 1..9,
            ),
            piece in 1_usize..20,
        ) {
            let mask = u32::MAX >> (32 - u32::from(width));
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for (is_packed, numbers) in runs {
                let numbers = numbers.map(|number| number & mask);
                if is_packed {
                    bytes.push(3);
                    bytes.extend(packed(&numbers, width));
                    expected.extend(numbers);
                } else {
                    bytes.push(10 << 1);
                    let own = numbers[0].to_le_bytes();
                    bytes.extend(&own[..usize::from(width).div_ceil(8)]);
                    expected.extend([numbers[0]; 10]);
                }
            }
            let mut runs = Runs::new(bytes.into(), width).unwrap();
            let mut out = Vec::new();
            while out.len() < expected.len() {
                let count = piece.min(expected.len() - out.len());
                runs.read(count, &mut out).unwrap();
            }
            prop_assert_eq!(&out, &expected);
            prop_assert!(runs.read(1, &mut out).is_none());
        }

        #[test]
        fn picked_numbers_are_those_that_reading_gives(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            width in 0_u8..=32,
            chosen in prop::collection::btree_set(0_usize..300, 0..40),
        ) {
            let mut all = Vec::new();
            let mut runs = Runs::new(bytes.clone().into(), width).unwrap();
            while all.len() < 300 && runs.read(1, &mut all).is_some() {}
            let expected: Option<Vec<u32>> =
                chosen.iter().map(|place| all.get(*place).copied()).collect();
            let mut picked = Vec::new();
            let mut runs = Runs::new(bytes.into(), width).unwrap();
            let is_there = runs.pick(chosen.iter().copied(), &mut picked).is_some();
            prop_assert_eq!(is_there.then_some(picked), expected);
        }

        #[test]
        fn ranks_are_those_that_counting_gives(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            chosen in prop::collection::btree_set(0_usize..300, 0..40),
        ) {
            let mut all = Vec::new();
            let mut runs = Runs::new(bytes.clone().into(), 1).unwrap();
            while all.len() < 300 && runs.read(1, &mut all).is_some() {}
            let is_one = |place: &usize| Some(all.get(*place)? == &1);
            let count = |place: &usize| all[..*place].iter().filter(|number| **number == 1).count();
            let expected: Option<Vec<(bool, usize)>> =
                chosen.iter().map(|place| Some((is_one(place)?, count(place)))).collect();
            let mut ranks = Vec::new();
            let mut runs = Runs::new(bytes.into(), 1).unwrap();
            let places = chosen.iter().copied();
            let is_there = runs.rank(places, |is_one, before| ranks.push((is_one, before)));
            prop_assert_eq!(is_there.map(|()| ranks), expected);
        }

        #[test]
        fn any_bytes_give_numbers_or_nothing(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            width in 0_u8..=32,
        ) {
            let mut runs = Runs::new(bytes.into(), width).unwrap();
            let mut out = Vec::new();
            while out.len() < 1000 && runs.read(7, &mut out).is_some() {}
        }
    }
}
