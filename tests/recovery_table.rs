//! The recovery table, row by row, on directories that real processes left, and with the real
//! binary: where it must stop it says which file, where and which records, exits with 65, and has
//! changed nothing; where it must go on nothing is missing.
//!
//! The directories stand in `tests/golden/<version>` and are opened for ever after: its README says
//! how those of a new version are made.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a test may fail it by a panic"
)]

#[path = "recovery_table/golden.rs"]
mod golden;
#[path = "recovery_table/make.rs"]
mod make;
#[path = "recovery_table/subject.rs"]
mod subject;

use golden::{Expected, Golden, all_of, contents};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};
use subject::Subject;

const BINARY: &str = env!("CARGO_BIN_EXE_nowthen");
/// When the directories are opened: two days after they were written.
const LATER: &str = "2026-01-03T12:00:00Z";
const EXIT_DAMAGED: i32 = 65;

/// Each golden directory of that name does what is expected of it.
fn check(name: &str) {
    for golden in all_of(name) {
        let scratch = tempfile::tempdir().unwrap();
        let data = scratch.path().join("data");
        golden.copy_to(&data);
        is_judged_alike(&data, &golden.expected());
        match golden.expected() {
            Expected::Stop { says } => {
                stops(&data, &says);
                // Without the lock file, and with it.
                stops(&data, &says);
            }
            Expected::Open { last_lsn, says, aside } => {
                serves(&data, &says);
                for (file, from) in aside {
                    let original = fs::read(golden.folder.join("data").join(from)).unwrap();
                    assert!(fs::read(data.join(file)).unwrap() == original, "what was set aside");
                }
                for _ in 0..2 {
                    holds(&data, &golden, last_lsn);
                }
            }
        }
    }
}

/// `nowthen verify` calls damaged what stops a start, and nothing else.
fn is_judged_alike(data: &Path, expected: &Expected) {
    let before = contents(data);
    let output = Command::new(BINARY).arg("verify").arg(data).output().unwrap();
    let code = if matches!(expected, Expected::Stop { .. }) { EXIT_DAMAGED } else { 0 };
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(before == contents(data), "verify changed something on disk");
}

fn serve(data: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["serve", "--port", "0", "--http-port", "0", "--data"]).arg(data);
    command.env_remove("NOWTHEN_LOG").env_remove("NOWTHEN_RECOVER");
    command
}

fn stops(data: &Path, says: &[String]) {
    let before = contents(data);
    let output = serve(data).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(EXIT_DAMAGED), "{said}");
    for text in says {
        assert!(said.contains(text), "no '{text}' in: {said}");
    }
    assert!(before == contents(data), "something was changed on disk");
}

/// Starts the binary, and kills it when it is ready.
fn serves(data: &Path, says: &[String]) {
    let mut child = serve(data).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert!(line.contains(" is ready: "), "{line}{said}");
    for text in says {
        assert!(said.contains(text), "no '{text}' in: {said}");
    }
}

/// Opens the directory, and asks for all that it must hold.
fn holds(data: &Path, golden: &Golden, last_lsn: u64) {
    let mut subject = Subject::open(data, LATER).unwrap();
    assert_eq!(subject.last_lsn(), last_lsn);
    subject.sweep();
    let text = golden.text("state.txt");
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.chunks(2) {
        let request = pair[0].strip_prefix("> ").expect("a request");
        assert_eq!(subject.ask(request), pair[1], "{}: {request}", golden.folder.display());
    }
    assert!(lines.len() >= 2, "a state to compare with");
    subject.close();
}

/// `NOWTHEN_MAKE_GOLDEN=1 cargo test --test recovery_table golden_directories` makes what is
/// missing; see tests/golden/README.md.
#[test]
fn golden_directories_of_this_version_are_all_there() {
    let is_asked_for = std::env::var_os("NOWTHEN_MAKE_GOLDEN").is_some();
    let made = if is_asked_for { make::make_missing() } else { Vec::new() };
    println!("made: {made:?}");
    for (name, _) in make::ALL {
        all_of(name);
    }
}

macro_rules! rows {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            check($name);
        })*

        #[test]
        fn every_golden_directory_has_its_test() {
            let tested = [$($name),*];
            assert!(make::ALL.iter().map(|(name, _)| *name).eq(tested));
        }
    };
}

rows! {
    a_whole_directory_yields_the_recorded_state: "whole",
    what_was_pushed_and_who_was_forgotten_stand_in_the_history: "history",
    a_damaged_sealed_segment_stops: "sealed_segment_damaged",
    zeros_after_a_valid_frame_are_a_clean_end: "zeros_after_a_valid_frame",
    a_torn_tail_is_dropped_and_set_aside: "torn_tail",
    a_bad_frame_that_a_later_one_proves_durable_stops: "bad_frame_proven_durable",
    damage_before_a_clean_footer_stops: "damage_before_a_clean_footer",
    damage_behind_a_clean_footer_stops: "damage_behind_a_clean_footer",
    a_missing_segment_stops: "missing_segment",
    a_missing_first_segment_stops: "missing_first_segment",
    a_missing_last_segment_that_a_snapshot_knows_of_stops: "missing_last_segment",
    an_older_manifest_stops: "older_manifest",
    mixed_snapshot_generations_stop: "mixed_snapshot_generations",
    a_damaged_snapshot_stops: "damaged_snapshot",
    a_segment_of_another_store_stops: "another_store",
    an_unknown_version_stops: "unknown_version",
    an_unknown_feature_bit_stops: "unknown_feature_bit",
}
