//! The third page of the table: what is told of a command beside what dispatch needs of it.
//!
//! Since when Redis has it, or nowthen if Redis has not; what it does to its keys; the hints of
//! Redis for clients that spread requests over nodes; what it costs; what follows its name.

/// What COMMAND and the command reference tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Documentation {
    /// The command or subcommand.
    pub(super) name: &'static str,
    /// The version of Redis that it came with; of nowthen if it is called `fs.`.
    pub(super) since: &'static str,
    /// Redis' words for what it does to its keys: one list for all of them, or one for each.
    pub(super) access: &'static [&'static [&'static str]],
    /// Redis' hints for clients.
    pub(super) tips: &'static [&'static str],
    /// How its time grows.
    pub(super) complexity: &'static str,
    /// What follows its name.
    pub(super) syntax: &'static str,
}

/// What is told of the command or subcommand of that name.
pub(super) fn documentation(name: &str) -> Option<&'static Documentation> {
    DOCUMENTATION.iter().find(|each| each.name == name)
}

type Access = &'static [&'static [&'static str]];
type Tips = &'static [&'static str];

const NONE: Access = &[];
const COPY: Access = &[&["RO", "access"], &["OW", "update"]];
const OW_INSERT: Access = &[&["OW", "insert"]];
const OW_UPDATE: Access = &[&["OW", "update"]];
const RENAME: Access = &[&["RW", "access", "delete"], &["OW", "update"]];
const RENAMENX: Access = &[&["RW", "access", "delete"], &["OW", "insert"]];
const RM_DELETE: Access = &[&["RM", "delete"]];
const RO: Access = &[&["RO"]];
const RO_ACCESS: Access = &[&["RO", "access"]];
const RW_ACCESS_DELETE: Access = &[&["RW", "access", "delete"]];
const RW_ACCESS_UPDATE: Access = &[&["RW", "access", "update"]];
const RW_DELETE: Access = &[&["RW", "delete"]];
const RW_INSERT: Access = &[&["RW", "insert"]];
const RW_UPDATE: Access = &[&["RW", "update"]];
const SET: Access = &[&["RW", "access", "update", "variable_flags"]];

const PLAIN: Tips = &[];
const TIP_BY_SHARD: Tips = &["request_policy:multi_shard"];
const TIP_BY_SHARD_ALL: Tips = &["request_policy:multi_shard", "response_policy:all_succeeded"];
const TIP_BY_SHARD_LEAST: Tips = &["request_policy:multi_shard", "response_policy:agg_min"];
const TIP_BY_SHARD_SUM: Tips = &["request_policy:multi_shard", "response_policy:agg_sum"];
const TIP_EVERY_NODE: Tips = &["request_policy:all_nodes", "response_policy:all_succeeded"];
const TIP_EVERY_SHARD: Tips = &["request_policy:all_shards", "response_policy:all_succeeded"];
const TIP_EVENTS: Tips =
    &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];
const TIP_SLOW: Tips = &["request_policy:all_nodes", "nondeterministic_output"];
const TIP_SLOW_COUNT: Tips =
    &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"];
const TIP_INFO: Tips =
    &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];
const TIP_KEYS: Tips = &["request_policy:all_shards", "nondeterministic_output_order"];
const TIP_RANDOM: Tips = &["request_policy:all_shards", "nondeterministic_output"];
const TIP_SCAN: Tips = &["nondeterministic_output", "request_policy:special"];
const TIP_SUM_OF_SHARDS: Tips = &["request_policy:all_shards", "response_policy:agg_sum"];
const TIP_UNORDERED: Tips = &["nondeterministic_output_order"];
const TIP_VARIES: Tips = &["nondeterministic_output"];
const TIP_WAIT: Tips = &["request_policy:all_shards", "response_policy:agg_min"];

macro_rules! documents {
    ($($name:literal $since:literal $access:ident $tips:ident $complexity:literal $syntax:literal;)*
    ) => {
        /// One row for each command and subcommand.
        pub(super) static DOCUMENTATION: &[Documentation] = &[$(Documentation {
            name: $name,
            since: $since,
            access: $access,
            tips: $tips,
            complexity: $complexity,
            syntax: $syntax,
        },)*];
    };
}

documents! {
    "auth" "1.0.0" NONE PLAIN "O(1)" "[username] password";
    "client" "2.4.0" NONE PLAIN "Depends on subcommand." "subcommand [argument ...]";
    "echo" "1.0.0" NONE PLAIN "O(1)" "message";
    "hello" "6.0.0" NONE PLAIN "O(1)" "[protover [AUTH username password] [SETNAME name]]";
    "ping" "1.0.0" NONE TIP_EVERY_SHARD "O(1)" "[message]";
    "quit" "1.0.0" NONE PLAIN "O(1)" "";
    "reset" "6.2.0" NONE PLAIN "O(1)" "";
    "select" "1.0.0" NONE PLAIN "O(1)" "index";
    "asking" "3.0.0" NONE PLAIN "O(1)" "";
    "cluster" "3.0.0" NONE PLAIN "Depends on subcommand." "subcommand [argument ...]";
    "readonly" "3.0.0" NONE PLAIN "O(1)" "";
    "readwrite" "3.0.0" NONE PLAIN "O(1)" "";
    "acl" "6.0.0" NONE PLAIN "Depends on subcommand." "subcommand [argument ...]";
    "bgsave" "1.0.0" NONE PLAIN "O(1)" "[SCHEDULE]";
    "command" "2.8.13" NONE TIP_UNORDERED "O(N) with N commands" "[subcommand [argument ...]]";
    "config" "2.0.0" NONE PLAIN "Depends on subcommand." "subcommand [argument ...]";
    "dbsize" "1.0.0" NONE TIP_SUM_OF_SHARDS "O(1)" "";
    "debug" "1.0.0" NONE PLAIN "Depends on subcommand." "subcommand [argument ...]";
    "flushall" "1.0.0" NONE TIP_EVERY_SHARD "O(N) with N keys" "[ASYNC|SYNC]";
    "flushdb" "1.0.0" NONE TIP_EVERY_SHARD "O(N) with N keys" "[ASYNC|SYNC]";
    "info" "1.0.0" NONE TIP_INFO "O(N) with N commands" "[section ...]";
    "latency" "2.8.13" NONE PLAIN "Depends on subcommand." "subcommand [argument ...]";
    "memory" "4.0.0" NONE PLAIN "Depends on subcommand." "subcommand [argument ...]";
    "monitor" "1.0.0" NONE PLAIN "O(1) for each request that follows" "";
    "slowlog" "2.2.12" NONE PLAIN "Depends on subcommand." "subcommand [argument ...]";
    "lastsave" "1.0.0" NONE TIP_VARIES "O(1)" "";
    "role" "2.8.12" NONE PLAIN "O(1)" "";
    "save" "1.0.0" NONE PLAIN "O(N) with N keys" "";
    "shutdown" "1.0.0" NONE PLAIN "O(N) with N keys to save" "[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]";
    "time" "2.6.0" NONE TIP_VARIES "O(1)" "";
    "hdel" "2.0.0" RW_DELETE PLAIN "O(N) with N fields" "key field [field ...]";
    "hexpire" "7.4.0" RW_UPDATE PLAIN "O(N) with N fields"
        "key seconds [NX|XX|GT|LT] FIELDS n field ...";
    "hexpireat" "7.4.0" RW_UPDATE PLAIN "O(N) with N fields"
        "key second [NX|XX|GT|LT] FIELDS n field ...";
    "hexpiretime" "7.4.0" RO_ACCESS PLAIN "O(N) with N fields" "key FIELDS n field ...";
    "hgetdel" "8.0.0" RW_ACCESS_DELETE PLAIN "O(N) with N fields" "key FIELDS n field ...";
    "hgetex" "8.0.0" RW_ACCESS_UPDATE PLAIN "O(N) with N fields"
        "key [EX s|PX ms|EXAT s|PXAT ms|PERSIST] FIELDS n field ...";
    "hpersist" "7.4.0" RW_UPDATE PLAIN "O(N) with N fields" "key FIELDS n field ...";
    "hpexpire" "7.4.0" RW_UPDATE PLAIN "O(N) with N fields"
        "key milliseconds [NX|XX|GT|LT] FIELDS n field ...";
    "hpexpireat" "7.4.0" RW_UPDATE PLAIN "O(N) with N fields"
        "key millisecond [NX|XX|GT|LT] FIELDS n field ...";
    "hpexpiretime" "7.4.0" RO_ACCESS PLAIN "O(N) with N fields" "key FIELDS n field ...";
    "hpttl" "7.4.0" RO_ACCESS TIP_VARIES "O(N) with N fields" "key FIELDS n field ...";
    "hsetex" "8.0.0" RW_UPDATE PLAIN "O(N) with N fields"
        "key [FNX|FXX] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL] FIELDS n field value ...";
    "httl" "7.4.0" RO_ACCESS TIP_VARIES "O(N) with N fields" "key FIELDS n field ...";
    "discard" "2.0.0" NONE PLAIN "O(N) with N commands" "";
    "exec" "1.2.0" NONE PLAIN "Depends on the commands." "";
    "multi" "1.2.0" NONE PLAIN "O(1)" "";
    "unwatch" "2.2.0" NONE PLAIN "O(N) with N keys" "";
    "watch" "2.2.0" RO PLAIN "O(N) with N keys" "key [key ...]";
    "config|resetstat" "2.0.0" NONE PLAIN "O(N) with N counters" "";
    "config|rewrite" "2.8.0" NONE PLAIN "O(1)" "";
    "config|set" "2.0.0" NONE TIP_EVERY_NODE "O(N) with N settings" "name value [name value ...]";
    "hexists" "2.0.0" RO PLAIN "O(1)" "key field";
    "hget" "2.0.0" RO_ACCESS PLAIN "O(1)" "key field";
    "hgetall" "2.0.0" RO_ACCESS TIP_UNORDERED "O(N) with N fields" "key";
    "hincrby" "2.0.0" RW_ACCESS_UPDATE PLAIN "O(1)" "key field increment";
    "hincrbyfloat" "2.6.0" RW_ACCESS_UPDATE PLAIN "O(1)" "key field increment";
    "hkeys" "2.0.0" RO_ACCESS TIP_UNORDERED "O(N) with N fields" "key";
    "hlen" "2.0.0" RO PLAIN "O(1)" "key";
    "hmget" "2.0.0" RO_ACCESS PLAIN "O(N) with N fields" "key field [field ...]";
    "hmset" "2.0.0" RW_UPDATE PLAIN "O(N) with N fields" "key field value [field value ...]";
    "hrandfield" "6.2.0" RO_ACCESS TIP_VARIES "O(N) with N fields" "key [count [WITHVALUES]]";
    "hscan" "2.8.0" RO_ACCESS TIP_VARIES "O(N) with N fields"
        "key cursor [MATCH pattern] [COUNT count]";
    "hset" "2.0.0" RW_UPDATE PLAIN "O(N) with N fields" "key field value [field value ...]";
    "hsetnx" "2.0.0" RW_INSERT PLAIN "O(1)" "key field value";
    "hstrlen" "3.2.0" RO PLAIN "O(1)" "key field";
    "hvals" "2.0.0" RO_ACCESS TIP_UNORDERED "O(N) with N fields" "key";
    "append" "2.0.0" RW_INSERT PLAIN "O(N) with N bytes" "key value";
    "decr" "1.0.0" RW_ACCESS_UPDATE PLAIN "O(1)" "key";
    "decrby" "1.0.0" RW_ACCESS_UPDATE PLAIN "O(1)" "key decrement";
    "get" "1.0.0" RO_ACCESS PLAIN "O(1)" "key";
    "getdel" "6.2.0" RW_ACCESS_DELETE PLAIN "O(1)" "key";
    "getex" "6.2.0" RW_ACCESS_UPDATE PLAIN "O(1)" "key [EX s|PX ms|EXAT s|PXAT ms|PERSIST]";
    "getrange" "2.4.0" RO_ACCESS PLAIN "O(N) with N bytes" "key start end";
    "getset" "1.0.0" RW_ACCESS_UPDATE PLAIN "O(1)" "key value";
    "incr" "1.0.0" RW_ACCESS_UPDATE PLAIN "O(1)" "key";
    "incrby" "1.0.0" RW_ACCESS_UPDATE PLAIN "O(1)" "key increment";
    "incrbyfloat" "2.6.0" RW_ACCESS_UPDATE PLAIN "O(1)" "key increment";
    "mget" "1.0.0" RO_ACCESS TIP_BY_SHARD "O(N) with N keys" "key [key ...]";
    "mset" "1.0.1" OW_UPDATE TIP_BY_SHARD_ALL "O(N) with N keys" "key value [key value ...]";
    "msetnx" "1.0.1" OW_INSERT TIP_BY_SHARD_LEAST "O(N) with N keys" "key value [key value ...]";
    "psetex" "2.6.0" OW_UPDATE PLAIN "O(1)" "key milliseconds value";
    "set" "1.0.0" SET PLAIN "O(1)" "key value [NX|XX] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]";
    "setex" "2.0.0" OW_UPDATE PLAIN "O(1)" "key seconds value";
    "setnx" "1.0.0" OW_INSERT PLAIN "O(1)" "key value";
    "setrange" "2.2.0" RW_UPDATE PLAIN "O(N) with N bytes" "key offset value";
    "strlen" "2.2.0" RO PLAIN "O(1)" "key";
    "substr" "1.0.0" RO_ACCESS PLAIN "O(N) with N bytes" "key start end";
    "copy" "6.2.0" COPY PLAIN "O(N) with N bytes" "key new-key [DB 0] [REPLACE]";
    "del" "1.0.0" RM_DELETE TIP_BY_SHARD_SUM "O(N) with N keys" "key [key ...]";
    "exists" "1.0.0" RO TIP_BY_SHARD_SUM "O(N) with N keys" "key [key ...]";
    "expire" "1.0.0" RW_UPDATE PLAIN "O(1)" "key seconds [NX|XX|GT|LT]";
    "expireat" "1.2.0" RW_UPDATE PLAIN "O(1)" "key second [NX|XX|GT|LT]";
    "expiretime" "7.0.0" RO_ACCESS PLAIN "O(1)" "key";
    "keys" "1.0.0" NONE TIP_KEYS "O(N) with N keys" "pattern";
    "object" "2.2.3" NONE PLAIN "Depends on subcommand." "subcommand [argument ...]";
    "persist" "2.2.0" RW_UPDATE PLAIN "O(1)" "key";
    "pexpire" "2.6.0" RW_UPDATE PLAIN "O(1)" "key milliseconds [NX|XX|GT|LT]";
    "pexpireat" "2.6.0" RW_UPDATE PLAIN "O(1)" "key millisecond [NX|XX|GT|LT]";
    "pexpiretime" "7.0.0" RO_ACCESS PLAIN "O(1)" "key";
    "pttl" "2.6.0" RO_ACCESS TIP_VARIES "O(1)" "key";
    "randomkey" "1.0.0" NONE TIP_RANDOM "O(1)" "";
    "rename" "1.0.0" RENAME PLAIN "O(N) with N bytes" "key new-key";
    "renamenx" "1.0.0" RENAMENX PLAIN "O(N) with N bytes" "key new-key";
    "scan" "2.8.0" NONE TIP_SCAN "O(1) a call" "cursor [MATCH pattern] [COUNT count] [TYPE type]";
    "touch" "3.2.1" RO TIP_BY_SHARD_SUM "O(N) with N keys" "key [key ...]";
    "ttl" "1.0.0" RO_ACCESS TIP_VARIES "O(1)" "key";
    "type" "1.0.0" RO PLAIN "O(1)" "key";
    "unlink" "4.0.0" RM_DELETE TIP_BY_SHARD_SUM "O(N) with N keys" "key [key ...]";
    "wait" "3.0.0" NONE TIP_WAIT "O(1)" "replicas timeout";
    "waitaof" "7.2.0" NONE PLAIN "O(1)" "local replicas timeout";
    "fs.get" "0.1.0" NONE PLAIN "O(N) with N values"
        "{SERVICE name|FEATURES n f ...} FOR k join-key ... ROWS m value ... [AT t] \
         [WITHSTATUS] [WITHTIME] [AS VALUES|VECTOR|ARROW]";
    "fs.set" "0.1.0" NONE PLAIN "O(N) with N values"
        "view EVENT t|NOW ROWS m FEATURES n f ... value ...";
    "fs.load" "0.1.0" NONE PLAIN "O(N) with N values" "view stream";
    "fs.history" "0.1.0" RO PLAIN "O(N) with N rows of the history of all entities"
        "entity:key FEATURES n f ... [FROM t] [TO t] [LIMIT n]";
    "fs.asof" "0.1.0" NONE PLAIN "O(N log N) with N rows of spine and history"
        "{SERVICE name|FEATURES n f ...} SPINE stream [option ...]";
    "fs.apply" "0.1.0" NONE PLAIN "O(N) with N definitions" "definitions [DRYRUN]";
    "fs.drop" "0.1.0" NONE PLAIN "O(N) with N definitions" "entity|view|service name [DRYRUN]";
    "fs.entities" "0.1.0" NONE PLAIN "O(N) with N entities" "";
    "fs.views" "0.1.0" NONE PLAIN "O(N) with N views" "";
    "fs.services" "0.1.0" NONE PLAIN "O(N) with N services" "";
    "fs.describe" "0.1.0" NONE PLAIN "O(1)" "name";
    "fs.lineage" "0.1.0" NONE PLAIN "O(N) with N definitions" "name";
    "fs.materialize" "0.1.0" NONE PLAIN "O(N) with N rows of the source"
        "view|* [FROM t] [TO t] [WAIT]";
    "fs.runs" "0.1.0" NONE PLAIN "O(N) with N runs" "[view] [COUNT n]";
    "fs.stats" "0.1.0" NONE PLAIN "O(N) with N keys" "view|view:feature";
    "fs.forget" "0.1.0" RM_DELETE PLAIN "O(N) with N bytes on the disk" "entity:key";
    "fs.verify" "0.1.0" NONE PLAIN "O(N) with N bytes on the disk" "";
    "acl|cat" "6.0.0" NONE PLAIN "O(N) with N commands" "[category]";
    "acl|deluser" "6.0.0" NONE PLAIN "O(1)" "name [name ...]";
    "acl|dryrun" "7.0.0" NONE PLAIN "O(1)" "name command [argument ...]";
    "acl|genpass" "6.0.0" NONE PLAIN "O(1)" "[bits]";
    "acl|getuser" "6.0.0" NONE PLAIN "O(1)" "name";
    "acl|help" "6.0.0" NONE PLAIN "O(1)" "";
    "acl|list" "6.0.0" NONE PLAIN "O(1)" "";
    "acl|load" "6.0.0" NONE PLAIN "O(1)" "";
    "acl|log" "6.0.0" NONE PLAIN "O(1)" "[count|RESET]";
    "acl|save" "6.0.0" NONE PLAIN "O(1)" "";
    "acl|setuser" "6.0.0" NONE PLAIN "O(1)" "name [rule ...]";
    "acl|users" "6.0.0" NONE PLAIN "O(1)" "";
    "acl|whoami" "6.0.0" NONE PLAIN "O(1)" "";
    "client|caching" "6.0.0" NONE PLAIN "O(1)" "YES|NO";
    "client|getname" "2.6.9" NONE PLAIN "O(1)" "";
    "client|getredir" "6.0.0" NONE PLAIN "O(1)" "";
    "client|help" "5.0.0" NONE PLAIN "O(1)" "";
    "client|id" "5.0.0" NONE PLAIN "O(1)" "";
    "client|info" "6.2.0" NONE TIP_VARIES "O(1)" "";
    "client|kill" "2.4.0" NONE PLAIN "O(N) with N clients"
        "ip:port | option value [option value ...]";
    "client|list" "2.4.0" NONE TIP_VARIES "O(N) with N clients"
        "[TYPE NORMAL|MASTER|REPLICA|PUBSUB] [ID id ...]";
    "client|no-evict" "7.0.0" NONE PLAIN "O(1)" "ON|OFF";
    "client|no-touch" "7.2.0" NONE PLAIN "O(1)" "ON|OFF";
    "client|pause" "2.9.50" NONE PLAIN "O(1)" "milliseconds [WRITE|ALL]";
    "client|reply" "3.2.0" NONE PLAIN "O(1)" "ON|OFF|SKIP";
    "client|setinfo" "7.2.0" NONE PLAIN "O(1)" "LIB-NAME name|LIB-VER version";
    "client|setname" "2.6.9" NONE PLAIN "O(1)" "name";
    "client|tracking" "6.0.0" NONE PLAIN "O(1)" "ON|OFF";
    "client|trackinginfo" "6.2.0" NONE PLAIN "O(1)" "";
    "client|unblock" "5.0.0" NONE PLAIN "O(1)" "id [TIMEOUT|ERROR]";
    "client|unpause" "6.2.0" NONE PLAIN "O(1)" "";
    "cluster|countkeysinslot" "3.0.0" NONE PLAIN "O(N) with N keys" "slot";
    "cluster|getkeysinslot" "3.0.0" NONE TIP_VARIES "O(N) with N keys" "slot count";
    "cluster|help" "5.0.0" NONE PLAIN "O(1)" "";
    "cluster|info" "3.0.0" NONE TIP_VARIES "O(1)" "";
    "cluster|keyslot" "3.0.0" NONE PLAIN "O(N) with N bytes" "key";
    "cluster|links" "7.0.0" NONE TIP_VARIES "O(1)" "";
    "cluster|myid" "3.0.0" NONE PLAIN "O(1)" "";
    "cluster|nodes" "3.0.0" NONE TIP_VARIES "O(1)" "";
    "cluster|shards" "7.0.0" NONE TIP_VARIES "O(1)" "";
    "cluster|slots" "3.0.0" NONE TIP_VARIES "O(1)" "";
    "command|count" "2.8.13" NONE PLAIN "O(1)" "";
    "command|docs" "7.0.0" NONE TIP_UNORDERED "O(N) with N commands" "[name ...]";
    "command|getkeys" "2.8.13" NONE PLAIN "O(N) with N arguments" "command [argument ...]";
    "command|getkeysandflags" "7.0.0" NONE PLAIN "O(N) with N arguments" "command [argument ...]";
    "command|help" "5.0.0" NONE PLAIN "O(1)" "";
    "command|info" "2.8.13" NONE TIP_UNORDERED "O(N) with N commands" "[name ...]";
    "command|list" "7.0.0" NONE TIP_UNORDERED "O(N) with N commands"
        "[FILTERBY MODULE name|ACLCAT category|PATTERN pattern]";
    "config|get" "2.0.0" NONE PLAIN "O(N) with N settings" "pattern [pattern ...]";
    "config|help" "5.0.0" NONE PLAIN "O(1)" "";
    "latency|doctor" "2.8.13" NONE TIP_EVENTS "O(1)" "";
    "latency|help" "2.8.13" NONE PLAIN "O(1)" "";
    "latency|histogram" "7.0.0" NONE TIP_EVENTS "O(N) with N commands" "[command ...]";
    "latency|history" "2.8.13" NONE TIP_EVENTS "O(1)" "event";
    "latency|latest" "2.8.13" NONE TIP_EVENTS "O(1)" "";
    "latency|reset" "2.8.13" NONE TIP_EVERY_NODE "O(1)" "[event ...]";
    "memory|doctor" "4.0.0" NONE TIP_INFO "O(1)" "";
    "memory|help" "4.0.0" NONE PLAIN "O(1)" "";
    "memory|malloc-stats" "4.0.0" NONE TIP_INFO "O(1)" "";
    "memory|purge" "4.0.0" NONE TIP_EVERY_SHARD "O(1)" "";
    "memory|stats" "4.0.0" NONE TIP_INFO "O(1)" "";
    "memory|usage" "4.0.0" RO PLAIN "O(N) with N fields" "key [SAMPLES n]";
    "object|encoding" "2.2.3" RO TIP_VARIES "O(1)" "key";
    "object|freq" "4.0.0" RO TIP_VARIES "O(1)" "key";
    "object|help" "6.2.0" NONE PLAIN "O(1)" "";
    "object|idletime" "2.2.3" RO TIP_VARIES "O(1)" "key";
    "object|refcount" "2.2.3" RO TIP_VARIES "O(1)" "key";
    "slowlog|get" "2.2.12" NONE TIP_SLOW "O(N) with N entries returned" "[count]";
    "slowlog|help" "6.2.0" NONE PLAIN "O(1)" "";
    "slowlog|len" "2.2.12" NONE TIP_SLOW_COUNT "O(1)" "";
    "slowlog|reset" "2.2.12" NONE TIP_EVERY_NODE "O(N) with N entries" "";
}

#[cfg(test)]
mod tests {
    use super::super::every_command;
    use super::*;

    #[test]
    fn every_command_and_subcommand_has_one_row_and_no_row_is_of_another() {
        for about in every_command() {
            let rows = DOCUMENTATION.iter().filter(|row| row.name == about.name).count();
            assert_eq!(rows, 1, "rows of `{}` in command/documentation.rs", about.name);
        }
        for row in DOCUMENTATION {
            let is_known = every_command().iter().any(|about| about.name == row.name);
            assert!(is_known, "`{}` is no command", row.name);
        }
    }

    #[test]
    fn who_has_keys_tells_what_happens_to_them() {
        for about in every_command() {
            let access = documentation(about.name).unwrap().access.len();
            let keys = about.key_places(about.arity.unsigned_abs() as usize).count();
            assert_eq!(access == 0, keys == 0, "{}", about.name);
            assert!(access < 2 || access == keys, "{}", about.name);
        }
    }
}
