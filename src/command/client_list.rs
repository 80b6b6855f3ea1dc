//! CLIENT LIST: one line for each connection, with the fields of Redis in their order.

use super::{
    arguments::{Args, syntax},
    context::Context,
    session::{ClientInfo, Session},
};
use crate::error::{Error, Result, echo_word};
use nowthen_protocol::{Reply, parse_integer};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// `CLIENT LIST [TYPE NORMAL | MASTER | REPLICA | PUBSUB | ID id [id ...]]`
pub(super) fn list(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let clients = &ctx.app.clients;
    let wanted: Vec<Arc<ClientInfo>> = if args.is_empty() {
        clients.lock().values().cloned().collect()
    } else if args.len() == 2 && args.take_word("TYPE") {
        match ClientType::named(args.next()?)? {
            ClientType::Normal => clients.lock().values().cloned().collect(),
            ClientType::Other => Vec::new(),
        }
    } else if args.len() >= 2 && args.take_word("ID") {
        let id = |text| parse_integer(text).ok_or_else(|| Error::refused("Invalid client ID"));
        let ids = args.rest().map(id).collect::<Result<Vec<i64>>>()?;
        let clients = clients.lock();
        let known = |id: &i64| u64::try_from(*id).ok().and_then(|id| clients.get(&id).cloned());
        ids.iter().filter_map(known).collect()
    } else {
        return Err(syntax());
    };
    let line = |info: &Arc<ClientInfo>| format!("{}\n", client_line(info, ctx));
    let lines: String = wanted.iter().map(line).collect();
    reply.verbatim(&lines);
    Ok(())
}

/// What Redis tells clients apart by. There are no replicas, and nobody subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientType {
    /// Every client here.
    Normal,
    /// A master, a replica or a subscriber.
    Other,
}

impl ClientType {
    /// The type of that name, in any case.
    pub(super) fn named(name: &[u8]) -> Result<Self> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Self::Normal),
            b"master" | b"replica" | b"slave" | b"pubsub" => Ok(Self::Other),
            _ => Err(Error::refused(format!("Unknown client type {}", echo_word(name)))),
        }
    }
}

/// How many seconds a connection has lasted.
pub(super) fn age_seconds(info: &ClientInfo) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_us = now.map_or(0, |since| since.as_micros() as i64);
    now_us.saturating_sub(info.connected_us).max(0) / 1_000_000
}

/// One line of `CLIENT LIST`. What has no meaning here (subscriptions, lists of replies) is 0.
pub(super) fn client_line(info: &ClientInfo, ctx: &Context<'_>) -> String {
    let names = info.names.lock().clone();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let last = info.last_command.load(Ordering::Relaxed) as usize;
    let now_ms = ctx.app.identity.started.elapsed().as_millis() as u64;
    let idle = now_ms.saturating_sub(info.active_ms.load(Ordering::Relaxed)) / 1000;
    let input = info.input_bytes.load(Ordering::Relaxed);
    let input_space = info.input_capacity.load(Ordering::Relaxed);
    let output = info.output_bytes.load(Ordering::Relaxed);
    let output_space = info.output_capacity.load(Ordering::Relaxed);
    let queued = info.queued_commands.load(Ordering::Relaxed);
    let queued_bytes = info.queued_bytes.load(Ordering::Relaxed);
    let own = size_of::<ClientInfo>() + size_of::<Session>();
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={idle} flags={} db=0 sub=0 psub=0 \
         ssub=0 multi={queued} qbuf={input} qbuf-free={} argv-mem=0 multi-mem={queued_bytes} \
         rbs={output_space} rbp=0 obl={output} oll=0 omem=0 tot-mem={} events=r cmd={} \
         user=default redir=-1 resp={} lib-name={} lib-ver={}",
        info.id,
        info.peer,
        info.local,
        info.fd,
        text(&names.name),
        age_seconds(info),
        flags(info),
        input_space.saturating_sub(input),
        input_space + output_space + queued_bytes + own,
        ctx.app.commands.get(last).map_or("NULL", |command| command.name),
        info.protocol.load(Ordering::Relaxed),
        text(&names.library),
        text(&names.library_version),
    )
}

fn flags(info: &ClientInfo) -> String {
    let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
    let flags = [
        (is(&info.is_monitor), 'O'),
        (info.queued_commands.load(Ordering::Relaxed) >= 0, 'x'),
        (is(&info.is_never_evicted), 'e'),
        (is(&info.is_never_touching), 'T'),
    ];
    let text: String = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).collect();
    if text.is_empty() { "N".into() } else { text }
}
