//! From winners to columns: what each slot shows, and each row of the spine with it.
//!
//! Invariants
//! - What may be seen is asked of [`status_at`] and of nothing else, with the slot's own time.
//! - A tombstone that wins counts as no cell, and a null that wins stays null.

use super::{
    ages::Ages,
    cells::column_of,
    coded_texts::bring_texts,
    convert::{arrow_type, convert},
    keys::UNKNOWN,
    order_set::OrderSet,
    pushed::FeaturePushed,
    rank::{Rank, Winner},
    slots::Slots,
};
use crate::{
    error::{Error, Result},
    feature::{CellWrite, Feature, Status, Timestamp, Ttl, View, status_at},
};
use arrow_array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_select::{concat::concat, take::take};

/// Up to one slot for so many rows of the source, the rows that are seen are sorted.
const ROWS_PER_SORTED: u64 = 512;

/// How many cells of a column met what.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// Of these: the row of the spine has no time, or not all of its key.
    pub without_key: u64,
    /// Of these: what won is a delete.
    pub deleted: u64,
    /// How old the values are, if asked for.
    pub ages: Option<Ages>,
}

impl FeatureCounts {
    /// Adds what the same column met in other rows.
    pub(super) fn append(&mut self, other: &Self) {
        self.present += other.present;
        self.null_value += other.null_value;
        self.outside_max_age += other.outside_max_age;
        self.not_found += other.not_found;
        self.without_key += other.without_key;
        self.deleted += other.deleted;
        if let (Some(ages), Some(other)) = (&mut self.ages, &other.ages) {
            ages.append(other);
        }
    }
}

/// The place of a cell that the TTL hides.
const TOO_OLD: u32 = UNKNOWN - 1;

/// The place of a cell that may be seen, until it has one.
const SEEN: u32 = 0;

/// The cell that answers at each slot.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    /// When it was true, `None` if there is no cell; empty if nobody asks.
    events: Vec<Option<Timestamp>>,
    /// Its place among the values gathered and pushed; [`TOO_OLD`] or [`UNKNOWN`] if it may not be
    /// seen.
    places: Vec<u32>,
    /// How many slots see a delete.
    deleted: u64,
}

/// The answers as the rows of the spine see them.
#[derive(Debug)]
pub(super) struct RowAnswers {
    /// The place of the cell of each row; null if it may not be seen.
    places: UInt32Array,
    outside_max_age: u64,
    not_found: u64,
    without_key: u64,
    deleted: u64,
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

impl Answers {
    /// The answers that Parquet alone gives, and the orders of the rows they stand in, ascending:
    /// the place of a cell is that of its row in this list. The source has `rows` rows. Events
    /// are kept if `with_events` says so.
    pub(super) fn of_parquet<R: Rank>(
        winners: &[R],
        slots: &Slots,
        ttl: Option<Ttl>,
        (rows, with_events): (u64, bool),
        threads: usize,
    ) -> Result<(Self, Vec<u64>)> {
        let mut places = vec![UNKNOWN; slots.len()];
        if !winners.is_empty() {
            slots.for_parts(threads, &mut places, |entities, places| {
                let own = slots.stretch(&entities);
                let winners = winners.get(own.clone()).into_iter().flatten();
                let times = slots.times().get(own).into_iter().flatten();
                for (place, (winner, at)) in places.iter_mut().zip(winners.zip(times)) {
                    let event = winner.found().map(|winner| winner.event());
                    *place = place_for(status_at(event, false, Timestamp(*at), ttl));
                }
            })?;
        }
        let mut events = Vec::new();
        if with_events {
            events.extend(winners.iter().map(|winner| Some(winner.found()?.event())));
            events.resize(slots.len(), None);
        }
        let mut answers = Self { events, places, deleted: 0 };
        let wanted = answers.number_rows(winners, slots, rows, threads)?;
        Ok((answers, wanted))
    }

    /// Gives each row that is seen its place.
    fn number_rows<R: Rank>(
        &mut self,
        winners: &[R],
        slots: &Slots,
        rows: u64,
        threads: usize,
    ) -> Result<Vec<u64>> {
        // A few rows of a large source are sorted sooner than its bits are looked through.
        let are_many = winners.len() as u64 > rows / ROWS_PER_SORTED;
        if let Some(mut set) = OrderSet::new(rows).filter(|_| are_many) {
            let seen = winners.iter().zip(&self.places).filter(|(_, place)| **place == SEEN);
            seen.for_each(|(winner, _)| set.insert(winner.order()));
            let wanted = set.seal();
            slots.for_parts(threads, &mut self.places, |entities, places| {
                let winners = winners.get(slots.stretch(&entities)).into_iter().flatten();
                for (place, winner) in places.iter_mut().zip(winners) {
                    if *place == SEEN {
                        *place = set.place(winner.order()).unwrap_or(UNKNOWN);
                    }
                }
            })?;
            return Ok(wanted);
        }
        let seen = winners.iter().zip(&mut self.places).filter(|(_, place)| **place == SEEN);
        let mut seen: Vec<(u64, &mut u32)> =
            seen.map(|(winner, place)| (winner.order(), place)).collect();
        seen.sort_unstable_by_key(|(order, _)| *order);
        let mut wanted: Vec<u64> = Vec::new();
        for (order, place) in seen {
            if wanted.last() != Some(&order) {
                wanted.push(order);
            }
            *place = (wanted.len() - 1) as u32;
        }
        Ok(wanted)
    }

    /// Keeps nothing but events, for where every feature has the same answers and they are with the
    /// rows already.
    pub(super) fn without_places(self) -> Self {
        Self { places: Vec::new(), ..self }
    }

    /// The answers for a feature that has pushed cells, whose values stand after `gathered`
    /// others.
    pub(super) fn with_pushed(
        &self,
        winners: &[Winner],
        pushed: &FeaturePushed,
        gathered: usize,
        slots: &Slots,
        ttl: Option<Ttl>,
    ) -> Self {
        let mut answers = self.clone();
        for (slot, at) in slots.times().iter().enumerate() {
            let Some((rank, candidate)) = pushed.at(slot) else { continue };
            let winner = winners.get(slot).and_then(|winner| winner.found());
            // A pushed cell arrived after the file that has the same stamp was read.
            if winner.is_some_and(|winner| winner.stamp > candidate.stamp) {
                continue;
            }
            let is_cell = candidate.write != CellWrite::Tombstone;
            let event = is_cell.then_some(candidate.stamp.event);
            answers.deleted += u64::from(!is_cell);
            answers.events.get_mut(slot).into_iter().for_each(|own| *own = event);
            let seen = match place_for(status_at(event, false, Timestamp(*at), ttl)) {
                SEEN => (gathered + rank as usize) as u32,
                hidden => hidden,
            };
            answers.places.get_mut(slot).into_iter().for_each(|place| *place = seen);
        }
        answers
    }

    /// The answers in the order of the spine's rows.
    pub(super) fn of_rows(&self, slots: &Slots, threads: usize) -> Result<RowAnswers> {
        let mut places = slots.to_rows(threads, &self.places, UNKNOWN)?;
        let is_seen = |row: usize| places.get(row).is_some_and(|place| *place < TOO_OLD);
        let nulls = NullBuffer::new(BooleanBuffer::collect_bool(places.len(), is_seen));
        places.iter_mut().filter(|place| **place >= TOO_OLD).for_each(|place| *place = 0);
        let hidden = |kind: u32| self.places.iter().filter(|place| **place == kind).count() as u64;
        // Each row with key and time has a slot of its own.
        let without_key = (places.len() - slots.len()) as u64;
        Ok(RowAnswers {
            places: UInt32Array::new(
                places.into(),
                Some(nulls).filter(|nulls| nulls.null_count() > 0),
            ),
            outside_max_age: hidden(TOO_OLD),
            not_found: hidden(UNKNOWN) + without_key,
            without_key,
            deleted: self.deleted,
        })
    }
}

/// What stands for the place of a cell that a read meets so.
fn place_for(status: Status) -> u32 {
    match status {
        Status::Present | Status::NullValue => SEEN,
        Status::OutsideMaxAge => TOO_OLD,
        Status::NotFound => UNKNOWN,
    }
}

/// Brings the values of one feature to the rows of the spine.
pub(super) fn fill_column(
    view: &View,
    feature: &Feature,
    gathered: Option<&ArrayRef>,
    pushed: Option<&FeaturePushed>,
    rows: &RowAnswers,
) -> Result<Column> {
    let values = values_of(view, feature, gathered, pushed)?;
    let array = match &values {
        Some(values) if !values.is_empty() => bring_texts(values, &rows.places)
            .unwrap_or_else(|| {
                let taken = take(values, &rows.places, None).map_err(|error| error.to_string())?;
                convert(&taken, feature.value_type)
            })
            .map_err(|why| too_large(view, feature, &why))?,
        _ => new_null_array(&arrow_type(feature.value_type), rows.places.len()),
    };
    Ok(finished(feature, array, rows))
}

/// A column of one feature, with what its cells met.
pub(super) fn finished(feature: &Feature, array: ArrayRef, rows: &RowAnswers) -> Column {
    let nulls = array.null_count() as u64;
    let counts = FeatureCounts {
        name: feature.name.clone(),
        present: array.len() as u64 - nulls,
        null_value: nulls - rows.outside_max_age - rows.not_found,
        outside_max_age: rows.outside_max_age,
        not_found: rows.not_found,
        without_key: rows.without_key,
        deleted: rows.deleted,
        ages: None,
    };
    Column { array, counts, statuses: Vec::new(), event_timestamps: Vec::new() }
}

impl RowAnswers {
    /// The place of the cell of each row; null if it may not be seen.
    pub(super) fn places(&self) -> &UInt32Array {
        &self.places
    }
}

impl Column {
    /// Adds how old the values are. `answers` keep their events.
    pub(super) fn with_ages(mut self, answers: &Answers, slots: &Slots) -> Self {
        let mut ages = Ages::new();
        for (row, (slot, at)) in slots.of_rows().zip(slots.times_of_rows()).enumerate() {
            let event = slot.and_then(|slot| answers.events.get(slot).copied().flatten());
            if let (Some(event), Some(ages), true) = (event, &mut ages, self.array.is_valid(row)) {
                // What is seen is not of the future.
                ages.add(at.us().saturating_sub(event.us()).unsigned_abs());
            }
        }
        self.counts.ages = ages;
        self
    }

    /// Adds what every row met.
    pub(super) fn with_status(
        mut self,
        answers: &Answers,
        slots: &Slots,
        ttl: Option<Ttl>,
    ) -> Self {
        for (row, (slot, at)) in slots.of_rows().zip(slots.times_of_rows()).enumerate() {
            let event = slot.and_then(|slot| answers.events.get(slot).copied().flatten());
            self.statuses.push(status_at(event, self.array.is_null(row), at, ttl));
            self.event_timestamps.push(event);
        }
        self
    }
}

/// The gathered values, then the pushed ones.
fn values_of(
    view: &View,
    feature: &Feature,
    gathered: Option<&ArrayRef>,
    pushed: Option<&FeaturePushed>,
) -> Result<Option<ArrayRef>> {
    let Some(pushed) = pushed else { return Ok(gathered.cloned()) };
    let pushed = column_of(&pushed.values(), feature.value_type).ok_or_else(|| {
        Error::refused(format!(
            "view {}: a pushed cell of feature {} is not {}",
            view.name, feature.name, feature.value_type
        ))
    })?;
    let Some(gathered) = gathered else { return Ok(Some(pushed)) };
    let gathered = convert(gathered, feature.value_type);
    let gathered = gathered.map_err(|why| too_large(view, feature, &why))?;
    concat(&[gathered.as_ref(), pushed.as_ref()])
        .map(Some)
        .map_err(|error| too_large(view, feature, &error.to_string()))
}

/// The error for values that no column holds.
pub(super) fn too_large(view: &View, feature: &Feature, why: &str) -> Error {
    Error::refused(format!(
        "the values of feature {} of view {} do not fit one column ({why}): ask for fewer rows at \
         a time",
        feature.name, view.name
    ))
}
