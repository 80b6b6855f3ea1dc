//! MULTI, EXEC, WATCH: what one client sees of its transaction, and what others see of it.

use super::behaviour_tests::{Subject, USERS};
use crate::{log::Durability, online::Seen};
use std::sync::{
    Arc, Barrier,
    atomic::{AtomicBool, Ordering},
};

#[test]
fn the_commands_of_a_transaction_see_what_those_before_them_did() {
    let mut subject = Subject::new();
    subject.check(&[
        ("SET s 1", "+OK"),
        ("MULTI", "+OK"),
        ("INCR s", "+QUEUED"),
        ("GET s", "+QUEUED"),
        ("HSET h f 1", "+QUEUED"),
        ("HINCRBY h f 4", "+QUEUED"),
        ("HGETALL h", "+QUEUED"),
        ("RENAME h g", "+QUEUED"),
        ("EXISTS h g s", "+QUEUED"),
        ("DEL s", "+QUEUED"),
        ("GET s", "+QUEUED"),
        ("EXEC", "*9 :2 $1 2 :1 :5 *2 $1 f $1 5 +OK :2 :1 $-1"),
        ("HGETALL g", "*2 $1 f $1 5"),
        ("DBSIZE", ":1"),
    ]);
    subject.restart();
    subject.check(&[("HGETALL g", "*2 $1 f $1 5"), ("EXISTS h s", ":0")]);
}

#[test]
fn a_command_that_fails_in_the_middle_stops_nothing() {
    let mut subject = Subject::new();
    subject.check(&[
        ("MULTI", "+OK"),
        ("SET s x", "+QUEUED"),
        ("INCR s", "+QUEUED"),
        ("HGET s f", "+QUEUED"),
        ("APPEND s y", "+QUEUED"),
        (
            "EXEC",
            "*4 +OK -ERR value is not an integer or out of range -WRONGTYPE Operation against a \
             key holding the wrong kind of value :2",
        ),
        ("GET s", "$2 xy"),
    ]);
}

#[test]
fn an_exec_with_an_argument_ends_the_transaction() {
    let mut subject = Subject::new();
    let aborted = "-EXECABORT Transaction discarded because of: wrong number of arguments for \
                   'exec' command";
    subject.check(&[
        ("EXEC x", aborted),
        ("MULTI", "+OK"),
        ("SET s 1", "+QUEUED"),
        ("EXEC x", aborted),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("EXISTS s", ":0"),
    ]);
}

#[test]
fn a_refused_command_lets_exec_run_none() {
    let mut subject = Subject::new();
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    for (line, why) in [
        ("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with:"),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("SAVE", "-ERR Command not allowed inside a transaction"),
        (
            "FS.GET FEATURES 1 f FOR 1 user ROWS 1 1 AT 7",
            "-ERR Command not allowed inside a transaction",
        ),
    ] {
        subject.check(&[("MULTI", "+OK"), ("SET s x", "+QUEUED"), (line, why), ("EXEC", aborted)]);
    }
    subject.check(&[
        ("GET s", "$-1"),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("DISCARD", "-ERR DISCARD without MULTI"),
        ("MULTI", "+OK"),
        ("MULTI", "-ERR MULTI calls can not be nested"),
        ("WATCH s", "-ERR WATCH inside MULTI is not allowed"),
        ("SET s x", "+QUEUED"),
        ("DISCARD", "+OK"),
        ("GET s", "$-1"),
        ("MULTI", "+OK"),
        ("RESET", "+RESET"),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
    ]);
}

#[test]
fn a_watched_key_that_changed_stops_exec() {
    // What happens between WATCH and EXEC, and whether EXEC runs then.
    for (before, between, runs) in [
        ("SET s 1", "SET s 1", false),
        ("SET s 1", "GET s", true),
        ("SET s 1", "DEL s", false),
        ("SET s 1", "EXPIRE s 100", false),
        ("SET s 1", "FLUSHALL", false),
        ("SET other 1", "FLUSHALL", true),
        ("SET other 1", "SET s 1", false),
        ("SET other 1", "SET other 2", true),
        ("HSET s f 1", "HINCRBY s f 1", false),
        ("HSET s f 1", "HDEL s nosuch", true),
    ] {
        let mut subject = Subject::new();
        subject.check(&[("WATCH s unrelated", "+OK")]);
        subject.ask("UNWATCH");
        subject.ask(before);
        subject.check(&[("WATCH s unrelated", "+OK")]);
        subject.beside(|other| other.ask(between));
        subject.check(&[("MULTI", "+OK"), ("SET t 1", "+QUEUED")]);
        let reply = if runs { "*1 +OK" } else { "*-1" };
        assert_eq!(subject.ask("EXEC"), reply, "{before}, {between}");
        // Whatever it did, it watches nothing any more.
        subject.beside(|other| other.ask("SET s 7"));
        subject.check(&[("MULTI", "+OK"), ("EXEC", "*0")]);
    }
}

#[test]
fn a_watched_key_that_ended_stops_exec_and_one_that_was_over_does_not() {
    let mut subject = Subject::new();
    subject.check(&[("SET s 1 PX 30", "+OK"), ("WATCH s", "+OK")]);
    subject.wait_us(31_000);
    subject.check(&[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "*-1")]);
    subject.check(&[("WATCH s", "+OK")]);
    assert_eq!(subject.sweep(), 1);
    subject.check(&[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "*1 +PONG")]);
}

#[test]
fn a_flush_inside_a_transaction_removes_what_was_before_it() {
    let mut subject = Subject::new();
    subject.apply(USERS);
    subject.check(&[
        ("MSET a 1 b 2", "+OK"),
        ("HSET user:1 f 7", ":1"),
        ("MULTI", "+OK"),
        ("SET c 3", "+QUEUED"),
        ("DBSIZE", "+QUEUED"),
        ("FLUSHALL", "+QUEUED"),
        ("DBSIZE", "+QUEUED"),
        ("SET d 4", "+QUEUED"),
        ("KEYS *", "+QUEUED"),
        ("HGET user:1 f", "+QUEUED"),
        ("EXEC", "*7 +OK :4 +OK :0 +OK *1 $1 d $-1"),
        ("MGET a b c d", "*4 $-1 $-1 $-1 $1 4"),
    ]);
    subject.restart();
    subject.check(&[("MGET a b c d", "*4 $-1 $-1 $-1 $1 4"), ("HGET user:1 f", "$-1")]);
}

#[test]
fn what_stands_behind_a_flush_of_its_own_transaction_survives_a_snapshot() {
    for durability in [Durability::Always, Durability::Never] {
        let mut subject = Subject::with(durability);
        subject.apply(USERS);
        subject.check(&[
            ("SET a 1", "+OK"),
            ("MULTI", "+OK"),
            ("FLUSHALL", "+QUEUED"),
            ("SET d 4", "+QUEUED"),
            ("HSET user:1 f 7", "+QUEUED"),
            ("EXEC", "*3 +OK +OK :1"),
            ("SAVE", "+OK"),
        ]);
        subject.restart();
        subject.check(&[("MGET a d", "*2 $-1 $1 4"), ("HGET user:1 f", "$1 7")]);
    }
}

#[test]
fn features_are_written_and_read_in_a_transaction() {
    let mut subject = Subject::new();
    subject.apply(USERS);
    subject.check(&[
        ("WATCH user:01", "+OK"),
        ("MULTI", "+OK"),
        ("HSET user:1 f 7", "+QUEUED"),
        ("HINCRBY user:01 f 1", "+QUEUED"),
        ("HGET user:1 f", "+QUEUED"),
        ("FS.GET FEATURES 1 v:f FOR 1 user ROWS 1 1", "+QUEUED"),
        ("SCAN 0", "+QUEUED"),
        ("INFO keyspace", "+QUEUED"),
        (
            "EXEC",
            "*6 :1 :8 $1 8 *1 *1 $1 8 *2 $1 0 *1 $6 user:1 $56 # Keyspace \
             db0:keys=1,expires=0,avg_ttl=0,subexpiry=0",
        ),
        ("HGET user:1 f", "$1 8"),
    ]);
}

/// What is for plain keys finds nothing under the other spellings of an entity's key.
#[test]
fn a_key_in_another_spelling_is_no_other_inside_of_a_transaction() {
    let mut subject = Subject::new();
    subject.apply(USERS);
    subject.check(&[("HSET user:1 f 7", ":1")]);
    for (command, reply) in
        [("GET user:01", "$-1"), ("MGET user:01", "*1 $-1"), ("TTL user:01", ":-1")]
    {
        let inside = format!("*1 {reply}");
        subject.check(&[(command, reply), ("MULTI", "+OK"), (command, "+QUEUED")]);
        subject.check(&[("EXEC", &inside)]);
    }
}

/// Two keys are written together again and again; whoever reads both must find them equal.
#[test]
fn nobody_sees_half_of_a_transaction() {
    for durability in [Durability::Always, Durability::Never] {
        let mut subject = Subject::with(durability);
        subject.check(&[("MSET a 0 b 0", "+OK")]);
        let is_done = Arc::new(AtomicBool::new(false));
        let is_begun = Arc::new(Barrier::new(3));
        let reader = |ask: fn(&mut Subject) -> String| {
            let (mut other, is_done) = (subject.another(), Arc::clone(&is_done));
            let is_begun = Arc::clone(&is_begun);
            std::thread::spawn(move || {
                let mut count = 0;
                let mut is_begun = Some(is_begun);
                while !is_done.load(Ordering::Relaxed) {
                    let reply = ask(&mut other);
                    let words: Vec<&str> = reply.split(' ').collect();
                    let [.., a, _, b] = words.as_slice() else { panic!("{reply}") };
                    assert_eq!(a, b, "{reply}");
                    count += 1;
                    is_begun.take().map(|begun| begun.wait());
                }
                count
            })
        };
        let readers = [
            reader(|other| other.ask("MGET a b")),
            reader(|other| {
                other.ask("MULTI");
                other.ask("GET a");
                other.ask("GET b");
                other.ask("EXEC")
            }),
        ];
        is_begun.wait();
        for i in 1..=150 {
            let set = |key| format!("SET {key} {i}");
            subject.check(&[
                ("MULTI", "+OK"),
                (&set("b"), "+QUEUED"),
                (&set("a"), "+QUEUED"),
                ("EXEC", "*2 +OK +OK"),
            ]);
            subject.check(&[(&format!("MSET b {i}5 a {i}5"), "+OK")]);
        }
        is_done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0, "a reader read nothing");
        }
    }
}

#[test]
fn a_transaction_is_one_record_of_the_log() {
    let mut subject = Subject::new();
    subject.check(&[("MULTI", "+OK"), ("SET a 1", "+QUEUED"), ("HSET h f 1", "+QUEUED")]);
    let before = subject.last_lsn();
    subject.check(&[("EXEC", "*2 +OK :1")]);
    assert_eq!(subject.last_lsn(), before + 1);
    subject.check(&[("MULTI", "+OK"), ("GET a", "+QUEUED"), ("EXEC", "*1 $1 1")]);
    assert_eq!(subject.last_lsn(), before + 1);
    assert_eq!(subject.live_rows(Seen::Published), 2);
}

#[test]
fn a_transaction_waits_for_nothing_and_monitors_nothing() {
    let mut subject = Subject::new();
    subject.check(&[
        ("SET a 1", "+OK"),
        ("MULTI", "+OK"),
        ("SET a 2", "+QUEUED"),
        ("WAIT 1 0", "+QUEUED"),
        ("WAITAOF 1 0 0", "+QUEUED"),
        ("MONITOR", "+QUEUED"),
        ("BGSAVE", "+QUEUED"),
        (
            "EXEC",
            "*5 +OK :0 *2 :1 :0 -ERR MONITOR isn't allowed for DENY BLOCKING client \
             +Background saving scheduled",
        ),
    ]);
}

#[test]
fn a_client_is_told_of_with_its_transaction() {
    let mut subject = Subject::new();
    let told = |line: &str| {
        let has = |name: &str| line.split(' ').any(|part| part == name);
        (has("flags=x"), has("multi=2"), has("multi=-1"), has("multi-mem=0"))
    };
    assert_eq!(told(&subject.ask("CLIENT INFO")), (false, false, true, true));
    subject.check(&[("MULTI", "+OK"), ("CLIENT INFO", "+QUEUED"), ("SET a 1", "+QUEUED")]);
    assert_eq!(told(&subject.ask("EXEC")), (true, true, false, false));
    for end in ["EXEC", "DISCARD", "RESET", "EXEC x"] {
        subject.check(&[
            ("MULTI", "+OK"),
            ("GET", "-ERR wrong number of arguments for 'get' command"),
        ]);
        subject.ask(end);
        assert_eq!(told(&subject.ask("CLIENT INFO")), (false, false, true, true), "{end}");
    }
}

/// Each key is compared with few of those before it, and all of them have a bound.
#[test]
fn many_keys_can_be_watched_and_not_any_number() {
    let mut subject = Subject::new();
    let key = |number: usize| format!("key:{number}");
    for start in (0..200_000).step_by(4000) {
        let keys: Vec<String> = (start..start + 4000).map(key).collect();
        assert_eq!(subject.ask(&format!("WATCH {}", keys.join(" "))), "+OK");
    }
    subject.check(&[("MULTI", "+OK"), ("GET key:1", "+QUEUED"), ("EXEC", "*1 $-1")]);
    subject.check(&[("CONFIG SET client-query-buffer-limit 1mb", "+OK")]);
    let long = |number: usize| format!("WATCH {number}{}", "x".repeat(300_000));
    for number in 0..3 {
        assert_eq!(subject.ask(&long(number)), "+OK");
    }
    assert_eq!(subject.ask(&long(3)), "-ERR a client may watch at most 1 MiB of keys");
    subject.check(&[("UNWATCH", "+OK")]);
    assert_eq!(subject.ask(&long(3)), "+OK");
}

/// Redis 7.0.15 says the same: whoever asks for this reads fewer replies than the array promises.
#[test]
fn replies_can_be_switched_in_a_transaction() {
    let ask_all = |subject: &mut Subject, lines: &[&str]| {
        let replies: Vec<String> = lines.iter().map(|line| subject.ask(line)).collect();
        replies.into_iter().filter(|reply| !reply.is_empty()).collect::<Vec<_>>().join(" | ")
    };
    for (first, inside, wanted) in [
        ("PING", "SKIP", "+PONG | +OK | +QUEUED | +QUEUED | *2 +PONG | +PONG"),
        ("PING", "OFF", "+PONG | +OK | +QUEUED | +QUEUED | *2"),
        ("CLIENT REPLY OFF", "ON", "+OK +PONG | +PONG | +PONG"),
    ] {
        let inside = format!("CLIENT REPLY {inside}");
        let lines = [first, "MULTI", &inside, "PING", "EXEC", "PING", "PING"];
        assert_eq!(ask_all(&mut Subject::new(), &lines), wanted, "{inside}");
    }
}

#[test]
fn what_a_transaction_did_so_far_counts_in_what_it_tells_of_the_keyspace() {
    // Without the mean, which a transaction does not tell.
    let told = |reply: &str| {
        let line = reply.split(' ').find(|word| word.starts_with("db0:")).unwrap_or_default();
        let figures: Vec<_> = line.split(',').filter(|part| !part.starts_with("avg_ttl")).collect();
        figures.join(",")
    };
    for durability in [Durability::Always, Durability::Never] {
        let mut subject = Subject::with(durability);
        subject.check(&[("SET old 1 EX 9", "+OK"), ("HSET h f 1", ":1")]);
        for (line, after) in [
            ("SET a 1 EX 9", "db0:keys=3,expires=2,subexpiry=0"),
            ("HPEXPIRE h 900 FIELDS 1 f", "db0:keys=3,expires=2,subexpiry=1"),
            ("PERSIST old", "db0:keys=3,expires=1,subexpiry=1"),
            ("DEL h a", "db0:keys=1,expires=0,subexpiry=0"),
            ("FLUSHALL", ""),
        ] {
            subject.check(&[("MULTI", "+OK"), (line, "+QUEUED"), ("INFO keyspace", "+QUEUED")]);
            assert_eq!(told(&subject.ask("EXEC")), after, "{line}");
            assert_eq!(told(&subject.ask("INFO keyspace")), after, "{line}");
        }
    }
}
