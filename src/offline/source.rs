//! A view's source, checked: every file has every column the view needs, in a type that converts.
//!
//! Invariants
//! - Columns are found by name in each file on its own: files may differ in order and in types.
//! - A row's place in all files, row groups and rows, counted from 1, is its arrival order.

use super::{
    convert::{converts, is_time},
    dataset::{DataFile, Dataset},
    parquet_file::available,
};
use crate::{
    error::{Error, Result},
    feature::{Entity, KeyType, Scalar, ValueType, View},
};
use arrow_schema::{DataType, Field};
use parquet::{arrow::arrow_reader::ArrowReaderMetadata, basic::Type as PhysicalType};

/// Where a column stands in one file.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// Among the top-level columns.
    pub(super) root: usize,
    /// Among the leaves, if it is not nested.
    pub(super) leaf: Option<usize>,
    /// What the file says it holds.
    pub(super) data_type: DataType,
    /// How it is stored.
    pub(super) physical: Option<PhysicalType>,
}

impl Column {
    /// The column with this place among the top-level columns, and its field.
    pub(super) fn at(metadata: &ArrowReaderMetadata, root: usize, field: &Field) -> Self {
        let leaf = leaf_of(metadata, root);
        let physical = leaf.map(|leaf| metadata.parquet_schema().column(leaf).physical_type());
        Self { root, leaf, data_type: field.data_type().clone(), physical }
    }
}

/// The columns of one file that a view needs.
#[derive(Clone, Debug)]
pub(super) struct FileColumns {
    /// One per join key.
    pub(super) keys: Vec<Column>,
    pub(super) event: Column,
    pub(super) created: Option<Column>,
    /// One per feature asked for.
    pub(super) features: Vec<Column>,
}

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
    pub(super) dataset: &'a Dataset,
    /// The types of the features asked for.
    pub(super) types: Vec<ValueType>,
    pub(super) columns: Vec<FileColumns>,
    pub(super) row_groups: Vec<RowGroup>,
}

/// Checks that the source of `view` has all its columns; the error names file and column.
pub fn check_source(view: &View, entity: &Entity, dataset: &Dataset) -> Result<()> {
    let features: Vec<usize> = (0..view.features.len()).collect();
    ViewSource::open(view, entity, dataset, &features).map(drop)
}

impl<'a> ViewSource<'a> {
    /// Finds the columns of the features with these indexes in every file.
    pub(super) fn open(
        view: &'a View,
        entity: &Entity,
        dataset: &'a Dataset,
        features: &[usize],
    ) -> Result<Self> {
        let wanted: Vec<_> = features.iter().filter_map(|i| view.features.get(*i)).collect();
        let types = wanted.iter().map(|feature| feature.value_type).collect();
        let mut columns = Vec::with_capacity(dataset.files().len());
        let mut row_groups = Vec::new();
        let mut first_order = 1_u64;
        for (index, file) in dataset.files().iter().enumerate() {
            let finder = Finder { file, view };
            columns.push(FileColumns {
                keys: finder.keys(entity)?,
                event: finder.time("event timestamp", view.event_timestamp.as_deref())?,
                created: match &view.created_timestamp {
                    Some(name) => Some(finder.time("created timestamp", Some(name))?),
                    None => None,
                },
                features: wanted
                    .iter()
                    .map(|feature| finder.feature(&feature.name, feature.value_type))
                    .collect::<Result<_>>()?,
            });
            for (number, rows) in file.row_group_rows().iter().enumerate() {
                row_groups.push(RowGroup { file: index, index: number, rows: *rows, first_order });
                first_order = first_order.saturating_add(*rows);
            }
        }
        Ok(Self { view, dataset, types, columns, row_groups })
    }

    /// The file of a row group, and the view's columns in it.
    pub(super) fn file(&self, row_group: &RowGroup) -> Result<(&'a DataFile, &FileColumns)> {
        let file = self.dataset.files().get(row_group.file);
        // Both lists were built together, one entry per file.
        file.zip(self.columns.get(row_group.file))
            .ok_or_else(|| Error::refused("a row group without its file"))
    }

    /// The name of the join key, timestamp or feature for an error text.
    pub(super) fn event_name(&self) -> &str {
        self.view.event_timestamp.as_deref().unwrap_or_default()
    }
}

/// Looks for the columns of a view in one file.
struct Finder<'a> {
    file: &'a DataFile,
    view: &'a View,
}

impl Finder<'_> {
    fn keys(&self, entity: &Entity) -> Result<Vec<Column>> {
        let key = |join_key: &crate::feature::JoinKey| {
            let expected = key_value_type(join_key.key_type);
            let role = format!("join key of view {}", self.view.name);
            self.column(&join_key.name, &role, join_key.key_type.name(), |from| {
                converts(from, expected)
            })
        };
        entity.join_keys.iter().map(key).collect()
    }

    fn time(&self, role: &str, name: Option<&str>) -> Result<Column> {
        let role = format!("{role} of view {}", self.view.name);
        let Some(name) = name else {
            return Err(Error::refused(format!(
                "view {} has a source but no {role}",
                self.view.name
            )));
        };
        self.column(name, &role, "timestamp", is_time)
    }

    fn feature(&self, name: &str, value_type: ValueType) -> Result<Column> {
        let role = format!("feature of view {}", self.view.name);
        self.column(name, &role, &value_type.to_string(), |from| converts(from, value_type))
    }

    fn column(
        &self,
        name: &str,
        role: &str,
        expected: &str,
        accepts: impl Fn(&DataType) -> bool,
    ) -> Result<Column> {
        let metadata = self.file.metadata();
        let path = self.file.path().display();
        let fields = metadata.schema().fields();
        let Some((root, field)) = fields.find(name) else {
            let names = fields.iter().map(|field| field.name().as_str());
            return Err(Error::refused(format!(
                "{path}: no column '{name}' ({role}, {expected}){}",
                available(name, names, "the file has")
            )));
        };
        if !accepts(field.data_type()) {
            return Err(Error::refused(format!(
                "{path}: column '{name}' ({role}) holds {}, expected {expected}",
                field.data_type()
            )));
        }
        Ok(Column::at(metadata, root, field))
    }
}

/// The type that the column of a join key must convert to.
pub(super) fn key_value_type(key_type: KeyType) -> ValueType {
    ValueType::Scalar(match key_type {
        KeyType::String => Scalar::String,
        KeyType::Int64 => Scalar::Int64,
        KeyType::Bytes => Scalar::Bytes,
    })
}

fn leaf_of(metadata: &ArrowReaderMetadata, root: usize) -> Option<usize> {
    let schema = metadata.parquet_schema();
    let mut leaves =
        (0..schema.num_columns()).filter(|leaf| schema.get_column_root_idx(*leaf) == root);
    let leaf = leaves.next().filter(|leaf| schema.column(*leaf).max_rep_level() == 0)?;
    leaves.next().is_none().then_some(leaf)
}
