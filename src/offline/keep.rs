//! Which rows of a history answer questions about a horizon and what is behind it.
//!
//! ```text
//! one entity      1 ─── 2 ─── 3 ──│── 4 ─── 5      ascending by event
//! known by then   a     a,b   a   │
//! stay                  2     3   │   4     5      2 for b; 1 says nothing that 3 does not
//! ```
//! A row goes if it was known at the horizon, and rows of its entity that were known then, too, and
//! win over it have written each of its cells.
//!
//! Invariants
//! - Of every time from the horizon on each cell is told as if no row had gone: by event, and by
//!   arrival as far as rows say when they arrived.
//! - In memory are the rows of one entity that stay, up to a number and a length: if they are more,
//!   all that are held stay.

use super::{
    extents::Extent, history_file::HistoryFile, history_layout::Kept, history_write::row_bytes,
    pushed::PushedCells,
};
use crate::feature::{KeyPart, Timestamp};
use std::collections::HashMap;

const HELD_MAX: usize = 4096;
const HELD_BYTES_MAX: usize = 4 << 20;

/// A file is looked through once more after this part of what is kept, if so much of it went.
const PARTS: u64 = 8;
/// And never sooner.
const STEP_US: i64 = 60_000_000;

/// How much of a history is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// From then on everything.
    pub keep_from: Timestamp,
    /// How long that is, in µs.
    pub length_us: i64,
}

impl Retention {
    fn step_us(self) -> i64 {
        (self.length_us / PARTS as i64).max(STEP_US)
    }

    /// What a file says of itself if `gone` of its `rows` have gone, and of which others said
    /// `before` what they keep.
    pub(super) fn kept(self, before: Option<Timestamp>, gone: u64, rows: u64) -> Kept {
        let has_paid = gone.saturating_mul(PARTS) >= rows;
        let wait_us = if has_paid { self.step_us() } else { self.length_us.max(STEP_US) };
        let from = if gone > 0 { before.max(Some(self.keep_from)) } else { before };
        Kept { from, look_again: Some(Timestamp(self.keep_from.us().saturating_add(wait_us))) }
    }
}

/// Takes rows in the order of key, stamp and arrival, and hands on those that stay.
#[derive(Debug)]
pub(super) struct Keep {
    horizon: Timestamp,
    key: Vec<KeyPart>,
    /// Rows of this key up to the horizon.
    held: Vec<Held>,
    /// By slot, which of them wrote it last.
    owners: HashMap<u32, usize>,
    /// How long their values are.
    held_bytes: usize,
    /// How many rows have gone.
    gone: u64,
}

#[derive(Debug)]
struct Held {
    /// `None` has gone.
    row: Option<PushedCells>,
    /// How many of its cells no later row wrote; `None` if it stays anyhow.
    cells_left: Option<usize>,
}

impl Keep {
    pub(super) fn from(horizon: Timestamp) -> Self {
        Self { horizon, key: vec![], held: vec![], owners: HashMap::new(), held_bytes: 0, gone: 0 }
    }

    /// How many rows have gone so far.
    pub(super) fn gone(&self) -> u64 {
        self.gone
    }

    /// Takes the next row; what stays for certain goes to `out`.
    pub(super) fn add(&mut self, row: PushedCells, out: &mut Vec<PushedCells>) {
        if row.key != self.key {
            self.end(out);
            self.key.clone_from(&row.key);
        }
        if row.stamp.event > self.horizon {
            self.end(out);
            out.push(row);
            return;
        }
        if self.held.len() >= HELD_MAX || self.held_bytes > HELD_BYTES_MAX {
            self.end(out);
        }
        let was_known = row.stamp.created.is_none_or(|created| created <= self.horizon);
        let cells_left = was_known.then_some(row.cells.len());
        if cells_left == Some(0) {
            self.gone += 1;
            return;
        }
        for (slot, _) in row.cells.iter().filter(|_| was_known) {
            let before = self.owners.insert(*slot, self.held.len());
            let Some(before) = before.and_then(|before| self.held.get_mut(before)) else {
                continue;
            };
            before.cells_left = before.cells_left.map(|left| left.saturating_sub(1));
            if before.cells_left == Some(0) {
                let bytes = before.row.take().as_ref().map_or(0, row_bytes);
                self.held_bytes = self.held_bytes.saturating_sub(bytes);
                self.gone += 1;
            }
        }
        self.held_bytes = self.held_bytes.saturating_add(row_bytes(&row));
        self.held.push(Held { row: Some(row), cells_left });
    }

    /// Lets what is held stay.
    pub(super) fn end(&mut self, out: &mut Vec<PushedCells>) {
        out.extend(self.held.drain(..).filter_map(|held| held.row));
        self.owners.clear();
        self.held_bytes = 0;
    }
}

impl HistoryFile {
    /// Whether it is worth while to look through it for rows that go.
    pub fn may_give_up(&self, retention: Retention) -> bool {
        let is_due = |look_again| retention.keep_from >= look_again;
        let due = Timestamp(retention.keep_from.us().saturating_sub(retention.step_us()));
        self.kept.look_again.map_or_else(|| self.is_older_than(due), is_due)
    }

    /// Whether it may have rows of a time before `horizon`.
    pub(super) fn is_older_than(&self, horizon: Timestamp) -> bool {
        let event = &self.columns.event;
        self.file.metadata().metadata().row_groups().iter().any(|row_group| {
            let chunk = event.leaf.and_then(|leaf| row_group.columns().get(leaf));
            let range = chunk.and_then(|chunk| Extent::of_chunk(chunk.statistics()?)?.times(event));
            range.is_none_or(|(least, _)| least < horizon)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::{CellWrite, Stamp};

    fn row(key: &str, event: i64, created: Option<i64>, slots: &[u32]) -> PushedCells {
        let stamp = Stamp::new(Timestamp(event), created.map(Timestamp));
        let cells = slots.iter().map(|slot| (*slot, CellWrite::Null)).collect();
        PushedCells { key: vec![KeyPart::Bytes(key.into())], stamp, order: 1, cells }
    }

    /// The key and the event of each row that stays.
    fn kept(horizon: i64, rows: &[PushedCells]) -> (Vec<(String, i64)>, u64) {
        let (mut keep, mut out) = (Keep::from(Timestamp(horizon)), Vec::new());
        for row in rows {
            keep.add(row.clone(), &mut out);
        }
        keep.end(&mut out);
        let told = out.iter().map(|row| match row.key.as_slice() {
            [KeyPart::Bytes(key)] => (String::from_utf8(key.clone()).unwrap(), row.stamp.event.0),
            _ => panic!("one part"),
        });
        (told.collect(), keep.gone())
    }

    #[test]
    fn what_later_rows_say_again_goes() {
        let a = |event, slots: &[u32]| row("a", event, None, slots);
        let rows = [a(1, &[0]), a(2, &[0, 1]), a(3, &[0]), a(4, &[0]), a(5, &[0, 1])];
        let events = |horizon| kept(horizon, &rows).0.iter().map(|row| row.1).collect::<Vec<_>>();
        assert_eq!(events(0), [1, 2, 3, 4, 5]);
        assert_eq!(events(1), [1, 2, 3, 4, 5]);
        assert_eq!(events(2), [2, 3, 4, 5]);
        assert_eq!(events(3), [2, 3, 4, 5]);
        assert_eq!(events(4), [2, 4, 5]);
        assert_eq!((events(5), kept(5, &rows).1), (vec![5], 4));
    }

    #[test]
    fn entities_do_not_mix_and_what_came_late_stays() {
        let rows = [
            row("a", 1, Some(1), &[0]),
            row("a", 2, Some(9), &[0]),
            row("a", 3, Some(2), &[0]),
            row("b", 1, None, &[0]),
            row("b", 2, None, &[]),
        ];
        let told = |rows: &[(&str, i64)]| -> Vec<(String, i64)> {
            rows.iter().map(|(key, event)| ((*key).to_owned(), *event)).collect()
        };
        assert_eq!(kept(5, &rows), (told(&[("a", 2), ("a", 3), ("b", 1)]), 2));
        assert_eq!(kept(9, &rows), (told(&[("a", 3), ("b", 1)]), 3));
    }

    #[test]
    fn a_file_that_gave_up_little_is_left_alone_for_long() {
        const HOUR: i64 = 3_600_000_000;
        let retention = Retention { keep_from: Timestamp(HOUR), length_us: 8 * HOUR };
        let kept = |gone| {
            let Kept { from, look_again } = retention.kept(Some(Timestamp(7)), gone, 800);
            (from.unwrap().us(), look_again.unwrap().us() / HOUR)
        };
        assert_eq!([kept(0), kept(99), kept(100)], [(7, 9), (HOUR, 9), (HOUR, 2)]);
        assert_eq!(retention.kept(None, 0, 0).from, None);
    }

    #[test]
    fn more_than_is_held_stays() {
        let late = (0..10_000).map(|event| row("a", event, Some(99_999), &[0]));
        let rows: Vec<_> = late.chain((0..10).map(|_| row("a", 10_000, None, &[0]))).collect();
        let (told, gone) = kept(20_000, &rows);
        assert_eq!((told.len(), gone), (10_001, 9));
    }
}
