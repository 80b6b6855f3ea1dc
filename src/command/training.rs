//! FS.ASOF: a training set from a spine.

use super::{
    arguments::{Args, syntax},
    context::Context,
    features::selection,
};
use crate::{
    error::{Error, Result},
    offline::{JoinReport, KnownBy, Phase, PhaseTimes, Spine, SpineSource},
    store::{MadeSet, ReportedFile, Schema, TrainingReport, TrainingRequest},
};
use nowthen_protocol::Reply;
use std::time::Instant;

/// `FS.ASOF {SERVICE name | FEATURES n f ...} SPINE arrow-ipc-stream [TIME column]
/// [KNOWNBY EVENT|ARRIVAL] [FULLNAMES] [MAP n key column ...] [INTO name [AS PARQUET|ARROW|CSV]
/// [REPORT] [EXPLAIN]]`: the spine with the features as columns behind it, as an Arrow IPC stream;
/// with INTO they are written to `training/<name>.parquet` in the data directory, or `.arrow`, or
/// `.csv`, and the reply is a map of rows and path. With REPORT what the set was made of is written
/// to `training/<name>.json`, and that path is told too; with EXPLAIN what was read and skipped,
/// and how long each phase took.
pub(super) fn asof(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (started, since) = (ctx.app.store.now(), Instant::now());
    let schema = ctx.keyspace.schema();
    let Asked { request, stream, into, extension, with_explain } = asked(&schema, args)?;
    let spine = Spine::from_ipc_stream(stream, request.event_timestamp.as_deref())?;
    let source = SpineSource::Memory(&spine);
    let store = &ctx.app.store;
    let memory = Some(ctx.app.settings.asof_memory_bytes.count()).filter(|memory| *memory > 0);
    let Some(name) = into else {
        let training = store.training(&schema, &request)?;
        // Only what is joined in parts waits there.
        let folder = memory.map(|_| store.training_folder()).transpose()?.unwrap_or_default();
        reply.bulk(&training.stream(&source, &folder, memory)?);
        return Ok(());
    };
    let path = store.training_path(name, extension)?;
    let training = store.training(&schema, &request)?;
    let times = PhaseTimes::begin();
    let watch = |phase: Phase| times.enter(phase.name());
    let joined = training.write(&source, &path, memory, &watch)?;
    let phases = times.finish();
    let report = match extension {
        "parquet" => path.with_extension("json"),
        // Sets of one name in several formats have a report each.
        other => path.with_extension(format!("{other}.json")),
    };
    if request.with_ages {
        let spine = ReportedFile {
            path: None,
            bytes: stream.len() as u64,
            rows: spine.rows() as u64,
            blake3: blake3::hash(stream).to_string(),
        };
        let seconds = since.elapsed().as_secs_f64();
        let made = MadeSet { started, seconds, spine, path: &path, joined: &joined };
        TrainingReport::new(&training, made)?.write(&report)?;
    }
    reply.map(2 + usize::from(request.with_ages) + usize::from(with_explain));
    reply.bulk_text("rows");
    reply.integer(joined.rows.cast_signed());
    reply.bulk_text("path");
    reply.bulk_text(&path.display().to_string());
    if request.with_ages {
        reply.bulk_text("report");
        reply.bulk_text(&report.display().to_string());
    }
    if with_explain {
        reply.bulk_text("explain");
        explain(&joined, &phases, reply);
    }
    Ok(())
}

/// What was read and skipped, then the seconds of each phase.
fn explain(joined: &JoinReport, phases: &[(&str, f64)], reply: &mut Reply<'_>) {
    let read = joined.read();
    reply.map(read.len() + 1);
    for (name, number) in read {
        reply.bulk_text(name);
        reply.integer(number.cast_signed());
    }
    reply.bulk_text("seconds");
    reply.map(phases.len());
    for (name, seconds) in phases {
        reply.bulk_text(name);
        reply.double(*seconds);
    }
}

/// The arguments.
struct Asked<'a> {
    request: TrainingRequest,
    stream: &'a [u8],
    into: Option<&'a str>,
    /// Of the file, which tells its format.
    extension: &'static str,
    with_explain: bool,
}

fn asked<'a>(schema: &Schema, args: &mut Args<'a>) -> Result<Asked<'a>> {
    let mut ahead = *args;
    let service = if ahead.take_word("SERVICE") { Some(ahead.text("service")?) } else { None };
    let mut request = TrainingRequest::new(selection(schema, args)?);
    request.service = service.and_then(|name| schema.catalog.service(name)).cloned();
    if !args.take_word("SPINE") {
        return Err(Error::refused("expected SPINE and an Arrow IPC stream after the features"));
    }
    let stream = args.next()?;
    let (mut into, mut extension, mut with_explain) = (None, "parquet", false);
    while !args.is_empty() {
        if args.take_word("TIME") {
            request.event_timestamp = Some(args.text("column")?.to_owned());
        } else if args.take_word("KNOWNBY") {
            request.known_by = known_by(args)?;
        } else if args.take_word("FULLNAMES") {
            request.full_names = true;
        } else if args.take_word("MAP") {
            request.map = renamed(args)?;
        } else if args.take_word("INTO") {
            into = Some(args.text("name")?);
        } else if into.is_some() && args.take_word("REPORT") {
            request.with_ages = true;
        } else if into.is_some() && args.take_word("EXPLAIN") {
            with_explain = true;
        } else if into.is_some() && args.take_word("AS") {
            extension = format(args)?;
        } else {
            return Err(syntax());
        }
    }
    Ok(Asked { request, stream, into, extension, with_explain })
}

fn format(args: &mut Args<'_>) -> Result<&'static str> {
    let formats = [("PARQUET", "parquet"), ("ARROW", "arrow"), ("CSV", "csv")];
    let format = formats.into_iter().find(|(word, _)| args.take_word(word));
    let refuse = || Error::refused("expected AS PARQUET, AS ARROW or AS CSV");
    format.map(|(_, extension)| extension).ok_or_else(refuse)
}

fn known_by(args: &mut Args<'_>) -> Result<KnownBy> {
    if args.take_word("EVENT") {
        return Ok(KnownBy::Event);
    }
    if args.take_word("ARRIVAL") {
        return Ok(KnownBy::Arrival);
    }
    Err(Error::refused("expected KNOWNBY EVENT or KNOWNBY ARRIVAL"))
}

/// `MAP n key column ...`: n pairs.
fn renamed(args: &mut Args<'_>) -> Result<Vec<(String, String)>> {
    let count = args.integer()?;
    let count = usize::try_from(count).ok().filter(|count| count.saturating_mul(2) <= args.len());
    let count = count.ok_or_else(|| Error::refused("MAP n wants n pairs of key and column"))?;
    (0..count)
        .map(|_| Ok((args.text("join key")?.to_owned(), args.text("column")?.to_owned())))
        .collect()
}
