//! The runs that Parquet packs levels and dictionary codes in, as many numbers at a time as asked.
//!
//! ```text
//! varint 2n        then one number in as few bytes as hold it: n times that number
//! varint 2n + 1    then n times 8 numbers, each as many bits wide as the page says, lowest first
//! ```
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
