//! A look at everything a store keeps on disk, with what records and rows must be.

use super::{engine::Store, meta_entry::MetaEntry};
use crate::{
    disk::FileSystem,
    error::Result,
    feature::decode_record,
    log::{self, Decoders, Progress, Report},
    online::OwnedRow,
};
use std::path::Path;

/// Looks at everything in a data directory that no server uses: see [`log::verify`].
pub fn verify(fs: &dyn FileSystem, root: &Path, progress: Progress<'_>) -> Result<Report> {
    log::verify(fs, root, &DECODERS, progress)
}

impl Store {
    /// Looks at everything this store keeps on disk while it serves: both generations of
    /// snapshots, and the log as far as it is written. Nobody waits for it.
    pub fn verify(&self) -> Result<Report> {
        log::verify_running(&*self.fs, &self.root, &*self.log, &DECODERS, &|_, _| {})
    }
}

const DECODERS: Decoders = Decoders {
    record: |bytes| decode_record(bytes).map(drop),
    row: |bytes| OwnedRow::from_bytes(bytes).map(drop).ok_or_else(|| "no row".into()),
    meta: |bytes| {
        let (_, rest) =
            postcard::take_from_bytes::<MetaEntry>(bytes).map_err(|error| error.to_string())?;
        if rest.is_empty() { Ok(()) } else { Err(format!("{} bytes too many", rest.len())) }
    },
};
