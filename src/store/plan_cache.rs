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
}

struct Known {
    entity: EntityId,
    names: Vec<Box<[u8]>>,
    plan: Arc<ReadPlan>,
}

impl PlanCache {
    /// The plan of `names` of features of `entity`.
    pub fn plan<'n>(
        &mut self,
        schema: &Arc<Schema>,
        entity: &Entity,
        names: impl Iterator<Item = &'n [u8]> + Clone,
    ) -> Arc<ReadPlan> {
        if self.schema.as_ref().is_none_or(|known| !Arc::ptr_eq(known, schema)) {
            self.plans.clear();
            self.schema = Some(Arc::clone(schema));
        }
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
}
