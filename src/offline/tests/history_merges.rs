//! Merged history files against one sorted list of what stood in them: of every type, with ties,
//! partial rows and features that came and went between the files.

use super::{
    fixture::rows_in_reach,
    history_files::{Case, case},
};
use crate::{
    error::Result,
    feature::{KeyPart, Timestamp},
    offline::{
        Bucket, HistoryFile, PushedCells, Retention,
        history_layout::runs_of,
        history_merge::{MergeLimits, merge_history, merge_within},
        history_write::{HistoryFileWriter, Limits},
    },
};
use proptest::{collection::vec, prelude::*};
use std::collections::{HashMap, HashSet};

/// Rows in the order that a file sorted as a whole has them.
fn sorted(mut rows: Vec<PushedCells>) -> Vec<PushedCells> {
    rows.sort_by_key(|row| (row.key.clone(), row.stamp, row.order));
    rows
}

/// Everything that stands in a file, whether the view has its slot or not.
fn all_of(case: &Case, bytes: Vec<u8>) -> Vec<PushedCells> {
    let mut whole = case.clone();
    whole.has.iter_mut().for_each(|has| has.1 = true);
    whole.open(bytes).unwrap().rows(None, None).unwrap()
}

/// The rows of a case as several files, each with the features that the view had then.
pub(super) fn files_of(case: &Case, cuts: &[(prop::sample::Index, u8)]) -> Vec<HistoryFile> {
    let mut ends: Vec<usize> = cuts.iter().map(|(at, _)| at.index(case.rows.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(case.rows.len());
    let lost = cuts.iter().map(|(_, lost)| *lost).chain([0]);
    let mut start = 0;
    let mut files = Vec::new();
    for (end, lost) in ends.into_iter().zip(lost) {
        let mut part = case.clone();
        part.rows = case.rows[start..end].to_vec();
        for (place, has) in part.has.iter_mut().enumerate() {
            has.0 = has.0 && (lost >> (place % 8)) & 1 == 0;
        }
        files.push(case.open(part.written()).unwrap());
        start = end;
    }
    files
}

/// Merges into one file: the file, and how many rows it has.
fn merge_to_one(
    files: &[HistoryFile],
    limits: &MergeLimits,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<Option<(Vec<u8>, u64)>> {
    let merged = merge_within(files, vec![Vec::new()], None, limits, goes_on)?;
    Ok(merged.map(|mut merged| merged.files.remove(0)))
}

/// When a row became known, by arrival.
fn known(row: &PushedCells) -> Timestamp {
    row.stamp.created.map_or(row.stamp.event, |created| created.max(row.stamp.event))
}

/// Of every entity and slot the row whose cell counts at `at`.
fn newest(
    rows: &[PushedCells],
    at: Timestamp,
    by_arrival: bool,
) -> HashMap<(Vec<KeyPart>, u32), PushedCells> {
    let mut newest: HashMap<_, PushedCells> = HashMap::new();
    for row in sorted(rows.to_vec()) {
        let time = if by_arrival { known(&row) } else { row.stamp.event };
        for (slot, _) in row.cells.iter().filter(|_| time <= at) {
            newest.insert((row.key.clone(), *slot), row.clone());
        }
    }
    newest
}

/// Whether there are too many runs for one step.
fn merged_in_steps(files: &[HistoryFile], runs_max: usize) -> bool {
    files.iter().map(|file| runs_of(&file.file).unwrap().len()).sum::<usize>() > runs_max
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_merged_file_has_every_row_in_one_order(
        case in case(),
        cuts in vec(any::<(prop::sample::Index, u8)>(), 0..5),
        runs_max in 2..8_usize,
        batches_bytes in 1..100_000_u64,
    ) {
        let files = files_of(&case, &cuts);
        let mut expected = sorted(case.rows.clone());
        expected.retain(|row| !row.cells.is_empty());
        let count = case.rows.len() as u64;
        let mut goes_on = || true;
        let cut = MergeLimits { file: case.limits, ..MergeLimits::default() };
        let merge = merge_to_one(&files, &cut, &mut goes_on);
        let (merged, rows) = merge.unwrap().unwrap();
        prop_assert_eq!(rows, count);
        let file = case.open(merged.clone()).unwrap();
        prop_assert_eq!(file.row_count(), count);
        prop_assert!(runs_of(&file.file).unwrap().len() <= 1);
        prop_assert_eq!(all_of(&case, merged), expected.clone());
        // Still sorted as a whole without some of them.
        let keys = case.asked_keys.clone().unwrap_or_default();
        let left = file.write_without(&keys, |_| true, Vec::new()).unwrap();
        let kept: Vec<_> =
            expected.iter().filter(|row| !keys.contains(&row.key)).cloned().collect();
        prop_assert!(runs_of(&case.open(left.clone()).unwrap().file).unwrap().len() <= 1);
        prop_assert_eq!(all_of(&case, left), kept);

        // A few runs at a time: fewer each time, and none of the rows is lost on the way.
        let limits =
            MergeLimits { runs_max, batches_bytes, file: case.limits, ..MergeLimits::default() };
        let mut files = files;
        for _ in 0..9 {
            let merge = merge_to_one(&files, &limits, &mut goes_on);
            let (merged, rows) = merge.unwrap().unwrap();
            prop_assert_eq!(rows, count);
            prop_assert_eq!(sorted(all_of(&case, merged.clone())), expected.clone());
            let file = case.open(merged.clone()).unwrap();
            let runs = files.iter().map(|file| runs_of(&file.file).unwrap().len()).sum::<usize>();
            let left = runs_of(&file.file).unwrap().len();
            prop_assert_eq!(left, runs.div_ceil(runs_max));
            files = vec![file];
            if left <= 1 {
                prop_assert_eq!(all_of(&case, merged), expected);
                break;
            }
        }
    }

    #[test]
    fn what_is_given_up_answers_nothing_about_times_that_are_kept(
        case in case(),
        cuts in vec(any::<(prop::sample::Index, u8)>(), 0..4),
        horizon in 0..4_i64,
        bits in 0..3_u32,
        runs_max in 2..8_usize,
    ) {
        let horizon = Timestamp(horizon);
        let mut all = sorted(case.rows.clone());
        all.retain(|row| !row.cells.is_empty());
        let limits = MergeLimits { runs_max, file: case.limits, ..MergeLimits::default() };
        let files = files_of(&case, &cuts);
        let to = vec![Vec::new(); 1 << bits];
        let retention = Some(Retention { keep_from: horizon, length_us: 2 });
        let merged = merge_within(&files, to, retention, &limits, &mut || true);
        let merged = merged.unwrap().unwrap();
        let rows: u64 = merged.files.iter().map(|(_, rows)| rows).sum();
        prop_assert_eq!(rows + merged.given_up, case.rows.len() as u64);
        let from = (merged.given_up > 0).then_some(horizon);
        let mut kept = Vec::new();
        for (bytes, _) in merged.files {
            let file = case.open(bytes.clone()).unwrap();
            prop_assert_eq!(file.kept().from, from);
            // It says so still when somebody was forgotten, or all was merged once more.
            let anew = file.write_without(&HashSet::new(), |_| true, Vec::new()).unwrap();
            prop_assert_eq!(case.open(anew).unwrap().kept(), file.kept());
            let (anew, _) = merge_to_one(&[file], &limits, &mut || true).unwrap().unwrap();
            prop_assert_eq!(case.open(anew).unwrap().kept().from, from);
            kept.extend(all_of(&case, bytes));
        }
        prop_assert!(kept.iter().all(|row| all.contains(row)));
        let newer = |rows: &[PushedCells]| {
            rows.iter().filter(|row| row.stamp.event > horizon).count()
        };
        prop_assert_eq!(newer(&kept), newer(&all));
        let is_older = case.rows.iter().any(|row| row.stamp.event < horizon);
        let is_left_alone = !is_older || merged_in_steps(&files, runs_max);
        let times = (horizon.us()..4).chain([i64::MAX]).map(Timestamp);
        for (at, by_arrival) in times.flat_map(|at| [(at, false), (at, true)]) {
            let (before, after) = (newest(&all, at, by_arrival), newest(&kept, at, by_arrival));
            prop_assert_eq!(&before, &after, "at {:?}", at);
            // None is left that need not be, but where nothing is older, or was merged apart.
            if at == horizon && !by_arrival && !is_left_alone {
                let old = |row: &&PushedCells| known(row) <= horizon;
                let of_use: Vec<PushedCells> = newest(&all, at, true).into_values().collect();
                prop_assert!(kept.iter().filter(old).all(|row| of_use.contains(row)));
            }
        }
    }

    #[test]
    fn a_split_file_has_every_row_in_the_bucket_of_its_entity(
        case in case(),
        cuts in vec(any::<(prop::sample::Index, u8)>(), 0..4),
        counts in vec(0..4_u32, 1..4),
        runs_max in 2..8_usize,
    ) {
        let mut expected = sorted(case.rows.clone());
        expected.retain(|row| !row.cells.is_empty());
        let limits = MergeLimits { runs_max, file: case.limits, ..MergeLimits::default() };
        let mut files = files_of(&case, &cuts);
        // Merged again and again, into more files or fewer.
        for count in counts.into_iter().map(|bits| 1 << bits) {
            let to = vec![Vec::new(); count as usize];
            let merged = merge_within(&files, to, None, &limits, &mut || true);
            let merged = merged.unwrap().unwrap().files;
            prop_assert_eq!(merged.len(), count as usize);
            let rows: u64 = merged.iter().map(|(_, rows)| rows).sum();
            prop_assert_eq!(rows, case.rows.len() as u64);
            let mut all = Vec::new();
            for (bucket, (bytes, rows)) in Bucket::all(count).zip(&merged) {
                let file = case.open(bytes.clone()).unwrap();
                prop_assert_eq!((file.bucket(), file.row_count()), (bucket, *rows));
                let found = all_of(&case, bytes.clone());
                prop_assert!(found.iter().all(|row| bucket.holds(&row.key)));
                all.extend(found);
            }
            prop_assert_eq!(sorted(all), expected.clone());
            files = merged.into_iter().map(|(bytes, _)| case.open(bytes).unwrap()).collect();
            for row in expected.iter().step_by(expected.len() / 8 + 1) {
                let keys = HashSet::from([row.key.clone()]);
                let found = |file: &HistoryFile| file.rows(None, Some(&keys)).unwrap().len();
                let has = files.iter().filter(|file| found(file) > 0).count();
                prop_assert!(has <= 1);
            }
            let keys = case.asked_keys.clone().unwrap_or_default();
            for file in &files {
                let left = file.write_without(&keys, |_| true, Vec::new()).unwrap();
                prop_assert_eq!(case.open(left).unwrap().bucket(), file.bucket());
            }
        }
    }

    #[test]
    fn damaged_bytes_are_merged_or_give_an_error_that_names_the_file(
        case in case(),
        damage in vec(any::<(prop::sample::Index, u8)>(), 1..4),
    ) {
        let mut bytes = case.written();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let Ok(file) = case.open(bytes) else { return Ok(()) };
        if let Err(error) = merge_history(&[file], vec![Vec::new(); 2], None, &mut || true) {
            let text = error.to_string();
            prop_assert!(text.contains("history"), "{}", text);
        }
    }
}

/// So many rows of so many keys, in several files whose row groups overlap.
fn many(files: u64, rows: u64) -> (Case, Vec<HistoryFile>) {
    let case = Case::of_many(files * rows);
    let (view, entity) = (case.view(|_| true), case.entity());
    let file = |rows: &[PushedCells]| {
        let mut writer = HistoryFileWriter::new(&view, &entity, Vec::new()).unwrap();
        for piece in rows.chunks(500) {
            writer.add(piece.to_vec()).unwrap();
            writer.write_added().unwrap();
        }
        case.open(writer.finish().unwrap()).unwrap()
    };
    let files = case.rows.chunks(rows as usize).map(file).collect();
    (case, files)
}

#[test]
fn one_key_is_looked_for_in_one_place_of_a_merged_file() {
    let (case, files) = many(8, 5000);
    let asked = |file: &HistoryFile, key: &[KeyPart]| {
        let keys = HashSet::from([key.to_vec()]);
        let asked = crate::offline::history_keys::AskedKeys::new(&case.entity(), &keys).unwrap();
        (rows_in_reach(file, &asked), file.rows(None, Some(&keys)).unwrap().len())
    };
    let limits = MergeLimits {
        file: Limits { row_group_rows: 10_000, page_rows: 500, ..Limits::default() },
        ..MergeLimits::default()
    };
    let (merged, _) = merge_to_one(&files, &limits, &mut || true).unwrap().unwrap();
    let merged = case.open(merged).unwrap();
    assert_eq!((merged.row_groups.len(), runs_of(&merged.file).unwrap().len()), (4, 1));
    for row in case.rows.iter().step_by(977) {
        let apart: Vec<_> = files.iter().map(|file| asked(file, &row.key)).collect();
        let (reach, found) = asked(&merged, &row.key);
        assert_eq!(found, apart.iter().map(|(_, found)| found).sum::<usize>());
        assert!(found > 10 && reach <= 1000, "{reach} rows for {found}");
        assert!(reach < apart.iter().map(|(reach, _)| reach).sum::<usize>());
    }
}

#[test]
fn as_many_runs_are_merged_at_a_time_as_have_room() {
    let (case, files) = many(4, 5000);
    let merged = |pages_bytes| {
        let limits = MergeLimits { pages_bytes, ..MergeLimits::default() };
        let (merged, _) = merge_to_one(&files, &limits, &mut || true).unwrap().unwrap();
        runs_of(&case.open(merged).unwrap().file).unwrap().len()
    };
    let row_groups = files.iter().flat_map(|file| {
        let row_groups = file.file.metadata().metadata().row_groups().iter();
        // A key, four of our own and a feature: each with 4 KiB for what reads it.
        row_groups.map(|it| it.total_byte_size() as u64 + 6 * 4096)
    });
    let row_groups: Vec<u64> = row_groups.collect();
    let (longest, all) = (*row_groups.iter().max().unwrap(), row_groups.iter().sum::<u64>());
    assert_eq!(row_groups.len(), 40);
    assert_eq!([merged(0), merged(longest * 4), merged(all)], [20, 10, 1]);
}

#[test]
fn a_merge_ends_when_it_is_told_to() {
    let (_, files) = many(2, 5000);
    let mut asked = 0;
    let merged = merge_history(&files, vec![Vec::new()], None, &mut || {
        asked += 1;
        asked < 3
    });
    assert!(merged.unwrap().is_none() && asked == 3);
}

#[test]
fn runs_that_make_no_sense_are_refused() {
    let (case, files) = many(2, 2000);
    let limits = MergeLimits::default();
    let (bytes, _) = merge_to_one(&files[..1], &limits, &mut || true).unwrap().unwrap();
    let place = memchr::memmem::rfind(&bytes, b"nowthen.runs").unwrap();
    let zero = place + memchr::memchr(b'0', &bytes[place..]).unwrap();
    for wrong in [b'1', b'x', b','] {
        let mut bytes = bytes.clone();
        bytes[zero] = wrong;
        let file = case.open(bytes).unwrap();
        let error =
            merge_history(&[file], vec![Vec::new(); 2], None, &mut || true).map(drop).unwrap_err();
        assert!(error.to_string().contains("its runs make no sense"), "{error}");
    }
}
