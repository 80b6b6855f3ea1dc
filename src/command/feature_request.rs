//! Features of several entities in one request, for RESP and HTTP alike: names are resolved once,
//! then every row looks each of its keys up once.

use super::request_rows::{KeyRow, Rows};
use crate::{
    error::{Error, Result, did_you_mean, echo},
    feature::{Entity, JoinKey, KeyPart, Scalar, Timestamp, ValueType},
    online::{Seen, ValueRef},
    registry::Selected,
    store::{Answer, FeatureRead, Keyspace, PlanCell, ReadPlan, RowReader, Schema, Store, Stretch},
};
use std::sync::Arc;

/// So many values one request may ask for.
const CELLS_MAX: usize = 10_000_000;

/// Resolved: which features, of which entities, found by which join keys.
#[derive(Debug)]
pub struct FeatureRequest {
    /// What is asked, in order.
    pub features: Vec<Selected>,
    groups: Vec<Group>,
}

/// The features of one entity.
#[derive(Debug)]
struct Group {
    entity: Arc<Entity>,
    /// For each join key of the entity its place among the columns of the request.
    columns: Vec<usize>,
    plan: ReadPlan,
    /// For each cell of the plan its place in the answer, ascending.
    places: Vec<usize>,
}

/// Features of one view in one row, and their places in the answer.
pub(super) struct RowStretch<'a, 'r, 'p> {
    reader: &'a mut RowReader<'r, 'p>,
    stretch: &'p Stretch,
    cells: &'p [Option<PlanCell>],
    places: &'p [usize],
}

impl<'r, 'p> RowStretch<'_, 'r, 'p> {
    /// Calls `visit` with each of them: its place, and what stands there.
    #[inline]
    pub(super) fn read_each(&mut self, mut visit: impl FnMut(usize, FeatureRead<'r>)) {
        let mut places = self.places.iter();
        self.reader.read_stretch(self.stretch, self.cells, |read| {
            places.next().into_iter().for_each(|place| visit(*place, read));
        });
    }

    /// The first place and the bytes of all of them, if they stand side by side in the answer and
    /// are floats of this type, all present: see [`RowReader::floats`].
    #[inline]
    pub(super) fn floats(
        &mut self,
        scalar: Scalar,
    ) -> Option<(usize, impl Iterator<Item = &'r [u8]> + use<'r, 'p>)> {
        let (first, last) = (*self.places.first()?, *self.places.last()?);
        if last - first != self.places.len() - 1 {
            return None;
        }
        Some((first, self.reader.floats(self.stretch, self.cells, scalar)?))
    }
}

impl FeatureRequest {
    /// Resolves `features` for rows that have the columns `join_keys`.
    pub fn new(schema: &Schema, features: Vec<Selected>, join_keys: &[&str]) -> Result<Self> {
        let mut groups: Vec<Group> = Vec::new();
        let mut cells: Vec<Vec<Option<PlanCell>>> = Vec::new();
        for (place, feature) in features.iter().enumerate() {
            let slot = feature.view.features.get(feature.feature).map(|feature| feature.slot);
            let cell = slot.and_then(|slot| schema.plan_cell(&feature.view, slot));
            let id = feature.view.entity;
            let group = match groups.iter().position(|group| group.entity.id == id) {
                Some(index) => index,
                None => {
                    groups.push(Group::new(schema, feature, join_keys)?);
                    cells.push(Vec::new());
                    groups.len() - 1
                }
            };
            if let (Some(group), Some(cells)) = (groups.get_mut(group), cells.get_mut(group)) {
                cells.push(cell);
                group.places.push(place);
            }
        }
        for (group, cells) in groups.iter_mut().zip(cells) {
            group.plan = ReadPlan::new(cells);
        }
        Ok(Self { features, groups })
    }

    /// The entities asked about, each with the columns that hold its join keys.
    pub fn entities(&self) -> impl Iterator<Item = (&Arc<Entity>, &[usize])> {
        self.groups.iter().map(|group| (&group.entity, group.columns.as_slice()))
    }

    /// Refuses what would not fit into memory: names may be repeated, and cost a few bytes each.
    pub fn check_size(&self, row_count: usize) -> Result<()> {
        check_cells(row_count, self.features.len(), "features")
    }

    /// Calls `visit` with each feature of one row, in the order of the entities: the place in the
    /// answer, and what stands there. See [`Self::read_stretches`].
    pub(super) fn read_row(
        &self,
        keyspace: Keyspace<'_>,
        row: KeyRow<'_>,
        when: (Timestamp, Seen),
        key: &mut Vec<u8>,
        mut visit: impl FnMut(usize, FeatureRead<'_>),
    ) -> Result<()> {
        self.read_stretches(keyspace, row, when, key, |mut stretch| {
            stretch.read_each(&mut visit);
        })
    }

    /// Calls `visit` with the features of one row, those of a view together, in the order of the
    /// entities. `row` holds a text per column of the request, or null: then the entities that the
    /// column identifies have nothing, and the others what they have. `key` is room for a key.
    pub(super) fn read_stretches(
        &self,
        keyspace: Keyspace<'_>,
        row: KeyRow<'_>,
        (now, seen): (Timestamp, Seen),
        key: &mut Vec<u8>,
        mut visit: impl FnMut(RowStretch<'_, '_, '_>),
    ) -> Result<()> {
        for group in &self.groups {
            if !group.write_key(row, key)? {
                continue;
            }
            keyspace.read_entity(key, seen, |features| {
                let mut reader = RowReader::new(features, now);
                for (stretch, cells) in group.plan.stretches() {
                    let places = group.places.get(stretch.cells.clone()).unwrap_or_default();
                    visit(RowStretch { reader: &mut reader, stretch, cells, places });
                }
            });
        }
        Ok(())
    }

    /// Asks the memory for what the first of `rows` will read, of several at once. Of how many.
    pub(super) fn fetch<'r>(
        &self,
        keyspace: Keyspace<'_>,
        rows: impl Iterator<Item = KeyRow<'r>>,
        key: &mut Vec<u8>,
    ) -> usize {
        let (mut ahead, mut count) = (keyspace.ahead(), 0);
        for row in rows {
            for group in &self.groups {
                // What is no key is refused when it is read.
                if group.write_key(row, key).is_ok_and(|is_key| is_key) {
                    ahead.push(key);
                }
            }
            count += 1;
            if ahead.is_full() {
                break;
            }
        }
        ahead.fetch();
        count
    }

    /// Whether the features of each entity stand together: then [`Self::read_row`] meets them in
    /// the order asked, each of them, if no join key is null.
    pub(super) fn is_by_entity(&self) -> bool {
        let is_whole = |group: &Group| group.plan.cells.iter().all(Option::is_some);
        let places = self.groups.iter().flat_map(|group| &group.places);
        self.groups.iter().all(is_whole) && places.is_sorted()
    }
}

impl FeatureRequest {
    /// Refuses rows whose columns would not fit into memory: in a column every list of a fixed
    /// length takes its room, also one that is null.
    pub(super) fn check_columns(&self, row_count: usize) -> Result<()> {
        check_cells(row_count, self.width(), "values")
    }

    /// How many values a row has in columns, each element of a list of fixed length counted.
    pub(super) fn width(&self) -> usize {
        let width = |selected: &Selected| match selected
            .view
            .features
            .get(selected.feature)
            .map(|feature| feature.value_type)
        {
            Some(ValueType::List { length: Some(length), .. }) => length as usize,
            _ => 1,
        };
        self.features.iter().map(width).fold(0, usize::saturating_add)
    }
}

/// Refuses more values than one request may ask for.
pub(super) fn check_cells(row_count: usize, width: usize, of_what: &str) -> Result<()> {
    if row_count.saturating_mul(width) > CELLS_MAX {
        return Err(Error::refused(format!(
            "{row_count} rows of {width} {of_what} are too many for one request: expected at most \
             {CELLS_MAX} values"
        )));
    }
    Ok(())
}

impl Group {
    fn new(schema: &Schema, feature: &Selected, join_keys: &[&str]) -> Result<Self> {
        let entity = schema.catalog.entity_by_id(feature.view.entity);
        let entity = entity.ok_or_else(|| Error::refused("a view of no entity"))?;
        let column = |join_key: &JoinKey| {
            join_keys.iter().position(|name| *name == join_key.name).ok_or_else(|| {
                Error::refused(format!(
                    "join key {} of entity {}, which view {} describes, is not among the join \
                     keys given ({}){}",
                    join_key.name,
                    entity.name,
                    feature.view.name,
                    echo(join_keys.join(", ").as_bytes()),
                    did_you_mean(&join_key.name, join_keys.iter().copied())
                ))
            })
        };
        let columns = entity.join_keys.iter().map(column).collect::<Result<_>>()?;
        let (plan, places) = (ReadPlan::default(), Vec::new());
        Ok(Self { entity: Arc::clone(entity), columns, plan, places })
    }

    /// Writes the key in place of what `key` held; false if one of the join keys is null.
    fn write_key(&self, row: KeyRow<'_>, key: &mut Vec<u8>) -> Result<bool> {
        let texts = self.columns.iter().map(|column| row.get(*column));
        if texts.clone().any(|text| text.is_none()) {
            return Ok(false);
        }
        self.entity.write_key(texts.flatten(), key)?;
        Ok(true)
    }

    fn parts(&self, row: KeyRow<'_>) -> Result<Vec<KeyPart>> {
        let join_keys = self.entity.join_keys.iter().zip(&self.columns);
        let parts = join_keys.map(|(join_key, column)| {
            KeyPart::parse(row.get(*column).unwrap_or_default(), join_key)
        });
        parts.collect()
    }
}

impl FeatureRequest {
    /// Reads whole rows as of `at`: for each row an answer per feature, in the order asked.
    pub(super) fn rows_at(
        &self,
        store: &Store,
        schema: &Schema,
        rows: &Rows<'_>,
        at: Timestamp,
    ) -> Result<Vec<Vec<Answer>>> {
        let mut answers = vec![vec![Answer::NOTHING; self.features.len()]; rows.len()];
        for group in &self.groups {
            let keys: Vec<_> = rows.iter().map(|row| group.parts(row)).collect::<Result<_>>()?;
            let places = group.places.iter().filter_map(|place| self.features.get(*place).cloned());
            let features: Vec<Selected> = places.collect();
            let found = store.features_at(schema, &group.entity, &features, &keys, at)?;
            for (row, found) in answers.iter_mut().zip(found) {
                for (place, answer) in group.places.iter().zip(found) {
                    row.get_mut(*place).into_iter().for_each(|cell| *cell = answer.clone());
                }
            }
        }
        Ok(answers)
    }
}

/// The error for values that no reply could hold.
pub(super) fn too_long() -> Error {
    let why = "the values are longer than a reply may be (reply-max-len): ask for fewer at a time";
    Error::refused(why)
}

impl FeatureRequest {
    /// Reads one row as of now: an answer per feature, in the order asked, and the bytes of their
    /// values. It is an error if these are more than `bytes_max`: a short request may ask for one
    /// long value a million times. `key` is room for a key.
    pub(super) fn answers(
        &self,
        keyspace: Keyspace<'_>,
        row: KeyRow<'_>,
        when: (Timestamp, Seen),
        key: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<(Vec<Answer>, usize)> {
        let mut answers = vec![Answer::NOTHING; self.features.len()];
        let mut bytes = 0_usize;
        self.read_row(keyspace, row, when, key, |place, read| {
            bytes = bytes.saturating_add(read.value.map_or(0, |value| value.bytes().len()));
            let value = read.value.filter(|_| bytes <= bytes_max);
            if let Some(answer) = answers.get_mut(place) {
                let value = value.and_then(ValueRef::to_value);
                *answer = Answer { value, status: read.status, event: read.event };
            }
        })?;
        if bytes > bytes_max { Err(too_long()) } else { Ok((answers, bytes)) }
    }
}

/// Reads whole rows as of now: for each row an answer per feature, in the order asked. Their
/// values together may have `bytes_max` bytes.
pub fn online_rows<'r>(
    keyspace: Keyspace<'_>,
    request: &FeatureRequest,
    rows: impl IntoIterator<Item = KeyRow<'r>, IntoIter: Clone>,
    when: (Timestamp, Seen),
    bytes_max: usize,
) -> Result<Vec<Vec<Answer>>> {
    let (mut rows, mut all, mut fetched) = (rows.into_iter(), Vec::new(), 0);
    let (mut key, mut left) = (Vec::new(), bytes_max);
    loop {
        if all.len() == fetched {
            fetched += request.fetch(keyspace, rows.clone(), &mut key);
        }
        let Some(row) = rows.next() else { return Ok(all) };
        let (answers, bytes) = request.answers(keyspace, row, when, &mut key, left)?;
        left = left.saturating_sub(bytes);
        all.push(answers);
    }
}
