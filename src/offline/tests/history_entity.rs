//! The rows of one entity that are asked for against a look at all of its rows.

use super::{
    history_files::{Case, case},
    history_merges::files_of,
};
use crate::{
    feature::{CellWrite, KeyPart, Stamp, Timestamp},
    offline::{
        HistoryFile, PushedCells, Window,
        history_merge::{MergeLimits, merge_within},
    },
};
use proptest::{collection::vec, prelude::*};
use std::collections::HashSet;

/// The cell of `slot` that counts among `rows`, and what decided so.
fn newest<'r>(
    rows: impl Iterator<Item = &'r PushedCells>,
    slot: u32,
) -> Option<(Stamp, u64, &'r CellWrite)> {
    let cell = |row: &'r PushedCells| {
        let (_, write) = row.cells.iter().find(|(of, _)| *of == slot)?;
        Some((row.stamp, row.order, write))
    };
    // Of equal ones the last.
    rows.filter_map(cell).max_by_key(|(stamp, order, _)| (*stamp, *order))
}

fn check(file: &HistoryFile, slots: &[u32], key: &[KeyPart], at: Timestamp, hidden: u8) {
    let hides = |row: &PushedCells| hidden > 0 && row.order.is_multiple_of(u64::from(hidden));
    let found = file.newest_rows(slots, key, at, &hides).unwrap();
    let all = file.rows(Some(slots), None).unwrap();
    let counts = |row: &&PushedCells| row.key == key && row.stamp.event <= at && !hides(row);
    assert!(found.iter().all(|row| counts(&row)));
    for slot in slots {
        let expected = newest(all.iter().filter(counts), *slot);
        assert_eq!(newest(found.iter(), *slot), expected, "slot {slot}");
    }
}

fn check_earliest(
    file: &HistoryFile,
    slots: &[u32],
    key: &[KeyPart],
    (window, rows_max): (Window, usize),
    hidden: u8,
) {
    let hides = |row: &PushedCells| hidden > 0 && row.order.is_multiple_of(u64::from(hidden));
    let counts = |row: &PushedCells| row.key == key && window.holds(row.stamp.event) && !hides(row);
    let earliest = |mut rows: Vec<PushedCells>| {
        rows.retain(counts);
        rows.sort_by_key(|row| (row.stamp, row.order));
        rows.truncate(rows_max);
        rows
    };
    let found = file.earliest_rows(slots, key, (window, rows_max), &hides).unwrap();
    assert_eq!(earliest(found), earliest(file.rows(Some(slots), None).unwrap()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_was_newest_at_a_time_is_found_and_what_came_first(

        case in case(),
        cuts in vec(any::<(prop::sample::Index, u8)>(), 0..4),
        runs_max in 2..8_usize,
        slots in vec(10..16_u32, 1..6),
        at in -1..5_i64,
        from in prop::option::of(-1..5_i64),
        rows_max in 0..9_usize,
        hidden in 0..4_u8,
    ) {
        // Two entities have all the rows.
        let mut case = case;
        let keys: Vec<_> = case.rows.iter().take(2).map(|row| row.key.clone()).collect();
        for (place, row) in case.rows.iter_mut().enumerate() {
            row.key.clone_from(&keys[place / 3 % keys.len()]);
        }
        let mut files = files_of(&case, &cuts);
        let limits = MergeLimits { runs_max, file: case.limits, ..MergeLimits::default() };
        let merged = merge_within(&files, vec![Vec::new()], None, &limits, &mut || true);
        let (merged, _) = merged.unwrap().unwrap().files.remove(0);
        files.push(case.open(merged).unwrap());
        for (file, key) in files.iter().flat_map(|file| keys.iter().map(move |key| (file, key))) {
            check(file, &slots, key, Timestamp(at), hidden);
            let window = Window { from: from.map(Timestamp), to: Timestamp(at) };
            check_earliest(file, &slots, key, (window, rows_max), hidden);
        }
    }
}

/// Of 20,000 rows of one entity a few are decoded.
#[test]
fn an_entity_of_many_rows_is_read_from_the_time_that_is_asked_for() {
    let mut case = Case::of_many(20_000);
    case.rows.iter_mut().for_each(|row| row.key = vec![KeyPart::Int64(7)]);
    let file = case.open(case.written()).unwrap();
    let slots: Vec<u32> = case.rows.iter().flat_map(|row| &row.cells).map(|(s, _)| *s).collect();
    let slots: Vec<u32> = slots.into_iter().collect::<HashSet<_>>().into_iter().collect();
    let last = case.rows.iter().map(|row| row.stamp.event).max().unwrap();
    for at in [Timestamp(last.us() / 2), last, Timestamp::MAX] {
        check(&file, &slots, &[KeyPart::Int64(7)], at, 0);
        let found = file.newest_rows(&slots, &[KeyPart::Int64(7)], at, &|_| false).unwrap();
        assert!((1..=200).contains(&found.len()), "{}", found.len());
    }
    let first = Window { from: Some(Timestamp(last.us() / 2)), to: last };
    let found = file.earliest_rows(&slots, &[KeyPart::Int64(7)], (first, 9), &|_| false).unwrap();
    assert!((9..=20).contains(&found.len()), "{}", found.len());
    assert!(file.newest_rows(&slots, &[KeyPart::Int64(8)], last, &|_| false).unwrap().is_empty());
}
