//! Loading a snapshot: its files verified, rows in parallel, then what is about no row.

use super::{checkpoints::Checkpoint, engine::Store, loading::LoadPart, meta_entry::MetaEntry};
use crate::{
    error::{Error, Result},
    feature::{Change, Forgotten},
    log::{DataDirectory, Lsn, SnapshotFile},
    online::OwnedRow,
    parallel::{self, threads_for},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Loading tells of its progress after so many rows: threads must not wait for one another there.
const ROWS_TOLD: u64 = 1024;

/// The files of a snapshot, verified and not yet loaded.
#[derive(Default)]
pub(super) struct OpenSnapshot {
    lsn: Lsn,
    /// So many are loaded at once.
    threads: usize,
    files: Vec<(PathBuf, SnapshotFile)>,
}

impl OpenSnapshot {
    /// The record up to which it reaches.
    pub(super) fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// So many load it at once.
    #[cfg(test)]
    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// The newest snapshot of a directory; an empty one if there is none.
    pub(super) fn newest(directory: &DataDirectory, progress: &LoadPart) -> Result<Self> {
        let Some(newest) = directory.generations().first() else { return Ok(Self::default()) };
        progress.begin(newest.entries, newest.files.iter().map(|listed| listed.bytes).sum());
        // To verify the hashes of all files takes longer than anything else here.
        let threads = threads_for(newest.files.iter().map(|listed| listed.bytes).sum());
        let files = parallel::map(threads, &newest.files, |listed| {
            let file = directory.open_snapshot(newest, listed)?;
            Ok((directory.root().join(&listed.name), file))
        })?;
        Ok(Self { lsn: newest.lsn, threads, files })
    }
}

impl Store {
    /// Loads a snapshot.
    pub(super) fn load_snapshot(&self, snapshot: &OpenSnapshot, progress: &LoadPart) -> Result<()> {
        let load_rows = |path: &Path, file: &SnapshotFile| {
            let mut untold = 0;
            let loaded = file.load_each(|entry| {
                self.table.load(OwnedRow::from_bytes(entry).ok_or_else(|| damaged(path))?);
                untold += 1;
                if untold == ROWS_TOLD {
                    progress.add(untold);
                    untold = 0;
                }
                Ok(())
            });
            progress.add(untold);
            loaded
        };
        let mut forgotten = Forgotten::default();
        // Before the rows: the table keeps those whose layouts it knows in less memory.
        self.load_meta(snapshot, &mut forgotten, |entry| {
            !matches!(entry, MetaEntry::Future { .. })
        })?;
        let of_rows: Vec<_> =
            snapshot.files.iter().filter(|(_, file)| file.shard().is_some()).collect();
        parallel::map(snapshot.threads, &of_rows, |(path, file)| load_rows(path, file))?;
        // After the rows: a cell whose time came in the meantime belongs on top of its row.
        self.load_meta(snapshot, &mut forgotten, |entry| {
            matches!(entry, MetaEntry::Future { .. })
        })?;
        self.forgotten.store(Arc::new(forgotten));
        Ok(())
    }

    /// Loads what is about no row, as far as `is_wanted` says so.
    fn load_meta(
        &self,
        snapshot: &OpenSnapshot,
        forgotten: &mut Forgotten,
        is_wanted: impl Fn(&MetaEntry) -> bool,
    ) -> Result<()> {
        for (path, file) in snapshot.files.iter().filter(|(_, file)| file.shard().is_none()) {
            file.for_each(|entry| {
                let entry = postcard::from_bytes(entry).map_err(|_| damaged(path))?;
                match is_wanted(&entry) {
                    true => self.load_meta_entry(entry, snapshot.lsn, forgotten),
                    false => Ok(()),
                }
            })?;
        }
        Ok(())
    }

    fn load_meta_entry(&self, entry: MetaEntry, lsn: Lsn, forgotten: &mut Forgotten) -> Result<()> {
        match entry {
            MetaEntry::Clock(time) => {
                self.clock.advance_to(time);
                let mut checkpoints = self.checkpoints.lock();
                // Of two the first tells when it began.
                if checkpoints.last.lsn < lsn {
                    checkpoints.last = Checkpoint { time, lsn, is_ok: true };
                }
            }
            // All rows of a snapshot are from behind it, some of the same record.
            MetaEntry::Noted { lsn, change: change @ Change::FlushAll } => {
                self.jobs.lock().note(lsn, &change);
            }
            MetaEntry::Noted { lsn, change } => {
                self.publish_change(Lsn(lsn), &change, self.clock.now())?;
            }
            MetaEntry::Future { lsn, cells } => {
                self.publish_change(Lsn(lsn), &Change::Cells(cells), self.clock.now())?;
            }
            MetaEntry::LastRun(id) => self.jobs.lock().set_last_id(id),
            MetaEntry::Forgotten(key, mark) => forgotten.add_mark(key, mark),
        }
        Ok(())
    }
}

fn damaged(path: &Path) -> Error {
    Error::corrupt(path, 0, "entries in the format of this version")
}
