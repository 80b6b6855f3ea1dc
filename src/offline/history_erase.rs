//! A history file written anew without what was forgotten.

use super::{
    history_file::HistoryFile,
    history_keys::{AskedKeys, whole},
    history_layout::{SlotColumn, runs_of},
    history_write::{HistoryFileWriter, Limits},
    pushed::PushedCells,
};
use crate::{error::Result, feature::KeyPart};
use parquet::{basic::Compression, file::metadata::ColumnChunkMetaData};
use std::{collections::HashSet, io::Write};

impl HistoryFile {
    /// How many rows of `keys` go.
    pub fn count_where(
        &self,
        keys: &HashSet<Vec<KeyPart>>,
        goes: impl Fn(&PushedCells) -> bool,
    ) -> Result<u64> {
        let asked = AskedKeys::new(&self.entity, keys)?;
        let (mut count, mut found) = (0_u64, Vec::new());
        for row_group in &self.row_groups {
            let rows = self.rows_of(row_group, &asked)?;
            self.read(row_group, &rows, &self.all_slots(), &mut found)?;
            count = count.saturating_add(found.drain(..).filter(&goes).count() as u64);
        }
        Ok(count)
    }

    /// Writes the same file without the rows of `keys` that go.
    ///
    /// The cells of slots that the view has no longer are kept: they count again once a feature
    /// comes back.
    pub fn write_without<W: Write + Send>(
        &self,
        keys: &HashSet<Vec<KeyPart>>,
        goes: impl Fn(&PushedCells) -> bool,
        to: W,
    ) -> Result<W> {
        let all = self.all_slots();
        let slots: Vec<SlotColumn> = all.iter().map(|slot| slot.written.clone()).collect();
        let (view, entity) = (&self.view, &self.entity);
        let limits = Limits { compression: self.compression(), ..Limits::default() };
        let mut writer = HistoryFileWriter::with_slots(view, entity, slots, to, limits)?;
        writer.limit_to(self.bucket());
        writer.keeps(self.kept);
        let (mut starts, mut start) = (Vec::new(), 0);
        for run in runs_of(&self.file)? {
            for row_group in self.row_groups.get(run).unwrap_or_default() {
                let mut kept = Vec::new();
                self.read(row_group, &whole(row_group), &all, &mut kept)?;
                kept.retain(|row| !(keys.contains(&row.key) && goes(row)));
                writer.add_sorted(&kept)?;
            }
            let end = writer.end_row_group()?;
            if end > start {
                starts.push(start);
            }
            start = end;
        }
        // Without a word on runs, each row group is one.
        if starts.len() < start { writer.finish_runs(&starts) } else { writer.finish() }
    }

    /// How its first column is compressed, and with it all.
    fn compression(&self) -> Compression {
        let row_group = self.file.metadata().metadata().row_groups().first();
        let column = row_group.and_then(|row_group| row_group.columns().first());
        column.map_or(Limits::default().compression, ColumnChunkMetaData::compression)
    }
}
