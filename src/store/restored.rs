//! A restore, seen to its end: what was written is opened as a server would, before it counts.
//!
//! ```text
//! restore ─> files written, synced ─> opened: snapshot, log ─> state ─> mark removed
//! verify  ─> restored with the newest snapshot ─> state ─┐
//!         ─> restored with the log alone, or with the    ├─ the same?
//!            oldest snapshot and the log behind it       ┘
//! ```
//! The two ways share the bytes of the log behind the newest snapshot and nothing else: in one the
//! rows were walked in memory and written, in the other every record was applied. A mistake of
//! either, or damage that fits its checksums, gives two digests.

use super::{
    clock::Clock,
    engine::Store,
    open::{StoreOptions, fresh_store_id, random},
    state_digest::StateSummary,
};
use crate::{
    disk::FileSystem,
    error::{Error, Result},
    feature::Timestamp,
    log::{DataDirectory, RestorePlan, RestoreSource, UnfinishedRestore},
};
use std::{path::Path, sync::Arc};

/// Of the space that opening reserves nothing is written.
const SEGMENT_BYTES: u64 = 64 * 1024;

/// Restores `plan` into `to`, which is new or empty; the state that a server finds there.
pub fn restore(
    fs: &Arc<dyn FileSystem>,
    source: &RestoreSource<'_>,
    plan: &RestorePlan,
    to: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<StateSummary> {
    let restored = write(source, plan, to, progress)?;
    let summary = open(fs, &restored, Timestamp::MIN)?;
    restored.finish()?;
    Ok(summary)
}

/// Restores `plan` in every way there is, each into a new folder that `folder` names, and compares
/// the states; gives the state and how many ways led to it.
pub fn test_restore(
    fs: &Arc<dyn FileSystem>,
    source: &RestoreSource<'_>,
    plan: &RestorePlan,
    folder: &mut dyn FnMut() -> Result<std::path::PathBuf>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(StateSummary, usize)> {
    let mut first: Option<StateSummary> = None;
    let ways = source.ways(plan);
    for way in &ways {
        let to = folder()?;
        let restored = write(source, way, &to, progress)?;
        // A snapshot may know a later time than the log; all ways are looked at then.
        let as_of = first.map_or(Timestamp::MIN, |first| first.as_of);
        let summary = open(fs, &restored, as_of)?;
        let expected = *first.get_or_insert(summary);
        if summary != expected {
            return Err(Error::corrupt(
                source.root(),
                0,
                format!(
                    "one state at LSN {}, whether from the newest snapshot or from the log: they \
                     give {} keys with digest {} and {} keys with digest {}",
                    plan.lsn, expected.keys, expected.digest, summary.keys, summary.digest
                ),
            ));
        }
    }
    let summary = first.ok_or_else(|| Error::refused("there is no way to restore it"))?;
    Ok((summary, ways.len()))
}

fn write<'a>(
    source: &RestoreSource<'a>,
    plan: &RestorePlan,
    to: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<UnfinishedRestore<'a>> {
    source.restore(plan, to, (fresh_store_id()?, random()?), progress)
}

/// Opens what was restored, at the time of its last record or at `as_of` if that is later.
fn open(
    fs: &Arc<dyn FileSystem>,
    restored: &UnfinishedRestore<'_>,
    as_of: Timestamp,
) -> Result<StateSummary> {
    let directory = DataDirectory::open_restoring(Arc::clone(fs), restored.root())?;
    let options = StoreOptions { segment_bytes: SEGMENT_BYTES, ..StoreOptions::default() };
    let store = Store::begin_in(Arc::clone(fs), directory, &options, Clock::manual(as_of))?;
    store.load_data()?;
    let summary = store.summary();
    store.close()?;
    Ok(summary)
}
