//! The connection itself: who, which protocol, which database.

use super::{
    arguments::{Args, check_database, is_word, syntax, wrong_arity},
    context::Context,
    session::{ClientInfo, Replies},
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

/// `AUTH [username] password`: there are no users yet, and the text says so as Redis does.
pub(super) fn auth(_: &mut Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    check_login(args.len(), args.pop())?;
    reply.ok();
    Ok(())
}

/// The user `default` needs no password and takes any, as long as no users are configured.
fn check_login(count: usize, user: Option<&[u8]>) -> Result<()> {
    match (count, user) {
        (1, _) => Err(Error::refused(
            "AUTH <password> called without any password configured for the default user. Are \
             you sure your configuration is correct?",
        )),
        (2, Some(b"default")) => Ok(()),
        (2, _) => Err(Error::refused_as(
            "WRONGPASS",
            "invalid username-password pair or user is disabled.",
        )),
        _ => Err(syntax()),
    }
}

/// `HELLO [protover [AUTH username password] [SETNAME name]]`: a map of what the server is.
pub(super) fn hello(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let mut version = ctx.session.version;
    let mut name = None;
    if let Some(wanted) = args.pop() {
        let number = parse_integer(wanted)
            .ok_or_else(|| Error::refused("Protocol version is not an integer or out of range"))?;
        version = ProtocolVersion::from_number(number)
            .ok_or_else(|| Error::refused_as("NOPROTO", "unsupported protocol version"))?;
        while !args.is_empty() {
            let option = args.next()?;
            if is_word(option, "AUTH") && args.len() >= 2 {
                let user = args.next()?;
                args.next()?;
                check_login(2, Some(user))?;
            } else if is_word(option, "SETNAME") && !args.is_empty() {
                name = Some(client_name(args.next()?)?);
            } else {
                let why = format!("Syntax error in HELLO option {}", error::echo(option));
                return Err(Error::refused(why));
            }
        }
    }
    if let Some(name) = name {
        ctx.session.info.names.lock().name = name;
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
    ctx.session.end_transaction();
    ctx.session.info.names.lock().name.clear();
    reply.set_version(ProtocolVersion::Resp2);
    reply.simple("RESET");
    Ok(())
}

/// `CLIENT ID | INFO | LIST | GETNAME | SETNAME name | SETINFO what value | REPLY ON|OFF|SKIP |
/// NO-EVICT on|off | NO-TOUCH on|off`
pub(super) fn client(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let subcommand = args.next()?;
    let lower = subcommand.to_ascii_lowercase();
    let wanted = match lower.as_slice() {
        b"id" | b"info" | b"getname" => 0..=0,
        b"setname" | b"reply" | b"no-evict" | b"no-touch" => 1..=1,
        b"setinfo" => 2..=2,
        _ => 0..=usize::MAX,
    };
    args.subcommand_takes("client", &lower, wanted)?;
    match lower.as_slice() {
        b"id" => reply.integer(ctx.session.info.id as i64),
        b"info" => reply.verbatim(&format!("{}\n", client_line(&ctx.session.info, ctx))),
        b"list" => {
            let clients = ctx.app.clients.lock();
            let lines: String =
                clients.values().map(|info| format!("{}\n", client_line(info, ctx))).collect();
            drop(clients);
            reply.verbatim(&lines);
        }
        b"getname" => match ctx.session.info.names.lock().name.as_slice() {
            b"" => reply.null(),
            name => reply.bulk(name),
        },
        b"setname" => {
            let name = client_name(args.next()?)?;
            ctx.session.info.names.lock().name = name;
            reply.ok();
        }
        b"setinfo" => {
            let (what, value) = (args.next()?.to_ascii_lowercase(), client_name(args.next()?)?);
            let mut names = ctx.session.info.names.lock();
            match what.as_slice() {
                b"lib-name" => names.library = value,
                b"lib-ver" => names.library_version = value,
                _ => {
                    let what = error::echo(&what);
                    return Err(Error::refused(format!("Unrecognized option {what}")));
                }
            }
            reply.ok();
        }
        b"reply" => return client_reply(ctx, args, reply),
        // Features are never evicted, and there is no idle time to touch.
        b"no-evict" | b"no-touch" => match args.next()?.to_ascii_lowercase().as_slice() {
            b"on" | b"off" => reply.ok(),
            _ => return Err(syntax()),
        },
        _ => {
            return Err(Error::refused(format!(
                "unknown subcommand {}. Try CLIENT ID, INFO, LIST, GETNAME, SETNAME, SETINFO, \
                 REPLY, NO-EVICT or NO-TOUCH.",
                error::echo(subcommand)
            )));
        }
    }
    Ok(())
}

fn client_reply(ctx: &mut Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    match args.next()?.to_ascii_lowercase().as_slice() {
        b"on" => {
            ctx.session.replies = Replies::On;
            reply.ok();
        }
        b"off" => ctx.session.replies = Replies::Off,
        b"skip" if ctx.session.replies == Replies::Off => {}
        b"skip" => ctx.session.replies = Replies::SkipNext,
        _ => return Err(syntax()),
    }
    Ok(())
}

/// Names stand in `CLIENT LIST`, one client a line: no blanks, no line ends.
fn client_name(name: &[u8]) -> Result<Vec<u8>> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(name.to_vec());
    }
    Err(Error::refused("Client names cannot contain spaces, newlines or special characters."))
}

/// One line of `CLIENT LIST`, with Redis' fields as far as they mean something here.
fn client_line(info: &ClientInfo, ctx: &Context<'_>) -> String {
    let names = info.names.lock().clone();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let machine_us = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as i64);
    let seconds_since = |us: i64| (machine_us - us).max(0) / 1_000_000;
    let last = info.last_command.load(Ordering::Relaxed) as usize;
    format!(
        "id={} addr={} laddr={} name={} age={} idle={} flags=N db=0 sub=0 psub=0 multi=-1 \
         cmd={} user=default redir=-1 resp={} lib-name={} lib-ver={}",
        info.id,
        info.peer,
        info.local,
        text(&names.name),
        seconds_since(info.connected_us),
        match info.id == ctx.session.info.id {
            true => 0,
            false => seconds_since(info.active_us.load(Ordering::Relaxed)),
        },
        ctx.app.commands.get(last).map_or("NULL", |command| command.name),
        info.protocol.load(Ordering::Relaxed),
        text(&names.library),
        text(&names.library_version),
    )
}
