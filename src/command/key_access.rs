//! What a command does to the keys of a request.

use super::{arguments::is_word, description::Description, documentation::documentation};

/// Redis' words for what a request does to its key of that number.
pub(super) fn key_access(
    command: &Description,
    words: &[&[u8]],
    number: usize,
) -> &'static [&'static str] {
    let access = documentation(command.name).map_or(&[][..], |told| told.access);
    let flags = access.get(number).or(access.last()).copied().unwrap_or_default();
    if !flags.contains(&VARIABLE) {
        return flags;
    }
    // SET reads the value before only if it is asked for it.
    let is_read = words.iter().skip(3).any(|word| is_word(word, "GET"));
    if is_read { &["RW", "access", "update"] } else { &["OW", "update"] }
}

const VARIABLE: &str = "variable_flags";
