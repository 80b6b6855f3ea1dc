//! The catalog with what the online table needs of it: a layout for each generation of a view.
//! An immutable value; applying definitions makes the next one.

use super::plan_cell::NamedCell;
use crate::{
    feature::{EntityId, ViewId},
    online::Layout,
    registry::Catalog,
};
use ahash::RandomState;
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

/// A catalog and the layouts of its views.
#[derive(Debug)]
pub struct Schema {
    /// The definitions.
    pub catalog: Catalog,
    layouts: HashMap<(ViewId, u32), Arc<Layout>, RandomState>,
    /// Every feature of each entity, once somebody asked for all of them.
    pub(super) all: HashMap<EntityId, OnceLock<Vec<NamedCell>>, RandomState>,
}

impl Schema {
    /// Lays out every generation of every view that `catalog` ever had.
    pub fn new(catalog: Catalog) -> Self {
        let layout = |(view, generation)| {
            let slots = catalog.slots(view, generation).iter().map(|slot| slot.value_type);
            ((view, generation), Arc::new(Layout::new(view, generation, slots)))
        };
        let layouts = catalog.generations().map(layout).collect();
        let all = catalog.entities().map(|entity| (entity.id, OnceLock::new())).collect();
        Self { catalog, layouts, all }
    }

    /// All layouts.
    pub(super) fn layouts(&self) -> impl Iterator<Item = &Arc<Layout>> {
        self.layouts.values()
    }

    /// The layout of a generation of a view.
    pub fn layout(&self, view: ViewId, generation: u32) -> Option<&Arc<Layout>> {
        self.layouts.get(&(view, generation))
    }
}
