//! The house keeps its own order: floors, contents pages, lengths, and what is allowed where.
//!
//! ```text
//! text --> tokens --> imports --> floors and reading order
//!               \---> functions, `unsafe`, contents pages
//! ```
//! Invariants
//! - The house is a map from path to text, so the same rules judge our sources and planted ones.
//! - Every rule has a planted source that breaks it (`mod tests`): the checker cannot go blind.
//! - A finding names file, line and rule, so that an editor can jump there.
//!
//! Not here: floors and reading order (`tidy/rooms.rs`), layout (rustfmt), lints (clippy), words
//! (which people read).

#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/source.rs"]
mod source;

use rooms::{check_contents_page, check_imports};
use source::File;
use std::{collections::BTreeMap, fs, ops::Range, path::Path};

const SOURCES: &[&str] =
    &["src", "protocol/src", "client/src", "tests", "benches", "fuzz/fuzz_targets"];
const UNSAFE_ALLOWED: [&str; 4] = [
    "src/allocator.rs",
    "src/disk/map.rs",
    "src/online/prefetch.rs",
    "tests/allocations/counting.rs",
];
/// The one room that knows arrow and parquet.
const ARROW_ROOM: &str = "src/offline/";
/// Files outside of it that may as well, each with a reason beside it.
const ARROW_ALLOWED: &[&str] = &[];
const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

type House = BTreeMap<String, String>;

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut house = House::new();
    for folder in SOURCES {
        collect(root, &root.join(folder), &mut house);
    }
    assert!(house.contains_key("src/lib.rs"), "the sources were not found");

    let found = findings(&house);
    assert!(found.is_empty(), "{} untidy places:\n{}", found.len(), found.join("\n"));
}

fn collect(root: &Path, folder: &Path, house: &mut House) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(root, &path, house);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            house.insert(name, fs::read_to_string(&path).unwrap_or_default());
        }
    }
}

/// Everything untidy in a house, as `file:line: rule`.
fn findings(house: &House) -> Vec<String> {
    let files: Vec<File<'_>> = house.iter().map(|(path, text)| File::new(path, text)).collect();
    let mut found = Vec::new();
    for file in &files {
        let mut report = |line: usize, rule: String| {
            found.push(format!("{}:{line}: {rule}", file.path));
        };
        check_text(file, &mut report);
        check_lengths(file, &mut report);
        check_words(file, &mut report);
        if file.path.starts_with("src/") {
            check_imports(file, &files, &mut report);
        }
        if file.path.starts_with("src/") && file.path.ends_with("/mod.rs") {
            check_contents_page(file, &mut report);
        }
    }
    found
}

fn check_text(file: &File<'_>, report: &mut impl FnMut(usize, String)) {
    if !file.text.starts_with("//!") {
        report(1, "a file starts with a `//!` header".into());
    }
    for (index, line) in file.text.lines().enumerate() {
        if line.chars().count() > COLUMNS_MAX {
            report(index + 1, format!("a line has at most {COLUMNS_MAX} columns"));
        }
    }
    for comment in &file.comments {
        for word in ["TODO", "FIXME"] {
            if comment.text.contains(word) {
                report(comment.line, format!("{word}: do it now, or open an issue"));
            }
        }
    }
}

fn check_lengths(file: &File<'_>, report: &mut impl FnMut(usize, String)) {
    let tests: usize = file.tests.iter().map(|range| file.lines(range)).sum();
    let lines = file.text.lines().count() - tests;
    if lines > FILE_LINES_MAX {
        report(1, format!("a file has at most {FILE_LINES_MAX} lines without tests, not {lines}"));
    }
    for at in 0..file.tokens.len() {
        let Some(function) = function_at(file, at) else { continue };
        let lines = file.lines(&function);
        if lines > FUNCTION_LINES_MAX {
            let rule = format!("a function has at most {FUNCTION_LINES_MAX} lines, not {lines}");
            report(file.line(at), rule);
        }
    }
}

/// From the word `fn` to the closing brace. A type (`fn(u8)`) or a signature has no body.
fn function_at(file: &File<'_>, at: usize) -> Option<Range<usize>> {
    if file.at(at) != "fn" || file.at(at + 1) == "(" {
        return None;
    }
    let mut depth = 0usize;
    for next in at + 1..file.tokens.len() {
        match file.at(next) {
            "(" | "[" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            ";" if depth == 0 => return None,
            "{" if depth == 0 => return Some(at..file.behind_brace(next)),
            _ => {}
        }
    }
    None
}

fn check_words(file: &File<'_>, report: &mut impl FnMut(usize, String)) {
    let arrow_allowed = file.path.starts_with(ARROW_ROOM) || ARROW_ALLOWED.contains(&file.path);
    for at in 0..file.tokens.len() {
        let word = file.at(at);
        if word == "unsafe" && !UNSAFE_ALLOWED.contains(&file.path) {
            report(
                file.line(at),
                format!("`unsafe` lives in {} alone", UNSAFE_ALLOWED.join(" and ")),
            );
        }
        if word == "ignore" && file.before(at, 1) == "[" && file.before(at, 2) == "#" {
            report(file.line(at), "a test runs or is not there: no `#[ignore]`".into());
        }
        let is_arrow = word == "parquet" || word == "arrow" || word.starts_with("arrow_");
        let is_crate = file.before(at, 1) != "::" && ["::", ";", "as"].contains(&file.at(at + 1));
        if is_arrow && is_crate && file.path.starts_with("src/") && !arrow_allowed {
            report(file.line(at), format!("only {ARROW_ROOM} knows `{word}`"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "//! A room.\nmod first;\nmod second;\npub use second::Thing;\n";

    /// The findings in a small house where `path` holds a header and then `code`.
    fn check(path: &str, code: &str, expected: &[&str]) {
        let mut house = House::new();
        for room in ["feature", "log", "store", "offline"] {
            house.insert(format!("src/{room}/mod.rs"), PAGE.into());
        }
        house.insert(path.into(), format!("//! Planted.\n{code}"));
        assert_eq!(findings(&house), expected, "{path}:\n{code}");
    }

    #[test]
    fn imports_go_down() {
        check("src/store/first.rs", "use crate::{log::Log, feature::{self, Value}};", &[]);
        let up = "feature (floor 1) may not import store (floor 3), only what is below";
        for code in [
            "use crate::store;",
            "use crate::{\n  error::Error,\n  store::{self as s, Store},\n};",
            "fn f() { crate::store::open() }",
            "fn f() { let x: Vec<nowthen::store::Store> = g(); }",
            "use super::super::store::*;",
            "mod inner { use super::super::super::store::Store; }",
            "#[cfg(test)] mod tests { use crate::store::Store; }",
        ] {
            let line = 2;
            let one = format!("src/feature/first.rs:{line}: {up}");
            let times = if code.contains("self as s") { 2 } else { 1 };
            check("src/feature/first.rs", code, &vec![one.as_str(); times]);
        }
    }

    #[test]
    fn rooms_on_one_floor_are_strangers() {
        let rule = "log (floor 2) may not import offline (floor 2), only what is below";
        check(
            "src/log/first.rs",
            "use crate::offline::X;",
            &[&format!("src/log/first.rs:2: {rule}")],
        );
    }

    #[test]
    fn a_room_has_a_floor() {
        check(
            "src/feature/first.rs",
            "use crate::attic::X;",
            &["src/feature/first.rs:2: `attic` is no room"],
        );
        check(
            "src/attic.rs",
            "use crate::error::X;",
            &["src/attic.rs:1: room `attic` has no floor"],
        );
    }

    #[test]
    fn a_file_reads_onwards_in_its_room() {
        check("src/log/first.rs", "use super::second::X;\nuse crate::log::Thing;", &[]);
        let rule = "`second` uses `first`, which src/log/mod.rs lists before it";
        for code in
            ["use super::first;", "use crate::log::first::X;", "fn f() { super::first::f() }"]
        {
            check("src/log/second.rs", code, &[&format!("src/log/second.rs:2: {rule}")]);
        }
        check(
            "src/log/first.rs",
            "use super::*;",
            &["src/log/first.rs:2: `first` says what it uses of its room: no `*`"],
        );
        check("src/log/second.rs", "#[cfg(test)]\nmod tests { use super::super::first::X; }", &[]);
        check("src/log/second.rs", "mod inner { use super::*; use super::super::second::X; }", &[]);
    }

    #[test]
    fn what_a_contents_page_passes_on_has_its_place() {
        let page = "mod first;\nmod second;\npub use first::{Thing as Other, X};\n";
        let mut house = House::from([("src/log/mod.rs".into(), format!("//! A room.\n{page}"))]);
        house.insert("src/log/second.rs".into(), "//! Planted.\nuse super::Other;".into());
        let rule = "`second` uses `first`, which src/log/mod.rs lists before it";
        assert_eq!(findings(&house), [format!("src/log/second.rs:2: {rule}")]);
    }

    #[test]
    fn a_contents_page_holds_nothing_else() {
        let good = "#[cfg(test)]\nmod first;\npub(crate) mod second;\npub use second::{A, B};";
        check("src/log/mod.rs", good, &[]);
        let rule = "src/log/mod.rs:3: mod.rs is a contents page: header, `mod` lines, `pub use`";
        for code in ["fn f() {}", "pub struct S;", "use x::Y;", "mod a {}", "const A: u8 = 1;"] {
            check("src/log/mod.rs", &format!("mod first;\n{code}"), &[rule]);
        }
    }

    #[test]
    fn lengths_have_ends() {
        let function = |lines: usize| format!("fn f() {{\n{}}}", "f();\n".repeat(lines - 2));
        check("src/log/first.rs", &function(70), &[]);
        check(
            "src/log/first.rs",
            &function(71),
            &["src/log/first.rs:2: a function has at most 70 lines, not 71"],
        );
        check("src/log/first.rs", &"//\n".repeat(399), &[]);
        check(
            "src/log/first.rs",
            &"//\n".repeat(400),
            &["src/log/first.rs:1: a file has at most 400 lines without tests, not 401"],
        );
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "//\n".repeat(400));
        check("src/log/first.rs", &format!("{}{tests}", "//\n".repeat(399)), &[]);
        check(
            "src/log/first.rs",
            &format!("// {}", "x".repeat(98)),
            &["src/log/first.rs:2: a line has at most 100 columns"],
        );
    }

    #[test]
    fn words_stay_where_they_belong() {
        check(
            "src/log/first.rs",
            "fn f() { unsafe {} }",
            &[&format!(
                "src/log/first.rs:2: `unsafe` lives in {} alone",
                UNSAFE_ALLOWED.join(" and ")
            )],
        );
        check("src/disk/map.rs", "fn f() { unsafe {} }", &[]);
        check(
            "src/log/first.rs",
            "/* FIXME */\n#[ignore]\nfn f() {} // TODO: x",
            &[
                "src/log/first.rs:2: FIXME: do it now, or open an issue",
                "src/log/first.rs:4: TODO: do it now, or open an issue",
                "src/log/first.rs:3: a test runs or is not there: no `#[ignore]`",
            ],
        );
        check(
            "src/log/first.rs",
            "use arrow_array::Array;\nuse parquet::file;",
            &[
                "src/log/first.rs:2: only src/offline/ knows `arrow_array`",
                "src/log/first.rs:3: only src/offline/ knows `parquet`",
            ],
        );
        check("src/offline/first.rs", "use arrow_array::Array;", &[]);
    }

    #[test]
    fn text_and_comments_are_not_code() {
        for code in [
            "// use crate::store; unsafe { #[ignore] }",
            "/* /* nested */ use crate::store; */",
            r##"const A: &str = "\\\" use crate::store; unsafe TODO";"##,
            r###"const A: &[u8] = br#"" use crate::store; TODO"#;"###,
            "const A: char = '\"'; const B: char = '\\''; const C: &'static str = \"unsafe\";",
        ] {
            check("src/feature/first.rs", code, &[]);
        }
        let after = "const A: char = '\"'; fn f<'a>(x: &'a str) { unsafe {} }";
        check(
            "src/feature/first.rs",
            after,
            &[&format!(
                "src/feature/first.rs:2: `unsafe` lives in {} alone",
                UNSAFE_ALLOWED.join(" and ")
            )],
        );
    }

    #[test]
    fn a_file_says_what_it_is() {
        let house = House::from([("src/error.rs".into(), "use std::fmt;\n".into())]);
        assert_eq!(findings(&house), ["src/error.rs:1: a file starts with a `//!` header"]);
    }
}
