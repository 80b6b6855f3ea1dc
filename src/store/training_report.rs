//! The report beside a training set: what it was made of and what it holds, so that it can be made
//! again and looked into years later.
//!
//! The order of the fields is that of their declarations. Instants are in UTC, hashes are blake3 in
//! hexadecimal.

use super::{history::Opened, pushed_files::kept_from, training::Training};
use crate::{
    error::{Error, Result},
    feature::{Timestamp, duration_text},
    offline::{Ages, DataFile, FeatureCounts, JoinReport, KnownBy, hash_files, hash_path},
    parallel::thread_count,
};
use serde::Serialize;
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process,
};

/// The form of the report: one more with every change that a reader must know of.
const FORMAT: u32 = 1;

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub struct TrainingReport {
    format: u32,
    /// The version that made it.
    nowthen: &'static str,
    started: String,
    seconds: f64,
    request: Request,
    spine: ReportedFile,
    result: ReportedFile,
    views: Vec<ReportedView>,
    features: Vec<ReportedFeature>,
    read: Reading,
}

/// A file, by what tells it from all others.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedFile {
    /// As it was named; `None` for what came over the wire.
    pub path: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// Its hash.
    pub blake3: String,
}

/// What was asked.
#[derive(Clone, Debug, Serialize)]
struct Request {
    service: Option<ReportedService>,
    /// `view:feature`, in the order of the columns.
    features: Vec<String>,
    event_timestamp: Option<String>,
    map: Vec<Renamed>,
    known_by: &'static str,
    full_names: bool,
}

#[derive(Clone, Debug, Serialize)]
struct ReportedService {
    name: String,
    version: u32,
    hash: String,
}

#[derive(Clone, Debug, Serialize)]
struct Renamed {
    join_key: String,
    column: String,
}

/// One view: its definition, and what was read for it.
#[derive(Clone, Debug, Serialize)]
struct ReportedView {
    name: String,
    version: u32,
    generation: u32,
    hash: String,
    entity: String,
    join_keys: Vec<JoinKey>,
    ttl: Option<String>,
    event_timestamp: Option<String>,
    created_timestamp: Option<String>,
    source: Option<String>,
    files: Vec<SourceFile>,
    /// `None` where nothing but files was looked at.
    pushed: Option<PushedRows>,
}

#[derive(Clone, Debug, Serialize)]
struct JoinKey {
    name: String,
    r#type: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct SourceFile {
    path: String,
    bytes: u64,
    modified: String,
    rows: u64,
    row_groups: u64,
    blake3: String,
}

/// What clients pushed to a view: files of the history, and the log behind them.
#[derive(Clone, Debug, Serialize)]
struct PushedRows {
    /// Of entities of the spine.
    rows: u64,
    /// What was told of earlier times may have gone; `None` if nothing has.
    kept_from: Option<String>,
    files: Vec<HistoryPartFile>,
    log_after_lsn: u64,
    /// Up to here.
    log_through_lsn: u64,
}

#[derive(Clone, Debug, Serialize)]
struct HistoryPartFile {
    path: String,
    bytes: u64,
    rows: u64,
    first_lsn: u64,
    last_lsn: u64,
    blake3: String,
}

/// One column.
#[derive(Clone, Debug, Serialize)]
struct ReportedFeature {
    column: String,
    feature: String,
    r#type: String,
    rows: u64,
    present: u64,
    null_rate: f64,
    nulls: Nulls,
    age_us: Option<AgesUs>,
}

/// Why cells are null; each is counted once.
#[derive(Clone, Debug, Serialize)]
struct Nulls {
    /// No row of the source at or before that time.
    no_row: u64,
    /// The TTL hides the row.
    too_old: u64,
    /// The row has null.
    null_in_row: u64,
    /// What came last is a delete.
    deleted: u64,
    /// The row of the spine has no time, or not all of its key.
    no_key_or_time: u64,
}

/// How old the values are, from their events to the times of the spine.
#[derive(Clone, Debug, Serialize)]
struct AgesUs {
    min: u64,
    p50: u64,
    p99: u64,
    max: u64,
}

/// What the join read of the sources.
#[derive(Clone, Debug, Serialize)]
struct Reading {
    pieces: u64,
    files: u64,
    files_skipped: u64,
    row_groups: u64,
    row_groups_skipped: u64,
    pages: u64,
    pages_skipped: u64,
    rows_scanned: u64,
    rows_without_key_or_time: u64,
    winners: u64,
    bytes: u64,
}

/// A training set that was made and written.
#[derive(Clone, Debug)]
pub struct MadeSet<'a> {
    /// When that began.
    pub started: Timestamp,
    /// How long it took, without the report.
    pub seconds: f64,
    /// What it was made for.
    pub spine: ReportedFile,
    /// Where it is.
    pub path: &'a Path,
    /// What was read and found.
    pub joined: &'a JoinReport,
}

impl TrainingReport {
    /// Tells of a set that `training` made. Every file that was read is read again for its hash,
    /// and one that was changed since is an error.
    pub fn new(training: &Training<'_>, made: MadeSet<'_>) -> Result<Self> {
        let (bytes, hash) = hash_path(made.path)?;
        let rows = made.joined.rows;
        let views = training.opened.iter().map(|opened| view(training, opened));
        Ok(Self {
            format: FORMAT,
            nowthen: env!("CARGO_PKG_VERSION"),
            started: made.started.to_iso(),
            seconds: made.seconds,
            request: request(training),
            spine: made.spine,
            result: ReportedFile {
                path: Some(made.path.display().to_string()),
                bytes,
                rows,
                blake3: hash.to_string(),
            },
            views: views.collect::<Result<_>>()?,
            features: features(training, made.joined),
            read: reading(made.joined),
        })
    }

    /// Writes it to `path`, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|error| Error::refused(format!("the report: {error}")))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = path.with_file_name(format!(".{name}.{}.unfinished", process::id()));
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&beside, path)
        });
        written.map_err(|error| {
            let _ = fs::remove_file(&beside);
            Error::io("writing", path)(error)
        })
    }
}

fn request(training: &Training<'_>) -> Request {
    let request = training.request;
    let service = request.service.as_ref().map(|service| ReportedService {
        name: service.name.clone(),
        version: service.version,
        hash: service.hash.clone(),
    });
    let renamed = |(join_key, column): &(String, String)| Renamed {
        join_key: join_key.clone(),
        column: column.clone(),
    };
    Request {
        service,
        features: full_names(training),
        event_timestamp: request.event_timestamp.clone(),
        map: request.map.iter().map(renamed).collect(),
        known_by: match request.known_by {
            KnownBy::Event => "event",
            KnownBy::Arrival => "arrival",
        },
        full_names: request.full_names,
    }
}

/// `view:feature` of each feature asked for.
fn full_names(training: &Training<'_>) -> Vec<String> {
    let features = training.request.features.iter();
    let name = |selected: &crate::registry::Selected| {
        let feature = selected.view.features.get(selected.feature);
        feature.map(|feature| format!("{}:{}", selected.view.name, feature.name))
    };
    features.filter_map(name).collect()
}

fn view(training: &Training<'_>, opened: &Opened) -> Result<ReportedView> {
    let (view, entity) = (&opened.view, &opened.entity);
    let files = opened.dataset.as_ref().map_or(&[][..], |dataset| dataset.files());
    let files: Vec<&DataFile> = files.iter().filter_map(|file| file.opened()).collect();
    let hashes = hash_files(&files, thread_count(training.request.threads))?;
    let join_keys = entity.join_keys.iter();
    Ok(ReportedView {
        name: view.name.clone(),
        version: view.version,
        generation: view.generation,
        hash: view.hash.clone(),
        entity: entity.name.clone(),
        join_keys: join_keys
            .map(|key| JoinKey { name: key.name.clone(), r#type: key.key_type.name() })
            .collect(),
        ttl: view.ttl.and_then(|ttl| i64::try_from(ttl.us()).ok()).map(duration_text),
        event_timestamp: view.event_timestamp.clone(),
        created_timestamp: view.created_timestamp.clone(),
        source: view.source.clone(),
        files: files.iter().zip(hashes).map(|(file, hash)| source_file(file, hash)).collect(),
        pushed: pushed(training, opened),
    })
}

fn source_file(file: &DataFile, hash: blake3::Hash) -> SourceFile {
    SourceFile {
        path: file.path().display().to_string(),
        bytes: file.bytes(),
        modified: Timestamp(file.modified_ns() / 1000).to_iso(),
        rows: file.rows(),
        row_groups: file.row_groups() as u64,
        blake3: hash.to_string(),
    }
}

fn pushed(training: &Training<'_>, opened: &Opened) -> Option<PushedRows> {
    let (pushed, seen) = (training.pushed.as_ref()?, training.seen());
    let (view, generation) = opened.generation();
    let parts = seen.files.iter().map(|part| &part.listed);
    let own = parts.filter(|part| (part.view, part.generation) == (view.0, generation));
    let file = |part: &crate::log::HistoryPart| HistoryPartFile {
        path: part.file.name.clone(),
        bytes: part.file.bytes,
        rows: part.rows,
        first_lsn: part.first.0,
        last_lsn: part.last.0,
        blake3: blake3::Hash::from(part.file.hash).to_string(),
    };
    let mut files: Vec<HistoryPartFile> = own.map(file).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Some(PushedRows {
        rows: seen.rows.get(&(view, generation)).copied().unwrap_or(0),
        kept_from: kept_from(&seen.files, (view, generation)).map(Timestamp::to_iso),
        files,
        log_after_lsn: seen.log_after.unwrap_or(pushed.until).0,
        log_through_lsn: pushed.until.0,
    })
}

fn features(training: &Training<'_>, joined: &JoinReport) -> Vec<ReportedFeature> {
    let names = full_names(training).into_iter();
    let selected = training.request.features.iter();
    let columns = joined.features.iter().zip(names).zip(selected);
    let feature = |((counts, feature), selected): ((&FeatureCounts, _), _)| {
        let selected: &crate::registry::Selected = selected;
        let declared = selected.view.features.get(selected.feature);
        let nulls = joined.rows - counts.present;
        ReportedFeature {
            column: counts.name.clone(),
            feature,
            r#type: declared.map(|feature| feature.value_type.to_string()).unwrap_or_default(),
            rows: joined.rows,
            present: counts.present,
            null_rate: if nulls == 0 { 0.0 } else { nulls as f64 / joined.rows as f64 },
            nulls: Nulls {
                no_row: counts.not_found - counts.without_key - counts.deleted,
                too_old: counts.outside_max_age,
                null_in_row: counts.null_value,
                deleted: counts.deleted,
                no_key_or_time: counts.without_key,
            },
            age_us: counts.ages.as_ref().and_then(ages),
        }
    };
    columns.map(feature).collect()
}

fn ages(ages: &Ages) -> Option<AgesUs> {
    Some(AgesUs {
        min: ages.least_us()?,
        p50: ages.quantile_us(0.5)?,
        p99: ages.quantile_us(0.99)?,
        max: ages.greatest_us()?,
    })
}

fn reading(joined: &JoinReport) -> Reading {
    Reading {
        pieces: joined.pieces,
        files: joined.files,
        files_skipped: joined.files_skipped,
        row_groups: joined.row_groups,
        row_groups_skipped: joined.row_groups_skipped,
        pages: joined.pages,
        pages_skipped: joined.pages_skipped,
        rows_scanned: joined.rows_scanned,
        rows_without_key_or_time: joined.rows_skipped,
        winners: joined.winners,
        bytes: joined.bytes,
    }
}
