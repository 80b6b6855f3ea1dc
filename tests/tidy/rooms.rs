//! The rules of rooms: floors, the reading order within a room, and contents pages.
//!
//! ```text
//! store/read.rs:  use crate::online::Row    floor 3 --> floor 2      downwards only
//!                 use super::write::commit  mod.rs: read, write      onwards only
//! ```
//! Invariants
//! - A path is judged by where it leads, however it is written: `crate::`, `super::`, in braces,
//!   in the midst of code, or through what a contents page passes on.
//! - Tests in a room may use the whole room, but no room above it.
//!
//! Not here: how text becomes tokens (`source.rs`).

use super::source::File;

/// Which floor a room stands on. A room is a folder of `src/`, or a file directly in it.
const FLOORS: &[(u8, &[&str])] = &[
    (0, &["allocator", "error", "planted"]),
    (1, &["feature", "disk", "objects", "stats", "parallel"]),
    (2, &["registry", "online", "offline", "log"]),
    (3, &["store"]),
    (4, &["materialize"]),
    (5, &["command"]),
    (6, &["server", "http"]),
    (7, &["config", "cli", "inspect", "demo"]),
    // The roof: where the rooms are put together.
    (8, &["main", "lib"]),
];

pub(super) fn check_imports(
    file: &File<'_>,
    files: &[File<'_>],
    report: &mut impl FnMut(usize, String),
) {
    for import in imports(file) {
        let Some(room) = import.target.first() else { continue };
        if *room == file.room() {
            let is_test = file.tests.iter().any(|range| range.contains(&import.at));
            if let Some(rule) = broken_order(file, files, &import.target).filter(|_| !is_test) {
                report(file.line(import.at), rule);
            }
            continue;
        }
        match (floor(file.room()), floor(room)) {
            (None, _) => report(1, format!("room `{}` has no floor", file.room())),
            (_, None) => report(file.line(import.at), format!("`{room}` is no room")),
            (Some(own), Some(other)) if other >= own => {
                let rule = format!(
                    "{} (floor {own}) may not import {room} (floor {other}), only what is below",
                    file.room()
                );
                report(file.line(import.at), rule);
            }
            _ => {}
        }
    }
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(floor, _)| *floor)
}

/// Within a room one reads downwards: a file uses only siblings that its mod.rs lists after it.
fn broken_order(file: &File<'_>, files: &[File<'_>], target: &[&str]) -> Option<String> {
    let shared = file.module.iter().zip(target).take_while(|(own, other)| own == other).count();
    let (own, other) = (*file.module.get(shared)?, *target.get(shared)?);
    let page_path = format!("src/{}/mod.rs", file.module.get(..shared)?.join("/"));
    let page = files.iter().find(|page| page.path == page_path)?;
    if other == "*" {
        return Some(format!("`{own}` says what it uses of its room: no `*`"));
    }

    let entries = entries(page);
    let other = sibling_of(page, other);
    let own_entry = entries.iter().position(|entry| entry.name == own)?;
    let other_entry = entries.iter().position(|entry| entry.name == other)?;
    let is_test = entries.get(own_entry).is_some_and(|entry| entry.is_test);
    (other_entry < own_entry && !is_test)
        .then(|| format!("`{own}` uses `{other}`, which {page_path} lists before it"))
}

/// The file that an item comes from, where the contents page passes it on: `pub use time::Ttl`.
fn sibling_of<'a>(page: &File<'a>, name: &'a str) -> &'a str {
    for at in (0..page.tokens.len()).filter(|at| page.at(*at) == "use") {
        let mut paths = Vec::new();
        expand(page, at + 1, &mut Vec::new(), &mut paths);
        let passed_on = paths.iter().find(|path| path.name == name);
        if let Some(sibling) = passed_on.and_then(|path| path.steps.iter().find(|s| **s != "self"))
        {
            return sibling;
        }
    }
    name
}

struct Entry<'a> {
    name: &'a str,
    is_test: bool,
}

fn entries<'a>(page: &File<'a>) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    let mut is_test = false;
    for at in 0..page.tokens.len() {
        is_test |= page.is_cfg_test(at);
        if page.at(at) == "mod" {
            entries.push(Entry { name: page.at(at + 1), is_test });
        }
        is_test &= page.at(at) != ";";
    }
    entries
}

/// A path that starts in this crate, as seen from its root.
struct Import<'a> {
    target: Vec<&'a str>,
    at: usize,
}

/// Every path from `crate`, `nowthen`, `super` or `self`, in a `use` as in the midst of code.
fn imports<'a>(file: &File<'a>) -> Vec<Import<'a>> {
    let mut imports = Vec::new();
    for at in 0..file.tokens.len() {
        let starts = ["crate", "nowthen", "super", "self"].contains(&file.at(at));
        if !starts || file.at(at + 1) != "::" || file.before(at, 1) == "::" {
            continue;
        }
        let mut paths = Vec::new();
        expand(file, at, &mut Vec::new(), &mut paths);
        for path in paths {
            imports.push(Import { target: from_root(file, at, &path.steps), at });
        }
    }
    imports
}

fn from_root<'a>(file: &File<'a>, at: usize, steps: &[&'a str]) -> Vec<&'a str> {
    let mut target = file.module.clone();
    target.extend(file.inline_modules(at));
    for step in steps {
        match *step {
            "crate" | "nowthen" => target.clear(),
            "super" => drop(target.pop()),
            "self" => {}
            step => target.push(step),
        }
    }
    target
}

/// One path of a use-tree, and the name it is known by afterwards.
struct UsePath<'a> {
    steps: Vec<&'a str>,
    name: &'a str,
}

/// The paths of a use-tree: `a::{b, c::{self, d as e}, *}` is `a::b`, `a::c`, `a::c::d`, `a::*`.
/// Gives the place behind the tree.
fn expand<'a>(
    file: &File<'a>,
    mut at: usize,
    prefix: &mut Vec<&'a str>,
    paths: &mut Vec<UsePath<'a>>,
) -> usize {
    let depth = prefix.len();
    while file.at(at) != "{" {
        prefix.push(file.at(at));
        at += 1;
        if file.at(at) != "::" || file.at(at + 1) == "<" {
            let has_alias = file.at(at) == "as";
            let name = file.at(if has_alias { at + 1 } else { at - 1 });
            paths.push(UsePath { steps: prefix.clone(), name });
            prefix.truncate(depth);
            return at + if has_alias { 2 } else { 0 };
        }
        at += 1;
    }
    at += 1;
    while !["}", ""].contains(&file.at(at)) {
        at = expand(file, at, prefix, paths);
        at += usize::from(file.at(at) == ",");
    }
    prefix.truncate(depth);
    at + 1
}

/// A contents page: attributes, `mod name;` and `pub use ...;`, nothing else.
pub(super) fn check_contents_page(file: &File<'_>, report: &mut impl FnMut(usize, String)) {
    let mut at = 0;
    while at < file.tokens.len() {
        if file.at(at) == "#" {
            at = file.behind_attribute(at);
            continue;
        }
        let start = at;
        at = file.behind_visibility(at);
        let is_public = at > start;
        let is_entry = match file.at(at) {
            "mod" => file.at(at + 2) == ";",
            "use" => is_public,
            _ => false,
        };
        if !is_entry {
            let rule = "mod.rs is a contents page: header, `mod` lines, `pub use`";
            return report(file.line(at), rule.into());
        }
        while at < file.tokens.len() && file.at(at) != ";" {
            at += 1;
        }
        at += 1;
    }
}
