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
const NONE: Keys = (0, 0, 0);

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
}
