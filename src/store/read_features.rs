//! Reading features as of now: names to a plan, a plan to values.

use super::schema::Schema;
use crate::{
    feature::{Entity, Status, Timestamp, Ttl, Value, View, ViewId, status_at},
    online::{Body, CellState, EntityRow, Layout, Row, Section, ValueRef},
};
use std::sync::Arc;

/// A list of features, resolved: made once per list and catalog, used for every key.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    /// A place per name, in the order asked; `None` for a name that no view has.
    pub cells: Vec<Option<PlanCell>>,
    /// How many names no view has.
    pub unknown_names: usize,
}

/// Where a feature stands and how long it may be seen.
#[derive(Clone, Debug)]
pub struct PlanCell {
    /// Its view, as it serves.
    pub view: Arc<View>,
    /// Its place in `view.features`.
    pub feature: usize,
    layout: Arc<Layout>,
    slot: u32,
    ttl: Option<Ttl>,
}

/// View, generation and slot.
pub(super) type CellPlace = (ViewId, u32, u32);

/// What a read of one feature met.
#[derive(Clone, Copy, Debug)]
pub struct FeatureRead<'a> {
    /// Which case.
    pub status: Status,
    /// The value, if it is present.
    pub value: Option<ValueRef<'a>>,
    /// The event timestamp of the newest cell, whether it may be seen or not.
    pub event: Option<Timestamp>,
}

/// What a read of one feature met, on its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The value, if it is present.
    pub value: Option<Value>,
    /// Which case.
    pub status: Status,
    /// The event timestamp of the newest cell, whether it may be seen or not.
    pub event: Option<Timestamp>,
}

impl Answer {
    /// No cell.
    pub const NOTHING: Self = Self { value: None, status: Status::NotFound, event: None };
}

impl FeatureRead<'_> {
    pub(super) const NOT_FOUND: Self = Self { status: Status::NotFound, value: None, event: None };
}

impl Schema {
    /// Resolves names of features of `entity`: `feature`, `view:feature`, `view@version:feature`.
    pub fn plan<'n>(&self, entity: &Entity, names: impl IntoIterator<Item = &'n [u8]>) -> ReadPlan {
        let cell = |name| {
            let found = self.catalog.resolve_feature(entity.id, name)?;
            self.plan_cell(found.view, found.feature.slot)
        };
        let cells: Vec<_> = names.into_iter().map(cell).collect();
        let unknown_names = cells.iter().filter(|cell| cell.is_none()).count();
        ReadPlan { cells, unknown_names }
    }

    /// Every feature that `entity` has, each with the name a client reads it by.
    pub fn plan_all(&self, entity: &Entity) -> Vec<(String, PlanCell)> {
        let mut all = Vec::new();
        for view in self.catalog.views_of(entity.id) {
            for feature in &view.features {
                let short = self.catalog.resolve_feature(entity.id, feature.name.as_bytes());
                let name = match short {
                    Some(_) => feature.name.clone(),
                    None => format!("{}:{}", view.name, feature.name),
                };
                all.extend(self.plan_cell(view, feature.slot).map(|cell| (name, cell)));
            }
        }
        all
    }

    /// Every feature of the generations that wait for their data.
    pub(super) fn plan_filling(&self, entity: &Entity) -> Vec<PlanCell> {
        let serving = self.catalog.views_of(entity.id).iter();
        let filling = serving.filter_map(|view| self.catalog.filling(&view.name));
        let of_entity = filling.filter(|view| view.entity == entity.id);
        let cells = |view: &Arc<View>| -> Vec<PlanCell> {
            view.features.iter().filter_map(|f| self.plan_cell(view, f.slot)).collect()
        };
        of_entity.flat_map(cells).collect()
    }

    /// The place of the feature of a view that has this slot.
    pub fn plan_cell(&self, view: &Arc<View>, slot: u32) -> Option<PlanCell> {
        let layout = Arc::clone(self.layout(view.id, view.generation)?);
        let feature = view.features.iter().position(|feature| feature.slot == slot)?;
        Some(PlanCell { view: Arc::clone(view), feature, layout, slot, ttl: view.ttl })
    }
}

impl PlanCell {
    /// The slot it stands in.
    pub fn feature_slot(&self) -> u32 {
        self.slot
    }

    /// Where it stands in the row of an entity: an older version of a view has a generation of its
    /// own, with slots of the same numbers.
    pub(super) fn place(&self) -> CellPlace {
        (self.view.id, self.view.generation, self.slot)
    }

    /// What `row` shows of this feature at `now`. A cell in the online table has reached its time.
    pub fn read<'a>(&self, row: EntityRow<'a>, now: Timestamp) -> FeatureRead<'a> {
        RowReader::new(row, now).read(self)
    }
}

/// Reads features of one row. What the features of a view have in common is found out once, not
/// once for each, as long as they are asked for one after the other.
#[derive(Debug)]
pub struct RowReader<'r, 'p> {
    row: EntityRow<'r>,
    now: Timestamp,
    opened: Option<Opened<'r, 'p>>,
}

/// What stands of a view, and what that means at the time of the read.
#[derive(Debug)]
struct Opened<'r, 'p> {
    layout: &'p Arc<Layout>,
    ttl: Option<Ttl>,
    section: Option<Section<'r>>,
    /// The event timestamp of all cells and the status of one with a value, unless cells differ.
    shared: Option<(Timestamp, Status)>,
}

impl<'r, 'p> RowReader<'r, 'p> {
    /// A reader of `row` at `now`.
    pub fn new(row: EntityRow<'r>, now: Timestamp) -> Self {
        Self { row, now, opened: None }
    }

    /// What the row shows of this feature: see [`PlanCell::read`]. Inlined: a call would cost as
    /// much as the read.
    #[inline(always)]
    pub fn read(&mut self, cell: &'p PlanCell) -> FeatureRead<'r> {
        let now = self.now;
        let opened = match &self.opened {
            Some(opened) if Arc::ptr_eq(opened.layout, &cell.layout) && opened.ttl == cell.ttl => {
                opened
            }
            _ => self.open(cell),
        };
        let Some(section) = &opened.section else { return FeatureRead::NOT_FOUND };
        let state = section.state(cell.slot);
        if matches!(state, CellState::Absent | CellState::Tombstone) {
            return FeatureRead::NOT_FOUND;
        }
        if let (Some((event, status)), CellState::Value) = (opened.shared, state) {
            let value = match status {
                Status::Present => section.value(&cell.layout, cell.slot),
                _ => None,
            };
            return FeatureRead { status, value, event: Some(event) };
        }
        Self::read_alone(now, section, state, cell)
    }

    /// A cell that is null, or whose stamp is its own.
    #[inline(never)]
    fn read_alone(
        now: Timestamp,
        section: &Section<'r>,
        state: CellState,
        cell: &PlanCell,
    ) -> FeatureRead<'r> {
        let Some(stamp) = section.stamp(cell.slot) else { return FeatureRead::NOT_FOUND };
        let is_null = state == CellState::Null;
        let status = status_of(stamp.event, is_null, now, cell.ttl);
        let value = match status {
            Status::Present => section.value(&cell.layout, cell.slot),
            _ => None,
        };
        FeatureRead { status, value, event: Some(stamp.event) }
    }

    #[inline(never)]
    fn open(&mut self, cell: &'p PlanCell) -> &Opened<'r, 'p> {
        let section = self.row.section(&cell.layout);
        let shared = section
            .as_ref()
            .and_then(Section::shared_stamp)
            .map(|stamp| (stamp.event, status_of(stamp.event, false, self.now, cell.ttl)));
        let opened = Opened { layout: &cell.layout, ttl: cell.ttl, section, shared };
        self.opened.insert(opened)
    }
}

/// A reader that looked at the clock a moment before a writer did must not miss a cell that is in
/// the online table, so "now" is never before the event.
fn status_of(event: Timestamp, is_null: bool, now: Timestamp, ttl: Option<Ttl>) -> Status {
    status_at(Some(event), is_null, now.max(event), ttl)
}

/// The features of a row; none of a row that is not there.
pub(super) fn entity_row(row: Option<Row<'_>>) -> EntityRow<'_> {
    match row.and_then(Row::body) {
        Some(Body::Entity(row)) => row,
        _ => EntityRow::EMPTY,
    }
}
