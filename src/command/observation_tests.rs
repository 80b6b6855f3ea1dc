//! What SLOWLOG, LATENCY, MEMORY and INFO tell of what clients did.

use super::behaviour_tests::{Subject, USERS};

#[test]
fn calls_failures_and_rejections_are_counted_apart_as_in_redis() {
    let mut subject = Subject::new();
    for line in ["SET k v", "SET k", "GET k", "GET none", "HGET k f", "HGET k", "nosuch"] {
        subject.ask(line);
    }
    for line in ["CONFIG GET x", "CONFIG GET", "CONFIG", "CONFIG nosuch", "SLOWLOG GET x"] {
        subject.ask(line);
    }
    let info = subject.ask("INFO commandstats stats errorstats");
    let line = |name: &str| {
        let found = info.split(' ').find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let found = found.unwrap_or_else(|| panic!("{name} in {info}"));
        found.split(',').filter(|part| !part.starts_with("usec")).collect::<Vec<_>>().join(",")
    };
    assert_eq!(line("cmdstat_set"), "calls=1,rejected_calls=1,failed_calls=0");
    assert_eq!(line("cmdstat_hget"), "calls=1,rejected_calls=1,failed_calls=1");
    assert_eq!(line("cmdstat_config|get"), "calls=1,rejected_calls=1,failed_calls=0");
    assert_eq!(line("cmdstat_config"), "calls=0,rejected_calls=1,failed_calls=0");
    assert_eq!(line("cmdstat_slowlog|get"), "calls=1,rejected_calls=0,failed_calls=1");
    assert_eq!((line("keyspace_hits"), line("keyspace_misses")), ("2".into(), "1".into()));
    assert_eq!(line("total_commands_processed"), "6");
    assert_eq!(line("total_error_replies"), "8");
    assert_eq!(
        (line("errorstat_ERR"), line("errorstat_WRONGTYPE")),
        ("count=7".into(), "count=1".into())
    );
    subject.app.stats.reset();
    assert_eq!(subject.ask("INFO errorstats commandstats"), "$32 # Commandstats  # Errorstats");
    assert!(subject.ask("INFO commandstats").contains("cmdstat_info:calls=1"));
}

#[test]
fn the_slow_log_holds_what_took_long_without_secrets() {
    let mut subject = Subject::new();
    subject.app.stats.slow_log.set_threshold_us(0);
    for line in ["AUTH me secret", "HELLO 2 AUTH me secret", "GET", "CONFIG SET masterauth secret"]
    {
        subject.ask(line);
    }
    subject.ask("HELLO 2 SETNAME auth AUTH me secret");
    subject.ask("HELLO AUTH me secret");
    subject.ask("HELLO 2 SETNAME me");
    subject.ask("GET k");
    subject.app.stats.slow_log.set_threshold_us(-1);
    subject.ask("GET never");
    let entries = subject.app.stats.slow_log.newest(9);
    let words = |arguments: &Vec<Vec<u8>>| String::from_utf8(arguments.join(&b' ')).unwrap();
    let told: Vec<String> = entries.iter().map(|entry| words(&entry.arguments)).collect();
    let wanted = [
        "GET k",
        "HELLO 2 SETNAME me",
        "HELLO AUTH (redacted) (redacted)",
        "HELLO 2 SETNAME auth (redacted) (redacted) (redacted)",
        "CONFIG SET masterauth (redacted)",
        "HELLO 2 AUTH (redacted) (redacted)",
        "AUTH (redacted) (redacted)",
    ];
    assert_eq!(told, wanted);
    assert_eq!(
        (entries[0].client.as_slice(), entries[0].peer.as_str()),
        (&b"me"[..], "127.0.0.1:0")
    );
    let entry = "*6 :6 :1 ";
    assert!(subject.ask("SLOWLOG GET 1").starts_with(&format!("*1 {entry}")));
    subject.check(&[
        ("SLOWLOG LEN", ":7"),
        ("SLOWLOG RESET", "+OK"),
        ("SLOWLOG GET -1", "*0"),
        ("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1"),
        (
            "SLOWLOG GET 1 2",
            "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.",
        ),
        ("SLOWLOG LEN x", "-ERR wrong number of arguments for 'slowlog|len' command"),
    ]);
}

#[test]
fn latency_events_are_those_that_reach_the_threshold() {
    let mut subject = Subject::new();
    subject.ask("LATENCY LATEST");
    subject.app.stats.latency_monitor.set_threshold_ms(40);
    subject.app.stats.latency_monitor.note("log-sync", 50_000_000, 7);
    subject.app.stats.latency_monitor.note("log-sync", 39_000_000, 8);
    subject.check(&[
        ("LATENCY LATEST", "*1 *4 $8 log-sync :7 :50 :50"),
        ("LATENCY HISTORY log-sync", "*1 *2 :7 :50"),
        ("LATENCY HISTORY nosuch", "*0"),
        ("LATENCY RESET nosuch", ":0"),
        ("LATENCY RESET LOG-SYNC", ":1"),
        ("LATENCY LATEST", "*0"),
        ("LATENCY HISTORY", "-ERR wrong number of arguments for 'latency|history' command"),
    ]);
    let told = subject.ask("LATENCY HISTOGRAM latency nosuch");
    assert!(told.starts_with("*6 "), "history, latest, reset: {told}");
    assert!(subject.ask("LATENCY HISTOGRAM latency|latest").starts_with("*2 $14 latency|latest"));
}

#[test]
fn the_memory_of_a_key_is_its_row_and_slot() {
    let mut subject = Subject::new();
    subject.apply(USERS);
    subject.check(&[("SET k v", "+OK"), ("HSET user:1 f 71", ":1")]);
    let usage = |subject: &mut Subject, key: &str| {
        let told = subject.ask(&format!("MEMORY USAGE {key}"));
        told.strip_prefix(':').and_then(|bytes| bytes.parse::<usize>().ok())
    };
    let small = usage(&mut subject, "k").unwrap();
    subject.ask(&format!("SET k {}", "v".repeat(1001)));
    assert_eq!(usage(&mut subject, "k"), Some(small + 1000));
    assert!(usage(&mut subject, "user:1").is_some_and(|bytes| bytes > 30));
    subject.check(&[
        ("MEMORY USAGE none", "$-1"),
        ("MEMORY USAGE k SAMPLES", "-ERR syntax error"),
        ("MEMORY USAGE k SAMPLES -1", "-ERR syntax error"),
        ("MEMORY USAGE k SAMPLES x", "-ERR value is not an integer or out of range"),
        ("MEMORY PURGE", "+OK"),
    ]);
    let stats = subject.ask("MEMORY STATS");
    assert!(stats.contains("keys.count :2"), "{stats}");
}

#[test]
fn hashes_with_fields_that_end_are_counted_also_in_a_transaction() {
    let mut subject = Subject::new();
    for line in ["HSET h f v g v", "HEXPIRE h 100 FIELDS 1 f", "MULTI", "INFO keyspace"] {
        subject.ask(line);
    }
    let told = "db0:keys=1,expires=0,avg_ttl=0,subexpiry=1";
    assert!(subject.ask("EXEC").contains(told));
    subject.ask("HDEL h f");
    assert!(subject.ask("INFO keyspace").contains("subexpiry=0"));
}

/// The numbers are those of Redis 7.0.15.
#[test]
fn every_read_of_a_key_is_a_hit_or_a_miss() {
    for (line, counted) in [
        ("GET k", (1, 0)),
        ("MGET k k2 none h", (3, 1)),
        ("EXISTS k none", (1, 1)),
        ("TOUCH k k", (2, 0)),
        ("GETDEL k", (1, 0)),
        ("GETDEL none", (0, 1)),
        ("GETEX k", (1, 0)),
        ("GETEX none", (0, 1)),
        ("GETSET k 2", (1, 0)),
        ("SET k 2 GET", (1, 0)),
        ("SET none 2 GET", (0, 1)),
        ("SET k 2", (0, 0)),
        ("COPY k q", (1, 0)),
        ("COPY none q", (0, 1)),
        ("HMGET h a b", (1, 0)),
        ("DEL k none", (0, 0)),
    ] {
        let mut subject = Subject::new();
        subject.check(&[("MSET k 1 k2 1", "+OK"), ("HSET h a 1", ":1")]);
        subject.ask(line);
        let info = subject.ask("INFO stats");
        let figure = |name: &str| -> u64 {
            let found = info.split(' ').find_map(|part| part.strip_prefix(name));
            found.unwrap().parse().unwrap()
        };
        let told = (figure("keyspace_hits:"), figure("keyspace_misses:"));
        assert_eq!(told, counted, "{line}");
    }
}
