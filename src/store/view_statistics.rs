//! What stands online of a view, in numbers: counted as a read meets it, step by step, so that no
//! lock is held for long.

use super::{keyspace::Keyspace, plan_cell::PlanCell, read_features::entity_row, schema::Schema};
use crate::{
    feature::{Scalar, Status, Timestamp, Value, ValueType, View},
    online::{Row, Seen},
    stats::Distinct,
};
use std::sync::Arc;

/// So many cells are looked at under one lock.
const STEP_CELLS: usize = 16 * 1024;
/// So many rows at least and at most: a step sorts the keys of a shard.
const STEP_ROWS: (usize, usize) = (16, 1024);
/// So many hashes are kept of each feature, and so many of all together unless that is too few.
const HASHES_KEPT: usize = 1024;
const HASHES_KEPT_OF_ALL: usize = 1024 * 1024;
const HASHES_KEPT_MIN: usize = 64;

/// The types whose least, greatest and mean are told.
const NUMBERS: [ValueType; 4] = [
    ValueType::Scalar(Scalar::Int32),
    ValueType::Scalar(Scalar::Int64),
    ValueType::Scalar(Scalar::Float32),
    ValueType::Scalar(Scalar::Float64),
];

/// The figures of a view.
#[derive(Clone, Debug)]
pub struct ViewStatistics {
    /// The entities that have a cell of it, be it null or older than its TTL.
    pub entities: u64,
    /// The oldest and the newest event among all cells.
    pub events: Option<(Timestamp, Timestamp)>,
    /// The figures of its features, in their order.
    pub features: Vec<FeatureStatistics>,
}

/// The figures of one feature.
#[derive(Clone, Debug)]
pub struct FeatureStatistics {
    /// Entities with a value that may be seen.
    pub present: u64,
    /// Entities whose newest cell is null.
    pub null: u64,
    /// Entities whose newest cell is older than the TTL.
    pub expired: u64,
    /// Entities of the view without a cell of this feature.
    pub absent: u64,
    /// The oldest and the newest event among the cells.
    pub events: Option<(Timestamp, Timestamp)>,
    /// Of values that may be seen and are numbers; `None` if there is none.
    pub numbers: Option<Numbers>,
    /// How many values that may be seen are infinite or no number.
    pub not_finite: u64,
    /// How many values that may be seen differ in their bytes.
    pub distinct: Distinct,
}

/// Least, greatest and mean of numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Numbers {
    /// Of whole numbers.
    Whole {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
        /// Their sum.
        sum: i128,
        /// How many they are, more than none.
        count: u64,
    },
    /// Of finite numbers with a fraction.
    Float {
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
        /// The mean: kept as such, since a sum might be too large.
        mean: f64,
        /// How many they are, more than none.
        count: u64,
    },
}

impl Numbers {
    /// The mean.
    pub fn mean(self) -> f64 {
        match self {
            Self::Whole { sum, count, .. } => sum as f64 / count as f64,
            Self::Float { mean, .. } => mean,
        }
    }

    fn with_whole(before: Option<Self>, value: i64) -> Self {
        match before {
            Some(Self::Whole { min, max, sum, count }) => Self::Whole {
                min: min.min(value),
                max: max.max(value),
                sum: sum.saturating_add(i128::from(value)),
                count: count + 1,
            },
            _ => Self::Whole { min: value, max: value, sum: i128::from(value), count: 1 },
        }
    }

    fn with_float(before: Option<Self>, value: f64) -> Self {
        match before {
            Some(Self::Float { min, max, mean, count }) => {
                let count = count + 1;
                let mean = mean + (value / count as f64 - mean / count as f64);
                Self::Float { min: min.min(value), max: max.max(value), mean, count }
            }
            _ => Self::Float { min: value, max: value, mean: value, count: 1 },
        }
    }
}

impl Keyspace<'_> {
    /// Counts what stands of `view`, an entity as it stands when it is met.
    pub fn view_statistics(
        self,
        schema: &Schema,
        view: &Arc<View>,
        seen: Seen,
        now: Timestamp,
    ) -> ViewStatistics {
        let features = view.features.len().max(1);
        let (least, most) = STEP_ROWS;
        let step_rows = (STEP_CELLS / features).clamp(least, most);
        self.view_statistics_by(step_rows, schema, view, seen, now)
    }

    pub(super) fn view_statistics_by(
        self,
        step_rows: usize,
        schema: &Schema,
        view: &Arc<View>,
        seen: Seen,
        now: Timestamp,
    ) -> ViewStatistics {
        let cells = view.features.iter().map(|feature| schema.plan_cell(view, feature.slot));
        let cells: Vec<PlanCell> = cells.flatten().collect();
        let kept = HASHES_KEPT_OF_ALL / cells.len().max(1);
        let mut statistics = ViewStatistics::empty(cells.len(), kept);
        let mut cursor = 0;
        loop {
            let step = self.scan(cursor, step_rows, seen, |row| {
                statistics.add_row(row, &cells, now, |bytes| self.hash(bytes));
            });
            cursor = step.cursor;
            if cursor == 0 {
                return statistics.whole();
            }
        }
    }
}

impl ViewStatistics {
    fn empty(features: usize, hashes_kept: usize) -> Self {
        let feature = FeatureStatistics {
            present: 0,
            null: 0,
            expired: 0,
            absent: 0,
            events: None,
            numbers: None,
            not_finite: 0,
            distinct: Distinct::new(hashes_kept.clamp(HASHES_KEPT_MIN, HASHES_KEPT)),
        };
        Self { entities: 0, events: None, features: vec![feature; features] }
    }

    fn add_row(
        &mut self,
        row: Row<'_>,
        cells: &[PlanCell],
        now: Timestamp,
        hash: impl Fn(&[u8]) -> u64,
    ) {
        let row = entity_row(Some(row));
        let mut has_cell = false;
        for (cell, feature) in cells.iter().zip(&mut self.features) {
            let read = cell.read(row, now);
            has_cell |= read.status != Status::NotFound;
            feature.events = joined(feature.events, read.event.map(|event| (event, event)));
            match read.status {
                Status::Present => feature.present += 1,
                Status::NullValue => feature.null += 1,
                Status::OutsideMaxAge => feature.expired += 1,
                Status::NotFound => {}
            }
            if let Some(value) = read.value {
                feature.distinct.add(value.with_wide_bytes(&hash));
                if NUMBERS.contains(&value.value_type()) {
                    feature.add_number(value.to_value().as_ref());
                }
            }
        }
        self.entities += u64::from(has_cell);
    }

    /// What follows from the rest.
    fn whole(mut self) -> Self {
        for feature in &mut self.features {
            feature.absent = self.entities - feature.present - feature.null - feature.expired;
            self.events = joined(self.events, feature.events);
        }
        self
    }
}

impl FeatureStatistics {
    fn add_number(&mut self, value: Option<&Value>) {
        let float = match value {
            Some(Value::Int32(value)) => {
                return self.numbers = Some(Numbers::with_whole(self.numbers, i64::from(*value)));
            }
            Some(Value::Int64(value)) => {
                return self.numbers = Some(Numbers::with_whole(self.numbers, *value));
            }
            Some(Value::Float32(value)) => f64::from(*value),
            Some(Value::Float64(value)) => *value,
            _ => return,
        };
        if float.is_finite() {
            self.numbers = Some(Numbers::with_float(self.numbers, float));
        } else {
            self.not_finite += 1;
        }
    }
}

type Events = Option<(Timestamp, Timestamp)>;

fn joined(a: Events, b: Events) -> Events {
    match (a, b) {
        (Some((a_first, a_last)), Some((b_first, b_last))) => {
            Some((a_first.min(b_first), a_last.max(b_last)))
        }
        (a, b) => a.or(b),
    }
}
