//! Plans that were made before: the list of features a client asks for is nearly always one that
//! was asked for already, so its names are resolved once and compared from then on.

use super::{read_features::ReadPlan, schema::Schema};
use crate::feature::{Entity, EntityId};
use ahash::RandomState;
use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher},
    sync::Arc,
};

/// With more lists than this the cache begins anew: clients that never repeat one gain nothing.
const PLANS_MAX: usize = 256;

/// Plans by the names they were made from. Each thread has its own.
#[derive(Default)]
pub struct PlanCache {
    /// Whose plans they are. Held, so that no other schema can have its address.
    schema: Option<Arc<Schema>>,
    hasher: RandomState,
    plans: HashMap<u64, Known, RandomState>,
    as_written: HashMap<u64, Written, RandomState>,
}

struct Known {
    entity: EntityId,
    names: Vec<Box<[u8]>>,
    plan: Arc<ReadPlan>,
}

/// Names by the bytes of a request, and where in them each begins and ends.
struct Written {
    entity: EntityId,
    bytes: Box<[u8]>,
    places: Box<[(usize, usize)]>,
    plan: Arc<ReadPlan>,
}

impl PlanCache {
    /// The plan of names that stand in a request as `bytes` and `places` say: one comparison of
    /// bytes and one of places instead of one for each name. `names` gives them.
    pub fn plan_as_written<'n, N: Iterator<Item = &'n [u8]> + Clone>(
        &mut self,
        schema: &Arc<Schema>,
        entity: &Entity,
        (bytes, places): (&[u8], impl Iterator<Item = (usize, usize)> + Clone),
        names: impl FnOnce() -> N,
    ) -> Arc<ReadPlan> {
        self.keep_to(schema);
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(entity.id.0);
        hasher.write(bytes);
        let hash = hasher.finish();
        if let Some(known) = self.as_written.get(&hash)
            && known.entity == entity.id
            && *known.bytes == *bytes
            && known.places.iter().copied().eq(places.clone())
        {
            return Arc::clone(&known.plan);
        }
        let plan = self.plan(schema, entity, names());
        if self.as_written.len() >= PLANS_MAX {
            self.as_written.clear();
        }
        let (entity, bytes, places) = (entity.id, Box::from(bytes), places.collect());
        self.as_written.insert(hash, Written { entity, bytes, places, plan: Arc::clone(&plan) });
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
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(entity.id.0);
        names.clone().for_each(|name| {
            hasher.write_usize(name.len());
            hasher.write(name);
        });
        let hash = hasher.finish();
        if let Some(known) = self.plans.get(&hash)
            && known.entity == entity.id
            && known.names.iter().map(|name| &**name).eq(names.clone())
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
            self.as_written.clear();
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

    #[test]
    fn the_same_bytes_cut_elsewhere_are_other_names() {
        let schema = schema("a = \"int64\", b = \"int64\", ab = \"int64\"");
        let entity = schema.catalog.entity("user").unwrap();
        let mut cache = PlanCache::default();
        let bytes = b"abab".as_slice();
        let mut plan = |cuts: &[(usize, usize)]| {
            let names = || cuts.iter().map(|(from, to)| &bytes[*from..*to]);
            let written = (bytes, cuts.iter().copied());
            let plan = cache.plan_as_written(&schema, entity, written, names);
            assert_eq!(slots(&plan), slots(&schema.plan(entity, names())), "{cuts:?}");
        };
        let cuts: [&[(usize, usize)]; 3] =
            [&[(0, 2), (2, 4)], &[(0, 1), (1, 4)], &[(0, 1), (1, 2), (2, 4)]];
        (0..3).for_each(|_| cuts.iter().for_each(|cuts| plan(cuts)));
    }

    #[test]
    fn a_plan_is_that_of_the_schema_asked_about() {
        let both = [schema("a = \"int64\""), schema("b = \"int64\"")];
        let mut cache = PlanCache::default();
        for schema in both.iter().chain(&both) {
            let entity = schema.catalog.entity("user").unwrap();
            let names = || std::iter::once(b"a".as_slice());
            let written = (b"a".as_slice(), std::iter::once((0, 1)));
            let plan = cache.plan_as_written(schema, entity, written, names);
            assert_eq!(plan.unknown_names, usize::from(Arc::ptr_eq(schema, &both[1])));
        }
    }
}
