//! One socket: requests out, replies in, at the same time.
//!
//! Invariants
//! - Reads while it writes. A pipeline longer than the buffers of both sides would otherwise have
//!   client and server wait for each other for ever.
//! - `replies_owed` is zero between calls. If it is not, a call failed or was dropped half way,
//!   and the next reply to arrive could be anyone's.

use std::{io, mem};

use bytes::{Buf, BytesMut};
use nowthen_protocol::{ReplyDecoder, Value};
use tokio::{io::Interest, net::TcpStream};

use crate::error::{ClientError, Result};

/// Room made for each read.
const READ_BYTES: usize = 16 << 10;
/// The longest reply, in bytes, for which memory is spent.
const REPLY_BYTES_MAX: usize = 1 << 30;

/// A connection over which requests have replies in order.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    address: String,
    input: BytesMut,
    decoder: ReplyDecoder,
    replies_owed: usize,
}

impl Connection {
    /// Connects to `host` and `port`; `address` is what errors call them.
    pub(crate) async fn open(host: &str, port: u16, address: String) -> Result<Self> {
        let connected = async {
            let stream = TcpStream::connect((host, port)).await?;
            // A request is written whole; waiting for more to send with it only costs time.
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        match connected.await {
            Ok(stream) => Ok(Self {
                stream,
                address,
                input: BytesMut::new(),
                decoder: ReplyDecoder::default(),
                replies_owed: 0,
            }),
            Err(source) => Err(ClientError::Connect { address, source }),
        }
    }

    /// Sends `requests`, which are `count` encoded requests, and gives as many replies.
    pub(crate) async fn exchange(&mut self, requests: &[u8], count: usize) -> Result<Vec<Value>> {
        if self.replies_owed > 0 {
            return Err(ClientError::Abandoned);
        }
        self.replies_owed = count;
        let mut unsent = requests;
        let mut replies = Vec::new();
        loop {
            self.take_replies(&mut replies)?;
            if self.replies_owed == 0 && unsent.is_empty() {
                return Ok(replies);
            }
            self.transfer(&mut unsent)
                .await
                .map_err(|source| ClientError::Io { address: self.address.clone(), source })?;
        }
    }

    /// Moves the replies that have arrived from `input` to `replies`.
    fn take_replies(&mut self, replies: &mut Vec<Value>) -> Result<()> {
        while self.replies_owed > 0 {
            let Some((value, reply_bytes)) = self.decoder.decode(&self.input)? else { break };
            self.input.advance(reply_bytes);
            // A push answers nobody. We subscribe to none, but a server may send one.
            if !matches!(value, Value::Push(_)) {
                self.replies_owed -= 1;
                replies.push(value);
            }
        }
        if self.input.len() > REPLY_BYTES_MAX {
            return Err(ClientError::protocol(format!(
                "the server's reply is longer than {} MiB",
                REPLY_BYTES_MAX >> 20
            )));
        }
        Ok(())
    }

    /// Waits until the socket takes bytes or has some, and moves what goes at once.
    async fn transfer(&mut self, unsent: &mut &[u8]) -> io::Result<()> {
        let interest = match unsent {
            [] => Interest::READABLE,
            _ => Interest::READABLE | Interest::WRITABLE,
        };
        let ready = self.stream.ready(interest).await?;
        if ready.is_writable() && !unsent.is_empty() {
            let sent = unless_it_would_block(self.stream.try_write(unsent))?.unwrap_or(0);
            *unsent = mem::take(unsent).get(sent..).unwrap_or_default();
        }
        if ready.is_readable() {
            self.input.reserve(READ_BYTES);
            if let Some(0) = unless_it_would_block(self.stream.try_read_buf(&mut self.input))? {
                let why = "the server closed the connection";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
            }
        }
        Ok(())
    }
}

/// `None` where the socket was not ready after all, which the caller waits for again.
fn unless_it_would_block(moved: io::Result<usize>) -> io::Result<Option<usize>> {
    match moved {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
