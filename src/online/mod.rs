//! The online store: the newest value of each feature, and plain Redis keys beside them, in memory.
//!
//! ```text
//! key --hash--> shard --> Row { key, lsn, end of life, body }
//!                              body of an entity: a section per view: stamp, states, values, text
//!                              body of a plain key: a string, or a hash as names and values,
//!                                                   with ends of life where a field has one
//! ```
//! Invariants
//! - A cell never moves back in (event, created) time; an older write is an outcome, not an error.
//! - What is not yet durable stands in a shard's `pending` rows, beside what readers see.
//! - Numbers of words and of shapes, which rows hold in the place of text and of names, mean
//!   something in this table alone.
//! - Rows know nothing of clocks: what TTL hides is decided by `feature::status_at`, by the reader.
//!
//! Not here: which names stand for which slots (`registry/`), what survives a crash (`log/`).

#[cfg(test)]
mod earlier_form_tests;
#[cfg(test)]
mod ending_tests;
#[cfg(test)]
mod format_document_tests;
#[cfg(test)]
mod shaped_tests;
#[cfg(test)]
mod worded_tests;

mod ahead;

mod table;

mod shard_walk;

mod shard;

mod shard_rows;

mod index;

mod edit;

mod owned_row;

mod tally;

mod in_place;

mod segments;

mod shaped_hash;

mod row;

mod worded_row;

mod pack_row;

mod entity_row;

mod overwrite_section;

mod pack_section;

mod section;

mod plain_hash;

mod shaped_fields;

mod field_plans;

mod large_fields;

mod field_map;

mod shared;

mod dictionary;

mod shapes;

mod words;

mod interner;

mod field;

mod segment_pool;

mod layout;

mod value_ref;

mod key_hash;

mod bytes;

mod prefetch;

pub use ahead::Ahead;
pub use edit::Edit;
pub use entity_row::{CellRef, EntityRow, Merge};
pub use field::Field;
pub use field_plans::FieldPlans;
pub use layout::Layout;
pub use owned_row::OwnedRow;
pub use plain_hash::{PlainHash, StoredHash};
pub use row::{Body, Row};
pub use section::{CellState, Section};
pub use shard::{Seen, Shard};
pub use shard_rows::Found;
pub use table::{ScanStep, Swept, Table};
pub use value_ref::ValueRef;
