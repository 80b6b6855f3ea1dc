//! What the benches read: a view of doubles, and rows of it.

use crate::Result;
use nowthen::{
    feature::{CellWrite, CellsWrite, Entity, Origin, PlainChange, Stamp, Timestamp, Value},
    online::{Edit, Layout, Row, Seen, Table},
    registry::{Catalog, DefinitionFile, parse_repository},
    store::Schema,
};
use serde_bytes::ByteBuf;
use std::{fmt::Write, sync::Arc};

pub(crate) const NOW: Timestamp = Timestamp(1_750_000_000_000_000);
/// Any other gives other hashes, and the same work.
const SEED: [u64; 4] = [1, 2, 3, 4];
/// Shares no divisor with any width here: each feature is met once, and not in order.
const STEP: usize = 31;

/// A registered entity with so many features.
pub(crate) struct Wide {
    pub(crate) schema: Arc<Schema>,
    pub(crate) entity: Entity,
    pub(crate) layout: Arc<Layout>,
    pub(crate) features: usize,
}

impl Wide {
    pub(crate) fn new(features: usize) -> Result<Self> {
        let mut text = String::from(
            "[entity.user]\njoin_keys = { id = \"int64\" }\n\n\
             [view.wide]\nentity = \"user\"\n\n[view.wide.features]\n",
        );
        for feature in 0..features {
            writeln!(text, "{} = \"float64\"", name(feature))?;
        }
        let file = DefinitionFile { path: "bench".into(), text };
        let catalog = Catalog::empty().apply(&parse_repository(&[file])?, Timestamp(1))?;
        let schema = Arc::new(Schema::new(catalog));
        let entity = schema.catalog.entity("user").ok_or("no entity")?.as_ref().clone();
        let view = schema.catalog.view("wide").ok_or("no view")?;
        let layout = schema.layout(view.id, view.generation).ok_or("no layout")?.clone();
        Ok(Self { schema, entity, layout, features })
    }

    /// A table with so many entities, each with all its features.
    pub(crate) fn table(&self, entities: usize) -> Table {
        let table = Table::new(SEED);
        for entity in 0..entities {
            let cells = (0..self.features).map(|feature| {
                let value = Value::Float64(number(entity * self.features + feature));
                (feature as u32, CellWrite::Value(value))
            });
            let write = CellsWrite {
                key: key(entity).into_bytes(),
                view: self.layout.view,
                generation: self.layout.generation,
                stamp: Stamp::new(Timestamp(2), None),
                origin: Origin::Pushed,
                cells: cells.collect(),
            };
            table.apply(1, Edit::Cells(&self.layout, &write));
        }
        table
    }
}

/// A table with plain hashes of the same fields; the one of [`key`] 0 is written last.
pub(crate) fn plain_table(hashes: usize, fields: usize) -> Table {
    let table = Table::new(SEED);
    let field = |index| (ByteBuf::from(name(index)), ByteBuf::from(number(index).to_string()));
    let change = PlainChange::SetFields((0..fields).map(field).collect());
    for entity in (0..hashes).rev() {
        table.apply(1, Edit::Plain(key(entity).as_bytes(), &change));
    }
    table
}

/// The row of [`key`] 0, given to `read`.
pub(crate) fn with_first_row(
    table: &Table,
    read: impl FnOnce(Row<'_>) -> Result<()>,
) -> Result<()> {
    let found = table.read(key(0).as_bytes(), Seen::Published, |row| row.map(read));
    found.unwrap_or_else(|| Err("there is no row".into()))
}

pub(crate) fn key(entity: usize) -> String {
    format!("user:{}", 1_000_000 + entity)
}

pub(crate) fn name(feature: usize) -> String {
    format!("f{feature}")
}

/// Every feature once, in the order of a model.
pub(crate) fn order(features: usize) -> impl Iterator<Item = usize> + Clone {
    (0..features).map(move |index| index * STEP % features)
}

/// Doubles as aggregates are: half with four decimals, half with all digits.
pub(crate) fn number(index: usize) -> f64 {
    let random = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    match index % 2 {
        0 => (random % 10_000_000) as f64 / 10_000.0,
        _ => (random >> 11) as f64 / (1u64 << 53) as f64,
    }
}
