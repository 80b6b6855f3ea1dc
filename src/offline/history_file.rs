//! A history file: what clients pushed to one generation of a view, as sorted Parquet, read again.
//!
//! ```text
//! join keys   of pages that may hold an asked key       ─┐
//! __cells     of the rows of asked keys                  ├─> rows that are wanted
//! the rest    of wanted rows, and asked features only   ─┘
//! ```
//! Invariants
//! - Total: hostile bytes give an error that names the file. Whether the bytes are those that were
//!   written, the hash in the manifest tells; here only what makes no sense is refused.
//! - A slot that the view has no longer is passed over, and one that came later is not there.
//!
//! Not here: columns and their names (`history_layout.rs`), writing (`history_write.rs`).

use super::{
    bucket::Bucket,
    cells::{key_part, value_at},
    column_reader::ColumnReader,
    convert::convert,
    dataset::DataFile,
    history_keys::{AskedKeys, push_range, whole},
    history_layout::{
        ABSENT, FileSlot, HistoryColumns, Kept, NULL, TOMBSTONE, VALUE, bucket_of_file,
        check_file_metadata, runs_of, stored_type,
    },
    history_write::sort_key,
    keys::UNKNOWN,
    parquet_file::damaged,
    pushed::PushedCells,
    source::{Column, RowGroup, key_value_type},
};
use crate::{
    error::{Error, Result},
    feature::{CellWrite, Entity, KeyPart, Scalar, Stamp, Timestamp, ValueType, View},
};
use arrow_array::{
    Array, ArrayRef,
    cast::AsArray,
    types::{TimestampMicrosecondType, UInt64Type},
};
use bytes::Bytes;
use std::{collections::HashSet, ops::Range, path::Path, sync::Arc};

/// A history file, opened for a view as it is now.
#[derive(Clone, Debug)]
pub struct HistoryFile {
    pub(super) file: DataFile,
    pub(super) view: View,
    pub(super) entity: Entity,
    pub(super) columns: HistoryColumns,
    pub(super) row_groups: Vec<RowGroup>,
    bucket: Bucket,
    pub(super) kept: Kept,
}

impl HistoryFile {
    /// Opens `bytes`, which errors call `path`. Refused if they are the history of another view or
    /// generation, or if a column is not what `view` and `entity` say.
    pub fn open(bytes: Bytes, path: &Path, view: &View, entity: &Entity) -> Result<Self> {
        let file = DataFile::in_memory(path, bytes)?;
        check_file_metadata(&file, view)?;
        let (bucket, kept) = (bucket_of_file(&file)?, Kept::of_file(&file)?);
        let columns = HistoryColumns::find(&file, view, entity)?;
        let rows = file.row_group_rows().iter().enumerate();
        let row_group =
            |(index, rows): (usize, &u64)| RowGroup { file: 0, index, rows: *rows, first_order: 0 };
        let row_groups = rows.map(row_group).collect();
        let (view, entity) = (view.clone(), entity.clone());
        Ok(Self { file, view, entity, columns, row_groups, bucket, kept })
    }

    /// Whether it was opened for these.
    pub fn is_for(&self, view: &View, entity: &Entity) -> bool {
        self.view == *view && self.entity == *entity
    }

    /// What it has of all that was told.
    pub fn kept(&self) -> Kept {
        self.kept
    }

    /// Which entities it holds.
    pub fn bucket(&self) -> Bucket {
        self.bucket
    }

    /// How many runs the file has, each sorted as a whole.
    pub fn runs(&self) -> Result<usize> {
        Ok(runs_of(&self.file)?.len())
    }

    /// How many rows the file has.
    pub fn row_count(&self) -> u64 {
        self.file.rows()
    }

    /// The rows with one of `keys` that write at least one of `slots`, with only those cells, in
    /// the order of key, stamp and arrival within each row group. `None` is all keys, and all slots
    /// that the view has.
    pub fn rows(
        &self,
        slots: Option<&[u32]>,
        keys: Option<&HashSet<Vec<KeyPart>>>,
    ) -> Result<Vec<PushedCells>> {
        let asked = keys.map(|keys| AskedKeys::new(&self.entity, keys)).transpose()?;
        let mut found = Vec::new();
        self.each_row(slots, asked.as_ref(), &mut |row| {
            found.push(row);
            Ok(())
        })?;
        Ok(found)
    }

    /// Hands the same rows to `take`, one by one: no more than a batch of them is in memory.
    pub fn each_row(
        &self,
        slots: Option<&[u32]>,
        asked: Option<&AskedKeys>,
        take: &mut dyn FnMut(PushedCells) -> Result<()>,
    ) -> Result<()> {
        let wanted = self.wanted(slots);
        if wanted.is_empty() || asked.is_some_and(|asked| !asked.reach_bucket(self.bucket)) {
            return Ok(());
        }
        for row_group in &self.row_groups {
            let rows = match asked {
                Some(asked) => self.rows_of(row_group, asked)?,
                None => whole(row_group),
            };
            self.each_writing(row_group, &rows, &wanted, take)?;
        }
        Ok(())
    }

    /// The slots among these that the view has.
    pub(super) fn wanted(&self, slots: Option<&[u32]>) -> Vec<&FileSlot> {
        let is_wanted =
            |slot: &&FileSlot| slots.is_none_or(|slots| slots.contains(&slot.written.slot));
        let of_view = self.columns.slots.iter().filter(|slot| slot.is_of_view);
        of_view.filter(is_wanted).collect()
    }

    /// Hands those of `rows` to `take` that write one of the wanted slots.
    pub(super) fn each_writing(
        &self,
        row_group: &RowGroup,
        rows: &[Range<usize>],
        wanted: &[&FileSlot],
        take: &mut dyn FnMut(PushedCells) -> Result<()>,
    ) -> Result<()> {
        let writing = (wanted.len() < self.columns.slots.len())
            .then(|| self.rows_writing(row_group, rows, wanted));
        let writing = writing.transpose()?;
        let rows = writing.as_deref().unwrap_or(rows);
        self.each(row_group, rows, wanted, &mut |row| {
            if row.cells.is_empty() { Ok(()) } else { take(row) }
        })
    }

    /// The slots of all columns, also those that the view has lost.
    pub(super) fn all_slots(&self) -> Vec<&FileSlot> {
        self.columns.slots.iter().collect()
    }

    /// The rows of a row group whose key is asked for.
    pub(super) fn rows_of(
        &self,
        row_group: &RowGroup,
        asked: &AskedKeys,
    ) -> Result<Vec<Range<usize>>> {
        let reach = asked.rows_in_reach(&self.file, row_group, &self.columns.keys)?;
        self.rows_among(row_group, &reach, asked)
    }

    /// Those of `reach` whose key is asked for.
    pub(super) fn rows_among(
        &self,
        row_group: &RowGroup,
        reach: &[Range<usize>],
        asked: &AskedKeys,
    ) -> Result<Vec<Range<usize>>> {
        let keys: Vec<&Column> = self.columns.keys.iter().collect();
        let mut rows = Vec::new();
        let (mut caches, mut entities) = (Vec::new(), Vec::new());
        let mut reached = reach.iter().cloned().flatten();
        self.for_each_batch(row_group, reach, &keys, |arrays| {
            let numbered = asked.table.find(&arrays, &mut caches, &mut entities);
            numbered.map_err(|why| damaged(self.file.path(), &why))?;
            for (entity, row) in entities.iter().zip(reached.by_ref()) {
                if *entity != UNKNOWN {
                    push_range(&mut rows, row..row + 1);
                }
            }
            Ok(())
        })?;
        Ok(rows)
    }

    /// Those of `rows` that write one of the wanted slots.
    fn rows_writing(
        &self,
        row_group: &RowGroup,
        rows: &[Range<usize>],
        wanted: &[&FileSlot],
    ) -> Result<Vec<Range<usize>>> {
        let mut writing = Vec::new();
        let mut reached = rows.iter().cloned().flatten();
        self.for_each_batch(row_group, rows, &[&self.columns.cells], |arrays| {
            let cells = arrays.first().ok_or_else(|| self.senseless("__cells"))?;
            let cells = self.texts(cells)?;
            for (cells, row) in cells.as_string::<i32>().iter().zip(reached.by_ref()) {
                let cells = cells.unwrap_or_default().as_bytes();
                let writes =
                    |slot: &&FileSlot| cells.get(slot.letter).is_some_and(|l| *l != ABSENT);
                if wanted.iter().any(writes) {
                    push_range(&mut writing, row..row + 1);
                }
            }
            Ok(())
        })?;
        Ok(writing)
    }

    /// Adds `rows` of a row group to `found`.
    pub(super) fn read(
        &self,
        row_group: &RowGroup,
        rows: &[Range<usize>],
        wanted: &[&FileSlot],
        found: &mut Vec<PushedCells>,
    ) -> Result<()> {
        self.each(row_group, rows, wanted, &mut |row| {
            found.push(row);
            Ok(())
        })
    }

    /// Hands `rows` of a row group to `take`, each once the next one was seen to stand behind it.
    fn each(
        &self,
        row_group: &RowGroup,
        rows: &[Range<usize>],
        wanted: &[&FileSlot],
        take: &mut dyn FnMut(PushedCells) -> Result<()>,
    ) -> Result<()> {
        let columns = self.columns_with(wanted);
        let mut last: Option<PushedCells> = None;
        self.for_each_batch(row_group, rows, &columns, |arrays| {
            let batch = Batch::new(self, wanted, arrays)?;
            for place in 0..batch.len() {
                let row = batch.row(place)?;
                // Written by none of those that were asked for; or one that wrote nothing at all.
                if row.cells.is_empty() && wanted.len() < self.columns.slots.len() {
                    continue;
                }
                if last.as_ref().is_some_and(|last| sort_key(last) > sort_key(&row)) {
                    return Err(damaged(self.file.path(), "its rows are not in their order"));
                }
                if !self.bucket.holds(&row.key) {
                    return Err(damaged(self.file.path(), "a row is of another bucket"));
                }
                last.replace(row).map_or(Ok(()), &mut *take)?;
            }
            Ok(())
        })?;
        last.map_or(Ok(()), take)
    }

    /// All columns that are of no feature, and those of some slots: what [`Batch::new`] takes.
    pub(super) fn columns_with<'a>(&'a self, wanted: &[&'a FileSlot]) -> Vec<&'a Column> {
        let HistoryColumns { keys, event, created, order, cells, .. } = &self.columns;
        let mut columns: Vec<&Column> = keys.iter().collect();
        columns.extend([event, created, order, cells]);
        columns.extend(wanted.iter().map(|slot| &slot.column));
        columns
    }

    /// Decodes some columns of some rows.
    fn for_each_batch(
        &self,
        row_group: &RowGroup,
        rows: &[Range<usize>],
        columns: &[&Column],
        mut each: impl FnMut(Vec<ArrayRef>) -> Result<()>,
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let ranges = (rows != whole(row_group)).then_some(rows);
        let mut reader =
            ColumnReader::open(&self.file, row_group, columns, ranges, &Arc::default())?;
        while let Some(arrays) = reader.next_batch()? {
            each(arrays)?;
        }
        Ok(())
    }

    fn converted(&self, array: &ArrayRef, to: ValueType) -> Result<ArrayRef> {
        convert(array, to).map_err(|why| damaged(self.file.path(), &why))
    }

    fn texts(&self, array: &ArrayRef) -> Result<ArrayRef> {
        self.converted(array, ValueType::Scalar(Scalar::String))
    }

    fn senseless(&self, column: &str) -> Error {
        damaged(self.file.path(), &format!("column '{column}' does not fit the others"))
    }
}

/// Decoded rows.
pub(super) struct Batch<'a> {
    file: &'a HistoryFile,
    wanted: &'a [&'a FileSlot],
    keys: Vec<ArrayRef>,
    events: ArrayRef,
    created: ArrayRef,
    orders: ArrayRef,
    cells: ArrayRef,
    /// One per wanted slot.
    features: Vec<ArrayRef>,
}

impl<'a> Batch<'a> {
    /// `arrays` are the join keys, event, created, order, cells, and the wanted features.
    pub(super) fn new(
        file: &'a HistoryFile,
        wanted: &'a [&'a FileSlot],
        arrays: Vec<ArrayRef>,
    ) -> Result<Self> {
        let mut arrays = arrays.into_iter();
        let mut next = |name: &str| arrays.next().ok_or_else(|| file.senseless(name));
        let mut keys = Vec::with_capacity(file.entity.join_keys.len());
        for join_key in &file.entity.join_keys {
            let key = next(&join_key.name)?;
            keys.push(file.converted(&key, key_value_type(join_key.key_type))?);
        }
        let (events, created) = (next("__event")?, next("__created")?);
        let (orders, cells) = (next("__order")?, next("__cells")?);
        let mut features = Vec::with_capacity(wanted.len());
        for slot in wanted {
            let array = next(&slot.written.name)?;
            features.push(match slot.written.value_type {
                Some(declared) => file.converted(&array, stored_type(declared))?,
                None => array,
            });
        }
        let cells = file.texts(&cells)?;
        Ok(Self { file, wanted, keys, events, created, orders, cells, features })
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.orders.len()
    }

    pub(super) fn row(&self, row: usize) -> Result<PushedCells> {
        let senseless = |column: &str| self.file.senseless(column);
        let mut key = Vec::with_capacity(self.keys.len());
        for (array, join_key) in self.keys.iter().zip(&self.file.entity.join_keys) {
            let part = value_at(array, row).and_then(key_part);
            key.push(part.ok_or_else(|| senseless(&join_key.name))?);
        }
        let time = |array: &ArrayRef| {
            let times = array.as_primitive::<TimestampMicrosecondType>();
            (!times.is_null(row)).then(|| Timestamp(times.value(row)))
        };
        let event = time(&self.events).ok_or_else(|| senseless("__event"))?;
        let orders = self.orders.as_primitive::<UInt64Type>();
        if orders.is_null(row) || self.cells.is_null(row) {
            return Err(senseless("__order"));
        }
        let letters = self.cells.as_string::<i32>().value(row).as_bytes();
        if letters.len() != self.file.columns.slots.len() {
            return Err(senseless("__cells"));
        }
        let mut cells = Vec::new();
        for (slot, array) in self.wanted.iter().zip(&self.features) {
            let write = match letters.get(slot.letter).copied() {
                Some(ABSENT) => continue,
                Some(NULL) => CellWrite::Null,
                Some(TOMBSTONE) => CellWrite::Tombstone,
                Some(VALUE) => {
                    let declared = slot.written.value_type;
                    let value = value_at(array, row).zip(declared);
                    let value = value.filter(|(value, declared)| value.is_of(*declared));
                    let (value, _) = value.ok_or_else(|| senseless(&slot.written.name))?;
                    CellWrite::Value(value)
                }
                _ => return Err(senseless("__cells")),
            };
            cells.push((slot.written.slot, write));
        }
        let stamp = Stamp::new(event, time(&self.created));
        Ok(PushedCells { key, stamp, order: orders.value(row), cells })
    }
}
