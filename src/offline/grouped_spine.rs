//! A spine sorted by the keys of each view that it is joined to: what rows of views are held to.
//!
//! Views of the same key columns share one table of entities, and its slots.

use super::{
    join_request::ViewRequest, keys::KeyTable, names::refuse_clashes, slots::Slots, spine::Spine,
    winners::Group,
};
use crate::{
    error::{Error, Result},
    feature::{Entity, KeyPart, KeyType},
    parallel::thread_count,
};
use arrow_array::ArrayRef;
use std::{num::NonZero, sync::Arc};

/// A spine, and its entities and slots as each view sees them.
#[derive(Debug)]
pub struct GroupedSpine<'a> {
    pub(super) spine: &'a Spine,
    /// Once per set of key columns.
    groups: Vec<(Vec<(usize, KeyType)>, Group)>,
    /// Per view which of these.
    of_views: Vec<usize>,
}

impl<'a> GroupedSpine<'a> {
    /// `spine` for the views of `requests`. Refused where names of columns clash, or a join key is
    /// no column of the spine.
    pub fn new(
        spine: &'a Spine,
        requests: &[ViewRequest<'_>],
        threads: Option<NonZero<usize>>,
    ) -> Result<Self> {
        let names = requests.iter().flat_map(|request| &request.output_names);
        refuse_clashes(spine.batch().schema_ref(), names.map(String::as_str))?;
        let mut grouped = Self { spine, groups: Vec::new(), of_views: Vec::new() };
        for request in requests {
            let entity = request.entity;
            let columns = spine.key_columns(entity, request.map)?;
            let types = entity.join_keys.iter().map(|join_key| join_key.key_type);
            let wanted: Vec<(usize, KeyType)> = columns.into_iter().zip(types).collect();
            let known = grouped.groups.iter().position(|(columns, _)| *columns == wanted);
            grouped.of_views.push(known.unwrap_or(grouped.groups.len()));
            if known.is_none() {
                let group = group(spine, entity, &wanted, thread_count(threads))?;
                grouped.groups.push((wanted, group));
            }
        }
        Ok(grouped)
    }

    /// The spine as the view with that place in the requests sees it.
    pub(super) fn group(&self, view: usize) -> Result<&Group> {
        let group = self.of_views.get(view).and_then(|group| self.groups.get(*group));
        group.map(|(_, group)| group).ok_or_else(|| Error::refused("a view that is not joined"))
    }

    /// Whether the spine has no rows.
    pub fn is_empty(&self) -> bool {
        self.spine.rows() == 0
    }

    /// Whether the spine asks the view with that place for the entity with this key.
    pub fn asks_for(&self, view: usize, key: &[KeyPart]) -> bool {
        self.group(view).is_ok_and(|group| group.table.find_one(key).is_some())
    }
}

fn group(
    spine: &Spine,
    entity: &Entity,
    wanted: &[(usize, KeyType)],
    threads: usize,
) -> Result<Group> {
    let columns = spine.batch().columns();
    let columns: Vec<ArrayRef> =
        wanted.iter().filter_map(|(index, _)| columns.get(*index)).cloned().collect();
    let mut table = KeyTable::new(entity);
    let mut entities = Vec::new();
    table.intern(&columns, &mut Vec::new(), &mut entities).map_err(|why| {
        Error::refused(format!("the spine's keys of entity {}: {why}", entity.name))
    })?;
    table.seal();
    let slots = Slots::build(&entities, table.len(), spine.times(), threads)?;
    Ok(Group { table: Arc::new(table), slots })
}
