//! DEBUG: for tests, and only where the operator allows it.

use super::{arguments::Args, context::Context};
use crate::error::{Error, Result};
use nowthen_protocol::Reply;
use std::time::Duration;

const HELP: [&str; 5] = [
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "SLEEP <seconds>",
    "    Keep this connection waiting for <seconds>. Decimals allowed.",
    "HELP",
    "    Prints this help.",
];

/// `DEBUG SLEEP seconds | HELP`: other connections go on meanwhile.
pub(super) fn debug(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let is_local = ctx.session.info.peer.ip().to_canonical().is_loopback();
    match ctx.app.identity.debug.as_str() {
        "yes" => {}
        "local" if is_local => {}
        _ => return Err(Error::refused(NOT_ALLOWED)),
    }
    let word = args.next()?;
    match (word.to_ascii_lowercase().as_slice(), args.len()) {
        (b"sleep", 1) => {
            // What is no number is 0 to Redis, too.
            let text = std::str::from_utf8(args.next()?).unwrap_or_default();
            let seconds = text.parse().unwrap_or(0.0);
            std::thread::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default());
            reply.ok();
        }
        (b"help", 0) => {
            reply.array(HELP.len());
            HELP.iter().for_each(|line| reply.simple(line));
        }
        _ => {
            let word = crate::error::echo_word(word);
            let why = "unknown subcommand or wrong number of arguments for";
            return Err(Error::refused(format!("{why} {word}. Try DEBUG HELP.")));
        }
    }
    Ok(())
}

/// Redis' text.
const NOT_ALLOWED: &str = "DEBUG command not allowed. If the enable-debug-command option is set \
     to \"local\", you can run it from a local connection, otherwise you need to set this option \
     in the configuration file, and then restart the server.";
