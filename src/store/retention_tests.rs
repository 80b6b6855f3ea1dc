//! What a view does not keep goes, in time, and nobody is told that it never was.

use super::{MergePolicy, Store, Training, TrainingRequest, history_attack_fixture::*};
use crate::{
    disk::SimulatedFs,
    error::Result,
    feature::{KeyPart, Timestamp, Value},
    offline::{Spine, SpineSource, cell},
};
use std::path::Path;

const KEPT: &str = "[entity.user]\njoin_keys = { user = \"string\" }\n[view.spending]\n\
    entity = \"user\"\nretention = \"1h\"\n\
    features = { spend = \"float64\", genre = \"string\" }\n";
const MINUTE: i64 = 60_000_000;

#[test]
fn what_a_view_does_not_keep_is_given_up_and_asked_for_no_more() {
    let fs = SimulatedFs::new();
    let standing = open(&fs);
    apply(&standing, KEPT);
    for minute in 35..100 {
        standing.clock.advance_to(Timestamp(minute * MINUTE));
        push(&standing, "a", minute * MINUTE, &format!("a {minute}"));
        push(&standing, "b", (35 + minute % 5) * MINUTE, "b");
    }
    standing.checkpoint().unwrap();
    standing.clock.advance_to(Timestamp(100 * MINUTE));
    push(&standing, "a", 100 * MINUTE, "last");
    standing.checkpoint().unwrap();
    let due = |store: &Store| store.compact_history(&MergePolicy::default(), &mut || true).unwrap();
    let value = |store: &Store, user: &str, minute: i64| -> Result<Option<String>> {
        let answers = at(store, user, &["spending:genre"], minute * MINUTE)?;
        Ok(answers[0].value.as_ref().map(Value::to_text))
    };
    // An hour is kept, and an eighth of it too much before it is worth while.
    assert_eq!(due(&standing), None);
    assert_eq!(value(&standing, "a", 35).unwrap().as_deref(), Some("a 35"));
    standing.clock.advance_to(Timestamp(120 * MINUTE));
    let done = due(&standing).unwrap();
    // Of a the 25 before minute 60; of b, whose last event was 39, what was known at 60 but one.
    assert_eq!((done.files, done.given_up), (1, 25 + 25));
    assert_eq!(due(&standing), None, "not twice");
    let check = |store: &Store| {
        assert_eq!(value(store, "a", 60).unwrap().as_deref(), Some("a 60"));
        assert_eq!(value(store, "a", 99).unwrap().as_deref(), Some("a 99"));
        assert_eq!(value(store, "b", 60).unwrap().as_deref(), Some("b"));
        let why = value(store, "a", 59).unwrap_err().to_string();
        assert_eq!(
            why,
            "view spending keeps its history for 1h: expected times from 1970-01-01T01:00:00Z \
             on, got 1970-01-01T00:59:00Z"
        );
        assert_eq!(writes(store, "a", &["spending:genre"]).unwrap().len(), 41);
    };
    check(&standing);
    standing.close().unwrap();
    drop(standing);
    let again = try_open(&fs, "/data", Timestamp(120 * MINUTE)).unwrap();
    check(&again);
    again.clock.advance_to(Timestamp(128 * MINUTE));
    assert_eq!(due(&again).unwrap().given_up, 8 + 8);
}

#[test]
fn what_a_view_wants_to_keep_meanwhile_does_not_go() {
    let fs = SimulatedFs::new();
    let standing = open(&fs);
    apply(&standing, KEPT);
    for second in 0..10 {
        push(&standing, "a", second * 1_000_000, "a");
    }
    standing.checkpoint().unwrap();
    standing.checkpoint().unwrap();
    standing.clock.advance_to(Timestamp(300 * MINUTE));
    let asks = |definitions: &str| {
        let mut asked = 0;
        let policy = MergePolicy::default();
        let compacted = standing.compact_history(&policy, &mut || {
            asked += 1;
            // The first asks whether to look at the file at all; behind it, what goes is settled.
            if asked > 1 {
                apply(&standing, definitions);
            }
            true
        });
        compacted.unwrap().map(|done| done.given_up)
    };
    let rows = || writes(&standing, "a", &["spending:genre"]).unwrap().len();
    assert_eq!((asks(DEFINITIONS), rows()), (None, 10), "it keeps all");
    apply(&standing, KEPT);
    assert_eq!((asks(&KEPT.replace("1h", "9h")), rows()), (None, 10), "it keeps more");
    apply(&standing, KEPT);
    assert_eq!((asks(&KEPT.replace("1h", "1m")), rows()), (Some(9), 1), "it keeps less");
}

#[test]
fn a_merge_gives_up_nothing_that_a_set_in_the_making_sees() {
    let fs = SimulatedFs::new();
    let store = open(&fs);
    apply(&store, KEPT);
    store.clock.advance_to(Timestamp(20 * MINUTE));
    push(&store, "a", 10 * MINUTE, "before");
    push(&store, "a", 5 * MINUTE, "first");
    store.checkpoint().unwrap();
    let schema = store.schema();
    let entity = schema.catalog.entity("user").unwrap();
    let request = TrainingRequest::new(schema.catalog.select(&["spending:genre"]).unwrap());
    let keys = [vec![KeyPart::Bytes(b"a".to_vec())]];
    let spine = Spine::from_rows(entity, &keys, Timestamp(190 * MINUTE)).unwrap();
    let genre = |training: &Training<'_>| {
        let source = SpineSource::Memory(&spine);
        let stream = training.stream(&source, Path::new("unused"), None).unwrap();
        cell(Spine::from_ipc_stream(&stream, None).unwrap().batch(), 2, 0).unwrap().to_text()
    };
    let training = store.training(&schema, &request).unwrap();
    push(&store, "a", 15 * MINUTE, "later");
    store.clock.advance_to(Timestamp(200 * MINUTE));
    store.checkpoint().unwrap();
    store.checkpoint().unwrap();
    let policy = MergePolicy { parts_min: 2, growth: 1, ..MergePolicy::default() };
    let due = || store.compact_history(&policy, &mut || true).unwrap();
    // Two files as one: in these records the later push stands for both before it.
    let done = due().unwrap();
    assert_eq!((done.files, done.rows, done.given_up), (2, 3, 0));
    assert_eq!(due(), None);
    assert_eq!(genre(&training), "before");
    drop(training);
    assert_eq!(due().unwrap().given_up, 2);
    // A merge that was begun before a set is not listed once it is, if something went.
    push(&store, "b", 16 * MINUTE, "b");
    push(&store, "b", 17 * MINUTE, "b");
    store.checkpoint().unwrap();
    store.checkpoint().unwrap();
    store.clock.advance_to(Timestamp(300 * MINUTE));
    let policy = MergePolicy::default();
    let due = || store.compact_history(&policy, &mut || true).unwrap();
    assert_eq!(due().unwrap().given_up, 0, "of the first file there is nothing to go");
    let (mut asked, mut training) = (0, None);
    let merged = store.compact_history(&policy, &mut || {
        asked += 1;
        // Two ask whether to look at the files at all; behind them, what goes is settled.
        if asked > 2 && training.is_none() {
            training = Some(store.training(&schema, &request).unwrap());
        }
        true
    });
    assert_eq!((merged.unwrap(), asked > 2), (None, true));
    assert_eq!(genre(training.as_ref().unwrap()), "later");
    drop(training);
    assert_eq!(due().unwrap().given_up, 1);
}
