//! What commands do while the store they run on is not loaded yet.

use super::{COMMANDS, behaviour_tests::Subject};
use std::iter::once;

const LOADING: &str = "-LOADING Redis is loading the dataset in memory";

/// A server with some data, none of which is loaded.
fn loading() -> Subject {
    let mut subject = Subject::new();
    subject.check(&[("SET a 1", "+OK"), ("HSET h f v", ":1"), ("PEXPIRE a 60000", ":1")]);
    subject.restart_without_loading();
    subject
}

#[test]
fn a_command_runs_while_data_is_loaded_if_its_flags_say_so() {
    let mut subject = loading();
    let mut refused = 0;
    for command in COMMANDS {
        let subcommands = command.about.subcommands.iter().map(|about| (about, about.name));
        for (about, name) in subcommands.chain(once((&command.about, command.about.name))) {
            // Some argument for each that it must have.
            let words = name.split('|').map(str::to_owned);
            let least = usize::try_from(about.arity.unsigned_abs()).unwrap();
            let rest = least - name.split('|').count();
            let words: Vec<String> = words.chain((0..rest).map(|_| "1".into())).collect();
            let is_above = !command.about.subcommands.is_empty() && !name.contains('|');
            if is_above && about.arity < -1 {
                continue;
            }
            let mut client = subject.another();
            let reply = String::from_utf8(client.say(&words)).unwrap();
            let is_refused = reply.starts_with(LOADING);
            assert_eq!(is_refused, !about.has_flag("loading"), "{words:?}: {reply}");
            refused += u32::from(is_refused);
        }
    }
    assert!(refused > 100, "{refused}");
    subject.load();
    subject.check(&[("GET a", "$1 1"), ("HGET h f", "$1 v"), ("SET b 2", "+OK"), ("DBSIZE", ":3")]);
}

#[test]
fn ping_and_what_reads_or_writes_is_refused_and_names_are_kept() {
    let mut subject = loading();
    subject.check(&[
        ("PING", LOADING),
        ("GET a", LOADING),
        ("SET a 2", LOADING),
        ("FLUSHALL", LOADING),
        ("BGSAVE", LOADING),
        ("CLIENT SETNAME n", "+OK"),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("NONSENSE", "-ERR unknown command 'NONSENSE', with args beginning with:"),
    ]);
    subject.load();
    subject.check(&[("PING", "+PONG"), ("GET a", "$1 1"), ("CLIENT GETNAME", "$1 n")]);
}

#[test]
fn a_transaction_that_begins_while_data_is_loaded_is_all_or_nothing() {
    let mut subject = loading();
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    subject.check(&[("MULTI", "+OK"), ("ECHO x", "+QUEUED"), ("SET a 2", LOADING)]);
    subject.load();
    subject.check(&[
        ("SET b 2", "+QUEUED"),
        ("EXEC", aborted),
        ("GET a", "$1 1"),
        ("GET b", "$-1"),
    ]);

    let mut subject = loading();
    subject.check(&[("WATCH a", "+OK"), ("MULTI", "+OK"), ("ECHO x", "+QUEUED")]);
    subject.load();
    // What it watched was not there yet.
    subject.check(&[("SET a 2", "+QUEUED"), ("EXEC", "*-1"), ("GET a", "$1 1")]);
}

#[test]
fn info_tells_of_loading_as_long_as_it_goes_on() {
    let mut subject = loading();
    let info = subject.ask("INFO persistence");
    for line in ["loading:1 ", "loading_loaded_bytes:0 ", "loading_loaded_perc:0.00 "] {
        assert!(info.contains(line), "{line}: {info}");
    }
    assert!(info.contains("loading_eta_seconds:1") && info.contains("loading_start_time:1 "));
    subject.load();
    let info = subject.ask("INFO persistence");
    assert!(info.contains("loading:0 ") && !info.contains("loading_"), "{info}");
}

/// Rows keep their places in the table, as those of a snapshot are to be loaded in their order.
#[test]
fn a_scan_goes_on_where_it_was_after_a_restart() {
    let mut subject = Subject::new();
    let mut wanted: Vec<String> = (0..300).map(|key| format!("key:{key}")).collect();
    wanted.iter().for_each(|key| drop(subject.ask(&format!("SET {key} x"))));
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    loop {
        let reply = subject.ask(&format!("SCAN {cursor} COUNT 40"));
        let mut words = reply.split(' ').skip(2).map(str::to_owned);
        cursor = words.next().unwrap();
        found.extend(words.filter(|word| word.starts_with("key:")));
        if cursor == "0" {
            break;
        }
        let is_snapshot_written = found.len() > 150 && subject.ask("SAVE") == "+OK";
        subject.restart();
        assert!(is_snapshot_written || found.len() <= 150);
    }
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
}
