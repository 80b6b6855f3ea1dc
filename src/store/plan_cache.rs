//! Plans that were made before: the list of features a client asks for is nearly always one that
//! was asked for already, so its names are resolved once and compared from then on.

use super::{read_plan::ReadPlan, schema::Schema};
use crate::feature::{Entity, EntityId};
use ahash::RandomState;
use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher},
    num::NonZeroU64,
    sync::Arc,
};

/// With more lists than this the cache begins anew: clients that never repeat one gain nothing.
const PLANS_MAX: usize = 256;
/// The plans of so many lists are found by the number of the list.
const LISTS_MAX: u64 = 64;

/// Plans by the names they were made from. Each thread has its own.
#[derive(Default)]
pub struct PlanCache {
    /// Whose plans they are. Held, so that no other schema can have its address.
    schema: Option<Arc<Schema>>,
    hasher: RandomState,
    plans: HashMap<u64, Known, RandomState>,
    /// The hash of the names that were asked for last.
    last: u64,
    /// By the number of the list, of which the last digits are the place.
    by_list: Vec<Option<Listed>>,
}

struct Known {
    entity: EntityId,
    names: Vec<Box<[u8]>>,
    plan: Arc<ReadPlan>,
}

/// The names that a request had as a list with this number.
struct Listed {
    list: NonZeroU64,
    entity: EntityId,
    plan: Arc<ReadPlan>,
}

impl Known {
    fn is_of<'n>(&self, entity: &Entity, names: impl Iterator<Item = &'n [u8]>) -> bool {
        self.entity == entity.id && self.names.iter().map(|name| &**name).eq(names)
    }
}

impl PlanCache {
    /// The plan of `names`, which are the list that has this number, if it has one: then one
    /// comparison instead of one for each name.
    pub fn plan_of_list<'n>(
        &mut self,
        schema: &Arc<Schema>,
        entity: &Entity,
        list: Option<NonZeroU64>,
        names: impl Iterator<Item = &'n [u8]> + Clone,
    ) -> Arc<ReadPlan> {
        let Some(list) = list else { return self.plan(schema, entity, names) };
        self.keep_to(schema);
        let place = (list.get() % LISTS_MAX) as usize;
        if let Some(Some(known)) = self.by_list.get(place)
            && (known.list, known.entity) == (list, entity.id)
        {
            return Arc::clone(&known.plan);
        }
        let plan = self.plan(schema, entity, names);
        self.by_list.resize_with(LISTS_MAX as usize, || None);
        if let Some(known) = self.by_list.get_mut(place) {
            *known = Some(Listed { list, entity: entity.id, plan: Arc::clone(&plan) });
        }
        plan
    }

    /// The plan of `names` of features of `entity`.
    pub fn plan<'n>(
        &mut self,
        schema: &Arc<Schema>,
        entity: &Entity,
        names: impl Iterator<Item = &'n [u8]> + Clone,
    ) -> Arc<ReadPlan> {
        self.keep_to(schema);
        // A client writes the same features again and again: then there is nothing to hash.
        if let Some(known) = self.plans.get(&self.last)
            && known.is_of(entity, names.clone())
        {
            return Arc::clone(&known.plan);
        }
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(entity.id.0);
        names.clone().for_each(|name| {
            hasher.write_usize(name.len());
            hasher.write(name);
        });
        let hash = hasher.finish();
        self.last = hash;
        if let Some(known) = self.plans.get(&hash)
            && known.is_of(entity, names.clone())
        {
            return Arc::clone(&known.plan);
        }
        let plan = Arc::new(schema.plan(entity, names.clone()));
        if self.plans.len() >= PLANS_MAX {
            self.plans.clear();
        }
        let names = names.map(Box::from).collect();
        self.plans.insert(hash, Known { entity: entity.id, names, plan: Arc::clone(&plan) });
        plan
    }

    /// Forgets what was made for another schema.
    fn keep_to(&mut self, schema: &Arc<Schema>) {
        if self.schema.as_ref().is_none_or(|known| !Arc::ptr_eq(known, schema)) {
            self.plans.clear();
            self.by_list.clear();
            self.schema = Some(Arc::clone(schema));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        feature::Timestamp,
        registry::{Catalog, DefinitionFile, parse_repository},
    };

    fn schema(features: &str) -> Arc<Schema> {
        let text = format!(
            "[entity.user]\njoin_keys = {{ id = \"int64\" }}\n[view.v]\nentity = \"user\"\n\
             features = {{ {features} }}\n"
        );
        let file = DefinitionFile { path: "test".into(), text };
        let definitions = parse_repository(&[file]).unwrap();
        Arc::new(Schema::new(Catalog::empty().apply(&definitions, Timestamp(1)).unwrap()))
    }

    /// Which slots a plan reads.
    fn slots(plan: &ReadPlan) -> Vec<Option<u32>> {
        plan.cells.iter().map(|cell| cell.as_ref().map(|cell| cell.feature_slot())).collect()
    }

    fn list(number: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(number)
    }

    #[test]
    fn a_list_of_another_number_is_another_list() {
        let schema = schema("a = \"int64\", b = \"int64\", ab = \"int64\"");
        let entity = schema.catalog.entity("user").unwrap();
        let mut cache = PlanCache::default();
        let lists: [&[&[u8]]; 4] =
            [&[b"ab", b"ab"], &[b"ab", b"a", b"b"], &[b"a"], &[b"ab", b"ab"]];
        // Some share their place, and the last two have no number.
        let numbers = [1, 1 + LISTS_MAX, 0, 0];
        for _ in 0..3 {
            for (names, number) in lists.iter().zip(numbers) {
                let names = || names.iter().copied();
                let plan = cache.plan_of_list(&schema, entity, list(number), names());
                assert_eq!(slots(&plan), slots(&schema.plan(entity, names())));
            }
        }
    }

    #[test]
    fn a_list_is_that_of_the_entity_asked_about() {
        let text = "[entity.a]\njoin_keys = { id = \"int64\" }\n[entity.b]\njoin_keys = { id = \
                    \"int64\" }\n[view.v]\nentity = \"a\"\nfeatures = { x = \"int64\" }\n";
        let file = DefinitionFile { path: "test".into(), text: text.into() };
        let definitions = parse_repository(&[file]).unwrap();
        let catalog = Catalog::empty().apply(&definitions, Timestamp(1)).unwrap();
        let schema = Arc::new(Schema::new(catalog));
        let mut cache = PlanCache::default();
        for name in ["a", "b", "a", "b"] {
            let entity = schema.catalog.entity(name).unwrap();
            let names = std::iter::once(b"x".as_slice());
            let plan = cache.plan_of_list(&schema, entity, list(7), names);
            assert_eq!(plan.unknown_names, usize::from(name == "b"));
        }
    }

    #[test]
    fn a_plan_is_that_of_the_schema_asked_about() {
        let both = [schema("a = \"int64\""), schema("b = \"int64\"")];
        let mut cache = PlanCache::default();
        for schema in both.iter().chain(&both) {
            let entity = schema.catalog.entity("user").unwrap();
            let names = std::iter::once(b"a".as_slice());
            let plan = cache.plan_of_list(schema, entity, list(1), names);
            assert_eq!(plan.unknown_names, usize::from(Arc::ptr_eq(schema, &both[1])));
        }
    }
}
