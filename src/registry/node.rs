//! A place in a definition file: the value that stands there, and the sentence that refuses it.
//!
//! ```text
//! weather.toml:12: view.airport_weather.features.temp: unknown type 'flot64'; did you mean ...
//! file       line  field                               what stood there, what was expected
//! ```
//! Invariants
//! - A sentence repeats at most `ECHO_BYTES_MAX` bytes of any one name or value.

use super::definition::DefinitionFile;
use crate::error::{ECHO_BYTES_MAX, Error, Result, did_you_mean, echo};
use std::ops::Range;
use toml::{Spanned, de::DeTable, de::DeValue};

/// The most problems that one refusal lists.
const PROBLEMS_SHOWN_MAX: usize = 10;

/// With so many problems reading stops: telling where each stands and what was meant takes time in
/// proportion to the text, and nobody asked for all.
const PROBLEMS_MAX: usize = 100;

/// Why a definition is refused, and where it stands. Sorts by place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) text: String,
}

/// What can be refused for standing at one place.
pub(super) type Checked<T> = std::result::Result<T, Problem>;

/// All that was found wrong so far.
#[derive(Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    /// The good part of `checked`; the rest is kept as a problem.
    pub(super) fn keep<T>(&mut self, checked: Checked<T>) -> Option<T> {
        checked.map_err(|problem| self.0.push(problem)).ok()
    }

    /// What `read` makes of each item; what it refuses is kept as a problem.
    pub(super) fn read_all<I, T>(
        &mut self,
        items: impl IntoIterator<Item = I>,
        read: impl Fn(I) -> Checked<T>,
    ) -> Vec<T> {
        let mut good = Vec::new();
        for item in items {
            if self.are_many() {
                break;
            }
            good.extend(self.keep(read(item)));
        }
        good
    }

    /// Whether it is time to stop.
    pub(super) fn are_many(&self) -> bool {
        self.0.len() >= PROBLEMS_MAX
    }

    /// Refuses if anything was wrong: the first problems in the order of the files, one per line.
    pub(super) fn refuse_if_any(&mut self) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort();
        let shown = self.0.iter().take(PROBLEMS_SHOWN_MAX);
        let mut lines: Vec<String> = shown
            .map(|problem| format!("{}:{}: {}", problem.file, problem.line, problem.text))
            .collect();
        let more = self.0.len().saturating_sub(PROBLEMS_SHOWN_MAX);
        if more > 0 {
            let at_least = if self.are_many() { "at least " } else { "" };
            lines.push(format!("and {at_least}{more} more"));
        }
        Err(Error::refused(lines.join("\n")))
    }
}

/// "; did you mean 'x'?", where `name` is short enough to be a name at all: comparing takes time
/// in proportion to its length.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    if name.len() > ECHO_BYTES_MAX { String::new() } else { did_you_mean(name, candidates) }
}

/// The line, from 1, that byte `offset` of `text` is on.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|byte| **byte == b'\n').count()
}

/// One value of a definition file.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    file: &'a DefinitionFile,
    path: String,
    name: &'a str,
    key_offset: usize,
    span: Range<usize>,
    value: &'a DeValue<'a>,
}

/// The values of `table`, in the order they are written.
pub(super) fn nodes_of<'a>(
    file: &'a DefinitionFile,
    path: &str,
    table: &'a DeTable<'a>,
) -> Vec<Node<'a>> {
    let node = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
        let name: &'a std::borrow::Cow<'a, str> = key.get_ref();
        Node {
            file,
            path: if path.is_empty() { cut(name) } else { format!("{path}.{}", cut(name)) },
            name: name.as_ref(),
            key_offset: key.span().start,
            span: value.span(),
            value: value.get_ref(),
        }
    };
    let mut nodes: Vec<_> = table.iter().map(node).collect();
    nodes.sort_by_key(|node| node.key_offset);
    nodes
}

/// A name as a field path shows it: as it stands if it is one, else made harmless.
fn cut(name: &str) -> String {
    let plain = !name.is_empty() && name.len() <= ECHO_BYTES_MAX;
    let plain = plain && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain { name.to_owned() } else { echo(name.as_bytes()) }
}

impl<'a> Node<'a> {
    /// The last word of its path.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// The value itself.
    pub(super) fn value(&self) -> &'a DeValue<'a> {
        self.value
    }

    /// `features/weather.toml:12`
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file.path, line_of(&self.file.text, self.key_offset))
    }

    /// This value is refused, because of `why`.
    pub(super) fn refuse(&self, why: impl AsRef<str>) -> Problem {
        Problem {
            file: self.file.path.clone(),
            line: line_of(&self.file.text, self.key_offset),
            text: format!("{}: {}", self.path, why.as_ref()),
        }
    }

    /// This value is refused: it is not the `expected`.
    pub(super) fn unexpected(&self, expected: &str) -> Problem {
        self.refuse(format!("expected {expected}, got {}", self.written()))
    }

    /// What stands here, as an error repeats it.
    fn written(&self) -> String {
        match self.value {
            DeValue::String(text) => echo(text.as_bytes()),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {
                echo(self.file.text.get(self.span.clone()).unwrap_or_default().as_bytes())
            }
        }
    }

    /// Whether a table stands here.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    /// The text that stands here.
    pub(super) fn text(&self, expected: &str) -> Checked<&'a str> {
        match self.value {
            DeValue::String(text) => Ok(text.as_ref()),
            _ => Err(self.unexpected(expected)),
        }
    }

    /// The number that stands here, written as an integer or not. It is finite.
    pub(super) fn number(&self, expected: &str) -> Checked<f64> {
        let number = match self.value {
            DeValue::Integer(integer) => {
                i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|n| n as f64)
            }
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => None,
        };
        number.filter(|number| number.is_finite()).ok_or_else(|| self.unexpected(expected))
    }

    /// The elements of the list that stands here.
    pub(super) fn elements(&self, expected: &str) -> Checked<Vec<Node<'a>>> {
        let DeValue::Array(array) = self.value else { return Err(self.unexpected(expected)) };
        let element = |(index, value): (usize, &'a Spanned<DeValue<'a>>)| Node {
            file: self.file,
            path: format!("{}[{index}]", self.path),
            name: self.name,
            key_offset: value.span().start,
            span: value.span(),
            value: value.get_ref(),
        };
        Ok(array.iter().enumerate().map(element).collect())
    }

    /// The fields of the table that stands here, whatever their names.
    pub(super) fn fields(&self, expected: &str) -> Checked<Vec<Node<'a>>> {
        match self.value {
            DeValue::Table(table) => Ok(nodes_of(self.file, &self.path, table)),
            _ => Err(self.unexpected(expected)),
        }
    }

    /// The field of that name, or this value itself if it has none.
    pub(super) fn field(&self, name: &str) -> Node<'a> {
        let fields = self.fields("a table").unwrap_or_default();
        fields.into_iter().find(|field| field.name == name).unwrap_or_else(|| self.clone())
    }

    /// The fields of the table that stands here, which may only have the `known` names.
    pub(super) fn table(&self, known: &[&str]) -> Checked<Table<'a>> {
        let fields = self.fields("a table")?;
        match fields.iter().find(|field| !known.contains(&field.name)) {
            Some(unknown) => Err(unknown.refuse(unknown_key(unknown.name, known))),
            None => Ok(Table { node: self.clone(), fields }),
        }
    }

    /// Refuses a key that is no name.
    pub(super) fn check_name(&self) -> Checked<()> {
        let mut bytes = self.name.bytes();
        let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if first && rest && self.name.len() <= NAME_BYTES_MAX {
            return Ok(());
        }
        Err(self.refuse(format!(
            "expected a name of letters, digits and '_' that starts with no digit and has at most \
             {NAME_BYTES_MAX} bytes, got {}",
            echo(self.name.as_bytes())
        )))
    }
}

/// The longest name of an entity, view, feature, join key or service.
const NAME_BYTES_MAX: usize = 128;

/// Why a key is refused that is none of the `known`.
pub(super) fn unknown_key(name: &str, known: &[&str]) -> String {
    let near = nearest(name, known.iter().copied());
    if near.is_empty() {
        format!("unknown key {}: expected one of {}", echo(name.as_bytes()), known.join(", "))
    } else {
        format!("unknown key {}{near}", echo(name.as_bytes()))
    }
}

/// A table whose keys are all known.
pub(super) struct Table<'a> {
    node: Node<'a>,
    fields: Vec<Node<'a>>,
}

impl<'a> Table<'a> {
    /// The field of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Node<'a>> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The field of that name, which must be there.
    pub(super) fn require(&self, name: &str, expected: &str) -> Checked<&Node<'a>> {
        self.get(name)
            .ok_or_else(|| self.node.refuse(format!("expected {expected} in '{name}', got none")))
    }

    /// The text in the field of that name, if the field is there.
    pub(super) fn text(&self, name: &str) -> Checked<Option<String>> {
        let Some(field) = self.get(name) else { return Ok(None) };
        Ok(Some(field.text("a text")?.to_owned()))
    }
}
