//! Which rows of a source are wanted, and the place of each among them.
//!
//! ```text
//! rows        1  2  3  4  5  6 ...          a bit each, and per 64 of them how many come before
//! wanted         x     x  x
//! place          0     1  2
//! ```
//! Sorting five million wanted rows takes half a second; a bit for each of a hundred million rows
//! takes 12 MB.

/// A set of orders, which count from 1.
pub(super) struct OrderSet {
    words: Vec<u64>,
    /// How many members the words before have.
    before: Vec<u32>,
}

impl OrderSet {
    /// An empty set for a source of so many rows; `None` if they are more than memory can hold.
    pub(super) fn new(rows: u64) -> Option<Self> {
        let words = usize::try_from(rows / 64).ok()?.checked_add(1)?;
        Some(Self { words: vec![0; words], before: Vec::new() })
    }

    /// Adds a row of the source.
    #[inline]
    pub(super) fn insert(&mut self, order: u64) {
        if let Some(word) = self.words.get_mut((order / 64) as usize) {
            *word |= 1 << (order % 64);
        }
    }

    /// The members, ascending. From now on [`Self::place`] knows their places.
    pub(super) fn seal(&mut self) -> Vec<u64> {
        let count: u64 = self.words.iter().map(|word| u64::from(word.count_ones())).sum();
        let mut members = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        self.before = Vec::with_capacity(self.words.len());
        for (first, word) in (0_u64..).step_by(64).zip(&self.words) {
            self.before.push(members.len() as u32);
            let mut rest = *word;
            while rest != 0 {
                members.push(first + u64::from(rest.trailing_zeros()));
                rest &= rest - 1;
            }
        }
        members
    }

    /// How many members come before `order`.
    #[inline]
    pub(super) fn place(&self, order: u64) -> Option<u32> {
        let word = (order / 64) as usize;
        let below = self.words.get(word)? & ((1 << (order % 64)) - 1);
        Some(self.before.get(word)? + below.count_ones())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_ascend_and_know_their_places() {
        let orders = [1, 2, 63, 64, 65, 200, 1000];
        let mut set = OrderSet::new(1000).unwrap();
        orders.iter().rev().chain(&orders).for_each(|order| set.insert(*order));
        assert_eq!(set.seal(), orders);
        for (place, order) in (0..).zip(orders) {
            assert_eq!(set.place(order), Some(place));
        }
        assert_eq!(OrderSet::new(0).unwrap().seal(), [0; 0]);
    }
}
