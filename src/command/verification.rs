//! FS.VERIFY.

use super::{arguments::Args, context::Context};
use crate::{
    error::Result,
    log::{Finding, GenerationReport, Lsn},
};
use nowthen_protocol::Reply;

/// `FS.VERIFY`: reads both generations of snapshots and the log as far as it is written, while the
/// server serves; a map of what was read and of what was found. Damage is no error of the command.
pub(super) fn verify(ctx: &mut Context<'_>, _: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let report = ctx.app.store.verify()?;
    let sum = |of: fn(&GenerationReport) -> u64| report.generations.iter().map(of).sum();
    let numbers: [(&str, u64); 10] = [
        ("manifest", report.manifest.unwrap_or(0)),
        ("generations", report.generations.len() as u64),
        ("snapshot_files", sum(|generation| generation.files)),
        ("snapshot_rows", sum(|generation| generation.entries)),
        ("segments", report.segments.len() as u64),
        ("frames", report.frames()),
        ("records", report.records()),
        ("first_lsn", report.lsns().map_or(0, |(first, _)| first.0)),
        ("last_lsn", report.lsns().map_or(0, |(_, last)| last.0)),
        ("bytes", report.bytes),
    ];
    reply.map(1 + numbers.len() + 1);
    reply.bulk_text("worst");
    reply.bulk_text(report.worst().name());
    for (name, number) in numbers {
        reply.bulk_text(name);
        reply.integer(i64::try_from(number).unwrap_or(i64::MAX));
    }
    reply.bulk_text("findings");
    reply.array(report.findings.len());
    report.findings.iter().for_each(|finding| write_finding(finding, reply));
    Ok(())
}

fn write_finding(finding: &Finding, reply: &mut Reply<'_>) {
    let texts = [
        ("severity", finding.severity.name()),
        ("file", &finding.path.display().to_string()),
        ("what", &finding.what),
    ];
    reply.map(texts.len() + 3);
    for (name, text) in texts {
        reply.bulk_text(name);
        reply.bulk_text(text);
    }
    reply.bulk_text("offset");
    reply.integer(i64::try_from(finding.offset).unwrap_or(i64::MAX));
    let lsns = finding.lsns;
    for (name, lsn) in
        [("first_lsn", lsns.map(|lsns| lsns.0)), ("last_lsn", lsns.map(|lsns| lsns.1))]
    {
        reply.bulk_text(name);
        match lsn {
            Some(Lsn(lsn)) => reply.integer(i64::try_from(lsn).unwrap_or(i64::MAX)),
            None => reply.null(),
        }
    }
}
