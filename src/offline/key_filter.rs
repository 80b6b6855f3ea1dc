//! Which keys some records may tell of: a Bloom filter in memory, of the kind that Parquet has
//! (`bloom.rs`).

use parquet::bloom_filter::Sbbf;

/// With so many bits for each key, or up to twice as many, one other key in a thousand is taken for
/// one of them, or fewer.
const KEY_BITS: usize = 15;

/// A filter of keys.
#[derive(Debug)]
pub struct KeyFilter(Sbbf);

impl KeyFilter {
    /// Of so many keys, some of which may be equal.
    pub fn of<'a>(keys: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        let mut filter = Sbbf::new_with_num_of_bytes((keys.len() * KEY_BITS).div_ceil(8));
        keys.for_each(|key| filter.insert(key));
        Self(filter)
    }

    /// Whether `key` may be one of them.
    pub fn may_have(&self, key: &[u8]) -> bool {
        self.0.check(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_hardly_another() {
        for count in [0_u32, 1, 300, 1_000, 20_000] {
            let keys: Vec<Vec<u8>> = (0..count).map(|n| format!("user:{n}").into_bytes()).collect();
            let filter = KeyFilter::of(keys.iter().map(Vec::as_slice));
            assert!(keys.iter().all(|key| filter.may_have(key)));
            let others = (0..20_000).map(|n| format!("item:{n}").into_bytes());
            let taken = others.filter(|key| filter.may_have(key)).count();
            assert!(taken <= 40, "{taken} of 20,000 beside {count} keys");
        }
    }
}
