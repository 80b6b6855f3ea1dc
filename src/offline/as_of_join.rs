//! The point-in-time join: for every row of the spine, what was true of its entities at its time.
//!
//! ```text
//! spine ──> entities (keys) ──> slots ┐
//! source ──> keys and times (scan) ───┴──> winners ──> wanted rows (gather) ─┐
//! log ──────────────────────────────────> pushed ────────────────────────────┴──> columns
//! ```
//! Invariants
//! - Rows in = rows out, in the order given, and the spine's own columns as they were.
//! - The same answer whatever the number of threads.
//! - [`status_at`] decides what is seen, for every slot, at the very time of its spine rows.

use super::{
    answers::{Answers, Column},
    grouped_spine::GroupedSpine,
    join_request::{JoinOptions, ViewRequest},
    prune::Bounds,
    pushed::{PushedWinners, ViewPushed},
    rank::{Rank, Winner},
    reads::Reads,
    report::{JoinReport, Phase},
    source::{Told, ViewSource},
    spine::Spine,
    view_columns::{Answered, ViewColumns},
    winners::{Group, KnownBy, Scanned, find_newest, find_winners},
};
use crate::{
    error::{Error, Result},
    feature::{Entity, Feature, Forgotten, Status, Timestamp},
    parallel::thread_count,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use std::sync::Arc;

/// A training set.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The columns of the spine, then one per feature.
    pub batch: RecordBatch,
    /// Per feature and row what the read met, if asked for.
    pub statuses: Option<Vec<Vec<Status>>>,
    /// Per feature and row the event timestamp of the cell that won, if asked for.
    pub event_timestamps: Option<Vec<Vec<Option<Timestamp>>>>,
    /// What was read and found.
    pub report: JoinReport,
}

impl Joined {
    /// The same with the features in another order: the first one to the place that `places` names
    /// first, and so on.
    pub fn in_order(self, places: &[usize]) -> Result<Self> {
        let first = self.batch.num_columns() - places.len();
        let mut from = vec![0; places.len()];
        for (index, place) in places.iter().enumerate() {
            from.get_mut(*place).into_iter().for_each(|from| *from = index);
        }
        let columns: Vec<usize> = (0..first).chain(from.iter().map(|i| first + i)).collect();
        let batch = self.batch.project(&columns);
        let batch = batch.map_err(|error| Error::refused(format!("the result: {error}")))?;
        let mut report = self.report;
        report.features = picked(&report.features, &from);
        Ok(Self {
            batch,
            statuses: self.statuses.map(|statuses| picked(&statuses, &from)),
            event_timestamps: self.event_timestamps.map(|events| picked(&events, &from)),
            report,
        })
    }
}

fn picked<T: Clone>(all: &[T], from: &[usize]) -> Vec<T> {
    from.iter().filter_map(|index| all.get(*index).cloned()).collect()
}

/// Joins the features of several views, as their sources tell them, to the rows of a spine. `watch`
/// is told whenever a phase begins.
pub fn as_of_join(
    spine: &Spine,
    requests: &[ViewRequest<'_>],
    options: &JoinOptions,
    watch: &dyn Fn(Phase),
) -> Result<Joined> {
    watch(Phase::Group);
    let spine = GroupedSpine::new(spine, requests, options.threads)?;
    let pushed = PushedWinners::new(&spine, requests, options.known_by)?;
    as_of_join_with(&spine, requests, (pushed, None), options, watch)
}

/// The same with what was pushed to the views of `requests`, which are those of `grouped`, and
/// without what sources tell of entities from before they were forgotten.
pub fn as_of_join_with(
    grouped: &GroupedSpine<'_>,
    requests: &[ViewRequest<'_>],
    (pushed, forgotten): (PushedWinners<'_>, Option<&Forgotten>),
    options: &JoinOptions,
    watch: &dyn Fn(Phase),
) -> Result<Joined> {
    let spine = grouped.spine;
    let threads = thread_count(options.threads);
    let join = Join { options, forgotten, threads, reads: Reads::default() };
    let mut report = JoinReport { rows: spine.rows() as u64, pieces: 1, ..JoinReport::default() };
    let mut columns = Vec::new();
    for (place, (request, pushed)) in requests.iter().zip(pushed.into_views()).enumerate() {
        let group = grouped.group(place)?;
        let (joined, winners, scanned) = join.view(request, group, &pushed, watch)?;
        report.files += request.dataset.map_or(0, |dataset| dataset.files().len()) as u64;
        report.add_scanned(&scanned);
        report.winners += winners;
        columns.extend(joined);
    }
    report.bytes = join.reads.bytes();
    report.pages = join.reads.pages();
    report.pages_skipped = join.reads.pages_skipped();
    assemble(spine, columns, options, report)
}

fn assemble(
    spine: &Spine,
    columns: Vec<Column>,
    options: &JoinOptions,
    mut report: JoinReport,
) -> Result<Joined> {
    let schema = spine.batch().schema_ref();
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
    let mut arrays: Vec<ArrayRef> = spine.batch().columns().to_vec();
    let mut statuses = Vec::new();
    let mut event_timestamps = Vec::new();
    for column in columns {
        let data_type = column.array.data_type().clone();
        fields.push(Arc::new(Field::new(&column.counts.name, data_type, true)));
        arrays.push(column.array);
        report.features.push(column.counts);
        statuses.push(column.statuses);
        event_timestamps.push(column.event_timestamps);
    }
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    let batch = RecordBatch::try_new(Arc::new(schema), arrays)
        .map_err(|error| Error::refused(format!("the training set does not fit: {error}")))?;
    Ok(Joined {
        batch,
        statuses: options.with_status.then_some(statuses),
        event_timestamps: options.with_status.then_some(event_timestamps),
        report,
    })
}

/// What is the same for all views of one join.
struct Join<'a> {
    options: &'a JoinOptions,
    forgotten: Option<&'a Forgotten>,
    threads: usize,
    reads: Reads,
}

impl Join<'_> {
    /// The columns of one view.
    fn view(
        &self,
        request: &ViewRequest<'_>,
        group: &Group,
        pushed: &ViewPushed<'_>,
        watch: &dyn Fn(Phase),
    ) -> Result<(Vec<Column>, u64, Scanned)> {
        let view = request.view;
        let features: Option<Vec<&Feature>> =
            request.features.iter().map(|index| view.features.get(*index)).collect();
        let features = features
            .filter(|features| features.len() == request.output_names.len())
            .ok_or_else(|| Error::refused(format!("view {} has no such features", view.name)))?;
        let bounds = request.dataset.and_then(|_| group.bounds(self.options.known_by));
        let reaches = |told: &Told| bounds.as_ref().is_some_and(|bounds| bounds.reach_file(told));
        let open = |dataset| {
            let (entity, features) = (request.entity, &request.features);
            ViewSource::open(view, entity, dataset, features, &reaches, self.threads)
        };
        let source = request.dataset.map(open).transpose()?;
        watch(Phase::Scan { view: view.name.clone(), progress: self.reads.next_scan() });
        let (answered, scanned) =
            self.settle(request, group, pushed, (source.as_ref(), bounds.as_ref()))?;
        let columns = ViewColumns {
            request,
            options: self.options,
            group,
            source: source.as_ref(),
            pushed,
            answered: &answered,
            threads: self.threads,
            reads: &self.reads,
        };
        let mut columns = columns.all(&features, watch)?;
        for (column, name) in columns.iter_mut().zip(&request.output_names) {
            column.counts.name.clone_from(name);
        }
        Ok((columns, answered.wanted.len() as u64, scanned))
    }

    /// What the source answers, and the rows that its answers stand in.
    fn settle(
        &self,
        request: &ViewRequest<'_>,
        group: &Group,
        pushed: &ViewPushed<'_>,
        (source, bounds): (Option<&ViewSource<'_>>, Option<&Bounds<'_>>),
    ) -> Result<(Answered, Scanned)> {
        let (threads, reads) = (self.threads, &self.reads);
        let known_by = self.options.known_by;
        let rows = source.map_or(0, ViewSource::rows);
        let (mut winners, answers, scanned) = match source {
            // Only a pushed cell is ever compared with a winner by its created timestamp.
            Some(source) if pushed.is_empty() && known_by == KnownBy::Event => {
                let (mut newest, scanned) = find_newest(source, group, bounds, threads, reads)?;
                (Vec::new(), self.answers(request, group, &mut newest, rows)?, scanned)
            }
            Some(source) => {
                let (mut winners, scanned) =
                    find_winners(source, group, bounds, known_by, threads, reads)?;
                let answers = self.answers(request, group, &mut winners, rows)?;
                (winners, answers, scanned)
            }
            None => {
                let answers = self.answers::<Winner>(request, group, &mut [], rows)?;
                (Vec::new(), answers, Scanned::default())
            }
        };
        let (mut answers, wanted) = answers;
        let rows = answers.of_rows(&group.slots, threads)?;
        if pushed.is_empty() {
            answers = answers.without_places();
            winners = Vec::new();
        }
        Ok((Answered { winners, answers, rows, wanted }, scanned))
    }

    fn answers<R: Rank>(
        &self,
        request: &ViewRequest<'_>,
        group: &Group,
        winners: &mut [R],
        rows: u64,
    ) -> Result<(Answers, Vec<u64>)> {
        if let Some(forgotten) = self.forgotten.filter(|forgotten| !forgotten.is_empty()) {
            hide_forgotten(winners, group, request.entity, forgotten);
        }
        let with_events = self.options.with_status || self.options.with_ages;
        let (slots, ttl) = (&group.slots, request.view.ttl);
        Answers::of_parquet(winners, slots, ttl, (rows, with_events), self.threads)
    }
}

/// Takes back what a source tells of entities from before they were forgotten.
fn hide_forgotten<R: Rank>(
    winners: &mut [R],
    group: &Group,
    entity: &Entity,
    forgotten: &Forgotten,
) {
    for (number, slots) in (0..).zip(group.slots.ranges()) {
        let key = group.table.key(number).map(|parts| entity.key(&parts));
        let Some(mark) = key.and_then(|key| forgotten.mark(&key)) else { continue };
        // Of the cells that may be seen the latest wins: if that is hidden, so are all others.
        for winner in winners.get_mut(slots).into_iter().flatten() {
            if winner.event() < mark.at {
                *winner = R::NONE;
            }
        }
    }
}
