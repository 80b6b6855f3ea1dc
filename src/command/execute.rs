//! Running a command of the table: alone, or those of a transaction one after the other.

use super::{
    app::App,
    arguments::Args,
    context::{Context, entity_of},
    observation::{Outcome, note},
    session::{Queue, Session, Watched},
    table::{Asked, Command, resolve},
};
use crate::{
    error::Error,
    feature::Timestamp,
    store::{Keyspace, Schema, TransactionKeys, TransactionKind},
};
use nowthen_protocol::{Arguments, Reply};
use std::{
    borrow::Cow,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

/// What a command runs on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ground<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) keyspace: Keyspace<'a>,
    pub(super) now: Timestamp,
}

impl<'a> Ground<'a> {
    /// Everything, at this moment, which is `instant`.
    pub(super) fn at(app: &'a Arc<App>, instant: Instant) -> Self {
        let now = app.store.now_at(instant);
        Self { app, keyspace: app.store.keyspace_at(now), now }
    }

    /// Runs one command, of which the number of arguments is right. If it fails, the error is
    /// its reply.
    pub(super) fn call(
        self,
        session: &mut Session,
        command: &Command,
        request: Arguments<'_>,
        reply: &mut Reply<'_>,
    ) -> Outcome {
        let reply_at = reply.len();
        let Self { app, keyspace, now } = self;
        let mut context = Context { app, keyspace, session, now };
        let Err(error) = (command.handler)(&mut context, &mut Args::new(request), reply) else {
            return Outcome::Done;
        };
        if !matches!(error, Error::Refused { .. }) {
            tracing::error!(%error, command = command.about.name, "a command failed");
        }
        reply.truncate(reply_at);
        reply.error(error.code(), &error.to_string());
        Outcome::Failed(error.code())
    }
}

/// Runs the commands of a transaction: an array of their replies, or null if a key changed that
/// was watched.
pub(super) fn execute(app: &Arc<App>, session: &mut Session, queue: &Queue, reply: &mut Reply<'_>) {
    let watched = std::mem::take(&mut session.watched);
    let commands: Vec<(Asked, Arguments<'_>)> = queue
        .requests
        .iter()
        .filter_map(|request| Some((resolve(request.borrow()).ok()?, request.borrow())))
        .collect();
    let is_write = commands.iter().any(|(asked, _)| asked.about.has_flag("write"));
    // What only reads waits for nobody's sync, unless this connection wrote: then it sees that.
    let seen = session.seen();
    let kind = if is_write { TransactionKind::Writes } else { TransactionKind::Reads(seen) };
    let reply_at = reply.len();
    let run = |keyspace: Keyspace<'_>, now: Timestamp| {
        let is_changed =
            |(key, version): (&Vec<u8>, &Option<u64>)| keyspace.version(key, seen, now) != *version;
        if watched.versions.iter().any(is_changed) {
            return reply.null_array();
        }
        // As Redis: CLIENT REPLY counts for the replies behind it, and for the number before them.
        if !session.is_silent() {
            reply.array(commands.len());
        }
        let mut started = Instant::now();
        for (asked, request) in &commands {
            session.info.last_command.store(asked.counter as u64, Ordering::Relaxed);
            let ground = Ground { app, keyspace, now };
            let reply_at = reply.len();
            let outcome = ground.call(session, asked.command, *request, reply);
            if session.is_silent() {
                reply.truncate(reply_at);
            }
            let ended = Instant::now();
            let took_ns = (ended - started).as_nanos() as u64;
            note(app, session, *request, (Some(asked.counter), outcome), took_ns);
            started = ended;
        }
    };
    let keys = |schema: &Schema| keys_of(schema, &commands, &watched);
    match app.store.transaction(keys, kind, run) {
        Ok(committed) => session.must_wait_for(committed.wait_for),
        Err(error) => {
            tracing::error!(%error, "a transaction failed");
            reply.truncate(reply_at);
            reply.error(error.code(), &error.to_string());
        }
    }
}

/// All keys that the commands name and that were watched, in the one spelling of their entities,
/// and as they were named: commands for plain keys look for just that.
fn keys_of(
    schema: &Schema,
    commands: &[(Asked, Arguments<'_>)],
    watched: &Watched,
) -> TransactionKeys {
    let mut keys: Vec<Vec<u8>> = watched.versions.keys().cloned().collect();
    for (asked, request) in commands {
        if asked.about.reaches_any_key() {
            return TransactionKeys::All;
        }
        let named = asked.about.key_places(request.len()).filter_map(|at| request.get(at));
        for key in named {
            if let Some((_, Cow::Owned(canonical))) = entity_of(schema, key) {
                keys.push(canonical);
            }
            keys.push(key.to_vec());
        }
    }
    TransactionKeys::Some(keys)
}
