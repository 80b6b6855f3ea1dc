//! Features of several entities in one request, for RESP and HTTP alike: names are resolved once,
//! then every row looks each of its keys up once.

use crate::{
    error::{Error, Result, did_you_mean, echo},
    feature::{Entity, JoinKey, KeyPart, Status, Timestamp},
    online::Seen,
    registry::Selected,
    store::{Answer, FeatureRead, Keyspace, PlanCell, ReadPlan, Schema, Store},
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
    /// For each cell of the plan its place in the answer.
    places: Vec<usize>,
}

impl FeatureRequest {
    /// Resolves `features` for rows that have the columns `join_keys`.
    pub fn new(schema: &Schema, features: Vec<Selected>, join_keys: &[&str]) -> Result<Self> {
        let mut groups: Vec<Group> = Vec::new();
        for (place, feature) in features.iter().enumerate() {
            let slot = feature.view.features.get(feature.feature).map(|feature| feature.slot);
            let cell = slot.and_then(|slot| schema.plan_cell(&feature.view, slot));
            let id = feature.view.entity;
            let group = match groups.iter().position(|group| group.entity.id == id) {
                Some(index) => index,
                None => {
                    groups.push(Group::new(schema, feature, join_keys)?);
                    groups.len() - 1
                }
            };
            if let Some(group) = groups.get_mut(group) {
                group.plan.cells.push(cell);
                group.places.push(place);
            }
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
    /// answer, and what stands there. `row` holds a text per column of the request, or null: then
    /// the entities that the column identifies have nothing, and the others what they have.
    pub(super) fn read_row(
        &self,
        keyspace: Keyspace<'_>,
        row: &[Option<&[u8]>],
        now: Timestamp,
        seen: Seen,
        mut visit: impl FnMut(usize, &PlanCell, FeatureRead<'_>),
    ) -> Result<()> {
        for group in &self.groups {
            let Some(key) = group.key(row)? else { continue };
            keyspace.read_entity(&key, seen, |features| {
                for (cell, place) in group.plan.cells.iter().zip(&group.places) {
                    if let Some(cell) = cell {
                        visit(*place, cell, cell.read(features, now));
                    }
                }
            });
        }
        Ok(())
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
        let plan = ReadPlan { cells: Vec::new(), unknown_names: 0 };
        Ok(Self { entity: Arc::clone(entity), columns, plan, places: Vec::new() })
    }

    /// `None` if one of the join keys is null.
    fn key(&self, row: &[Option<&[u8]>]) -> Result<Option<Vec<u8>>> {
        let texts = self.columns.iter().map(|column| row.get(*column).copied().flatten());
        let Some(texts) = texts.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let join_keys = self.entity.join_keys.iter().zip(texts);
        let parts = join_keys.map(|(join_key, text)| KeyPart::parse(text, join_key));
        Ok(Some(self.entity.key(&parts.collect::<Result<Vec<_>>>()?)))
    }

    fn parts(&self, row: &[&[u8]]) -> Result<Vec<KeyPart>> {
        let join_keys = self.entity.join_keys.iter().zip(&self.columns);
        let parts = join_keys.map(|(join_key, column)| {
            KeyPart::parse(row.get(*column).copied().unwrap_or_default(), join_key)
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
        rows: &[Vec<&[u8]>],
        at: Timestamp,
    ) -> Result<Vec<Vec<Answer>>> {
        let mut answers = vec![vec![NOTHING; self.features.len()]; rows.len()];
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

const NOTHING: Answer = Answer { value: None, status: Status::NotFound, event: None };

/// Reads whole rows as of now: for each row an answer per feature, in the order asked.
pub fn online_rows(
    keyspace: Keyspace<'_>,
    request: &FeatureRequest,
    rows: &[Vec<Option<&[u8]>>],
    now: Timestamp,
    seen: Seen,
) -> Result<Vec<Vec<Answer>>> {
    let answer_row = |row: &Vec<Option<&[u8]>>| {
        let mut answers = vec![NOTHING; request.features.len()];
        request.read_row(keyspace, row, now, seen, |place, _, read| {
            if let Some(answer) = answers.get_mut(place) {
                let value = read.value.and_then(crate::online::ValueRef::to_value);
                *answer = Answer { value, status: read.status, event: read.event };
            }
        })?;
        Ok(answers)
    };
    rows.iter().map(answer_row).collect()
}
