//! Rows of one entity with one event timestamp: only created timestamps tell which of them wins.
//!
//! They are read for these rows alone, when all others are settled.

use super::{
    gather::gather_created,
    rank::{Newest, Rank, Winner},
    reads::Reads,
    source::ViewSource,
};
use crate::{error::Result, feature::Timestamp};
use std::collections::HashMap;

/// Rows that lost to one with the same event.
#[derive(Debug, Default)]
pub(super) struct Ties {
    list: Vec<Tie>,
}

#[derive(Clone, Copy, Debug)]
struct Tie {
    slot: u32,
    event: Timestamp,
    order: u64,
}

/// One tie may be kept for so many rows that were seen, beside a few thousand in each shard: where
/// there are more, created timestamps are read for all rows.
const ROWS_PER_TIE: u64 = 8;
const TIES_MIN: u64 = if cfg!(test) { 2 } else { 4096 };

impl Ties {
    /// Notes that `loser` has the event of the row that stands in `slot`.
    #[inline]
    pub(super) fn add<R: Rank>(&mut self, slot: u32, loser: &R) {
        self.list.push(Tie { slot, event: loser.event(), order: loser.order() });
    }

    /// Takes those of another thread.
    pub(super) fn append(&mut self, mut others: Self) {
        self.list.append(&mut others.list);
    }

    /// Gives slot `i` the number `numbers[i]`.
    pub(super) fn renumber(&mut self, numbers: &[u32]) {
        for tie in &mut self.list {
            tie.slot = numbers.get(tie.slot as usize).copied().unwrap_or(u32::MAX);
        }
    }

    /// Whether there are so many, after so many rows, that to note them saves nothing.
    pub(super) fn are_too_many(&self, rows: u64) -> bool {
        self.list.len() as u64 > rows / ROWS_PER_TIE + TIES_MIN
    }
}

/// Lets created timestamps decide where they must.
pub(super) fn settle(
    source: &ViewSource<'_>,
    winners: &mut [Newest],
    ties: Ties,
    threads: usize,
    reads: &Reads,
) -> Result<()> {
    let mut rows: Vec<(u64, u32)> = Vec::new();
    for tie in ties.list {
        // A later row may have won since.
        let winner = winners.get(tie.slot as usize).filter(|winner| winner.event() == tie.event);
        let Some(winner) = winner else { continue };
        rows.extend([(tie.order, tie.slot), (winner.order(), tie.slot)]);
    }
    rows.sort_unstable();
    rows.dedup();
    let orders: Vec<u64> = rows.iter().map(|(order, _)| *order).collect();
    let created = gather_created(source, &orders, threads, reads)?;
    let mut best: HashMap<u32, Winner> = HashMap::new();
    for ((order, slot), created) in rows.into_iter().zip(created) {
        let Some(winner) = winners.get(slot as usize) else { continue };
        let candidate = Winner::new(winner.event(), created, order);
        let best = best.entry(slot).or_insert(candidate);
        *best = candidate.max(*best);
    }
    for (slot, best) in best {
        if let Some(winner) = winners.get_mut(slot as usize) {
            *winner = Newest::new(best.stamp.event, None, best.order);
        }
    }
    Ok(())
}
