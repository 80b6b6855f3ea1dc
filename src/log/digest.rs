//! The digest of a state: the same for the same entries, in whatever order and however sharded.

use std::fmt;

/// The sum, modulo 2^128, of the first sixteen bytes of the blake3 hash of every entry.
///
/// It finds damage and mistakes of ours. It is no defence against someone who makes entries up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StateDigest(pub u128);

impl StateDigest {
    /// Counts one more entry in.
    pub fn add(&mut self, entry: &[u8]) {
        let hash = blake3::hash(entry);
        let first = hash.as_bytes().first_chunk::<16>().copied().unwrap_or_default();
        self.0 = self.0.wrapping_add(u128::from_le_bytes(first));
    }

    /// The digest of both states together.
    pub fn and(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(entries: &[&str]) -> StateDigest {
        let mut digest = StateDigest::default();
        entries.iter().for_each(|entry| digest.add(entry.as_bytes()));
        digest
    }

    #[test]
    fn order_and_sharding_do_not_matter_but_every_entry_counts() {
        assert_eq!(digest(&["a", "b", "c"]), digest(&["c", "a", "b"]));
        assert_eq!(digest(&["a", "b", "c"]), digest(&["b"]).and(digest(&["a", "c"])));
        assert_ne!(digest(&["a", "b"]), digest(&["a", "b", "b"]));
        assert_ne!(digest(&["ab"]), digest(&["a", "b"]));
    }

    #[test]
    fn the_digest_of_a_state_never_changes() {
        assert_eq!(digest(&["a"]).to_string(), "a2eec37a71655d9253a469d9dd2f7617");
    }
}
