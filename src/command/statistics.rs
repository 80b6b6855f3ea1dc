//! FS.STATS: what stands online of a view, in numbers.

use super::{arguments::Args, context::Context, materialization::write_run};
use crate::{
    error::Result,
    feature::{Feature, Timestamp},
    store::{FeatureStatistics, Numbers},
};
use nowthen_protocol::Reply;
use std::sync::Arc;

/// So many of the last runs are told.
const RUNS_TOLD: usize = 5;

/// `FS.STATS view` or `FS.STATS view:feature`: a map of what stands online of it now.
pub(super) fn stats(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let schema = ctx.keyspace.schema();
    let name = args.text("name")?;
    let selected = match name.contains(':') {
        true => schema.catalog.select(&[name])?,
        false => schema.catalog.select(&[&format!("{name}:*")])?,
    };
    let view = selected.first().map(|first| Arc::clone(&first.view));
    let view = view.ok_or_else(|| schema.catalog.unknown_view(name))?;
    let (seen, now) = (ctx.seen(), ctx.now);
    let told = ctx.keyspace.view_statistics(&schema, &view, seen, now);
    let runs = ctx.app.store.runs(Some(&view.name), RUNS_TOLD);
    let entity = schema.catalog.entity_by_id(view.entity).map_or("", |entity| &entity.name);

    reply.map(11);
    for (name, text) in [
        ("view", view.name.as_str()),
        ("entity", entity),
        ("state", schema.catalog.view_state(&view)),
    ] {
        reply.bulk_text(name);
        reply.bulk_text(text);
    }
    for (name, number) in [
        ("version", u64::from(view.version)),
        ("generation", u64::from(view.generation)),
        ("entities", told.entities),
    ] {
        reply.bulk_text(name);
        reply.integer(number as i64);
    }
    reply.bulk_text("as_of");
    reply.integer(now.us());
    write_events(told.events, reply);
    reply.bulk_text("features");
    reply.array(selected.len());
    for one in &selected {
        if let (Some(feature), Some(told)) =
            (view.features.get(one.feature), told.features.get(one.feature))
        {
            write_feature(feature, told, reply);
        }
    }
    reply.bulk_text("runs");
    reply.array(runs.len());
    runs.iter().for_each(|run| write_run(run, reply));
    Ok(())
}

fn write_feature(feature: &Feature, told: &FeatureStatistics, reply: &mut Reply<'_>) {
    let (distinct, distinct_error) = told.distinct.count();
    reply.map(14);
    for (name, text) in [("feature", &feature.name), ("type", &feature.value_type.to_string())] {
        reply.bulk_text(name);
        reply.bulk_text(text);
    }
    for (name, count) in [
        ("present", told.present),
        ("null", told.null),
        ("expired", told.expired),
        ("absent", told.absent),
        ("not_finite", told.not_finite),
        ("distinct", distinct),
    ] {
        reply.bulk_text(name);
        reply.integer(count as i64);
    }
    reply.bulk_text("distinct_error");
    reply.double(distinct_error);
    write_events(told.events, reply);
    write_numbers(told.numbers, reply);
}

/// The oldest and the newest event, in µs.
fn write_events(events: Option<(Timestamp, Timestamp)>, reply: &mut Reply<'_>) {
    for (name, event) in
        [("oldest", events.map(|(first, _)| first)), ("newest", events.map(|e| e.1))]
    {
        reply.bulk_text(name);
        match event {
            Some(event) => reply.integer(event.us()),
            None => reply.null(),
        }
    }
}

fn write_numbers(numbers: Option<Numbers>, reply: &mut Reply<'_>) {
    for name in ["min", "max"] {
        let is_min = name == "min";
        reply.bulk_text(name);
        match numbers {
            None => reply.null(),
            Some(Numbers::Whole { min, max, .. }) => reply.integer(if is_min { min } else { max }),
            Some(Numbers::Float { min, max, .. }) => reply.double(if is_min { min } else { max }),
        }
    }
    reply.bulk_text("mean");
    match numbers {
        None => reply.null(),
        Some(numbers) => reply.double(numbers.mean()),
    }
}
