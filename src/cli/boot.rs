//! Starting a server: listen, open, apply, serve; and stopping it.

use super::{options::NetworkOptions, start_progress::StartProgress};
use crate::{
    command::{App, Identity, Settings, Shutdown, every_command, write_last_snapshot},
    disk::RealFs,
    error::{Error, Result},
    http,
    registry::{Definitions, parse_repository, read_repository, with_sources_below},
    server::{self, Listeners, bind, bound_port},
    store::{Clock, LoadProgress, Store, StoreOptions},
};
use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// How often the main thread looks whether the log still takes writes.
const POISON_POLL: Duration = Duration::from_millis(200);

/// A server that is open and listens, but does not answer yet.
pub(super) struct Booted {
    pub(super) app: Arc<App>,
    resp: Vec<TcpListener>,
    http: TcpListener,
}

/// How to start.
pub(super) struct Boot<'a> {
    pub(super) network: &'a NetworkOptions,
    pub(super) threads: usize,
    pub(super) settings: Settings,
    /// Who may say DEBUG.
    pub(super) debug: &'a str,
    pub(super) store: StoreOptions,
    pub(super) clock: Clock,
}

impl Boot<'_> {
    /// Takes the ports, then opens the data directory: a port in use must not cost a recovery.
    pub(super) fn open(self, data: &Path) -> Result<Booted> {
        let started = Instant::now();
        let address = self.network.bind;
        if !address.is_loopback() {
            return Err(Error::refused(format!(
                "cannot listen on {address}: there are no users yet, so the server listens on \
                 loopback only; expected 127.0.0.1 or ::1"
            )));
        }
        let threads = match self.threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let resp = bind(SocketAddr::new(address, self.network.port), threads)?;
        let mut http = bind(SocketAddr::new(address, self.network.http_port), 1)?;
        let http = http.pop().ok_or_else(|| Error::refused("no listener for HTTP"))?;
        let identity = Identity {
            run_id: run_id()?,
            bind: address,
            data: data.to_owned(),
            port: bound_port(&resp),
            http_port: bound_port(std::slice::from_ref(&http)),
            started,
            threads,
            debug: self.debug.to_owned(),
        };
        let progress = Arc::<LoadProgress>::default();
        let shown = StartProgress::show(&progress)?;
        let opened =
            Store::open_watched(Arc::new(RealFs), data, &self.store, self.clock, &progress);
        let store = opened?;
        shown.finish();
        let commands = every_command();
        let app = Arc::new(App::new(store, commands, identity, self.settings));
        Ok(Booted { app, resp, http })
    }
}

impl Booted {
    /// Applies a feature repository; what changed, for people to read.
    pub(super) fn apply(&self, repo: &Path) -> Result<String> {
        let definitions = definitions_in(repo)?;
        let applied = self.app.store.apply_definitions(&definitions, false)?;
        Ok(applied.plan.to_string())
    }

    /// Serves until somebody stops it; then everything written is made durable.
    pub(super) fn serve(self) -> Result<()> {
        let listeners = Listeners { resp: self.resp };
        let (http_app, http_listener) = (Arc::clone(&self.app), self.http);
        let web = thread::Builder::new()
            .name("http".into())
            .spawn(move || http::serve(&http_app, http_listener))
            .map_err(Error::io("starting a thread for", "http"))?;
        let watched = Arc::clone(&self.app);
        let watch = thread::Builder::new()
            .name("watch".into())
            .spawn(move || stop_on_signal_or_poison(&watched))
            .map_err(Error::io("starting a thread for", "signals"))?;
        server::serve(&self.app, listeners)?;
        let _ = (web.join(), watch.join());
        self.app.store.check_poison()?;
        let saved = write_last_snapshot(&self.app);
        // Without its snapshot the log holds everything, but only once it is closed.
        self.app.store.close().and(saved)
    }
}

/// The definitions in a folder, with sources found below it.
pub(super) fn definitions_in(repo: &Path) -> Result<Definitions> {
    let files = read_repository(repo)?;
    let absolute = std::path::absolute(repo).map_err(Error::io("finding", repo))?;
    Ok(with_sources_below(parse_repository(&files)?, &absolute))
}

/// Ends the server when a signal says so, or when the disk failed it.
fn stop_on_signal_or_poison(app: &App) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return tracing::error!("signals cannot be received");
        };
        let mut shutdown = app.shutdown.subscribe();
        let settings = &app.settings;
        let how = loop {
            tokio::select! {
                _ = terminate.recv() => break settings.shutdown_by(&settings.sigterm),
                _ = interrupt.recv() => break settings.shutdown_by(&settings.sigint),
                _ = shutdown.wait_for(|state| *state != Shutdown::Running) => return,
                () = tokio::time::sleep(POISON_POLL) => {
                    if let Err(error) = app.store.check_poison() {
                        tracing::error!(%error, "the log failed; the server stops");
                        break Shutdown::Plain;
                    }
                }
            }
        };
        app.shutdown.send_replace(how);
    });
}

fn run_id() -> Result<String> {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::refused(format!("no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
