//! The columns that a view needs, found in one file and in the names of its folders, in types that
//! convert.
//!
//! Invariants
//! - Columns are found by name in each file on its own: files may differ in order and in types.
//! - What a folder tells goes before what the file has.
//! - A feature may be missing: it is null then. A join key or a timestamp may not.

use super::{
    constant::null_of,
    convert::{Rounding, converts, is_time},
    dataset::{DataFile, SourceFile},
    parquet_file::available,
    partitions::Partitions,
};
use crate::{
    error::{Error, Result},
    feature::{Entity, Feature, KeyType, Scalar, ValueType, View},
};
use arrow_array::ArrayRef;
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

/// Where one file has the values of a column.
#[derive(Clone, Debug)]
pub(super) enum Cells {
    Stored(Column),
    /// A column of one row, of the declared type: its value is that of all rows.
    Constant(ArrayRef),
}

impl Cells {
    /// The column of the file, if they stand there.
    pub(super) fn stored(&self) -> Option<&Column> {
        match self {
            Self::Stored(column) => Some(column),
            Self::Constant(_) => None,
        }
    }
}

/// The columns of one file that a view needs.
#[derive(Clone, Debug)]
pub(super) struct FileColumns {
    /// One per join key.
    pub(super) keys: Vec<Cells>,
    pub(super) event: Cells,
    pub(super) created: Option<Cells>,
    /// One per feature asked for.
    pub(super) features: Vec<Cells>,
}

/// What the names of a file's folders tell: of each a column of one row.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// One per join key.
    pub(super) keys: Vec<Option<ArrayRef>>,
    pub(super) event: Option<ArrayRef>,
    pub(super) created: Option<ArrayRef>,
}

/// What the folders of a file tell of keys and times; `None` for nothing at all. Folders are
/// refused here for a value that is none, whether or not the file is needed.
pub(super) fn told(file: &SourceFile, view: &View, entity: &Entity) -> Result<Option<Told>> {
    let partitions = file.partitions();
    if partitions.is_empty() {
        return Ok(None);
    }
    let path = file.path().display();
    let told = |name: &str, role: &str, value_type| {
        let told = told_by(partitions, name, value_type, Rounding::Up);
        told.map_err(|why| Error::refused(format!("{path}: {why} ({role} of view {})", view.name)))
    };
    let instant = ValueType::Scalar(Scalar::Timestamp);
    let time = |name: &Option<String>, role| match name {
        Some(name) => told(name, role, instant),
        None => Ok(None),
    };
    let key =
        |key: &crate::feature::JoinKey| told(&key.name, "join key", key_value_type(key.key_type));
    Ok(Some(Told {
        keys: entity.join_keys.iter().map(key).collect::<Result<_>>()?,
        event: time(&view.event_timestamp, "event timestamp")?,
        created: time(&view.created_timestamp, "created timestamp")?,
    }))
}

/// What the folders tell of a column, as one row of that type.
fn told_by(
    partitions: &Partitions,
    name: &str,
    value_type: ValueType,
    rounding: Rounding,
) -> Result<Option<ArrayRef>, String> {
    let Some(partition) = partitions.get(name)? else { return Ok(None) };
    let column = partition.column(value_type, rounding);
    column.map(Some).map_err(|why| format!("folder {}: {why}", partition.folder()))
}

/// Looks for the columns of a view in one file.
pub(super) struct Finder<'a> {
    pub(super) file: &'a DataFile,
    pub(super) partitions: &'a Partitions,
    pub(super) view: &'a View,
}

impl Finder<'_> {
    /// All columns; `found` are those of the features.
    pub(super) fn columns(
        &self,
        entity: &Entity,
        features: &[&Feature],
        found: Vec<Option<Cells>>,
    ) -> Result<FileColumns> {
        let view = self.view;
        let or_null = |(cells, feature): (Option<Cells>, &&Feature)| {
            cells.unwrap_or_else(|| Cells::Constant(null_of(feature.value_type)))
        };
        Ok(FileColumns {
            keys: self.keys(entity)?,
            event: self.time("event timestamp", view.event_timestamp.as_deref())?,
            created: match &view.created_timestamp {
                Some(name) => Some(self.time("created timestamp", Some(name))?),
                None => None,
            },
            features: found.into_iter().zip(features).map(or_null).collect(),
        })
    }

    fn keys(&self, entity: &Entity) -> Result<Vec<Cells>> {
        let key = |join_key: &crate::feature::JoinKey| {
            let expected = key_value_type(join_key.key_type);
            let role = format!("join key of view {}", self.view.name);
            let (name, named) = (&join_key.name, join_key.key_type.name());
            self.told(name, &role, expected, Rounding::Up)?.map_or_else(
                || self.column(name, &role, named, |from| converts(from, expected)),
                Ok,
            )
        };
        entity.join_keys.iter().map(key).collect()
    }

    fn time(&self, role: &str, name: Option<&str>) -> Result<Cells> {
        let role = format!("{role} of view {}", self.view.name);
        let Some(name) = name else {
            return Err(Error::refused(format!(
                "view {} has a source but no {role}",
                self.view.name
            )));
        };
        let told = self.told(name, &role, ValueType::Scalar(Scalar::Timestamp), Rounding::Up)?;
        told.map_or_else(|| self.column(name, &role, "timestamp", is_time), Ok)
    }

    /// One per feature; `None` where neither file nor folders have it.
    pub(super) fn features(&self, features: &[&Feature]) -> Result<Vec<Option<Cells>>> {
        let find = |feature: &&Feature| {
            let (name, value_type) = (&feature.name, feature.value_type);
            let role = format!("feature of view {}", self.view.name);
            let told = self.told(name, &role, value_type, Rounding::Down)?;
            if told.is_some() || self.file.metadata().schema().fields().find(name).is_none() {
                return Ok(told);
            }
            let expected = value_type.to_string();
            let column = self.column(name, &role, &expected, |from| converts(from, value_type));
            column.map(Some)
        };
        features.iter().map(find).collect()
    }

    /// What the folders tell.
    fn told(
        &self,
        name: &str,
        role: &str,
        value_type: ValueType,
        rounding: Rounding,
    ) -> Result<Option<Cells>> {
        let told = told_by(self.partitions, name, value_type, rounding);
        told.map(|told| told.map(Cells::Constant)).map_err(|why| {
            Error::refused(format!("{}: {why} ({role})", self.file.path().display()))
        })
    }

    /// A column of the file.
    fn column(
        &self,
        name: &str,
        role: &str,
        expected: &str,
        accepts: impl Fn(&DataType) -> bool,
    ) -> Result<Cells> {
        let metadata = self.file.metadata();
        let Some((root, field)) = metadata.schema().fields().find(name) else {
            return Err(self.missing(name, role, expected, 0));
        };
        if !accepts(field.data_type()) {
            return Err(Error::refused(format!(
                "{}: column '{name}' ({role}) holds {}, expected {expected}",
                self.file.path().display(),
                field.data_type()
            )));
        }
        Ok(Cells::Stored(Column::at(metadata, root, field)))
    }

    /// The error for a column that this file lacks, and so many others do.
    pub(super) fn missing(&self, name: &str, role: &str, expected: &str, others: usize) -> Error {
        let path = self.file.path();
        let names = self.file.metadata().schema().fields().iter();
        let names = available(name, names.map(|field| field.name().as_str()), "the file has");
        let others = match others {
            0 => String::new(),
            1 => ", nor in the other file".to_owned(),
            others => format!(", nor in the {others} other files"),
        };
        let above = match Partitions::of(path).get(name) {
            Ok(Some(above)) => format!(
                "; folder {} does not count, since the source does not begin above it",
                above.folder()
            ),
            _ => String::new(),
        };
        let path = path.display();
        Error::refused(format!(
            "{path}: no column '{name}' ({role}, {expected}){others}{names}{above}"
        ))
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
