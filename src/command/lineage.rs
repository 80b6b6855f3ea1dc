//! FS.LINEAGE: which sources and runs feed what, and who reads it.

use super::{arguments::Args, context::Context, materialization::write_run};
use crate::{
    error::Result,
    registry::{Step, lineage as steps_of},
    store::Schema,
};
use nowthen_protocol::Reply;

/// `FS.LINEAGE name`: an array with a map per step that data takes, from a source to a view or from
/// a view to a service.
pub(super) fn lineage(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let schema = ctx.keyspace.schema();
    let steps = steps_of(&schema.catalog, args.text("name")?)?;
    reply.array(steps.len());
    for step in &steps {
        write_step(ctx, &schema, step, reply);
    }
    Ok(())
}

fn write_step(ctx: &Context<'_>, schema: &Schema, step: &Step, reply: &mut Reply<'_>) {
    let view = &step.view;
    let view_end = ("view", Some(view.name.as_str()), Some(view.version));
    let source_end = match view.source.as_deref() {
        Some(source) => ("source", Some(source), None),
        None => ("push", None, None),
    };
    let service_end = step.service.as_ref();
    let service_end = service_end.map(|s| ("service", Some(s.name.as_str()), Some(s.version)));
    let (from, to) = match service_end {
        None => (source_end, view_end),
        Some(service_end) => (view_end, service_end),
    };
    reply.map(5);
    for (name, end) in [("from", from), ("to", to)] {
        reply.bulk_text(name);
        write_end(end, reply);
    }
    reply.bulk_text("state");
    reply.bulk_text(schema.catalog.view_state(view));
    reply.bulk_text("features");
    reply.array(step.features.len());
    step.features.iter().for_each(|feature| reply.bulk_text(feature));
    reply.bulk_text("run");
    match ctx.app.store.fed_by(&view.name, view.generation) {
        Some(run) => write_run(&run, reply),
        None => reply.null(),
    }
}

/// One end of a step: what it is, its name, and the version of its definition.
fn write_end((kind, name, version): (&str, Option<&str>, Option<u32>), reply: &mut Reply<'_>) {
    reply.map(3);
    reply.bulk_text("kind");
    reply.bulk_text(kind);
    reply.bulk_text("name");
    match name {
        Some(name) => reply.bulk_text(name),
        None => reply.null(),
    }
    reply.bulk_text("version");
    match version {
        Some(version) => reply.integer(i64::from(version)),
        None => reply.null(),
    }
}
