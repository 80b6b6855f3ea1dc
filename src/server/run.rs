//! The threads of a server: one per core, each with its own runtime, listener and connections.

use super::connection::Connection;
use crate::{
    command::{App, ClientInfo, Session, Shutdown},
    error::{Error, Result},
};
use parking_lot::Mutex;
use socket2::{SockRef, TcpKeepalive};
use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::net::TcpStream;

/// After an error of `accept` (no descriptor left, most likely) it is tried again so much later.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// Expired rows are looked for in so many shards, one lock at a time, and then this pause is made:
/// all of the table within a second, ten times a second awake.
const SWEEP_SHARDS: usize = 128;
const SWEEP_PAUSE: Duration = Duration::from_millis(100);
/// How long connections may take to end when the server stops.
const DRAIN: Duration = Duration::from_millis(200);

/// The sockets of a server.
#[derive(Debug)]
pub struct Listeners {
    /// One per thread, all on the port of RESP.
    pub resp: Vec<TcpListener>,
}

/// Serves until [`App::shutdown`] says otherwise.
pub fn serve(app: &Arc<App>, listeners: Listeners) -> Result<()> {
    let mut threads = vec![spawn("sweep", app, sweep)?];
    for (index, listener) in listeners.resp.into_iter().enumerate() {
        let serve = move |app: Arc<App>| serve_core(&app, listener);
        threads.push(spawn(&format!("core-{index}"), app, serve)?);
    }
    for thread in threads {
        // A thread that panicked has told so itself.
        let _ = thread.join();
    }
    Ok(())
}

fn spawn(
    name: &str,
    app: &Arc<App>,
    work: impl FnOnce(Arc<App>) + Send + 'static,
) -> Result<thread::JoinHandle<()>> {
    let app = Arc::clone(app);
    let spawned = thread::Builder::new().name(name.into()).spawn(move || work(app));
    spawned.map_err(Error::io("starting a thread", name))
}

/// Everything that one core does.
fn serve_core(app: &Arc<App>, listener: TcpListener) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "a core cannot start"),
    };
    runtime.block_on(async {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => accept(app, &listener).await,
            Err(error) => tracing::error!(%error, "a core cannot listen"),
        }
    });
    runtime.shutdown_timeout(DRAIN);
}

async fn accept(app: &Arc<App>, listener: &tokio::net::TcpListener) {
    let mut shutdown = app.shutdown.subscribe();
    while *shutdown.borrow() == Shutdown::Running {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = shutdown.changed() => break,
        };
        match accepted {
            Ok((stream, peer)) => begin(app, stream, peer),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    // Replies that are on their way may still leave.
    tokio::time::sleep(DRAIN / 4).await;
}

fn begin(app: &Arc<App>, stream: TcpStream, peer: std::net::SocketAddr) {
    app.stats.connections_total.increment();
    if app.stats.connections.get() >= app.settings.clients_max.count() {
        app.stats.connections_refused.increment();
        // Nobody reads replies before it has sent something, so the text is best effort.
        let _ = stream.try_write(b"-ERR max number of clients reached\r\n");
        return;
    }
    let _ = stream.set_nodelay(true);
    keep_alive(&stream, app.settings.tcp_keepalive_s.count());
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_micros() as i64);
    let info = Arc::new(ClientInfo {
        id: app.next_client(),
        peer,
        local: stream.local_addr().unwrap_or(peer),
        connected_us: now_us,
        active_us: AtomicI64::new(now_us),
        names: Mutex::default(),
        last_command: AtomicU64::new(u64::MAX),
        is_killed: AtomicBool::new(false),
        protocol: AtomicU64::new(2),
    });
    let (app, id) = (Arc::clone(app), info.id);
    app.stats.connections.increment();
    app.clients.lock().insert(id, Arc::clone(&info));
    tokio::spawn(async move {
        let session = Session::new(info);
        Connection::new(Arc::clone(&app), stream, session).serve().await;
        app.clients.lock().remove(&id);
        app.stats.connections.decrement();
    });
}

/// Has the kernel ask after so many seconds of silence whether the client is still there, three
/// times, a third of that apart: as Redis does. Without it the connection is only not watched.
fn keep_alive(stream: &TcpStream, after_s: u64) {
    if after_s > 0 {
        let after = Duration::from_secs(after_s);
        let pause = Duration::from_secs((after_s / 3).max(1));
        let keepalive = TcpKeepalive::new().with_time(after).with_interval(pause).with_retries(3);
        let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    }
}

/// Removes rows past their end of life, a shard at a time.
#[allow(clippy::needless_pass_by_value, reason = "a thread owns what it works with")]
fn sweep(app: Arc<App>) {
    for index in (0..app.store.shard_count()).cycle() {
        if *app.shutdown.borrow() != Shutdown::Running {
            return;
        }
        app.store.sweep(index);
        if index % SWEEP_SHARDS == 0 {
            thread::sleep(SWEEP_PAUSE);
        }
    }
}
