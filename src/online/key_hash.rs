//! What the hash of a key decides: its shard, and its fingerprint among the rows of that shard.
//!
//! ```text
//! bits  63..54   the number of the shard
//!       53..38   the fingerprint
//! ```
//! So rows in the order of their hash are rows by shard and fingerprint: a scan goes that way.

use ahash::RandomState;

/// Far more shards than cores, so that two rarely want the same lock.
pub(super) const SHARD_BITS: u32 = 10;
const FINGERPRINT_BITS: u32 = u16::BITS;
const REST_BITS: u32 = u64::BITS - SHARD_BITS - FINGERPRINT_BITS;

/// Hashes keys, in a way that a client cannot foresee.
#[derive(Clone, Debug)]
pub(super) struct KeyHasher(RandomState);

impl KeyHasher {
    pub(super) fn new([a, b, c, d]: [u64; 4]) -> Self {
        Self(RandomState::with_seeds(a, b, c, d))
    }

    /// The hash of `key`.
    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.0.hash_one(key)
    }
}

/// The number of the shard of a hash.
#[inline]
pub(super) fn shard_of(hash: u64) -> usize {
    (hash >> (u64::BITS - SHARD_BITS)) as usize
}

/// The least hash of a shard.
pub(super) fn first_of_shard(shard: usize) -> u64 {
    (shard as u64) << (u64::BITS - SHARD_BITS)
}

/// The fingerprint of a hash.
#[inline]
pub(super) fn fingerprint_of(hash: u64) -> u16 {
    (hash >> REST_BITS) as u16
}

/// The least hash of that shard and fingerprint.
pub(super) fn first_of_fingerprint(shard: usize, fingerprint: u16) -> u64 {
    first_of_shard(shard) | u64::from(fingerprint) << REST_BITS
}
