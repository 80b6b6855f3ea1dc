//! What a store must show: each step applied to maps and lists, one model for each LSN.
//!
//! Invariants
//! - A model follows from the steps alone; time is an argument, and nothing is removed by it.
//! - [`Model::apply`] says whether the step changes anything: then, and only then, it is a record.

use crate::step::{Feature, Key, MAX_FUTURE_US, Write};
use std::collections::BTreeMap;

/// What stands under a plain key.
#[derive(Clone, Debug)]
struct Plain {
    /// When the key is over.
    end_us: Option<i64>,
    value: Stored,
}

#[derive(Clone, Debug)]
enum Stored {
    Text(String),
    /// By name: the value, and when the field is over.
    Fields(BTreeMap<String, (String, Option<i64>)>),
}

/// One cell that was written.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    user: i64,
    feature: Feature,
    event_us: i64,
    created_us: i64,
    written: Written,
}

#[derive(Clone, Debug)]
enum Written {
    Value(String),
    Null,
    Tombstone,
}

/// The state of a store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    plain: BTreeMap<String, Plain>,
    /// Cells that no flush has taken, in the order they were written.
    cells: Vec<Cell>,
    /// Every cell, in the order they were written.
    history: Vec<Cell>,
    /// Users that were forgotten, and when: what was true before is kept out.
    forgotten: BTreeMap<i64, i64>,
    pub(crate) version: u64,
    pub(crate) runs: u64,
    /// When its last record was decided.
    pub(crate) decided_us: i64,
}

/// What is to be seen at one instant, by name.
pub(crate) type Visible = BTreeMap<String, String>;

impl Model {
    /// What a client sees at `now_us`.
    pub(crate) fn visible(&self, now_us: i64) -> Visible {
        let mut visible = Visible::new();
        for (key, plain) in self.plain.iter().filter(|(_, plain)| plain.is_seen(now_us)) {
            let end = plain.end_us.map_or_else(String::new, |end_us| format!(" until {end_us}"));
            match &plain.value {
                Stored::Text(text) => drop(visible.insert(format!("{key}{end}"), text.clone())),
                Stored::Fields(fields) => {
                    for (name, (value, field_end)) in fields {
                        if field_end.is_none_or(|field_end| field_end > now_us) {
                            let until =
                                field_end.map_or_else(String::new, |end| format!(" until {end}"));
                            visible.insert(format!("{key}{end} {name}{until}"), value.clone());
                        }
                    }
                }
            }
        }
        for user in 0..3 {
            for feature in self.features() {
                if let Some(text) = told(winner(&self.cells, user, feature, now_us)) {
                    visible.insert(format!("user:{user} {}", feature.name()), text);
                }
            }
        }
        visible.insert("definitions".into(), self.version.to_string());
        visible.insert("runs".into(), self.runs.to_string());
        visible
    }

    /// What the history tells of a feature at `at_us`.
    pub(crate) fn as_of(&self, user: i64, feature: Feature, at_us: i64) -> Option<String> {
        told(winner(&self.history, user, feature, at_us))
    }

    /// The features that the definitions know.
    pub(crate) fn features(&self) -> impl Iterator<Item = Feature> + use<> {
        let version = self.version;
        Feature::ALL.into_iter().filter(move |feature| feature.since_version() <= version)
    }

    /// Of these features those that the definitions know.
    pub(crate) fn known(&self, features: &[Feature]) -> Vec<Feature> {
        self.features().filter(|feature| features.contains(feature)).collect()
    }

    /// Makes `write` true, decided at `now_us`; whether that changes anything.
    pub(crate) fn apply(&mut self, write: &Write, now_us: i64) -> bool {
        let end = |in_us: &Option<i64>| in_us.map(|us| now_us + us);
        match write {
            Write::SetText { key, text, end_in_us } => {
                let plain = Plain { end_us: end(end_in_us), value: Stored::Text(text.clone()) };
                self.plain.insert(Key::Text(*key).name(), plain);
                true
            }
            Write::SetFields { key, fields, end_in_us } => {
                let standing = self.fields_mut(*key, now_us, true);
                for (name, value) in fields {
                    standing.insert(name.clone(), (value.clone(), end(end_in_us)));
                }
                true
            }
            Write::DeleteFields { key, names } => {
                let Some(names) = self.seen_fields(*key, names, now_us) else { return false };
                let standing = self.fields_mut(*key, now_us, false);
                names.iter().for_each(|name| drop(standing.remove(name)));
                if standing.is_empty() {
                    self.plain.remove(&Key::Hash(*key).name());
                }
                true
            }
            Write::EndFields { key, names, end_in_us } => {
                let Some(names) = self.seen_fields(*key, names, now_us) else { return false };
                let standing = self.fields_mut(*key, now_us, false);
                let ended = standing.iter_mut().filter(|(name, _)| names.contains(name));
                ended.for_each(|(_, field)| field.1 = end(end_in_us));
                true
            }
            Write::Delete { key } => {
                self.seen(*key, now_us) && self.plain.remove(&key.name()).is_some()
            }
            Write::Expire { key, end_in_us } => {
                let is_seen = self.seen(*key, now_us);
                if let Some(plain) = self.plain.get_mut(&key.name()).filter(|_| is_seen) {
                    plain.end_us = end(end_in_us);
                }
                is_seen
            }
            Write::FlushAll => {
                self.plain.clear();
                self.cells.clear();
                true
            }
            Write::SetFeatures { .. }
            | Write::Push { .. }
            | Write::DeleteFeatures { .. }
            | Write::DeleteEntity { .. } => self.apply_to_cells(write, now_us),
        }
    }

    /// Forgets a user.
    pub(crate) fn forget(&mut self, user: i64, now_us: i64) {
        self.cells.retain(|cell| cell.user != user);
        self.history.retain(|cell| cell.user != user);
        self.forgotten.insert(user, now_us);
    }

    fn apply_to_cells(&mut self, write: &Write, now_us: i64) -> bool {
        let (user, event_us, cells): (_, _, Vec<_>) = match write {
            Write::SetFeatures { user, features } => {
                let known = features.iter().filter(|(f, _)| f.since_version() <= self.version);
                let written = |(f, number): &(Feature, u64)| (*f, Written::Value(f.text(*number)));
                (*user, now_us, known.map(written).collect())
            }
            Write::Push { user, event_in_us, cells } => {
                let written = |(f, number): &(Feature, Option<u64>)| {
                    (*f, number.map_or(Written::Null, |number| Written::Value(f.text(number))))
                };
                let known = cells.iter().filter(|(feature, _)| self.may_push(*feature));
                (*user, now_us + (*event_in_us).min(MAX_FUTURE_US), known.map(written).collect())
            }
            Write::DeleteFeatures { user, features } => {
                (*user, now_us, self.tombstones(*user, &self.known(features), now_us))
            }
            Write::DeleteEntity { user } => {
                let all: Vec<_> = self.features().collect();
                (*user, now_us, self.tombstones(*user, &all, now_us))
            }
            _ => return false,
        };
        if self.forgotten.get(&user).is_some_and(|forgotten_us| event_us < *forgotten_us) {
            return false;
        }
        let is_changed = !cells.is_empty();
        for (feature, written) in cells {
            let cell = Cell { user, feature, event_us, created_us: now_us, written };
            self.cells.push(cell.clone());
            self.history.push(cell);
        }
        is_changed
    }

    /// Whether a push to the view `spending` may hold this feature.
    pub(crate) fn may_push(&self, feature: Feature) -> bool {
        feature.view() == "spending" && feature.since_version() <= self.version
    }

    /// None, if there is nothing to delete.
    fn tombstones(&self, user: i64, features: &[Feature], now_us: i64) -> Vec<(Feature, Written)> {
        let stands = |feature: &Feature| {
            let cell = winner(&self.cells, user, *feature, now_us);
            cell.is_some_and(|cell| !matches!(cell.written, Written::Tombstone))
        };
        match features.iter().any(stands) {
            true => features.iter().map(|feature| (*feature, Written::Tombstone)).collect(),
            false => Vec::new(),
        }
    }

    fn seen(&self, key: Key, now_us: i64) -> bool {
        self.plain.get(&key.name()).is_some_and(|plain| plain.is_seen(now_us))
    }

    /// Of these fields those that are seen; `None` for none.
    fn seen_fields(&self, key: u64, names: &[String], now_us: i64) -> Option<Vec<String>> {
        let plain = self.plain.get(&Key::Hash(key).name()).filter(|plain| plain.is_seen(now_us))?;
        let Stored::Fields(fields) = &plain.value else { return None };
        let is_seen = |name: &&String| {
            fields.get(*name).is_some_and(|(_, end)| end.is_none_or(|end| end > now_us))
        };
        let seen: Vec<String> = names.iter().filter(is_seen).cloned().collect();
        (!seen.is_empty()).then_some(seen)
    }

    /// The fields of a hash; those of a new one, if `anew` and it is not seen.
    fn fields_mut(
        &mut self,
        key: u64,
        now_us: i64,
        anew: bool,
    ) -> &mut BTreeMap<String, (String, Option<i64>)> {
        let name = Key::Hash(key).name();
        if anew && !self.seen(Key::Hash(key), now_us) {
            self.plain.remove(&name);
        }
        let empty = || Plain { end_us: None, value: Stored::Fields(BTreeMap::new()) };
        match &mut self.plain.entry(name).or_insert_with(empty).value {
            Stored::Fields(fields) => fields,
            Stored::Text(_) => panic!("texts and hashes share no key"),
        }
    }
}

impl Plain {
    fn is_seen(&self, now_us: i64) -> bool {
        let has_value = match &self.value {
            Stored::Text(_) => true,
            Stored::Fields(fields) => {
                fields.values().any(|(_, end)| end.is_none_or(|end| end > now_us))
            }
        };
        has_value && self.end_us.is_none_or(|end_us| end_us > now_us)
    }
}

/// The cell of a feature that may be seen at `at_us` and wins; of equal stamps the later one.
fn winner(cells: &[Cell], user: i64, feature: Feature, at_us: i64) -> Option<&Cell> {
    let of_feature = cells.iter().filter(|cell| (cell.user, cell.feature) == (user, feature));
    let seen = of_feature.filter(|cell| cell.event_us <= at_us);
    seen.max_by_key(|cell| (cell.event_us, cell.created_us))
}

fn told(cell: Option<&Cell>) -> Option<String> {
    match &cell?.written {
        Written::Value(text) => Some(text.clone()),
        Written::Null => Some("null".into()),
        Written::Tombstone => None,
    }
}
