//! Slots of keys, as a Redis cluster counts them.

/// How many slots there are.
pub(super) const SLOTS: u16 = 16_384;

/// The slot of a key: the checksum of what stands between the first `{` and the next `}`, if
/// anything does, and of all of it otherwise (Redis Cluster Specification, "Hash tags").
pub(super) fn slot_of(key: &[u8]) -> u16 {
    let after = key.iter().position(|byte| *byte == b'{').and_then(|at| key.get(at + 1..));
    let tag = after.and_then(|after| {
        let end = after.iter().position(|byte| *byte == b'}')?;
        after.get(..end).filter(|tag| !tag.is_empty())
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM: polynomial x^16 + x^12 + x^5 + 1 (0x1021), initial value 0, nothing reflected.
/// Redis Cluster Specification, appendix A.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte) << 8, |sum, _| {
            if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn keys_with_the_same_tag_have_the_same_slot() {
        // The slots are what a Redis 7.0.15 in cluster mode answers.
        for (key, slot) in [
            (&b"foo"[..], 12_182),
            (b"{a}b", 15_495),
            (b"a", 15_495),
            (b"x{a}{b}", 15_495),
            (b"", 0),
        ] {
            assert_eq!(slot_of(key), slot, "{}", key.escape_ascii());
        }
        assert_eq!(slot_of(b"{}a"), crc16(b"{}a") % SLOTS);
        assert_eq!(slot_of(b"{a"), crc16(b"{a") % SLOTS);
        assert_eq!(slot_of(b"}{a}"), 15_495);
    }
}
