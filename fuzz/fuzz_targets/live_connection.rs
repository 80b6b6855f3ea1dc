//! Any bytes, however cut, sent to a live connection: no panic, replies that are RESP to the last
//! byte, and a store that is empty again after FLUSHALL. Memory is watched by `-rss_limit_mb`.
//!
//! ```text
//! first byte   even: what follows is sent as it stands
//!              odd:  what follows chooses commands of the table, and arguments they know
//! second byte  how long the pieces are, and how much the connection takes at a time
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use nowthen::{
    command::{App, ClientInfo, Identity, Session, Settings, every_command},
    disk::SimulatedFs,
    feature::Timestamp,
    registry::{DefinitionFile, parse_repository},
    server::serve_stream,
    store::{Clock, Store, StoreOptions},
};
use nowthen_protocol::{ReplyDecoder, encode_request};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Runtime,
};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
});

/// A command may wait for what never comes; then it is let go.
const PATIENCE: Duration = Duration::from_secs(2);
/// Commands that wait, or end the server: bytes may name them, but nobody chooses them.
const NOT_CHOSEN: [&str; 5] = ["client|pause", "debug|sleep", "shutdown", "wait", "waitaof"];
/// Arguments that mean something to some command.
const WORDS: [&str; 60] = [
    "k",
    "h",
    "s",
    "n",
    "user:1",
    "user:2",
    "user:x",
    "f",
    "g",
    "v:f",
    "v",
    "0",
    "1",
    "-1",
    "2",
    "10",
    "1000",
    "3.0e2",
    "-0.5",
    "inf",
    "nan",
    "9223372036854775807",
    "-9223372036854775808",
    "17592186044416",
    "",
    "*",
    "a*[b-",
    "NX",
    "XX",
    "GT",
    "LT",
    "EX",
    "PX",
    "EXAT",
    "KEEPTTL",
    "GET",
    "SET",
    "MATCH",
    "COUNT",
    "TYPE",
    "WITHVALUES",
    "FIELDS",
    "FEATURES",
    "FOR",
    "user",
    "ROWS",
    "AT",
    "NOW",
    "EVENT",
    "AS",
    "VALUES",
    "VECTOR",
    "ARROW",
    "LIST",
    "ON",
    "OFF",
    "SKIP",
    "3",
    "maxmemory",
    "ENCODING",
];
const DEFINITIONS: &str = "[entity.user]\njoin_keys = { user = \"int64\" }\n[view.v]\n\
    entity = \"user\"\nttl = \"1h\"\nfeatures = { f = \"int64\", g = \"string\" }\n";

fuzz_target!(|input: &[u8]| {
    let [kind, cut, rest @ ..] = input else { return };
    let bytes = if kind % 2 == 0 { rest.to_vec() } else { chosen(rest) };
    let app = server();
    let replies = RUNTIME.block_on(converse(&app, &bytes, *cut));
    if let Some(replies) = replies {
        assert_resp(&replies);
        let emptied = RUNTIME.block_on(converse(&app, b"FLUSHALL\r\n", 0));
        assert_eq!(emptied.as_deref(), Some(&b"+OK\r\n"[..]));
        assert_eq!(app.store.keyspace().memory_bytes(), 0, "rows that nobody can reach");
    }
    let _ = app.store.close();
});

/// Requests for commands of the table, as the bytes choose.
fn chosen(mut bytes: &[u8]) -> Vec<u8> {
    let mut requests = Vec::new();
    let mut next = || {
        let (first, rest) = bytes.split_first()?;
        bytes = rest;
        Some(usize::from(*first))
    };
    let commands = every_command();
    while let Some(index) = next() {
        let about = commands[index % commands.len()];
        if NOT_CHOSEN.contains(&about.name) {
            continue;
        }
        let least = about.arity.unsigned_abs() as usize;
        let more = if about.arity < 0 { next().unwrap_or(0) % 8 } else { 0 };
        // A subcommand is named behind its command: `client|list`.
        let names = about.name.split('|').map(|name| name.as_bytes().to_vec());
        let mut request: Vec<Vec<u8>> = names.collect();
        while request.len() < least + more {
            let word = next().unwrap_or(0);
            request.push(match WORDS.get(word) {
                Some(word) => word.as_bytes().to_vec(),
                // Bytes that no list would think of.
                None => vec![word as u8; next().unwrap_or(0)],
            });
        }
        encode_request(&request, &mut requests);
    }
    requests
}

fn server() -> Arc<App> {
    let options = StoreOptions { segment_bytes: 64 * 1024, ..StoreOptions::default() };
    let fs = Arc::new(SimulatedFs::new());
    let clock = Clock::manual(Timestamp(1_700_000_000_000_000));
    let store = Store::open(fs, Path::new("/data"), &options, clock).expect("an empty store");
    let file = DefinitionFile { path: "fuzz.toml".into(), text: DEFINITIONS.into() };
    let definitions = parse_repository(&[file]).expect("definitions");
    store.apply_definitions(&definitions, false).expect("applied");
    let identity = Identity::embedded(Path::new("/data"));
    Arc::new(App::new(store, every_command(), identity, Settings::default()))
}

/// What the server answers to bytes in pieces, unless it waits for something.
async fn converse(app: &Arc<App>, bytes: &[u8], cut: u8) -> Option<Vec<u8>> {
    let piece_bytes = 1 + usize::from(cut) * usize::from(cut % 7 + 1);
    let (client, served) = tokio::io::duplex(16 + usize::from(cut) * 64);
    let (mut read, mut write) = tokio::io::split(client);
    let send = async move {
        for piece in bytes.chunks(piece_bytes) {
            if write.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let _ = write.shutdown().await;
    };
    let mut replies = Vec::new();
    let receive = read.read_to_end(&mut replies);
    let serve = serve_stream(Arc::clone(app), served, session());
    let all = async { tokio::join!(send, serve, receive) };
    let is_over = tokio::time::timeout(PATIENCE, all).await.is_ok();
    is_over.then_some(replies)
}

fn session() -> Session {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
    Session::new(Arc::new(ClientInfo::new(1, [nobody, nobody], 0)))
}

/// Replies are RESP, one after the other, to the last byte.
fn assert_resp(mut replies: &[u8]) {
    while !replies.is_empty() {
        match ReplyDecoder::default().decode(replies) {
            Ok(Some((_, bytes))) => replies = &replies[bytes..],
            Ok(None) => panic!("a reply is cut: {}", replies.escape_ascii()),
            Err(error) => panic!("{error}: {}", replies.escape_ascii()),
        }
    }
}
