//! What a server writes is what a client reads, in both versions; and whatever else arrives is an
//! error or a wait, never a panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a test may fail it by a panic"
)]

mod common;

use nowthen_protocol::{
    ProtocolError, ProtocolVersion, Reply, ReplyDecoder, Value, decode, value::NESTING_MAX,
};
use proptest::{collection::vec, prelude::*, sample::Index};

fn check(bytes: &[u8], wanted: Value) {
    assert_eq!(decode(bytes), Ok(Some((wanted, bytes.len()))), "{}", bytes.escape_ascii());
    for end in 0..bytes.len() {
        assert_eq!(decode(&bytes[..end]), Ok(None), "{}", bytes[..end].escape_ascii());
    }
}

fn check_refused(bytes: &[u8]) {
    let got = decode(bytes);
    let refused = matches!(got, Err(ProtocolError::InvalidReply(_) | ProtocolError::NestedTooDeep));
    assert!(refused, "{}: {got:?}", bytes.escape_ascii());
}

fn text(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

#[test]
fn every_type_of_resp2_is_read() {
    check(b"+OK\r\n", Value::Simple("OK".into()));
    check(b"-ERR no\r\n", Value::Error("ERR no".into()));
    check(b":-17\r\n", Value::Integer(-17));
    check(b"$5\r\nspend\r\n", text("spend"));
    check(b"$0\r\n\r\n", text(""));
    check(b"$-1\r\n", Value::Null);
    check(b"*-1\r\n", Value::Null);
    check(b"*0\r\n", Value::Array(vec![]));
    check(
        b"*2\r\n*1\r\n:1\r\n$-1\r\n",
        Value::Array(vec![Value::Array(vec![1.into_value()]), Value::Null]),
    );
}

#[test]
fn every_type_of_resp3_is_read() {
    check(b"_\r\n", Value::Null);
    check(b"#t\r\n", Value::Boolean(true));
    check(b"#f\r\n", Value::Boolean(false));
    check(b",12.5\r\n", Value::Double(12.5));
    check(b",-inf\r\n", Value::Double(f64::NEG_INFINITY));
    check(b",1e-9\r\n", Value::Double(1e-9));
    check(
        b"(-123456789012345678901234567890\r\n",
        Value::BigNumber("-123456789012345678901234567890".into()),
    );
    check(b"!7\r\nERR a\rb\r\n", Value::Error("ERR a\rb".into()));
    check(b"=6\r\ntxt:ab\r\n", Value::Verbatim(b"ab".to_vec()));
    check(b"~1\r\n:1\r\n", Value::Set(vec![1.into_value()]));
    check(b">1\r\n:1\r\n", Value::Push(vec![1.into_value()]));
    check(b"%1\r\n+a\r\n:1\r\n", Value::Map(vec![(Value::Simple("a".into()), 1.into_value())]));
}

#[test]
fn attributes_are_dropped_wherever_they_stand() {
    check(b"|1\r\n+ttl\r\n:3600\r\n:1\r\n", 1.into_value());
    check(
        b"*2\r\n|0\r\n:1\r\n|1\r\n+a\r\n*1\r\n+b\r\n:2\r\n",
        Value::Array(vec![1.into_value(), 2.into_value()]),
    );
}

#[test]
fn what_is_no_reply_is_refused() {
    for bytes in [
        "\r\n",
        "x\r\n",
        ":\r\n",
        ":1a\r\n",
        ":+1\r\n",
        "#x\r\n",
        "_x\r\n",
        ",x\r\n",
        "(\r\n",
        "(1.5\r\n",
        "$-2\r\n",
        "$?\r\n",
        "*?\r\n",
        "%-1\r\n",
        "*9223372036854775807\r\n",
        "%4611686018427387904\r\n",
        "$1\r\nab\r\n",
        "+a\rb\r\n",
        "=2\r\nab\r\n",
    ] {
        check_refused(bytes.as_bytes());
    }
}

#[test]
fn nesting_ends_at_32_in_reading_too_little_as_well_as_too_much() {
    let nested = |depth: usize| b"*1\r\n".repeat(depth);
    assert_eq!(decode(&nested(NESTING_MAX)), Ok(None));
    assert!(matches!(decode(&[nested(NESTING_MAX), b":1\r\n".to_vec()].concat()), Ok(Some(_))));
    assert_eq!(decode(&nested(NESTING_MAX + 1)), Err(ProtocolError::NestedTooDeep));
}

#[test]
fn a_claimed_length_allocates_nothing() {
    for bytes in
        ["$1152921504606846975\r\n", "*1152921504606846975\r\n", "%1152921504606846975\r\n"]
    {
        assert_eq!(decode(bytes.as_bytes()), Ok(None), "{bytes}");
    }
}

#[test]
fn numbers_are_numbers_also_when_told_as_text() {
    assert_eq!(text("17").as_integer(), Some(17));
    assert_eq!(text("12.5").as_double(), Some(12.5));
    assert_eq!(Value::Integer(3).as_double(), Some(3.0));
    assert_eq!(text("spend").as_integer(), None);
    assert_eq!(Value::Null.as_text(), None);
}

trait IntoValue {
    fn into_value(self) -> Value;
}

impl IntoValue for i64 {
    fn into_value(self) -> Value {
        Value::Integer(self)
    }
}

/// What `value` becomes for a client that speaks RESP2.
fn in_resp2(value: Value) -> Value {
    match value {
        Value::Double(value) => {
            let mut text = Vec::new();
            nowthen_protocol::format_double(value, &mut text);
            Value::Bulk(text)
        }
        Value::Boolean(value) => Value::Integer(i64::from(value)),
        Value::Verbatim(text) => Value::Bulk(text),
        Value::Array(values) | Value::Set(values) | Value::Push(values) => {
            Value::Array(values.into_iter().map(in_resp2).collect())
        }
        Value::Map(pairs) => Value::Array(
            pairs.into_iter().flat_map(|(key, value)| [in_resp2(key), in_resp2(value)]).collect(),
        ),
        other => other,
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        "[ -~]{0,9}".prop_map(Value::Simple),
        "[A-Z]{1,9} [ -~]{0,20}".prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Double),
        any::<bool>().prop_map(Value::Boolean),
        vec(any::<u8>(), 0..20).prop_map(Value::Bulk),
        ".{0,9}".prop_map(|text| Value::Verbatim(text.into_bytes())),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec(inner.clone(), 0..4).prop_map(Value::Set),
            vec(inner.clone(), 0..4).prop_map(Value::Push),
            vec((inner.clone(), inner), 0..3).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_written_is_read_back_in_both_versions(value in any_value()) {
        for version in [ProtocolVersion::Resp2, ProtocolVersion::Resp3] {
            let mut out = Vec::new();
            common::write(&value, &mut Reply::new(&mut out, version));
            let wanted = match version {
                ProtocolVersion::Resp2 => in_resp2(value.clone()),
                ProtocolVersion::Resp3 => value.clone(),
            };
            prop_assert_eq!(decode(&out), Ok(Some((wanted, out.len()))));
        }
    }

    #[test]
    fn a_reply_cut_anywhere_is_read_the_same(
        value in any_value(),
        cuts in vec(any::<Index>(), 0..9),
    ) {
        let mut out = Vec::new();
        common::write(&value, &mut Reply::new(&mut out, ProtocolVersion::Resp3));
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(out.len())).collect();
        ends.sort_unstable();
        let mut decoder = ReplyDecoder::default();
        for end in ends {
            prop_assert_eq!(decoder.decode(&out[..end]), Ok(None));
        }
        prop_assert_eq!(decoder.decode(&out), Ok(Some((value, out.len()))));
    }

    #[test]
    fn random_bytes_never_panic(bytes in "[-+:$*%~>|=!(,#_0-9tf\r\n]{0,60}") {
        if let Ok(Some((_, frame_bytes))) = decode(bytes.as_bytes()) {
            prop_assert!(frame_bytes > 0 && frame_bytes <= bytes.len());
        }
    }
}
