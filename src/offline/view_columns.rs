//! The columns of one view in a training set: its values gathered, and brought to the rows of the
//! spine.
//!
//! Where many rows are wanted a few features are done at a time, so that what was gathered of the
//! others need not be in memory beside the result; numbers then stand side by side on their way.

use super::{
    answers::{Answers, Column, RowAnswers, fill_column, finished, too_large},
    gather::{Gathered, gather_pieces},
    join_request::{JoinOptions, ViewRequest},
    number_rows::{NumberRows, WIDTH_MAX, is_number},
    pushed::ViewPushed,
    rank::Winner,
    reads::Reads,
    report::Phase,
    source::ViewSource,
    winners::Group,
};
use crate::{
    error::{Error, Result},
    feature::Feature,
    parallel::map,
};
use arrow_array::ArrayRef;

/// Of so many rows a column of features is worth its own turn.
const MANY_ROWS: usize = if cfg!(test) { 4 } else { 64 * 1024 };

/// What the source of a view answers.
pub(super) struct Answered {
    /// One per slot, where cells were pushed.
    pub(super) winners: Vec<Winner>,
    pub(super) answers: Answers,
    pub(super) rows: RowAnswers,
    /// The orders of the rows that its answers stand in, ascending.
    pub(super) wanted: Vec<u64>,
}

/// What the columns of a view are made of.
pub(super) struct ViewColumns<'a> {
    pub(super) request: &'a ViewRequest<'a>,
    pub(super) options: &'a JoinOptions,
    pub(super) group: &'a Group,
    pub(super) source: Option<&'a ViewSource<'a>>,
    pub(super) pushed: &'a ViewPushed<'a>,
    pub(super) answered: &'a Answered,
    pub(super) threads: usize,
    pub(super) reads: &'a Reads,
}

impl ViewColumns<'_> {
    /// A column for each of `features`, which are those that the request names.
    pub(super) fn all(&self, features: &[&Feature], watch: &dyn Fn(Phase)) -> Result<Vec<Column>> {
        let has_many_rows = self.answered.wanted.len() >= MANY_ROWS;
        let at_once = if has_many_rows { self.threads } else { features.len() };
        let mut number_rows = has_many_rows.then(|| self.number_rows()).flatten();
        let mut columns = Vec::with_capacity(features.len());
        while let Some(rest) = features.get(columns.len()..).filter(|rest| !rest.is_empty()) {
            if !rest.iter().any(|feature| is_number(feature.value_type)) {
                number_rows = None;
            }
            let numbers = rest.iter().take(WIDTH_MAX);
            let numbers = numbers.take_while(|feature| is_number(feature.value_type)).count();
            let (own, numbers) = match &mut number_rows {
                Some(rows) if numbers > 0 => (numbers, Some(rows)),
                _ => (at_once.clamp(1, rest.len()), None),
            };
            let own = rest.get(..own).unwrap_or_default();
            columns.extend(match numbers {
                Some(rows) => self.numbers(rows, own, columns.len(), watch)?,
                None => self.columns(own, columns.len(), watch)?,
            });
        }
        Ok(columns)
    }

    /// Room for numbers that stand side by side, where every feature takes its values from the same
    /// rows.
    fn number_rows(&self) -> Option<NumberRows<'_>> {
        let source = self.source.filter(|_| self.pushed.is_empty())?;
        NumberRows::new(source, &self.answered.wanted, self.threads)
    }

    /// The columns of `features`, all of them numbers, of which the first one has that place in the
    /// request.
    fn numbers(
        &self,
        rows: &mut NumberRows<'_>,
        features: &[&Feature],
        first: usize,
        watch: &dyn Fn(Phase),
    ) -> Result<Vec<Column>> {
        watch(Phase::Gather);
        rows.gather(first..first + features.len(), self.reads)?;
        watch(Phase::Fill);
        let types: Vec<_> = features.iter().map(|feature| feature.value_type).collect();
        let arrays = rows.fill(&types, self.answered.rows.places())?;
        let columns = features.iter().zip(arrays);
        let columns = columns.map(|(feature, array)| finished(feature, array, &self.answered.rows));
        Ok(columns.map(|column| self.with_options(column, &self.answered.answers)).collect())
    }

    /// The columns of `features`, of which the first one has that place in the request.
    fn columns(
        &self,
        features: &[&Feature],
        first: usize,
        watch: &dyn Fn(Phase),
    ) -> Result<Vec<Column>> {
        watch(Phase::Gather);
        let own = first..first + features.len();
        let wanted = &self.answered.wanted;
        let gather = |source| gather_pieces(source, wanted, own, self.threads, self.reads);
        let gathered = self.source.map(gather).transpose()?;
        watch(Phase::Fill);
        let features: Vec<(usize, &Feature)> = (first..).zip(features.iter().copied()).collect();
        map(self.threads, &features, |(place, feature)| {
            let take = |gathered: &Gathered| gathered.take(*place, feature.value_type);
            let gathered = gathered.as_ref().map(take).transpose();
            let gathered = gathered.map_err(|why| too_large(self.request.view, feature, &why))?;
            self.column(*place, feature, gathered.as_ref())
        })
    }

    /// The column of the feature with that place in the request.
    fn column(
        &self,
        place: usize,
        feature: &Feature,
        gathered: Option<&ArrayRef>,
    ) -> Result<Column> {
        let view = self.request.view;
        let pushed = self.pushed.feature(place);
        let (slots, ttl) = (&self.group.slots, view.ttl);
        let own = pushed.map(|pushed| {
            let Answered { winners, answers, wanted, .. } = self.answered;
            let answers = answers.with_pushed(winners, pushed, wanted.len(), slots, ttl);
            let rows = answers.of_rows(slots, 1)?;
            Ok::<_, Error>((answers, rows))
        });
        let own = own.transpose()?;
        let (answers, rows) = match &own {
            Some((answers, rows)) => (answers, rows),
            None => (&self.answered.answers, &self.answered.rows),
        };
        let column = fill_column(view, feature, gathered, pushed, rows)?;
        Ok(self.with_options(column, answers))
    }

    /// Adds to a column what else is asked for.
    fn with_options(&self, mut column: Column, answers: &Answers) -> Column {
        let slots = &self.group.slots;
        if self.options.with_ages {
            column = column.with_ages(answers, slots);
        }
        let with_status = self.options.with_status;
        if with_status { column.with_status(answers, slots, self.request.view.ttl) } else { column }
    }
}
