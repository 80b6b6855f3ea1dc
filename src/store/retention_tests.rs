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
fn a_set_is_refused_whose_rows_a_merge_gave_up_for_later_ones() {
    // The merge comes before anything was looked at for the set, or between two of its parts.
    for (was_looked_at, is_pushed) in [(false, true), (true, true), (false, false), (true, false)] {
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
        let training = store.training(&schema, &request).unwrap();
        let keys = [vec![KeyPart::Bytes(b"a".to_vec())]];
        let spine = Spine::from_rows(entity, &keys, Timestamp(190 * MINUTE)).unwrap();
        let make = |training: &Training<'_>| -> Result<Option<Value>> {
            let source = SpineSource::Memory(&spine);
            let stream = training.stream(&source, Path::new("unused"), None)?;
            let set = Spine::from_ipc_stream(&stream, None).unwrap();
            Ok(cell(set.batch(), 2, 0))
        };
        if was_looked_at {
            assert_eq!(make(&training).unwrap(), Some(Value::String("before".into())));
        }
        let given_up = if is_pushed {
            push(&store, "a", 15 * MINUTE, "later");
            2
        } else {
            1
        };
        store.clock.advance_to(Timestamp(200 * MINUTE));
        store.checkpoint().unwrap();
        store.checkpoint().unwrap();
        // Two files as one, so that what is given up may have been for the later one's sake.
        let policy = MergePolicy { parts_min: 2, growth: 1, ..MergePolicy::default() };
        let done = store.compact_history(&policy, &mut || true).unwrap().unwrap();
        assert_eq!(done.given_up, given_up);
        let made = make(&training);
        if is_pushed {
            assert_eq!(
                made.unwrap_err().to_string(),
                "the history of view spending gave up rows, by its retention, while the set was \
                 made, and newer ones may stand for them: make the set again"
            );
            let again = store.training(&schema, &request).unwrap();
            assert_eq!(make(&again).unwrap(), Some(Value::String("later".into())));
        } else {
            assert_eq!(made.unwrap(), Some(Value::String("before".into())));
        }
    }
}
