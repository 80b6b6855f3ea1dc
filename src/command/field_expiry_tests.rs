//! Fields of hashes that end, as a client sees them: conditions, clocks, sweeps, restarts.

use super::behaviour_tests::{Subject, USERS};
use crate::log::Durability;

const MS: i64 = 1_000;
const MISMATCH: &str = "-ERR The `numfields` parameter must match the number of arguments";

/// The clock of a subject stands at second 1.
fn subject() -> Subject {
    Subject::new()
}

#[test]
fn conditions_decide_field_by_field() {
    let mut subject = subject();
    subject.check(&[
        ("HSET h a 1 b 2", ":2"),
        ("HEXPIRE h 10 FIELDS 3 a x a", "*3 :1 :-2 :1"),
        ("HEXPIRE h 20 NX FIELDS 3 a b b", "*3 :0 :1 :0"),
        ("HTTL h FIELDS 3 a b x", "*3 :10 :20 :-2"),
        ("HEXPIRE h 15 GT FIELDS 2 a b", "*2 :1 :0"),
        ("HEXPIRE h 15 gt FIELDS 1 a", "*1 :0"),
        ("HEXPIRE h 15 LT FIELDS 2 a b", "*2 :0 :1"),
        ("HPERSIST h FIELDS 4 a b x a", "*4 :1 :1 :-2 :-1"),
        ("HEXPIRE h 15 XX FIELDS 2 a b", "*2 :0 :0"),
        ("HEXPIRE h 15 GT FIELDS 2 a b", "*2 :0 :0"),
        // No end is later than any end.
        ("HEXPIRE h 15 LT FIELDS 2 a b", "*2 :1 :1"),
        ("HEXPIRE h 16 XX FIELDS 2 a b", "*2 :1 :1"),
        ("HPERSIST h FIELDS 1 b", "*1 :1"),
        ("HTTL h FIELDS 2 a b", "*2 :16 :-1"),
        ("HEXPIRE none 10 FIELDS 2 a b", "*2 :-2 :-2"),
        ("HTTL none FIELDS 2 a b", "*2 :-2 :-2"),
        ("HPERSIST none FIELDS 2 a b", "*2 :-2 :-2"),
    ]);
}

#[test]
fn ends_are_told_in_every_unit() {
    let mut subject = subject();
    subject.wait_us(500);
    subject.check(&[
        ("HSET h a 1", ":1"),
        ("HPEXPIRE h 1500 FIELDS 1 a", "*1 :1"),
        ("HPTTL h FIELDS 1 a", "*1 :1500"),
        ("HTTL h FIELDS 1 a", "*1 :2"),
        ("HPEXPIRETIME h FIELDS 1 a", "*1 :2500"),
        ("HEXPIRETIME h FIELDS 1 a", "*1 :3"),
        ("HEXPIREAT h 100 FIELDS 1 a", "*1 :1"),
        ("HPEXPIRETIME h FIELDS 1 a", "*1 :100000"),
        ("HPEXPIREAT h 5000 FIELDS 1 a", "*1 :1"),
        ("HEXPIRETIME h FIELDS 1 a", "*1 :5"),
        // What is written whole has no end, what is counted up keeps it.
        ("HINCRBY h a 4", ":5"),
        ("HINCRBYFLOAT h a 0.5", "$3 5.5"),
        ("HSETNX h a 7", ":0"),
        ("HPEXPIRETIME h FIELDS 1 a", "*1 :5000"),
        ("HSET h a 8", ":0"),
        ("HTTL h FIELDS 1 a", "*1 :-1"),
        ("HPEXPIRE h 50 FIELDS 1 a", "*1 :1"),
        ("HMSET h a 9", "+OK"),
        ("HTTL h FIELDS 1 a", "*1 :-1"),
        ("HPEXPIRE h 50 FIELDS 1 a", "*1 :1"),
        ("HDEL h a", ":1"),
        ("HSET h a 9", ":1"),
        ("HTTL h FIELDS 1 a", "*1 :-1"),
    ]);
}

#[test]
fn an_end_that_has_passed_deletes() {
    let mut subject = subject();
    subject.check(&[
        ("HSET h a 1 b 2 c 3", ":3"),
        ("HPEXPIREAT h 999 FIELDS 3 a x a", "*3 :2 :-2 :-2"),
        ("HPEXPIRE h 0 NX FIELDS 1 b", "*1 :2"),
        ("HEXPIRE h 0 XX FIELDS 1 c", "*1 :0"),
        ("HGETALL h", "*2 $1 c $1 3"),
        ("HGETEX h PXAT 1 FIELDS 3 c x c", "*3 $1 3 $-1 $-1"),
        ("EXISTS h", ":0"),
        ("DBSIZE", ":0"),
        ("HSETEX h EXAT 0 FIELDS 2 a 1 a 2", ":1"),
        ("EXISTS h", ":0"),
        ("HSET h a 1 b 2", ":2"),
        ("HSETEX h PX 0 FIELDS 2 a 1 c 2", ":1"),
        ("HGETALL h", "*2 $1 b $1 2"),
    ]);
    subject.restart();
    subject.check(&[("HGETALL h", "*2 $1 b $1 2"), ("HTTL h FIELDS 1 b", "*1 :-1")]);
}

#[test]
fn values_are_set_and_taken_together_with_their_ends() {
    let mut subject = subject();
    subject.check(&[
        ("HSETEX h FXX FIELDS 1 a 1", ":0"),
        ("EXISTS h", ":0"),
        ("HSETEX h EX 10 FIELDS 2 a 1 b 2", ":1"),
        ("HTTL h FIELDS 2 a b", "*2 :10 :10"),
        ("HSETEX h FNX FIELDS 2 c 3 a 4", ":0"),
        ("HSETEX h FXX FIELDS 2 c 3 a 4", ":0"),
        ("HSETEX h FXX KEEPTTL FIELDS 1 a 4", ":1"),
        ("HSETEX h fnx exat 50 FIELDS 1 c 3", ":1"),
        ("HTTL h FIELDS 3 a b c", "*3 :10 :10 :49"),
        ("HSETEX h FIELDS 1 b 5", ":1"),
        ("HGETEX h FIELDS 4 a b c d", "*4 $1 4 $1 5 $1 3 $-1"),
        ("HTTL h FIELDS 3 a b c", "*3 :10 :-1 :49"),
        ("HGETEX h PX 2500 FIELDS 3 a b b", "*3 $1 4 $1 5 $1 5"),
        ("HPTTL h FIELDS 3 a b c", "*3 :2500 :2500 :49000"),
        ("HGETEX h PERSIST FIELDS 2 a d", "*2 $1 4 $-1"),
        ("HPTTL h FIELDS 3 a b c", "*3 :-1 :2500 :49000"),
        ("HGETEX none EX 5 FIELDS 2 a d", "*2 $-1 $-1"),
        ("HGETDEL none FIELDS 2 a d", "*2 $-1 $-1"),
        ("HGETDEL h FIELDS 4 a d b a", "*4 $1 4 $-1 $1 5 $-1"),
        ("HGETALL h", "*2 $1 c $1 3"),
        ("HGETDEL h FIELDS 1 c", "*1 $1 3"),
        ("EXISTS h", ":0"),
    ]);
}

#[test]
fn a_field_past_its_end_is_none_to_any_command() {
    let mut subject = subject();
    subject.check(&[
        ("HSET h a 1 b 22", ":2"),
        ("HPEXPIRE h 10 FIELDS 1 a", "*1 :1"),
        ("OBJECT ENCODING h", "$10 listpackex"),
    ]);
    subject.wait_us(10 * MS - 1);
    subject.check(&[("HGET h a", "$1 1"), ("HLEN h", ":2")]);
    subject.wait_us(1);
    let over = [
        ("HGET h a", "$-1"),
        ("HMGET h b a b", "*3 $2 22 $-1 $2 22"),
        ("HGETALL h", "*2 $1 b $2 22"),
        ("HKEYS h", "*1 $1 b"),
        ("HVALS h", "*1 $2 22"),
        ("HLEN h", ":1"),
        ("HEXISTS h a", ":0"),
        ("HSTRLEN h a", ":0"),
        ("HRANDFIELD h", "$1 b"),
        ("HRANDFIELD h 5", "*1 $1 b"),
        ("HRANDFIELD h -2", "*2 $1 b $1 b"),
        ("HSCAN h 0", "*2 $1 0 *2 $1 b $2 22"),
        ("HTTL h FIELDS 2 a b", "*2 :-2 :-1"),
        ("HPERSIST h FIELDS 1 a", "*1 :-2"),
        ("HEXPIRE h 10 FIELDS 1 a", "*1 :-2"),
        ("HGETEX h EX 10 FIELDS 1 a", "*1 $-1"),
        ("HGETDEL h FIELDS 1 a", "*1 $-1"),
        ("HSETEX h FXX FIELDS 1 a 1", ":0"),
        ("HDEL h a", ":0"),
        ("COPY h i REPLACE", ":1"),
        ("HGETALL i", "*2 $1 b $2 22"),
    ];
    subject.check(&over);
    subject.restart();
    subject.check(&over);
    assert_eq!(subject.sweep(), 0);
    subject.check(&over);
    subject.check(&[("HSETNX h a 5", ":1"), ("HTTL h FIELDS 1 a", "*1 :-1"), ("HGET h a", "$1 5")]);
}

/// Each way to write a field again that is over, and what must stand then, before and after a
/// restart, with and without a sweep before the write.
#[test]
fn a_field_that_was_over_begins_anew() {
    for durability in [Durability::Always, Durability::Never] {
        for is_swept in [false, true] {
            for (write, reply, value, end) in [
                ("HSET h a 5", ":1", "$1 5", "*1 :-1"),
                ("HSETNX h a 5", ":1", "$1 5", "*1 :-1"),
                ("HINCRBY h a 5", ":5", "$1 5", "*1 :-1"),
                ("HINCRBYFLOAT h a 5.5", "$3 5.5", "$3 5.5", "*1 :-1"),
                ("HSETEX h KEEPTTL FIELDS 1 a 5", ":1", "$1 5", "*1 :-1"),
                ("HSETEX h FNX FIELDS 1 a 5", ":1", "$1 5", "*1 :-1"),
                ("HSETEX h FNX PX 77 FIELDS 1 a 5", ":1", "$1 5", "*1 :77"),
            ] {
                for others in ["", " b 2"] {
                    let mut subject = Subject::with(durability);
                    let count = if others.is_empty() { ":1" } else { ":2" };
                    subject.check(&[
                        (&format!("HSET h a 1{others}"), count),
                        ("HPEXPIRE h 10 FIELDS 1 a", "*1 :1"),
                        ("PEXPIRE h 9999", ":1"),
                    ]);
                    subject.wait_us(10 * MS);
                    if is_swept {
                        assert_eq!(subject.sweep(), usize::from(others.is_empty()));
                    }
                    subject.check(&[(write, reply)]);
                    for _ in 0..2 {
                        // The end of the key went with the last field.
                        let ttl = if others.is_empty() { ":-1" } else { ":9989" };
                        subject.check(&[
                            ("HGET h a", value),
                            ("HPTTL h FIELDS 1 a", end),
                            ("HLEN h", count),
                            ("PTTL h", ttl),
                        ]);
                        subject.restart();
                    }
                }
            }
        }
    }
}

#[test]
fn a_hash_of_which_all_fields_are_over_is_no_key() {
    for is_swept in [false, true] {
        let mut subject = subject();
        subject.check(&[
            ("HSETEX h PX 10 FIELDS 1 a 1", ":1"),
            ("HSETEX h PX 20 FIELDS 1 b 1", ":1"),
            ("HSET h c 1", ":1"),
            ("HDEL h c", ":1"),
            ("EXISTS h", ":1"),
        ]);
        subject.wait_us(20 * MS);
        if is_swept {
            assert_eq!(subject.sweep(), 1);
            subject.check(&[("DBSIZE", ":0")]);
        }
        for _ in 0..2 {
            subject.check(&[
                ("EXISTS h", ":0"),
                ("TYPE h", "+none"),
                ("KEYS *", "*0"),
                ("SCAN 0 COUNT 100", "*2 $1 0 *0"),
                ("RANDOMKEY", "$-1"),
                ("TTL h", ":-2"),
                ("OBJECT ENCODING h", "$-1"),
                ("RENAME h i", "-ERR no such key"),
                ("COPY h i", ":0"),
                ("HLEN h", ":0"),
                ("DEL h", ":0"),
                ("PEXPIRE h 10", ":0"),
                ("GET h", "$-1"),
            ]);
            subject.restart();
        }
        subject.check(&[("HSET h d 4", ":1"), ("HGETALL h", "*2 $1 d $1 4")]);
        subject.restart();
        subject.check(&[("HGETALL h", "*2 $1 d $1 4"), ("HTTL h FIELDS 1 d", "*1 :-1")]);
    }
}

#[test]
fn names_and_copies_take_the_ends_of_fields_with_them() {
    let mut subject = subject();
    subject.check(&[
        ("HSET h a 1 b 2 c 3", ":3"),
        ("HPEXPIRE h 10 FIELDS 1 a", "*1 :1"),
        ("HPEXPIRE h 500 FIELDS 1 b", "*1 :1"),
        ("PEXPIRE h 900", ":1"),
    ]);
    subject.wait_us(10 * MS);
    subject.check(&[("COPY h copy", ":1"), ("RENAME h moved", "+OK")]);
    for _ in 0..2 {
        for key in ["copy", "moved"] {
            subject.check(&[
                (&format!("HPTTL {key} FIELDS 3 a b c"), "*3 :-2 :490 :-1"),
                (&format!("PTTL {key}"), ":890"),
                (&format!("HLEN {key}"), ":2"),
            ]);
        }
        subject.restart();
    }
}

#[test]
fn a_large_hash_ends_field_by_field_too() {
    let mut subject = subject();
    let all: String = (0..300).map(|i| format!(" f{i} {i}")).collect();
    let some: String = (0..200).map(|i| format!(" f{i}")).collect();
    subject.check(&[(&format!("HSET h{all}"), ":300")]);
    let ends = subject.ask(&format!("HPEXPIRE h 10 FIELDS 200{some}"));
    assert_eq!(ends.matches(":1").count(), 200);
    subject.check(&[
        ("HSET h f0 x", ":0"),
        ("HINCRBY h f1 1", ":2"),
        ("HPERSIST h FIELDS 1 f2", "*1 :1"),
        ("HSETEX h PX 20 FIELDS 2 f3 x g x", ":1"),
    ]);
    for _ in 0..2 {
        subject.check(&[
            ("HPTTL h FIELDS 6 f0 f1 f2 f3 f4 g", "*6 :-1 :10 :-1 :20 :10 :20"),
            ("HLEN h", ":301"),
        ]);
        subject.restart();
    }
    subject.wait_us(10 * MS);
    for _ in 0..2 {
        subject.check(&[
            ("HMGET h f0 f1 f2 f3 f4 f200", "*6 $1 x $-1 $1 2 $1 x $-1 $3 200"),
            ("HLEN h", ":104"),
        ]);
        assert_eq!(subject.sweep(), 0);
    }
    subject.restart();
    subject.check(&[("HLEN h", ":104"), ("HGET h f1", "$-1")]);
}

#[test]
fn a_snapshot_keeps_the_ends_of_fields() {
    let mut subject = subject();
    let all: String = (0..100).map(|i| format!(" f{i} {i}")).collect();
    subject.check(&[
        ("HSETEX h PX 10 FIELDS 1 a 1", ":1"),
        ("HSET h b 2", ":1"),
        (&format!("HSET large{all}"), ":100"),
        ("HPEXPIRE large 10 FIELDS 1 f7", "*1 :1"),
        ("SAVE", "+OK"),
        ("HSET after c 3", ":1"),
    ]);
    subject.restart();
    subject.check(&[
        ("HPTTL h FIELDS 2 a b", "*2 :10 :-1"),
        ("HPTTL large FIELDS 2 f7 f8", "*2 :10 :-1"),
    ]);
    subject.wait_us(10 * MS);
    subject.check(&[("HGETALL h", "*2 $1 b $1 2"), ("HLEN large", ":99"), ("HLEN after", ":1")]);
}

#[test]
fn of_a_registered_entity_the_ttl_of_the_view_is_told_and_not_set() {
    let mut subject = subject();
    subject.apply(USERS);
    let refused =
        "-ERR TTL belongs to the feature view, not to a field: user is a registered entity";
    subject.check(&[
        ("HSET user:1 f 7", ":1"),
        ("HEXPIRE user:1 10 FIELDS 1 f", refused),
        ("HPERSIST user:1 FIELDS 1 f", refused),
        ("HGETEX user:1 EX 10 FIELDS 1 f", refused),
        ("HSETEX user:1 EX 10 FIELDS 1 f 8", refused),
        ("HTTL user:1 FIELDS 2 f nosuch", "*2 :1 :-2"),
    ]);
    subject.wait_us(400 * MS);
    subject.check(&[
        ("HPTTL user:1 FIELDS 1 f", "*1 :600"),
        ("HPEXPIRETIME user:1 FIELDS 1 f", "*1 :2000"),
    ]);
    subject.wait_us(600 * MS + 1);
    subject.check(&[("HPTTL user:1 FIELDS 1 f", "*1 :-2"), ("HGET user:1 f", "$-1")]);
    subject.apply(&USERS.replace("ttl = \"1s\"\n", ""));
    subject.check(&[("HPTTL user:1 FIELDS 1 f", "*1 :-1"), ("HGET user:1 f", "$1 7")]);
}

#[test]
fn features_are_taken_as_hdel_deletes_them() {
    let mut subject = subject();
    subject.apply(USERS);
    subject.check(&[
        ("HSET user:1 f 7", ":1"),
        ("HGETDEL user:1 FIELDS 2 f", MISMATCH),
        ("HGETDEL user:1 FIELDS 3 f nosuch v:f", "*3 $1 7 $-1 $-1"),
        ("HGET user:1 f", "$-1"),
        ("HGETDEL user:1 FIELDS 1 f", "*1 $-1"),
        ("HSET user:1 f 8", ":1"),
    ]);
    subject.wait_us(1_000 * MS + 1);
    subject.check(&[("HGETDEL user:1 FIELDS 1 f", "*1 $-1")]);
    subject.restart();
    subject.apply(&USERS.replace("1s", "1h"));
    subject.check(&[("HGET user:1 f", "$-1")]);
}

#[test]
fn a_transaction_sees_and_keeps_the_ends_that_it_sets() {
    let mut subject = subject();
    subject.check(&[
        ("HSETEX h PX 10 FIELDS 1 old 1", ":1"),
        ("MULTI", "+OK"),
        ("HSETEX h PX 10 FIELDS 1 a 1", "+QUEUED"),
        ("HINCRBY h a 1", "+QUEUED"),
        ("HPTTL h FIELDS 2 a old", "+QUEUED"),
        ("DEL h", "+QUEUED"),
        ("HSETEX h PX 20 FIELDS 1 b 1", "+QUEUED"),
        ("HSET h c 3", "+QUEUED"),
        ("HPEXPIRE h 5 FIELDS 1 c", "+QUEUED"),
        ("EXEC", "*7 :1 :2 *2 :10 :10 :1 :1 :1 *1 :1"),
    ]);
    for _ in 0..2 {
        subject.check(&[("HPTTL h FIELDS 4 old a b c", "*4 :-2 :-2 :20 :5"), ("HLEN h", ":2")]);
        subject.restart();
    }
    subject.wait_us(5 * MS);
    subject.check(&[("HGETALL h", "*2 $1 b $1 1")]);
}
