//! What clients pushed, from where it stands: files up to the LSN of a snapshot, the log behind it.
//!
//! ```text
//! LSN 1 ...      40 │ 41 ...      90 │ 91 ...          now
//! files of the first │ and the second │ log
//!          checkpoint                 └ `reaches`
//! ```
//! Invariants
//! - Every push that was acknowledged is found, each once: a checkpoint moves a range of the log
//!   into files and says so in one step, and whoever meets that in the middle begins again.
//! - A file is used only after its hash was found to be that of the manifest.

use super::{
    engine::Store,
    generations::{meaning, whole},
    history::Opened,
    pushed_files::{Asked, AskedRows, PushedFiles, PushedPart, Wanted},
};
use crate::{
    error::Result,
    feature::{Change, Forgotten, KeyPart, Origin, View, ViewId, decode_record},
    log::{DataDirectory, History, HistoryPart, HistoryWriter, Lsn, PartFile, PartHead},
    offline::{Bucket, HistoryFile, HistoryFileWriter, PushedCells},
    planted::planted,
    registry::Catalog,
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

/// So many bytes of records are in memory as cells, which take some three times as much.
const PIECE_RECORD_BYTES: usize = 32 * 1024;
/// So many are in memory as columns, which take less than they, before they go to the files. Of
/// each row group the writer keeps some hundred bytes for every column until the file ends.
const ROW_GROUP_RECORD_BYTES: usize = 1024 * 1024;

impl Store {
    /// Hands each push to the views of `opened` that is wanted to `take`, those of one record in
    /// its order. What it takes them to is made by `begin`, which is told which files are read, and
    /// made anew if all begins again.
    pub(super) fn pushed<T>(
        &self,
        opened: &[Opened],
        wanted: &Wanted<'_>,
        begin: impl Fn(&Arc<PushedFiles>) -> Result<T>,
        take: impl Fn(&mut T, &Opened, PushedCells) -> Result<()>,
    ) -> Result<T> {
        let forgotten = self.forgotten.load_full();
        loop {
            let files = self.pushed_files.load_full();
            let mut taken = begin(&files)?;
            let hides = |opened: &Opened, cells: &PushedCells| {
                let key = || opened.entity.key(&cells.key);
                let (lsn, event) = (cells.order, cells.stamp.event);
                !forgotten.is_empty() && forgotten.hides(&key(), lsn, event)
            };
            let mut take = |opened: &Opened, cells: PushedCells| match hides(opened, &cells) {
                true => Ok(()),
                false => take(&mut taken, opened, cells),
            };
            let read = self.pushed_to_files(&files, opened, wanted, &hides, &mut take);
            let from = files.reaches.next().max(self.log.status().first);
            let read = read.and_then(|()| match wanted.few() {
                Some(asked) => self.sought_in_log(from, opened, asked, &hides, &mut take),
                None => self.pushed_to_log(from, opened, wanted, &mut take),
            });
            let is_current = self.are_current(&files, read.is_err());
            match read {
                // Two of them may have given up what stood between those files and the log.
                Ok(()) if is_current || self.log.status().first <= files.reaches.next() => {
                    return Ok(taken);
                }
                Err(error) if is_current => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// The files of a view, opened.
    fn open_pushed(&self, files: &PushedFiles, view: &Opened) -> Result<Vec<Arc<HistoryFile>>> {
        let open =
            |part: &Arc<PushedPart>| part.open(&*self.fs, &self.root, &view.view, &view.entity);
        files.parts_of(view.generation()).map(open).collect()
    }

    /// Whether `files` are still those of the history. Where reading them failed, somebody may be
    /// about to tell of others: then it waits for that.
    fn are_current(&self, files: &Arc<PushedFiles>, has_failed: bool) -> bool {
        let are_current = || Arc::ptr_eq(files, &self.pushed_files.load());
        if has_failed && are_current() {
            // What a checkpoint moved, or a compaction merged, goes before it is told where to.
            drop(self.directory.lock());
        }
        are_current()
    }

    fn pushed_to_files(
        &self,
        files: &PushedFiles,
        opened: &[Opened],
        wanted: &Wanted<'_>,
        hides: &impl Fn(&Opened, &PushedCells) -> bool,
        take: &mut impl FnMut(&Opened, PushedCells) -> Result<()>,
    ) -> Result<()> {
        if let Some(progress) = wanted.progress() {
            let count = |view: &Opened| files.parts_of(view.generation()).count();
            progress.begin(opened.iter().map(count).sum());
        }
        for view in opened {
            let mut all_keys = None;
            let slots: Vec<u32> = view.slots().collect();
            // All before the first is read: a merge may take away what is not open.
            for file in self.open_pushed(files, view)? {
                let Some(Asked { keys, rows }) = wanted.few() else {
                    let keys = match &mut all_keys {
                        Some(keys) => keys,
                        None => all_keys.insert(wanted.keys(view.place, &view.entity)?),
                    };
                    file.each_row(Some(&slots), Some(keys), &mut |cells| take(view, cells))?;
                    wanted.progress().inspect(|progress| progress.advance());
                    continue;
                };
                for key in *keys {
                    let hides = |cells: &PushedCells| hides(view, cells);
                    let rows = match *rows {
                        AskedRows::At(at) => file.newest_rows(&slots, key, at, &hides),
                        AskedRows::Earliest(window, rows_max) => {
                            file.earliest_rows(&slots, key, (window, rows_max), &hides)
                        }
                    };
                    rows?.into_iter().try_for_each(|cells| take(view, cells))?;
                }
            }
        }
        Ok(())
    }

    /// Writes what was pushed in the records that no file holds yet, up to `lsn`, to files that a
    /// manifest is to list, none of which reaches across the LSN of a snapshot; what it must say of
    /// the history. The records must be durable.
    /// Of those that were forgotten only the ones in `forgotten` are left out: the records that say
    /// so must be durable, too.
    pub(super) fn write_pushed(
        &self,
        directory: &DataDirectory,
        lsn: Lsn,
        forgotten: &Forgotten,
    ) -> Result<History> {
        let listed = directory.history();
        let first = listed.reaches.next().max(self.log.status().first);
        let number = directory.number() + 1;
        let writer = HistoryWriter::new(Arc::clone(&self.fs), directory.root(), number);
        let schema = self.schema.load_full();
        let mut flush = Flush {
            catalog: &schema.catalog,
            forgotten,
            writer,
            range: (first, lsn),
            parts: BTreeMap::new(),
        };
        // While the history was damaged, snapshots went on without it.
        let snapshots = directory.generations().iter().rev().map(|generation| generation.lsn);
        let mut borders = snapshots.filter(|border| (first..lsn).contains(border)).peekable();
        flush.range.1 = borders.peek().copied().unwrap_or(lsn);
        let (mut record_bytes, mut added_bytes) = (0, 0);
        for record in self.log.read(first)? {
            let (at, bytes) = record?;
            if at > lsn {
                break;
            }
            while let Some(border) = borders.next_if(|border| at > *border) {
                flush.end()?;
                flush.range = (border.next(), borders.peek().copied().unwrap_or(lsn));
            }
            let record = decode_record(&bytes).map_err(|why| self.undecodable(at, &why))?;
            flush.add(at, record.changes)?;
            record_bytes += bytes.len();
            if record_bytes >= PIECE_RECORD_BYTES {
                added_bytes += std::mem::take(&mut record_bytes);
                flush.add_pieces()?;
            }
            if added_bytes >= ROW_GROUP_RECORD_BYTES {
                added_bytes = 0;
                flush.write_row_groups()?;
            }
        }
        if planted("history not flushed") {
            flush.parts.clear();
        }
        flush.end()?;
        let mut parts = self.parts_without_forgotten(directory, &mut flush, lsn)?;
        parts.extend(flush.writer.finish()?);
        Ok(History { reaches: lsn, parts })
    }

    /// The parts that are listed and stay; those that tell of an entity that was forgotten up to
    /// `lsn` are written anew without what it was before. It may have come back since.
    fn parts_without_forgotten(
        &self,
        directory: &DataDirectory,
        flush: &mut Flush<'_>,
        lsn: Lsn,
    ) -> Result<Vec<HistoryPart>> {
        let files = PushedFiles::of(directory);
        let mut stay = Vec::with_capacity(files.parts.len());
        for part in &files.parts {
            let listed = &part.listed;
            let (view, entity) = meaning(flush.catalog, ViewId(listed.view), listed.generation)?;
            let forgotten = flush.forgotten;
            let keys: HashSet<Vec<KeyPart>> =
                forgotten.unerased(lsn.0).filter_map(|key| entity.parts(key).ok()).collect();
            if keys.is_empty() {
                stay.push(listed.clone());
                continue;
            }
            let bytes = part.bytes(&*self.fs, &self.root)?;
            let file = HistoryFile::open(bytes, &part.path, view, entity)?;
            let goes = |row: &PushedCells| {
                forgotten.hides(&entity.key(&row.key), row.order, row.stamp.event)
            };
            let gone = file.count_where(&keys, goes)?;
            if gone == 0 {
                stay.push(listed.clone());
                continue;
            }
            let rows = listed.rows.saturating_sub(gone);
            if rows > 0 {
                let range = (listed.first, listed.last);
                let anew = flush.begin(view, range, file.bucket())?;
                let anew = file.write_without(&keys, goes, anew)?;
                flush.writer.end(anew, rows)?;
            }
            let mut erased = self.erased.lock();
            erased.history_rows += gone;
            erased.history_files += 1;
        }
        Ok(stay)
    }

    /// What a manifest lists from now on is what readers look at; of `opened` the bytes are there.
    pub(super) fn pushed_files_changed(
        &self,
        directory: &DataDirectory,
        opened: &[Arc<PushedPart>],
    ) {
        self.pushed_files.rcu(|files| files.next(directory, opened));
        self.log_tail.forget_before(directory.history().reaches.next());
    }
}

/// A range of the log on its way into files.
struct Flush<'a> {
    catalog: &'a Catalog,
    forgotten: &'a Forgotten,
    writer: HistoryWriter,
    /// The first and the last LSN of the range.
    range: (Lsn, Lsn),
    parts: BTreeMap<(ViewId, u32), Part>,
}

/// The file of one generation of a view.
struct Part {
    writer: HistoryFileWriter<PartFile>,
    rows: u64,
    /// What is not written yet.
    piece: Vec<PushedCells>,
}

impl<'a> Flush<'a> {
    fn add(&mut self, lsn: Lsn, changes: Vec<Change>) -> Result<()> {
        for change in changes {
            let Change::Cells(write) = change else { continue };
            let is_hidden = || self.forgotten.hides(&write.key, lsn.0, write.stamp.event);
            if write.origin != Origin::Pushed || is_hidden() {
                continue;
            }
            let id = (write.view, write.generation);
            let (view, entity) = meaning(self.catalog, id.0, id.1)?;
            if !self.parts.contains_key(&id) {
                let file = self.begin(view, self.range, Bucket::WHOLE)?;
                // With every feature it ever had: one that comes back has its history then.
                let writer =
                    HistoryFileWriter::new(&whole(self.catalog, view, entity), entity, file)?;
                self.parts.insert(id, Part { writer, rows: 0, piece: Vec::new() });
            }
            let (key, stamp, cells) = (entity.parts(&write.key)?, write.stamp, write.cells);
            let pushed = PushedCells { key, stamp, order: lsn.0, cells };
            self.parts.entry(id).and_modify(|part| part.piece.push(pushed));
        }
        Ok(())
    }

    fn begin(
        &mut self,
        view: &View,
        (first, last): (Lsn, Lsn),
        bucket: Bucket,
    ) -> Result<PartFile> {
        self.writer.begin(&PartHead {
            view_name: &view.name,
            view: view.id.0,
            generation: view.generation,
            first,
            last,
            bucket: (bucket.number, bucket.count),
        })
    }

    fn add_pieces(&mut self) -> Result<()> {
        for part in self.parts.values_mut() {
            let piece = std::mem::take(&mut part.piece);
            part.rows += piece.len() as u64;
            part.writer.add(piece)?;
        }
        Ok(())
    }

    fn write_row_groups(&mut self) -> Result<()> {
        self.parts.values_mut().try_for_each(|part| part.writer.write_added())
    }

    /// Ends every file that was begun.
    fn end(&mut self) -> Result<()> {
        self.add_pieces()?;
        for (_, part) in std::mem::take(&mut self.parts) {
            self.writer.end(part.writer.finish()?, part.rows)?;
        }
        Ok(())
    }
}
