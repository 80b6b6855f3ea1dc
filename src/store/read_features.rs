//! Reading features as of now: a plan to values.

use super::{
    plan_cell::PlanCell,
    read_plan::{ReadPlan, Stretch},
};
use crate::{
    feature::{Scalar, Status, Timestamp, Ttl, Value, status_at},
    online::{Body, CellState, EntityRow, Layout, Row, Section, ValueRef},
};
use std::sync::Arc;

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

impl PlanCell {
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
    /// Whose section is open.
    opened_for: Option<(&'p Arc<Layout>, Option<Ttl>)>,
    opened: Opened<'r>,
}

/// What stands of a view, and what that means at the time of the read.
#[derive(Debug, Default)]
struct Opened<'r> {
    section: Option<Section<'r>>,
    /// The event timestamp of all cells and the status of one with a value, unless cells differ.
    shared: Option<(Timestamp, Status)>,
}

impl<'r, 'p> RowReader<'r, 'p> {
    /// A reader of `row` at `now`.
    pub fn new(row: EntityRow<'r>, now: Timestamp) -> Self {
        Self { row, now, opened_for: None, opened: Opened::default() }
    }

    /// Calls `visit` with what the row shows of each cell of `plan`, in order.
    #[inline]
    pub fn read_all(&mut self, plan: &'p ReadPlan, mut visit: impl FnMut(FeatureRead<'r>)) {
        for (stretch, cells) in plan.stretches() {
            self.read_stretch(stretch, cells, &mut visit);
        }
    }

    /// The same of one stretch of a plan.
    #[inline]
    pub fn read_stretch(
        &mut self,
        stretch: &Stretch,
        cells: &'p [Option<PlanCell>],
        mut visit: impl FnMut(FeatureRead<'r>),
    ) {
        let whole = self.whole(stretch, cells);
        for cell in cells {
            visit(match (&whole, cell) {
                (Some((section, event)), Some(cell)) => {
                    let value = section.value(&cell.layout, cell.slot);
                    FeatureRead { status: Status::Present, value, event: Some(*event) }
                }
                (None, Some(cell)) => self.read(cell),
                (_, None) => FeatureRead::NOT_FOUND,
            });
        }
    }

    /// Of how many cells of `plan` the row shows no value.
    pub(super) fn count_absent(&mut self, plan: &'p ReadPlan) -> usize {
        let mut count = 0;
        for (stretch, cells) in plan.stretches() {
            if self.whole(stretch, cells).is_none() {
                let mut is_absent = |cell: &&'p PlanCell| self.read(cell).status != Status::Present;
                count += cells.iter().flatten().filter(&mut is_absent).count();
            }
        }
        count
    }

    /// The bytes of the floats of a stretch, little-endian and in order, those that stand side by
    /// side in one piece; `None` if not all of them are present, or are no floats of this type.
    #[inline]
    pub fn floats<'s>(
        &mut self,
        stretch: &'s Stretch,
        cells: &'p [Option<PlanCell>],
        scalar: Scalar,
    ) -> Option<impl Iterator<Item = &'r [u8]> + use<'r, 's>> {
        if stretch.floats != Some(scalar) {
            return None;
        }
        let (section, _) = self.whole(stretch, cells)?;
        section.fixed(&stretch.runs)
    }

    /// What stands of the view of a stretch, and when it was true, if all of it is present.
    #[inline]
    fn whole(
        &mut self,
        stretch: &Stretch,
        cells: &'p [Option<PlanCell>],
    ) -> Option<(Section<'r>, Timestamp)> {
        let opened = self.opened(cells.first()?.as_ref()?);
        let section = opened.section.filter(|it| it.has_all_values(stretch.slots_end))?;
        let (event, status) = opened.shared?;
        (status == Status::Present).then_some((section, event))
    }

    /// What the row shows of this feature: see [`PlanCell::read`]. Inlined: a call would cost as
    /// much as the read.
    #[inline(always)]
    pub fn read(&mut self, cell: &'p PlanCell) -> FeatureRead<'r> {
        let now = self.now;
        let opened = self.opened(cell);
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

    /// What stands of the view of a cell, which mostly is that of the cell before.
    #[inline]
    fn opened(&mut self, cell: &'p PlanCell) -> &Opened<'r> {
        let is_open = self
            .opened_for
            .is_some_and(|(layout, ttl)| Arc::ptr_eq(layout, &cell.layout) && ttl == cell.ttl);
        if !is_open {
            self.open(cell);
        }
        &self.opened
    }

    #[inline(never)]
    fn open(&mut self, cell: &'p PlanCell) {
        let section = self.row.section(&cell.layout);
        let shared = section
            .as_ref()
            .and_then(Section::shared_stamp)
            .map(|stamp| (stamp.event, status_of(stamp.event, false, self.now, cell.ttl)));
        self.opened = Opened { section, shared };
        self.opened_for = Some((&cell.layout, cell.ttl));
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

#[cfg(test)]
mod tests {
    use super::{super::schema::Schema, *};
    use crate::{
        feature::{CellWrite, CellsWrite, Origin, Stamp},
        online::Merge,
        registry::{Catalog, DefinitionFile, parse_repository},
    };
    use proptest::{
        collection::{btree_map, vec},
        prelude::*,
    };
    use std::collections::BTreeMap;

    const DEFINITIONS: &str = r#"
[entity.user]
join_keys = { id = "int64" }
[view.v]
entity = "user"
ttl = "30s"
features = { a = "float64", b = "float64", c = "int64", d = "float64", e = "string" }
[view.w]
entity = "user"
features = { p = "float32", q = "float64", r = "float32", s = "float64[2]", t = "float32" }
"#;
    const NAMES: [&str; 11] = ["a", "b", "c", "d", "e", "p", "q", "r", "s", "t", "nobody"];

    fn schema() -> Schema {
        let file = DefinitionFile { path: "test".into(), text: DEFINITIONS.into() };
        let definitions = parse_repository(&[file]).unwrap();
        Schema::new(Catalog::empty().apply(&definitions, Timestamp(1)).unwrap())
    }

    fn plan(schema: &Schema, names: &[usize]) -> ReadPlan {
        let entity = schema.catalog.entity("user").unwrap();
        schema.plan(entity, names.iter().map(|name| NAMES[*name].as_bytes()))
    }

    /// The body of a row after one more write of these cells.
    fn written(
        schema: &Schema,
        body: &[u8],
        event: Timestamp,
        cells: &BTreeMap<usize, u8>,
    ) -> Vec<u8> {
        let mut body = body.to_vec();
        let plan = plan(schema, &cells.keys().copied().collect::<Vec<_>>());
        for view in schema.catalog.views() {
            let cells = plan.cells.iter().flatten().zip(cells.values());
            let mut cells: Vec<_> = cells
                .filter(|(cell, _)| cell.view.id == view.id)
                .map(|(cell, kind)| {
                    let text =
                        if cell.float().is_some() { format!("{kind}.5") } else { "7".into() };
                    let text = text.as_bytes();
                    let value = cell.parse(text).or_else(|_| cell.parse(b"[1.5,-2]")).unwrap();
                    let written = match kind {
                        0 => CellWrite::Null,
                        1 => CellWrite::Tombstone,
                        _ => CellWrite::Value(value),
                    };
                    (cell.feature_slot(), written)
                })
                .collect();
            cells.sort_unstable_by_key(|(slot, _)| *slot);
            let layout = schema.layout(view.id, view.generation).unwrap();
            let write = CellsWrite {
                key: b"user:1".to_vec(),
                view: view.id,
                generation: view.generation,
                stamp: Stamp::new(event, Some(event)),
                origin: Origin::Pushed,
                cells,
            };
            if let Merge::Changed(changed) = EntityRow::new(&body).merge(layout, &write) {
                body = changed;
            }
        }
        body
    }

    fn told(read: FeatureRead<'_>) -> Answer {
        let value = read.value.and_then(ValueRef::to_value);
        Answer { value, status: read.status, event: read.event }
    }

    fn float_bytes(answer: &Answer) -> Option<Vec<u8>> {
        match answer.value {
            Some(Value::Float64(float)) => Some(float.to_le_bytes().to_vec()),
            Some(Value::Float32(float)) => Some(float.to_le_bytes().to_vec()),
            _ => None,
        }
    }

    proptest! {
        /// The slow way is the standard: each feature on its own.
        #[test]
        fn features_read_together_are_those_read_alone(
            writes in vec((0_i64..60, btree_map(0_usize..10, 0_u8..9, 0..11)), 0..5),
            is_whole: bool,
            names in vec(0_usize..11, 0..20),
            now_s in 0_i64..90,
        ) {
            let schema = schema();
            let mut body = Vec::new();
            if is_whole {
                body = written(&schema, &body, Timestamp(0), &(0..10).map(|it| (it, 7)).collect());
            }
            for (event_s, cells) in &writes {
                body = written(&schema, &body, Timestamp(event_s * 1_000_000), cells);
            }
            let (row, now) = (EntityRow::new(&body), Timestamp(now_s * 1_000_000));
            let plan = plan(&schema, &names);
            let alone = |cell: &Option<PlanCell>| {
                told(cell.as_ref().map_or(FeatureRead::NOT_FOUND, |cell| cell.read(row, now)))
            };
            let alone: Vec<Answer> = plan.cells.iter().map(alone).collect();
            let mut together = Vec::new();
            let mut reader = RowReader::new(row, now);
            reader.read_all(&plan, |read| together.push(told(read)));
            prop_assert_eq!(&together, &alone);

            for (stretch, cells) in plan.stretches() {
                let alone = &alone[stretch.cells.clone()];
                let wanted: Option<Vec<Vec<u8>>> = alone.iter().map(float_bytes).collect();
                let float = [(Scalar::Float64, 8), (Scalar::Float32, 4)].into_iter();
                let mut floats = float.filter_map(|(scalar, bytes)| {
                    let floats = reader.floats(stretch, cells, scalar)?;
                    let floats = floats.flat_map(|run| run.chunks_exact(bytes).map(<[u8]>::to_vec));
                    Some(floats.collect::<Vec<_>>())
                });
                let floats = floats.next();
                // Side by side only where nothing but values of one time stands.
                prop_assert!(floats.is_none() || floats == wanted);
                let is_plain = is_whole && writes.iter().all(|(_, cells)| cells.is_empty());
                prop_assert!(!is_plain || floats.is_some() == wanted.is_some());
            }
        }
    }

    #[test]
    fn a_stretch_ends_where_the_view_or_the_type_of_the_floats_does() {
        let schema = schema();
        let lengths = |names: &[usize]| -> Vec<usize> {
            plan(&schema, names).stretches().map(|(_, cells)| cells.len()).collect()
        };
        assert_eq!(lengths(&[0, 1, 3, 0]), [4]);
        assert_eq!(lengths(&[0, 2, 4, 1]), [1, 2, 1]);
        assert_eq!(lengths(&[5, 7, 9, 6, 8]), [3, 1, 1]);
        assert_eq!(lengths(&[0, 6, 10, 10, 3]), [1, 1, 2, 1]);
        assert!(lengths(&[]).is_empty());
    }
}
