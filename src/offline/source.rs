//! A view with the files of its source that are needed, and in each of them its columns.
//!
//! ```text
//! files found ── folders tell that no row can matter? ──> skipped, never opened
//!             └─> opened ──> each column: stored in the file │ one value for all its rows
//! ```
//! Invariants
//! - What is refused does not depend on which files were skipped, their contents aside.
//! - A row's place in all files that were opened, row groups and rows, counted from 1, is its
//!   arrival order.

use super::{
    columns::{Finder, told},
    dataset::{DataFile, Dataset, SourceFile},
};
use crate::{
    error::{Error, Result},
    feature::{Entity, Feature, ValueType, View},
    parallel::map,
};

pub(super) use super::columns::{Cells, Column, FileColumns, Told, key_value_type};

/// Of so many files that lie in a store the footers are on their way at once.
const OPENED_AHEAD: usize = 16;

/// One row group of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowGroup {
    pub(super) file: usize,
    pub(super) index: usize,
    pub(super) rows: u64,
    /// The order of its first row; that of the next rows follows.
    pub(super) first_order: u64,
}

/// A view with the files it reads, and in each of them its columns.
#[derive(Clone, Debug)]
pub(super) struct ViewSource<'a> {
    pub(super) view: &'a View,
    /// Those that were opened.
    files: Vec<&'a DataFile>,
    /// How many were not.
    pub(super) files_skipped: u64,
    /// The types of the features asked for.
    pub(super) types: Vec<ValueType>,
    columns: Vec<FileColumns>,
    pub(super) row_groups: Vec<RowGroup>,
}

/// Whether a file may have a row that matters, by what its folders tell.
pub(super) type Reaches<'a> = dyn Fn(&Told) -> bool + 'a;

/// Checks that the source of `view` has all its columns; the error names file and column.
pub fn check_source(view: &View, entity: &Entity, dataset: &Dataset) -> Result<()> {
    let features: Vec<usize> = (0..view.features.len()).collect();
    ViewSource::open(view, entity, dataset, &features, &|_| true, 1).map(drop)
}

impl<'a> ViewSource<'a> {
    /// Opens the files that `reaches` wants, and finds the columns of the features with these
    /// indexes in each of them.
    pub(super) fn open(
        view: &'a View,
        entity: &Entity,
        dataset: &'a Dataset,
        features: &[usize],
        reaches: &Reaches<'_>,
        threads: usize,
    ) -> Result<Self> {
        let features: Vec<_> = features.iter().filter_map(|i| view.features.get(*i)).collect();
        let (mut wanted, mut skipped) = (Vec::new(), Vec::new());
        for file in dataset.files() {
            let is_wanted = match told(file, view, entity)? {
                Some(told) => reaches(&told),
                None => true,
            };
            if is_wanted { wanted.push(file) } else { skipped.push(file) }
        }
        let numbered: Vec<(usize, &SourceFile)> = wanted.iter().copied().enumerate().collect();
        let files = map(threads, &numbered, |(place, file)| {
            let soon = wanted.iter().skip(*place).take(OPENED_AHEAD);
            soon.for_each(|file| file.begin_to_open());
            file.open()
        })?;
        let mut finders = Vec::with_capacity(files.len());
        for (file, found) in files.iter().zip(&wanted) {
            finders.push(Finder { file, partitions: found.partitions(), view });
        }
        let mut found = finders.iter().map(|finder| finder.features(&features));
        let found: Vec<Vec<Option<Cells>>> = found.by_ref().collect::<Result<_>>()?;
        refuse_features_of_no_file(view, &features, &finders, &found, &skipped)?;
        let mut columns = Vec::with_capacity(files.len());
        for (finder, found) in finders.iter().zip(found) {
            columns.push(finder.columns(entity, &features, found)?);
        }
        let row_groups = row_groups(&files);
        let types = features.iter().map(|feature| feature.value_type).collect();
        let files_skipped = skipped.len() as u64;
        Ok(Self { view, files, files_skipped, types, columns, row_groups })
    }

    /// Whether some file is read from a store.
    pub(super) fn is_in_store(&self) -> bool {
        self.files.iter().any(|file| file.is_in_store())
    }

    /// How many rows the files have that were opened.
    pub(super) fn rows(&self) -> u64 {
        self.row_groups.iter().map(|row_group| row_group.rows).sum()
    }

    /// The file of a row group, and the view's columns in it.
    pub(super) fn file(&self, row_group: &RowGroup) -> Result<(&'a DataFile, &FileColumns)> {
        let file = self.files.get(row_group.file).copied();
        // Both lists were built together, one entry per file.
        file.zip(self.columns.get(row_group.file))
            .ok_or_else(|| Error::refused("a row group without its file"))
    }

    /// The name of the join key, timestamp or feature for an error text.
    pub(super) fn event_name(&self) -> &str {
        self.view.event_timestamp.as_deref().unwrap_or_default()
    }
}

fn row_groups(files: &[&DataFile]) -> Vec<RowGroup> {
    let mut row_groups = Vec::new();
    let mut first_order = 1_u64;
    for (file, data) in files.iter().enumerate() {
        for (index, rows) in data.row_group_rows().iter().enumerate() {
            row_groups.push(RowGroup { file, index, rows: *rows, first_order });
            first_order = first_order.saturating_add(*rows);
        }
    }
    row_groups
}

/// A feature that no file has is no drift: its name is wrong.
fn refuse_features_of_no_file(
    view: &View,
    features: &[&Feature],
    finders: &[Finder<'_>],
    found: &[Vec<Option<Cells>>],
    skipped: &[&SourceFile],
) -> Result<()> {
    for (place, feature) in features.iter().enumerate() {
        let is_found = |cells: &Vec<Option<Cells>>| cells.get(place).is_some_and(Option::is_some);
        if found.iter().any(is_found) {
            continue;
        }
        // Columns are added rather than removed: the last files know most names.
        let mut others = skipped.iter().rev();
        let has = |file: &SourceFile| -> Result<bool> {
            let told = file.partitions().get(&feature.name).is_ok_and(|told| told.is_some());
            Ok(told || file.open()?.metadata().schema().fields().find(&feature.name).is_some())
        };
        let is_elsewhere = others.try_fold(false, |any, file| Ok(any || has(file)?));
        if is_elsewhere? {
            continue;
        }
        let first = match (finders.first(), skipped.first()) {
            (Some(finder), _) => Finder { ..*finder },
            (None, Some(file)) => {
                Finder { file: file.open()?, partitions: file.partitions(), view }
            }
            (None, None) => continue,
        };
        let role = format!("feature of view {}", view.name);
        return Err(first.missing(
            &feature.name,
            &role,
            &feature.value_type.to_string(),
            finders.len() + skipped.len() - 1,
        ));
    }
    Ok(())
}
