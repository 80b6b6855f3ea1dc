//! FS.GET AS VECTOR: whatever was written, it holds the cells that AS VALUES tells.

use super::{
    behaviour_tests::Subject,
    feature_cases::{Case, TYPES, USERS, VECTOR_TYPES, array, asked, case, reply, subject},
};
use crate::feature::{Timestamp, ValueType};
use nowthen_protocol::{
    Value, decode,
    vector::{VectorElement, VectorFrame, VectorStatus},
};
use proptest::prelude::*;

/// The numbers and the status that AS VALUES WITHSTATUS tells of a cell.
fn told(cell: &Value, width: usize) -> Vec<(VectorStatus, Option<f64>, Option<i64>)> {
    let [value, status, ..] = array(cell) else { panic!("{cell:?}") };
    let status = match status.as_text().unwrap() {
        "PRESENT" => VectorStatus::Present,
        "NULL_VALUE" => VectorStatus::NullValue,
        "OUTSIDE_MAX_AGE" => VectorStatus::OutsideMaxAge,
        other => {
            assert_eq!(other, "NOT_FOUND");
            VectorStatus::NotFound
        }
    };
    let number = |value: &Value| match value {
        Value::Null => (status, None, None),
        Value::Boolean(flag) => (status, Some(f64::from(u8::from(*flag))), Some((*flag).into())),
        Value::Integer(integer) => (status, Some(*integer as f64), Some(*integer)),
        Value::Double(double) => (status, Some(*double), None),
        Value::Bulk(time) => {
            let us = Timestamp::parse(str::from_utf8(time).unwrap()).unwrap().us();
            (status, Some(us as f64), Some(us))
        }
        other => panic!("{other:?} is no number"),
    };
    match value {
        Value::Array(list) => list.iter().map(number).collect(),
        other => vec![number(other); if other.is_null() { width } else { 1 }],
    }
}

fn same_cells_as_vector(subject: &mut Subject, case: &Case, at: &str) {
    let values = reply(subject, case, &format!("{at} WITHSTATUS"));
    let Value::Bulk(frame) = reply(subject, case, &format!("{at} AS VECTOR")) else {
        panic!("no bulk string")
    };
    let frame = VectorFrame::decode(&frame).unwrap();
    let types: Vec<&str> = asked(case).iter().map(|(v, f)| TYPES[case.types[*v][*f]]).collect();
    let width = |name: &str| match ValueType::parse(name).unwrap() {
        ValueType::List { length, .. } => length.unwrap() as usize,
        ValueType::Scalar(_) => 1,
    };
    let has = |starts: &[&str]| types.iter().any(|t| starts.iter().any(|s| t.starts_with(s)));
    let element = match (has(&["float32"]), has(&["float64"]), has(&["int", "timestamp"])) {
        (false, false, _) => VectorElement::I64,
        (true, false, false) => VectorElement::F32,
        _ => VectorElement::F64,
    };
    assert_eq!(frame.shape().element, element, "{types:?}");
    assert_eq!(frame.shape().rows, case.rows.len());
    assert_eq!(frame.shape().columns, types.iter().map(|t| width(t)).sum::<usize>());
    let cells = array(&values).iter().flat_map(|row| array(row).iter().zip(&types));
    let wanted: Vec<_> = cells.flat_map(|(cell, name)| told(cell, width(name))).collect();
    let statuses: Vec<_> = frame.statuses().collect();
    assert_eq!(statuses, wanted.iter().map(|(status, ..)| *status).collect::<Vec<_>>());
    let bits = |float: f64| if float.is_nan() { f64::NAN.to_bits() } else { float.to_bits() };
    match element {
        VectorElement::I64 => {
            let integers: Vec<i64> = frame.i64s().collect();
            let wanted: Vec<i64> =
                wanted.iter().map(|(.., integer)| integer.unwrap_or(0)).collect();
            assert_eq!(integers, wanted);
        }
        VectorElement::F32 | VectorElement::F64 => {
            let floats: Vec<u64> =
                frame.f64s().chain(frame.f32s().map(f64::from)).map(bits).collect();
            let wanted: Vec<u64> =
                wanted.iter().map(|(_, float, _)| bits(float.unwrap_or(f64::NAN))).collect();
            assert_eq!(floats, wanted);
        }
    }
    let is_exact = |(_, float, integer): &(VectorStatus, Option<f64>, Option<i64>)| {
        float.zip(*integer).is_none_or(|(float, integer)| float as i128 == i128::from(integer))
    };
    let is_rounded = element == VectorElement::F64 && !wanted.iter().all(is_exact);
    assert_eq!(frame.is_rounded(), is_rounded);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_vector_holds_the_cells_that_values_tell(case in case(VECTOR_TYPES)) {
        let mut subject = subject(&case);
        let now = subject.app.store.now().us();
        same_cells_as_vector(&mut subject, &case, "");
        same_cells_as_vector(&mut subject, &case, &format!("AT {now}"));
    }
}

#[test]
fn what_is_no_number_is_refused_by_name() {
    let mut subject = Subject::new();
    subject.apply(USERS);
    let mut check = |feature: &str, why: &str| {
        let words = format!("FS.GET FEATURES 2 spend {feature} FOR 1 user ROWS 3 1 2 3 AS VECTOR");
        let reply = subject.ask(&words);
        assert!(reply.starts_with("-ERR ") && reply.contains(why), "{reply}");
    };
    check("genre", "feature v:genre is string: a vector holds numbers");
    check("tags", "feature v:tags is bytes[2]: a vector holds numbers");
    check("prices", "feature v:prices is float64[]: in a vector every list");
    check("wide", "3 rows of 4000001 numbers are too many for one request");
    check("spent", "did you mean 'spend'");
}

#[test]
fn a_vector_is_asked_for_with_what_it_can_tell() {
    let mut subject = Subject::new();
    subject.apply(USERS);
    let get = "FS.GET FEATURES 1 visits FOR 1 user";
    subject.check(&[
        ("HSET user:1 visits -9223372036854775808", ":1"),
        (&format!("{get} ROWS 1 1 AS MATRIX"), "-ERR expected AS VALUES, AS VECTOR or AS ARROW"),
        (&format!("{get} ROWS 1 1 AS"), "-ERR expected AS VALUES, AS VECTOR or AS ARROW"),
        (
            &format!("{get} ROWS 1 1 WITHTIME AS VECTOR"),
            "-ERR WITHTIME: a vector has no room for times; ask AS VALUES or AS ARROW",
        ),
        (&format!("{get} ROWS 0 AS VECTOR"), "-ERR the number of rows must be from 1 to 100000"),
        (
            &format!("{get} ROWS 100001 1 AS VECTOR"),
            "-ERR the number of rows must be from 1 to 100000",
        ),
        // The second row is no key: nothing of the first may be in the reply.
        (&format!("{get} ROWS 2 1 x AS VECTOR"), "-ERR join key user is int64, got 'x'"),
    ]);
    let words = |options: &str| format!("{get} ROWS 2 1 2 {options}");
    let frame = subject.say(&words("WITHSTATUS AS VECTOR").split(' ').collect::<Vec<_>>());
    assert_eq!(
        frame.escape_ascii().to_string(),
        "$42\\r\\nNTFV\\x01\\x03\\x00\\x00\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\\x00\\x00\
         \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80\\x00\\x00\\x00\\x00\\x00\
         \\x00\\x00\\x00\\x00\\x03\\r\\n"
    );
}

#[test]
fn a_transaction_reads_its_own_writes_as_a_vector() {
    let mut subject = Subject::new();
    subject.apply(USERS);
    subject.check(&[
        ("MULTI", "+OK"),
        ("HSET user:1 visits 7", "+QUEUED"),
        ("FS.GET FEATURES 1 visits FOR 1 user ROWS 1 1 AS VECTOR", "+QUEUED"),
    ]);
    let reply = subject.say(&["EXEC"]);
    let (value, _) = decode(&reply).unwrap().unwrap();
    let [_, Value::Bulk(frame)] = array(&value) else { panic!("{value:?}") };
    assert_eq!(VectorFrame::decode(frame).unwrap().i64s().collect::<Vec<_>>(), [7]);
}
