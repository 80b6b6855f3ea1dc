//! The second page of the table: the subcommands of each command that has some.
//!
//! Dispatch looks here for the second word of a request, and for how many it takes; what the
//! subcommand does is the business of the command's handler.

use super::description::{Description, Keys, Speed};

/// Found at any time, as Redis' `loading stale` says.
const HELP: &[&str] = &["loading", "stale"];
const STALE: &[&str] = &["stale"];
const OWN: &[&str] = &["noscript", "loading", "stale"];
const ADMIN: &[&str] = &["admin", "noscript", "loading", "stale"];
const TELL: &[&str] = &["loading", "stale", "@connection"];
const PLAIN: &[&str] = &[];
const LOG: &[&str] = &["admin", "loading", "stale"];
const READ: &[&str] = &["readonly"];
const NONE: Keys = (0, 0, 0);
const SECOND: Keys = (2, 2, 1);

macro_rules! subcommands {
    ($($list:ident of $command:literal in $group:literal {
        $($name:literal $arity:literal $flags:ident $keys:ident, $summary:literal;)*
    })*) => {$(
        pub(super) static $list: &[Description] = &[$(Description {
            name: concat!($command, "|", $name),
            arity: $arity,
            flags: $flags,
            keys: $keys,
            group: $group,
            summary: $summary,
            speed: Speed::Quick,
            subcommands: &[],
        },)*];
    )*};
}

subcommands! {
    ACL of "acl" in "server" {
        "cat" -2 OWN NONE, "Lists the categories, or the commands of one.";
        "deluser" -3 ADMIN NONE, "Removes users: not offered.";
        "dryrun" -4 ADMIN NONE, "Tells whether a user may say a command.";
        "genpass" -2 OWN NONE, "Makes a password that nobody can foresee.";
        "getuser" 3 ADMIN NONE, "Tells what a user may do.";
        "help" 2 HELP NONE, "Prints this help.";
        "list" 2 ADMIN NONE, "Lists the users and what they may do.";
        "load" 2 ADMIN NONE, "Reads users from a file: not offered.";
        "log" -2 ADMIN NONE, "Lists commands that users were refused, of which there are none.";
        "save" 2 ADMIN NONE, "Writes users to a file: not offered.";
        "setuser" -3 ADMIN NONE, "Makes or changes a user: not offered.";
        "users" 2 ADMIN NONE, "Lists the names of the users.";
        "whoami" 2 OWN NONE, "Returns the name of the user of this connection.";
    }
    CLIENT of "client" in "connection" {
        "caching" 3 OWN NONE, "Says whether to track the keys of the next command.";
        "getname" 2 OWN NONE, "Returns the name of this connection.";
        "getredir" 2 OWN NONE, "Tells where invalidations go to: nowhere, which is -1.";
        "help" 2 HELP NONE, "Prints this help.";
        "id" 2 OWN NONE, "Returns the number of this connection.";
        "info" 2 OWN NONE, "Tells of this connection.";
        "kill" -3 ADMIN NONE, "Ends connections.";
        "list" -2 ADMIN NONE, "Tells of connections, one a line.";
        "no-evict" 3 ADMIN NONE, "Keeps this connection when memory is short.";
        "no-touch" 3 OWN NONE, "Leaves the idle time of keys as it is.";
        "pause" -3 ADMIN NONE, "Lets commands, or just writes, wait for milliseconds.";
        "reply" 3 OWN NONE, "Chooses which replies this connection wants.";
        "setinfo" 4 OWN NONE, "Tells name or version of the client's library.";
        "setname" 3 OWN NONE, "Names this connection.";
        "tracking" -3 OWN NONE, "Tells a client what it may have cached: not offered.";
        "trackinginfo" 2 OWN NONE, "Tells of the tracking of keys: it is off.";
        "unblock" -3 ADMIN NONE, "Ends the waiting of a blocked connection.";
        "unpause" 2 ADMIN NONE, "Ends a pause.";
    }
    CLUSTER of "cluster" in "cluster" {
        "countkeysinslot" 3 STALE NONE, "Counts the keys of a slot.";
        "getkeysinslot" 4 STALE NONE, "Returns keys of a slot.";
        "help" 2 HELP NONE, "Prints this help.";
        "info" 2 STALE NONE, "Tells how the cluster does.";
        "keyslot" 3 STALE NONE, "Tells the slot of a key.";
        "links" 2 STALE NONE, "Lists links to other nodes, of which there are none.";
        "myid" 2 STALE NONE, "Tells the identity of the node.";
        "nodes" 2 STALE NONE, "Lists the nodes: this one, with all slots.";
        "shards" 2 STALE NONE, "Lists which nodes have which slots.";
        "slots" 2 STALE NONE, "Lists which slots are with which nodes.";
    }
    COMMAND of "command" in "server" {
        "count" 2 TELL NONE, "Counts the commands.";
        "docs" -2 TELL NONE, "Tells what commands are for.";
        "getkeys" -4 TELL NONE, "Returns the keys in a command.";
        "getkeysandflags" -4 TELL NONE, "Returns the keys in a command and what it does to them.";
        "help" 2 TELL NONE, "Prints this help.";
        "info" -2 TELL NONE, "Tells what a client must know of commands.";
        "list" -2 TELL NONE, "Lists names of commands.";
    }
    CONFIG of "config" in "server" {
        "get" -3 ADMIN NONE, "Tells settings.";
        "help" 2 HELP NONE, "Prints this help.";
        "resetstat" 2 ADMIN NONE, "Puts the counters back to 0.";
        "rewrite" 2 ADMIN NONE, "Writes the settings to a file: there is none.";
        "set" -4 ADMIN NONE, "Changes settings.";
    }
    LATENCY of "latency" in "server" {
        "doctor" 2 ADMIN NONE, "Tells in sentences what took long.";
        "help" 2 HELP NONE, "Prints this help.";
        "histogram" -2 ADMIN NONE, "Tells how long commands take.";
        "history" 3 ADMIN NONE, "Tells when an event took long.";
        "latest" 2 ADMIN NONE, "Tells the last time that each event took long.";
        "reset" -2 ADMIN NONE, "Forgets events.";
    }
    MEMORY of "memory" in "server" {
        "doctor" 2 PLAIN NONE, "Tells in sentences what takes memory.";
        "help" 2 HELP NONE, "Prints this help.";
        "malloc-stats" 2 PLAIN NONE, "Tells what the allocator tells of itself.";
        "purge" 2 PLAIN NONE, "Asks the allocator to give memory back.";
        "stats" 2 PLAIN NONE, "Tells what takes how much memory.";
        "usage" -3 READ SECOND, "Tells how much memory a key takes.";
    }
    OBJECT of "object" in "generic" {
        "encoding" 3 READ SECOND, "Tells how the value of a key is kept.";
        "freq" 3 READ SECOND, "Tells how often a key is read: nothing counts that.";
        "help" 2 HELP NONE, "Prints this help.";
        "idletime" 3 READ SECOND, "Tells how long a key was not read: nothing notes that.";
        "refcount" 3 READ SECOND, "Tells how many keys share a value: 1.";
    }
    SLOWLOG of "slowlog" in "server" {
        "get" -2 LOG NONE, "Tells the newest slow requests.";
        "help" 2 HELP NONE, "Prints this help.";
        "len" 2 LOG NONE, "Counts the slow requests that are kept.";
        "reset" 2 LOG NONE, "Forgets the slow requests.";
    }
}
