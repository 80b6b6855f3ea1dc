//! FS.FORGET.

use super::{arguments::Args, context::Context};
use crate::{
    error::{Error, Result, echo},
    feature::Entity,
    store::{Receipt, Schema},
};
use nowthen_protocol::Reply;

/// `FS.FORGET entity:key`: erases an entity, and returns when no file of the store tells of it any
/// more: a receipt, which also tells what is not ours to erase.
pub(super) fn forget(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let key = args.next()?;
    args.end()?;
    let schema = ctx.keyspace.schema();
    let entity = schema.catalog.entity_ever_of_key(key).ok_or_else(|| no_entity(key))?;
    let key = entity.canonical_key(key)?;
    // All of it: a request tells of an entity by parts of its key, too, and in other spellings.
    ctx.app.stats.slow_log.clear();
    let receipt = ctx.app.store.forget(&key)?;
    write_receipt(&receipt, &left(&schema, entity), reply);
    Ok(())
}

fn no_entity(key: &[u8]) -> Error {
    Error::refused(format!(
        "{} is no key of a registered entity; expected entity:key. DEL removes a plain key",
        echo(key)
    ))
}

/// What may still tell of an entity of this kind, and is not ours to erase.
fn left(schema: &Schema, entity: &Entity) -> Vec<String> {
    let views = schema.catalog.views().filter(|view| view.entity == entity.id);
    let sources = views.filter_map(|view| {
        let source = view.source.as_deref()?;
        Some(format!("source of view {}: {source}; hidden from what is read", view.name))
    });
    let rest = ["backups that were taken before", "training sets that were written before"];
    sources.chain(rest.map(str::to_owned)).collect()
}

fn write_receipt(receipt: &Receipt, left: &[String], reply: &mut Reply<'_>) {
    let Receipt { mark, at, lsn, was_online, erased } = receipt;
    let numbers = [
        ("lsn", lsn.0),
        ("online_rows", u64::from(*was_online)),
        ("history_rows", erased.history_rows),
        ("history_files", erased.history_files),
        ("aside_files", erased.aside_files),
        ("log_first_lsn", erased.log_first.0),
    ];
    reply.map(2 + numbers.len() + 1);
    for (name, text) in [("mark", mark.to_string()), ("forgotten_at", at.to_iso())] {
        reply.bulk_text(name);
        reply.bulk_text(&text);
    }
    for (name, number) in numbers {
        reply.bulk_text(name);
        reply.integer(i64::try_from(number).unwrap_or(i64::MAX));
    }
    reply.bulk_text("not_erased");
    reply.array(left.len());
    left.iter().for_each(|text| reply.bulk_text(text));
}
