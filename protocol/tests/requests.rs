//! The request parser against examples, against limits, and against a parser too simple to be
//! wrong: one that starts again from the first byte each time and copies everything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a test may fail it by a panic"
)]

mod naive;

use nowthen_protocol::{KnownLists, ProtocolError, RequestLimits, RequestParser, encode_request};
use proptest::{collection::vec, prelude::*, sample::Index};
use std::num::NonZeroU64;

/// All requests in a stream, and what came after the last one.
#[derive(Debug, PartialEq)]
struct Outcome {
    requests: Vec<Vec<Vec<u8>>>,
    consumed: usize,
    error: Option<ProtocolError>,
}

/// Limits so narrow that random input meets all of them.
const NARROW: RequestLimits = RequestLimits {
    bulk_bytes_max: 120,
    arguments_max: 12,
    inline_bytes_max: 24,
    request_bytes_max: 200,
    authenticated: true,
};

/// Parses `stream` as it arrives: cut at each of `cuts`.
fn parse_in_pieces(stream: &[u8], cuts: &[Index], limits: RequestLimits) -> Outcome {
    parse_known(stream, cuts, limits, &mut KnownLists::new())
}

/// The same by a parser that has met `lists`.
fn parse_known(
    stream: &[u8],
    cuts: &[Index],
    limits: RequestLimits,
    lists: &mut KnownLists,
) -> Outcome {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    ends.push(stream.len());
    ends.sort_unstable();
    let mut parser = RequestParser::new(limits);
    let mut outcome = Outcome { requests: Vec::new(), consumed: 0, error: None };
    for end in ends {
        loop {
            let buffer = &stream[outcome.consumed..end];
            match parser.parse_known(buffer, lists) {
                Ok(None) => break,
                Ok(Some(parsed)) => {
                    let arguments = parser.arguments(buffer);
                    assert_eq!(arguments.len(), parsed.arguments_count);
                    assert!(parsed.consumed > 0 && parsed.consumed <= buffer.len());
                    outcome.requests.push(arguments.iter().map(<[u8]>::to_vec).collect());
                    outcome.consumed += parsed.consumed;
                }
                Err(error) => {
                    outcome.error = Some(error);
                    return outcome;
                }
            }
        }
    }
    outcome
}

fn parse(stream: &[u8], limits: RequestLimits) -> Outcome {
    parse_in_pieces(stream, &[], limits)
}

fn parse_naively(stream: &[u8], limits: RequestLimits) -> Outcome {
    let mut outcome = Outcome { requests: Vec::new(), consumed: 0, error: None };
    loop {
        match naive::parse(&stream[outcome.consumed..], limits) {
            Ok(None) => return outcome,
            Ok(Some((arguments, consumed))) => {
                outcome.requests.push(arguments);
                outcome.consumed += consumed;
            }
            Err(error) => return Outcome { error: Some(error), ..outcome },
        }
    }
}

fn check(stream: &[u8], wanted: &[&[&str]]) {
    let got = parse(stream, RequestLimits::DEFAULT);
    let wanted: Vec<Vec<Vec<u8>>> = wanted
        .iter()
        .map(|arguments| arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect())
        .collect();
    assert_eq!((got.requests, got.error), (wanted, None), "{}", stream.escape_ascii());
}

fn check_refused(stream: &[u8], limits: RequestLimits, wanted: &str) {
    let got = parse(stream, limits).error.map(|error| error.to_string());
    assert_eq!(got.as_deref(), Some(wanted), "{}", stream.escape_ascii());
}

#[test]
fn arrays_and_lines_may_follow_each_other() {
    check(b"", &[]);
    check(b"PING\r\n*1\r\n$4\r\nPING\r\nget 'a b'\n", &[&["PING"], &["PING"], &["get", "a b"]]);
    check(b"*2\r\n$4\r\nHLEN\r\n$0\r\n\r\n", &[&["HLEN", ""]]);
}

#[test]
fn nothing_to_run_is_a_request_without_arguments() {
    check(b"*0\r\n*-1\r\n*-7\r\n\r\n\n  \r\n\"\"\n", &[&[], &[], &[], &[], &[], &[], &[""]]);
}

#[test]
fn a_bulk_string_is_binary() {
    check(b"*1\r\n$8\r\n$1\r\n*2\0\n\r\n", &[&["$1\r\n*2\0\n"]]);
}

#[test]
fn errors_have_the_texts_of_redis() {
    let default = RequestLimits::DEFAULT;
    let too_long = [b'1'; (64 << 10) + 2];
    let multibulk = "Protocol error: invalid multibulk length";
    for count in ["*x", "*", "*+1", "*01", "*1048577", "*99999999999999999999", "*1 "] {
        check_refused(format!("{count}\r\n").as_bytes(), default, multibulk);
    }
    let bulk = "Protocol error: invalid bulk length";
    for length in ["$-1", "$x", "$", "$067", "$67108865", "$9223372036854775807"] {
        check_refused(format!("*1\r\n{length}\r\n").as_bytes(), default, bulk);
    }
    check_refused(b"*1\r\nxyz\r\n", default, "Protocol error: expected '$', got 'x'");
    check_refused(b"*1\r\n\r\n", default, "Protocol error: expected '$', got ' '");
    check_refused(b"SET a 'b\r\n", default, "Protocol error: unbalanced quotes in request");
    check_refused(&too_long, default, "Protocol error: too big inline request");
    let count = [b"*", &too_long[..]].concat();
    check_refused(&count, default, "Protocol error: too big mbulk count string");
    let length = [b"*1\r\n$", &too_long[..]].concat();
    check_refused(&length, default, "Protocol error: too big bulk count string");
}

#[test]
fn before_login_limits_are_narrow_and_errors_say_so() {
    let limits = RequestLimits::BEFORE_AUTHENTICATION;
    check_refused(b"*11\r\n", limits, "Protocol error: unauthenticated multibulk length");
    check_refused(b"*1\r\n$16385\r\n", limits, "Protocol error: unauthenticated bulk length");
    assert_eq!(parse(b"*10\r\n$16384\r\n", limits).error, None);
}

#[test]
fn limits_are_checked_before_the_bytes_they_are_about_arrive() {
    let limits = RequestLimits { request_bytes_max: 30, ..RequestLimits::DEFAULT };
    assert_eq!(parse(b"*2\r\n$4\r\nHLEN\r\n$9\r\n", limits).error, None);
    check_refused(b"*2\r\n$4\r\nHLEN\r\n$11\r\n", limits, "Protocol error: too big request");
}

#[test]
fn new_limits_hold_from_the_next_length() {
    let mut parser = RequestParser::new(RequestLimits::BEFORE_AUTHENTICATION);
    let stream = b"*1\r\n$20000\r\n";
    assert_eq!(parser.parse(&stream[..4]), Ok(None));
    parser.set_limits(RequestLimits::DEFAULT);
    assert_eq!(parser.parse(stream), Ok(None));
}

#[test]
fn a_wrong_buffer_gives_empty_arguments_and_no_panic() {
    let mut parser = RequestParser::new(RequestLimits::DEFAULT);
    parser.parse(b"*1\r\n$4\r\nPING\r\n").unwrap();
    assert_eq!(parser.arguments(b"").get(0), Some(&b""[..]));
    assert_eq!(parser.arguments(b"").get(1), None);
}

/// The numbers of the lists behind the keys of all requests in a stream.
fn numbers(stream: &[u8], lists: &mut KnownLists) -> Vec<Option<NonZeroU64>> {
    let mut parser = RequestParser::new(RequestLimits::DEFAULT);
    let (mut rest, mut numbers) = (stream, Vec::new());
    while let Some(parsed) = parser.parse_known(rest, lists).unwrap() {
        numbers.push(parser.arguments(rest).list());
        rest = &rest[parsed.consumed..];
    }
    numbers
}

#[test]
fn a_list_is_known_again_behind_another_key_and_through_others_that_come_once() {
    let mut lists = KnownLists::new();
    let mut ask = |words: &str| {
        let mut stream = Vec::new();
        encode_request(&words.split(' ').collect::<Vec<_>>(), &mut stream);
        numbers(&stream, &mut lists)[0]
    };
    let first = ask("HMGET user:1 a b c d").unwrap();
    assert_eq!(ask("HMGET user:10000 a b c d"), Some(first));
    for once in 0..100 {
        let other = ask(&format!("HSET user:1 a {once} b {once}"));
        assert_ne!(other, Some(first));
    }
    assert_eq!(ask("HMGET user:7 a b c d"), Some(first));
    assert_ne!(ask("HMGET user:7 a b cd e"), Some(first));
    assert_ne!(ask("HMGET user:7 a b c d e"), Some(first));
    assert_eq!(ask("HMGET user:7 a b c"), None);
    assert_eq!(ask("GET user:7"), None);
    // One that is new among many that come once is known before long, whenever it begins.
    for start in 0..40 {
        let new = format!("HMGET user:1 e{start} f g h");
        let mut asked = (0..50).map(|once| {
            ask(&format!("HSET user:1 a {start}.{once} b {once}"));
            ask(&new)
        });
        let known = asked.find_map(|first| first).and_then(|_| asked.next()).flatten();
        assert!(known.is_some() && asked.all(|number| number == known), "from {start} on");
    }
}

/// Fragments of the protocol, so that random streams come close to being requests.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let texts = [
        "*",
        "$",
        "\r\n",
        "\r",
        "\n",
        "0",
        "1",
        "2",
        "3",
        "9",
        "10",
        "-1",
        " ",
        "\"",
        "'",
        "\\",
        "\\x41",
        "a",
        "*1\r\n",
        "*2\r\n",
        "$1\r\na\r\n",
        "$0\r\n\r\n",
        "$2\r\n",
        "*0\r\n",
        "\0",
        "PING\r\n",
        "$101\r\n",
        "\x0b",
        "0123456789",
    ];
    prop_oneof![
        9 => prop::sample::select(texts.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_request_cut_anywhere_has_the_same_arguments(
        requests in vec(vec(vec(any::<u8>(), 0..150), 0..9), 0..5),
        cuts in vec(any::<Index>(), 0..20),
    ) {
        let mut stream = Vec::new();
        requests.iter().for_each(|arguments| encode_request(arguments, &mut stream));
        let got = parse_in_pieces(&stream, &cuts, RequestLimits::DEFAULT);
        prop_assert_eq!(got, Outcome { requests, consumed: stream.len(), error: None });
    }

    /// Few lists behind many keys, and some bytes damaged: what is known is read as it is for the
    /// first time, by a client that may send less, too.
    #[test]
    fn a_parser_that_has_met_the_lists_agrees_with_the_naive_one(
        requests in vec((vec(any::<u8>(), 0..12), 0_usize..4), 1..12),
        lists in vec(vec(vec(any::<u8>(), 0..30), 0..7), 4),
        damage in vec((any::<Index>(), any::<u8>()), 0..3),
        cuts in vec(any::<Index>(), 0..20),
        is_narrow: bool,
    ) {
        let mut stream = Vec::new();
        for (key, list) in &requests {
            let mut words = vec![b"HMGET".to_vec(), key.clone()];
            words.extend(lists[*list].iter().cloned());
            encode_request(&words, &mut stream);
        }
        let mut known = KnownLists::new();
        let undamaged = parse_known(&stream, &[], RequestLimits::DEFAULT, &mut known);
        prop_assert_eq!(undamaged.error, None);
        for (at, byte) in damage {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        let limits = if is_narrow { NARROW } else { RequestLimits::DEFAULT };
        let wanted = parse_naively(&stream, limits);
        for _ in 0..2 {
            prop_assert_eq!(&parse_known(&stream, &cuts, limits, &mut known), &wanted);
        }
    }

    #[test]
    fn the_fast_parser_agrees_with_the_naive_one_however_the_stream_is_cut(
        fragments in vec(fragment(), 0..30),
        cuts in vec(any::<Index>(), 0..20),
    ) {
        let stream = fragments.concat();
        let wanted = parse_naively(&stream, NARROW);
        prop_assert_eq!(&parse(&stream, NARROW), &wanted);
        prop_assert_eq!(&parse_in_pieces(&stream, &cuts, NARROW), &wanted);
    }

    #[test]
    fn random_bytes_never_panic(stream in vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(parse(&stream, NARROW), parse_naively(&stream, NARROW));
    }

    #[test]
    fn a_damaged_request_is_a_request_or_an_error(
        arguments in vec(vec(any::<u8>(), 0..12), 1..5),
        at in any::<Index>(),
        byte: u8,
    ) {
        let mut stream = Vec::new();
        encode_request(&arguments, &mut stream);
        let at = at.index(stream.len());
        stream[at] = byte;
        prop_assert_eq!(parse(&stream, NARROW), parse_naively(&stream, NARROW));
    }
}
