//! The command reference, `docs/commands.md`: made from the table, with examples that are said.

use super::{
    Description,
    behaviour_tests::Subject,
    categories::{categories_of, flags_of},
    documentation::documentation,
    every_command,
    examples::{DEFINITIONS, EXAMPLES, Example, PLAIN_ONLY},
    table::find,
};
use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

const PATH: &str = "docs/commands.md";
/// Set to write the file instead of comparing it.
const WRITE: &str = "NOWTHEN_WRITE_REFERENCE";

const HEAD: &str = "# Commands\n\
    \n\
    Made from the table in `src/command/` by `NOWTHEN_WRITE_REFERENCE=1 cargo test --lib \
    command_reference`; a test fails when it is not what the table says. Replies and error texts \
    of Redis' commands are those of Redis 7.0; what differs on purpose stands in \
    `tests/python/test_differential.py`. What FS.* take and give, byte for byte, stands in \
    [PROTOCOL.md](../protocol/PROTOCOL.md).\n\
    \n\
    The examples are said one after the other by a test, where this is defined:\n";

#[test]
fn the_command_reference_is_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PATH);
    let wanted = reference();
    if std::env::var_os(WRITE).is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let first = found.lines().zip(wanted.lines()).find(|(found, wanted)| found != wanted);
    assert!(
        found == wanted,
        "{PATH} is not what the table says, first at {first:?}; write it anew: {WRITE}=1 cargo \
         test --lib command_reference"
    );
}

#[test]
fn every_example_gets_its_reply_and_every_command_has_one() {
    let mut subject = Subject::new();
    subject.apply(DEFINITIONS);
    for (line, wanted) in EXAMPLES {
        let reply = subject.ask(line);
        let is_it = match wanted.strip_suffix('*') {
            Some(start) => reply.starts_with(start),
            None if *wanted == "?" => !reply.starts_with('-'),
            None => reply == *wanted,
        };
        assert!(is_it, "{line}\n  gives {reply}\n  not   {wanted}");
    }
    let examples = examples();
    for about in every_command().into_iter().filter(|about| stands_alone(about)) {
        assert!(examples.contains_key(about.name), "no example of `{}`", about.name);
    }
}

#[test]
fn a_command_is_told_to_refuse_registered_entities_if_it_does() {
    let mut refusing = Vec::new();
    for about in every_command().into_iter().filter(|about| about.keys.0 > 0) {
        let mut subject = Subject::new();
        subject.apply(DEFINITIONS);
        subject.ask("HSET user:7 spend 10.5 genre jazz visits 3");
        let (line, _) = examples()[about.name];
        let mut words: Vec<&str> = line.split(' ').collect();
        words[about.keys.0 as usize] = "user:7";
        let reply = subject.ask(&words.join(" "));
        let refusals = ["plain key", "wrong kind of value", "TTL", "registered entity"];
        let is_refused = reply.starts_with('-') && refusals.iter().any(|why| reply.contains(why));
        refusing.extend(is_refused.then_some(about.name));
    }
    assert_eq!(refusing, PLAIN_ONLY);
}

/// By name of command or subcommand; the first of several.
fn examples() -> BTreeMap<&'static str, Example> {
    let mut examples = BTreeMap::new();
    for example in EXAMPLES {
        let mut words = example.0.split(' ');
        let (_, command) = find(words.next().unwrap().as_bytes()).unwrap();
        let asked = command.about.asked_for(words.next().map(str::as_bytes)).unwrap();
        examples.entry(asked.name).or_insert(*example);
    }
    examples
}

fn reference() -> String {
    let mut text = format!("{HEAD}\n```toml\n{DEFINITIONS}```\n");
    let alone = || every_command().into_iter().filter(|about| !about.name.contains('|'));
    let mut groups: Vec<&str> = alone().map(|about| about.group).collect();
    groups.dedup();
    for group in groups {
        write!(text, "\n## {group}\n").unwrap();
        for about in alone().filter(|about| about.group == group) {
            let title = about.name.to_ascii_uppercase();
            write!(text, "\n### {title}\n{}\n\n", about.summary).unwrap();
            if stands_alone(about) {
                tell(&mut text, about);
            } else {
                text.pop();
            }
            for subcommand in about.subcommands {
                let own_name = subcommand.own_name().to_ascii_uppercase();
                let summary = subcommand.summary;
                write!(text, "\n#### {title} {own_name}\n{summary}\n\n").unwrap();
                tell(&mut text, subcommand);
            }
        }
    }
    text
}

/// CLIENT without a subcommand is nothing; COMMAND is.
fn stands_alone(about: &Description) -> bool {
    about.subcommands.is_empty() || about.arity == -1
}

fn tell(text: &mut String, about: &Description) {
    let told = documentation(about.name).unwrap();
    let name = about.name.replace('|', " ").to_ascii_uppercase();
    let syntax = format!("{name} {}", told.syntax);
    let from = if about.name.starts_with("fs.") { "nowthen" } else { "Redis" };
    let list = |words: Vec<&str>| words.join(" ");
    writeln!(text, "    {}\n", syntax.trim_end()).unwrap();
    writeln!(text, "- arity {}, {}, since {from} {}", about.arity, told.complexity, told.since)
        .unwrap();
    let flags = list(flags_of(about).collect());
    let categories: Vec<String> =
        categories_of(about).iter().map(|category| format!("@{category}")).collect();
    let comma = if flags.is_empty() { "" } else { "; " };
    writeln!(text, "- {flags}{comma}{}", categories.join(" ")).unwrap();
    if let (first, last, step) = about.keys
        && first > 0
    {
        let access: Vec<String> = told.access.iter().map(|access| access.join(" ")).collect();
        let tier = if PLAIN_ONLY.contains(&about.name) {
            "plain keys only"
        } else {
            "plain keys and registered entities"
        };
        let access = access.join(", ");
        writeln!(text, "- keys {first} to {last} step {step} ({access}): {tier}").unwrap();
    }
    if let Some((line, reply)) = examples().get(about.name) {
        let reply = if *reply == "?" { String::new() } else { format!(" gives `{reply}`") };
        let reply = reply.replace(" *`", " ...`");
        writeln!(text, "- `{line}`{reply}").unwrap();
    }
}
