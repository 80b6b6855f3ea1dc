//! Records and entries as an operator reads them: keys, fields and values by name.
//!
//! Names of features stand in the definitions, which are records of the log and entries of the meta
//! file as well: whoever reads these first, with [`Teller::learn`], is told names for the rest.
//! Without them cells of the log have the numbers of their slots, and rows of entities no values.

use super::{meta_entry::MetaEntry, schema::Schema};
use crate::{
    feature::{
        CellWrite, CellsWrite, Change, Origin, PlainChange, RunState, Timestamp, ViewId,
        decode_record,
    },
    online::{Body, CellState, EntityRow, OwnedRow},
    registry::{Catalog, DefinitionFile, parse_repository},
};

/// One thing that is told: a change of a record, a row, or another entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// What it is: `set`, `fields`, `cells`, `string`, `hash`, `entity`, `apply` ...
    pub kind: &'static str,
    /// The key it is about, if it is about one.
    pub key: Option<Vec<u8>>,
    /// The record that wrote it, where the entry says so.
    pub lsn: Option<u64>,
    /// What else there is to say, by name.
    pub about: Vec<(&'static str, String)>,
    /// Its fields.
    pub fields: Vec<ToldField>,
}

/// One field that is told.
#[derive(Clone, Debug, PartialEq)]
pub struct ToldField {
    /// Its name.
    pub name: Vec<u8>,
    /// What it holds.
    pub value: ToldValue,
    /// When it was true, if that is known.
    pub event: Option<Timestamp>,
    /// When it is gone, if ever.
    pub end: Option<Timestamp>,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub enum ToldValue {
    /// This text.
    Text(Vec<u8>),
    /// Null.
    Null,
    /// It was deleted, or is.
    Deleted,
    /// Its value is not told.
    Untold,
}

/// Tells what records and entries say.
#[derive(Debug)]
pub struct Teller {
    schema: Schema,
    /// The last record of definitions that was learnt.
    learnt: u64,
}

impl Default for Teller {
    fn default() -> Self {
        Self { schema: Schema::new(Catalog::empty()), learnt: 0 }
    }
}

impl Teller {
    /// What record `lsn` says, a thing per change; why it cannot be read, otherwise.
    pub fn record(&mut self, lsn: u64, bytes: &[u8]) -> Result<Vec<Told>, String> {
        let record = decode_record(bytes)?;
        record.changes.iter().for_each(|change| self.learn(lsn, change));
        Ok(record.changes.iter().map(|change| self.change(change)).collect())
    }

    /// What a row of a snapshot says.
    pub fn row(&self, bytes: &[u8]) -> Result<Told, String> {
        let row = OwnedRow::from_bytes(bytes).ok_or("no row")?;
        let row = row.as_row();
        let mut told = Told { key: Some(row.key().to_vec()), ..Told::default() };
        told.lsn = Some(row.lsn());
        told.about.extend(row.expires_at().map(|at| ("expires_at", at.to_iso())));
        match row.body().ok_or("no row")? {
            Body::String(value) => {
                told.kind = "string";
                told.fields.push(field(b"value", ToldValue::Text(value.to_vec())));
            }
            Body::Hash(hash) => {
                told.kind = "hash";
                let text = |value: &[u8]| ToldValue::Text(value.to_vec());
                told.fields.extend(hash.at(Timestamp::MIN).fields().map(|stored| ToldField {
                    end: stored.end,
                    ..field(stored.name, text(stored.value))
                }));
            }
            Body::Entity(entity) => {
                told.kind = "entity";
                self.entity(entity, &mut told);
            }
        }
        Ok(told)
    }

    /// What an entry of a meta file says.
    pub fn meta(&mut self, bytes: &[u8]) -> Result<Told, String> {
        let entry = postcard::from_bytes(bytes).map_err(|error| error.to_string())?;
        Ok(match entry {
            MetaEntry::Clock(time) => about("clock", vec![("time", time.to_iso())]),
            MetaEntry::LastRun(id) => about("last_run", vec![("run", id.to_string())]),
            MetaEntry::Forgotten(key, mark) => Told {
                lsn: Some(mark.lsn),
                ..about("forgotten", vec![("mark", key.to_string()), ("at", mark.at.to_iso())])
            },
            MetaEntry::Noted { lsn, change } => {
                self.learn(lsn, &change);
                Told { lsn: Some(lsn), ..self.change(&change) }
            }
            MetaEntry::Future { lsn, cells } => {
                let told = self.cells(&cells);
                Told { kind: "future_cells", lsn: Some(lsn), ..told }
            }
        })
    }

    /// Takes over the definitions of record `lsn`, if it has some that are newer.
    fn learn(&mut self, lsn: u64, change: &Change) {
        let Change::Apply { definitions, at } = change else { return };
        if lsn <= self.learnt {
            return;
        }
        let file = DefinitionFile { path: "the log".into(), text: definitions.clone() };
        let definitions = parse_repository(&[file]);
        if let Ok(catalog) = definitions.and_then(|d| self.schema.catalog.apply(&d, *at)) {
            self.schema = Schema::new(catalog);
            self.learnt = lsn;
        }
    }

    fn change(&self, change: &Change) -> Told {
        match change {
            Change::Cells(write) => self.cells(write),
            Change::Plain { key, change } => Told { key: Some(key.clone()), ..plain(change) },
            Change::FlushAll => about("flush", Vec::new()),
            Change::Forget { key, at } => {
                Told { key: Some(key.clone()), ..about("forget", vec![("at", at.to_iso())]) }
            }
            Change::Apply { definitions, at } => {
                about("apply", vec![("at", at.to_iso()), ("definitions", definitions.clone())])
            }
            Change::RunEnded(run) => {
                let state = match &run.state {
                    RunState::Running => "running".to_owned(),
                    RunState::Done => "done".to_owned(),
                    RunState::Failed(why) => format!("failed: {why}"),
                };
                let run_about = vec![
                    ("run", run.id.to_string()),
                    ("view", run.view.clone()),
                    ("state", state),
                    ("entities_written", run.entities_written.to_string()),
                ];
                about("run", run_about)
            }
        }
    }

    fn cells(&self, write: &CellsWrite) -> Told {
        let mut told = about("cells", vec![("view", self.view_name(write.view, write.generation))]);
        told.key = Some(write.key.clone());
        told.about.push(("generation", write.generation.to_string()));
        told.about.push(("event", write.stamp.event.to_iso()));
        told.about.extend(write.stamp.created.map(|created| ("created", created.to_iso())));
        let is_pushed = write.origin == Origin::Pushed;
        told.about.push(("origin", if is_pushed { "pushed" } else { "materialized" }.into()));
        told.fields.extend(write.cells.iter().map(|(slot, cell)| {
            let value = match cell {
                CellWrite::Value(value) => {
                    let mut text = Vec::new();
                    value.write_text(&mut text);
                    ToldValue::Text(text)
                }
                CellWrite::Null => ToldValue::Null,
                CellWrite::Tombstone => ToldValue::Deleted,
            };
            field(self.slot_name(write.view, write.generation, *slot).as_bytes(), value)
        }));
        told
    }

    fn entity(&self, entity: EntityRow<'_>, told: &mut Told) {
        for (view, generation) in entity.views() {
            let name = self.view_name(view, generation);
            let Some(layout) = self.schema.layout(view, generation) else {
                told.about.push(("view", format!("{name} without its definition")));
                continue;
            };
            for slot in (0..).take(layout.slot_count()) {
                let Some(cell) = entity.cell(layout, slot) else { continue };
                let text = cell.value.map(|value| {
                    let mut text = Vec::new();
                    value.write_text(&mut text);
                    text
                });
                let value = match cell.state {
                    CellState::Null => ToldValue::Null,
                    CellState::Tombstone => ToldValue::Deleted,
                    CellState::Value | CellState::Absent => {
                        text.map_or(ToldValue::Untold, ToldValue::Text)
                    }
                };
                let full_name = format!("{name}:{}", self.slot_name(view, generation, slot));
                let event = Some(cell.stamp.event);
                told.fields.push(ToldField { event, ..field(full_name.as_bytes(), value) });
            }
        }
    }

    fn view_name(&self, view: ViewId, generation: u32) -> String {
        let known = self.schema.catalog.view_of_generation(view, generation);
        known.map_or_else(|| format!("view {}", view.0), |view| view.name.clone())
    }

    fn slot_name(&self, view: ViewId, generation: u32, slot: u32) -> String {
        let slots = self.schema.catalog.slots(view, generation);
        let known = slots.get(slot as usize);
        known.map_or_else(|| format!("slot {slot}"), |known| known.name.clone())
    }
}

fn about(kind: &'static str, about: Vec<(&'static str, String)>) -> Told {
    Told { kind, about, ..Told::default() }
}

fn field(name: &[u8], value: ToldValue) -> ToldField {
    ToldField { name: name.to_vec(), value, event: None, end: None }
}

fn plain(change: &PlainChange) -> Told {
    let text = |bytes: &[u8]| ToldValue::Text(bytes.to_vec());
    let end = |at: &Option<Timestamp>| at.map_or_else(|| "never".to_owned(), Timestamp::to_iso);
    match change {
        PlainChange::SetString { value, expires_at } => {
            let expiry = expires_at.map(|at| ("expires_at", at.to_iso()));
            let fields = vec![field(b"value", text(value))];
            Told { fields, ..about("set", expiry.into_iter().collect()) }
        }
        PlainChange::SetFields(fields) | PlainChange::SetHash(fields) => {
            let is_whole = matches!(change, PlainChange::SetHash(_));
            let kind = if is_whole { "set_hash" } else { "set_fields" };
            let fields = fields.iter().map(|(name, value)| field(name, text(value))).collect();
            Told { fields, ..about(kind, Vec::new()) }
        }
        PlainChange::DeleteFields(names) => {
            let fields = names.iter().map(|name| field(name, ToldValue::Deleted)).collect();
            Told { fields, ..about("delete_fields", Vec::new()) }
        }
        PlainChange::Delete => about("delete", Vec::new()),
        PlainChange::ExpireAt(at) => about("expire", vec![("expires_at", end(at))]),
        PlainChange::EndFields { names, at } => {
            let fields = names.iter().map(|name| field(name, ToldValue::Untold)).collect();
            Told { fields, ..about("expire_fields", vec![("expires_at", end(at))]) }
        }
        PlainChange::SetEndingFields { is_whole, fields } => {
            let kind = if *is_whole { "set_hash" } else { "set_fields" };
            let told = |ending: &crate::feature::EndingField| ToldField {
                end: ending.end,
                ..field(&ending.name, text(&ending.value))
            };
            Told { fields: fields.iter().map(told).collect(), ..about(kind, Vec::new()) }
        }
    }
}
