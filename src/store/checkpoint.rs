//! Checkpoints: the whole state in a snapshot, written while the store serves.
//!
//! ```text
//! LSN ─> what waits for its time, definitions and runs ─> shard after shard ─> sync ─> manifest
//!        (the meta file)                                  (each under a short lock)
//! ```
//! No fork and no copy-on-write: a row that changes while the walk goes on is written as it is met,
//! with the LSN that wrote it, and replay passes over what it has already.
//!
//! Meta entries are [`MetaEntry`] in the postcard wire format; rows are the bytes of `online/row`.
//! How they are loaded: `snapshot_loading.rs`.

use super::{
    checkpoints::{Checkpoint, CheckpointProgress, SinceCheckpoint},
    engine::Store,
    meta_entry::MetaEntry,
};
use crate::{
    error::{Error, Result},
    feature::{Change, Forgotten, Timestamp},
    log::{DataDirectory, History, Lsn, SegmentInfo, SnapshotHeader, SnapshotWriter},
    online::{Seen, Swept, Table},
    planted::planted,
};
use std::{sync::Arc, time::Instant};

/// So many files hold the rows of a snapshot; they are loaded in parallel.
const SNAPSHOT_SHARDS: u32 = 8;

impl Store {
    /// The last snapshot; before the first one the start of the store.
    pub fn last_checkpoint(&self) -> Checkpoint {
        self.checkpoints.lock().last
    }

    /// Whether a snapshot is being written.
    pub fn is_checkpointing(&self) -> bool {
        self.checkpoints.lock().running.is_some()
    }

    /// How far the snapshot is that is being written, if one is.
    pub fn checkpoint_progress(&self) -> Option<CheckpointProgress> {
        self.checkpoints.lock().running
    }

    /// What came after the last snapshot.
    pub fn since_checkpoint(&self) -> SinceCheckpoint {
        let checkpoints = self.checkpoints.lock();
        let lsn = checkpoints.last.lsn;
        SinceCheckpoint {
            elapsed: checkpoints.written.elapsed(),
            failed: checkpoints.failed.map(|at| at.elapsed()),
            records: self.log.last().0.saturating_sub(lsn.0),
            log_bytes: bytes_after(lsn, &self.log.segments()),
        }
    }

    /// Writes a snapshot, reads it back, names it in the manifest, and gives up the log that is no
    /// longer needed. Refused while another one is being written.
    pub fn checkpoint(self: &Arc<Self>) -> Result<Checkpoint> {
        self.begin_checkpoint()?.write()
    }

    /// Takes the turn to write a snapshot, for whoever will write it; refused while another one is
    /// being written. From here on INFO tells of it. Takes no lock of a row.
    pub fn begin_checkpoint(self: &Arc<Self>) -> Result<BegunCheckpoint> {
        self.check_poison()?;
        let mut checkpoints = self.checkpoints.lock();
        if checkpoints.running.is_some() {
            return Err(Error::refused("Background save already in progress"));
        }
        let started = Instant::now();
        let progress = CheckpointProgress { started, rows_written: 0, rows_total: 0 };
        checkpoints.running = Some(progress);
        drop(checkpoints);
        Ok(BegunCheckpoint { store: Arc::clone(self), is_ended: false })
    }

    fn write_snapshot(&self, time: Timestamp) -> Result<Lsn> {
        let mut directory = self.directory.lock();
        loop {
            let noted = self.noted_up_to_now();
            if let Some(lsn) = self.write_snapshot_from(&mut directory, time, noted)? {
                return Ok(lsn);
            }
            self.acknowledged_blocking(Lsn(self.last_removal()))?;
        }
    }

    /// The last record that flushed, or forgot an entity.
    fn last_removal(&self) -> u64 {
        self.jobs.lock().flushed().max(self.forgotten.load().last_lsn())
    }

    /// `None` if a flush came in between, or an entity was forgotten. Replay from before it would
    /// meet rows from behind it, and could not tell which of their cells it removed; there is
    /// little to walk over now.
    pub(super) fn write_snapshot_from(
        &self,
        directory: &mut DataDirectory,
        time: Timestamp,
        (lsn, noted, last_run): (Lsn, Vec<(u64, Change)>, u64),
    ) -> Result<Option<Lsn>> {
        // A manifest whose fate is unknown may list files by the names that these would have.
        self.check_poison()?;
        let snapshot_id = directory.generations().first().map_or(0, |newest| newest.snapshot_id);
        let header = SnapshotHeader {
            snapshot_id: snapshot_id + 1,
            store_id: directory.store_id(),
            shards: SNAPSHOT_SHARDS,
            lsn,
        };
        let mut writer = SnapshotWriter::create(Arc::clone(&self.fs), directory.root(), header)?;
        let noted = noted.into_iter().map(|(lsn, change)| MetaEntry::Noted { lsn, change });
        let future = self.future.all().into_iter();
        let future = future.filter(|_| !planted("cells ahead not in the snapshot"));
        let future = future.map(|(lsn, cells)| MetaEntry::Future { lsn, cells });
        let meta = [MetaEntry::Clock(time), MetaEntry::LastRun(last_run)];
        // Who is forgotten from here on may not be once the log is synced.
        let forgotten = self.forgotten.load_full();
        let marks = forgotten.marks().map(|(key, mark)| MetaEntry::Forgotten(key, mark));
        for entry in meta.into_iter().chain(noted).chain(future).chain(marks) {
            // Writing to a vector cannot fail.
            writer.add_meta(&postcard::to_stdvec(&entry).unwrap_or_default())?;
        }
        self.write_rows_to(&mut writer)?;
        let walked = MetaEntry::Clock(self.clock.now());
        writer.add_meta(&postcard::to_stdvec(&walked).unwrap_or_default())?;
        let no_flush_begins = self.noting.lock();
        if self.last_removal() > lsn.0 {
            return Ok(None);
        }
        drop(no_flush_begins);
        // A row may be newer than what the log has on the disk; a snapshot must never be.
        let last = self.log.last();
        if !planted("snapshot ahead of the log") {
            self.log.flush()?;
        }
        let generation = writer.finish(last)?;
        let history = self.history_to(directory, lsn, &forgotten).inspect_err(|_| {
            for file in &generation.files {
                // What cannot be removed is set aside at the next start.
                let _ = self.fs.remove(&directory.root().join(&file.name));
            }
        })?;
        if let Err(error) = directory.commit(generation, history) {
            if directory.is_unknown() {
                self.log.poison(&error.to_string());
            }
            return Err(error);
        }
        self.pushed_files_changed(directory, &[]);
        let is_early = planted("log trimmed too early");
        if let [newer, older, ..] = directory.generations() {
            let snapshot = if is_early { newer } else { older }.lsn;
            let reaches = directory.history().reaches;
            if let Err(error) = self.log.trim(snapshot.min(reaches).next()) {
                // The snapshot counts; the log is only longer than it need be.
                tracing::warn!(%error, "the log could not be trimmed");
            }
        }
        Ok(Some(lsn))
    }

    /// The history up to `lsn`. One that is damaged stays as it is, and what is pushed in the log;
    /// but an erasure would not be one then.
    fn history_to(
        &self,
        directory: &DataDirectory,
        lsn: Lsn,
        forgotten: &Forgotten,
    ) -> Result<History> {
        match self.write_pushed(directory, lsn, forgotten) {
            Err(error @ Error::Corrupt { .. }) if !self.erasing.is_locked() => {
                tracing::error!(%error, "what is pushed stays in the log");
                Ok(directory.history().clone())
            }
            written => written,
        }
    }

    /// The record up to which everything is applied, and all that is about no row up to there.
    pub(super) fn noted_up_to_now(&self) -> (Lsn, Vec<(u64, Change)>, u64) {
        let _none_is_half_done = self.noting.lock();
        let is_behind = self.is_deferred() && !planted("snapshot without what is pending");
        let lsn = if is_behind { *self.published.borrow() } else { self.log.last() };
        // A write holds its shards from the append until it is applied: having had every shard
        // once, nothing up to `lsn` is still on its way.
        (0..self.table.shard_count()).for_each(|index| drop(self.table.shard(index)));
        let jobs = self.jobs.lock();
        (lsn, jobs.kept().to_vec(), jobs.last_id())
    }

    fn write_rows_to(&self, writer: &mut SnapshotWriter) -> Result<()> {
        let shards_per_file = self.table.shard_count() as u32 / SNAPSHOT_SHARDS;
        let mut written = 0;
        let mut rows = Vec::new();
        for index in 0..self.table.shard_count() {
            rows.clear();
            let mut ends = Vec::new();
            for row in self.table.shard(index).iter() {
                rows.extend_from_slice(&row.to_bytes());
                ends.push(rows.len());
            }
            // Compressing and writing happen without the lock.
            written += ends.len() as u64;
            let mut start = 0;
            for end in ends {
                let row = rows.get(start..end).unwrap_or_default();
                writer.add(index as u32 / shards_per_file, row)?;
                start = end;
            }
            if let Some(progress) = &mut self.checkpoints.lock().running {
                progress.rows_written = written;
            }
        }
        Ok(())
    }

    /// Removes plain rows past their end of life from one shard, and fields past theirs; how many
    /// of each. None while a snapshot is written: records behind it may have been decided upon a
    /// row that it then would not hold.
    pub fn sweep(&self, shard: usize) -> Swept {
        let (now, mut all) = (self.now(), Swept { rows: 0, fields: 0, is_done: false });
        loop {
            let no_snapshot_begins = self.noting.lock();
            if self.is_checkpointing() {
                return all;
            }
            let swept = self.table.sweep(shard, now);
            drop(no_snapshot_begins);
            all.rows += swept.rows;
            all.fields += swept.fields;
            all.is_done = swept.is_done;
            if all.is_done {
                return all;
            }
        }
    }

    /// Makes everything durable and takes no more.
    pub fn close(&self) -> Result<()> {
        self.log.close()
    }
}

/// The turn to write a snapshot; given back when dropped.
#[must_use = "no other snapshot begins before this one is written or dropped"]
pub struct BegunCheckpoint {
    store: Arc<Store>,
    is_ended: bool,
}

impl BegunCheckpoint {
    /// Notes how many rows there are, for whoever looks before it is being written.
    pub fn count_rows(&self) {
        let rows_total = self.store.table.live_rows(Seen::Published) as u64;
        if let Some(progress) = &mut self.store.checkpoints.lock().running {
            progress.rows_total = rows_total;
        }
    }

    /// Writes it: see [`Store::checkpoint`].
    pub fn write(mut self) -> Result<Checkpoint> {
        self.count_rows();
        let time = self.store.now();
        let written = self.store.write_snapshot(time);
        let written = written.map(|lsn| Checkpoint { time, lsn, is_ok: true });
        self.is_ended = true;
        self.store.checkpoints.lock().end(written.as_ref().ok().copied());
        written
    }
}

impl Drop for BegunCheckpoint {
    fn drop(&mut self) {
        if !self.is_ended {
            self.store.checkpoints.lock().running = None;
        }
    }
}

/// How many bytes of these segments hold records after `lsn`: a segment that holds some before it,
/// too, counts by its share of records.
pub(super) fn bytes_after(lsn: Lsn, segments: &[SegmentInfo]) -> u64 {
    let after = |segment: &SegmentInfo| {
        let records = segment.last_lsn.next().0.saturating_sub(segment.base_lsn.0);
        let wanted = segment.last_lsn.0.saturating_sub(lsn.0).min(records);
        let share = u128::from(segment.bytes) * u128::from(wanted);
        share.checked_div(u128::from(records)).and_then(|bytes| u64::try_from(bytes).ok())
    };
    segments.iter().filter_map(after).sum()
}

const _: () = assert!(Table::SHARD_COUNT.is_multiple_of(SNAPSHOT_SHARDS as usize));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_behind_a_snapshot_are_counted_by_the_share_of_their_records() {
        let segment = |number, base_lsn, last_lsn, bytes| SegmentInfo {
            number,
            base_lsn: Lsn(base_lsn),
            last_lsn: Lsn(last_lsn),
            bytes,
            sealed: true,
        };
        let segments = [segment(1, 1, 10, 1000), segment(2, 11, 20, 3000), segment(3, 21, 20, 512)];
        let told = [0, 10, 15, 20, 25].map(|lsn| bytes_after(Lsn(lsn), &segments));
        assert_eq!(told, [4000, 3000, 1500, 0, 0]);
    }
}
