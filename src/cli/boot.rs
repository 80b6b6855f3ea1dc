//! Starting a server: listen, load, apply, serve; and stopping it.
//!
//! ```text
//! ports ─> the lock of the directory ─> clients are answered, most of them LOADING
//!       ─> load ─> apply ─> ready ─> serve ─> the last snapshot
//! ```

use super::{options::NetworkOptions, start_progress::StartProgress};
use crate::{
    command::{App, Identity, Settings, Shutdown, every_command, write_last_snapshot},
    disk::RealFs,
    error::{Error, Result},
    http,
    registry::{Definitions, parse_repository, read_repository, with_sources_below},
    server::{self, bind, bound_port},
    store::{Clock, Store, StoreOptions},
};
use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often the main thread looks whether the log still takes writes.
const POISON_POLL: Duration = Duration::from_millis(200);

/// A server that answers clients.
pub(super) struct Booted {
    pub(super) app: Arc<App>,
    threads: Vec<JoinHandle<()>>,
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
    /// Takes the ports, then locks the data directory: a port in use must not cost a recovery.
    /// Clients are answered from here on.
    pub(super) fn begin(self, data: &Path) -> Result<Booted> {
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
        let store = Store::begin(Arc::new(RealFs), data, &self.store, self.clock)?;
        let app = Arc::new(App::new(store, every_command(), identity, self.settings));
        // Whoever is answered may rely on it that signals are heard.
        let mut threads = vec![watch(&app)?];
        threads.extend(server::listen(&app, resp)?);
        let served = Arc::clone(&app);
        threads.push(spawn("http", move || http::serve(&served, http))?);
        Ok(Booted { app, threads })
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let spawned = thread::Builder::new().name(name.into()).spawn(work);
    spawned.map_err(Error::io("starting a thread for", name))
}

impl Booted {
    /// Loads the data; false if somebody stopped the server before that was done. Then the process
    /// is to end at once: to the directory that is a crash, and nothing of it is lost.
    pub(super) fn load(&self) -> Result<bool> {
        let shown = StartProgress::show(self.app.store.load_progress())?;
        let (done, loaded) = tokio::sync::oneshot::channel();
        let store = Arc::clone(&self.app.store);
        // Nobody may listen any more.
        spawn("load", move || drop(done.send(store.load_data())))?;
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.map_err(Error::io("starting a runtime for", "loading"))?;
        let mut shutdown = self.app.shutdown.subscribe();
        let is_stopped = shutdown.wait_for(|state| *state != Shutdown::Running);
        let is_loaded = runtime.block_on(async {
            tokio::select! {
                _ = is_stopped => Ok(false),
                loaded = loaded => match loaded {
                    Ok(loaded) => loaded.map(|()| true),
                    Err(_) => Err(Error::refused("loading the data panicked")),
                },
            }
        })?;
        match is_loaded {
            true => shown.finish(),
            false => self.app.store.check_poison()?,
        }
        Ok(is_loaded)
    }

    /// Applies a feature repository; what changed, for people to read.
    pub(super) fn apply(&self, repo: &Path) -> Result<String> {
        let definitions = definitions_in(repo)?;
        let applied = self.app.store.apply_definitions(&definitions, false)?;
        Ok(applied.plan.to_string())
    }

    /// All commands are answered from here on.
    pub(super) fn ready(&mut self) -> Result<()> {
        self.app.end_loading();
        self.threads.extend(server::maintain(&self.app)?);
        Ok(())
    }

    /// Serves until somebody stops it; then everything written is made durable.
    pub(super) fn serve(self) -> Result<()> {
        for thread in self.threads {
            // A thread that panicked has told so itself.
            let _ = thread.join();
        }
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
fn watch(app: &Arc<App>) -> Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::io("starting a runtime for", "signals"))?;
    let inside = runtime.enter();
    let receive = |kind| signal(kind).map_err(Error::io("asking for", "signals"));
    let signals = [receive(SignalKind::terminate())?, receive(SignalKind::interrupt())?];
    drop(inside);
    let app = Arc::clone(app);
    spawn("watch", move || runtime.block_on(stop_on_signal_or_poison(&app, signals)))
}

async fn stop_on_signal_or_poison(app: &App, [mut terminate, mut interrupt]: [Signal; 2]) {
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
}

fn run_id() -> Result<String> {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::refused(format!("no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
