//! HELP of a command that has subcommands, from the table.

use super::{context::Context, description::Description, documentation::documentation};
use nowthen_protocol::Reply;

/// The lines of `CLIENT HELP` and its kin: first and last as Redis has them.
pub(super) fn help(ctx: &Context<'_>, command: &str, reply: &mut Reply<'_>) {
    let about = ctx.app.description(command.as_bytes());
    let all = about.map_or(&[][..], |about| about.subcommands);
    let told: Vec<&Description> = all.iter().filter(|each| each.own_name() != "help").collect();
    reply.array(told.len() * 2 + 3);
    let upper = command.to_ascii_uppercase();
    reply.simple(&format!("{upper} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for each in told {
        let name = each.own_name().to_ascii_uppercase();
        let syntax = documentation(each.name).map_or("", |told| told.syntax);
        reply.simple(format!("{name} {syntax}").trim_end());
        reply.simple(&format!("    {}", each.summary));
    }
    reply.simple("HELP");
    reply.simple("    Prints this help.");
}
