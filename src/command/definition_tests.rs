//! What is told of definitions, and what dropping one does, over restarts and snapshots.

use super::behaviour_tests::Subject;
use crate::feature::{Run, RunState, Timestamp};

const DEFINITIONS: &str = "[entity.user]\njoin_keys = { user = \"int64\" }\n\
    [view.bought]\nentity = \"user\"\nsource = \"a.parquet\"\nevent_timestamp = \"at\"\n\
    features = { spend = \"int64\" }\n\
    [view.seen]\nentity = \"user\"\nfeatures = { genre = \"string\", clicks = \"int64\" }\n\
    [service.model]\nfeatures = [\"bought:*\", \"seen:genre\"]\n";

/// A run of `bought` that is done, of which the numbers are made up.
fn run(subject: &Subject, generation: u32, from: Option<Timestamp>) -> u64 {
    let store = &subject.app.store;
    let begun = store.begin_run(Run {
        id: 0,
        view: "bought".into(),
        version: generation,
        generation,
        started: store.now(),
        finished: None,
        from,
        to: store.now(),
        rows_total: 1,
        rows_read: 1,
        rows_ahead: 0,
        bytes_read: 1,
        entities_written: 1,
        entities_unchanged: 0,
        state: RunState::Running,
        files: Vec::new(),
    });
    store.end_run(Run { state: RunState::Done, ..begun.unwrap() }).unwrap().id
}

/// The words of a reply that tell names, versions, states and the numbers of runs.
fn short(reply: &str) -> String {
    let lengths =
        |word: &&str| !word.starts_with('*') && (!word.starts_with('$') || *word == "$-1");
    let words: Vec<&str> = reply.split(' ').filter(lengths).collect();
    let mut told = Vec::new();
    let mut rest = words.as_slice();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if ["kind", "name", "version", "state", "id"].contains(first)
            && let [value, behind @ ..] = behind
        {
            told.push(*value);
            rest = behind;
        } else if ["run", "features"].contains(first) {
            told.push(first);
        }
    }
    told.join(" ")
}

#[test]
fn lineage_tells_versions_states_and_the_run_that_fed_each_after_any_restart() {
    let mut subject = Subject::new();
    subject.apply(DEFINITIONS);
    let fed = |id: &str| {
        let run = if id.is_empty() { "run" } else { &format!("run done :{id} :1") };
        format!(
            "source a.parquet $-1 view bought :1 serving features {run} \
             view bought :1 service model :1 serving features {run}"
        )
    };
    assert_eq!(short(&subject.ask("FS.LINEAGE bought")), fed(""));
    // A part of the past feeds, too.
    run(&subject, 1, Some(Timestamp(1)));
    assert_eq!(short(&subject.ask("FS.LINEAGE bought")), fed("1"));
    run(&subject, 1, None);
    let pushed = "push $-1 $-1 view seen :1 serving features run";
    for is_saved in [false, true] {
        if is_saved {
            subject.check(&[("SAVE", "+OK")]);
        }
        assert_eq!(short(&subject.ask("FS.LINEAGE bought")), fed("2"));
        assert_eq!(short(&subject.ask("FS.LINEAGE seen:clicks")), pushed);
        subject.restart();
    }
    // What a flush removed fed nothing that is there.
    subject.check(&[("FLUSHALL", "+OK")]);
    assert_eq!(short(&subject.ask("FS.LINEAGE bought")), fed(""));
}

#[test]
fn lineage_shows_a_generation_that_fills_until_its_run_is_done() {
    let mut subject = Subject::new();
    subject.apply(DEFINITIONS);
    run(&subject, 1, None);
    subject.apply(&DEFINITIONS.replace("a.parquet", "b.parquet"));
    subject.restart();
    let old = "view bought :1 service model :2 serving features run done :1 :1";
    let new = "view bought :2 service model :2 filling features run";
    assert_eq!(
        short(&subject.ask("FS.LINEAGE model")),
        format!(
            "source a.parquet $-1 view bought :1 serving features run done :1 :1 \
             source b.parquet $-1 view bought :2 filling features run \
             push $-1 $-1 view seen :1 serving features run \
             {old} {new} view seen :1 service model :2 serving features run"
        )
    );
    run(&subject, 2, None);
    subject.restart();
    assert_eq!(
        short(&subject.ask("FS.LINEAGE bought")),
        "source b.parquet $-1 view bought :2 serving features run done :2 :2 \
         view bought :2 service model :2 serving features run done :2 :2"
    );
}

#[test]
fn a_drop_holds_over_restarts_and_snapshots_and_the_same_text_brings_the_rows_back() {
    for is_saved in [false, true] {
        let mut subject = Subject::new();
        subject.apply(DEFINITIONS);
        subject.check(&[
            ("HSET user:1 genre jazz clicks 3", ":2"),
            ("FS.DROP view seen", "-ERR view seen is used by services: model; drop these first"),
            (
                "FS.DROP entity user",
                "-ERR entity user is used by views: bought, seen; drop these first",
            ),
            (
                "FS.DROP service model DRYRUN",
                "$50 - service model\n0 to add, 0 to change, 1 to remove",
            ),
            ("FS.SERVICES", "*1 $5 model"),
            ("FS.DROP service model", "$50 - service model\n0 to add, 0 to change, 1 to remove"),
            ("FS.DROP service model", "-ERR unknown service 'model'"),
            ("FS.DROP VIEW seen", "$46 - view seen\n0 to add, 0 to change, 1 to remove"),
        ]);
        if is_saved {
            subject.check(&[("SAVE", "+OK")]);
        }
        for _ in 0..2 {
            subject.check(&[
                ("FS.VIEWS", "*1 $6 bought"),
                ("FS.SERVICES", "*0"),
                ("HGET user:1 genre", "$-1"),
                ("HSET user:1 genre soul", "-ERR entity user has no feature 'genre'"),
                ("FS.LINEAGE seen", "-ERR unknown name 'seen'"),
            ]);
            assert!(subject.ask("FS.DESCRIBE seen@1").contains("$7 dropped"));
            subject.restart();
        }
        subject.apply(DEFINITIONS);
        let back = ("HMGET user:1 genre clicks", "*2 $4 jazz $1 3");
        subject.check(&[back]);
        assert!(subject.ask("FS.DESCRIBE seen").contains("$7 version :1"));
        subject.restart();
        subject.check(&[back]);
        subject.apply(&DEFINITIONS.replace("clicks = \"int64\"", "clicks = \"string\""));
        assert!(subject.ask("FS.DESCRIBE seen").contains("$7 version :2"));
        // Another type is another meaning: it begins without values.
        subject.check(&[("HMGET user:1 genre clicks", "*2 $-1 $-1")]);
    }
}

#[test]
fn the_last_definition_can_be_dropped_and_its_keys_become_plain() {
    let mut subject = Subject::new();
    subject.apply("[entity.user]\njoin_keys = { user = \"int64\" }\n");
    subject.check(&[
        (
            "SET user:1 x",
            "-ERR SET writes plain keys; HSET writes features: user is a registered entity",
        ),
        ("FS.DROP entity user", "$48 - entity user\n0 to add, 0 to change, 1 to remove"),
        ("SET user:1 x", "+OK"),
    ]);
    subject.restart();
    subject.check(&[
        ("GET user:1", "$1 x"),
        ("FS.ENTITIES", "*0"),
        ("FS.DROP entity user", "-ERR unknown entity 'user'"),
        ("FS.DROP feature f", "-ERR expected entity, view or service, got 'feature'"),
        ("FS.DROP entity", "-ERR wrong number of arguments for 'fs.drop' command"),
        ("FS.DROP entity user NOW", "-ERR syntax error"),
        ("FS.DROP entity user DRYRUN x", "-ERR syntax error"),
    ]);
}

#[test]
fn figures_are_told_of_a_view_and_of_a_feature_and_survive_a_restart() {
    let mut subject = Subject::new();
    subject.apply(&DEFINITIONS.replace("features = { genre", "ttl = \"1s\"\nfeatures = { genre"));
    subject.check(&[
        ("FS.SET seen EVENT NOW ROWS 3 FEATURES 1 clicks 1 4 2 5 3 5", "*2 :3 :0"),
        ("HSET user:1 genre jazz spend 9", ":2"),
    ]);
    let clicks = |present: u8, expired: u8, rest: &str| {
        format!(
            "*28 $7 feature $6 clicks $4 type $5 int64 $7 present :{present} $4 null :0 \
             $7 expired :{expired} $6 absent :0 $10 not_finite :0 {rest}"
        )
    };
    let now = |rest: &str| clicks(3, 0, &format!("$8 distinct :2 $14 distinct_error $1 0 {rest}"));
    let times = "$6 oldest :1000000 $6 newest :1000000";
    let whole = format!(
        "*22 $4 view $4 seen $6 entity $4 user $5 state $7 serving $7 version :1 \
         $10 generation :1 $8 entities :3 $5 as_of :1000000 {times} $8 features *1 {} $4 runs *0",
        now(&format!("{times} $3 min :4 $3 max :5 $4 mean $17 4.666666666666667"))
    );
    subject.check(&[("FS.STATS seen:clicks", &whole)]);
    subject.restart();
    subject.check(&[
        ("FS.STATS seen:clicks", &whole),
        ("FS.STATS view.seen", "-ERR unknown view 'view.seen'"),
    ]);
    assert!(subject.ask("FS.STATS seen").contains(
        "$5 genre $4 type $6 string $7 present :1 $4 null :0 $7 expired :0 $6 absent :2"
    ));
    run(&subject, 1, None);
    assert!(subject.ask("FS.STATS bought").contains("$8 entities :1"));
    assert!(subject.ask("FS.STATS bought").contains("$4 runs *1 *32 $4 view $6 bought"));
    subject.wait_us(1_000_001);
    let old = clicks(0, 3, "$8 distinct :0 $14 distinct_error $1 0");
    let told = subject.ask("FS.STATS seen:clicks");
    assert!(told.contains(&old) && told.contains("$3 min $-1 $3 max $-1 $4 mean $-1"), "{told}");
    subject.check(&[
        ("FS.STATS user", "-ERR unknown view 'user'"),
        ("FS.STATS seen:click", "-ERR view seen has no feature 'click'; did you mean 'clicks'?"),
        ("FS.STATS seen@2", "-ERR view seen has no version '2'"),
        ("MULTI", "+OK"),
        ("FS.STATS seen", "-ERR Command not allowed inside a transaction"),
    ]);
}
