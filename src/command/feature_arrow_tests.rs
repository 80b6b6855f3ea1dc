//! FS.GET AS ARROW: whatever was written, it holds the cells that AS VALUES tells.

use super::{
    behaviour_tests::Subject,
    feature_cases::{Case, TYPES, USERS, VIEWS, array, asked, case, reply, subject},
};
use crate::{
    feature::{List, Scalar, Timestamp, Value as Cell, ValueType},
    offline::{Spine, cell as cell_of},
};
use nowthen_protocol::{Value, decode};
use proptest::prelude::*;

/// Every cell of the table is what AS VALUES tells, with its status and its time.
fn same_cells_as_table(subject: &mut Subject, case: &Case, at: &str) {
    let values = reply(subject, case, &format!("{at} WITHSTATUS WITHTIME"));
    let table = reply(subject, case, &format!("{at} WITHSTATUS AS ARROW WITHTIME"));
    let mut columns = asked(case);
    columns.sort_unstable();
    columns.dedup();
    if columns.len() < case.asked.len() {
        assert!(matches!(&table, Value::Error(why) if why.contains("two columns")), "{table:?}");
        return;
    }
    let Value::Bulk(stream) = table else { panic!("{table:?}") };
    let short = asked(case);
    let (first_view, first) = short[0];
    let is_shared = |f: usize| short.iter().filter(|(_, other)| *other == f).count() > 1;
    let name = match is_shared(first) {
        true => format!("{}__f{first}", VIEWS[first_view]),
        false => format!("f{first}"),
    };
    let table = Spine::from_ipc_stream(&stream, Some(&format!("{name}__ts"))).unwrap();
    let batch = table.batch();
    assert_eq!((batch.num_columns(), table.rows()), (2 + 3 * short.len(), case.rows.len()));
    for (row, values) in array(&values).iter().enumerate() {
        let (user, item) = case.rows[row];
        let keys = [cell_of(batch, 0, row), cell_of(batch, 1, row)];
        assert_eq!(keys, [Some(Cell::Int64(user)), Some(Cell::Int64(item))]);
        for (place, told) in array(values).iter().enumerate() {
            let [value, status, time] = array(told) else { panic!("{told:?}") };
            let at = |column: usize| cell_of(batch, 2 + 3 * place + column, row);
            let (view, feature) = short[place];
            let declared = ValueType::parse(TYPES[case.types[view][feature]]).unwrap();
            assert_eq!(at(0).map(|cell| cell.to_text()), as_told(value, declared));
            assert_eq!(at(1), status.as_text().map(|text| Cell::String(text.into())));
            assert_eq!(at(2), time.as_integer().map(|us| Cell::Timestamp(Timestamp(us))));
        }
    }
}

/// The text of a value that a reply tells: NaN is one, whatever its bits.
fn as_told(value: &Value, declared: ValueType) -> Option<String> {
    let scalar = |value: &Value, scalar: Scalar| match value {
        Value::Boolean(flag) => Cell::Bool(*flag),
        Value::Integer(integer) if scalar == Scalar::Int32 => {
            Cell::Int32(i32::try_from(*integer).unwrap())
        }
        Value::Integer(integer) => Cell::Int64(*integer),
        Value::Double(double) if scalar == Scalar::Float32 => Cell::Float32(*double as f32),
        Value::Double(double) => Cell::Float64(*double),
        Value::Bulk(text) => Cell::parse(text, ValueType::Scalar(scalar)).unwrap(),
        other => panic!("{other:?}"),
    };
    match (value, declared) {
        (Value::Null, _) => None,
        (Value::Array(list), ValueType::List { element, .. }) => {
            let cells = list.iter().map(|value| scalar(value, element));
            Some(Cell::List(List::collect(element, cells).unwrap()).to_text())
        }
        (value, ValueType::Scalar(of)) => Some(scalar(value, of).to_text()),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_table_holds_the_cells_that_values_tell(case in case(TYPES.len())) {
        let mut subject = subject(&case);
        let now = subject.app.store.now().us();
        same_cells_as_table(&mut subject, &case, "");
        same_cells_as_table(&mut subject, &case, &format!("AT {now}"));
    }
}

#[test]
fn a_table_names_each_column_once_and_types_its_keys() {
    let mut subject = Subject::new();
    subject.apply(USERS);
    let mut check = |words: &str, why: &str| {
        let reply = subject.ask(&format!("FS.GET FEATURES {words} AS ARROW"));
        assert!(reply.starts_with("-ERR ") && reply.contains(why), "{reply}");
    };
    check("2 spend v:spend FOR 1 user ROWS 1 1", "two columns would be called 'v__spend'");
    check("1 spend FOR 2 user user ROWS 1 1 1", "two columns would be called 'user'");
    check("1 spend FOR 1 user ROWS 2 1 x", "join key user is int64, got 'x'");
    check("1 spend FOR 1 usr ROWS 1 1", "did you mean 'usr'");
    // Nothing is stored, but in a column a null of this length takes 16 MB.
    check("1 wide FOR 1 user ROWS 3 1 2 3", "3 rows of 4000000 values are too many");
    check("1 wide FOR 1 user ROWS 3 1 2 3 AT 5", "3 rows of 4000000 values are too many");
    let words =
        ["FS.GET", "FEATURES", "1", "spend", "FOR", "2", "user", "note", "ROWS", "1", "007"];
    let table = |subject: &mut Subject, note: &[u8]| {
        let words = words.iter().map(|word| word.as_bytes());
        let words: Vec<&[u8]> = words.chain([note, b"AS", b"ARROW", b"WITHTIME"]).collect();
        decode(&subject.say(&words)).unwrap().unwrap().0
    };
    let Value::Bulk(stream) = table(&mut subject, "für".as_bytes()) else { panic!() };
    let read = Spine::from_ipc_stream(&stream, Some("spend__ts")).unwrap();
    let row: Vec<_> = (0..4).map(|column| cell_of(read.batch(), column, 0)).collect();
    assert_eq!(row, [Some(Cell::Int64(7)), Some(Cell::String("für".into())), None, None]);
    assert!(matches!(table(&mut subject, b"\xff"), Value::Error(_)));
}

#[test]
fn values_that_no_reply_may_hold_are_refused_before_they_are_copied() {
    let mut subject = Subject::new();
    subject.apply(USERS);
    let long = "x".repeat(600_000);
    subject.check(&[
        ("CONFIG SET reply-max-len 1mb", "+OK"),
        (&format!("HSET user:1 genre {long}"), ":1"),
    ]);
    for form in ["VALUES", "ARROW"] {
        for words in
            ["1 genre FOR 1 user ROWS 3 1 1 1", "3 genre genre v:genre FOR 1 user ROWS 1 1"]
        {
            let reply = subject.ask(&format!("FS.GET FEATURES {words} AS {form}"));
            let is_named_twice = form == "ARROW" && words.starts_with('3');
            let why = if is_named_twice { "two columns" } else { "longer than a reply may be" };
            assert!(reply.starts_with("-ERR ") && reply.contains(why), "{reply:.90}");
        }
    }
}
