//! A feature repository as TOML text, read into definitions or refused with file, line and field.
//!
//! ```text
//! files --TOML--> tables --read--> each definition alone --resolve--> references --> Definitions
//! ```
//! A step is taken only if nothing was refused in the one before, so that one mistake is not
//! reported twice. Within a step the first problem of every definition is.
//!
//! Invariants
//! - Any text gives definitions or a refusal, never a panic.
//! - Equal definitions come out whatever the order of files, and of definitions in them.

use super::{
    definition::{DefinitionFile, Definitions},
    node::{Node, Problem, Problems, line_of, nodes_of, unknown_key},
    read::{read_entity, read_view},
    resolve::{check_view, read_service},
};
use crate::error::{ECHO_BYTES_MAX, Result};
use std::collections::{BTreeMap, btree_map::Entry};
use toml::de::DeTable;

const KINDS: [&str; 3] = ["entity", "view", "service"];

/// Reads all files of a feature repository.
///
/// A refusal lists up to ten problems, one per line, sorted by file and line.
pub fn parse_repository(files: &[DefinitionFile]) -> Result<Definitions> {
    let mut problems = Problems::default();
    let documents = problems.read_all(files, |file| {
        let document = DeTable::parse(&file.text).map_err(|error| syntax_problem(file, &error))?;
        Ok((file, document))
    });
    problems.refuse_if_any()?;

    let mut tables = Tables::default();
    for (file, document) in &documents {
        tables.add_file(file, document.get_ref(), &mut problems);
    }
    let entities = problems.read_all(tables.entities.values(), read_entity);
    let views = problems.read_all(tables.views.values(), read_view);
    problems.refuse_if_any()?;

    let written = tables.views.values().zip(&views);
    problems.read_all(written, |(node, view)| check_view(node, view, &entities));
    let services = problems.read_all(tables.services.values(), |node| read_service(node, &views));
    problems.refuse_if_any()?;
    Ok(Definitions { entities, views, services })
}

/// The tables of all files, by name.
#[derive(Default)]
struct Tables<'a> {
    entities: BTreeMap<&'a str, Node<'a>>,
    views: BTreeMap<&'a str, Node<'a>>,
    services: BTreeMap<&'a str, Node<'a>>,
}

impl<'a> Tables<'a> {
    fn add_file(
        &mut self,
        file: &'a DefinitionFile,
        document: &'a DeTable<'a>,
        problems: &mut Problems,
    ) {
        for kind in nodes_of(file, "", document) {
            if problems.are_many() {
                return;
            }
            let tables = match kind.name() {
                "entity" => &mut self.entities,
                "view" => &mut self.views,
                "service" => &mut self.services,
                other => {
                    problems.keep::<()>(Err(kind.refuse(unknown_key(other, &KINDS))));
                    continue;
                }
            };
            let expected = format!("a table such as [{}.NAME]", kind.name());
            for node in problems.keep(kind.fields(&expected)).unwrap_or_default() {
                if problems.are_many() {
                    return;
                }
                match tables.entry(node.name()) {
                    Entry::Vacant(vacant) => _ = vacant.insert(node),
                    Entry::Occupied(first) => {
                        let first = first.get().place();
                        let why = format!("is defined twice, here and at {first}");
                        problems.keep::<()>(Err(node.refuse(why)));
                    }
                }
            }
        }
    }
}

/// What the TOML parser refused.
fn syntax_problem(file: &DefinitionFile, error: &toml::de::Error) -> Problem {
    let offset = error.span().map_or(0, |span| span.start);
    // The parser may quote the text, which may be of any length and have line breaks in it.
    let message = error.message().chars().map(one_line).take(MESSAGE_CHARS_MAX);
    let text = defined_twice(file, offset)
        .unwrap_or_else(|| format!("no valid TOML: {}", message.collect::<String>()));
    Problem { file: file.path.clone(), line: line_of(&file.text, offset), text }
}

/// To the TOML parser a definition that stands twice in one file is a duplicate key at `offset`.
/// Says where the first stands, as for one that stands in two files.
fn defined_twice(file: &DefinitionFile, offset: usize) -> Option<String> {
    let before = file.text.get(..offset)?;
    let (before, header) = file.text.split_at_checked(before.rfind('\n')? + 1)?;
    let (kind, name) = header.lines().next()?.strip_prefix('[')?.split_once('.')?;
    let name = name.trim_end().strip_suffix(']').filter(|n| n.len() <= ECHO_BYTES_MAX)?;
    let (document, _) = DeTable::parse_recoverable(before);
    let tables = document.get_ref().get(kind)?.get_ref().as_table()?;
    let (first, _) = tables.get_key_value(name)?;
    let first = line_of(before, first.span().start);
    Some(format!("{kind}.{name}: is defined twice, here and at {}:{first}", file.path))
}

fn one_line(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

const MESSAGE_CHARS_MAX: usize = 256;
