//! The words of a feature store, and the one rule of visibility.
//!
//! Invariants
//! - Every instant is whole microseconds since 1970, UTC; the name of anything else says its unit.
//! - [`visible_at`] and [`Stamp`] are the only answer to "may this be seen at t?" and "which one
//!   wins?".
//! - [`Change`] lists all that can happen to a store; whatever is not a `Change` is not kept.
//!
//! Not here: how definitions are written (`registry/`), how rows are packed (`online/`).

mod pushes;

mod change;

mod run;
mod view;

mod forgotten;

mod entity;
mod value;
mod value_type;
mod visible;

mod time;

pub use change::{
    CellWrite, CellsWrite, Change, EndingField, Origin, PlainChange, Record, decode_record,
    encode_record, sole_row_key, write_record,
};
pub use entity::{Entity, EntityId, JoinKey, KeyPart, KeyType};
pub use forgotten::{Forgotten, KeyMark, Mark};
pub use pushes::each_pushed;
pub use run::{FileStamp, Run, RunState};
pub use time::{Timestamp, Ttl, duration_text, parse_duration_us};
pub use value::{List, Value, parse_double};
pub use value_type::{Scalar, ValueType};
pub use view::{Expectation, Feature, Service, ServiceFeature, View, ViewId};
pub use visible::{Stamp, Status, status_at, visible_at};
