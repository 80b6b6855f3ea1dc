//! What the commands for ends of fields refuse, in the words of Redis.

use super::behaviour_tests::Subject;

const NO_FIELDS: &str = "-ERR Mandatory argument FIELDS is missing or not at the right position";
const MISMATCH: &str = "-ERR The `numfields` parameter must match the number of arguments";

#[test]
fn what_cannot_be_meant_is_refused_in_the_words_of_redis() {
    let mut subject = Subject::new();
    let not_positive = "-ERR Parameter `numFields` should be greater than 0";
    let not_a_count = "-ERR Number of fields must be a positive integer";
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    let negative = "-ERR invalid expire time, must be >= 0";
    let not_an_integer = "-ERR value is not an integer or out of range";
    let too_late = "-ERR invalid expire time in 'hexpire' command";
    subject.check(&[
        ("SET s v", "+OK"),
        ("HSET h a 1", ":1"),
        ("HEXPIRE h 10 FIELDS 1", "-ERR wrong number of arguments for 'hexpire' command"),
        ("HEXPIRE h 10 FIELDS 2 a", MISMATCH),
        ("HEXPIRE h 10 FIELDS 1 a b", MISMATCH),
        ("HEXPIRE h 10 NX FIELDS 1", MISMATCH),
        ("HEXPIRE h 10 FIELDS 0 a", not_positive),
        ("HEXPIRE h 10 FIELDS -1 a", not_positive),
        ("HEXPIRE h 10 FIELDS x a", not_positive),
        ("HEXPIRE h 10 FIELDS 9223372036854775807 a", MISMATCH),
        ("HEXPIRE h 10 NX XX FIELDS 1 a", NO_FIELDS),
        ("HEXPIRE h 10 1 a FIELDS", NO_FIELDS),
        ("HEXPIRE h -1 FIELDS 1 a", negative),
        ("HEXPIRE h x FIELDS 1 a", not_an_integer),
        ("HEXPIRE h 70368744178 FIELDS 1 a", too_late),
        ("HEXPIRE h 9223372036854775807 FIELDS 1 a", too_late),
        (
            "HPEXPIREAT h 70368744177664 FIELDS 1 a",
            &too_late.replace("hexp", "hpexp").replace("ire'", "ireat'"),
        ),
        ("HPEXPIREAT h 70368744177663 FIELDS 1 a", "*1 :1"),
        ("HPEXPIRETIME h FIELDS 1 a", "*1 :70368744177663"),
        ("HEXPIRE s x FIELDS 0 a", wrong_type),
        ("HTTL s x 0 a", wrong_type),
        ("HPERSIST s x 0 a", wrong_type),
        ("HTTL h FIELDS 0 a", not_a_count),
        ("HTTL h FIELDS 2 a", MISMATCH),
        ("HTTL h 1 a FIELDS", NO_FIELDS),
        ("HPERSIST h FIELDS x a", not_a_count),
        ("HGETDEL h FIELDS -5 a", not_a_count),
        ("HGETDEL h FIELDS 2 a", MISMATCH),
        ("HGETDEL s FIELDS 1 a", wrong_type),
        ("HGETEX s FIELDS 1 a", wrong_type),
        ("HGETEX h EX -1 FIELDS 1 a", negative),
        ("HGETEX h EX FIELDS 1 a", not_an_integer),
        ("HGETEX h KEEPTTL FIELDS 1 a", NO_FIELDS),
        ("HGETEX h EX 1 FIELDS 2 a", MISMATCH),
        ("HGETEX h PERSIST FIELDS 0 a", not_a_count),
    ]);
}

#[test]
fn hsetex_is_refused_in_the_words_of_redis() {
    let mut subject = Subject::new();
    let arity = "-ERR wrong number of arguments for 'hsetex' command";
    let one_end = "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified";
    subject.check(&[
        ("SET s v", "+OK"),
        ("HSETEX h FIELDS 2 a 1", arity),
        ("HSETEX h FIELDS 2 a 1 b", arity),
        ("HSETEX h FIELDS 1 a 1 b", arity),
        ("HSETEX h FIELDS 0 a 1", "-ERR invalid number of fields"),
        ("HSETEX h FIELDS 4294967296 a 1", "-ERR invalid number of fields"),
        ("HSETEX h FNX FXX FIELDS 1 a 1", "-ERR Only one of FXX or FNX arguments can be specified"),
        ("HSETEX h FXX FNX FIELDS 1 a 1", "-ERR Only one of FXX or FNX arguments can be specified"),
        ("HSETEX h FXX FXX FIELDS 1 a 1", "-ERR Only one of FXX or FNX arguments can be specified"),
        ("HSETEX h FXX FNX FIELDS 1 a 1", "-ERR Only one of FXX or FNX arguments can be specified"),
        ("HSETEX h EX 1 KEEPTTL FIELDS 1 a 1", one_end),
        ("HSETEX h KEEPTTL PX 1 FIELDS 1 a 1", one_end),
        ("HSETEX h KEEPTTL KEEPTTL FIELDS 1 a 1", one_end),
        ("HSETEX h FXX KEEPTTL FNX EX", "-ERR Only one of FXX or FNX arguments can be specified"),
        ("HSETEX h FXX KEEPTTL a EX", "-ERR unknown argument: a"),
        ("HSETEX h FXX NOSUCH 1 EX", "-ERR unknown argument: NOSUCH"),
        ("HSETEX h KEEPTTL FXX FIELDS 1", arity),
        ("HSETEX h FXX PX 5 EX", one_end),
        ("HSETEX h FXX a b PXAT", "-ERR unknown argument: a"),
        ("HSETEX h EX -1 FIELDS 1 a 1", "-ERR invalid expire time, must be >= 0"),
        ("HSETEX h EX 70368744178 FIELDS 1 a 1", "-ERR invalid expire time in 'hsetex' command"),
        (
            "HSETEX s FIELDS 1 a 1",
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        ("EXISTS h", ":0"),
    ]);
}
