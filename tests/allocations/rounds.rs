//! A client without a socket that says the same again and again, and counts meanwhile.

use crate::counting::allocations;
use nowthen::{
    command::{App, ClientInfo, Session},
    server::serve_stream,
};
use nowthen_protocol::encode_request;
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Runtime,
};

/// Until then plans are made, buffers grow, and what comes often gets its short form.
const WARM_ROUNDS: usize = 10;
/// Over these is counted.
const COUNTED_ROUNDS: usize = 20;
/// No reply of ours is longer.
const REPLY_BYTES_MAX: usize = 4 << 20;

/// One who asks a server.
pub(crate) struct Client {
    app: Arc<App>,
    runtime: Runtime,
}

/// What was counted, and the last reply.
pub(crate) struct Told {
    pub(crate) allocations: u64,
    pub(crate) reply: Vec<u8>,
}

/// The other end of a connection: what it sends, and what it was sent.
struct Rounds<'r> {
    /// Said first, once.
    greeting: &'r [u8],
    request: &'r [u8],
    round: usize,
    rounds: usize,
    reply: &'r mut Vec<u8>,
    /// Allocations of this thread when the counted rounds began.
    begun: u64,
    counted: &'r mut u64,
}

impl Client {
    pub(crate) fn new(app: Arc<App>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { app, runtime }
    }

    /// The reply to one line, said once.
    pub(crate) fn tell(&self, line: &str) -> String {
        let told = self.run(&[], &encoded(line), 1);
        String::from_utf8_lossy(&told.reply).into_owned()
    }

    /// Says `greeting`, and then round by round a pipeline of so many times `line`.
    pub(crate) fn rounds(&self, greeting: &str, line: &str, pipeline: usize) -> Told {
        let request = encoded(line).repeat(pipeline);
        self.run(&encoded(greeting), &request, WARM_ROUNDS + COUNTED_ROUNDS)
    }

    fn run(&self, greeting: &[u8], request: &[u8], rounds: usize) -> Told {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
        let session = Session::new(Arc::new(ClientInfo::new(1, [nobody, nobody], 0)));
        let mut told = Told { allocations: 0, reply: Vec::with_capacity(REPLY_BYTES_MAX) };
        let (reply, counted) = (&mut told.reply, &mut told.allocations);
        let stream = Rounds { greeting, request, round: 0, rounds, reply, begun: 0, counted };
        self.runtime.block_on(serve_stream(Arc::clone(&self.app), stream, session));
        told
    }
}

/// The words of a line as a request.
fn encoded(line: &str) -> Vec<u8> {
    let words: Vec<&str> = line.split(' ').collect();
    let mut bytes = Vec::new();
    encode_request(&words, &mut bytes);
    bytes
}

impl AsyncRead for Rounds<'_> {
    /// A whole round, and in the end nothing.
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let greeting = std::mem::take(&mut this.greeting);
        if !greeting.is_empty() {
            room.put_slice(greeting);
            return Poll::Ready(Ok(()));
        }
        if this.round == WARM_ROUNDS {
            this.begun = allocations();
        }
        if this.round == this.rounds {
            *this.counted = allocations() - this.begun;
            return Poll::Ready(Ok(()));
        }
        this.round += 1;
        this.reply.clear();
        room.put_slice(this.request);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rounds<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let reply = &mut self.get_mut().reply;
        assert!(reply.len() + bytes.len() <= reply.capacity(), "to keep a reply allocates nothing");
        reply.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
