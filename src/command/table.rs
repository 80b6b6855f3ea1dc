//! THE table: every command with its name, arity, keys, place to run, and handler. It drives
//! dispatch, COMMAND, COMMAND DOCS and the tests.

use super::{
    arguments::Args,
    connection,
    context::Context,
    definitions,
    description::{Description, Speed},
    features, hashes, information, introspection, keys, materialization, operation, strings,
    training,
};
use crate::error::Result;
use nowthen_protocol::Reply;
use std::{collections::HashMap, sync::LazyLock};

/// A command: parse, resolve, reply.
pub(super) type Handler = fn(&mut Context<'_>, &mut Args<'_>, &mut Reply<'_>) -> Result<()>;

/// One command.
#[derive(Debug)]
pub struct Command {
    /// What is told of it.
    pub about: Description,
    pub(super) handler: Handler,
}

const READ: &[&str] = &["readonly", "fast"];
const READ_SLOW: &[&str] = &["readonly"];
const WRITE: &[&str] = &["write", "denyoom", "fast"];
const DELETE: &[&str] = &["write"];
const CONNECTION: &[&str] = &["loading", "stale", "fast"];
const ADMIN: &[&str] = &["admin", "noscript"];
const NONE: (i64, i64, i64) = (0, 0, 0);
const ONE: (i64, i64, i64) = (1, 1, 1);
const ALL: (i64, i64, i64) = (1, -1, 1);

macro_rules! commands {
    ($($group:literal { $($name:literal $arity:literal $flags:ident $keys:ident $speed:ident
        $handler:path, $summary:literal;)* })*) => {
        /// Every command.
        pub static COMMANDS: &[Command] = &[$($(Command {
            about: Description {
                name: $name,
                arity: $arity,
                flags: $flags,
                keys: $keys,
                group: $group,
                summary: $summary,
                speed: commands!(@ $speed),
            },
            handler: $handler,
        },)*)*];
    };
    (@ quick) => { Speed::Quick };
    (@ slow) => { Speed::Slow };
    (@ slow_at) => { Speed::SlowWith("AT") };
}

commands! {
    "connection" {
        "auth" -2 CONNECTION NONE quick connection::auth, "Authenticates the connection.";
        "client" -2 CONNECTION NONE quick connection::client,
            "Tells of connections, and names this one.";
        "echo" 2 CONNECTION NONE quick connection::echo, "Returns its argument.";
        "hello" -1 CONNECTION NONE quick connection::hello,
            "Chooses the protocol, and tells what the server is.";
        "ping" -1 CONNECTION NONE quick connection::ping, "Returns PONG, or its argument.";
        "quit" -1 CONNECTION NONE quick connection::quit, "Closes the connection.";
        "reset" 1 CONNECTION NONE quick connection::reset,
            "Puts the connection back to its beginning.";
        "select" 2 CONNECTION NONE quick connection::select, "Chooses database 0, the only one.";
    }
    "server" {
        "bgsave" -1 ADMIN NONE quick operation::bgsave, "Writes a snapshot in the background.";
        "command" -1 CONNECTION NONE quick introspection::command, "Tells of the commands.";
        "config" -2 ADMIN NONE quick introspection::config, "Tells the settings.";
        "dbsize" 1 READ NONE slow keys::dbsize, "Counts the keys.";
        "flushall" -1 DELETE NONE slow keys::flushall, "Removes every key; definitions stay.";
        "flushdb" -1 DELETE NONE slow keys::flushall, "Removes every key; definitions stay.";
        "info" -1 CONNECTION NONE quick information::info, "Tells how the server does.";
        "lastsave" 1 CONNECTION NONE quick operation::lastsave,
            "Tells when the last snapshot was written.";
        "save" 1 ADMIN NONE slow operation::save, "Writes a snapshot and waits for it.";
        "shutdown" -1 ADMIN NONE quick operation::shutdown, "Stops the server.";
        "time" 1 CONNECTION NONE quick operation::time, "Tells the time of the server.";
    }
    "hash" {
        "hdel" -3 DELETE ONE quick hashes::hdel, "Deletes fields.";
        "hexists" 3 READ ONE quick hashes::hexists, "Tells whether a field is there.";
        "hget" 3 READ ONE quick hashes::hget, "Returns the value of a field.";
        "hgetall" 2 READ_SLOW ONE quick hashes::hgetall, "Returns all fields and their values.";
        "hkeys" 2 READ_SLOW ONE quick hashes::hkeys, "Returns all fields.";
        "hlen" 2 READ ONE quick hashes::hlen, "Counts the fields.";
        "hmget" -3 READ ONE quick hashes::hmget,
            "Returns the values of fields, in the order asked.";
        "hmset" -4 WRITE ONE quick hashes::hmset, "Sets fields.";
        "hset" -4 WRITE ONE quick hashes::hset, "Sets fields; counts the new ones.";
        "hvals" 2 READ_SLOW ONE quick hashes::hvals, "Returns all values.";
    }
    "string" {
        "get" 2 READ ONE quick strings::get, "Returns the string.";
        "mget" -2 READ ALL quick strings::mget, "Returns the strings of keys.";
        "set" -3 WRITE ONE quick strings::set, "Sets the string.";
    }
    "generic" {
        "del" -2 DELETE ALL quick keys::del, "Deletes keys; counts those that were there.";
        "exists" -2 READ ALL quick keys::exists, "Counts which of the keys are there.";
        "expire" -3 WRITE ONE quick keys::expire, "Ends a key after seconds.";
        "expireat" -3 WRITE ONE quick keys::expireat, "Ends a key at a second since 1970.";
        "persist" 2 WRITE ONE quick keys::persist, "Takes the end of a key away.";
        "pexpire" -3 WRITE ONE quick keys::pexpire, "Ends a key after milliseconds.";
        "pexpireat" -3 WRITE ONE quick keys::pexpireat, "Ends a key at a millisecond since 1970.";
        "pttl" 2 READ ONE quick keys::pttl, "Tells the milliseconds until the end of a key.";
        "scan" -2 READ_SLOW NONE slow keys::scan, "Walks over the keys, step by step.";
        "ttl" 2 READ ONE quick keys::ttl, "Tells the seconds until the end of a key.";
        "type" 2 READ ONE quick keys::type_of, "Tells what stands under a key.";
        "unlink" -2 DELETE ALL quick keys::del, "Deletes keys; counts those that were there.";
    }
    "features" {
        "fs.get" -8 READ_SLOW NONE slow_at features::get,
            "Returns features of entities, now or at a time.";
        "fs.set" -8 WRITE NONE quick features::set,
            "Writes rows of a view with their event timestamps.";
        "fs.asof" -4 READ_SLOW NONE slow training::asof,
            "Joins features to a spine, as of the times in it.";
        "fs.apply" -2 ADMIN NONE slow definitions::apply,
            "Makes definitions true, or tells what would change.";
        "fs.entities" 1 READ_SLOW NONE quick definitions::entities, "Lists the entities.";
        "fs.views" 1 READ_SLOW NONE quick definitions::views, "Lists the feature views.";
        "fs.services" 1 READ_SLOW NONE quick definitions::services, "Lists the feature services.";
        "fs.describe" 2 READ_SLOW NONE quick definitions::describe, "Tells what a name means.";
        "fs.materialize" -2 ADMIN NONE slow materialization::materialize,
            "Brings the newest rows of sources online.";
        "fs.runs" -1 READ_SLOW NONE quick materialization::runs,
            "Lists runs of materialization, newest first.";
    }
}

static BY_NAME: LazyLock<HashMap<&'static [u8], usize, ahash::RandomState>> = LazyLock::new(|| {
    let entry = |(index, command): (usize, &Command)| (command.about.name.as_bytes(), index);
    COMMANDS.iter().enumerate().map(entry).collect()
});

/// Longer than any name of a command.
const NAME_BYTES_MAX: usize = 24;

/// The command of that name, in any case, and its place in the table.
pub(super) fn find(name: &[u8]) -> Option<(usize, &'static Command)> {
    let mut lower = [0; NAME_BYTES_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    let index = *BY_NAME.get(&*lower)?;
    COMMANDS.get(index).map(|command| (index, command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_in_any_case() {
        for (index, command) in COMMANDS.iter().enumerate() {
            assert!(command.about.name.len() <= NAME_BYTES_MAX);
            let upper = command.about.name.to_ascii_uppercase();
            assert_eq!(find(upper.as_bytes()).unwrap().0, index, "{upper} stands twice");
        }
        assert!(find(b"nosuch").is_none() && find(&[b'x'; 100]).is_none());
    }
}
