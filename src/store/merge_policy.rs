//! Which files of the history are merged next, neighbours of like size, and into how many.
//!
//! ```text
//! rows    900 │ 90 │ 10 │ 10 │ 10 │ 10 │ ...     LSN ──>
//!                    └──────────────┘ the largest has no more than a third of them
//! ```
//! A range of the log that was merged into several files, one for each bucket of entities, stays
//! together: it is merged as one. A range of many runs is merged by itself, whatever its neighbours
//! are: one entity is looked for in every run.
//! Invariants
//! - A row that is written once more stands in a file at least [`MergePolicy::growth`] times as
//!   long afterwards, or in one of fewer runs: so often as the logarithm of all rows, at most, and
//!   once for each time that its runs were too many.
//! - Ranges of one generation of a view follow each other in the log, and so they do merged.

use crate::{log::HistoryPart, offline::Bucket};
use std::collections::{BTreeMap, HashSet};

/// When files of the history are merged, how many, and into how many. Those of one range count as
/// one but for [`Self::bytes_max`].
#[derive(Clone, Copy, Debug)]
pub struct MergePolicy {
    /// So many at the least.
    pub parts_min: usize,
    /// So many at the most.
    pub parts_max: usize,
    /// All together have so many times the rows of the largest, at least.
    pub growth: u64,
    /// If there are more of one generation of a view than so many, whatever their sizes are.
    pub parts_many: usize,
    /// A range with a file of more runs is merged by itself.
    pub runs_max: usize,
    /// So many bytes together at the most: as much room is needed beside them for a while.
    pub bytes_max: u64,
    /// What is merged is split by the hash of the entity into files of about so many bytes.
    pub file_bytes: u64,
}

impl Default for MergePolicy {
    fn default() -> Self {
        Self {
            parts_min: 4,
            parts_max: 32,
            growth: 3,
            parts_many: 64,
            runs_max: 8,
            bytes_max: 8 << 30,
            file_bytes: 256 << 20,
        }
    }
}

impl MergePolicy {
    /// Into how many files `parts` are merged: a power of two, so that a bucket stays one or
    /// becomes several as the history grows.
    pub(super) fn bucket_count(&self, parts: &[HistoryPart]) -> u32 {
        let bytes = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.file.bytes));
        let files = bytes.div_ceil(self.file_bytes.max(1)).clamp(1, Bucket::COUNT_MAX.into());
        (files as u32).next_power_of_two()
    }
}

/// The neighbours among `parts` to merge next, the oldest first; none if there is nothing to do.
/// Those whose file is in `left_out` stay as they are.
pub(super) fn next_to_merge<'a>(
    parts: impl Iterator<Item = &'a HistoryPart>,
    policy: &MergePolicy,
    left_out: &HashSet<String>,
) -> Vec<HistoryPart> {
    let mut of_views: BTreeMap<(u32, u32), Vec<&HistoryPart>> = BTreeMap::new();
    for part in parts {
        of_views.entry((part.view, part.generation)).or_default().push(part);
    }
    let mut best: Option<(Vec<&HistoryPart>, Gain)> = None;
    for parts in of_views.values_mut() {
        parts.sort_by_key(|part| part.first);
        let ranges: Vec<Range<'_>> =
            parts.chunk_by(|a, b| a.first == b.first).map(Range::of).collect();
        let is_many = ranges.len() > policy.parts_many;
        let neighbours = ranges.split(|range| range.is_in(left_out));
        for group in neighbours.flat_map(|neighbours| groups(neighbours, policy)) {
            let gain = Gain::of(group, policy, is_many);
            let is_better = |best: &Gain| gain.as_ref().is_some_and(|gain| gain.is_better(best));
            if gain.is_some() && best.as_ref().is_none_or(|(_, best)| is_better(best)) {
                let parts = group.iter().flat_map(|range| range.parts).copied().collect();
                best = gain.map(|gain| (parts, gain));
            }
        }
    }
    best.map(|(group, _)| group.into_iter().cloned().collect()).unwrap_or_default()
}

/// A range of the log: the files of all its buckets.
struct Range<'a> {
    parts: &'a [&'a HistoryPart],
    rows: u64,
    bytes: u64,
}

impl<'a> Range<'a> {
    fn of(parts: &'a [&'a HistoryPart]) -> Self {
        let sum = |of: fn(&HistoryPart) -> u64| {
            parts.iter().fold(0_u64, |sum, part| sum.saturating_add(of(part)))
        };
        Self { parts, rows: sum(|part| part.rows), bytes: sum(|part| part.file.bytes) }
    }

    fn is_in(&self, names: &HashSet<String>) -> bool {
        self.parts.iter().any(|part| names.contains(&part.file.name))
    }
}

/// All groups of neighbours that are neither too few nor too many.
fn groups<'a, 'b>(
    neighbours: &'b [Range<'a>],
    policy: &MergePolicy,
) -> impl Iterator<Item = &'b [Range<'a>]> + use<'a, 'b> {
    let (least, most) = (policy.parts_min.max(2), policy.parts_max);
    (0..neighbours.len()).flat_map(move |start| {
        (least..=most).map_while(move |count| neighbours.get(start..start.checked_add(count)?))
    })
}

/// What merging a group is worth.
#[derive(Clone, Copy, Debug)]
struct Gain {
    rows: u64,
    largest: u64,
}

impl Gain {
    /// `None` if it is not to be merged.
    fn of(group: &[Range<'_>], policy: &MergePolicy, is_many: bool) -> Option<Self> {
        let sum = |of: fn(&Range<'_>) -> u64| {
            group.iter().fold(0_u64, |sum, range| sum.saturating_add(of(range)))
        };
        let rows = sum(|range| range.rows);
        let largest = group.iter().map(|range| range.rows).max().unwrap_or(0);
        let grows = is_many || largest.saturating_mul(policy.growth) <= rows;
        let fits = sum(|range| range.bytes) <= policy.bytes_max;
        (grows && fits).then_some(Self { rows, largest })
    }

    /// Files that grow more are better, and of those the ones with fewer rows.
    fn is_better(&self, other: &Self) -> bool {
        let [mine, others] = [(self, other), (other, self)]
            .map(|(one, two)| u128::from(one.rows) * u128::from(two.largest));
        mine > others || (mine == others && self.rows < other.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{ListedFile, Lsn};
    use proptest::prelude::*;

    const NONE: [u64; 0] = [];

    fn part(view: u32, first: u64, rows: u64) -> HistoryPart {
        let name = format!("history/{view}-{first}");
        let file = ListedFile { name, bytes: rows * 10, hash: [0; 32] };
        HistoryPart { view, generation: 1, first: Lsn(first), last: Lsn(first + 9), rows, file }
    }

    fn merged(group: &[HistoryPart]) -> HistoryPart {
        let rows = group.iter().map(|part| part.rows).sum();
        let last = group.last().unwrap().last;
        HistoryPart { last, ..part(group[0].view, group[0].first.0, rows) }
    }

    fn firsts(parts: &[HistoryPart], left_out: &[&str], policy: &MergePolicy) -> Vec<u64> {
        let left_out = left_out.iter().map(ToString::to_string).collect();
        next_to_merge(parts.iter(), policy, &left_out).iter().map(|part| part.first.0).collect()
    }

    #[test]
    fn neighbours_of_like_size_are_merged_and_large_ones_left() {
        let policy = MergePolicy::default();
        let of = |rows: &[u64]| {
            let parts: Vec<_> =
                (0..).zip(rows).map(|(place, rows)| part(7, place * 10, *rows)).collect();
            firsts(&parts, &[], &policy)
        };
        assert_eq!(of(&[1000, 10, 10, 10]), NONE);
        assert_eq!(of(&[1000, 10, 10, 10, 10]), [10, 20, 30, 40]);
        assert_eq!(of(&[1000, 10, 10, 10, 10, 9]), [10, 20, 30, 40, 50]);
        assert_eq!(of(&[40, 40, 40, 40]), [0, 10, 20, 30]);
        assert_eq!(of(&[10, 1000, 10, 1000, 10]), NONE);
        assert_eq!(of(&[10, 1000, 10, 1000, 10, 1000]).len(), 6);
        assert_eq!(of(&[0, 0, 0, 0]).len(), 4, "files without rows go as well");
        assert_eq!(of(&[300 << 20; 4]), NONE, "too many bytes");
    }

    #[test]
    fn only_neighbours_of_one_generation_are_merged() {
        let policy = MergePolicy { parts_min: 2, growth: 1, ..MergePolicy::default() };
        let other = HistoryPart { generation: 2, ..part(7, 20, 5) };
        let parts = [part(7, 10, 5), other, part(8, 10, 5), part(9, 30, 9), part(9, 20, 9)];
        assert_eq!(firsts(&parts, &[], &policy), [20, 30]);
        let three = [part(7, 10, 5), part(7, 20, 5), part(7, 30, 5)];
        assert_eq!(firsts(&three, &["history/7-20"], &policy), NONE, "what is left out parts them");
        assert_eq!(firsts(&three, &["history/7-10"], &policy), [20, 30]);
    }

    #[test]
    fn the_buckets_of_a_range_are_merged_together() {
        let policy = MergePolicy { parts_min: 2, growth: 1, ..MergePolicy::default() };
        let of = |bucket: u32, rows| {
            let mut part = part(7, 10, rows);
            part.file.name = format!("history/7-10-{bucket}of2");
            part
        };
        let parts = [part(7, 20, 5), of(0, 3), of(1, 4)];
        assert_eq!(firsts(&parts, &[], &policy), [10, 10, 20]);
        assert_eq!(firsts(&parts[1..], &[], &policy), NONE, "it is one already");
        let left_out = ["history/7-10-1of2"];
        assert_eq!(firsts(&parts, &left_out, &policy), NONE, "none without the other");
        let policy = MergePolicy::default();
        let parts = [part(7, 10, 30), part(7, 20, 10), part(7, 30, 10), of(1, 30), part(7, 40, 9)];
        assert_eq!(firsts(&parts, &[], &policy), NONE, "four ranges, but the first has 60 of 89");
    }

    #[test]
    fn what_is_long_is_split_into_buckets() {
        let policy = MergePolicy { file_bytes: 100, ..MergePolicy::default() };
        let count = |rows: &[u64]| {
            let parts: Vec<_> = rows.iter().map(|rows| part(7, 1, *rows)).collect();
            policy.bucket_count(&parts)
        };
        assert_eq!([count(&[]), count(&[0]), count(&[10]), count(&[5, 5])], [1, 1, 1, 1]);
        assert_eq!([count(&[11]), count(&[20, 1]), count(&[1 << 40])], [2, 4, 64]);
    }

    proptest! {
        /// Checkpoints of whatever size, one after the other, each followed by all that is due.
        #[test]
        fn files_stay_few_and_no_row_is_written_often(
            rows in prop::collection::vec(
                prop_oneof![4 => 50..200_u64, 1 => 1..20_000_u64, 1 => Just(1)], 1..300,
            ),
        ) {
            let policy = MergePolicy::default();
            let mut parts: Vec<HistoryPart> = Vec::new();
            let (mut written, mut total) = (0, 0);
            for (place, rows) in (0..).zip(rows) {
                parts.push(part(7, place * 10, rows));
                total += rows;
                loop {
                    let group = next_to_merge(parts.iter(), &policy, &HashSet::new());
                    let Some(first) = group.first() else { break };
                    let place = parts.iter().position(|part| part == first).unwrap();
                    prop_assert_eq!(&parts[place..place + group.len()], &group[..]);
                    let merged = merged(&group);
                    written += merged.rows;
                    parts.splice(place..place + group.len(), [merged]);
                }
                let tiers = u64::from(total.ilog2()) + 1;
                prop_assert!(parts.len() as u64 <= 4 * tiers, "{} files", parts.len());
                // Three to the power of so often is no more than all rows.
                let often = f64::from(u32::try_from(total).unwrap()).ln() / 3_f64.ln();
                prop_assert!(written as f64 <= total as f64 * often, "{written} of {total}");
            }
        }
    }
}
