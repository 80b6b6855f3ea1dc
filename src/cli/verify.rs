//! `nowthen verify`: everything in a data directory, looked at; a line for each thing found.
//!
//! With `--json` one object:
//!
//! ```text
//! worst         note (all is well), unread or damage
//! store_id, manifest            null if no manifest can be read
//! generations   [{snapshot_id, lsn, last_lsn, files, bytes, entries, digest}], newest first
//! segments      [{number, first_lsn, last_lsn, frames, records, bytes, is_sealed}], oldest first
//! frames, records, first_lsn, last_lsn, bytes
//! findings      [{severity, file, offset, what, first_lsn, last_lsn}]; LSNs null if none is known
//! ```

use super::{bar::Bar, options::VerifyOptions, output::Output};
use crate::{
    disk::RealFs,
    error::Result,
    log::{Finding, GenerationReport, Lsn, Report, SegmentReport, Severity},
    store,
};
use serde_json::{Value as Json, json};

/// Looks at a data directory, and prints what was found; gives the worst of it.
pub fn verify(options: &VerifyOptions) -> Result<Severity> {
    let bar = Bar::of_bytes("verify");
    let progress = |read, total| bar.set(read, total);
    let report = store::verify(&RealFs, &options.directory, &progress)?;
    drop(bar);
    let mut output = Output::new();
    if options.json {
        output.line(&to_json(&report).to_string())?;
    } else {
        for line in lines(&report) {
            output.line(&line)?;
        }
    }
    output.finish()?;
    Ok(report.worst())
}

fn lines(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(store_id), Some(manifest)) = (report.store_id, report.manifest) {
        lines.push(format!("store {store_id:032x}, manifest {manifest}"));
    }
    for generation in &report.generations {
        let GenerationReport { snapshot_id, lsn, last_lsn, files, bytes, entries, digest } =
            generation;
        lines.push(format!(
            "snapshot {snapshot_id}: all of LSN {lsn}, some up to {last_lsn}; {files} files, \
             {bytes} bytes, {entries} rows, digest {digest}"
        ));
    }
    let range = match report.lsns() {
        Some((first, last)) if last >= first => format!("LSN {first} to {last}"),
        Some((first, _)) => format!("no record yet, the next is LSN {first}"),
        None => "no record yet".into(),
    };
    let (segments, frames, records) = (report.segments.len(), report.frames(), report.records());
    lines.push(format!("log: {segments} segments, {frames} frames, {records} records, {range}"));
    lines.push(format!("{} bytes read", report.bytes));
    lines.extend(report.findings.iter().map(Finding::to_string));
    let places = |severity| match report.findings.iter().filter(|f| f.severity == severity).count()
    {
        1 => "1 place".to_owned(),
        count => format!("{count} places"),
    };
    lines.push(match report.worst() {
        Severity::Note => "all is well".into(),
        Severity::Unread => format!("could not be read: {}", places(Severity::Unread)),
        Severity::Damage => format!("DAMAGED: {}", places(Severity::Damage)),
    });
    lines
}

fn to_json(report: &Report) -> Json {
    let generation = |generation: &GenerationReport| {
        json!({
            "snapshot_id": generation.snapshot_id,
            "lsn": generation.lsn.0,
            "last_lsn": generation.last_lsn.0,
            "files": generation.files,
            "bytes": generation.bytes,
            "entries": generation.entries,
            "digest": generation.digest.to_string(),
        })
    };
    let segment = |segment: &SegmentReport| {
        json!({
            "number": segment.number,
            "first_lsn": segment.first_lsn.0,
            "last_lsn": segment.last_lsn.0,
            "frames": segment.frames,
            "records": segment.records,
            "bytes": segment.bytes,
            "is_sealed": segment.is_sealed,
        })
    };
    let finding = |finding: &Finding| {
        json!({
            "severity": finding.severity.name(),
            "file": finding.path.display().to_string(),
            "offset": finding.offset,
            "what": finding.what,
            "first_lsn": first(finding.lsns),
            "last_lsn": last(finding.lsns),
        })
    };
    json!({
        "worst": report.worst().name(),
        "store_id": report.store_id.map(|id| format!("{id:032x}")),
        "manifest": report.manifest,
        "generations": report.generations.iter().map(generation).collect::<Vec<_>>(),
        "segments": report.segments.iter().map(segment).collect::<Vec<_>>(),
        "frames": report.frames(),
        "records": report.records(),
        "first_lsn": first(report.lsns()),
        "last_lsn": last(report.lsns()),
        "bytes": report.bytes,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn first(lsns: Option<(Lsn, Lsn)>) -> Option<u64> {
    lsns.map(|(first, _)| first.0)
}

fn last(lsns: Option<(Lsn, Lsn)>) -> Option<u64> {
    lsns.map(|(_, last)| last.0)
}
