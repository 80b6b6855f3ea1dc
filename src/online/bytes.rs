//! Little-endian numbers in packed rows. A read past the end gives `None`, never a panic.

/// The `u16` at `at`.
#[inline]
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_le_bytes(*chunk))
}

/// The `u32` at `at`, as a `usize`: every length in a row is one.
#[inline]
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk) as usize)
}

/// The `u64` at `at`.
#[inline]
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

/// The `i64` at `at`.
#[inline]
pub(super) fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    bytes.get(at..)?.first_chunk().map(|chunk| i64::from_le_bytes(*chunk))
}

/// `count` bytes from `at`.
#[inline]
pub(super) fn bytes_at(bytes: &[u8], at: usize, count: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(count)?)
}

/// The LEB128 number at `at`, and where it ends.
#[inline]
pub(super) fn varint_at(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = *bytes.get(at)?;
    if first < 0x80 {
        return Some((usize::from(first), at + 1));
    }
    let mut number = u64::from(first & 0x7f);
    for (index, byte) in (1..10).zip(bytes.get(at + 1..)?) {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            return Some((usize::try_from(number).ok()?, at + 1 + index));
        }
    }
    None
}

/// How many bytes a number takes as LEB128.
pub(super) fn varint_bytes(number: u64) -> usize {
    (u64::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

/// Appends a number as LEB128.
pub(super) fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes a number as LEB128 over one of the same length.
pub(super) fn write_varint(over: &mut [u8], mut number: u64) {
    for byte in over {
        *byte = *byte & 0x80 | number as u8 & 0x7f;
        number >>= 7;
    }
}

/// Appends a length. Every length in a row fits: a bulk string is at most 512 MiB.
#[inline]
pub(super) fn push_len(out: &mut Vec<u8>, len: usize) {
    debug_assert!(u32::try_from(len).is_ok(), "a row is shorter than 4 GiB");
    out.extend_from_slice(&(len as u32).to_le_bytes());
}
