//! A log that takes no more in the middle of EXEC: nothing changed, the client is told so, and
//! reads go on.

use super::behaviour_tests::{Subject, USERS};
use crate::{disk::Cut, log::Durability};
use std::io::ErrorKind;

const NO_SPACE: &str = "-NOSPACE no space left for the log: nothing was written, reads go on";
const READS: [(&str, &str); 4] = [
    ("MGET a b big", "*3 $1 1 $-1 $-1"),
    ("HMGET user:1 f", "*1 $1 7"),
    ("HGETALL h", "*2 $1 f $1 1"),
    ("TTL a", ":-1"),
];

fn filled(durability: Durability) -> Subject {
    let mut subject = Subject::with(durability);
    subject.apply(&USERS.replace("ttl = \"1s\"\n", ""));
    subject.check(&[("SET a 1", "+OK"), ("HSET user:1 f 7", ":1"), ("HSET h f 1", ":1")]);
    subject
}

/// Queues a transaction that changes all that `READS` tell, by a record of more than 4 KiB.
fn begin(subject: &mut Subject, first: &str) {
    let big = format!("SET big {}", "x".repeat(4096));
    subject.check(&[("MULTI", "+OK")]);
    let lines =
        [first, "SET a 2 EX 9", "INCR b", "HSET user:1 f 8", "HDEL h f", "HSET h g 2", &big];
    for line in lines {
        subject.check(&[(line, "+QUEUED")]);
    }
}

/// Writes until the log is full but for less than a transaction needs.
fn fill_the_disk(subject: &mut Subject) {
    subject.fs.limit_bytes(Some(subject.fs.used_bytes()));
    let filling = format!("SET filling {}", "x".repeat(4096));
    let replies = (0..1000).map(|_| subject.ask(&filling));
    assert_eq!(replies.last().as_deref(), Some(NO_SPACE));
}

#[test]
fn a_transaction_that_the_full_disk_does_not_take_has_changed_nothing() {
    for durability in [Durability::Always, Durability::Never] {
        for first in ["PING", "FLUSHALL"] {
            let mut subject = filled(durability);
            fill_the_disk(&mut subject);
            let (last, size) = (subject.last_lsn(), subject.ask("DBSIZE"));
            begin(&mut subject, first);
            subject.check(&[("EXEC", NO_SPACE), ("EXEC", "-ERR EXEC without MULTI")]);
            assert_eq!((subject.last_lsn(), subject.ask("DBSIZE")), (last, size));
            subject.check(&READS);
            subject.beside(|other| other.check(&READS));
            subject.check(&[
                ("MULTI", "+OK"),
                ("GET a", "+QUEUED"),
                ("HGET user:1 f", "+QUEUED"),
                ("EXEC", "*2 $1 1 $1 7"),
            ]);

            subject.fs.limit_bytes(None);
            // A full disk is not asked again at once.
            subject.wait_us(1_000_000);
            begin(&mut subject, first);
            let reply = subject.ask("EXEC");
            assert!(reply.starts_with("*7 +"), "{reply}");
            subject.restart();
            subject.check(&[
                ("MGET a b", "*2 $1 2 $1 1"),
                ("HGETALL h", "*2 $1 g $1 2"),
                ("HGET user:1 f", "$1 8"),
                ("EXISTS filling", if first == "FLUSHALL" { ":0" } else { ":1" }),
            ]);
        }
    }
}

#[test]
fn a_transaction_whose_sync_fails_is_not_told_of_and_shown_to_nobody() {
    let mut subject = filled(Durability::Always);
    subject.fs.fail_call(subject.fs.calls(), ErrorKind::Other, true);
    begin(&mut subject, "PING");
    // Whether it survives is not known, so nobody is told that it did.
    assert_eq!(subject.try_ask("EXEC").unwrap_err().code(), "IOERR");
    let transaction = [("MULTI", "+OK"), ("GET a", "+QUEUED"), ("EXEC", "*1 $1 1")];
    for _ in 0..2 {
        subject.beside(|other| {
            other.check(&READS);
            other.check(&transaction);
            // The log takes nothing after a failed sync, also once the disk works again.
            begin(other, "FLUSHALL");
            let reply = other.try_ask("EXEC").unwrap();
            assert!(reply.starts_with("-IOERR outcome unknown: "), "{reply}");
            other.check(&READS);
        });
        subject.fs.heal();
    }
    for seed in 0..20 {
        let mut after = filled(Durability::Always);
        after.fs = subject.fs.clone();
        after.crash(seed, Cut::Power);
        let told = after.ask("MGET a b");
        let whole = ["*2 $1 1 $-1", "*2 $1 2 $1 1"];
        let place = whole.iter().position(|whole| *whole == told);
        let h = ["*2 $1 f $1 1", "*2 $1 g $1 2"][place.unwrap()];
        after.check(&[("HGETALL h", h), ("HGET user:1 f", ["$1 7", "$1 8"][place.unwrap()])]);
    }
}
