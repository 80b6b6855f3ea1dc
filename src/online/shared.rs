//! What all shards of a table share.

use super::{key_hash::KeyHasher, segment_pool::SegmentPool, words::Words};
use std::sync::Arc;

/// How keys are hashed, what words say, and where segments come from.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) hasher: KeyHasher,
    pub(super) words: Words,
    pub(super) segments: Arc<SegmentPool>,
}

impl Shared {
    pub(super) fn new(seed: [u64; 4]) -> Self {
        Self { hasher: KeyHasher::new(seed), words: Words::new(seed), segments: Arc::default() }
    }
}
