//! `nowthen asof`: a training set from files alone.

use super::{boot::definitions_in, options::AsofOptions};
use crate::{
    error::{Error, Result},
    feature::Timestamp,
    offline::{KnownBy, Spine, write_batch},
    registry::Catalog,
    store::{TrainingRequest, join_files},
};
use serde_json::json;
use std::{num::NonZero, time::Instant};

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
    request.known_by = match options.known_by.as_str() {
        "event" => KnownBy::Event,
        "arrival" => KnownBy::Arrival,
        other => {
            return Err(Error::refused(format!(
                "--known-by {other} is not known: expected event or arrival"
            )));
        }
    };
    request.threads = NonZero::new(options.threads);
    let spine = Spine::from_parquet(&options.spine, request.event_timestamp.as_deref())?;
    let joined = join_files(&catalog, &request, &spine)?;
    write_batch(&joined.batch, &options.out, Some(&options.spine))?;
    let report = &joined.report;
    let seconds = started.elapsed().as_secs_f64();
    if options.json {
        println!(
            "{}",
            json!({
                "rows": joined.batch.num_rows(),
                "columns": joined.batch.num_columns(),
                "files": report.files,
                "rows_scanned": report.rows_scanned,
                "seconds": seconds,
                "out": options.out,
            })
        );
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
    Ok(())
}

/// `origin=dest`: the join key, and the column that holds it.
fn renamed(pair: &str) -> Result<(String, String)> {
    let (key, column) = pair.split_once('=').ok_or_else(|| {
        Error::refused(format!("--map {pair}: expected KEY=COLUMN, such as origin=dest"))
    })?;
    Ok((key.to_owned(), column.to_owned()))
}
