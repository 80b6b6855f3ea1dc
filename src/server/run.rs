//! The threads of a server: one per core, each with its own runtime, listener and connections.

use super::{
    acknowledging::Waiting,
    connection::{CLIENTS_MAX_REACHED, Connection},
    pulse::{Pulse, Silence},
    reaper::{self, Watched},
};
use crate::{
    command::{
        App, ClientInfo, Session, Shutdown, begin_compaction, begin_snapshot, snapshot_is_due,
    },
    error::{Error, Result},
};
use socket2::{SockRef, TcpKeepalive};
use std::{
    net::TcpListener,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{net::TcpStream, time::MissedTickBehavior};

/// After an error of `accept` (no descriptor left, most likely) it is tried again so much later.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// Expired rows are looked for in so many shards, one lock at a time, and then this pause is made:
/// all of the table within a second, ten times a second awake.
const SWEEP_SHARDS: usize = 128;
const SWEEP_PAUSE: Duration = Duration::from_millis(100);
/// How often the schedule of snapshots is looked at, as in Redis.
const SCHEDULE_PAUSE: Duration = Duration::from_millis(100);
/// After an erasure that failed the next attempt waits so long.
const ERASURE_RETRY: Duration = Duration::from_secs(30);
/// How long connections may take to end when the server stops.
const DRAIN: Duration = Duration::from_millis(200);

/// Begins to serve clients, on one thread for each listener, until [`App::shutdown`] says
/// otherwise; the threads that do.
pub fn listen(app: &Arc<App>, listeners: Vec<TcpListener>) -> Result<Vec<JoinHandle<()>>> {
    let core = |(index, listener)| {
        spawn(&format!("core-{index}"), app, move |app: Arc<App>| serve_core(&app, listener))
    };
    listeners.into_iter().enumerate().map(core).collect()
}

/// Begins what a server does by itself as long as it serves; not before all is loaded.
pub fn maintain(app: &Arc<App>) -> Result<Vec<JoinHandle<()>>> {
    Ok(vec![spawn("sweep", app, sweep)?, spawn("schedule", app, schedule)?])
}

fn spawn(
    name: &str,
    app: &Arc<App>,
    work: impl FnOnce(Arc<App>) + Send + 'static,
) -> Result<JoinHandle<()>> {
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
    let mut second = tokio::time::interval(reaper::PERIOD);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while *shutdown.borrow() == Shutdown::Running {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = second.tick() => {
                reaper::reap(&app.settings);
                continue;
            }
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
    reaper::end_all();
}

fn begin(app: &Arc<App>, stream: TcpStream, peer: std::net::SocketAddr) {
    app.stats.connections_total.increment();
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_micros() as i64);
    let ends = [peer, stream.local_addr().unwrap_or(peer)];
    let since_start = app.identity.started.elapsed();
    let info = Arc::new(ClientInfo {
        fd: stream.as_raw_fd(),
        active_ms: AtomicU64::new(since_start.as_millis() as u64),
        ..ClientInfo::new(app.next_client(), ends, now_us)
    });
    let Some(place) = Place::take(app, &info) else {
        app.stats.connections_refused.increment();
        // Nobody reads replies before it has sent something, so the text is best effort.
        let _ = stream.try_write(format!("-ERR {CLIENTS_MAX_REACHED}\r\n").as_bytes());
        return;
    };
    let _ = stream.set_nodelay(true);
    keep_alive(&stream, app.settings.tcp_keepalive_s.count());
    let (pulse, is_operator) = (Arc::<Pulse>::default(), place.is_operator);
    let waiting = Waiting::of_this_core();
    let mut session = Session::new(Arc::clone(&info));
    if app.settings.has_password() {
        session = session.unauthenticated();
    }
    let told = Arc::clone(&pulse);
    let connection = Connection::new(Arc::clone(app), stream, session, told, waiting, is_operator);
    let killed = Arc::clone(&info);
    let task = tokio::spawn(async move {
        let _place = place;
        tokio::select! {
            biased;
            () = connection.serve() => {}
            () = killed.killed.notified() => {}
        }
    });
    let task = task.abort_handle();
    reaper::watch(Watched {
        info,
        pulse,
        task,
        is_operator,
        silence: Silence::default(),
        login_s: 0,
    });
}

/// A place among the clients, free again when it is dropped.
struct Place {
    app: Arc<App>,
    id: u64,
    /// The one beside `maxclients`, for an operator on this machine.
    is_operator: bool,
}

impl Place {
    fn take(app: &Arc<App>, info: &Arc<ClientInfo>) -> Option<Self> {
        let mut clients = app.clients.lock();
        let operator = app.operator.load(Ordering::Relaxed);
        // Who was killed is no client any more, and may have the operator's place a moment longer.
        let ordinary = clients.len() - usize::from(clients.contains_key(&operator));
        let is_operator = ordinary as u64 >= app.settings.clients_max.count();
        if is_operator {
            if operator != 0 || !info.peer.ip().to_canonical().is_loopback() {
                return None;
            }
            app.operator.store(info.id, Ordering::Relaxed);
        }
        clients.insert(info.id, Arc::clone(info));
        app.stats.connections.increment();
        Some(Self { app: Arc::clone(app), id: info.id, is_operator })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.app.clients.lock();
        clients.remove(&self.id);
        if self.is_operator {
            self.app.operator.store(0, Ordering::Relaxed);
        }
        drop(clients);
        self.app.stats.connections.decrement();
        reaper::forget(self.id);
    }
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

/// Removes rows past their end of life, a shard at a time, and looks how much memory is used.
#[allow(clippy::needless_pass_by_value, reason = "a thread owns what it works with")]
fn sweep(app: Arc<App>) {
    for index in (0..app.store.shard_count()).cycle() {
        if *app.shutdown.borrow() != Shutdown::Running {
            return;
        }
        let started = Instant::now();
        let swept = app.store.sweep(index);
        app.stats.expired_keys.add(swept.rows as u64);
        app.stats.expired_fields.add(swept.fields as u64);
        note_event(&app, "expire-cycle", started.elapsed().as_nanos() as u64);
        if index == 0 {
            app.stats.peak_rows_bytes.raise_to(app.store.keyspace().memory_bytes() as u64);
        }
        if index % SWEEP_SHARDS == 0 {
            app.stats.sample(Instant::now());
            note_event(&app, "log-sync", app.store.take_longest_sync_ns());
            app.look_at_memory();
            thread::sleep(SWEEP_PAUSE);
        }
    }
}

/// Begins a snapshot whenever one is due, has the history compacted after each, and erases what an
/// earlier server had begun to erase.
#[allow(clippy::needless_pass_by_value, reason = "a thread owns what it works with")]
fn schedule(app: Arc<App>) {
    let mut erase_at = Instant::now();
    let mut compacted_behind = None;
    while *app.shutdown.borrow() == Shutdown::Running {
        thread::sleep(SCHEDULE_PAUSE);
        if Instant::now() >= erase_at
            && app.store.erasure_is_due()
            && let Err(error) = app.store.erase_forgotten()
        {
            tracing::error!(%error, "what was forgotten could not be erased yet");
            erase_at = Instant::now() + ERASURE_RETRY;
        }
        if snapshot_is_due(&app)
            && let Err(error) = begin_snapshot(&app, false)
        {
            tracing::error!(%error, "a snapshot could not begin");
        }
        let snapshot = Some(app.store.last_checkpoint().lsn);
        if snapshot != compacted_behind && app.store.may_compact() {
            compacted_behind = snapshot;
            if let Err(error) = begin_compaction(&app) {
                tracing::error!(%error, "a compaction could not begin");
            }
        }
    }
}

/// Tells the latency monitor, if that took long.
fn note_event(app: &App, event: &'static str, took_ns: u64) {
    if took_ns >= app.stats.latency_monitor.threshold_ns() {
        let now_s = app.store.now().us() / 1_000_000;
        app.stats.latency_monitor.note(event, took_ns, now_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::connection_tests::server;

    #[test]
    fn a_killed_operator_is_counted_no_more() {
        let app = server();
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let client = || Arc::new(ClientInfo::new(app.next_client(), [peer, peer], 0));
        let wanted = app.settings.clients_max.count() as usize;
        let mut places: Vec<Place> =
            (0..wanted).map(|_| Place::take(&app, &client()).unwrap()).collect();
        let operator = Place::take(&app, &client()).unwrap();
        assert!(operator.is_operator && Place::take(&app, &client()).is_none());
        // CLIENT KILL takes it out at once; its connection ends a moment later.
        app.clients.lock().remove(&operator.id);
        places.clear();
        places.extend((0..wanted).map(|_| Place::take(&app, &client()).unwrap()));
        assert!(places.iter().all(|place| !place.is_operator));
        assert!(Place::take(&app, &client()).is_none(), "its place is not free yet");
        drop(operator);
        assert!(Place::take(&app, &client()).unwrap().is_operator);
    }
}
