//! In place of `bucket.rs` where the feature `s3` is not built: there is no bucket.

use super::{failure::Failure, found::Found};
use bytes::Bytes;
use std::{ops::Range, sync::Arc};

/// None can be opened.
#[derive(Debug)]
pub enum Bucket {}

impl Bucket {
    /// Refuses.
    pub fn open(_name: &str) -> Result<Arc<Self>, Failure> {
        Err(Failure::new("this nowthen was built without the feature s3"))
    }

    /// Of no bucket.
    pub fn url(&self, _key: &str) -> String {
        match *self {}
    }

    /// Of no bucket.
    pub fn list(&self, _prefix: &str) -> Result<Vec<Found>, Failure> {
        match *self {}
    }

    /// Of no bucket.
    pub fn find(&self, _key: &str) -> Result<Option<Found>, Failure> {
        match *self {}
    }

    pub(super) async fn get(
        self: Arc<Self>,
        _key: String,
        _tag: Option<String>,
        _range: Range<u64>,
    ) -> Result<Bytes, Failure> {
        match *self {}
    }
}
