//! A store on the real disk with one client and no socket: lines in, replies out.

use nowthen::{
    command::{App, ClientInfo, Identity, Session, Settings, dispatch, every_command, resolve},
    disk::RealFs,
    error::Result,
    feature::Timestamp,
    log::Durability,
    registry::{DefinitionFile, parse_repository},
    store::{Clock, Store, StoreOptions},
};
use nowthen_protocol::{RequestLimits, RequestParser};
use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Room for four frames: a golden directory of several segments stays small.
const SEGMENT_BYTES: u64 = 512 + 4 * 512 + 512;

/// A store and its client. Dropped without [`Subject::close`] it ends as if it had been killed.
pub(crate) struct Subject {
    pub(crate) app: Arc<App>,
    session: Session,
}

impl Subject {
    /// Opens `data` at that time, which stands still.
    pub(crate) fn open(data: &Path, now: &str) -> Result<Self> {
        let options = StoreOptions {
            durability: Durability::Always,
            segment_bytes: SEGMENT_BYTES,
            ..StoreOptions::default()
        };
        let store = open_unlocked(data, &options, Timestamp::parse(now)?)?;
        let identity = Identity::embedded(data);
        let app = Arc::new(App::new(store, every_command(), identity, Settings::default()));
        let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
        let session = Session::new(Arc::new(ClientInfo::new(1, [nobody, nobody], 0)));
        Ok(Self { app, session })
    }

    pub(crate) fn last_lsn(&self) -> u64 {
        self.app.store.last_written().0
    }

    /// Removes what is over, as a server does all the time.
    pub(crate) fn sweep(&self) {
        for shard in 0..self.app.store.shard_count() {
            let _ = self.app.store.sweep(shard);
        }
    }

    pub(crate) fn advance_to(&self, now: &str) {
        self.app.store.clock().advance_to(Timestamp::parse(now).unwrap());
    }

    pub(crate) fn apply(&self, definitions: &str) {
        let file = DefinitionFile { path: "golden".into(), text: definitions.into() };
        let definitions = parse_repository(&[file]).unwrap();
        self.app.store.apply_definitions(&definitions, false).unwrap();
    }

    /// The reply to a line, as RESP2 with blanks for line ends, once it may leave.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let bulks: String = words.iter().map(|w| format!("${}\r\n{w}\r\n", w.len())).collect();
        let bytes = format!("*{}\r\n{bulks}", words.len()).into_bytes();
        let mut parser = RequestParser::new(RequestLimits::DEFAULT);
        parser.parse(&bytes).unwrap().unwrap();
        let request = parser.arguments(&bytes);
        let mut out = Vec::new();
        let asked = resolve(request);
        dispatch(&self.app, &mut self.session, asked, request, Instant::now(), &mut out);
        if let Some(lsn) = self.session.wait_for.take() {
            self.app.store.acknowledged_blocking(lsn).unwrap();
        }
        String::from_utf8(out).unwrap().replace("\r\n", " ").trim_end().to_owned()
    }

    /// Has a line done; it must not be refused.
    pub(crate) fn tell(&mut self, line: &str) {
        let reply = self.ask(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }

    pub(crate) fn close(self) {
        self.app.store.close().unwrap();
    }
}

/// Opens the store once nobody has the lock: what another test starts has every open file of this
/// process, the lock of a store that was just closed too, until it runs its own program.
fn open_unlocked(data: &Path, options: &StoreOptions, now: Timestamp) -> Result<Arc<Store>> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match Store::open(Arc::new(RealFs), data, options, Clock::manual(now)) {
            Err(error) if error.code() == "LOCKED" && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}
