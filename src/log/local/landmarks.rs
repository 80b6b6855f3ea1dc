//! Where some frames of a segment begin, as far as somebody has read it: whoever reads from an LSN
//! in its middle starts there, and need not walk over all that stands before.
//!
//! Invariants
//! - A landmark was reached by a walk from the header: each frame before it was verified once.
//! - Nothing is written for them: they are of this process, and a frame that was written stays.

use super::reader::Position;
use crate::log::contract::Lsn;
use parking_lot::Mutex;

/// Two landmarks are at least so far apart.
pub(super) const APART_BYTES: usize = if cfg!(test) { 1024 } else { 64 * 1024 };

/// Those of one segment, in its order.
#[derive(Debug, Default)]
pub(super) struct Landmarks(Mutex<Vec<Position>>);

impl Landmarks {
    /// The last one from where record `lsn` is still to come.
    pub(super) fn before(&self, lsn: Lsn) -> Option<Position> {
        let known = self.0.lock();
        let behind = known.partition_point(|position| position.next_lsn <= lsn);
        known.get(behind.checked_sub(1)?).copied()
    }

    /// Notes `position`, if it is far enough behind the last one; the first offset that would be
    /// far enough then.
    pub(super) fn note(&self, position: Position) -> usize {
        let mut known = self.0.lock();
        let next = |last: &Position| last.offset + APART_BYTES;
        if known.last().is_none_or(|last| position.offset >= next(last)) {
            known.push(position);
        }
        known.last().map_or(0, next)
    }
}
