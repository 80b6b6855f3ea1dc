//! COMMAND: what the server can.

use super::{
    arguments::{Args, syntax},
    categories::{categories_of, flags_of},
    context::Context,
    description::Description,
    documentation::documentation,
    help::help,
    key_access::key_access,
    pattern::matches,
};
use crate::error::{Error, Result};
use nowthen_protocol::Reply;

/// `COMMAND [COUNT | DOCS [name ...] | GETKEYS command ... | GETKEYSANDFLAGS command ... |
/// INFO [name ...] | LIST [FILTERBY ...]]`
pub(super) fn command(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let all: Vec<&'static Description> = ctx.app.commands_alone().collect();
    let find = |name: &[u8]| ctx.app.description(name);
    let subcommand = args.pop().map(<[u8]>::to_ascii_lowercase);
    match subcommand.as_deref() {
        None => {
            reply.array(all.len());
            all.into_iter().for_each(|command| describe(command, reply));
        }
        Some(b"count") => reply.integer(all.len() as i64),
        Some(b"list") => return list(ctx, args, reply),
        Some(b"info") if args.is_empty() => {
            reply.array(all.len());
            all.into_iter().for_each(|command| describe(command, reply));
        }
        Some(b"info") => {
            reply.array(args.len());
            for name in args.rest() {
                match find(name) {
                    Some(command) => describe(command, reply),
                    None => reply.null(),
                }
            }
        }
        Some(b"docs") => {
            let named = args.rest().filter_map(find);
            let commands = if args.is_empty() { all } else { named.collect() };
            reply.map(commands.len());
            commands.into_iter().for_each(|command| document(command, reply));
        }
        Some(b"getkeys") => return get_keys(ctx, args, reply, false),
        Some(b"getkeysandflags") => return get_keys(ctx, args, reply, true),
        Some(b"help") => help(ctx, "command", reply),
        Some(_) => return Err(syntax()),
    }
    Ok(())
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`: names, those of
/// subcommands, too.
fn list(ctx: &Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let every = &ctx.app.commands;
    let lower = |word: &[u8]| String::from_utf8_lossy(word).to_ascii_lowercase();
    let named: Vec<&'static Description> = if args.is_empty() {
        every.clone()
    } else if args.len() != 3 || !args.take_word("FILTERBY") {
        return Err(syntax());
    } else if args.take_word("MODULE") {
        Vec::new()
    } else if args.take_word("ACLCAT") {
        let wanted = lower(args.next()?);
        let is_in = |about: &&&Description| categories_of(about).contains(&wanted.as_str());
        every.iter().filter(is_in).copied().collect()
    } else if args.take_word("PATTERN") {
        let wanted = args.next()?.to_ascii_lowercase();
        let is_match = |about: &&&Description| matches(&wanted, about.name.as_bytes());
        every.iter().filter(is_match).copied().collect()
    } else {
        return Err(syntax());
    };
    reply.array(named.len());
    named.iter().for_each(|command| reply.bulk_text(command.name));
    Ok(())
}

/// The ten elements that Redis 7 tells of a command.
fn describe(command: &Description, reply: &mut Reply<'_>) {
    reply.array(10);
    reply.bulk_text(command.name);
    reply.integer(command.arity);
    reply.set(flags_of(command).count());
    flags_of(command).for_each(|flag| reply.simple(flag));
    let (first, last, step) = command.keys;
    [first, last, step].into_iter().for_each(|number| reply.integer(number));
    let categories = categories_of(command);
    reply.set(categories.len());
    categories.iter().for_each(|category| reply.simple(&format!("@{category}")));
    let told = documentation(command.name);
    let tips = told.map_or(&[][..], |told| told.tips);
    reply.set(tips.len());
    tips.iter().for_each(|tip| reply.bulk_text(tip));
    specify_keys(command, told.map_or(&[][..], |told| told.access), reply);
    if command.subcommands.is_empty() {
        reply.set(0);
    } else {
        reply.array(command.subcommands.len());
        command.subcommands.iter().for_each(|subcommand| describe(subcommand, reply));
    }
}

/// One specification for all keys of a kind: where they begin, and how to go on.
fn specify_keys(command: &Description, access: &[&[&str]], reply: &mut Reply<'_>) {
    let (first, last, step) = command.keys;
    reply.set(access.len());
    for (place, flags) in access.iter().enumerate() {
        reply.map(3);
        reply.bulk_text("flags");
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.simple(flag));
        reply.bulk_text("begin_search");
        reply.map(2);
        reply.bulk_text("type");
        reply.bulk_text("index");
        reply.bulk_text("spec");
        reply.map(1);
        reply.bulk_text("index");
        reply.integer(first + place as i64);
        reply.bulk_text("find_keys");
        reply.map(2);
        reply.bulk_text("type");
        reply.bulk_text("range");
        reply.bulk_text("spec");
        reply.map(3);
        // Counted from where they begin; -1 is the end of the request.
        let is_open = last < 0 && access.len() == 1;
        for (name, number) in [
            ("lastkey", if is_open { last } else { 0 }),
            ("keystep", if is_open { step } else { 1 }),
            ("limit", 0),
        ] {
            reply.bulk_text(name);
            reply.integer(number);
        }
    }
}

fn document(command: &Description, reply: &mut Reply<'_>) {
    reply.bulk_text(command.name);
    let told = documentation(command.name);
    let subcommands = command.subcommands;
    reply.map(2 + 2 * usize::from(told.is_some()) + usize::from(!subcommands.is_empty()));
    let mut tell = |key: &str, value: &str| {
        reply.bulk_text(key);
        reply.bulk_text(value);
    };
    tell("summary", command.summary);
    if let Some(told) = told {
        tell("since", told.since);
    }
    tell("group", command.group);
    if let Some(told) = told {
        tell("complexity", told.complexity);
    }
    if !subcommands.is_empty() {
        reply.bulk_text("subcommands");
        reply.map(subcommands.len());
        subcommands.iter().for_each(|subcommand| document(subcommand, reply));
    }
}

/// `COMMAND GETKEYS` and, with what the command does to each, `COMMAND GETKEYSANDFLAGS`.
fn get_keys(
    ctx: &Context<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    with_flags: bool,
) -> Result<()> {
    let words: Vec<&[u8]> = args.rest().collect();
    let found = words.first().and_then(|name| ctx.app.description(name));
    let asked = found.and_then(|command| command.asked_for(words.get(1).copied()));
    let command = asked.ok_or_else(|| Error::refused("Invalid command specified"))?;
    let places = command.key_places(words.len()).take_while(|place| *place < words.len());
    if command.keys.0 == 0 {
        return Err(Error::refused("The command has no key arguments"));
    }
    if !command.takes(words.len()) {
        return Err(Error::refused("Invalid number of arguments specified for command"));
    }
    let places: Vec<usize> = places.collect();
    reply.array(places.len());
    for (number, place) in places.into_iter().enumerate() {
        let key = words.get(place).copied().unwrap_or_default();
        if !with_flags {
            reply.bulk(key);
            continue;
        }
        let access = key_access(command, &words, number);
        reply.array(2);
        reply.bulk(key);
        reply.set(access.len());
        access.iter().for_each(|flag| reply.simple(flag));
    }
    Ok(())
}
