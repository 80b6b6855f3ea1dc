//! Names to a plan: where the features that a request names stand in the rows of an entity.

use super::{
    plan_cell::{CellPlace, NamedCell, PlanCell},
    schema::Schema,
};
use crate::{
    feature::{Entity, Scalar, View},
    online::{CellState, EntityRow},
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

/// A list of features, resolved: made once per list and catalog, used for every key.
#[derive(Clone, Debug, Default)]
pub struct ReadPlan {
    /// A place per name, in the order asked; `None` for a name that no view has.
    pub cells: Vec<Option<PlanCell>>,
    /// How many names no view has.
    pub unknown_names: usize,
    /// Whether no two of the names mean one cell.
    pub(super) is_distinct: bool,
    /// All of the cells, in order.
    stretches: Vec<Stretch>,
}

/// Cells that follow each other and have so much in common that it is looked at once a row.
#[derive(Clone, Debug)]
pub struct Stretch {
    /// Which ones, of `ReadPlan::cells`: all of one view, or of none.
    pub cells: Range<usize>,
    /// They are all floats of this type.
    pub floats: Option<Scalar>,
    /// Of floats, where those that follow each other stand among the values of fixed width.
    pub(super) runs: Vec<Range<u32>>,
    /// One more than the highest slot.
    pub(super) slots_end: u32,
}

impl ReadPlan {
    /// A plan of these cells.
    pub fn new(cells: Vec<Option<PlanCell>>) -> Self {
        let unknown_names = cells.iter().filter(|cell| cell.is_none()).count();
        let mut places: Vec<CellPlace> = cells.iter().flatten().map(PlanCell::place).collect();
        places.sort_unstable();
        let is_distinct = places.is_sorted_by(|a, b| a < b);
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut before = &None;
        for (index, cell) in cells.iter().enumerate() {
            let is_like_before = match (before, cell) {
                (Some(before), Some(cell)) => PlanCell::is_like(before, cell),
                (before, cell) => before.is_none() && cell.is_none(),
            };
            match stretches.last_mut().filter(|_| is_like_before) {
                Some(last) => last.cells.end = index + 1,
                None => stretches.push(Stretch::of(index..index + 1)),
            }
            before = cell;
        }
        for stretch in &mut stretches {
            let cells = cells.get(stretch.cells.clone()).unwrap_or_default();
            stretch.note(cells.iter().flatten());
        }
        Self { cells, unknown_names, is_distinct, stretches }
    }

    /// The plan of the same cells, each of them once.
    pub(super) fn distinct(&self) -> Cow<'_, Self> {
        if self.is_distinct {
            return Cow::Borrowed(self);
        }
        let cells = self.cells.iter().flatten().map(|cell| (cell.place(), cell.clone()));
        let cells: BTreeMap<CellPlace, PlanCell> = cells.collect();
        Cow::Owned(Self::new(cells.into_values().map(Some).collect()))
    }

    /// The cells of the plan, stretch by stretch.
    pub fn stretches(&self) -> impl Iterator<Item = (&Stretch, &[Option<PlanCell>])> {
        let cells = |stretch: &Stretch| self.cells.get(stretch.cells.clone()).unwrap_or_default();
        self.stretches.iter().map(move |stretch| (stretch, cells(stretch)))
    }
}

impl Stretch {
    fn of(cells: Range<usize>) -> Self {
        Self { cells, floats: None, runs: Vec::new(), slots_end: 0 }
    }

    /// Notes what `cells`, which are its own, have in common.
    fn note<'c>(&mut self, cells: impl Iterator<Item = &'c PlanCell> + Clone) {
        self.slots_end = cells.clone().map(|cell| cell.slot + 1).max().unwrap_or(0);
        self.floats = cells.clone().next().and_then(PlanCell::float);
        let Some(bytes) = self.floats.and_then(Scalar::fixed_bytes) else { return };
        for start in cells.filter_map(|cell| cell.layout.fixed_offset(cell.slot)) {
            let end = start.saturating_add(bytes as u32);
            match self.runs.last_mut().filter(|run| run.end == start) {
                Some(run) => run.end = end,
                None => self.runs.push(start..end),
            }
        }
    }
}

impl Schema {
    /// Resolves names of features of `entity`: `feature`, `view:feature`, `view@version:feature`.
    pub fn plan<'n>(&self, entity: &Entity, names: impl IntoIterator<Item = &'n [u8]>) -> ReadPlan {
        let cell = |name| {
            let found = self.catalog.resolve_feature(entity.id, name)?;
            self.plan_cell(found.view, found.feature.slot)
        };
        ReadPlan::new(names.into_iter().map(cell).collect())
    }

    /// Every feature that `entity` has: made once.
    pub fn plan_all(&self, entity: &Entity) -> &[NamedCell] {
        let all = self.all.get(&entity.id);
        all.map_or(&[], |all| all.get_or_init(|| self.plan_all_anew(entity)))
    }

    fn plan_all_anew(&self, entity: &Entity) -> Vec<NamedCell> {
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

    /// Every place of the newest generations of the views that `entity` ever had: of those that
    /// wait for their data, and of those that were dropped and may come again, with features that
    /// may.
    pub(super) fn places_ever(&self, entity: &Entity) -> impl Iterator<Item = CellPlace> {
        let views = self.catalog.views_ever_of(entity.id);
        let layouts = views.filter_map(|view| self.layout(view.id, view.generation));
        layouts.flat_map(|layout| {
            let slots = 0..layout.slot_count() as u32;
            slots.map(|slot| (layout.view, layout.generation, slot))
        })
    }

    /// The places of these cells, and those of the same features in generations that wait for their
    /// data: what is deleted must not come back when these serve. None if nothing stands in any of
    /// them; what TTL hides stands, or an older cell of a source could come back.
    pub(super) fn places_to_delete(
        &self,
        cells: &BTreeMap<CellPlace, PlanCell>,
        row: EntityRow<'_>,
    ) -> BTreeSet<CellPlace> {
        let filling = cells.values().filter_map(|cell| self.filling_cell(cell));
        let places = cells.keys().copied().chain(filling.map(|cell| cell.place()));
        let places: BTreeSet<CellPlace> = places.collect();
        let stands = |(view, generation, slot): &CellPlace| {
            let section = self.layout(*view, *generation).and_then(|layout| row.section(layout));
            section.is_some_and(|section| stands(section.state(*slot)))
        };
        if places.iter().any(stands) { places } else { BTreeSet::new() }
    }

    /// The feature of `cell`, which serves, in the generation that waits for its data.
    fn filling_cell(&self, cell: &PlanCell) -> Option<PlanCell> {
        let view = &cell.view;
        let filling = self.catalog.filling(&view.name)?;
        let serving = self.catalog.view_by_id(view.id)?;
        let is_serving = serving.generation == view.generation && filling.entity == view.entity;
        let feature = filling.feature(&view.features.get(cell.feature)?.name)?;
        self.plan_cell(filling, feature.slot).filter(|_| is_serving)
    }

    /// Where a value or a null stands in a row, of whatever generation and view.
    pub(super) fn standing_places(&self, row: EntityRow<'_>) -> BTreeSet<CellPlace> {
        let layouts = row.views().filter_map(|(view, generation)| self.layout(view, generation));
        let places = layouts.flat_map(|layout| {
            let section = row.section(layout);
            let slots = 0..layout.slot_count() as u32;
            slots.filter_map(move |slot| {
                let state = section.as_ref()?.state(slot);
                stands(state).then_some((layout.view, layout.generation, slot))
            })
        });
        places.collect()
    }

    /// The place of the feature of a view that has this slot.
    pub fn plan_cell(&self, view: &Arc<View>, slot: u32) -> Option<PlanCell> {
        let layout = Arc::clone(self.layout(view.id, view.generation)?);
        let feature = view.features.iter().position(|feature| feature.slot == slot)?;
        Some(PlanCell { view: Arc::clone(view), feature, layout, slot, ttl: view.ttl })
    }
}

/// Whether something stands in a cell that may be deleted.
fn stands(state: CellState) -> bool {
    matches!(state, CellState::Value | CellState::Null)
}
