//! OBJECT: how a value is kept, in the words of Redis.

use super::{
    arguments::Args,
    context::{Context, entity_of},
    keys::type_name,
};
use crate::{
    error::{Error, Result},
    feature::Timestamp,
    online::{Body, PlainHash, Row},
};
use nowthen_protocol::{Reply, parse_integer};

/// Redis keeps longer strings apart from their object.
const EMBEDDED_BYTES_MAX: usize = 44;
/// Redis packs a hash of at most so many fields, of which none is longer than that.
const LISTPACK_FIELDS_MAX: usize = 512;
const LISTPACK_BYTES_MAX: usize = 64;

const HELP: [&str; 15] = [
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Prints this help.",
];
const NO_FREQUENCY: &str = "An LFU maxmemory policy is not selected, access frequency not tracked. \
     Please note that when switching between policies at runtime LRU and LFU data will take some \
     time to adjust.";

/// `OBJECT ENCODING | FREQ | IDLETIME | REFCOUNT key`, `OBJECT HELP`. Nothing notes when a key was
/// read last, so the idle time is always 0; no value is shared, so the count is always 1.
pub(super) fn object(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let subcommand = args.next()?.to_ascii_lowercase();
    let Some(key) = args.pop() else {
        reply.array(HELP.len());
        HELP.iter().for_each(|line| reply.simple(line));
        return Ok(());
    };
    let schema = ctx.keyspace.schema();
    if type_name(ctx, &schema, key).is_none() {
        reply.null();
        return Ok(());
    }
    match subcommand.as_slice() {
        b"encoding" if entity_of(&schema, key).is_some() => reply.bulk_text("packed"),
        b"encoding" => {
            let now = ctx.now;
            ctx.peek_plain(key, |row| match encoding(row, now) {
                Some(name) => reply.bulk_text(name),
                None => reply.null(),
            });
        }
        b"freq" => return Err(Error::refused(NO_FREQUENCY)),
        b"refcount" => reply.integer(1),
        _ => reply.integer(0),
    }
    Ok(())
}

/// What Redis would choose for this value as it is, whatever it was before.
fn encoding(row: Option<Row<'_>>, now: Timestamp) -> Option<&'static str> {
    let is_short = |bytes: &[u8]| bytes.len() <= LISTPACK_BYTES_MAX;
    let is_packed = |hash: PlainHash<'_>| {
        hash.len() <= LISTPACK_FIELDS_MAX
            && hash.fields().all(|field| is_short(field.name) && is_short(field.value))
    };
    let row = row?;
    match row.body()? {
        Body::String(value) if parse_integer(value).is_some() => Some("int"),
        Body::String(value) if value.len() <= EMBEDDED_BYTES_MAX => Some("embstr"),
        Body::String(_) => Some("raw"),
        Body::Hash(hash) if !is_packed(hash.at(now)) => Some("hashtable"),
        Body::Hash(_) if row.has_field_ends() => Some("listpackex"),
        Body::Hash(_) => Some("listpack"),
        Body::Entity(_) => None,
    }
}
