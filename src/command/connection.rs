//! The connection itself: who, which protocol, which database.

use super::{
    arguments::{Args, check_database, is_word, wrong_arity},
    client::client_name,
    context::Context,
    session::Replies,
};
use crate::error::{self, Error, Result};
use nowthen_protocol::{ProtocolVersion, Reply, parse_integer};
use std::sync::atomic::Ordering;

/// The Redis version whose behaviour this server follows; clients look at it.
pub(super) const REDIS_VERSION: &str = "7.0.15";

/// `PING [message]`: PONG, or the message.
pub(super) fn ping(_: &mut Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    match (args.pop(), args.is_empty()) {
        (None, _) => reply.simple("PONG"),
        (Some(message), true) => reply.bulk(message),
        (Some(_), false) => return Err(wrong_arity("ping")),
    }
    Ok(())
}

/// `ECHO message`: the message.
pub(super) fn echo(_: &mut Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    reply.bulk(args.next()?);
    Ok(())
}

/// `QUIT`: OK, and the connection closes.
pub(super) fn quit(ctx: &mut Context<'_>, _: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    ctx.session.is_closing = true;
    reply.ok();
    Ok(())
}

/// `SELECT index`: OK for 0.
pub(super) fn select(
    _: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    check_database(args.next()?)?;
    reply.ok();
    Ok(())
}

/// `AUTH [username] password`: OK if `requirepass` is that; the only user is `default`.
pub(super) fn auth(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let (first, second) = (args.next()?, args.pop());
    args.end()?;
    if second.is_none() && !ctx.app.settings.has_password() {
        return Err(Error::refused(
            "AUTH <password> called without any password configured for the default user. Are \
             you sure your configuration is correct?",
        ));
    }
    match second {
        Some(password) => log_in(ctx, first, password)?,
        None => log_in(ctx, b"default", first)?,
    }
    reply.ok();
    Ok(())
}

/// Without a password in the settings the user `default` takes any.
fn log_in(ctx: &mut Context<'_>, user: &[u8], password: &[u8]) -> Result<()> {
    let settings = &ctx.app.settings;
    if user == b"default" && (!settings.has_password() || settings.is_password(password)) {
        ctx.session.authenticate();
        return Ok(());
    }
    let why = "invalid username-password pair or user is disabled.";
    Err(Error::refused_as("WRONGPASS", why))
}

/// `HELLO [protover [AUTH username password] [SETNAME name]]`: a map of what the server is.
pub(super) fn hello(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let mut version = ctx.session.version;
    if let Some(wanted) = args.pop() {
        let number = parse_integer(wanted)
            .ok_or_else(|| Error::refused("Protocol version is not an integer or out of range"))?;
        version = ProtocolVersion::from_number(number)
            .ok_or_else(|| Error::refused_as("NOPROTO", "unsupported protocol version"))?;
        while !args.is_empty() {
            let option = args.next()?;
            if is_word(option, "AUTH") && args.len() >= 2 {
                let (user, password) = (args.next()?, args.next()?);
                log_in(ctx, user, password)?;
            } else if is_word(option, "SETNAME") && !args.is_empty() {
                // At once, as Redis does: the name stays if a later word is refused.
                let name = client_name(args.next()?)?;
                ctx.session.info.names.lock().name = name;
            } else {
                let why = format!("Syntax error in HELLO option {}", error::echo_word(option));
                return Err(Error::refused(why));
            }
        }
    }
    if !ctx.session.is_authenticated {
        return Err(Error::refused_as(
            "NOAUTH",
            "HELLO must be called with the client already authenticated, otherwise the HELLO \
             AUTH <user> <pass> option can be used to authenticate the client and select \
             the RESP protocol version at the same time",
        ));
    }
    ctx.session.speak(version);
    reply.set_version(version);
    reply.map(7);
    for (key, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk_text(key);
        reply.bulk_text(value);
    }
    reply.bulk_text("proto");
    reply.integer(version.number());
    reply.bulk_text("id");
    reply.integer(ctx.session.info.id as i64);
    for (key, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk_text(key);
        reply.bulk_text(value);
    }
    reply.bulk_text("modules");
    reply.array(0);
    Ok(())
}

/// `RESET`: the connection is as it was at its beginning.
pub(super) fn reset(ctx: &mut Context<'_>, _: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    ctx.session.speak(ProtocolVersion::Resp2);
    ctx.session.replies = Replies::On;
    ctx.session.monitor = None;
    ctx.session.info.is_monitor.store(false, Ordering::Relaxed);
    ctx.session.end_transaction();
    if ctx.app.settings.has_password() {
        ctx.session.forget_login();
    }
    ctx.session.info.names.lock().name.clear();
    reply.set_version(ProtocolVersion::Resp2);
    reply.simple("RESET");
    Ok(())
}
