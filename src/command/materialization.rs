//! FS.MATERIALIZE and FS.RUNS.

use super::{
    arguments::{Args, syntax},
    context::Context,
    definitions::named_view,
};
use crate::{
    error::Result,
    feature::{Run, RunState, Timestamp},
    materialize::{Request, quiet},
};
use nowthen_protocol::Reply;

/// `FS.MATERIALIZE view|* [FROM t] [TO t] [WAIT]`: a map per view of how its run stands: ended
/// with WAIT, begun without.
pub(super) fn materialize(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let name = args.text("view")?;
    let (mut from, mut to, mut waits) = (None, None, false);
    while !args.is_empty() {
        if args.take_word("FROM") {
            from = Some(args.time()?);
        } else if args.take_word("TO") {
            to = Some(args.time()?);
        } else if args.take_word("WAIT") {
            waits = true;
        } else {
            return Err(syntax());
        }
    }
    let views = match name {
        "*" => ctx.app.materializer.sourced_views(),
        name => vec![named_view(ctx, name)?.name.clone()],
    };
    let request = |view: String| Request { view, from, to };
    let mut runs = Vec::with_capacity(views.len());
    for view in views {
        let begun = ctx.app.materializer.begin(&request(view))?;
        runs.push(if waits { begun.finish(&quiet)? } else { begun.in_background()? });
    }
    reply.array(runs.len());
    runs.iter().for_each(|run| write_run(run, reply));
    Ok(())
}

/// So many runs FS.RUNS tells of unless it is asked for another number.
const RUNS_TOLD: i64 = 20;

/// `FS.RUNS [view] [COUNT n]`: a map per run, the newest first.
pub(super) fn runs(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (mut view, mut count) = (None, RUNS_TOLD);
    while !args.is_empty() {
        if args.take_word("COUNT") {
            count = args.integer()?;
        } else if view.is_none() {
            view = Some(named_view(ctx, args.text("view")?)?);
        } else {
            return Err(syntax());
        }
    }
    let count = usize::try_from(count).map_err(|_| syntax())?;
    let runs = ctx.app.store.runs(view.as_ref().map(|view| view.name.as_str()), count);
    reply.array(runs.len());
    runs.iter().for_each(|run| write_run(run, reply));
    Ok(())
}

/// A map that tells of a run.
pub(super) fn write_run(run: &Run, reply: &mut Reply<'_>) {
    let time = |time: Option<Timestamp>| time.map(Timestamp::to_iso).unwrap_or_default();
    let (state, error) = match &run.state {
        RunState::Running => ("running", ""),
        RunState::Done => ("done", ""),
        RunState::Failed(why) => ("failed", why.as_str()),
    };
    let texts = [
        ("view", run.view.clone()),
        ("state", state.into()),
        ("error", error.into()),
        ("started", time(Some(run.started))),
        ("finished", time(run.finished)),
        ("from", time(run.from)),
        ("to", time(Some(run.to))),
    ];
    let numbers = [
        ("id", run.id),
        ("version", u64::from(run.version)),
        ("files", run.files.len() as u64),
        ("bytes_read", run.bytes_read),
        ("rows_total", run.rows_total),
        ("rows_read", run.rows_read),
        ("rows_ahead", run.rows_ahead),
        ("entities_written", run.entities_written),
        ("entities_unchanged", run.entities_unchanged),
    ];
    reply.map(texts.len() + numbers.len());
    for (name, text) in texts {
        reply.bulk_text(name);
        reply.bulk_text(&text);
    }
    for (name, number) in numbers {
        reply.bulk_text(name);
        reply.integer(number as i64);
    }
}
