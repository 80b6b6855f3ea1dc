//! The newest rows of a source, once it is known which they are: their columns, batch by batch.
//!
//! Invariants
//! - Rows come in the order of the source, so that every page is decoded once.
//! - Memory is that of the winners in as many row groups as there are threads.

use super::{
    cells::value_at,
    gather::{created_of, gather_rows, join_pieces, wanted_by_row_group},
    keys::KeyTable,
    rank::{Newest, Rank},
    read_ahead::ReadAhead,
    reads::Reads,
    source::{RowGroup, ViewSource},
};
use crate::{
    error::{Error, Result},
    feature::{KeyPart, Stamp, Timestamp, Value},
    parallel::map,
};
use arrow_array::{Array, ArrayRef};
use std::{collections::VecDeque, ops::Range};

/// The newest row of one entity.
#[derive(Clone, Debug, PartialEq)]
pub struct LatestRow {
    /// One part per join key.
    pub key: Vec<KeyPart>,
    /// When it was true, and when it became known.
    pub stamp: Stamp,
    /// One per feature of the view; `None` is null.
    pub cells: Vec<Option<Value>>,
}

/// The newest rows of a source, to be taken batch by batch.
#[derive(Debug)]
pub struct Latest<'a> {
    source: ViewSource<'a>,
    table: KeyTable,
    /// The place of each winner in the source, ascending.
    orders: Vec<u64>,
    /// Their entities and events.
    winners: Vec<(u32, Timestamp)>,
    /// How many of them were handed out.
    taken: usize,
    /// The row groups that have some, and which.
    row_groups: Vec<(RowGroup, Range<usize>)>,
    /// What each of them reads, and how many were decoded.
    ahead: ReadAhead<'a>,
    decodings: usize,
    /// Those that were not handed out yet.
    decoded: VecDeque<Decoded>,
    counts: Counts,
    reads: Reads,
    threads: usize,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) rows_read: u64,
    pub(super) rows_skipped: u64,
    pub(super) rows_ahead: u64,
}

/// The winners of one row group.
#[derive(Debug)]
struct Decoded {
    /// Which winners.
    rows: Range<usize>,
    /// One per feature.
    columns: Vec<ArrayRef>,
    /// When these became known; empty if no column tells.
    created: Vec<Option<Timestamp>>,
}

impl<'a> Latest<'a> {
    /// The winners of a source, one per entity of the table.
    pub(super) fn new(
        source: ViewSource<'a>,
        table: KeyTable,
        newest: Vec<Newest>,
        counts: Counts,
        reads: Reads,
        threads: usize,
    ) -> Result<Self> {
        let found = (0_u32..).zip(newest).filter_map(|(entity, winner)| {
            winner.found().map(|winner| (winner.order(), (entity, winner.event())))
        });
        let mut found: Vec<_> = found.collect();
        found.sort_unstable();
        let (orders, winners): (Vec<u64>, Vec<_>) = found.into_iter().unzip();
        let mut row_groups = Vec::new();
        let mut first = 0;
        for (row_group, wanted) in wanted_by_row_group(&source, &orders) {
            row_groups.push((*row_group, first..first + wanted.len()));
            first += wanted.len();
        }
        let read = row_groups.iter().map(|(row_group, _)| row_group);
        let ahead = ReadAhead::of_created(&source, read, true, threads)?;
        Ok(Self {
            source,
            table,
            orders,
            winners,
            taken: 0,
            row_groups,
            ahead,
            decodings: 0,
            decoded: VecDeque::new(),
            counts,
            reads,
            threads,
        })
    }

    /// How many entities have a row in the window.
    pub fn entities(&self) -> usize {
        self.winners.len()
    }

    /// Rows of all files that were opened, for they may have some.
    pub fn rows_total(&self) -> u64 {
        self.source.rows()
    }

    /// Rows of the source that were looked at.
    pub fn rows_read(&self) -> u64 {
        self.counts.rows_read
    }

    /// Rows among them without event timestamp, or without a part of the key.
    pub fn rows_skipped(&self) -> u64 {
        self.counts.rows_skipped
    }

    /// Rows whose event lies behind the end of the window: a later window may show them.
    pub fn rows_ahead(&self) -> u64 {
        self.counts.rows_ahead
    }

    /// Bytes read from files so far.
    pub fn bytes_read(&self) -> u64 {
        self.reads.bytes()
    }

    /// The rows of the next entities, at least one and at most `entities_max`; `None` after the
    /// last.
    pub fn next_batch(&mut self, entities_max: usize) -> Result<Option<Vec<LatestRow>>> {
        if self.taken >= self.winners.len() {
            return Ok(None);
        }
        while self.decoded.pop_front_if(|decoded| decoded.rows.end <= self.taken).is_some() {}
        if self.decoded.is_empty() {
            self.decode()?;
        }
        // Winners, keys and columns were all counted when they were made.
        let missing = || Error::refused("an entity without its newest row");
        let decoded = self.decoded.front().ok_or_else(missing)?;
        let end = decoded.rows.end.min(self.taken.saturating_add(entities_max.max(1)));
        let rows = (self.taken..end).map(|index| self.row(decoded, index));
        let rows: Vec<LatestRow> = rows.collect::<Option<_>>().ok_or_else(missing)?;
        self.taken = end;
        Ok(Some(rows))
    }

    fn row(&self, decoded: &Decoded, index: usize) -> Option<LatestRow> {
        let (entity, event) = *self.winners.get(index)?;
        let row = index.checked_sub(decoded.rows.start)?;
        let stamp = Stamp::new(event, decoded.created.get(row).copied().flatten());
        let full = decoded.columns.iter().all(|column| row < column.len());
        let cells = decoded.columns.iter().map(|column| value_at(column, row)).collect();
        Some(LatestRow { key: self.table.key(entity)?, stamp, cells }).filter(|_| full)
    }

    /// Decodes the columns of the winners in the next row groups that have some, one a thread.
    fn decode(&mut self) -> Result<()> {
        let end = self.row_groups.len().min(self.decodings + self.threads.max(1));
        let next: Vec<usize> = (self.decodings..end).collect();
        let decoded = map(self.threads, &next, |index| self.decode_row_group(*index))?;
        self.decoded.extend(decoded);
        self.decodings = end;
        Ok(())
    }

    fn decode_row_group(&self, index: usize) -> Result<Decoded> {
        let nothing = || Error::refused("a row without its row group");
        let (row_group, rows) = self.row_groups.get(index).ok_or_else(nothing)?;
        let wanted = self.orders.get(rows.clone()).ok_or_else(nothing)?;
        let _fetched = self.ahead.begin(index)?;
        let features = 0..self.source.types.len();
        let pieces = gather_rows(&self.source, row_group, wanted, features, &self.reads)?;
        let columns = pieces.iter().enumerate();
        let columns = columns.map(|(feature, pieces)| join_pieces(&self.source, feature, pieces));
        let columns = columns.collect::<Result<_>>()?;
        let created = match self.source.view.created_timestamp {
            Some(_) => created_of(&self.source, row_group, wanted, &self.reads)?,
            None => Vec::new(),
        };
        Ok(Decoded { rows: rows.clone(), columns, created })
    }
}
