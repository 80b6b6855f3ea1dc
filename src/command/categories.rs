//! The categories of Redis' access lists, told of commands by what the table says of them.

use super::description::Description;

/// All of them in the order of Redis, and our own.
pub(super) const CATEGORIES: [&str; 22] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
    "features",
];

/// The categories of a command: that of its group, or those among its flags (`@keyspace`), and
/// what Redis derives from the other flags.
pub(super) fn categories_of(about: &Description) -> Vec<&'static str> {
    let has = |flag: &str| about.flags.contains(&flag);
    let is_told = about.flags.iter().any(|flag| flag.starts_with('@'));
    let of_group = match about.group {
        _ if is_told || !about.subcommands.is_empty() => "",
        "generic" => "keyspace",
        "transactions" => "transaction",
        group => group,
    };
    let is_in = |category: &&&str| match **category {
        "read" => has("readonly"),
        "write" | "pubsub" | "fast" | "blocking" => has(category),
        "slow" => !has("fast"),
        "admin" => has("admin") || has("@admin"),
        "dangerous" => has("admin") || has("@dangerous"),
        other => {
            other == of_group
                || about.flags.iter().any(|flag| flag.strip_prefix('@') == Some(other))
        }
    };
    CATEGORIES.iter().filter(is_in).copied().collect()
}

/// The flags without the categories among them.
pub(super) fn flags_of(about: &Description) -> impl Iterator<Item = &'static str> + Clone {
    about.flags.iter().copied().filter(|flag| !flag.starts_with('@'))
}
