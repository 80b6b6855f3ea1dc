//! FS.APPLY, FS.DROP and what the catalog holds.

use super::{arguments::Args, context::Context};
use crate::{
    error::{Error, Result},
    registry::{DefinitionFile, describe as describe_name, parse_repository},
};
use nowthen_protocol::Reply;
use serde_json::Value as Json;

/// `FS.APPLY definitions [DRYRUN]`: the difference to what was applied before, as text. The
/// definitions are the whole feature repository; applied, they are true at once and for good.
pub(super) fn apply(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let text = args.text("definitions")?.to_owned();
    let is_dry_run = args.take_word("DRYRUN");
    args.end()?;
    let file = DefinitionFile { path: "definitions".into(), text };
    let definitions = parse_repository(std::slice::from_ref(&file))?;
    let applied = ctx.app.store.apply_definitions(&definitions, is_dry_run)?;
    reply.verbatim(&applied.plan.to_string());
    Ok(())
}

/// `FS.DROP kind name [DRYRUN]`: removes an entity, view or service that nothing else uses; the
/// difference as text.
pub(super) fn drop(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (kind, name) = (args.text("kind")?, args.text("name")?);
    let is_dry_run = args.take_word("DRYRUN");
    args.end()?;
    let applied = ctx.app.store.drop_definition(kind, name, is_dry_run)?;
    reply.verbatim(&applied.plan.to_string());
    Ok(())
}

/// `FS.ENTITIES`: the names of all entities.
pub(super) fn entities(
    ctx: &mut Context<'_>,
    _: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let schema = ctx.keyspace.schema();
    names(schema.catalog.entities().map(|entity| entity.name.as_str()), reply);
    Ok(())
}

/// `FS.VIEWS`: the names of all feature views.
pub(super) fn views(ctx: &mut Context<'_>, _: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let schema = ctx.keyspace.schema();
    names(schema.catalog.views().map(|view| view.name.as_str()), reply);
    Ok(())
}

/// `FS.SERVICES`: the names of all feature services.
pub(super) fn services(
    ctx: &mut Context<'_>,
    _: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let schema = ctx.keyspace.schema();
    names(schema.catalog.services().map(|service| service.name.as_str()), reply);
    Ok(())
}

fn names<'a>(names: impl Iterator<Item = &'a str>, reply: &mut Reply<'_>) {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    reply.array(names.len());
    names.into_iter().for_each(|name| reply.bulk_text(name));
}

/// `FS.DESCRIBE name[@version]`: what an entity, view or service means, as a map.
pub(super) fn describe(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let schema = ctx.keyspace.schema();
    let description = describe_name(&schema.catalog, args.text("name")?)?;
    write_json(&description, reply);
    Ok(())
}

fn write_json(json: &Json, reply: &mut Reply<'_>) {
    match json {
        Json::Null => reply.null(),
        Json::Bool(value) => reply.boolean(*value),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => reply.integer(integer),
            None => reply.double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => reply.bulk_text(text),
        Json::Array(items) => {
            reply.array(items.len());
            items.iter().for_each(|item| write_json(item, reply));
        }
        Json::Object(fields) => {
            reply.map(fields.len());
            for (name, value) in fields {
                reply.bulk_text(name);
                write_json(value, reply);
            }
        }
    }
}

/// The view of that name, or a refusal that lists the nearest.
pub(super) fn named_view(
    ctx: &Context<'_>,
    name: &str,
) -> Result<std::sync::Arc<crate::feature::View>, Error> {
    let schema = ctx.keyspace.schema();
    let view = schema.catalog.newest_view(name).cloned();
    view.ok_or_else(|| schema.catalog.unknown_view(name))
}
