//! What a request allocates on the thread that serves its connection: a read nothing at all.
//!
//! ```text
//! Rounds ── bytes of a request ──> serve_stream: parse, dispatch, store, reply ── bytes ──> Rounds
//!           └──────────── counted from the moment it asks for one round to that of another ──────┘
//! ```
//! Only the socket is not real. Other threads (log, sweeper) may allocate; they are not counted.
//!
//! Not here: what a request costs otherwise (`benches/instructions`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a test may fail it by a panic"
)]

#[path = "allocations/counting.rs"]
mod counting;
#[path = "allocations/rounds.rs"]
mod rounds;

use counting::allocations;
use nowthen::{
    command::{App, Identity, Settings, every_command},
    disk::SimulatedFs,
    feature::Timestamp,
    registry::{DefinitionFile, parse_repository},
    store::{Clock, Store, StoreOptions},
};
use rounds::{Client, Told};
use std::{path::Path, sync::Arc};

/// So many rows has a request of FS.GET.
const ROWS: usize = 100;
const DEFINITIONS: &str = r#"
[entity.user]
join_keys = { id = "int64" }
[entity.item]
join_keys = { item = "string" }
[view.numbers]
entity = "user"
ttl = "30d"
[view.numbers.features]
f0 = "float64"
f1 = "float64"
f2 = "float64"
f3 = "float64"
f4 = "float64"
f5 = "float64"
f6 = "float64"
f7 = "float64"
f8 = "int64"
f9 = "int32"
[view.mixed]
entity = "user"
features = { city = "string", is_new = "bool", small = "float32", clicks = "int64" }
[view.prices]
entity = "item"
features = { price = "float64", stock = "int64" }
[service.model]
features = ["numbers:f0", "numbers:f1", "numbers:f8", "prices:price", "prices:stock"]
"#;

fn app() -> Arc<App> {
    let clock = Clock::manual(Timestamp(1_750_000_000_000_000));
    let fs = Arc::new(SimulatedFs::new());
    let store = Store::open(fs, Path::new("/data"), &StoreOptions::default(), clock).unwrap();
    let file = DefinitionFile { path: "test".into(), text: DEFINITIONS.into() };
    store.apply_definitions(&parse_repository(&[file]).unwrap(), false).unwrap();
    let identity = Identity::embedded(Path::new("/data"));
    Arc::new(App::new(store, every_command(), identity, Settings::default()))
}

/// Names `f0` to `f9`, and for each what stands there.
fn fields(of: usize) -> String {
    let field = |field: usize| match field {
        8 | 9 => format!(" f{field} {}", of * field),
        _ => format!(" f{field} {}.25", of * field),
    };
    (0..10).map(field).collect()
}

/// A server with entities, and with plain keys of every form that a row has.
fn filled() -> Client {
    let client = Client::new(app());
    let done = |line: &str| {
        let told = client.tell(line);
        assert!(!told.starts_with('-'), "{line}: {told}");
    };
    // A machine that pauses makes a request slow, and what is slow is written down.
    done("CONFIG SET slowlog-log-slower-than -1");
    for id in 0..ROWS {
        done(&format!("HSET user:{id}{}", fields(id)));
        done(&format!("HSET user:{id} city city{} is_new true small 1.5 clicks {id}", id % 4));
        done(&format!("HSET item:i{id} price {id}.5 stock {id}"));
        // Names that many hashes have become a shape.
        done(&format!("HSET shaped:{id}{}", fields(id)));
    }
    done("SET text hello");
    done("HSET packed a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8 i 9 j 10");
    done(&format!(
        "HSET large {}",
        (0..200).map(|it| format!("f{it} v{it} ")).collect::<String>().trim()
    ));
    done("HSET ending a 1 b 2");
    done("HEXPIRE ending 3600 FIELDS 1 a");
    client
}

/// Reads by key, each with a part of its reply.
const READS: [(&str, &str); 40] = [
    ("GET text", "hello"),
    ("GET missing", "$-1"),
    ("STRLEN text", ":5"),
    ("EXISTS text", ":1"),
    ("TTL text", ":-1"),
    ("HGET packed j", "10"),
    ("HGET packed none", "$-1"),
    ("HGET shaped:7 f3", "21.25"),
    ("HGET large f150", "v150"),
    ("HGET ending a", "1"),
    ("HGET user:7 f3", "21.25"),
    ("HGET user:7 f8", "56"),
    ("HGET user:7 city", "city3"),
    ("HGET user:1000 city", "$-1"),
    ("HMGET packed a b c d e f g h i j", "*10"),
    ("HMGET shaped:7 f0 f1 f2 f3 f4 f5 f6 f7 f8 f9", "21.25"),
    ("HMGET large f0 f10 f20 f30 f40 f50 f60 f70 f80 f90", "v70"),
    ("HMGET ending a b c", "*3"),
    ("HMGET missing a b c d e f g h i j", "*10"),
    ("HMGET user:7 f0 f1 f2 f3 f4 f5 f6 f7 f8 f9", "21.25"),
    ("HMGET user:7 f9 f8 f7 f6 f5 f4 f3 f2 f1 f0", "21.25"),
    ("HMGET user:7 f0 city f1 is_new f2 small f3 clicks nosuch f4", "city3"),
    ("HMGET user:1000 f0 f1 f2 f3 f4 f5 f6 f7 f8 f9", "*10"),
    ("HEXISTS packed j", ":1"),
    ("HEXISTS user:7 city", ":1"),
    ("HEXISTS user:7 nosuch", ":0"),
    ("HSTRLEN packed j", ":2"),
    ("HSTRLEN user:7 city", ":5"),
    ("HSTRLEN user:7 f3", ":5"),
    ("HLEN packed", ":10"),
    ("HLEN ending", ":2"),
    ("HLEN user:7", ":14"),
    ("HGETALL packed", "10"),
    ("HGETALL shaped:7", "21.25"),
    ("HGETALL large", "v199"),
    ("HGETALL user:7", "city3"),
    ("HKEYS user:7", "is_new"),
    ("HVALS user:7", "21.25"),
    ("TYPE user:7", "hash"),
    ("TYPE packed", "hash"),
];

/// Batches, each with the start of its reply.
fn batches() -> Vec<(String, &'static str)> {
    let users: String = (0..ROWS).map(|id| format!(" {id}")).collect();
    let both: String = (0..ROWS).map(|id| format!(" {id} i{id}")).collect();
    let numbers = "FEATURES 10 f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 FOR 1 id";
    let mixed = "FEATURES 6 city f0 is_new small clicks f9 FOR 1 id";
    let rows = format!("ROWS {ROWS}");
    vec![
        (format!("FS.GET {numbers} {rows}{users} AS VALUES"), "*100"),
        (format!("FS.GET {numbers} {rows}{users} AS VECTOR"), "$"),
        (format!("FS.GET {numbers} {rows}{users} WITHSTATUS WITHTIME"), "*100"),
        (format!("FS.GET {mixed} {rows}{users} AS VALUES"), "*100"),
        (format!("FS.GET SERVICE model FOR 2 id item {rows}{both} AS VALUES"), "*100"),
        (format!("FS.GET SERVICE model FOR 2 id item {rows}{both} AS VECTOR"), "$"),
    ]
}

/// The requests that allocate, with how often in all rounds.
fn allocating<'r>(
    client: &Client,
    greeting: &str,
    requests: impl Iterator<Item = (&'r str, &'r str)>,
) -> Vec<String> {
    let mut found = Vec::new();
    for (request, part) in requests {
        // Alone, and so many that their rows are asked for ahead.
        for pipeline in [1, 16] {
            let Told { allocations, reply } = client.rounds(greeting, request, pipeline);
            let text = String::from_utf8_lossy(&reply);
            assert!(!text.starts_with('-') && text.contains(part), "{request}: {text}");
            if allocations > 0 {
                let request = &request[..request.len().min(60)];
                found.push(format!("{pipeline} × {request}: {allocations}"));
            }
        }
    }
    found
}

#[test]
fn no_read_of_a_key_allocates() {
    let client = filled();
    assert_eq!(allocating(&client, "HELLO 2", READS.into_iter()), [""; 0]);
}

#[test]
fn no_batch_of_features_allocates() {
    let client = filled();
    let batches = batches();
    let batches = || batches.iter().map(|(request, part)| (request.as_str(), *part));
    for version in ["HELLO 2", "HELLO 3"] {
        assert_eq!(allocating(&client, version, batches()), [""; 0], "{version}");
    }
}

/// What is counted is what happens: here it does.
#[test]
fn what_allocates_is_seen() {
    let before = allocations();
    let boxed = std::hint::black_box(Box::new(7));
    assert_eq!((allocations() - before, *boxed), (1, 7));
    let client = filled();
    let requests = [("HSCAN packed 0", "*2"), ("SET text hello", "OK"), ("INFO server", "redis")];
    assert_eq!(allocating(&client, "HELLO 2", requests.into_iter()).len(), 6);
}
