//! CLUSTER: one node that has all slots, so that a client made for a cluster connects.
//!
//! Not here: `cluster_enabled` of INFO. It is 1 although the mode is `standalone`: what asks for
//! a cluster finds one, and what does not is not kept from naming keys of several slots.

use super::{
    arguments::{Args, syntax},
    context::Context,
    hash_slot::{SLOTS, slot_of},
    help::help,
    key_names::STEP_ROWS,
    keys::visible_type,
};
use crate::error::{Error, Result};
use nowthen_protocol::Reply;

/// `CLUSTER COUNTKEYSINSLOT slot | GETKEYSINSLOT slot count | INFO | KEYSLOT key | LINKS | MYID |
/// NODES | SHARDS | SLOTS`
pub(super) fn cluster(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    match args.next()?.to_ascii_lowercase().as_slice() {
        b"countkeysinslot" => {
            let slot = args.integer()?;
            let slot = valid_slot(slot).ok_or_else(|| Error::refused("Invalid slot"))?;
            let mut count = 0;
            for_each_key_of(ctx, slot, |_| {
                count += 1;
                true
            });
            reply.integer(count);
        }
        b"getkeysinslot" => {
            let (slot, most) = (args.integer()?, args.integer()?);
            let slot = valid_slot(slot).zip(usize::try_from(most).ok());
            let (slot, most) =
                slot.ok_or_else(|| Error::refused("Invalid slot or number of keys"))?;
            let mut keys = Vec::new();
            for_each_key_of(ctx, slot, |key| {
                if keys.len() < most {
                    keys.push(key.to_vec());
                }
                keys.len() < most
            });
            reply.array(keys.len());
            keys.iter().for_each(|key| reply.bulk(key));
        }
        b"help" => help(ctx, "cluster", reply),
        b"info" => reply.verbatim(INFO),
        b"keyslot" => reply.integer(i64::from(slot_of(args.next()?))),
        b"links" => reply.array(0),
        b"myid" => reply.bulk_text(&ctx.app.node_id),
        b"nodes" => nodes(ctx, reply),
        b"shards" => shards(ctx, reply),
        b"slots" => slots(ctx, reply),
        _ => return Err(syntax()),
    }
    Ok(())
}

/// `READONLY | READWRITE | ASKING`: OK. The one node has every slot, and never a replica's state.
pub(super) fn agree(_: &mut Context<'_>, _: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    reply.ok();
    Ok(())
}

/// What Redis tells of a node that is alone and has all slots.
const INFO: &str = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n\
                    cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:1\r\n\
                    cluster_size:1\r\ncluster_current_epoch:0\r\ncluster_my_epoch:0\r\n\
                    cluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n\
                    total_cluster_links_buffer_limit_exceeded:0\r\n";

fn valid_slot(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|slot| *slot < SLOTS)
}

/// Walks over the keys of a slot until `visit` says that it wants no more.
fn for_each_key_of(ctx: &mut Context<'_>, slot: u16, mut visit: impl FnMut(&[u8]) -> bool) {
    let (schema, seen, now) = (ctx.keyspace.schema(), ctx.seen(), ctx.now);
    let (mut cursor, mut is_wanted) = (0, true);
    loop {
        let step = ctx.keyspace.scan(cursor, STEP_ROWS, seen, |row| {
            let is_here = is_wanted && slot_of(row.key()) == slot;
            if is_here && visible_type(&schema, row, now).is_some() {
                is_wanted = visit(row.key());
            }
        });
        cursor = step.cursor;
        if cursor == 0 || !is_wanted {
            return;
        }
    }
}

/// The address at which this client found the node; another client may know it by another one.
fn address(ctx: &Context<'_>) -> (String, u16) {
    let local = ctx.session.info.local;
    (local.ip().to_canonical().to_string(), local.port())
}

/// There is no bus between nodes: its port is told as 0.
fn nodes(ctx: &Context<'_>, reply: &mut Reply<'_>) {
    let (host, port) = address(ctx);
    let (id, last) = (&ctx.app.node_id, SLOTS - 1);
    reply.verbatim(&format!("{id} {host}:{port}@0 myself,master - 0 0 0 connected 0-{last}\n"));
}

fn slots(ctx: &Context<'_>, reply: &mut Reply<'_>) {
    let (host, port) = address(ctx);
    reply.array(1);
    reply.array(3);
    reply.integer(0);
    reply.integer(i64::from(SLOTS - 1));
    reply.array(4);
    reply.bulk_text(&host);
    reply.integer(i64::from(port));
    reply.bulk_text(&ctx.app.node_id);
    reply.map(0);
}

fn shards(ctx: &Context<'_>, reply: &mut Reply<'_>) {
    let (host, port) = address(ctx);
    reply.array(1);
    reply.map(2);
    reply.bulk_text("slots");
    reply.array(2);
    reply.integer(0);
    reply.integer(i64::from(SLOTS - 1));
    reply.bulk_text("nodes");
    reply.array(1);
    reply.map(7);
    reply.bulk_text("id");
    reply.bulk_text(&ctx.app.node_id);
    reply.bulk_text("port");
    reply.integer(i64::from(port));
    for (name, value) in [("ip", host.as_str()), ("endpoint", &host), ("role", "master")] {
        reply.bulk_text(name);
        reply.bulk_text(value);
    }
    reply.bulk_text("replication-offset");
    reply.integer(0);
    reply.bulk_text("health");
    reply.bulk_text("online");
}
