//! ACL: there is one user, `default`, who may do everything and needs no password.

use super::{
    arguments::{Args, is_word, not_an_integer, syntax, wrong_arity},
    categories::{CATEGORIES, categories_of},
    context::Context,
    help::help,
};
use crate::error::{Error, Result, echo_word};
use nowthen_protocol::{Reply, parse_integer};

/// `ACL CAT [category] | DELUSER | DRYRUN user command ... | GENPASS [bits] | GETUSER user | LIST |
/// LOAD | LOG [count | RESET] | SAVE | SETUSER | USERS | WHOAMI`
pub(super) fn acl(ctx: &mut Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let word = args.next()?;
    match word.to_ascii_lowercase().as_slice() {
        b"cat" | b"log" | b"genpass" if args.len() > 1 => return Err(wrong_use(word)),
        b"cat" => return cat(ctx, args, reply),
        b"deluser" if args.rest().any(|name| name == USER.as_bytes()) => {
            return Err(Error::refused("The 'default' user cannot be removed"));
        }
        b"deluser" | b"load" | b"save" | b"setuser" => {
            return Err(Error::refused(
                "users come from the settings, and more than 'default' are not offered yet",
            ));
        }
        b"dryrun" => return dry_run(ctx, args, reply),
        b"genpass" => return generate(args, reply),
        b"getuser" => get_user(ctx, args.next()?, reply),
        b"help" => help(ctx, "acl", reply),
        b"list" => {
            reply.array(1);
            let password = if ctx.app.settings.has_password() { "" } else { "nopass " };
            reply.bulk_text(&format!("user default on {password}~* &* +@all"));
        }
        b"log" => match args.pop() {
            Some(word) if is_word(word, "RESET") => reply.ok(),
            Some(count) => {
                parse_integer(count).ok_or_else(not_an_integer)?;
                reply.array(0);
            }
            None => reply.array(0),
        },
        b"users" => {
            reply.array(1);
            reply.bulk_text(USER);
        }
        b"whoami" => reply.bulk_text(USER),
        _ => return Err(syntax()),
    }
    Ok(())
}

const USER: &str = "default";

fn wrong_use(subcommand: &[u8]) -> Error {
    let subcommand = echo_word(subcommand).to_uppercase();
    let why = "unknown subcommand or wrong number of arguments for";
    Error::refused(format!("{why} {subcommand}. Try ACL HELP."))
}

/// `ACL CAT [category]`: the categories, or the commands of one.
fn cat(ctx: &Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let Some(wanted) = args.pop() else {
        reply.array(CATEGORIES.len());
        CATEGORIES.iter().for_each(|category| reply.bulk_text(category));
        return Ok(());
    };
    let known = CATEGORIES.iter().find(|category| is_word(wanted, category));
    let category =
        known.ok_or_else(|| Error::refused(format!("Unknown category {}", echo_word(wanted))))?;
    let all = ctx.app.commands.iter();
    let names: Vec<&str> = all
        .filter(|about| categories_of(about).contains(category))
        .map(|about| about.name)
        .collect();
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk_text(name));
    Ok(())
}

/// `ACL DRYRUN user command [argument ...]`: OK, as the one user may do everything.
fn dry_run(ctx: &Context<'_>, args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let user = args.next()?;
    if user != USER.as_bytes() {
        return Err(Error::refused(format!("User {} not found", echo_word(user))));
    }
    let words: Vec<&[u8]> = args.rest().collect();
    let name = args.next()?;
    let unknown = || Error::refused(format!("Command {} not found", echo_word(name)));
    let command = ctx.app.description(name).ok_or_else(unknown)?;
    let asked = command.asked_for(words.get(1).copied()).ok_or_else(unknown)?;
    if !asked.takes(words.len()) {
        return Err(wrong_arity(asked.name));
    }
    reply.ok();
    Ok(())
}

const PASSWORD_BITS: i64 = 256;
const PASSWORD_BITS_MAX: i64 = 4096;

/// `ACL GENPASS [bits]`: hexadecimal digits that nobody can foresee.
fn generate(args: &mut Args<'_>, reply: &mut Reply<'_>) -> Result<()> {
    let bits = if args.is_empty() { PASSWORD_BITS } else { args.integer()? };
    let bits =
        usize::try_from(bits).ok().filter(|bits| (1..=PASSWORD_BITS_MAX as usize).contains(bits));
    let digits = bits.map(|bits| bits.div_ceil(4)).ok_or_else(|| {
        Error::refused(format!(
            "ACL GENPASS argument must be the number of bits for the output password, a positive \
             number up to {PASSWORD_BITS_MAX}"
        ))
    })?;
    let mut bytes = vec![0; digits.div_ceil(2)];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::refused(format!("no random numbers: {error}")))?;
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    reply.bulk_text(&text);
    Ok(())
}

fn get_user(ctx: &Context<'_>, name: &[u8], reply: &mut Reply<'_>) {
    if name != USER.as_bytes() {
        return reply.null();
    }
    reply.map(6);
    reply.bulk_text("flags");
    let has_password = ctx.app.settings.has_password();
    reply.set(if has_password { 1 } else { 2 });
    reply.bulk_text("on");
    if !has_password {
        reply.bulk_text("nopass");
    }
    reply.bulk_text("passwords");
    reply.array(0);
    for (key, value) in [("commands", "+@all"), ("keys", "~*"), ("channels", "&*")] {
        reply.bulk_text(key);
        reply.bulk_text(value);
    }
    reply.bulk_text("selectors");
    reply.array(0);
}
