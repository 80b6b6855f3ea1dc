//! Features as of then: the join that training sets are made by, and reads at an instant of the
//! past.
//!
//! Two places hold what was true: the Parquet files of a view's source, and for what clients pushed
//! files of our own and the log (`pushed.rs`). The join looks at all by one rule.

use super::{
    engine::Store,
    pushed_files::{Asked, AskedRows, PushedFiles, PushedPart, Wanted, kept_from},
    read_features::Answer,
    schema::Schema,
};
use crate::{
    error::{Error, Result},
    feature::{Entity, KeyPart, Service, Status, Timestamp, View, ViewId, duration_text},
    log::Lsn,
    offline::{
        Dataset, GroupedSpine, JoinOptions, Joined, KnownBy, Phase, PhaseProgress, PushedCells,
        PushedWinners, Spine, ViewRequest, as_of_join, as_of_join_with, cell, output_names,
    },
    registry::{Catalog, Selected},
};
use std::{
    collections::{HashMap, HashSet},
    num::NonZero,
    sync::Arc,
};

/// What a training set is to hold.
#[derive(Clone, Debug)]
pub struct TrainingRequest {
    /// The features, in the order of their columns.
    pub features: Vec<Selected>,
    /// The service that lists them, if they were asked for by its name.
    pub service: Option<Arc<Service>>,
    /// The column of the spine that is the event timestamp; its one timestamp column if not given.
    pub event_timestamp: Option<String>,
    /// Join keys that have another name in the spine: `(join key, column)`.
    pub map: Vec<(String, String)>,
    /// Whether a cell had to be known at the time, or only true.
    pub known_by: KnownBy,
    /// Whether columns are named `view__feature`.
    pub full_names: bool,
    /// How many threads; as many as there are cores for `None`.
    pub threads: Option<NonZero<usize>>,
    /// Whether to tell how old the values are.
    pub with_ages: bool,
}

impl TrainingRequest {
    /// `features` by event time, with short names.
    pub fn new(features: Vec<Selected>) -> Self {
        Self {
            features,
            service: None,
            event_timestamp: None,
            map: Vec::new(),
            known_by: KnownBy::Event,
            full_names: false,
            threads: None,
            with_ages: false,
        }
    }
}

/// One view of a request, with what is opened for it.
pub(super) struct Opened {
    pub(super) view: Arc<View>,
    pub(super) entity: Arc<Entity>,
    pub(super) dataset: Option<Dataset>,
    /// Its place among the views of the request.
    pub(super) place: usize,
    /// The features wanted: place in the view, and place in the request.
    pub(super) features: Vec<(usize, usize)>,
}

/// What was pushed to some views, as a join may look at it.
#[derive(Clone, Copy)]
pub(super) struct PushedSource<'a> {
    pub(super) store: &'a Store,
    /// Whose rows, if not all that the spine asks for.
    pub(super) asked: Option<Asked<'a>>,
    /// What arrived later is passed over.
    pub(super) until: Lsn,
}

/// What a join has looked at of what was pushed.
pub(super) struct PushedSeen {
    /// How many rows of it were of entities of the spine, by view and generation.
    pub(super) rows: HashMap<(ViewId, u32), u64>,
    /// The files of the history, all of which were looked at; the log behind them was, too.
    pub(super) files: Arc<PushedFiles>,
}

impl<'a> PushedSource<'a> {
    /// The pushed cells that win in `spine`, which asks for the views of `requests`: those of
    /// `opened`. A spine without rows is not looked up.
    fn winners<'s>(
        &self,
        opened: &[Opened],
        spine: &'s GroupedSpine<'_>,
        requests: &'s [ViewRequest<'_>],
        known_by: KnownBy,
        progress: &PhaseProgress,
    ) -> Result<(PushedWinners<'s>, Option<PushedSeen>)> {
        if spine.is_empty() {
            return Ok((PushedWinners::new(spine, requests, known_by)?, None));
        }
        let wanted = self.asked.map_or(Wanted::Spine(spine, progress), Wanted::Keys);
        let begin = |files: &Arc<PushedFiles>| {
            Ok((PushedWinners::new(spine, requests, known_by)?, Arc::clone(files)))
        };
        let take = |(winners, _): &mut (PushedWinners<'s>, _), view: &Opened, cells| {
            let cells: PushedCells = cells;
            if cells.order > self.until.0 { Ok(()) } else { winners.take(view.place, &cells) }
        };
        let (winners, files) = self.store.pushed(opened, &wanted, begin, take)?;
        let mut rows: HashMap<_, u64> = HashMap::new();
        for view in opened {
            // Several versions of a view may have one generation, and so the same rows.
            let of_generation = rows.entry(view.generation()).or_default();
            *of_generation = winners.rows(view.place).max(*of_generation);
        }
        Ok((winners, Some(PushedSeen { rows, files })))
    }
}

impl PushedSource<'_> {
    /// How many rows may have been pushed to the views of `opened`, about: a record of the log
    /// counts as one.
    pub(super) fn rows_at_most(&self, opened: &[Opened]) -> u64 {
        let files = self.store.pushed_files.load();
        let is_own = |part: &&Arc<PushedPart>| {
            opened.iter().any(|view| view.generation() == part.generation())
        };
        let rows = files.parts.iter().filter(is_own).map(|part| part.listed.rows);
        rows.fold(self.until.0.saturating_sub(files.reaches.0), u64::saturating_add)
    }
}

impl PushedSeen {
    /// Refuses a spine that asks for times of which no source tells, and the history no longer.
    fn check_kept(&self, opened: &[Opened], spine: &Spine) -> Result<()> {
        let Some(earliest) = spine.earliest() else { return Ok(()) };
        for Opened { view, .. } in opened.iter().filter(|opened| opened.dataset.is_none()) {
            let kept_from = kept_from(&self.files.parts, (view.id, view.generation));
            if let Some(kept_from) = kept_from.filter(|kept_from| earliest < *kept_from) {
                let retention = view.retention_us.map(duration_text);
                return Err(Error::refused(format!(
                    "view {} keeps its history for {}: expected times from {} on, got {}",
                    view.name,
                    retention.as_deref().unwrap_or("ever again, but has given up some"),
                    kept_from.to_iso(),
                    earliest.to_iso(),
                )));
            }
        }
        Ok(())
    }
}

impl Opened {
    /// Which cells are its own.
    pub(super) fn generation(&self) -> (ViewId, u32) {
        (self.view.id, self.view.generation)
    }

    /// The slots of the features wanted.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> {
        let features = self.features.iter();
        features.filter_map(|(feature, _)| Some(self.view.features.get(*feature)?.slot))
    }
}

impl Store {
    /// What each feature was at `at` for some entities of one kind, given by their join keys.
    pub fn features_at(
        &self,
        schema: &Schema,
        entity: &Entity,
        features: &[Selected],
        keys: &[Vec<KeyPart>],
        at: Timestamp,
    ) -> Result<Vec<Vec<Answer>>> {
        let spine = Spine::from_rows(entity, keys, at)?;
        let request = TrainingRequest::new(features.to_vec());
        // A feature may be asked for twice, or be called as a join key: nobody sees these names.
        let names: Vec<String> = (0..features.len()).map(|place| format!("#{place}")).collect();
        let opened = open_views(&schema.catalog, features)?;
        let keys_asked: HashSet<Vec<KeyPart>> = keys.iter().cloned().collect();
        let asked = Asked { keys: &keys_asked, rows: AskedRows::At(at) };
        // What was true then is told as a reply tells what is true now.
        self.acknowledged_blocking(self.log.last())?;
        let pushed = PushedSource { store: self, asked: Some(asked), until: Lsn(u64::MAX) };
        let (joined, _) = join(&opened, Some(&pushed), &request, &names, &spine, (true, &|_| ()))?;
        let answer_row =
            |row| (0..features.len()).map(|place| answer(&joined, row, place)).collect();
        Ok((0..keys.len()).map(answer_row).collect())
    }

    pub(super) fn undecodable(&self, lsn: Lsn, why: &str) -> Error {
        let expected = format!("record {lsn} in the format of this version ({why})");
        Error::corrupt(&self.root, 0, expected)
    }
}

/// Opens the sources of the views that have these features, each once.
pub(super) fn open_views(catalog: &Catalog, features: &[Selected]) -> Result<Vec<Opened>> {
    let mut opened: Vec<Opened> = Vec::new();
    for (place, selected) in features.iter().enumerate() {
        let view = &selected.view;
        let same = |o: &&mut Opened| (o.view.id, o.view.version) == (view.id, view.version);
        if let Some(standing) = opened.iter_mut().find(same) {
            standing.features.push((selected.feature, place));
            continue;
        }
        let entity = catalog.entity_by_id(view.entity).cloned();
        opened.push(Opened {
            view: Arc::clone(view),
            entity: entity.ok_or_else(|| Error::refused("a view of no entity"))?,
            dataset: view.source.as_deref().map(Dataset::open).transpose()?,
            place: opened.len(),
            features: vec![(selected.feature, place)],
        });
    }
    Ok(opened)
}

/// Joins, and puts the columns in the order of the request. Without a source of what was pushed
/// nothing is seen of it.
pub(super) fn join(
    opened: &[Opened],
    pushed: Option<&PushedSource<'_>>,
    request: &TrainingRequest,
    names: &[String],
    spine: &Spine,
    (with_status, watch): (bool, &dyn Fn(Phase)),
) -> Result<(Joined, Option<PushedSeen>)> {
    let mut requests = Vec::with_capacity(opened.len());
    for view in opened {
        let places = view.features.iter().map(|(_, place)| *place);
        requests.push(ViewRequest {
            view: &view.view,
            entity: &view.entity,
            dataset: view.dataset.as_ref(),
            features: view.features.iter().map(|(feature, _)| *feature).collect(),
            map: &request.map,
            output_names: places.filter_map(|place| names.get(place).cloned()).collect(),
        });
    }
    let TrainingRequest { known_by, threads, with_ages, .. } = *request;
    let options = JoinOptions { known_by, with_status, threads, with_ages };
    let places = opened.iter().flat_map(|view| view.features.iter().map(|(_, place)| *place));
    let places: Vec<usize> = places.collect();
    let Some(pushed) = pushed else {
        let joined = as_of_join(spine, &requests, &options, watch)?;
        return Ok((joined.in_order(&places)?, None));
    };
    watch(Phase::Group);
    let grouped = GroupedSpine::new(spine, &requests, threads)?;
    let progress: Arc<PhaseProgress> = Arc::default();
    watch(Phase::Pushed { progress: Arc::clone(&progress) });
    let (winners, seen) = pushed.winners(opened, &grouped, &requests, known_by, &progress)?;
    seen.iter().try_for_each(|seen| seen.check_kept(opened, spine))?;
    // Later than what was read: where an entity is forgotten meanwhile, a source that tells what a
    // push had changed must not speak again.
    let forgotten = pushed.store.forgotten.load_full();
    let sources = (winners, Some(&*forgotten));
    let joined = as_of_join_with(&grouped, &requests, sources, &options, watch)?;
    Ok((joined.in_order(&places)?, seen))
}

/// The names of the columns of `features`, in their order: `feature`, or `view__feature`.
pub fn column_names(features: &[Selected], full_names: bool) -> Vec<String> {
    let name = |selected: &'_ Selected| {
        let feature = selected.view.features.get(selected.feature);
        feature.map(|feature| feature.name.clone()).unwrap_or_default()
    };
    let names: Vec<String> = features.iter().map(name).collect();
    let views = features.iter().zip(&names);
    let views: Vec<(&str, Vec<&str>)> =
        views.map(|(s, name)| (s.view.name.as_str(), vec![name.as_str()])).collect();
    output_names(&views, full_names).into_iter().flatten().collect()
}

fn answer(joined: &Joined, row: usize, place: usize) -> Answer {
    let column = joined.batch.num_columns() - joined.report.features.len() + place;
    let statuses = joined.statuses.as_ref().and_then(|statuses| statuses.get(place));
    let events = joined.event_timestamps.as_ref().and_then(|events| events.get(place));
    Answer {
        value: cell(&joined.batch, column, row),
        status: statuses.and_then(|s| s.get(row)).copied().unwrap_or(Status::NotFound),
        event: events.and_then(|events| events.get(row)).copied().flatten(),
    }
}
