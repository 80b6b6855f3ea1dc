//! One connection: read, run every whole request, wait until it may be told, write once.

use crate::{
    command::{App, Session, dispatch, is_slow},
    error::{Error, Result},
};
use nowthen_protocol::{Arguments, Reply, RequestParser};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

/// So much is read at once; a pipeline longer than this is answered in parts.
const READ_BYTES: usize = 64 * 1024;
/// Replies leave when there are so many bytes of them, even if there is more to answer.
const FLUSH_BYTES: usize = 1024 * 1024;
/// Buffers larger than this are given back when they are empty.
const KEPT_BYTES: usize = 16 * 1024;
/// How often a connection looks whether the log has room again.
const ROOM_POLL: Duration = Duration::from_millis(1);

/// Why a connection ends.
enum End {
    /// The client is gone, or asked for it, or the server stops.
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

/// A connection and what it holds.
pub(super) struct Connection {
    app: Arc<App>,
    stream: TcpStream,
    /// Not there only while a slow command has it.
    session: Option<Session>,
    parser: RequestParser,
    /// The settings that its parser has.
    settings_version: u64,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Connection {
    pub(super) fn new(app: Arc<App>, stream: TcpStream, session: Session) -> Self {
        let settings_version = app.settings.version();
        let parser = RequestParser::new(app.settings.request_limits());
        Self {
            app,
            stream,
            session: Some(session),
            parser,
            settings_version,
            input: Vec::new(),
            output: Vec::new(),
        }
    }

    /// Serves until the client goes, or the server stops.
    pub(super) async fn serve(mut self) {
        let mut shutdown = self.app.shutdown.subscribe();
        loop {
            let end = match self.receive(&mut shutdown).await {
                Ok(()) => self.answer().await,
                Err(end) => Err(end),
            };
            match end {
                Ok(()) => {}
                Err(End::Told(error)) => {
                    let version = self.version();
                    Reply::new(&mut self.output, version).error(error.code(), &error.to_string());
                    let _ = self.stream.write_all(&self.output).await;
                    let _ = self.stream.shutdown().await;
                    return;
                }
                Err(End::Closed | End::Socket) => return,
            }
        }
    }

    fn version(&self) -> nowthen_protocol::ProtocolVersion {
        self.session.as_ref().map(|session| session.version).unwrap_or_default()
    }

    /// Reads what there is.
    async fn receive(
        &mut self,
        shutdown: &mut watch::Receiver<crate::command::Shutdown>,
    ) -> Result<(), End> {
        if self.input.is_empty() && self.input.capacity() > KEPT_BYTES {
            self.input = Vec::new();
        }
        self.input.reserve(KEPT_BYTES.min(READ_BYTES));
        let count = tokio::select! {
            count = self.stream.read_buf(&mut self.input) => count?,
            _ = shutdown.changed() => return Err(End::Closed),
        };
        if count == 0 {
            return Err(End::Closed);
        }
        self.app.stats.input_bytes_total.add(count as u64);
        Ok(())
    }

    /// Answers every whole request that was read.
    async fn answer(&mut self) -> Result<(), End> {
        while !self.app.store.has_room() {
            tokio::time::sleep(ROOM_POLL).await;
        }
        let version = self.app.settings.version();
        if self.settings_version != version {
            self.settings_version = version;
            self.parser.set_limits(self.app.settings.request_limits());
        }
        let mut start = 0;
        let mut started = Instant::now();
        loop {
            let rest = self.input.get(start..).unwrap_or_default();
            let parsed = match self.parser.parse(rest) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => break,
                Err(error) => {
                    self.flush().await?;
                    return Err(End::Told(Error::refused(error.to_string())));
                }
            };
            let request = self.parser.arguments(rest);
            if parsed.arguments_count > 0 {
                if self.session.as_ref().is_some_and(|session| is_slow(session, request)) {
                    let bytes = rest.get(..parsed.consumed).unwrap_or_default().to_vec();
                    // Some of these see only what is durable: the writes before them shall be.
                    self.flush().await?;
                    self.answer_slowly(bytes).await?;
                    started = Instant::now();
                } else if let Some(session) = &mut self.session {
                    started = dispatch(&self.app, session, request, started, &mut self.output);
                }
            }
            start += parsed.consumed;
            if self.session.as_ref().is_none_or(|session| session.is_closing) {
                self.flush().await?;
                return Err(End::Closed);
            }
            if self.output.len() >= FLUSH_BYTES {
                self.flush().await?;
            }
        }
        self.input.drain(..start);
        self.flush().await
    }

    /// Runs one request beside the threads that serve connections.
    async fn answer_slowly(&mut self, bytes: Vec<u8>) -> Result<(), End> {
        let Some(mut session) = self.session.take() else { return Err(End::Closed) };
        let app = Arc::clone(&self.app);
        let mut output = std::mem::take(&mut self.output);
        let work = move || {
            let mut parser = RequestParser::new(app.settings.request_limits());
            if let Ok(Some(_)) = parser.parse(&bytes) {
                let request: Arguments<'_> = parser.arguments(&bytes);
                dispatch(&app, &mut session, request, Instant::now(), &mut output);
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
            if let Some(lsn) = session.wait_for.take()
                && let Err(error) = self.app.store.acknowledged(lsn).await
            {
                self.output.clear();
                return Err(End::Told(error));
            }
            if session.info.is_killed.load(Ordering::Relaxed) {
                return Err(End::Closed);
            }
        }
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.app.stats.output_bytes_total.add(self.output.len() as u64);
            self.output.clear();
            if self.output.capacity() > FLUSH_BYTES {
                self.output = Vec::new();
            }
        }
        Ok(())
    }
}
