//! The second page of the table: the subcommands of each command that has some.
//!
//! Dispatch looks here for the second word of a request, and for how many it takes; what the
//! subcommand does is the business of the command's handler.

use super::description::{Description, Keys, Speed};

/// Found at any time, as Redis' `loading stale` says.
const HELP: &[&str] = &["loading", "stale"];
const STALE: &[&str] = &["stale"];
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
