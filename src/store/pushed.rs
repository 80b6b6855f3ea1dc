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
    history::Opened,
    pushed_files::{AskedKeys, PushedFiles},
};
use crate::{
    error::{Error, Result},
    feature::{Change, Entity, Origin, View, ViewId, decode_record},
    log::{DataDirectory, History, HistoryWriter, Lsn, PartContent},
    offline::{HistoryFile, PushedCells, write_history},
    planted::planted,
    registry::Catalog,
};
use std::{collections::BTreeMap, sync::Arc};

/// So many bytes of records go into one file per view.
const PART_RECORD_BYTES: usize = 64 * 1024 * 1024;

impl Store {
    /// Hands each push to the views of `opened` to `take`, those of one entity and stamp in the
    /// order of arrival. `keys` are those that are asked for; `None` is all. A `take` that is
    /// called for the first time has forgotten what it took before: `begin` makes it.
    pub(super) fn pushed<T>(
        &self,
        opened: &[Opened],
        keys: Option<&AskedKeys>,
        begin: impl Fn() -> T,
        take: impl Fn(&mut T, &Opened, PushedCells) -> Result<()>,
    ) -> Result<T> {
        self.log.flush()?;
        loop {
            let files = self.pushed_files.load_full();
            let mut taken = begin();
            let mut take = |opened: &Opened, cells| take(&mut taken, opened, cells);
            let read = self.pushed_to_files(&files, opened, keys, &mut take);
            let read = read.and_then(|()| self.pushed_since(&files, opened, keys, &mut take));
            match read {
                Ok(()) => return Ok(taken),
                // A checkpoint may have removed what we were about to read.
                Err(_) if !Arc::ptr_eq(&files, &self.pushed_files.load()) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn pushed_to_files(
        &self,
        files: &PushedFiles,
        opened: &[Opened],
        keys: Option<&AskedKeys>,
        take: &mut impl FnMut(&Opened, PushedCells) -> Result<()>,
    ) -> Result<()> {
        for view in opened {
            let slots: Vec<u32> = view.slots().collect();
            let id = (view.view.id.0, view.view.generation);
            for part in &files.parts {
                if (part.listed.view, part.listed.generation) != id {
                    continue;
                }
                let bytes = part.bytes(&*self.fs, &self.root)?;
                let file = HistoryFile::open(bytes, &part.path, &view.view, &view.entity)?;
                for cells in file.rows(Some(&slots), keys)? {
                    take(view, cells)?;
                }
            }
        }
        Ok(())
    }

    /// What was pushed and stands in the log alone.
    fn pushed_since(
        &self,
        files: &PushedFiles,
        opened: &[Opened],
        keys: Option<&AskedKeys>,
        take: &mut impl FnMut(&Opened, PushedCells) -> Result<()>,
    ) -> Result<()> {
        let from = files.reaches.next().max(self.log.status().first);
        for record in self.log.read(from)? {
            let (lsn, bytes) = record?;
            let record = decode_record(&bytes).map_err(|why| self.undecodable(lsn, &why))?;
            for change in record.changes {
                let Change::Cells(write) = change else { continue };
                let same =
                    |o: &&Opened| (o.view.id, o.view.generation) == (write.view, write.generation);
                let wanted = opened.iter().find(same).filter(|_| write.origin == Origin::Pushed);
                let Some(view) = wanted else { continue };
                let key = view.entity.parts(&write.key)?;
                if keys.is_none_or(|keys| keys.contains(&key)) {
                    let (stamp, order, cells) = (write.stamp, lsn.0, write.cells);
                    take(view, PushedCells { key, stamp, order, cells })?;
                }
            }
        }
        Ok(())
    }

    /// Writes what was pushed in the records that no file holds yet, up to `lsn`, to files that a
    /// manifest is to list; what it must say of the history. The records must be durable.
    pub(super) fn write_pushed(&self, directory: &DataDirectory, lsn: Lsn) -> Result<History> {
        let listed = directory.history();
        let first = listed.reaches.next().max(self.log.status().first);
        let number = directory.number() + 1;
        let writer = HistoryWriter::new(Arc::clone(&self.fs), directory.root(), number);
        let schema = self.schema.load_full();
        let mut flush = Flush { catalog: &schema.catalog, writer, first, pushed: BTreeMap::new() };
        let mut record_bytes = 0;
        for record in self.log.read(first)? {
            let (at, bytes) = record?;
            if at > lsn {
                break;
            }
            let record = decode_record(&bytes).map_err(|why| self.undecodable(at, &why))?;
            flush.add(at, record.changes)?;
            record_bytes += bytes.len();
            if record_bytes >= PART_RECORD_BYTES {
                record_bytes = 0;
                flush.write(at)?;
            }
        }
        if !planted("history not flushed") {
            flush.write(lsn)?;
        }
        let mut parts = listed.parts.clone();
        parts.extend(flush.writer.finish()?);
        Ok(History { reaches: lsn, parts })
    }

    /// What a manifest lists from now on is what readers look at.
    pub(super) fn pushed_files_changed(&self, directory: &DataDirectory) {
        self.pushed_files.rcu(|files| files.next(directory));
    }
}

/// A range of the log on its way into files.
struct Flush<'a> {
    catalog: &'a Catalog,
    writer: HistoryWriter,
    /// The first LSN of the range.
    first: Lsn,
    pushed: BTreeMap<(ViewId, u32), Vec<PushedCells>>,
}

impl<'a> Flush<'a> {
    fn add(&mut self, lsn: Lsn, changes: Vec<Change>) -> Result<()> {
        for change in changes {
            let Change::Cells(write) = change else { continue };
            if write.origin != Origin::Pushed {
                continue;
            }
            let (_, entity) = self.meaning(write.view, write.generation)?;
            self.pushed.entry((write.view, write.generation)).or_default().push(PushedCells {
                key: entity.parts(&write.key)?,
                stamp: write.stamp,
                order: lsn.0,
                cells: write.cells,
            });
        }
        Ok(())
    }

    fn meaning(&self, view: ViewId, generation: u32) -> Result<(&'a View, &'a Entity)> {
        let view = self.catalog.view_of_generation(view, generation);
        let entity = view.and_then(|view| self.catalog.entity_by_id(view.entity));
        let meaning = view.zip(entity).map(|(view, entity)| (&**view, &**entity));
        meaning.ok_or_else(|| Error::refused("pushed cells of a view that was never defined"))
    }

    /// Writes what there is as that of the records up to `last`.
    fn write(&mut self, last: Lsn) -> Result<()> {
        for ((id, generation), cells) in std::mem::take(&mut self.pushed) {
            let (view, entity) = self.meaning(id, generation)?;
            let rows = cells.len() as u64;
            let bytes = write_history(view, entity, cells)?;
            self.writer.add(&PartContent {
                view_name: &view.name,
                view: id.0,
                generation,
                first: self.first,
                last,
                rows,
                bytes: &bytes,
            })?;
        }
        self.first = last.next();
        Ok(())
    }
}
