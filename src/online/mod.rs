//! The online store: the newest value of each feature, and plain Redis keys beside them, in memory.
//!
//! ```text
//! key --hash--> shard --> Row { key, lsn, end of life, body }
//!                              body of an entity: a section per view: stamp, states, values, text
//!                              body of a plain key: a string, or a hash as names and values
//! ```
//! Invariants
//! - A cell never moves back in (event, created) time; an older write is an outcome, not an error.
//! - What is not yet durable stands in a shard's `pending` rows, beside what readers see.
//! - Rows know nothing of clocks: what TTL hides is decided by `feature::status_at`, by the reader.
//!
//! Not here: which names stand for which slots (`registry/`), what survives a crash (`log/`).

mod table;

mod shard;

mod row;

mod entity_row;

mod plain_hash;

mod layout;

mod value_ref;

mod bytes;

pub use entity_row::{CellRef, CellState, EntityRow, Merge};
pub use layout::Layout;
pub use plain_hash::PlainHash;
pub use row::{Body, Row};
pub use shard::{Edit, Seen, Shard};
pub use table::{ScanStep, Table};
pub use value_ref::ValueRef;
