//! COMMAND: what the server can.

use super::{arguments::Args, context::Context, description::Description};
use crate::error::{Error, Result, echo};
use nowthen_protocol::Reply;

/// `COMMAND [COUNT | DOCS [name ...] | INFO [name ...] | LIST | GETKEYS command ...]`
pub(super) fn command(
    ctx: &mut Context<'_>,
    args: &mut Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<()> {
    let all: Vec<&'static Description> = ctx.app.commands_alone().collect();
    let find = |name: &[u8]| ctx.app.description(name);
    let Some(subcommand) = args.pop() else {
        reply.array(all.len());
        all.iter().for_each(|command| describe(command, reply));
        return Ok(());
    };
    let lower = subcommand.to_ascii_lowercase();
    let wanted = match lower.as_slice() {
        b"count" => 0..=0,
        b"getkeys" => 1..=usize::MAX,
        _ => 0..=usize::MAX,
    };
    args.subcommand_takes("command", &lower, wanted)?;
    match lower.as_slice() {
        b"count" => reply.integer(all.len() as i64),
        b"list" => {
            reply.array(all.len());
            all.iter().for_each(|command| reply.bulk_text(command.name));
        }
        b"info" if args.is_empty() => {
            reply.array(all.len());
            all.iter().for_each(|command| describe(command, reply));
        }
        b"info" => {
            reply.array(args.len());
            for name in args.rest() {
                match find(name) {
                    Some(command) => describe(command, reply),
                    None => reply.null(),
                }
            }
        }
        b"docs" => {
            let named = args.rest().filter_map(find);
            let commands: Vec<&'static Description> =
                if args.is_empty() { all.clone() } else { named.collect() };
            reply.map(commands.len());
            commands.into_iter().for_each(|command| document(command, reply));
        }
        b"getkeys" => return get_keys(ctx, args, reply),
        _ => {
            return Err(Error::refused(format!(
                "unknown subcommand {}. Try COMMAND COUNT, DOCS, GETKEYS, INFO or LIST.",
                echo(subcommand)
            )));
        }
    }
    Ok(())
}

/// The ten elements that Redis 7 tells of a command.
fn describe(command: &Description, reply: &mut Reply<'_>) {
    reply.array(10);
    reply.bulk_text(command.name);
    reply.integer(command.arity);
    reply.set(command.flags.len());
    command.flags.iter().for_each(|flag| reply.simple(flag));
    let (first, last, step) = command.keys;
    [first, last, step].into_iter().for_each(|number| reply.integer(number));
    let categories = categories(command);
    reply.set(categories.len());
    categories.iter().for_each(|category| reply.simple(category));
    // Tips, key specifications, subcommands.
    (0..3).for_each(|_| reply.set(0));
}

fn categories(command: &Description) -> Vec<String> {
    let kind = match command.flags {
        flags if flags.contains(&"readonly") => "@read",
        flags if flags.contains(&"write") => "@write",
        flags if flags.contains(&"admin") => "@admin",
        _ => "@connection",
    };
    let speed = if command.flags.contains(&"fast") { "@fast" } else { "@slow" };
    let group = match command.group {
        "generic" => "@keyspace".to_owned(),
        group => format!("@{group}"),
    };
    let mut categories = vec![kind.to_owned(), group, speed.to_owned()];
    categories.dedup();
    categories
}

fn document(command: &Description, reply: &mut Reply<'_>) {
    reply.bulk_text(command.name);
    reply.map(2);
    for (key, value) in [("summary", command.summary), ("group", command.group)] {
        reply.bulk_text(key);
        reply.bulk_text(value);
    }
}

fn get_keys(ctx: &Context<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let words: Vec<&[u8]> = args.rest().collect();
    let found = words.first().and_then(|name| ctx.app.description(name));
    let command = found.ok_or_else(|| Error::refused("Invalid command specified"))?;
    if !command.takes(words.len()) {
        return Err(Error::refused("Invalid number of arguments specified for command"));
    }
    let places = command.key_places(words.len());
    let keys: Vec<&[u8]> = places.filter_map(|place| words.get(place).copied()).collect();
    if keys.is_empty() {
        return Err(Error::refused("The command has no key arguments"));
    }
    reply.array(keys.len());
    keys.into_iter().for_each(|key| reply.bulk(key));
    Ok(())
}
