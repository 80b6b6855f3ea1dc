//! The columns of a history file: what they are called, and what is written beside them.
//!
//! ```text
//! join keys │ __event │ __created │ __order │ __cells │ features, by slot
//!    JFK    │  12:00  │  12:01    │    77   │  v-nd   │ 12.5  null  null  null
//! ```
//! Invariants
//! - A column is found by its place and its role, never by its name: a feature may be called as
//!   any of them, and the column then gets one more `_` in front.
//! - A slot has one meaning within a generation, so slot and type tell whose a column is, whatever
//!   has become of the feature since.
//! - Lists are stored as of no fixed length: a null one takes no room.

use super::{
    bucket::Bucket,
    convert::arrow_type,
    dataset::DataFile,
    parquet_file::damaged,
    pushed::PushedCells,
    source::{Column, key_value_type},
};
use crate::{
    error::{Error, Result},
    feature::{CellWrite, Entity, Scalar, Timestamp, ValueType, View},
};
use arrow_schema::{DataType, Field, Schema};
use parquet::file::metadata::KeyValue;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
};

/// The version of this format, in the metadata of the file.
const FORMAT_VERSION: &str = "1";

const FORMAT_KEY: &str = "nowthen.history";
const VIEW_KEY: &str = "nowthen.view";
const VIEW_ID_KEY: &str = "nowthen.view_id";
const GENERATION_KEY: &str = "nowthen.generation";
const ENTITY_KEY: &str = "nowthen.entity";
const RUNS_KEY: &str = "nowthen.runs";
const BUCKET_KEY: &str = "nowthen.bucket";
const KEPT_FROM_KEY: &str = "nowthen.kept_from";
const LOOK_AGAIN_KEY: &str = "nowthen.look_again";

const ROLE_KEY: &str = "nowthen.role";
const SLOT_KEY: &str = "nowthen.slot";
const TYPE_KEY: &str = "nowthen.type";

const KEY_ROLE: &str = "key";
const FEATURE_ROLE: &str = "feature";

/// The type of a column that only ever held null and tombstones of a feature that is gone.
const UNTYPED: &str = "none";

/// A cell that was not written.
pub(super) const ABSENT: u8 = b'-';
/// A cell with a value.
pub(super) const VALUE: u8 = b'v';
/// A cell that is known to be null.
pub(super) const NULL: u8 = b'n';
/// A cell that was deleted.
pub(super) const TOMBSTONE: u8 = b'd';

/// A column with the cells of one slot.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SlotColumn {
    pub(super) slot: u32,
    /// No two columns have one name, nor has a join key.
    pub(super) name: String,
    /// `None` if no value was ever seen, and no definition tells.
    pub(super) value_type: Option<ValueType>,
}

/// The columns for the slots of `view`, and for those that are in `rows` though the view lost
/// them: a feature that comes back gets its old slot, and with it its history.
pub(super) fn slot_columns(view: &View, entity: &Entity, rows: &[PushedCells]) -> Vec<SlotColumn> {
    let features = view.features.iter().map(|feature| &feature.name);
    let keys = entity.join_keys.iter().map(|join_key| &join_key.name);
    let mut names: HashSet<String> = keys.chain(features).cloned().collect();
    let mut columns: BTreeMap<u32, SlotColumn> = BTreeMap::new();
    for feature in &view.features {
        let (slot, name) = (feature.slot, feature.name.clone());
        let value_type = Some(feature.value_type);
        columns.insert(slot, SlotColumn { slot, name, value_type });
    }
    for (slot, write) in rows.iter().flat_map(|row| &row.cells) {
        let column = columns.entry(*slot).or_insert_with(|| {
            let name = free_name(&format!("__slot_{slot}"), &mut names);
            SlotColumn { slot: *slot, name, value_type: None }
        });
        if let (None, CellWrite::Value(value)) = (column.value_type, write) {
            column.value_type = Some(value.value_type());
        }
    }
    columns.into_values().collect()
}

/// `name`, behind as many `_` as it takes to be none of `taken`, among which it is then.
pub(super) fn free_name(name: &str, taken: &mut HashSet<String>) -> String {
    let mut name = name.to_owned();
    while !taken.insert(name.clone()) {
        name.insert(0, '_');
    }
    name
}

/// The columns between the join keys and the features: role, name, type, and whether null is one
/// of their values.
fn system_columns() -> [(&'static str, &'static str, DataType, bool); 4] {
    let time = || arrow_type(ValueType::Scalar(Scalar::Timestamp));
    [
        ("event", "__event", time(), false),
        ("created", "__created", time(), true),
        ("order", "__order", DataType::UInt64, false),
        ("cells", "__cells", DataType::Utf8, false),
    ]
}

/// The type of value that a column for `value_type` holds.
pub(super) fn stored_type(value_type: ValueType) -> ValueType {
    match value_type {
        ValueType::List { element, .. } => ValueType::List { element, length: None },
        scalar @ ValueType::Scalar(_) => scalar,
    }
}

fn stored_data_type(value_type: Option<ValueType>) -> DataType {
    value_type.map_or(DataType::Boolean, |value_type| arrow_type(stored_type(value_type)))
}

/// The schema of a file with these features.
pub(super) fn schema(entity: &Entity, slots: &[SlotColumn]) -> Schema {
    let with = |field: Field, entries: &[(&str, String)]| {
        let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        field.with_metadata(entries.collect::<HashMap<_, _>>())
    };
    let keys = entity.join_keys.iter().map(|join_key| &join_key.name);
    let mut names = keys.chain(slots.iter().map(|slot| &slot.name)).cloned().collect();
    let mut fields = Vec::new();
    for join_key in &entity.join_keys {
        let data_type = arrow_type(key_value_type(join_key.key_type));
        let field = Field::new(&join_key.name, data_type, false);
        fields.push(with(field, &[(ROLE_KEY, KEY_ROLE.to_owned())]));
    }
    for (role, name, data_type, is_nullable) in system_columns() {
        let field = Field::new(free_name(name, &mut names), data_type, is_nullable);
        fields.push(with(field, &[(ROLE_KEY, role.to_owned())]));
    }
    for SlotColumn { slot, name, value_type } in slots {
        let field = Field::new(name, stored_data_type(*value_type), true);
        let text = value_type.map_or(UNTYPED.to_owned(), |value_type| value_type.to_string());
        let role = FEATURE_ROLE.to_owned();
        let entries = [(ROLE_KEY, role), (SLOT_KEY, slot.to_string()), (TYPE_KEY, text)];
        fields.push(with(field, &entries));
    }
    Schema::new(fields)
}

/// What the file says of itself as a whole.
pub(super) fn file_metadata(view: &View, entity: &Entity) -> Vec<KeyValue> {
    let entry = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    vec![
        entry(FORMAT_KEY, FORMAT_VERSION.to_owned()),
        entry(VIEW_KEY, view.name.clone()),
        entry(VIEW_ID_KEY, view.id.0.to_string()),
        entry(GENERATION_KEY, view.generation.to_string()),
        entry(ENTITY_KEY, entity.name.clone()),
    ]
}

/// What a merged file says of its runs: the row groups that they begin with.
pub(super) fn runs_metadata(starts: &[usize]) -> KeyValue {
    let starts: Vec<String> = starts.iter().map(usize::to_string).collect();
    KeyValue::new(RUNS_KEY.to_owned(), starts.join(","))
}

/// What a file says that holds some of the entities.
pub(super) fn bucket_metadata(bucket: Bucket) -> KeyValue {
    KeyValue::new(BUCKET_KEY.to_owned(), format!("{}/{}", bucket.number, bucket.count))
}

/// Which entities a file holds: one that says nothing of it may hold all.
pub(super) fn bucket_of_file(file: &DataFile) -> Result<Bucket> {
    let bucket = entry(file, BUCKET_KEY).map_or(Some(Bucket::WHOLE), Bucket::parse);
    bucket.ok_or_else(|| damaged(file.path(), "its bucket makes no sense"))
}

/// What a file has of all that was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// From then on everything; `None` for any time.
    pub from: Option<Timestamp>,
    /// When this is what its view keeps, it is looked through for rows that go.
    pub look_again: Option<Timestamp>,
}

impl Kept {
    pub(super) fn metadata(self) -> impl Iterator<Item = KeyValue> {
        let entries = [(KEPT_FROM_KEY, self.from), (LOOK_AGAIN_KEY, self.look_again)];
        let entries = entries.into_iter();
        entries.filter_map(|(key, at)| Some(KeyValue::new(key.to_owned(), at?.us().to_string())))
    }

    pub(super) fn of_file(file: &DataFile) -> Result<Self> {
        let time = |key| {
            let time = entry(file, key).map(|text| text.parse().map(Timestamp)).transpose();
            time.map_err(|_| damaged(file.path(), "what it keeps makes no sense"))
        };
        Ok(Self { from: time(KEPT_FROM_KEY)?, look_again: time(LOOK_AGAIN_KEY)? })
    }
}

/// The row groups of each run of a file: its rows are sorted from the first to the last. A file
/// that says nothing of runs has one in each row group.
pub(super) fn runs_of(file: &DataFile) -> Result<Vec<Range<usize>>> {
    let count = file.row_groups();
    let senseless = || damaged(file.path(), "its runs make no sense");
    let mut starts: Vec<usize> = match entry(file, RUNS_KEY) {
        None => (0..count).collect(),
        Some(_) if count == 0 => Vec::new(),
        Some(text) => {
            let starts = text.split(',').map(|start| start.parse::<usize>());
            starts.collect::<Result<_, _>>().map_err(|_| senseless())?
        }
    };
    starts.push(count);
    let makes_sense = starts.first() == Some(&0) && starts.is_sorted_by(|a, b| a < b);
    if !makes_sense && count > 0 {
        return Err(senseless());
    }
    Ok(starts.iter().zip(starts.iter().skip(1)).map(|(start, end)| *start..*end).collect())
}

/// An entry of the metadata of a file.
fn entry<'a>(file: &'a DataFile, key: &str) -> Option<&'a str> {
    let entries = file.metadata().metadata().file_metadata().key_value_metadata();
    let entry = entries.into_iter().flatten().find(|entry| entry.key == key);
    entry.and_then(|entry| entry.value.as_deref())
}

/// Refuses a file of another format, view, or generation.
pub(super) fn check_file_metadata(file: &DataFile, view: &View) -> Result<()> {
    let entry = |key: &str| entry(file, key).unwrap_or_default();
    let refuse = |why: String| Err(Error::refused(format!("{}: {why}", file.path().display())));
    match entry(FORMAT_KEY) {
        FORMAT_VERSION => {}
        "" => return refuse("is no history file: it says no format".to_owned()),
        other => {
            let other = crate::error::echo(other.as_bytes());
            return refuse(format!("is of format {other}; known is '{FORMAT_VERSION}'"));
        }
    }
    let found = (entry(VIEW_ID_KEY), entry(GENERATION_KEY));
    if found != (view.id.0.to_string().as_str(), view.generation.to_string().as_str()) {
        let [name, id, generation] =
            [entry(VIEW_KEY), found.0, found.1].map(|text| crate::error::echo(text.as_bytes()));
        return refuse(format!(
            "is the history of view {name}, number {id}, generation {generation}; expected view \
             '{}', number '{}', generation '{}'",
            view.name, view.id.0, view.generation
        ));
    }
    Ok(())
}

/// The columns of a file.
#[derive(Clone, Debug)]
pub(super) struct HistoryColumns {
    /// One per join key.
    pub(super) keys: Vec<Column>,
    pub(super) event: Column,
    pub(super) created: Column,
    pub(super) order: Column,
    pub(super) cells: Column,
    /// All of the file, ascending.
    pub(super) slots: Vec<FileSlot>,
}

/// The cells of one slot.
#[derive(Clone, Debug)]
pub(super) struct FileSlot {
    /// As it was written, with the type that the view declares, if the view still has the slot.
    pub(super) written: SlotColumn,
    pub(super) is_of_view: bool,
    pub(super) column: Column,
    /// Which letter of `__cells` is its state.
    pub(super) letter: usize,
}

impl HistoryColumns {
    /// Finds all columns; the error names the one that is not as expected.
    pub(super) fn find(file: &DataFile, view: &View, entity: &Entity) -> Result<Self> {
        let mut finder = Finder { file, next: 0 };
        let mut keys = Vec::with_capacity(entity.join_keys.len());
        for join_key in &entity.join_keys {
            let data_type = arrow_type(key_value_type(join_key.key_type));
            keys.push(finder.column(KEY_ROLE, Some(&join_key.name), &data_type)?);
        }
        let [event, created, order, cells] = system_columns();
        let mut system = |(role, _, data_type, _): (&str, &str, DataType, bool)| {
            finder.column(role, None, &data_type)
        };
        let (event, created) = (system(event)?, system(created)?);
        let (order, cells) = (system(order)?, system(cells)?);
        let mut slots: Vec<FileSlot> = Vec::new();
        while let Some(found) = finder.slot(view, slots.len())? {
            if slots.last().is_some_and(|last| last.written.slot >= found.written.slot) {
                return Err(damaged(file.path(), "its slots do not ascend"));
            }
            slots.push(found);
        }
        Ok(Self { keys, event, created, order, cells, slots })
    }
}

/// Goes over the columns of a file from the first.
struct Finder<'a> {
    file: &'a DataFile,
    next: usize,
}

impl<'a> Finder<'a> {
    fn field(&mut self) -> Option<(usize, &'a Field)> {
        let root = self.next;
        self.next += 1;
        let fields = self.file.metadata().schema().fields();
        fields.get(root).map(|field| (root, field.as_ref()))
    }

    /// The next column, which must be this one.
    fn column(&mut self, role: &str, name: Option<&str>, data_type: &DataType) -> Result<Column> {
        let expected = |found: &str| {
            let name = name.map(|name| format!(" '{name}'")).unwrap_or_default();
            let path = self.file.path().display();
            Error::refused(format!("{path}: expected a column{name} ({role}, {data_type}){found}"))
        };
        let next = self.next;
        let fields = self.file.metadata().schema().fields();
        let field = fields.get(next).ok_or_else(|| expected(""))?;
        let is_it = field.metadata().get(ROLE_KEY).is_some_and(|found| found == role)
            && name.is_none_or(|name| field.name() == name)
            && field.data_type() == data_type;
        if !is_it {
            let name = crate::error::echo(field.name().as_bytes());
            return Err(expected(&format!(", found {name}, {}", field.data_type())));
        }
        self.next += 1;
        Ok(Column::at(self.file.metadata(), next, field))
    }

    /// The next column as that of a slot.
    fn slot(&mut self, view: &View, letter: usize) -> Result<Option<FileSlot>> {
        let Some((root, field)) = self.field() else { return Ok(None) };
        let refuse = |why: &str| {
            let name = crate::error::echo(field.name().as_bytes());
            Error::refused(format!("{}: column {name} {why}", self.file.path().display()))
        };
        let entry = |key: &str| field.metadata().get(key).map_or("", String::as_str);
        let slot = entry(SLOT_KEY).parse::<u32>().ok().filter(|_| entry(ROLE_KEY) == FEATURE_ROLE);
        let slot = slot.ok_or_else(|| refuse("is of no slot"))?;
        let declared = match entry(TYPE_KEY) {
            UNTYPED => None,
            text => Some(ValueType::parse(text).ok_or_else(|| refuse("is of no known type"))?),
        };
        if *field.data_type() != stored_data_type(declared) {
            return Err(refuse(&format!("holds {}, not what it says", field.data_type())));
        }
        let feature = view.features.iter().find(|feature| feature.slot == slot);
        // Of a feature that was gone at the time only the values told the type.
        let misfit = feature.zip(declared).filter(|(feature, declared)| {
            *declared != feature.value_type && *declared != stored_type(feature.value_type)
        });
        if let Some((feature, _)) = misfit {
            return Err(refuse(&format!(
                "(slot {slot}) holds {}, expected {} of feature {} of view {}",
                entry(TYPE_KEY),
                feature.value_type,
                feature.name,
                view.name
            )));
        }
        let value_type = declared.map(|declared| feature.map_or(declared, |f| f.value_type));
        Ok(Some(FileSlot {
            written: SlotColumn { slot, name: field.name().clone(), value_type },
            is_of_view: feature.is_some(),
            column: Column::at(self.file.metadata(), root, field),
            letter,
        }))
    }
}
