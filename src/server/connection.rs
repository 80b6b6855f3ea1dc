//! One connection: read, run every whole request, wait until it may be told, write once.
//!
//! Invariants
//! - Between requests it holds no buffer, and in the middle of one what it was sent, no more.
//! - It takes no further request while replies wait to be sent: what it holds is what it was to
//!   send at once and one reply.

use super::{acknowledging::Waiting, buffers, lingering, look_ahead::LookAhead, pulse::Pulse};
use crate::{
    command::{
        App, LastAsked, MonitorFeed, Session, dispatch, is_for_operator, is_slow, paused_until,
        resolve,
    },
    error::{Error, Result},
};
use nowthen_protocol::{
    Arguments, KnownLists, ProtocolVersion, Reply, RequestLimits, RequestParser,
};
use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// A buffer has room for so much when it is read into.
const ROOM_BYTES: usize = 16 * 1024;
/// Replies leave when there are so many bytes of them, even if there is more to answer.
const FLUSH_BYTES: usize = 1024 * 1024;
/// The part of a request that counts as getting on with it.
const STEP_BYTES_LOG2: u32 = 20;
/// How often a connection looks whether the log has room again.
const ROOM_POLL: Duration = Duration::from_millis(1);

thread_local! {
    /// What the requests of a core have in common.
    static LISTS: RefCell<KnownLists> = const { RefCell::new(KnownLists::new()) };
}

/// Why a connection ends.
enum End {
    /// The client is gone, or asked for it.
    Closed,
    /// The socket failed.
    Socket,
    /// What the client was told last: its bytes were no request, or its writes have an unknown
    /// outcome.
    Told(Error),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Socket
    }
}

/// A connection and what it holds. `S` is a socket, or in tests anything like one.
pub(super) struct Connection<S> {
    app: Arc<App>,
    stream: S,
    /// Not there only while a slow command has it.
    session: Option<Session>,
    parser: RequestParser,
    last_asked: LastAsked,
    limits: RequestLimits,
    /// The settings that `limits` are of.
    settings_version: u64,
    pulse: Arc<Pulse>,
    /// Those who wait with it until replies may leave.
    waiting: Arc<Waiting>,
    /// It has the operator's place: not every command is for it.
    is_operator: bool,
    /// How often it was answered.
    step: u64,
    /// How many bytes its client took.
    sent_bytes: u64,
    /// How much its client sent before it said the password.
    login_bytes: usize,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// Serves one client over anything like a socket, until it goes. No deadline is kept here.
pub async fn serve_stream<S: AsyncRead + AsyncWrite + Unpin>(
    app: Arc<App>,
    stream: S,
    session: Session,
) {
    let (pulse, waiting) = (Arc::default(), Arc::default());
    Connection::new(app, stream, session, pulse, waiting, false).serve().await;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(
        app: Arc<App>,
        stream: S,
        session: Session,
        pulse: Arc<Pulse>,
        waiting: Arc<Waiting>,
        is_operator: bool,
    ) -> Self {
        let settings_version = app.settings.version();
        let limits = app.settings.request_limits(session.is_authenticated);
        Self {
            app,
            stream,
            session: Some(session),
            parser: RequestParser::new(limits),
            last_asked: LastAsked::default(),
            limits,
            settings_version,
            pulse,
            waiting,
            is_operator,
            step: 0,
            sent_bytes: 0,
            login_bytes: 0,
            input: Vec::new(),
            output: Vec::new(),
        }
    }

    /// Serves until the client goes, or somebody ends the task.
    pub(super) async fn serve(mut self) {
        loop {
            let end = match self.receive().await {
                Ok(()) => self.answer().await,
                Err(end) => Err(end),
            };
            match end {
                Ok(()) => {}
                Err(End::Told(error)) => {
                    let version = self.version();
                    self.app.stats.errors.count(error.code());
                    Reply::new(&mut self.output, version).error(error.code(), &error.to_string());
                    if self.send().await.is_ok() {
                        lingering::close(&mut self.stream).await;
                    }
                    return;
                }
                Err(End::Closed | End::Socket) => return,
            }
        }
    }

    fn version(&self) -> ProtocolVersion {
        self.session.as_ref().map(|session| session.version).unwrap_or_default()
    }

    /// Reads what there is.
    async fn receive(&mut self) -> Result<(), End> {
        let feed = self.session.as_ref().and_then(Session::monitor_feed);
        if !self.input.is_empty() {
            let steps = (self.input.len() >> STEP_BYTES_LOG2) as u64;
            self.pulse.waits_for_rest(self.step.wrapping_add(steps));
        } else if feed.is_none() {
            // Who monitors is not idle, however long it says nothing.
            self.pulse.waits_for_request(self.step);
        }
        let count = tokio::select! {
            count = poll_fn(|context| self.poll_receive(context)) => count?,
            lines = lines_of(feed.as_deref()) => return self.send_lines(lines, feed).await,
        };
        self.pulse.works();
        if count == 0 {
            return Err(End::Closed);
        }
        self.app.stats.input_bytes_total.add(count as u64);
        if !self.limits.authenticated {
            self.login_bytes = self.login_bytes.saturating_add(count);
            if self.login_bytes > self.app.settings.login_bytes_max.bytes() {
                return Err(End::Told(Error::refused("too many bytes before AUTH")));
            }
        }
        Ok(())
    }

    /// Sends a client that monitors what others did, unless it is too slow for that.
    async fn send_lines(
        &mut self,
        lines: Option<Vec<u8>>,
        feed: Option<Arc<MonitorFeed>>,
    ) -> Result<(), End> {
        let (Some(lines), Some(feed)) = (lines, feed) else { return Err(End::Closed) };
        self.output.extend_from_slice(&lines);
        tokio::select! {
            flushed = self.flush() => flushed,
            () = feed.overflowed() => Err(End::Closed),
        }
    }

    /// Borrows a buffer for no longer than there is something to read.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        buffers::provide(&mut self.input);
        self.input.reserve(ROOM_BYTES);
        let polled = pin!(self.stream.read_buf(&mut self.input)).poll(context);
        if polled.is_pending() && self.input.is_empty() {
            buffers::give(std::mem::take(&mut self.input));
        }
        polled
    }

    /// Answers every whole request that was read.
    async fn answer(&mut self) -> Result<(), End> {
        while !self.app.store.has_room() {
            tokio::time::sleep(ROOM_POLL).await;
        }
        self.look_at_settings();
        buffers::provide(&mut self.output);
        let (mut start, mut look_ahead) = (0, LookAhead::default());
        let mut started = Instant::now();
        self.note_input(started);
        loop {
            let rest = self.input.get(start..).unwrap_or_default();
            look_ahead.reach(&self.app, start, rest);
            let parsed = match LISTS.with_borrow_mut(|lists| self.parser.parse_known(rest, lists)) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => break,
                Err(error) => {
                    self.flush().await?;
                    return Err(End::Told(Error::refused(error.to_string())));
                }
            };
            let request = self.parser.arguments(rest);
            if parsed.arguments_count > 0 {
                if self.is_operator && !is_for_operator(request) {
                    self.flush().await?;
                    return Err(End::Told(Error::refused(CLIENTS_MAX_REACHED)));
                }
                let asked = self.last_asked.resolve(request);
                let session = self.session.as_ref();
                if let Some(until) = session.and_then(|it| paused_until(&self.app, it, &asked)) {
                    self.flush().await?;
                    self.app.pause.over(until).await;
                    started = Instant::now();
                    continue;
                }
                if self.session.as_ref().is_some_and(|session| is_slow(session, &asked, request)) {
                    let bytes = rest.get(..parsed.consumed).unwrap_or_default().to_vec();
                    // Some of these see only what is durable: the writes before them shall be.
                    self.flush().await?;
                    self.answer_slowly(bytes).await?;
                    started = Instant::now();
                } else if let Some(session) = &mut self.session {
                    let output = &mut self.output;
                    started = dispatch(&self.app, session, asked, request, started, output);
                }
            }
            start += parsed.consumed;
            if !self.limits.authenticated {
                self.look_at_settings();
            }
            if self.session.as_ref().is_none_or(|session| session.is_closing) {
                self.flush().await?;
                return Err(End::Closed);
            }
            if self.output.len() >= FLUSH_BYTES {
                self.flush().await?;
                started = Instant::now();
            }
        }
        if start > 0 {
            self.step = self.step.wrapping_add(1);
            self.drop_input(start);
        }
        self.note_input(started);
        self.flush().await?;
        buffers::give(std::mem::take(&mut self.output));
        Ok(())
    }

    fn look_at_settings(&mut self) {
        let version = self.app.settings.version();
        let is_authenticated = self.session.as_ref().is_some_and(|it| it.is_authenticated);
        if self.settings_version != version || self.limits.authenticated != is_authenticated {
            self.settings_version = version;
            self.limits = self.app.settings.request_limits(is_authenticated);
            self.parser.set_limits(self.limits);
            self.login_bytes = 0;
        }
    }

    /// Drops what was answered, and the memory of a large request before a small rest.
    fn drop_input(&mut self, bytes: usize) {
        self.input.drain(..bytes);
        if self.input.capacity() > FLUSH_BYTES && self.input.len() < ROOM_BYTES {
            self.input.shrink_to(ROOM_BYTES);
        }
    }

    /// What `CLIENT LIST` tells of it.
    fn note_input(&self, now: Instant) {
        let Some(session) = &self.session else { return };
        let since_start = now - self.app.identity.started;
        session.info.active_ms.store(since_start.as_millis() as u64, Ordering::Relaxed);
        session.info.input_bytes.store(self.input.len(), Ordering::Relaxed);
        session.info.input_capacity.store(self.input.capacity(), Ordering::Relaxed);
    }

    /// Runs one request beside the threads that serve connections.
    async fn answer_slowly(&mut self, bytes: Vec<u8>) -> Result<(), End> {
        let Some(mut session) = self.session.take() else { return Err(End::Closed) };
        let app = Arc::clone(&self.app);
        let mut output = std::mem::take(&mut self.output);
        let limits = self.limits;
        let work = move || {
            let mut parser = RequestParser::new(limits);
            if let Ok(Some(_)) = parser.parse(&bytes) {
                let request: Arguments<'_> = parser.arguments(&bytes);
                let asked = resolve(request);
                dispatch(&app, &mut session, asked, request, Instant::now(), &mut output);
            }
            (session, output)
        };
        // A command that panicked is a bug of ours; its connection ends with it.
        let (session, output) = tokio::task::spawn_blocking(work).await.map_err(|_| End::Closed)?;
        (self.session, self.output) = (Some(session), output);
        Ok(())
    }

    /// Sends the replies, once what they tell is durable.
    async fn flush(&mut self) -> Result<(), End> {
        if let Some(session) = &mut self.session {
            session.tell(&self.app.stats);
            if let Some(lsn) = session.wait_for.take() {
                buffers::spare(&mut self.input);
                buffers::spare(&mut self.output);
                if let Err(error) = self.waiting.acknowledged(&self.app.store, lsn).await {
                    self.output.clear();
                    return Err(End::Told(error));
                }
            }
            session.info.output_bytes.store(self.output.len(), Ordering::Relaxed);
            session.info.output_capacity.store(self.output.capacity(), Ordering::Relaxed);
        }
        if !self.output.is_empty() {
            self.send().await?;
            self.app.stats.output_bytes_total.add(self.output.len() as u64);
            self.output.clear();
            if let Some(session) = &self.session {
                session.info.output_bytes.store(0, Ordering::Relaxed);
            }
            if self.output.capacity() > FLUSH_BYTES {
                self.output = Vec::new();
            }
        }
        Ok(())
    }

    /// Writes all of the output. If the client does not take it at once, the core counts seconds.
    async fn send(&mut self) -> io::Result<()> {
        let (mut sent, mut has_waited) = (0, false);
        while let Some(rest) = self.output.get(sent..).filter(|rest| !rest.is_empty()) {
            let (stream, pulse, sent_bytes) = (&mut self.stream, &self.pulse, self.sent_bytes);
            let count = poll_fn(|context| {
                let polled = Pin::new(&mut *stream).poll_write(context, rest);
                if polled.is_pending() {
                    pulse.waits_to_send(rest.len(), sent_bytes);
                    has_waited = true;
                }
                polled
            })
            .await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            sent += count;
            self.sent_bytes = self.sent_bytes.wrapping_add(count as u64);
        }
        if has_waited {
            self.pulse.works();
        }
        Ok(())
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        // It may have been ended between a write and the wait for it.
        self.app.store.write_soon();
    }
}

/// What a client that monitors is to be sent; never anything for another one.
async fn lines_of(feed: Option<&MonitorFeed>) -> Option<Vec<u8>> {
    match feed {
        Some(feed) => feed.lines().await,
        None => std::future::pending().await,
    }
}

/// Redis' text for a client too many.
pub(super) const CLIENTS_MAX_REACHED: &str = "max number of clients reached";
