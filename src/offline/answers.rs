//! From winners to columns: what each slot shows, and each row of the spine with it.
//!
//! Invariants
//! - What may be seen is asked of [`status_at`] and of nothing else, with the slot's own time.
//! - A tombstone that wins counts as no cell, and a null that wins stays null.

use super::{
    cells::column_of, convert::arrow_type, keys::UNKNOWN, pushed::PushedWinners, slots::Slots,
    winners::Winner,
};
use crate::{
    error::{Error, Result},
    feature::{CellWrite, Feature, Status, Timestamp, Ttl, View, status_at},
};
use arrow_array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow_select::{concat::concat, take::take};

/// How many cells of a column met what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureCounts {
    /// The column.
    pub name: String,
    /// Cells with a value.
    pub present: u64,
    /// Cells where null won.
    pub null_value: u64,
    /// Cells that the TTL hides.
    pub outside_max_age: u64,
    /// Cells that are not there.
    pub not_found: u64,
}

/// The cell that answers at a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// When it was true; `None` if there is no cell.
    event: Option<Timestamp>,
    /// Its place among the values gathered and pushed; [`UNKNOWN`] if it may not be seen.
    place: u32,
}

/// A finished column of a training set.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) array: ArrayRef,
    pub(super) counts: FeatureCounts,
    /// Per row, if asked for.
    pub(super) statuses: Vec<Status>,
    /// Per row, if asked for.
    pub(super) event_timestamps: Vec<Option<Timestamp>>,
}

/// The answers that Parquet alone gives, and the orders of the rows they stand in, ascending: an
/// answer's place is that of its row in this list.
pub(super) fn parquet_answers(
    winners: &[Winner],
    slots: &Slots,
    ttl: Option<Ttl>,
) -> (Vec<Answer>, Vec<u64>) {
    let mut answers = vec![Answer { event: None, place: UNKNOWN }; slots.len()];
    let mut visible: Vec<(u64, u32)> = Vec::new();
    for (slot, ((answer, winner), at)) in
        (0_u32..).zip(answers.iter_mut().zip(winners).zip(slots.times()))
    {
        let Some(winner) = winner.found() else { continue };
        answer.event = Some(winner.stamp.event);
        if status_at(answer.event, false, at, ttl) == Status::Present {
            visible.push((winner.order, slot));
        }
    }
    visible.sort_unstable();
    let mut wanted: Vec<u64> = Vec::new();
    for (order, slot) in visible {
        if wanted.last() != Some(&order) {
            wanted.push(order);
        }
        if let Some(answer) = answers.get_mut(slot as usize) {
            answer.place = (wanted.len() - 1) as u32;
        }
    }
    (answers, wanted)
}

/// The answers for a feature that has pushed cells, whose values stand after `gathered` others.
pub(super) fn pushed_answers(
    parquet: &[Answer],
    winners: &[Winner],
    pushed: &PushedWinners<'_>,
    gathered: usize,
    slots: &Slots,
    ttl: Option<Ttl>,
) -> Vec<Answer> {
    let mut answers = parquet.to_vec();
    for (slot, (answer, at)) in answers.iter_mut().zip(slots.times()).enumerate() {
        let Some((place, candidate)) = pushed.at(slot) else { continue };
        let winner = winners.get(slot).and_then(|winner| winner.found());
        // A pushed cell arrived after the file that has the same stamp was read.
        if winner.is_some_and(|winner| winner.stamp > candidate.stamp) {
            continue;
        }
        *answer = Answer { event: None, place: UNKNOWN };
        if *candidate.write != CellWrite::Tombstone {
            answer.event = Some(candidate.stamp.event);
            if status_at(answer.event, false, at, ttl) == Status::Present {
                answer.place = (gathered + place as usize) as u32;
            }
        }
    }
    answers
}

/// Brings the values of one feature to the rows of the spine.
pub(super) fn fill_column(
    view: &View,
    feature: &Feature,
    gathered: Option<&ArrayRef>,
    pushed: Option<&PushedWinners<'_>>,
    answers: &[Answer],
    slots: &Slots,
    with_status: bool,
) -> Result<Column> {
    let values = values_of(view, feature, gathered, pushed)?;
    let of_row = |slot: Option<usize>| slot.and_then(|slot| answers.get(slot));
    let places = slots
        .of_rows()
        .map(|slot| of_row(slot).map(|answer| answer.place).filter(|place| *place != UNKNOWN));
    let array = match &values {
        Some(values) if !values.is_empty() => take(values, &places.collect::<UInt32Array>(), None)
            .map_err(|error| too_large(view, feature, &error.to_string()))?,
        _ => new_null_array(&arrow_type(feature.value_type), places.len()),
    };
    let mut counts = FeatureCounts { name: feature.name.clone(), ..FeatureCounts::default() };
    let mut statuses = Vec::new();
    let mut event_timestamps = Vec::new();
    let nulls = array.nulls();
    let at = slots.times_of_rows();
    for (row, (slot, at)) in slots.of_rows().zip(at).enumerate() {
        let event = of_row(slot).and_then(|answer| answer.event);
        let is_null = nulls.is_some_and(|nulls| nulls.is_null(row));
        let status = status_at(event, is_null, at, view.ttl);
        match status {
            Status::Present => counts.present += 1,
            Status::NullValue => counts.null_value += 1,
            Status::OutsideMaxAge => counts.outside_max_age += 1,
            Status::NotFound => counts.not_found += 1,
        }
        if with_status {
            statuses.push(status);
            event_timestamps.push(event);
        }
    }
    Ok(Column { array, counts, statuses, event_timestamps })
}

/// The gathered values, then the pushed ones.
fn values_of(
    view: &View,
    feature: &Feature,
    gathered: Option<&ArrayRef>,
    pushed: Option<&PushedWinners<'_>>,
) -> Result<Option<ArrayRef>> {
    let Some(pushed) = pushed else { return Ok(gathered.cloned()) };
    let pushed = column_of(&pushed.values(), feature.value_type).ok_or_else(|| {
        Error::refused(format!(
            "view {}: a pushed cell of feature {} is not {}",
            view.name, feature.name, feature.value_type
        ))
    })?;
    let Some(gathered) = gathered else { return Ok(Some(pushed)) };
    concat(&[gathered.as_ref(), pushed.as_ref()])
        .map(Some)
        .map_err(|error| too_large(view, feature, &error.to_string()))
}

fn too_large(view: &View, feature: &Feature, why: &str) -> Error {
    Error::refused(format!(
        "the values of feature {} of view {} do not fit one column ({why}): ask for fewer rows at \
         a time",
        feature.name, view.name
    ))
}
