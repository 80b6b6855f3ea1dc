//! FS.ASOF: a training set from a spine.

use super::{
    arguments::{Args, syntax},
    context::Context,
    features::selection,
};
use crate::{
    error::{Error, Result},
    offline::{KnownBy, to_ipc_stream},
    store::TrainingRequest,
};
use nowthen_protocol::Reply;

/// `FS.ASOF {SERVICE name | FEATURES n f ...} SPINE arrow-ipc-stream [TIME column]
/// [KNOWNBY EVENT|ARRIVAL] [FULLNAMES] [MAP n key column ...] [INTO name]`: the spine with the
/// features as columns behind it, as an Arrow IPC stream; with INTO they are written to
/// `training/<name>.parquet` in the data directory, and the reply is a map of rows and path.
pub(super) fn asof(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let schema = ctx.keyspace.schema();
    let features = selection(&schema, args)?;
    if !args.take_word("SPINE") {
        return Err(Error::refused("expected SPINE and an Arrow IPC stream after the features"));
    }
    let spine = args.next()?;
    let mut request = TrainingRequest::new(features);
    let mut into = None;
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
        } else {
            return Err(syntax());
        }
    }
    let joined = ctx.app.store.training_set_from_ipc(&schema, &request, spine)?;
    let Some(name) = into else {
        reply.bulk(&to_ipc_stream(&joined.batch)?);
        return Ok(());
    };
    let path = ctx.app.store.write_training_set(name, &joined)?;
    reply.map(2);
    reply.bulk_text("rows");
    reply.integer(joined.batch.num_rows() as i64);
    reply.bulk_text("path");
    reply.bulk_text(&path.display().to_string());
    Ok(())
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
