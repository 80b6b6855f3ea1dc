//! The rows of a shard in one of its two states: all of them, some from a hash on, or how many.

use super::{
    key_hash::{fingerprint_of, first_of_fingerprint, shard_of},
    row::Row,
    shard::{Seen, Shard},
};

impl Shard {
    /// Every row of the state that `seen` means, in no order.
    pub fn iter_seen(&self, seen: Seen) -> impl Iterator<Item = Row<'_>> {
        self.iter().filter(move |row| self.stands(seen, *row)).chain(self.waiting(seen))
    }

    /// The rows of the state that `seen` means for which `is_wanted` says so and whose hash is not
    /// less than `first`, a hash of this shard, each with its hash: so many at least, as far as
    /// there are any. If there may be more, the second is the hash from which on.
    pub fn rows_from(
        &self,
        seen: Seen,
        first: u64,
        count: usize,
        is_wanted: impl Fn(Row<'_>) -> bool,
    ) -> (Vec<(u64, Row<'_>)>, Option<u64>) {
        let (mut rows, mut last, mut end) = (Vec::new(), fingerprint_of(first), None);
        for (fingerprint, row) in self.rows.iter_from(last) {
            if fingerprint != last && rows.len() >= count {
                end = Some(first_of_fingerprint(shard_of(first), fingerprint));
                break;
            }
            last = fingerprint;
            let hash = self.shared.hasher.hash(row.key());
            if hash >= first && self.stands(seen, row) && is_wanted(row) {
                rows.push((hash, row));
            }
        }
        let waiting = self.waiting(seen).filter(|row| is_wanted(*row));
        let waiting = waiting.map(|row| (self.shared.hasher.hash(row.key()), row));
        let is_here = |hash: u64| hash >= first && end.is_none_or(|end| hash < end);
        rows.extend(waiting.filter(|(hash, _)| is_here(*hash)));
        (rows, end)
    }

    /// Whether a row that is published is the one that `seen` means.
    fn stands(&self, seen: Seen, row: Row<'_>) -> bool {
        seen == Seen::Published || !self.is_pending(row.key())
    }

    /// Rows that `seen` means and that are not published.
    fn waiting(&self, seen: Seen) -> impl Iterator<Item = Row<'_>> {
        let pending = self.pending.values().filter(move |_| seen == Seen::Latest);
        let rows = pending.filter_map(|pending| pending.row.as_ref());
        rows.map(|row| row.with(&self.shared.dictionary))
    }

    /// How many rows of the state that `seen` means have a value.
    pub fn live_rows(&self, seen: Seen) -> usize {
        self.count_seen(seen, self.tally.live_rows, |row| row.has_value())
    }

    /// How many rows of the state that `seen` means have an end of life of their own.
    pub fn expiring_rows(&self, seen: Seen) -> usize {
        self.count_seen(seen, self.tally.expiring_rows, |row| row.expires_at().is_some())
    }

    /// How many rows of the state that `seen` means have fields with an end of life.
    pub fn ending_rows(&self, seen: Seen) -> usize {
        self.count_seen(seen, self.tally.ending_rows, |row| row.has_field_ends())
    }

    /// How many rows of a state are such rows, of which `published` are published.
    fn count_seen(&self, seen: Seen, published: usize, is_such: fn(Row<'_>) -> bool) -> usize {
        let is_all_published = self.pending.is_empty() && self.flushed_at.is_none();
        match seen {
            Seen::Latest if !is_all_published => {
                self.iter_seen(seen).filter(|row| is_such(*row)).count()
            }
            Seen::Published | Seen::Latest => published,
        }
    }
}
