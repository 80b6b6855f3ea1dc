//! `nowthen asof`: a training set from files alone.

use super::{asof_progress::AsofProgress, boot::definitions_in, options::AsofOptions};
use crate::{
    error::{Error, Result},
    feature::Timestamp,
    offline::{JoinReport, KnownBy, Phase, PhaseTimes, SpineFile, SpineSource},
    registry::Catalog,
    store::{MadeSet, ReportedFile, Training, TrainingReport, TrainingRequest},
};
use serde_json::{Value, json};
use std::{
    num::NonZero,
    path::{Path, absolute},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Joins and writes; prints what was done.
pub fn asof(options: &AsofOptions) -> Result<()> {
    let started = (now(), Instant::now());
    let is_same = |a: &Path, b: &Path| absolute(a).ok() == absolute(b).ok();
    let others = [&options.out, &options.spine];
    if options.report.iter().any(|report| others.iter().any(|other| is_same(report, other))) {
        return Err(Error::refused("--report names the spine or the result: name another file"));
    }
    // When it was applied does not matter here: nothing is kept of it.
    let catalog = Catalog::empty().apply(&definitions_in(&options.repo)?, Timestamp(0))?;
    let request = request(options, &catalog)?;
    let memory = options.memory.as_deref().map(memory_bytes).transpose()?;
    let times = PhaseTimes::begin();
    let progress = AsofProgress::show()?;
    let enter_other = |name| {
        times.enter(name);
        progress.enter_other(name);
    };
    enter_other("open");
    let file = SpineFile::open(&options.spine)?;
    let training = Training::of_files(&catalog, &request)?;
    let spine = SpineSource::File(&file);
    let watch = |phase: Phase| {
        times.enter(phase.name());
        progress.enter(&phase);
    };
    let joined = training.write(&spine, &options.out, memory, &watch)?;
    if let Some(path) = &options.report {
        enter_other("report");
        let spine = ReportedFile {
            path: Some(file.path().display().to_string()),
            bytes: file.bytes(),
            rows: file.rows(),
            blake3: file.hash()?.to_string(),
        };
        let seconds = started.1.elapsed().as_secs_f64();
        let made =
            MadeSet { started: started.0, seconds, spine, path: &options.out, joined: &joined };
        TrainingReport::new(&training, made)?.write(path)?;
    }
    drop(progress);
    let phases = times.finish();
    let seconds = started.1.elapsed().as_secs_f64();
    let columns = spine.schema().fields().len() + joined.features.len();
    tell(options, (&joined, columns), &phases, seconds);
    Ok(())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn request(options: &AsofOptions, catalog: &Catalog) -> Result<TrainingRequest> {
    let features: Vec<&str> = options.features.iter().map(|name| name.trim()).collect();
    let selected = match &options.service {
        Some(service) => catalog.select_service(service)?,
        None => catalog.select(&features)?,
    };
    let mut request = TrainingRequest::new(selected);
    request.service = options.service.as_ref().and_then(|name| catalog.service(name)).cloned();
    request.event_timestamp = options.event_timestamp.clone();
    request.full_names = options.full_names;
    request.map = options.map.iter().map(|pair| renamed(pair)).collect::<Result<_>>()?;
    request.known_by = known_by(&options.known_by)?;
    request.threads = NonZero::new(options.threads);
    request.with_ages = options.report.is_some();
    Ok(request)
}

/// Prints what was done.
fn tell(
    options: &AsofOptions,
    (report, columns): (&JoinReport, usize),
    phases: &[(&str, f64)],
    seconds: f64,
) {
    if options.json {
        let mut told = json!({
            "rows": report.rows,
            "columns": columns,
            "files": report.files,
            "rows_scanned": report.rows_scanned,
            "seconds": seconds,
            "out": options.out,
        });
        if let Some(told) = told.as_object_mut().filter(|_| options.explain) {
            let read = report.read().map(|(name, number)| (name.to_owned(), number.into()));
            told.extend(read);
            let phases = phases.iter().map(|(name, seconds)| ((*name).to_owned(), json!(seconds)));
            told.insert("phases".into(), Value::Object(phases.collect()));
        }
        println!("{told}");
        return;
    }
    println!(
        "{} rows, {} features from {} files ({} rows scanned) in {seconds:.2} s: {}",
        report.rows,
        report.features.len(),
        report.files,
        report.rows_scanned,
        options.out.display()
    );
    for feature in &report.features {
        println!("  {}: {} of {} rows present", feature.name, feature.present, report.rows);
    }
    if options.explain {
        explain(report, phases);
    }
}

fn explain(report: &JoinReport, phases: &[(&str, f64)]) {
    if report.pieces > 1 {
        println!("joined in {} pieces: what was read counts for each", report.pieces);
    }
    println!("{} files skipped by the names of their folders", report.files_skipped);
    println!(
        "{} row groups read by keys and times, {} skipped by statistics and bloom filters; {} rows \
         in them, {} without key or time; {} rows decoded for their features; {} pages read, {} \
         skipped; {:.1} MB read",
        report.row_groups,
        report.row_groups_skipped,
        report.rows_scanned,
        report.rows_skipped,
        report.winners,
        report.pages,
        report.pages_skipped,
        report.bytes as f64 / 1e6
    );
    for (name, seconds) in phases {
        println!("  {name:6} {seconds:8.3} s");
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

/// `1GiB`, `512MB` or bytes; a unit is a power of 1024.
fn memory_bytes(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase();
    let factor = match unit.as_str() {
        "" | "b" => Some(1),
        "kb" | "kib" => Some(1 << 10),
        "mb" | "mib" => Some(1 << 20),
        "gb" | "gib" => Some(1 << 30),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok();
    let bytes = number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| {
        Error::refused(format!("--memory {text}: expected a size such as 512MiB or 1GiB"))
    })
}

/// `origin=dest`: the join key, and the column that holds it.
fn renamed(pair: &str) -> Result<(String, String)> {
    let (key, column) = pair.split_once('=').ok_or_else(|| {
        Error::refused(format!("--map {pair}: expected KEY=COLUMN, such as origin=dest"))
    })?;
    Ok((key.to_owned(), column.to_owned()))
}
