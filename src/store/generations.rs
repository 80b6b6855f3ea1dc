//! What the cells of a generation of a view mean, whatever has become of the view since.

use crate::{
    error::{Error, Result},
    feature::{Entity, Feature, View, ViewId},
    registry::Catalog,
};

/// The newest view of a generation, and its entity.
pub(super) fn meaning(
    catalog: &Catalog,
    view: ViewId,
    generation: u32,
) -> Result<(&View, &Entity)> {
    let view = catalog.view_of_generation(view, generation);
    let entity = view.and_then(|view| catalog.entity_by_id(view.entity));
    let meaning = view.zip(entity).map(|(view, entity)| (&**view, &**entity));
    meaning.ok_or_else(|| Error::refused("pushed cells of a view that was never defined"))
}

/// The view with every feature that its generation ever had.
pub(super) fn whole(catalog: &Catalog, view: &View, entity: &Entity) -> View {
    let mut whole = view.clone();
    for (slot, gone) in (0..).zip(catalog.slots(view.id, view.generation)) {
        if view.features.iter().any(|feature| feature.slot == slot) {
            continue;
        }
        // It may have come back with another type, as another slot of the same name.
        let mut name = gone.name.clone();
        let is_key = |name: &str| entity.join_keys.iter().any(|key| key.name == name);
        while whole.feature(&name).is_some() || is_key(&name) {
            name.insert(0, '_');
        }
        whole.features.push(Feature {
            name,
            value_type: gone.value_type,
            slot,
            unit: None,
            description: None,
            default: None,
            expect: None,
        });
    }
    whole
}
