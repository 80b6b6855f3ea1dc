//! The catalog: what is defined now, what serves now, and all that ever was.
//!
//! ```text
//! view x   history      v1 ── v2 ── v3          by version and by time
//!          generations  1: v1, v2   2: v3       the slots of each are never given up
//!          serving      v2                      answers reads until generation 2 is filled
//!          filling      v3
//! ```
//! Invariants
//! - An id is an index: of `entities` and `views`, which only grow.
//! - `serving` and `filling` are `None` for a view that is dropped; while something fills,
//!   something older serves.
//! - What was applied decides ids, versions, generations and slots; switching never does.
//!
//! Not here: how a catalog becomes the next one (`apply.rs`).

use super::{
    history::{Applied, History},
    index::Index,
    node::nearest,
};
use crate::{
    error::{Error, echo},
    feature::{Entity, EntityId, Feature, Service, Timestamp, ValueType, View, ViewId},
};
use std::{collections::BTreeMap, sync::Arc};

/// All definitions, as of one moment. A value: what changes is which one is looked at.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    pub(super) applied: Vec<(Timestamp, Arc<str>)>,
    pub(super) switches: u64,
    pub(super) entities: Vec<EntityRecord>,
    pub(super) views: Vec<ViewRecord>,
    pub(super) view_ids: BTreeMap<String, ViewId>,
    pub(super) services: BTreeMap<String, History<Service>>,
    pub(super) index: Index,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct EntityRecord {
    pub(super) history: History<Entity>,
    /// Whether a view of it was ever applied: then its keys may be in use.
    pub(super) had_views: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ViewRecord {
    pub(super) history: History<View>,
    /// Generation n at index n - 1.
    pub(super) generations: Vec<Generation>,
    pub(super) serving: Option<Arc<View>>,
    pub(super) filling: Option<Arc<View>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Generation {
    pub(super) newest: Arc<View>,
    pub(super) slots: Vec<SlotType>,
}

/// What stands in one slot of the packed rows of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotType {
    /// The name of the feature.
    pub name: String,
    /// Its type.
    pub value_type: ValueType,
}

/// A feature that was looked up, and the definition of the view it is read under.
#[derive(Clone, Copy, Debug)]
pub struct FeatureRef<'a> {
    /// The view, which says TTL and generation.
    pub view: &'a Arc<View>,
    /// The feature, which says slot and type.
    pub feature: &'a Feature,
    /// The position of the feature in `view.features`.
    pub index: usize,
}

impl<'a> FeatureRef<'a> {
    fn new(view: &'a Arc<View>, index: usize) -> Option<Self> {
        Some(Self { view, feature: view.features.get(index)?, index })
    }

    fn named(view: &'a Arc<View>, name: &str) -> Option<Self> {
        Self::new(view, view.features.iter().position(|feature| feature.name == name)?)
    }
}

impl Catalog {
    /// The catalog before anything was applied.
    pub fn empty() -> Self {
        Self::default()
    }

    /// How many times something new was applied.
    pub fn catalog_version(&self) -> u64 {
        self.applied.len() as u64
    }

    /// Counts up whenever a look-up may answer otherwise than before: with what is applied and with
    /// what is switched. A cache of look-ups is good for one revision.
    pub fn revision(&self) -> u64 {
        self.catalog_version() + self.switches
    }

    /// What was applied and when, oldest first, as canonical text. Applying it again in this order
    /// gives the same ids, versions, generations and slots; `switch` then gives the same serving.
    pub fn applied(&self) -> &[(Timestamp, Arc<str>)] {
        &self.applied
    }

    /// The entity that `key` belongs to, by its bytes before the first `:`.
    pub fn entity_of_key(&self, key: &[u8]) -> Option<&Arc<Entity>> {
        let colon = memchr::memchr(b':', key)?;
        self.index.entity(key.get(..colon)?)
    }

    /// The same, even if it is no longer defined.
    pub fn entity_ever_of_key(&self, key: &[u8]) -> Option<&Arc<Entity>> {
        let name = key.get(..memchr::memchr(b':', key)?)?;
        let mut entities = self.entities.iter().map(|record| record.history.newest());
        entities.find(|entity| entity.name.as_bytes() == name)
    }

    /// The entity of that name.
    pub fn entity(&self, name: &str) -> Option<&Arc<Entity>> {
        self.index.entity(name.as_bytes())
    }

    /// The entity of that number, even if it is no longer defined.
    pub fn entity_by_id(&self, id: EntityId) -> Option<&Arc<Entity>> {
        self.entities.get(id.0 as usize).map(|record| record.history.newest())
    }

    /// Every entity that is defined, in the order first applied.
    pub fn entities(&self) -> impl Iterator<Item = &Arc<Entity>> {
        self.entities.iter().filter_map(|record| record.history.current())
    }

    /// Whether an entity was ever dropped, even if it was applied again.
    pub fn had_drop_of_entity(&self) -> bool {
        let mut applied = self.entities.iter().flat_map(|record| record.history.oldest_first());
        applied.any(|entry| entry.dropped_at.is_some())
    }

    /// The newest definition of every view that `entity` ever had, also of those that were dropped
    /// or wait for their data.
    pub fn views_ever_of(&self, entity: EntityId) -> impl Iterator<Item = &Arc<View>> {
        let newest = self.views.iter().map(|record| record.history.newest());
        newest.filter(move |view| view.entity == entity)
    }

    /// Every view that serves, sorted by name.
    pub fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.view_ids.values().filter_map(|id| self.view_by_id(*id))
    }

    /// The views of an entity that serve, sorted by name.
    pub fn views_of(&self, entity: EntityId) -> &[Arc<View>] {
        self.index.views_of(entity)
    }

    /// The definition of a view that answers reads now.
    pub fn view(&self, name: &str) -> Option<&Arc<View>> {
        self.record(name)?.serving.as_ref()
    }

    /// The definition that waits for its data, and answers once [`Catalog::switch`] is called.
    pub fn filling(&self, name: &str) -> Option<&Arc<View>> {
        self.record(name)?.filling.as_ref()
    }

    /// The definition that was applied last, whether it serves already or is being filled; `None`
    /// for a view that was dropped.
    pub fn newest_view(&self, name: &str) -> Option<&Arc<View>> {
        self.record(name)?.history.current()
    }

    /// The definition of a view that answers reads now, by number.
    pub fn view_by_id(&self, id: ViewId) -> Option<&Arc<View>> {
        self.views.get(id.0 as usize)?.serving.as_ref()
    }

    /// The newest definition of a generation: what the rows of it mean, even if it serves no more.
    pub fn view_of_generation(&self, id: ViewId, generation: u32) -> Option<&Arc<View>> {
        self.generation(id, generation).map(|generation| &generation.newest)
    }

    /// Every generation that any view ever had.
    pub fn generations(&self) -> impl Iterator<Item = (ViewId, u32)> {
        self.views.iter().zip(0..).flat_map(|(record, id)| {
            (1..).take(record.generations.len()).map(move |generation| (ViewId(id), generation))
        })
    }

    /// All slots that were ever given in a generation; empty for one that never was.
    pub fn slots(&self, id: ViewId, generation: u32) -> &[SlotType] {
        self.generation(id, generation).map_or(&[], |generation| generation.slots.as_slice())
    }

    /// What a view meant at `at`; `None` if it was not defined then.
    pub fn view_at(&self, name: &str, at: Timestamp) -> Option<&Arc<View>> {
        self.record(name)?.history.at(at)
    }

    /// One version of a view, even if the view was dropped.
    pub fn view_version(&self, name: &str, version: u32) -> Option<&Arc<View>> {
        let mut entries = self.record(name)?.history.newest_first();
        let entry = entries.find(|entry| entry.definition.version == version)?;
        Some(&entry.definition)
    }

    /// What a definition of a view does now: `serving`, `filling`, `replaced` or `dropped`.
    pub fn view_state(&self, view: &View) -> &'static str {
        let is = |other: Option<&Arc<View>>| other.is_some_and(|o| o.version == view.version);
        match () {
            () if is(self.view(&view.name)) => "serving",
            () if is(self.filling(&view.name)) => "filling",
            () if self.newest_view(&view.name).is_none() => "dropped",
            () => "replaced",
        }
    }

    /// All that a view ever meant, oldest first.
    pub fn view_history(&self, name: &str) -> impl Iterator<Item = &Applied<View>> {
        self.record(name).into_iter().flat_map(|record| record.history.oldest_first())
    }

    /// Every service, sorted by name.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values().filter_map(History::current)
    }

    /// The service of that name.
    pub fn service(&self, name: &str) -> Option<&Arc<Service>> {
        self.index.service(name)
    }

    /// One version of a service, even if the service was dropped.
    pub fn service_version(&self, name: &str, version: u32) -> Option<&Arc<Service>> {
        let mut entries = self.services.get(name)?.newest_first();
        let entry = entries.find(|entry| entry.definition.version == version)?;
        Some(&entry.definition)
    }

    /// The feature that a field of `entity` names: `feature` if only one view of it has one,
    /// `view:feature`, or `view@version:feature`.
    pub fn resolve_feature(&self, entity: EntityId, field: &[u8]) -> Option<FeatureRef<'_>> {
        if let Some((view, index)) = self.index.feature(entity, field) {
            return FeatureRef::new(view, index);
        }
        let (view, feature) = std::str::from_utf8(field).ok()?.split_once(':')?;
        let (view, version) = view.split_once('@')?;
        // A dropped view answers no more, whatever the version.
        self.newest_view(view)?;
        let view = self.view_version(view, version.parse().ok()?)?;
        if view.entity == entity { FeatureRef::named(view, feature) } else { None }
    }

    /// The definition under which a feature of a service is read now: the pinned version once its
    /// generation serves; until then the one that serves, if its feature is of the same type.
    pub fn service_feature(&self, view: &str, version: u32, name: &str) -> Option<FeatureRef<'_>> {
        let pinned = FeatureRef::named(self.view_version(view, version)?, name)?;
        let serving = self.view(view)?;
        if serving.generation >= pinned.view.generation {
            return Some(pinned);
        }
        let meanwhile = FeatureRef::named(serving, name);
        let same = |found: &FeatureRef<'_>| {
            found.feature.value_type == pinned.feature.value_type
                && found.view.entity == pinned.view.entity
        };
        Some(meanwhile.filter(same).unwrap_or(pinned))
    }

    fn record(&self, name: &str) -> Option<&ViewRecord> {
        self.views.get(self.view_ids.get(name)?.0 as usize)
    }

    fn generation(&self, id: ViewId, generation: u32) -> Option<&Generation> {
        let index = generation.checked_sub(1)? as usize;
        self.views.get(id.0 as usize)?.generations.get(index)
    }
}

/// Why a name is refused, with the nearest one that is there.
impl Catalog {
    /// No entity has that name.
    pub fn unknown_entity(&self, name: &str) -> Error {
        unknown("entity", name, self.entities().map(|entity| entity.name.as_str()))
    }

    /// No view has that name.
    pub fn unknown_view(&self, name: &str) -> Error {
        unknown("view", name, self.views().map(|view| view.name.as_str()))
    }

    /// No service has that name.
    pub fn unknown_service(&self, name: &str) -> Error {
        unknown("service", name, self.services().map(|service| service.name.as_str()))
    }

    /// No feature of `entity` has that name, or several have.
    pub fn unknown_feature(&self, entity: EntityId, field: &[u8]) -> Error {
        let having = self
            .views_of(entity)
            .iter()
            .filter(|view| view.features.iter().any(|feature| feature.name.as_bytes() == field));
        let full: Vec<String> = having
            .map(|view| format!("{}:{}", view.name, String::from_utf8_lossy(field)))
            .collect();
        if full.len() > 1 {
            let several = echo(field);
            let full = full.join("' or '");
            return Error::refused(format!(
                "feature {several} is in several views: expected '{full}'"
            ));
        }
        let entity_name = self.entity_by_id(entity).map_or("?", |entity| entity.name.as_str());
        let near = nearest(&String::from_utf8_lossy(field), self.index.feature_names(entity));
        Error::refused(format!("entity {entity_name} has no feature {}{near}", echo(field)))
    }
}

fn unknown<'a>(kind: &str, name: &str, candidates: impl Iterator<Item = &'a str>) -> Error {
    Error::refused(format!("unknown {kind} {}{}", echo(name.as_bytes()), nearest(name, candidates)))
}
