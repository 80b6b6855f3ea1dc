//! THE table: every command with its name, arity, keys, place to run, and handler. It drives
//! dispatch, COMMAND, COMMAND DOCS and the tests.

use super::{
    acl,
    arguments::Args,
    client, cluster, config, connection,
    context::Context,
    debug, definitions,
    description::{Description, Keys, Speed},
    feature_history, features, field_expiry, field_values, forget, hash_values, hash_walk, hashes,
    information, introspection, key_names, keys, latency, lineage, materialization, memory, object,
    operation, replication, slowlog, statistics, string_numbers, string_parts, string_values,
    strings, subcommands, training, transactions, verification,
};
use nowthen_protocol::{Arguments, Reply};
use std::{collections::HashMap, sync::LazyLock};

/// A command: parse, resolve, reply.
pub(super) type Handler =
    fn(&mut Context<'_>, &mut Args<'_>, &mut Reply<'_>) -> crate::error::Result<()>;

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
const WRITE_SLOW: &[&str] = &["write", "denyoom"];
const WRITE_ALONE: &[&str] = &["write", "denyoom", "no_multi"];
const DELETE: &[&str] = &["write"];
const CHANGE: &[&str] = &["write", "fast"];
const CONNECTION: &[&str] = &["loading", "stale", "fast"];
/// What a client may say before it has said who it is.
const BEGIN: &[&str] = &["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"];
const FAST: &[&str] = &["fast"];
const CLUSTER: &[&str] = &["loading", "stale", "fast", "@connection"];
const ASKING: &[&str] = &["fast", "@connection"];
const TELL: &[&str] = &["loading", "stale", "@connection"];
const TIME: &[&str] = &["loading", "stale", "fast"];
const INFO: &[&str] = &["loading", "stale", "@dangerous"];
const LASTSAVE: &[&str] = &["loading", "stale", "fast", "@admin", "@dangerous"];
const ROLE: &[&str] = &["noscript", "loading", "stale", "fast", "@admin", "@dangerous"];
const WAIT: &[&str] = &["noscript", "@connection"];
const DBSIZE: &[&str] = &["readonly", "fast", "@keyspace"];
const KEYS: &[&str] = &["readonly", "@keyspace", "@dangerous"];
const FLUSH: &[&str] = &["write", "@keyspace", "@dangerous"];
const ADMIN_ALONE: &[&str] = &["admin", "noscript", "no_multi"];
const DEBUG: &[&str] = &["admin", "noscript", "loading", "stale"];
const BGSAVE: &[&str] = &["admin", "noscript", "no_async_loading"];
const READ_ALONE: &[&str] = &["readonly", "no_multi"];
const TRANSACTION: &[&str] = &["noscript", "loading", "stale", "fast", "allow_busy"];
const EXEC: &[&str] = &["noscript", "loading", "stale", "skip_slowlog"];
const SAVE: &[&str] = &["admin", "noscript", "no_async_loading", "no_multi"];
const SHUTDOWN: &[&str] = &["admin", "noscript", "loading", "stale", "no_multi", "allow_busy"];
/// Redis tells these of the subcommands, not of the command above them.
const PARENT: &[&str] = &[];
const NONE: Keys = (0, 0, 0);
const ONE: Keys = (1, 1, 1);
const TWO: Keys = (1, 2, 1);
const ALL: Keys = (1, -1, 1);
const PAIRS: Keys = (1, -1, 2);

macro_rules! commands {
    ($($group:literal { $($name:literal $arity:literal $flags:ident $keys:ident $speed:ident
        $handler:path $([$subcommands:path])?, $summary:literal;)* })*) => {
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
                subcommands: commands!(@ of $($subcommands)?),
            },
            handler: $handler,
        },)*)*];
    };
    (@ of) => { &[] };
    (@ of $subcommands:path) => { $subcommands };
    (@ quick) => { Speed::Quick };
    (@ slow) => { Speed::Slow };
    (@ slow_at) => { Speed::SlowWith("AT") };
}

commands! {
    "connection" {
        "auth" -2 BEGIN NONE quick connection::auth, "Authenticates the connection.";
        "client" -2 PARENT NONE quick client::client [subcommands::CLIENT],
            "Tells of connections, and ends them.";
        "echo" 2 CONNECTION NONE quick connection::echo, "Returns its argument.";
        "hello" -1 BEGIN NONE quick connection::hello,
            "Chooses the protocol, and tells what the server is.";
        "ping" -1 FAST NONE quick connection::ping, "Returns PONG, or its argument.";
        "quit" -1 BEGIN NONE quick connection::quit, "Closes the connection.";
        "reset" 1 BEGIN NONE quick connection::reset,
            "Puts the connection back to its beginning.";
        "select" 2 CONNECTION NONE quick connection::select, "Chooses database 0, the only one.";
    }
    "cluster" {
        "asking" 1 ASKING NONE quick cluster::agree, "Says OK: no slot is on its way.";
        "cluster" -2 PARENT NONE slow cluster::cluster [subcommands::CLUSTER],
            "Tells of the cluster: one node with all slots.";
        "readonly" 1 CLUSTER NONE quick cluster::agree, "Says OK: there are no replicas.";
        "readwrite" 1 CLUSTER NONE quick cluster::agree, "Says OK: there are no replicas.";
    }
    "server" {
        "acl" -2 PARENT NONE quick acl::acl [subcommands::ACL],
            "Tells of users and what they may do.";
        "bgsave" -1 BGSAVE NONE quick operation::bgsave, "Writes a snapshot in the background.";
        "command" -1 TELL NONE quick introspection::command [subcommands::COMMAND],
            "Tells of the commands.";
        "config" -2 PARENT NONE quick config::config [subcommands::CONFIG],
            "Tells and changes the settings.";
        "dbsize" 1 DBSIZE NONE slow keys::dbsize, "Counts the keys.";
        "debug" -2 DEBUG NONE slow debug::debug, "Helps tests, where the operator allows it.";
        "flushall" -1 FLUSH NONE slow keys::flushall, "Removes every key; definitions stay.";
        "flushdb" -1 FLUSH NONE slow keys::flushall, "Removes every key; definitions stay.";
        "info" -1 INFO NONE quick information::info, "Tells how the server does.";
        "lastsave" 1 LASTSAVE NONE quick operation::lastsave,
            "Tells when the last snapshot was written.";
        "latency" -2 PARENT NONE quick latency::latency [subcommands::LATENCY],
            "Tells how long commands take, and when something took long.";
        "memory" -2 PARENT NONE quick memory::memory [subcommands::MEMORY],
            "Tells what takes how much memory.";
        "monitor" 1 DEBUG NONE quick operation::monitor, "Tells every request from here on.";
        "role" 1 ROLE NONE quick replication::role, "Tells that this is a master.";
        "save" 1 SAVE NONE slow operation::save, "Writes a snapshot and waits for it.";
        "shutdown" -1 SHUTDOWN NONE quick operation::shutdown, "Stops the server.";
        "slowlog" -2 PARENT NONE quick slowlog::slowlog [subcommands::SLOWLOG],
            "Tells which requests took long.";
        "time" 1 TIME NONE quick operation::time, "Tells the time of the server.";
    }
    "hash" {
        "hdel" -3 CHANGE ONE quick hashes::hdel, "Deletes fields.";
        "hexists" 3 READ ONE quick hashes::hexists, "Tells whether a field is there.";
        "hexpire" -6 CHANGE ONE quick field_expiry::hexpire, "Ends fields after seconds.";
        "hexpireat" -6 CHANGE ONE quick field_expiry::hexpireat,
            "Ends fields at a second since 1970.";
        "hexpiretime" -5 READ ONE quick field_expiry::hexpiretime,
            "Tells the second since 1970 of the end of fields.";
        "hget" 3 READ ONE quick hashes::hget, "Returns the value of a field.";
        "hgetall" 2 READ_SLOW ONE quick hashes::hgetall, "Returns all fields and their values.";
        "hgetdel" -5 CHANGE ONE quick field_values::hgetdel,
            "Returns the values of fields and deletes them.";
        "hgetex" -5 CHANGE ONE quick field_values::hgetex,
            "Returns the values of fields and changes their ends.";
        "hincrby" 4 WRITE ONE quick hash_values::hincrby, "Makes a number in a field higher.";
        "hincrbyfloat" 4 WRITE ONE quick hash_values::hincrbyfloat,
            "Makes a number with a fraction in a field higher.";
        "hkeys" 2 READ_SLOW ONE quick hashes::hkeys, "Returns all fields.";
        "hlen" 2 READ ONE quick hashes::hlen, "Counts the fields.";
        "hmget" -3 READ ONE quick hashes::hmget,
            "Returns the values of fields, in the order asked.";
        "hmset" -4 WRITE ONE quick hashes::hmset, "Sets fields.";
        "hpersist" -5 CHANGE ONE quick field_expiry::hpersist, "Takes the ends of fields away.";
        "hpexpire" -6 CHANGE ONE quick field_expiry::hpexpire, "Ends fields after milliseconds.";
        "hpexpireat" -6 CHANGE ONE quick field_expiry::hpexpireat,
            "Ends fields at a millisecond since 1970.";
        "hpexpiretime" -5 READ ONE quick field_expiry::hpexpiretime,
            "Tells the millisecond since 1970 of the end of fields.";
        "hpttl" -5 READ ONE quick field_expiry::hpttl,
            "Tells the milliseconds until the end of fields.";
        "hrandfield" -2 READ_SLOW ONE quick hash_walk::hrandfield, "Returns fields at random.";
        "hscan" -3 READ_SLOW ONE quick hash_walk::hscan,
            "Walks over the fields, step by step.";
        "hset" -4 WRITE ONE quick hashes::hset, "Sets fields; counts the new ones.";
        "hsetex" -6 WRITE ONE quick field_values::hsetex, "Sets fields together with their ends.";
        "hsetnx" 4 WRITE ONE quick hash_values::hsetnx, "Sets a field if it has no value.";
        "hstrlen" 3 READ ONE quick hash_values::hstrlen, "Counts the bytes of a value.";
        "httl" -5 READ ONE quick field_expiry::httl, "Tells the seconds until the end of fields.";
        "hvals" 2 READ_SLOW ONE quick hashes::hvals, "Returns all values.";
    }
    "string" {
        "append" 3 WRITE ONE quick string_parts::append, "Appends to the string.";
        "decr" 2 WRITE ONE quick string_numbers::decr, "Makes the number one lower.";
        "decrby" 3 WRITE ONE quick string_numbers::decrby, "Makes the number lower.";
        "get" 2 READ ONE quick strings::get, "Returns the string.";
        "getdel" 2 CHANGE ONE quick string_values::getdel,
            "Returns the string and deletes the key.";
        "getex" -2 CHANGE ONE quick string_values::getex, "Returns the string and changes its end.";
        "getrange" 4 READ_SLOW ONE quick string_parts::getrange, "Returns a part of the string.";
        "getset" 3 WRITE ONE quick string_values::getset, "Sets the string; returns the old one.";
        "incr" 2 WRITE ONE quick string_numbers::incr, "Makes the number one higher.";
        "incrby" 3 WRITE ONE quick string_numbers::incrby, "Makes the number higher.";
        "incrbyfloat" 3 WRITE ONE quick string_numbers::incrbyfloat,
            "Makes a number with a fraction higher.";
        "mget" -2 READ ALL quick strings::mget, "Returns the strings of keys.";
        "mset" -3 WRITE_SLOW PAIRS quick string_values::mset, "Sets the strings of keys.";
        "msetnx" -3 WRITE_SLOW PAIRS quick string_values::msetnx,
            "Sets the strings of keys if none of them is there.";
        "psetex" 4 WRITE_SLOW ONE quick string_values::psetex,
            "Sets the string, which ends after milliseconds.";
        "set" -3 WRITE_SLOW ONE quick strings::set, "Sets the string.";
        "setex" 4 WRITE_SLOW ONE quick string_values::setex,
            "Sets the string, which ends after seconds.";
        "setnx" 3 WRITE ONE quick string_values::setnx, "Sets the string if the key is not there.";
        "setrange" 4 WRITE_SLOW ONE quick string_parts::setrange,
            "Writes over a part of the string.";
        "strlen" 2 READ ONE quick string_parts::strlen, "Counts the bytes of the string.";
        "substr" 4 READ_SLOW ONE quick string_parts::getrange, "Returns a part of the string.";
    }
    "generic" {
        "copy" -3 WRITE_SLOW TWO quick key_names::copy, "Copies what stands under a key.";
        "del" -2 DELETE ALL quick keys::del, "Deletes keys; counts those that were there.";
        "exists" -2 READ ALL quick keys::exists, "Counts which of the keys are there.";
        "expire" -3 CHANGE ONE quick keys::expire, "Ends a key after seconds.";
        "expireat" -3 CHANGE ONE quick keys::expireat, "Ends a key at a second since 1970.";
        "expiretime" 2 READ ONE quick keys::expiretime,
            "Tells the second since 1970 of the end of a key.";
        "keys" 2 KEYS NONE slow key_names::keys, "Returns the keys that match a pattern.";
        "object" -2 PARENT NONE quick object::object [subcommands::OBJECT],
            "Tells how a value is kept.";
        "persist" 2 CHANGE ONE quick keys::persist, "Takes the end of a key away.";
        "pexpire" -3 CHANGE ONE quick keys::pexpire, "Ends a key after milliseconds.";
        "pexpireat" -3 CHANGE ONE quick keys::pexpireat, "Ends a key at a millisecond since 1970.";
        "pexpiretime" 2 READ ONE quick keys::pexpiretime,
            "Tells the millisecond since 1970 of the end of a key.";
        "pttl" 2 READ ONE quick keys::pttl, "Tells the milliseconds until the end of a key.";
        "randomkey" 1 READ_SLOW NONE slow key_names::randomkey, "Returns some key.";
        "rename" 3 DELETE TWO quick key_names::rename, "Gives a key another name.";
        "renamenx" 3 CHANGE TWO quick key_names::renamenx,
            "Gives a key another name that is free.";
        "scan" -2 READ_SLOW NONE slow keys::scan, "Walks over the keys, step by step.";
        "touch" -2 READ ALL quick key_names::touch, "Counts which of the keys are there.";
        "ttl" 2 READ ONE quick keys::ttl, "Tells the seconds until the end of a key.";
        "type" 2 READ ONE quick keys::type_of, "Tells what stands under a key.";
        "unlink" -2 CHANGE ALL quick keys::del, "Deletes keys; counts those that were there.";
        "wait" 3 WAIT NONE slow replication::wait,
            "Waits until what was written is on the disk; counts replicas, of which none is.";
        "waitaof" 4 WAIT NONE slow replication::waitaof,
            "Waits until what was written is on the disk, and tells whether it is.";
    }
    "transactions" {
        "discard" 1 TRANSACTION NONE quick transactions::discard,
            "Forgets the commands since MULTI.";
        "exec" 1 EXEC NONE quick transactions::exec,
            "Runs the commands since MULTI, all at once.";
        "multi" 1 TRANSACTION NONE quick transactions::multi,
            "Begins a transaction: what follows waits for EXEC.";
        "unwatch" 1 TRANSACTION NONE quick transactions::unwatch, "Watches no key any more.";
        "watch" -2 TRANSACTION ALL quick transactions::watch,
            "Lets EXEC run only if these keys are as they are now.";
    }
    "features" {
        "fs.get" -8 READ_SLOW NONE slow_at features::get,
            "Returns features of entities, now or at a time.";
        "fs.set" -8 WRITE NONE quick features::set,
            "Writes rows of a view with their event timestamps.";
        "fs.load" 3 WRITE_ALONE NONE slow features::load,
            "Writes the rows of an Arrow IPC stream to a view.";
        "fs.history" -5 READ_ALONE ONE slow feature_history::history,
            "Returns every write of features of an entity, oldest event first.";
        "fs.asof" -4 READ_ALONE NONE slow training::asof,
            "Joins features to a spine, as of the times in it.";
        "fs.apply" -2 ADMIN_ALONE NONE slow definitions::apply,
            "Makes definitions true, or tells what would change.";
        "fs.drop" -3 ADMIN_ALONE NONE slow definitions::drop,
            "Removes a definition that nothing else uses.";
        "fs.entities" 1 READ_SLOW NONE quick definitions::entities, "Lists the entities.";
        "fs.views" 1 READ_SLOW NONE quick definitions::views, "Lists the feature views.";
        "fs.services" 1 READ_SLOW NONE quick definitions::services, "Lists the feature services.";
        "fs.describe" 2 READ_SLOW NONE quick definitions::describe, "Tells what a name means.";
        "fs.lineage" 2 READ_SLOW NONE quick lineage::lineage,
            "Tells which sources and runs feed what, and who reads it.";
        "fs.materialize" -2 ADMIN_ALONE NONE slow materialization::materialize,
            "Brings the newest rows of sources online.";
        "fs.runs" -1 READ_SLOW NONE quick materialization::runs,
            "Lists runs of materialization, newest first.";
        "fs.stats" 2 READ_ALONE NONE slow statistics::stats, "Counts what stands online of a view.";
        "fs.forget" 2 ADMIN_ALONE ONE slow forget::forget,
            "Erases an entity from memory and from every file.";
        "fs.verify" 1 ADMIN_ALONE NONE slow verification::verify,
            "Reads all that is on the disk, and tells what is damaged.";
    }
}

static BY_NAME: LazyLock<HashMap<Name, usize, ahash::RandomState>> = LazyLock::new(|| {
    let name = |command: &Command| padded(command.about.name.as_bytes()).unwrap_or_default();
    let entry = |(index, command): (usize, &Command)| (name(command), index);
    COMMANDS.iter().enumerate().map(entry).collect()
});

/// All commands in the order of the table and then all subcommands: each one's place is that of
/// its counters.
static EVERY: LazyLock<Vec<&'static Description>> = LazyLock::new(|| {
    let subcommands = COMMANDS.iter().flat_map(|command| command.about.subcommands);
    COMMANDS.iter().map(|command| &command.about).chain(subcommands).collect()
});

/// All commands and then all subcommands.
pub fn every_command() -> Vec<&'static Description> {
    EVERY.clone()
}

/// The place among all commands and subcommands.
pub(super) fn place_of(about: &'static Description) -> Option<usize> {
    EVERY.iter().position(|each| std::ptr::eq(*each, about))
}

/// Longer than any name of a command.
const NAME_BYTES_MAX: usize = 24;

/// A name in lower case with zeros behind it: of one length, it is compared without a loop.
type Name = [u8; NAME_BYTES_MAX];

fn padded(name: &[u8]) -> Option<Name> {
    let mut padded = Name::default();
    padded.get_mut(..name.len())?.copy_from_slice(name);
    padded.make_ascii_lowercase();
    Some(padded)
}

/// The command of that name, in any case, and its place in the table.
pub(super) fn find(name: &[u8]) -> Option<(usize, &'static Command)> {
    let index = *BY_NAME.get(&padded(name)?)?;
    // Zeros behind a name are none of its own.
    let command = COMMANDS.get(index).filter(|command| command.about.name.len() == name.len())?;
    Some((index, command))
}

/// What a request asks for: a command, or one of its subcommands.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The place of its counters.
    pub(super) counter: usize,
    pub(super) command: &'static Command,
    /// What is told of it, or of the subcommand.
    pub(super) about: &'static Description,
}

/// Which word of a request is no name.
#[derive(Clone, Copy, Debug)]
pub enum Unknown {
    /// The first.
    Command,
    /// The second, which should be a subcommand of this one.
    SubcommandOf(&'static str),
}

/// What a request asks for, if it does.
pub type Resolved = Result<Asked, Unknown>;

/// What `request` asks for.
pub fn resolve(request: Arguments<'_>) -> Resolved {
    let name = request.get(0).unwrap_or_default();
    let (index, command) = find(name).ok_or(Unknown::Command)?;
    let about = &command.about;
    let Some(word) = request.get(1).filter(|_| !about.subcommands.is_empty()) else {
        return Ok(Asked { counter: index, command, about });
    };
    let found = about.asked_for(Some(word)).and_then(|about| Some((about, place_of(about)?)));
    let (about, counter) = found.ok_or(Unknown::SubcommandOf(about.name))?;
    Ok(Asked { counter, command, about })
}

/// The command that a connection asked for last: mostly it asks for the same again.
#[derive(Debug, Default)]
pub struct LastAsked {
    /// Its name, as the client wrote it.
    name: Vec<u8>,
    asked: Option<Asked>,
}

impl LastAsked {
    /// [`resolve`].
    #[inline]
    pub fn resolve(&mut self, request: Arguments<'_>) -> Resolved {
        match self.asked {
            Some(asked) if request.get(0) == Some(&*self.name) => Ok(asked),
            _ => self.resolve_anew(request),
        }
    }

    #[inline(never)]
    fn resolve_anew(&mut self, request: Arguments<'_>) -> Resolved {
        let asked = resolve(request)?;
        if asked.about.subcommands.is_empty() && asked.command.about.subcommands.is_empty() {
            self.name.clear();
            self.name.extend_from_slice(request.get(0).unwrap_or_default());
            self.asked = Some(asked);
        }
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_its_place_and_another_name() {
        let names: std::collections::BTreeSet<&str> = EVERY.iter().map(|each| each.name).collect();
        assert_eq!(names.len(), EVERY.len());
        for (place, about) in EVERY.iter().enumerate() {
            assert_eq!(place_of(about), Some(place));
        }
        for parent in COMMANDS.iter().filter(|command| !command.about.subcommands.is_empty()) {
            let (parent, subcommands) = (parent.about.name, parent.about.subcommands);
            assert!(subcommands.iter().all(|each| each.name.starts_with(&format!("{parent}|"))));
            assert!(subcommands.is_sorted_by_key(|each| each.name), "{parent}");
        }
    }

    #[test]
    fn what_was_asked_last_changes_nothing() {
        let mut last = LastAsked::default();
        let counter = |resolved: Resolved| resolved.ok().map(|asked| asked.counter);
        let requests: [&[&str]; 9] = [
            &["get", "k"],
            &["get", "k"],
            &["GET", "k"],
            &["config", "get", "x"],
            &["config", "set", "x"],
            &["ge", "k"],
            &["get", "x"],
            &["nosuch"],
            &["get"],
        ];
        for words in requests.iter().chain(requests.iter().rev()) {
            let mut bytes = Vec::new();
            nowthen_protocol::encode_request(words, &mut bytes);
            let mut parser = nowthen_protocol::RequestParser::new(Default::default());
            parser.parse(&bytes).unwrap().unwrap();
            let request = parser.arguments(&bytes);
            assert_eq!(counter(last.resolve(request)), counter(resolve(request)), "{words:?}");
        }
    }

    #[test]
    fn every_command_is_found_by_its_name_in_any_case() {
        for (index, command) in COMMANDS.iter().enumerate() {
            assert!(command.about.name.len() <= NAME_BYTES_MAX);
            let upper = command.about.name.to_ascii_uppercase();
            assert_eq!(find(upper.as_bytes()).unwrap().0, index, "{upper} stands twice");
        }
        assert!(find(b"nosuch").is_none() && find(&[b'x'; 100]).is_none());
        assert!(find(b"get").is_some() && find(b"get\0").is_none() && find(b"").is_none());
    }
}
