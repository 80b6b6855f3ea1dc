//! What all shards of a table share.

use super::{dictionary::Dictionary, key_hash::KeyHasher, segment_pool::SegmentPool};
use std::sync::Arc;

/// How keys are hashed, what numbers say, and where segments come from.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) hasher: KeyHasher,
    pub(super) dictionary: Dictionary,
    pub(super) segments: Arc<SegmentPool>,
}

impl Shared {
    pub(super) fn new(seed: [u64; 4]) -> Self {
        Self {
            hasher: KeyHasher::new(seed),
            dictionary: Dictionary::new(seed),
            segments: Arc::default(),
        }
    }
}
