//! Feature views and the services that models read: what was defined, with what it was numbered.
//!
//! ```text
//! version      counts up with every change of a definition
//! generation   counts up only when stored meaning changes (type, source, timestamps, entity): the
//!              cells of an older generation never answer for a newer one
//! slot         where a feature stands in a packed row of its generation; a slot is never reused
//!              for another name or type, so that adding a feature leaves every row readable
//! ```

use super::{entity::EntityId, time::Ttl, value::Value, value_type::ValueType};
use serde::{Deserialize, Serialize};

/// Numbers the views of a catalog in the order they were first applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ViewId(pub u32);

/// What the owner expects of a feature's values; data quality checks against it.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Expectation {
    /// No value is less.
    pub min: Option<f64>,
    /// No value is greater.
    pub max: Option<f64>,
    /// At most this share of rows is null, 0 to 1.
    pub max_null_rate: Option<f64>,
}

/// One named, typed column of a view.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Its name, unique in its view.
    pub name: String,
    /// Its type.
    pub value_type: ValueType,
    /// Where it stands in a packed row.
    pub slot: u32,
    /// `mph`, `seconds`.
    pub unit: Option<String>,
    /// What it tells.
    pub description: Option<String>,
    /// What a model may assume where there is no value.
    pub default: Option<Value>,
    /// What its values should look like.
    pub expect: Option<Expectation>,
}

/// Features of one entity that arrive together.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Its number in the catalog.
    pub id: ViewId,
    /// Its name, unique in the catalog.
    pub name: String,
    /// What its features describe.
    pub entity: EntityId,
    /// Which definition of this name it is, from 1.
    pub version: u32,
    /// Which stored meaning it has, from 1.
    pub generation: u32,
    /// The hash of the canonical text of the definition, in hexadecimal.
    pub hash: String,
    /// File, glob or folder of Parquet; `None` for a view that is only pushed to.
    pub source: Option<String>,
    /// The column of the source that tells when a row was true; present wherever `source` is.
    pub event_timestamp: Option<String>,
    /// The column that tells when it became known.
    pub created_timestamp: Option<String>,
    /// How long a cell may be seen; `None` means for ever.
    pub ttl: Option<Ttl>,
    /// How long back it is told what was pushed, in µs; `None` means for ever.
    pub retention_us: Option<i64>,
    /// How often it is materialized, in µs.
    pub schedule_us: Option<i64>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Its features, in the order defined; at least one.
    pub features: Vec<Feature>,
}

impl View {
    /// The feature of that name.
    pub fn feature(&self, name: &str) -> Option<&Feature> {
        self.features.iter().find(|feature| feature.name == name)
    }
}

/// One feature that a service names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFeature {
    /// The view, by name.
    pub view: String,
    /// The version of the view that the service was pinned to when it was applied.
    pub view_version: u32,
    /// The feature, by name.
    pub feature: String,
}

/// The named, version-pinned list of features that one model reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name, unique in the catalog.
    pub name: String,
    /// Which definition of this name it is, from 1.
    pub version: u32,
    /// The hash of its canonical text.
    pub hash: String,
    /// What it lists, with every `view:*` written out, in order.
    pub features: Vec<ServiceFeature>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What it is.
    pub description: Option<String>,
}
