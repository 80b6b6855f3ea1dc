//! Names of a catalog as the hot path asks for them: bytes of a key or field, answered by hashing
//! and without allocation.
//!
//! Invariants
//! - An index is derived from a catalog and made anew with it; it holds only what serves now.

use crate::feature::{Entity, EntityId, Service, View};
use std::{collections::HashMap, sync::Arc};

/// Names come from clients: the hash is seeded, so that nobody can choose names that collide.
type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// Where a feature stands: the position of its view in `EntityIndex::views`, and its own there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Found {
    One {
        view: usize,
        feature: usize,
    },
    /// Several views have it: only `view:feature` tells which one is meant.
    Several,
}

#[derive(Clone, Debug, Default)]
struct EntityIndex {
    views: Vec<Arc<View>>,
    /// By `feature` and by `view:feature`.
    features: Map<Box<[u8]>, Found>,
}

/// What serves now, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    entities: Map<Box<[u8]>, Arc<Entity>>,
    services: Map<Box<str>, Arc<Service>>,
    by_entity: Map<EntityId, EntityIndex>,
}

impl Index {
    /// The index of what serves. Views come sorted by name.
    pub(super) fn new<'a>(
        entities: impl Iterator<Item = &'a Arc<Entity>>,
        views: impl Iterator<Item = &'a Arc<View>>,
        services: impl Iterator<Item = &'a Arc<Service>>,
    ) -> Self {
        let mut index = Self::default();
        for entity in entities {
            index.entities.insert(entity.name.as_bytes().into(), Arc::clone(entity));
        }
        for view in views {
            index.by_entity.entry(view.entity).or_default().add(view);
        }
        for service in services {
            index.services.insert(service.name.as_str().into(), Arc::clone(service));
        }
        index
    }

    pub(super) fn entity(&self, name: &[u8]) -> Option<&Arc<Entity>> {
        self.entities.get(name)
    }

    pub(super) fn service(&self, name: &str) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    pub(super) fn views_of(&self, entity: EntityId) -> &[Arc<View>] {
        self.by_entity.get(&entity).map_or(&[], |index| index.views.as_slice())
    }

    /// The view and the index of the feature that `field` names, if it names one.
    pub(super) fn feature(&self, entity: EntityId, field: &[u8]) -> Option<(&Arc<View>, usize)> {
        let index = self.by_entity.get(&entity)?;
        match index.features.get(field)? {
            Found::One { view, feature } => Some((index.views.get(*view)?, *feature)),
            Found::Several => None,
        }
    }

    /// All names that [`Index::feature`] knows of an entity, in no order.
    pub(super) fn feature_names(&self, entity: EntityId) -> impl Iterator<Item = &str> {
        let names = self.by_entity.get(&entity).into_iter().flat_map(|index| index.features.keys());
        names.filter_map(|name| std::str::from_utf8(name).ok())
    }
}

impl EntityIndex {
    fn add(&mut self, view: &Arc<View>) {
        let position = self.views.len();
        self.views.push(Arc::clone(view));
        for (feature_index, feature) in view.features.iter().enumerate() {
            let found = Found::One { view: position, feature: feature_index };
            let full = format!("{}:{}", view.name, feature.name);
            self.features.insert(full.into_bytes().into(), found);
            let short = self.features.entry(feature.name.as_bytes().into());
            short.and_modify(|first| *first = Found::Several).or_insert(found);
        }
    }
}
