//! `nowthen asof`: a training set from files alone.

use super::{boot::definitions_in, options::AsofOptions};
use crate::{
    error::{Error, Result},
    feature::Timestamp,
    offline::{JoinReport, KnownBy, Phase, Spine, write_batch},
    registry::Catalog,
    store::{TrainingRequest, join_files},
};
use serde_json::{Value, json};
use std::{
    cell::{Cell, RefCell},
    num::NonZero,
    time::Instant,
};

/// Joins and writes; prints what was done.
pub fn asof(options: &AsofOptions) -> Result<()> {
    let started = Instant::now();
    // When it was applied does not matter here: nothing is kept of it.
    let catalog = Catalog::empty().apply(&definitions_in(&options.repo)?, Timestamp(0))?;
    let features: Vec<&str> = options.features.iter().map(|name| name.trim()).collect();
    let selected = match &options.service {
        Some(service) => catalog.select_service(service)?,
        None => catalog.select(&features)?,
    };
    let mut request = TrainingRequest::new(selected);
    request.event_timestamp = options.event_timestamp.clone();
    request.full_names = options.full_names;
    request.map = options.map.iter().map(|pair| renamed(pair)).collect::<Result<_>>()?;
    request.known_by = known_by(&options.known_by)?;
    request.threads = NonZero::new(options.threads);
    let times = PhaseTimes::begin();
    times.enter("spine");
    let event_timestamp = request.event_timestamp.as_deref();
    let spine = Spine::from_parquet(&options.spine, event_timestamp, request.threads)?;
    times.enter("open");
    let joined = join_files(&catalog, &request, &spine, &|phase| times.enter(name_of(phase)))?;
    times.enter("write");
    write_batch(&joined.batch, &options.out, Some(&options.spine))?;
    let phases = times.finish();
    let report = &joined.report;
    let seconds = started.elapsed().as_secs_f64();
    if options.json {
        let mut told = json!({
            "rows": joined.batch.num_rows(),
            "columns": joined.batch.num_columns(),
            "files": report.files,
            "rows_scanned": report.rows_scanned,
            "seconds": seconds,
            "out": options.out,
        });
        if let Some(told) = told.as_object_mut().filter(|_| options.explain) {
            told.insert("row_groups".into(), report.row_groups.into());
            told.insert("row_groups_skipped".into(), report.row_groups_skipped.into());
            told.insert("rows_skipped".into(), report.rows_skipped.into());
            told.insert("winners".into(), report.winners.into());
            told.insert("bytes".into(), report.bytes.into());
            let phases = phases.iter().map(|(name, seconds)| ((*name).to_owned(), json!(seconds)));
            told.insert("phases".into(), Value::Object(phases.collect()));
        }
        println!("{told}");
        return Ok(());
    }
    println!(
        "{} rows, {} features from {} files ({} rows scanned) in {seconds:.2} s: {}",
        joined.batch.num_rows(),
        request.features.len(),
        report.files,
        report.rows_scanned,
        options.out.display()
    );
    for feature in &report.features {
        println!("  {}: {} of {} rows present", feature.name, feature.present, report.rows);
    }
    if options.explain {
        explain(report, &phases);
    }
    Ok(())
}

fn explain(report: &JoinReport, phases: &[(&str, f64)]) {
    println!(
        "{} row groups read by keys and times, {} skipped by their statistics; {} rows in them, {} \
         without key or time; {} rows decoded for their features; {:.1} MB read",
        report.row_groups,
        report.row_groups_skipped,
        report.rows_scanned,
        report.rows_skipped,
        report.winners,
        report.bytes as f64 / 1e6
    );
    for (name, seconds) in phases {
        println!("  {name:6} {seconds:8.3} s");
    }
}

fn name_of(phase: Phase) -> &'static str {
    match phase {
        Phase::Group => "group",
        Phase::Scan => "scan",
        Phase::Gather => "gather",
        Phase::Fill => "fill",
    }
}

/// How long each phase took; one that comes again adds to its time.
struct PhaseTimes {
    phases: RefCell<Vec<(&'static str, f64)>>,
    current: Cell<(&'static str, Instant)>,
}

impl PhaseTimes {
    fn begin() -> Self {
        Self { phases: RefCell::default(), current: Cell::new(("", Instant::now())) }
    }

    fn enter(&self, name: &'static str) {
        let now = Instant::now();
        let (before, since) = self.current.replace((name, now));
        if before.is_empty() {
            return;
        }
        let seconds = now.duration_since(since).as_secs_f64();
        let mut phases = self.phases.borrow_mut();
        match phases.iter_mut().find(|(phase, _)| *phase == before) {
            Some((_, sum)) => *sum += seconds,
            None => phases.push((before, seconds)),
        }
    }

    fn finish(self) -> Vec<(&'static str, f64)> {
        self.enter("");
        self.phases.into_inner()
    }
}

fn known_by(name: &str) -> Result<KnownBy> {
    match name {
        "event" => Ok(KnownBy::Event),
        "arrival" => Ok(KnownBy::Arrival),
        other => {
            let why = format!("--known-by {other} is not known: expected event or arrival");
            Err(Error::refused(why))
        }
    }
}

/// `origin=dest`: the join key, and the column that holds it.
fn renamed(pair: &str) -> Result<(String, String)> {
    let (key, column) = pair.split_once('=').ok_or_else(|| {
        Error::refused(format!("--map {pair}: expected KEY=COLUMN, such as origin=dest"))
    })?;
    Ok((key.to_owned(), column.to_owned()))
}
