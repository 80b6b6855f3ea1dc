//! `FS.GET ... AS ARROW`: an Arrow IPC stream with a column per join key and per feature.
//!
//! Rows are read and written a batch at a time, so that what is held besides the reply does not
//! grow with the number of rows.

use super::{
    context::Context,
    feature_request::{FeatureRequest, too_long},
    request_rows::{KeyRow, Rows},
};
use crate::{
    error::Result,
    feature::{Entity, JoinKey, KeyPart, KeyType, Timestamp, ValueType},
    offline::{FeatureTable, TableCell, TableColumns},
    registry::Selected,
    store::{Answer, Schema, column_names},
};
use nowthen_protocol::Reply;
use std::ops::Range;

/// A batch is written once it has so many cells, or values of so many bytes.
const BATCH_CELLS: usize = 64 * 1024;
const BATCH_BYTES: usize = 16 << 20;

/// What is asked of the table besides its rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableOptions {
    pub(super) at: Option<Timestamp>,
    pub(super) with_status: bool,
    pub(super) with_time: bool,
}

/// Writes the stream for `rows`, which have a value per join key.
pub(super) fn write_arrow(
    ctx: &mut Context<'_>,
    schema: &Schema,
    request: &FeatureRequest,
    join_keys: &[&str],
    rows: &Rows<'_>,
    options: TableOptions,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let keys = key_columns(schema, request, join_keys);
    let parts = |row: KeyRow<'_>| -> Result<Vec<KeyPart>> {
        let texts =
            keys.iter().enumerate().filter_map(|(column, key)| Some((row.get(column)?, key)));
        texts.map(|(text, join_key)| KeyPart::parse(text, join_key)).collect()
    };
    let parts: Vec<Vec<KeyPart>> = rows.iter().map(parts).collect::<Result<_>>()?;
    let table = FeatureTable::new(TableColumns {
        keys: keys.iter().map(|key| (key.name.clone(), key.key_type)).collect(),
        features: feature_columns(&request.features, join_keys),
        with_status: options.with_status,
        with_time: options.with_time,
    })?;
    let bytes_max = ctx.app.settings.reply_bytes_max.bytes();
    let width = request.width();
    let mut batches =
        Batches { table, parts, bytes_max, width, answers: Vec::new(), written: 0, bytes: 0 };
    if let Some(at) = options.at {
        for answers in request.rows_at(&ctx.app.store, schema, rows, at)? {
            batches.push(answers, 0)?;
        }
    } else {
        let (seen, now) = (ctx.seen(), ctx.now);
        let (key, mut fetched) = (&mut ctx.session.key, 0);
        for (index, row) in rows.iter().enumerate() {
            if index == fetched {
                fetched += request.fetch(ctx.keyspace, rows.iter_from(index), key);
            }
            let when = (now, seen);
            let (answers, bytes) = request.answers(ctx.keyspace, row, when, key, bytes_max)?;
            batches.push(answers, bytes)?;
        }
    }
    reply.bulk(&batches.finish()?);
    Ok(())
}

/// The columns of the join keys: as the entities of the request declare them, or else all entities
/// that have a join key of the name. What nobody declares, or two differently, is text.
fn key_columns(schema: &Schema, request: &FeatureRequest, join_keys: &[&str]) -> Vec<JoinKey> {
    let asked: Vec<&Entity> = request.entities().map(|(entity, _)| entity.as_ref()).collect();
    let all: Vec<&Entity> = schema.catalog.entities().map(AsRef::as_ref).collect();
    let key = |name: &&str| {
        let declared = declared_type(&asked, name).or_else(|| declared_type(&all, name));
        JoinKey { name: (*name).to_owned(), key_type: declared.unwrap_or(KeyType::String) }
    };
    join_keys.iter().map(key).collect()
}

/// The type of the join key of that name; `None` if no entity has one.
fn declared_type(entities: &[&Entity], name: &str) -> Option<KeyType> {
    let join_keys = entities.iter().flat_map(|entity| &entity.join_keys);
    let types = join_keys.filter(|key| key.name == name).map(|key| key.key_type);
    types.reduce(|a, b| if a == b { a } else { KeyType::String })
}

/// Names as in a training set, and `view__feature` where a join key has the short name.
fn feature_columns(features: &[Selected], join_keys: &[&str]) -> Vec<(String, ValueType)> {
    let names = column_names(features, false).into_iter().zip(column_names(features, true));
    let named = features.iter().zip(names);
    let column = |(selected, (short, full)): (&Selected, (String, String))| {
        let feature = selected.view.features.get(selected.feature)?;
        let name = if join_keys.contains(&short.as_str()) { full } else { short };
        Some((name, feature.value_type))
    };
    named.filter_map(column).collect()
}

/// Rows on their way into the table.
struct Batches {
    table: FeatureTable,
    /// The keys of all rows.
    parts: Vec<Vec<KeyPart>>,
    bytes_max: usize,
    /// The cells of a row.
    width: usize,
    /// The rows of the next batch, and the bytes of their values.
    answers: Vec<Vec<Answer>>,
    bytes: usize,
    /// How many rows stand in the table.
    written: usize,
}

impl Batches {
    fn push(&mut self, answers: Vec<Answer>, bytes: usize) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.answers.push(answers);
        let cells = self.answers.len().saturating_mul(self.width);
        if cells >= BATCH_CELLS || self.bytes >= BATCH_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        let rows: Range<usize> = self.written..self.written + self.answers.len();
        let keys = self.parts.get(rows.clone()).unwrap_or_default();
        let cell = |row: usize, feature: usize| -> TableCell<'_> {
            let answer = self.answers.get(row).and_then(|answers| answers.get(feature));
            let answer = answer.unwrap_or(&Answer::NOTHING);
            (answer.value.as_ref(), answer.status, answer.event)
        };
        self.table.write(keys, cell)?;
        if self.table.bytes() > self.bytes_max {
            return Err(too_long());
        }
        self.written = rows.end;
        self.answers.clear();
        self.bytes = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        if !self.answers.is_empty() {
            self.write()?;
        }
        self.table.finish()
    }
}
