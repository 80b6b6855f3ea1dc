//! How one catalog becomes the next: numbers are given here, and nowhere else.
//!
//! ```text
//! canonical text changed            version + 1
//! └ entity, source, timestamps,     generation + 1, slots from 0; with a source it is filled
//!   or type of a feature changed    first, while the old generation serves
//! └ else                            same generation; new features get new slots; serves at once
//! ```
//! Invariants
//! - All or nothing: a refused apply leaves no trace, since the old catalog is never changed.
//! - Applying what already holds changes nothing.
//! - Numbers are given in the order of names, so the same text gives the same numbers.

use super::{
    canonical::{canonical_text, hash, service_text, view_text},
    catalog::{Catalog, EntityRecord, Generation, SlotType, ViewRecord},
    definition::{Definitions, EntityDefinition, ServiceDefinition, ViewDefinition},
    history::History,
    index::Index,
};
use crate::{
    error::{Error, Result},
    feature::{
        Entity, EntityId, Feature, JoinKey, Service, ServiceFeature, Timestamp, View, ViewId,
    },
};
use std::{collections::BTreeSet, sync::Arc};

impl Catalog {
    /// The catalog in which `definitions`, and nothing else, are defined from `at` on. What is not
    /// in them no longer serves, but is remembered.
    ///
    /// Refused if the join keys of an entity changed that ever had a view: its rows are kept under
    /// keys of the old shape.
    pub fn apply(&self, definitions: &Definitions, at: Timestamp) -> Result<Self> {
        let text = canonical_text(definitions);
        if self.applied.last().is_some_and(|(_, last)| **last == *text) {
            return Ok(self.clone());
        }
        let mut next = self.clone();
        // A clock may be set back; the order of what was applied may not.
        let at = self.applied.last().map_or(at, |(last, _)| at.max(*last));
        next.applied.push((at, text.into()));
        for entity in sorted(&definitions.entities, |entity| &entity.name) {
            next.apply_entity(entity, at)?;
        }
        let names = definitions.entities.iter().map(|entity| entity.name.as_str()).collect();
        next.drop_entities(&names, at);
        for view in sorted(&definitions.views, |view| &view.name) {
            next.apply_view(view, at)?;
        }
        let names = definitions.views.iter().map(|view| view.name.as_str()).collect();
        next.drop_views(&names, at);
        for service in sorted(&definitions.services, |service| &service.name) {
            next.apply_service(service, at)?;
        }
        let names = definitions.services.iter().map(|service| service.name.as_str()).collect();
        next.drop_services(&names, at);
        next.make_index();
        Ok(next)
    }

    /// The catalog in which `generation` of `view` serves: its data is there.
    ///
    /// Nothing changes if that one, or a newer one, serves already, or never was.
    #[must_use]
    pub fn switch(&self, view: &str, generation: u32) -> Self {
        let mut next = self.clone();
        let record = self.view_ids.get(view).and_then(|id| next.views.get_mut(id.0 as usize));
        if let Some(record) = record
            && record.switch(generation)
        {
            next.switches += 1;
            next.make_index();
        }
        next
    }

    fn apply_entity(&mut self, definition: &EntityDefinition, at: Timestamp) -> Result<()> {
        let known = self.entities.iter().position(|e| e.history.newest().name == definition.name);
        let entity = Arc::new(Entity {
            id: EntityId(known.unwrap_or(self.entities.len()) as u32),
            name: definition.name.clone(),
            join_keys: definition.join_keys.clone(),
            owner: definition.owner.clone(),
            description: definition.description.clone(),
        });
        let Some(record) = known.and_then(|index| self.entities.get_mut(index)) else {
            let history = History::start(entity, at);
            self.entities.push(EntityRecord { history, had_views: false });
            return Ok(());
        };
        let before = &record.history.newest().join_keys;
        if record.had_views && *before != entity.join_keys {
            return Err(Error::refused(format!(
                "entity.{}.join_keys: expected {}, as they were when a view of it was first \
                 applied, got {}; give the changed entity another name",
                entity.name,
                join_keys_text(before),
                join_keys_text(&entity.join_keys)
            )));
        }
        if record.history.current() != Some(&entity) {
            record.history.push(entity, at);
        }
        Ok(())
    }

    fn drop_entities(&mut self, kept: &BTreeSet<&str>, at: Timestamp) {
        for record in &mut self.entities {
            if !kept.contains(record.history.newest().name.as_str()) {
                record.history.drop_at(at);
            }
        }
    }

    fn apply_view(&mut self, definition: &ViewDefinition, at: Timestamp) -> Result<()> {
        let is_named = |e: &&mut EntityRecord| {
            e.history.current().is_some_and(|entity| entity.name == definition.entity)
        };
        let Some(entity) = self.entities.iter_mut().find(is_named) else {
            let (view, entity) = (&definition.name, &definition.entity);
            return Err(Error::refused(format!("view.{view}.entity: unknown entity '{entity}'")));
        };
        entity.had_views = true;
        let entity = entity.history.newest().id;
        let Some(id) = self.view_ids.get(&definition.name).copied() else {
            let id = ViewId(self.views.len() as u32);
            self.view_ids.insert(definition.name.clone(), id);
            self.views.push(ViewRecord::first(definition, id, entity, at));
            return Ok(());
        };
        if let Some(record) = self.views.get_mut(id.0 as usize) {
            record.apply(definition, entity, at);
        }
        Ok(())
    }

    fn drop_views(&mut self, kept: &BTreeSet<&str>, at: Timestamp) {
        for record in &mut self.views {
            if !kept.contains(record.history.newest().name.as_str()) {
                record.history.drop_at(at);
                record.serving = None;
                record.filling = None;
            }
        }
    }

    fn apply_service(&mut self, definition: &ServiceDefinition, at: Timestamp) -> Result<()> {
        let features = self.pin_features(definition)?;
        let before = self.services.get(&definition.name).map(History::newest);
        let hash = hash(&service_text(definition));
        // A service means its pinned list: the same text pins another one once a view changed.
        let same = before.filter(|before| before.hash == hash && before.features == features);
        let version = match (same, before) {
            (Some(same), _) => same.version,
            (None, before) => before.map_or(1, |before| before.version + 1),
        };
        let service = Arc::new(Service {
            name: definition.name.clone(),
            version,
            hash,
            features,
            owner: definition.owner.clone(),
            description: definition.description.clone(),
        });
        match self.services.get_mut(&definition.name) {
            None => {
                let history = History::start(service, at);
                self.services.insert(definition.name.clone(), history);
            }
            Some(history) if history.current() != Some(&service) => history.push(service, at),
            Some(_) => {}
        }
        Ok(())
    }

    fn pin_features(&self, definition: &ServiceDefinition) -> Result<Vec<ServiceFeature>> {
        let mut features = Vec::new();
        for selection in &definition.features {
            let refuse = |why: String| {
                Error::refused(format!("service.{}.features: {why}", definition.name))
            };
            let view = self.newest_view(&selection.view);
            let view = view.ok_or_else(|| refuse(format!("unknown view '{}'", selection.view)))?;
            let wanted = selection.feature.as_deref();
            let matching =
                view.features.iter().filter(|feature| wanted.is_none_or(|w| w == feature.name));
            let before = features.len();
            features.extend(matching.map(|feature| ServiceFeature {
                view: view.name.clone(),
                view_version: view.version,
                feature: feature.name.clone(),
            }));
            if features.len() == before {
                let wanted = wanted.unwrap_or("*");
                return Err(refuse(format!("view {} has no feature '{wanted}'", view.name)));
            }
        }
        Ok(features)
    }

    fn drop_services(&mut self, kept: &BTreeSet<&str>, at: Timestamp) {
        for (name, history) in &mut self.services {
            if !kept.contains(name.as_str()) {
                history.drop_at(at);
            }
        }
    }

    fn make_index(&mut self) {
        self.index = Index::new(self.entities(), self.views(), self.services());
    }
}

impl ViewRecord {
    fn first(definition: &ViewDefinition, id: ViewId, entity: EntityId, at: Timestamp) -> Self {
        let mut slots = Vec::new();
        let view = Arc::new(number(definition, id, entity, (1, 1), &mut slots));
        Self {
            history: History::start(Arc::clone(&view), at),
            generations: vec![Generation { newest: Arc::clone(&view), slots }],
            serving: Some(view),
            filling: None,
        }
    }

    /// Makes `definition` what this view means from `at` on.
    fn apply(&mut self, definition: &ViewDefinition, entity: EntityId, at: Timestamp) {
        let before = Arc::clone(self.history.newest());
        let is_current = self.history.current().is_some();
        if before.hash == hash(&view_text(definition)) {
            if !is_current {
                self.history.push(Arc::clone(&before), at);
                self.serving = Some(before);
            }
            return;
        }
        let is_same = has_same_meaning(&before, definition, entity);
        let generation = before.generation + u32::from(!is_same);
        let mut slots = match self.generations.last().filter(|_| is_same) {
            Some(last) => last.slots.clone(),
            None => Vec::new(),
        };
        let numbers = (before.version + 1, generation);
        let view = Arc::new(number(definition, before.id, entity, numbers, &mut slots));
        if is_same {
            self.generations.pop();
        }
        self.generations.push(Generation { newest: Arc::clone(&view), slots });
        self.history.push(Arc::clone(&view), at);

        let serves = self.serving.as_ref().map(|serving| serving.generation);
        if view.source.is_none() || serves.is_none_or(|serves| serves == generation) {
            self.serving = Some(view);
            self.filling = None;
        } else {
            self.filling = Some(view);
        }
    }

    /// Makes `generation` serve; tells whether that changed anything. What is left filling does not
    /// depend on when this is called, or a replay would end elsewhere.
    fn switch(&mut self, generation: u32) -> bool {
        let Some(serves) = self.serving.as_ref().map(|serving| serving.generation) else {
            return false;
        };
        let wanted =
            generation.checked_sub(1).and_then(|index| self.generations.get(index as usize));
        let Some(wanted) = wanted.filter(|_| generation > serves) else { return false };
        self.serving = Some(Arc::clone(&wanted.newest));
        self.filling = self.filling.take().filter(|filling| filling.generation > generation);
        true
    }
}

fn has_same_meaning(before: &View, definition: &ViewDefinition, entity: EntityId) -> bool {
    before.entity == entity
        && before.source == definition.source
        && before.event_timestamp == definition.event_timestamp
        && before.created_timestamp == definition.created_timestamp
        && definition.features.iter().all(|feature| {
            before.feature(&feature.name).is_none_or(|b| b.value_type == feature.value_type)
        })
}

/// `definition` with its numbers; `slots` grows by what has none yet.
fn number(
    definition: &ViewDefinition,
    id: ViewId,
    entity: EntityId,
    (version, generation): (u32, u32),
    slots: &mut Vec<SlotType>,
) -> View {
    let features = definition.features.iter().map(|feature| {
        let slot = SlotType { name: feature.name.clone(), value_type: feature.value_type };
        let index = slots.iter().position(|given| *given == slot).unwrap_or_else(|| {
            slots.push(slot);
            slots.len() - 1
        });
        Feature {
            name: feature.name.clone(),
            value_type: feature.value_type,
            slot: index as u32,
            unit: feature.unit.clone(),
            description: feature.description.clone(),
            default: feature.default.clone(),
            expect: feature.expect,
        }
    });
    View {
        features: features.collect(),
        id,
        name: definition.name.clone(),
        entity,
        version,
        generation,
        hash: hash(&view_text(definition)),
        source: definition.source.clone(),
        event_timestamp: definition.event_timestamp.clone(),
        created_timestamp: definition.created_timestamp.clone(),
        ttl: definition.ttl,
        retention_us: definition.retention_us,
        schedule_us: definition.schedule_us,
        owner: definition.owner.clone(),
        description: definition.description.clone(),
    }
}

/// `{ origin = "string", dest = "string" }`
fn join_keys_text(join_keys: &[JoinKey]) -> String {
    let keys = join_keys.iter().map(|key| format!("{} = \"{}\"", key.name, key.key_type.name()));
    format!("{{ {} }}", keys.collect::<Vec<_>>().join(", "))
}

fn sorted<T>(items: &[T], name: impl Fn(&T) -> &String) -> Vec<&T> {
    let mut sorted: Vec<&T> = items.iter().collect();
    sorted.sort_by(|a, b| name(a).cmp(name(b)));
    sorted
}
