//! What a client sees, without a socket: commands in, replies out, restarts in between.

use super::{
    App, ClientInfo, FeatureRequest, Identity, KeyRow, Session, Settings, dispatch, every_command,
    online_rows, resolve,
};
use crate::{
    disk::{Cut, SimulatedFs},
    error::Result,
    feature::Timestamp,
    log::Durability,
    online::Seen,
    registry::{DefinitionFile, parse_repository},
    store::{Clock, Store, StoreOptions},
};
use nowthen_protocol::{RequestLimits, RequestParser, encode_request};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Instant};

/// A server with one client.
pub(super) struct Subject {
    pub(super) fs: SimulatedFs,
    pub(super) app: Arc<App>,
    pub(super) session: Session,
}

impl Subject {
    pub(super) fn new() -> Self {
        Self::with(Durability::Always)
    }

    pub(super) fn with(durability: Durability) -> Self {
        let fs = SimulatedFs::new();
        let app = app(&fs, durability, Timestamp(1_000_000));
        Self { fs, app, session: session() }
    }

    /// Another client of the same server.
    pub(super) fn another(&self) -> Self {
        Self { fs: self.fs.clone(), app: Arc::clone(&self.app), session: session() }
    }

    /// Lets another client do something.
    pub(super) fn beside<T>(&self, work: impl FnOnce(&mut Self) -> T) -> T {
        work(&mut self.another())
    }

    pub(super) fn last_lsn(&self) -> u64 {
        self.app.store.last_written().0
    }

    pub(super) fn live_rows(&self, seen: Seen) -> usize {
        self.app.store.keyspace().live_rows(seen)
    }

    /// The reply to a line, as RESP2 with blanks for line ends, once it may leave.
    pub(super) fn ask(&mut self, line: &str) -> String {
        self.try_ask(line).unwrap()
    }

    /// The same; an error if the reply must never leave.
    pub(super) fn try_ask(&mut self, line: &str) -> Result<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let out = self.try_say(&words)?;
        Ok(String::from_utf8_lossy(&out).replace("\r\n", " ").trim_end().to_owned())
    }

    /// The bytes of the reply to a request of these words, once it may leave.
    pub(super) fn say(&mut self, words: &[impl AsRef<[u8]>]) -> Vec<u8> {
        self.try_say(words).unwrap()
    }

    fn try_say(&mut self, words: &[impl AsRef<[u8]>]) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        encode_request(words, &mut bytes);
        let mut parser = RequestParser::new(RequestLimits::DEFAULT);
        parser.parse(&bytes).unwrap().unwrap();
        let mut out = Vec::new();
        let request = parser.arguments(&bytes);
        let asked = resolve(request);
        dispatch(&self.app, &mut self.session, asked, request, Instant::now(), &mut out);
        if let Some(lsn) = self.session.wait_for.take() {
            self.app.store.acknowledged_blocking(lsn)?;
        }
        Ok(out)
    }

    /// Each line and its reply.
    pub(super) fn check(&mut self, lines: &[(&str, &str)]) {
        for (line, reply) in lines {
            assert_eq!(self.ask(line), *reply, "{line}");
        }
    }

    pub(super) fn apply(&mut self, definitions: &str) {
        let file = DefinitionFile { path: "test".into(), text: definitions.into() };
        let definitions = parse_repository(&[file]).unwrap();
        self.app.store.apply_definitions(&definitions, false).unwrap();
    }

    pub(super) fn wait_us(&self, us: i64) {
        self.app.store.clock().advance_to(self.app.store.now().plus_us(us));
    }

    pub(super) fn sweep(&self) -> usize {
        (0..self.app.store.shard_count()).map(|shard| self.app.store.sweep(shard).rows).sum()
    }

    /// What was acknowledged must be there afterwards.
    pub(super) fn crash(&mut self, seed: u64, cut: Cut) {
        let (now, durability) = (self.app.store.now(), self.app.store.durability());
        self.fs = self.fs.crash(seed, cut);
        self.app = app(&self.fs, durability, now);
    }

    pub(super) fn restart(&mut self) {
        self.restart_without_loading();
        self.load();
    }

    pub(super) fn restart_without_loading(&mut self) {
        let now = self.app.store.now();
        self.app.store.close().unwrap();
        // The directory is locked as long as its store lives.
        let durability = self.app.store.durability();
        self.app = loading_app(&SimulatedFs::new(), durability, now);
        self.app = loading_app(&self.fs, durability, now);
    }

    pub(super) fn load(&mut self) {
        self.app.store.load_data().unwrap();
        self.app.end_loading();
    }
}

fn app(fs: &SimulatedFs, durability: Durability, now: Timestamp) -> Arc<App> {
    let app = loading_app(fs, durability, now);
    app.store.load_data().unwrap();
    app.end_loading();
    app
}

/// A server that has loaded nothing yet.
fn loading_app(fs: &SimulatedFs, durability: Durability, now: Timestamp) -> Arc<App> {
    let options = StoreOptions { durability, segment_bytes: 64 * 1024, ..StoreOptions::default() };
    let clock = Clock::manual(now);
    let store = Store::begin(Arc::new(fs.clone()), Path::new("/data"), &options, clock).unwrap();
    let identity = Identity::embedded(Path::new("/data"));
    let commands = every_command();
    Arc::new(App::new(store, commands, identity, Settings::default()))
}

fn session() -> Session {
    session_at(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn session_at(local: SocketAddr) -> Session {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
    Session::new(Arc::new(ClientInfo::new(1, [nobody, local], 0)))
}

#[test]
fn a_name_stays_when_a_later_word_of_hello_is_refused() {
    let mut subject = Subject::new();
    subject.check(&[
        ("HELLO 3 SETNAME n x", "-ERR Syntax error in HELLO option 'x'"),
        ("CLIENT GETNAME", "$1 n"),
    ]);
}

#[test]
fn randomkey_prefers_none_of_a_few_keys() {
    let mut subject = Subject::new();
    (0..8).for_each(|key| drop(subject.ask(&format!("SET {key} x"))));
    let mut counts = [0; 8];
    for _ in 0..800 {
        let reply = subject.ask("RANDOMKEY");
        let key: usize = reply.rsplit(' ').next().unwrap().parse().unwrap();
        counts[key] += 1;
    }
    assert!(counts.iter().all(|count| *count > 40), "{counts:?}");
}

#[test]
fn a_hash_written_where_another_was_swept_away_survives_a_restart_alone() {
    let mut subject = Subject::new();
    subject.check(&[("HSET h old 1", ":1"), ("PEXPIRE h 30", ":1")]);
    subject.wait_us(31_000);
    assert_eq!(subject.sweep(), 1);
    subject.check(&[("HSET h new 2", ":1")]);
    subject.restart();
    subject.check(&[("HGETALL h", "*2 $3 new $1 2"), ("TTL h", ":-1")]);
}

#[test]
fn a_hash_written_where_another_was_over_survives_a_restart_alone() {
    let mut subject = Subject::new();
    subject.check(&[("HSET h old 1", ":1"), ("PEXPIRE h 30", ":1")]);
    subject.wait_us(31_000);
    subject.check(&[("HSET h new 2 new 3", ":1")]);
    subject.restart();
    subject.check(&[("HGETALL h", "*2 $3 new $1 3"), ("TTL h", ":-1")]);
}

#[test]
fn one_write_may_name_features_of_two_versions_of_a_view() {
    let definitions = |f: &str, g: &str| {
        format!(
            "[entity.user]\njoin_keys = {{ user = \"int64\" }}\n\
             [view.v]\nentity = \"user\"\nfeatures = {{ f = \"{f}\", g = \"{g}\" }}\n"
        )
    };
    let mut subject = Subject::new();
    subject.apply(&definitions("float64", "int64"));
    subject.apply(&definitions("string", "string"));
    let read = ("HMGET user:1 v@1:g v:f v:g v@1:f", "*4 $1 1 $5 hello $-1 $3 2.5");
    subject.check(&[("HSET user:1 v@1:g 1 v:f hello v@1:f 2.5", ":3"), read]);
    subject.restart();
    subject.check(&[read, ("HDEL user:1 v@1:g v:g v:f", ":2")]);
    subject.check(&[("HMGET user:1 v@1:g v:f v:g v@1:f", "*4 $-1 $-1 $-1 $3 2.5")]);
}

pub(super) const USERS: &str = "[entity.user]\njoin_keys = { user = \"int64\" }\n\
                     [view.v]\nentity = \"user\"\nttl = \"1s\"\nfeatures = { f = \"int64\" }\n";

#[test]
fn a_request_for_more_values_than_memory_has_is_refused() {
    let mut subject = Subject::new();
    subject.apply(USERS);
    let names = " f".repeat(5_000);
    let keys = " 1".repeat(5_000);
    let reply = subject.ask(&format!("FS.GET FEATURES 5000{names} FOR 1 user ROWS 5000{keys}"));
    assert!(reply.starts_with("-ERR 5000 rows of 5000 features are too many"), "{reply:.90}");
}

#[test]
fn set_takes_one_condition() {
    let mut subject = Subject::new();
    subject.check(&[
        ("SET k v NX XX EX 10", "-ERR syntax error"),
        ("SET k v XX NX GET", "-ERR syntax error"),
        ("SET k v NX NX", "+OK"),
        ("SET k w NX GET", "$1 v"),
    ]);
}

#[test]
fn a_skip_behind_a_skip_skips_too() {
    let mut subject = Subject::new();
    subject.check(&[
        ("CLIENT REPLY SKIP", ""),
        ("CLIENT REPLY SKIP", ""),
        ("PING", ""),
        ("PING", "+PONG"),
    ]);
}

#[test]
fn a_hash_of_many_fields_is_written_at_once() {
    let mut subject = Subject::new();
    let fields: String = (0..20_000).map(|i| format!(" {i} {i}")).collect();
    let started = Instant::now();
    subject.check(&[(&format!("HSET h{fields}"), ":20000"), ("HLEN h", ":20000")]);
    subject.check(&[("HSET h 1 a 1 b new c", ":1"), ("HMGET h 1 new 2", "*3 $1 b $1 c $1 2")]);
    // Comparing each with each took eight seconds.
    assert!(started.elapsed().as_secs() < 4);
}

#[test]
fn a_null_key_hides_the_features_of_its_own_entity_only() {
    let mut subject = Subject::new();
    let items = USERS.replace("user", "item").replace("view.v", "view.w");
    subject.apply(&format!("{USERS}{items}"));
    subject.check(&[("HSET user:1 f 7", ":1"), ("HSET item:2 f 8", ":1")]);
    let store = &subject.app.store;
    let schema = store.schema();
    let features = schema.catalog.select(&["v:f", "w:f"]).unwrap();
    let request = FeatureRequest::new(&schema, features, &["user", "item"]).unwrap();
    let rows = [[Some(&b"1"[..]), None], [None, Some(&b"2"[..])]];
    let (keyspace, now) = (store.keyspace(), store.now());
    let rows = rows.iter().map(|row| KeyRow::Texts(row));
    let when = (now, Seen::Published);
    let read = online_rows(keyspace, &request, rows, when, usize::MAX).unwrap();
    let texts = |row: &Vec<crate::store::Answer>| {
        row.iter().map(|cell| cell.value.as_ref().map(|value| value.to_text())).collect()
    };
    let texts: Vec<Vec<Option<String>>> = read.iter().map(texts).collect();
    assert_eq!(texts, [[Some("7".to_owned()), None], [None, Some("8".to_owned())]]);
}

#[test]
fn a_cluster_client_is_told_the_address_that_it_found() {
    let mut subject = Subject::new();
    let id = subject.app.node_id.clone();
    for (local, host) in [("[::1]:7000", "$3 ::1"), ("[::ffff:10.0.0.7]:7000", "$8 10.0.0.7")] {
        subject.session = session_at(local.parse().unwrap());
        let slots = format!("*1 *3 :0 :16383 *4 {host} :7000 $40 {id} *0");
        subject.check(&[("CLUSTER SLOTS", &slots)]);
    }
    subject.restart();
    subject.check(&[("CLUSTER MYID", &format!("$40 {id}"))]);
}

#[test]
fn a_subcommand_is_checked_and_counted_by_itself() {
    let mut subject = Subject::new();
    subject.check(&[
        ("CLUSTER KEYSLOT", "-ERR wrong number of arguments for 'cluster|keyslot' command"),
        ("cluster KeySlot foo", ":12182"),
        ("CLUSTER", "-ERR wrong number of arguments for 'cluster' command"),
        ("CLUSTER x\0y", "-ERR unknown subcommand 'x'. Try CLUSTER HELP."),
    ]);
    let stats = subject.ask("INFO commandstats");
    // As in Redis a request that is refused is not called.
    assert!(stats.contains("cmdstat_cluster|keyslot:calls=1"), "{stats}");
    assert!(stats.contains("cmdstat_cluster:calls=0"), "{stats}");
}
