//! The registry: definitions as code, the catalog they make, and its history.
//!
//! ```text
//! folder --repository--> texts --parse--> Definitions --apply--> Catalog --> plan, describe,
//!                                              \                               lineage
//!                                               \--canonical--> the one text: logged, hashed
//! ```
//! Invariants
//! - A catalog is a value: applying definitions makes another one, and never changes the old.
//! - A catalog is a function of what was applied, and of the generations that were switched to.
//! - Nothing that was ever applied is forgotten, and no number is given twice.
//!
//! Not here: where a catalog is kept and replaced (`store/`), who fills a view (`materialize/`).

#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod catalog_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod sample;

mod describe;
mod lineage;
mod removal;
mod name;
mod plan;
mod select;
mod difference;
mod apply;
mod catalog;
mod index;
mod history;
mod repository;
mod parse;
mod resolve;
mod read;
mod default_value;
mod node;
mod canonical;
mod definition;

pub use canonical::canonical_text;
pub use catalog::{Catalog, FeatureRef, SlotType};
pub use definition::{
    DefinitionFile, Definitions, EntityDefinition, FeatureDefinition, Selection, ServiceDefinition,
    ViewDefinition,
};
pub use describe::describe;
pub use history::Applied;
pub use lineage::{Step, lineage};
pub use parse::parse_repository;
pub use plan::{Action, Plan, PlannedChange, plan};
pub use removal::definitions_without;
pub use repository::{read_repository, with_sources_below};
pub use select::Selected;
