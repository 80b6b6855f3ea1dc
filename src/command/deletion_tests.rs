//! What is deleted stays so: under every definition, as of now and as of then.

use super::behaviour_tests::{Subject, USERS};
use crate::{
    feature::{CellWrite, Timestamp, Value},
    store::FeatureRow,
};

#[test]
fn an_entity_is_deleted_with_all_that_earlier_definitions_read() {
    let definitions = |f: &str, more: &str| {
        format!(
            "[entity.user]\njoin_keys = {{ user = \"int64\" }}\n\
             [view.v]\nentity = \"user\"\nfeatures = {{ f = \"{f}\" }}\n{more}"
        )
    };
    let dropped = "[view.w]\nentity = \"user\"\nfeatures = { g = \"int64\", h = \"int64\" }\n";
    let mut subject = Subject::new();
    subject.apply(&definitions("float64", dropped));
    subject.check(&[("HSET user:1 f 2.5 g 1 h 2", ":3"), ("HSET user:2 f 1 g 2", ":2")]);
    subject.apply(&definitions("string", &dropped.replace(", h = \"int64\"", "")));
    subject.apply(&definitions("string", ""));
    subject.check(&[("HSET user:1 f hello", ":1"), ("HMGET user:1 v@1:f f", "*2 $3 2.5 $5 hello")]);
    subject.check(&[("DEL user:1", ":1"), ("HMGET user:1 v@1:f f", "*2 $-1 $-1")]);
    // Nothing of an entity may be seen by its newest definitions, and it is deleted all the same.
    subject.check(&[("EXISTS user:2", ":0"), ("DEL user:2", ":0"), ("DBSIZE", ":0")]);
    subject.apply(&definitions("float64", dropped));
    subject.check(&[("HMGET user:1 w:g w:h v@1:f", "*3 $-1 $-1 $-1"), ("SAVE", "+OK")]);
    subject.restart();
    subject.check(&[("SAVE", "+OK"), ("HMGET user:1 w:g w:h v@1:f", "*3 $-1 $-1 $-1")]);
    subject.check(&[("HMGET user:2 w:g v@1:f", "*2 $-1 $-1"), ("DBSIZE", ":0")]);
}

#[test]
fn a_dropped_entity_is_deleted_for_the_history_too() {
    let mut subject = Subject::new();
    let entity = "[entity.user]\njoin_keys = { user = \"int64\" }\n";
    let pushed =
        &format!("{entity}[view.v]\nentity = \"user\"\nfeatures = {{ f = \"float64\" }}\n");
    let refused = |key: &str| {
        format!(
            "-WRONGTYPE '{key}' has features of an entity that was dropped, or their deletion; \
             apply the entity again, or free the key by FS.FORGET"
        )
    };
    subject.apply(pushed);
    subject.check(&[("FS.SET v EVENT 500000 ROWS 2 FEATURES 1 f 1 2.5 2 3.5", "*2 :2 :0")]);
    subject.apply("");
    // While a value stands, and once it is deleted, no plain key takes its place.
    for standing in [":1", ":0"] {
        for command in [
            "SET user:1 x",
            "SET user:1 x NX",
            "SETEX user:1 10 x",
            "APPEND user:1 x",
            "MSET k x user:1 x",
            "MSETNX k x user:1 x",
            "HSET user:1 f 1",
            "HDEL user:1 f",
            "HSETEX user:1 EX 10 FIELDS 1 f v",
            "PEXPIRE user:1 -1",
            "GETDEL user:1",
            "RENAME user:1 k",
            "RENAME plain user:1",
            "RENAMENX plain user:1",
            "COPY plain user:1 REPLACE",
        ] {
            subject.check(&[("SET plain x", "+OK"), (command, &refused("user:1"))]);
        }
        subject.check(&[("EXISTS user:1 k", ":0"), ("TYPE user:1", "+none")]);
        subject.check(&[("DEL user:1", standing)]);
    }
    subject.check(&[
        ("DEL user:1", ":0"),
        ("GET user:1", "$-1"),
        ("SETNX user:2 x", &refused("user:2")),
    ]);
    subject.check(&[("DEL plain user:1 user:2", ":2"), ("DBSIZE", ":0")]);
    let plain = "-ERR 'user:7' is a plain key now, of an entity that was dropped: DEL removes it";
    subject.check(&[("SET user:7 x", "+OK"), ("FS.FORGET user:7", plain), ("DEL user:7", ":1")]);
    // From the log, and from a snapshot.
    subject.restart();
    subject.check(&[("SET user:2 x", &refused("user:2")), ("SAVE", "+OK")]);
    subject.restart();
    subject.check(&[("SET user:2 x", &refused("user:2"))]);
    subject.apply(pushed);
    let read = |at: &str| format!("FS.GET FEATURES 1 f FOR 1 user ROWS 2 1 2{at} WITHSTATUS");
    let nothing = subject.ask(&read("").replace("1 2", "8 9"));
    subject.wait_us(1_000_000);
    let later = format!(" AT {}", subject.app.store.now().0);
    subject.check(&[(&read(""), &nothing), (&read(&later), &nothing)]);
    let then = subject.ask(&read(" AT 600000"));
    assert!(then.contains("2.5") && then.contains("3.5"), "{then}");
    // What is late stays hidden by the deletion, online and as of then.
    subject.check(&[("FS.SET v EVENT 700000 ROWS 1 FEATURES 1 f 1 7", "*2 :0 :1")]);
    subject.check(&[(&read(""), &nothing), (&read(&later), &nothing)]);
}

#[test]
fn what_a_dropped_entity_waits_for_keeps_its_key() {
    let mut subject = Subject::new();
    subject.apply(USERS);
    let ahead = subject.app.store.now().0 + 5_000_000;
    subject.check(&[(&format!("FS.SET v EVENT {ahead} ROWS 1 FEATURES 1 f 2 7"), "*2 :1 :0")]);
    subject.apply("");
    let reply = subject.ask("SET user:2 x");
    assert!(reply.starts_with("-WRONGTYPE 'user:2' has features of an entity that"), "{reply}");
    subject.check(&[("SET user:3 x", "+OK"), ("MULTI", "+OK"), ("DEL user:3", "+QUEUED")]);
    subject.check(&[("SET user:2 x", "+QUEUED")]);
    assert_eq!(subject.ask("EXEC"), format!("*2 :1 {reply}"));
    subject.wait_us(5_000_000);
    assert_eq!(subject.ask("SET user:2 x"), reply);
    subject.apply(USERS);
    subject.check(&[("HGET user:2 f", "$1 7")]);
}

#[test]
fn a_source_brings_nothing_back_of_what_was_deleted_while_its_entity_was_dropped() {
    let more = "[view.w]\nentity = \"user\"\nfeatures = { g = \"int64\" }\n";
    let definitions = format!("{USERS}{more}");
    // Without anything, without the view, without the feature.
    for less in ["", USERS, &definitions.replace("g =", "h =")] {
        let mut subject = Subject::new();
        subject.apply(&definitions);
        subject.check(&[("HSET user:1 f 1", ":1")]);
        subject.apply(less);
        subject.check(&[("DEL user:1", ":1")]);
        subject.apply(&definitions);
        let schema = subject.app.store.schema();
        let view = schema.catalog.view("w").unwrap();
        let slot = view.feature("g").unwrap().slot;
        let cells = vec![(slot, CellWrite::Value(Value::Int64(5)))];
        let event = Timestamp(900_000);
        let row = FeatureRow { key: b"user:1".to_vec(), event, created: None, cells };
        let keyspace = subject.app.store.keyspace();
        let written = keyspace.materialize_rows(&schema, view, vec![row]).unwrap();
        assert_eq!(written.value.late, 1, "{less:?}");
        subject.check(&[("HMGET user:1 f g", "*2 $-1 $-1")]);
    }
}

#[test]
fn what_ttl_hides_is_deleted_with_its_entity() {
    let mut subject = Subject::new();
    subject.apply(USERS);
    subject.check(&[("HSET user:1 f 7", ":1")]);
    subject.wait_us(1_000_001);
    subject.check(&[("HGET user:1 f", "$-1"), ("DEL user:1", ":0")]);
    subject.apply(&USERS.replace("1s", "1h"));
    subject.check(&[("HGET user:1 f", "$-1")]);
}
