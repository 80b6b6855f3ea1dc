//! Definitions as they are written in a feature repository: names only, nothing numbered yet.
//!
//! Invariants, which `parse_repository` holds and `apply` checks again
//! - Every list of definitions is sorted by name, and no name stands in it twice.
//! - Every view names an entity that is there, every selection a view and feature that are there.
//!
//! Not here: ids, versions, generations and slots (`apply.rs`).

use crate::feature::{Expectation, JoinKey, Ttl, Value, ValueType};

/// One file of a feature repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionFile {
    /// The path that errors name, relative to the repository.
    pub path: String,
    /// What stands in it.
    pub text: String,
}

/// All that a feature repository defines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definitions {
    /// The entities.
    pub entities: Vec<EntityDefinition>,
    /// The views.
    pub views: Vec<ViewDefinition>,
    /// The services.
    pub services: Vec<ServiceDefinition>,
}

/// `[entity.NAME]`
#[derive(Clone, Debug, PartialEq)]
pub struct EntityDefinition {
    /// Its name.
    pub name: String,
    /// What identifies one, in the order written; at least one.
    pub join_keys: Vec<JoinKey>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is.
    pub description: Option<String>,
}

/// `[view.NAME]`
#[derive(Clone, Debug, PartialEq)]
pub struct ViewDefinition {
    /// Its name.
    pub name: String,
    /// The name of the entity its features describe.
    pub entity: String,
    /// File, glob or folder of Parquet; `None` for a view that is only pushed to.
    pub source: Option<String>,
    /// The column that tells when a row was true; present wherever `source` is.
    pub event_timestamp: Option<String>,
    /// The column that tells when it became known; only where `source` is.
    pub created_timestamp: Option<String>,
    /// How long a cell may be seen.
    pub ttl: Option<Ttl>,
    /// How long back it is told what was pushed, in µs.
    pub retention_us: Option<i64>,
    /// How often it is materialized, in µs; only where `source` is.
    pub schedule_us: Option<i64>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Its features, in the order written; at least one.
    pub features: Vec<FeatureDefinition>,
}

/// One line of `[view.NAME.features]`.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureDefinition {
    /// Its name, unique in its view.
    pub name: String,
    /// Its type.
    pub value_type: ValueType,
    /// `mph`, `seconds`.
    pub unit: Option<String>,
    /// What it tells.
    pub description: Option<String>,
    /// What a model may assume where there is no value; of type `value_type`.
    pub default: Option<Value>,
    /// What its values should look like; `None` if nothing is expected.
    pub expect: Option<Expectation>,
}

/// `[service.NAME]`
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceDefinition {
    /// Its name.
    pub name: String,
    /// What it lists, in the order written; at least one.
    pub features: Vec<Selection>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is.
    pub description: Option<String>,
}

/// `view:feature` or `view:*` in a service. A short name is written out when it is read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selection {
    /// The view.
    pub view: String,
    /// The feature; `None` for all that the view has.
    pub feature: Option<String>,
}

impl ViewDefinition {
    /// The feature of that name.
    pub fn feature(&self, name: &str) -> Option<&FeatureDefinition> {
        self.features.iter().find(|feature| feature.name == name)
    }
}
