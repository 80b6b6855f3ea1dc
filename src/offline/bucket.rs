//! Which share of the entities a merged history file holds: a long history is split by the hash of
//! the entity, so that no file grows without end, and one entity is looked for in one of them.
//!
//! The hash is CRC-32 (ISO-HDLC, as in zlib) of the join keys in their order: an integer as its
//! eight bytes, little end first; text and bytes as their length in four such bytes, then
//! themselves. Bucket `n` of `count` are the hashes from `n * 2^32 / count` on.

use crate::feature::KeyPart;

/// A share of the entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Counts from 0.
    pub number: u32,
    /// Into how many all entities are split; 1 is not at all.
    pub count: u32,
}

impl Bucket {
    /// All entities.
    pub const WHOLE: Self = Self { number: 0, count: 1 };
    /// Entities are split into no more.
    pub const COUNT_MAX: u32 = 64;

    /// All buckets of so many.
    pub fn all(count: u32) -> impl Iterator<Item = Self> {
        (0..count).map(move |number| Self { number, count })
    }

    /// Reads `number/count`, as it stands in a file. `None` if that is no bucket.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (number, count) = text.split_once('/')?;
        let bucket = Self { number: number.parse().ok()?, count: count.parse().ok()? };
        (bucket.number < bucket.count && bucket.count <= Self::COUNT_MAX).then_some(bucket)
    }

    /// Whether the entity of `key` is in it.
    pub(super) fn holds(self, key: &[KeyPart]) -> bool {
        self.count == 1 || bucket_of(key, self.count) == self.number
    }
}

/// The number of the bucket of `key`, of so many.
pub(super) fn bucket_of(key: &[KeyPart], count: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in key {
        match part {
            KeyPart::Int64(number) => hasher.update(&number.to_le_bytes()),
            KeyPart::Bytes(bytes) => {
                hasher.update(&(bytes.len() as u32).to_le_bytes());
                hasher.update(bytes);
            }
        }
    }
    ((u64::from(hasher.finalize()) * u64::from(count)) >> u32::BITS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bucket_is_what_the_document_says() {
        // zlib.crc32(struct.pack("<q", 17)) and zlib.crc32(b"\x03\0\0\0" + b"JFK"), times 64 >> 32.
        assert_eq!(bucket_of(&[KeyPart::Int64(17)], 64), 53);
        assert_eq!(bucket_of(&[KeyPart::Bytes(b"JFK".to_vec())], 64), 37);
        for wrong in ["", "1", "2/2", "0/0", "0/65", "-1/2", "1/2/3", "a/b"] {
            assert_eq!(Bucket::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Bucket::parse("1/2"), Some(Bucket { number: 1, count: 2 }));
    }

    #[test]
    fn neighbouring_keys_are_spread_evenly() {
        for count in [2, 8, 64] {
            let mut of_buckets = vec![0; count as usize];
            (0..64_000).for_each(|user| {
                of_buckets[bucket_of(&[KeyPart::Int64(user)], count) as usize] += 1;
            });
            let fair = 64_000 / count;
            let is_fair = |found: &u32| found.abs_diff(fair) <= fair / 4;
            assert!(of_buckets.iter().all(is_fair), "{of_buckets:?}");
        }
    }

    proptest! {
        #[test]
        fn every_key_is_in_one_bucket(
            key in prop::collection::vec(
                prop_oneof![
                    any::<i64>().prop_map(KeyPart::Int64),
                    any::<Vec<u8>>().prop_map(KeyPart::Bytes),
                ],
                1..3,
            ),
            bits in 0..7_u32,
        ) {
            let holding = Bucket::all(1 << bits).filter(|bucket| bucket.holds(&key)).count();
            prop_assert_eq!(holding, 1);
        }
    }
}
