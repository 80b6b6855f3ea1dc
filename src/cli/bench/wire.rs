//! A connection on which everything is asked in turn: login, filling, comparing, INFO. Untimed.

use crate::error::{Error, Result};
use nowthen_client::Address;
use nowthen_protocol::{ReplyDecoder, Value, encode_request};
use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

const CONNECT_MAX: Duration = Duration::from_secs(5);
/// A server that says nothing for so long has lost a reply.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 1 << 16;

/// A connection that is logged in.
pub(super) struct Wire {
    stream: TcpStream,
    address: String,
    decoder: ReplyDecoder,
    received: Vec<u8>,
}

impl Wire {
    pub(super) fn open(address: &Address) -> Result<Self> {
        let text = address.to_string();
        let mut wire = Self {
            stream: connect(address, &text)?,
            address: text,
            decoder: ReplyDecoder::default(),
            received: Vec::new(),
        };
        if let Some(login) = &address.login {
            wire.command(&["AUTH", &login.user, &login.password])?;
        }
        if address.database != 0 {
            wire.command(&["SELECT", &address.database.to_string()])?;
        }
        Ok(wire)
    }

    /// One command; what the server refuses is an error.
    pub(super) fn command(&mut self, words: &[&str]) -> Result<Value> {
        let mut request = Vec::new();
        encode_request(words, &mut request);
        match self.exchange(&request, 1)?.pop() {
            Some(Value::Error(text)) => {
                let name = words.first().copied().unwrap_or_default();
                Err(Error::refused(format!("{name} at {}: {text}", self.address)))
            }
            Some(reply) => Ok(reply),
            None => Err(Error::refused("no reply")),
        }
    }

    /// Sends requests, and waits for as many replies. What is sent at once must fit the buffers of
    /// both sides.
    pub(super) fn exchange(&mut self, requests: &[u8], replies: usize) -> Result<Vec<Value>> {
        let failed = |doing| Error::io(doing, &self.address);
        self.stream.write_all(requests).map_err(failed("writing to"))?;
        let (mut found, mut piece) = (Vec::new(), vec![0; READ_BYTES]);
        loop {
            let mut used = 0;
            while found.len() < replies {
                let rest = self.received.get(used..).unwrap_or_default();
                let decoded = self.decoder.decode(rest);
                let Some((reply, bytes)) = decoded.map_err(|it| Error::refused(it.to_string()))?
                else {
                    break;
                };
                used += bytes;
                found.push(reply);
            }
            self.received.drain(..used);
            if found.len() == replies {
                return Ok(found);
            }
            let failed = Error::io("reading from", &self.address);
            let bytes = self.stream.read(&mut piece).map_err(failed)?;
            if bytes == 0 {
                return Err(closed(&self.address));
            }
            self.received.extend_from_slice(piece.get(..bytes).unwrap_or_default());
        }
    }

    /// The socket, for the timed part; nothing is on its way on it.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Whether the server is on this machine.
    pub(super) fn is_local(&self) -> bool {
        let (own, other) = (self.stream.local_addr(), self.stream.peer_addr());
        own.is_ok_and(|own| other.is_ok_and(|other| own.ip() == other.ip()))
    }
}

pub(super) fn closed(address: &str) -> Error {
    Error::refused(format!("{address} closed a connection before it had replied to all requests"))
}

fn connect(address: &Address, text: &str) -> Result<TcpStream> {
    let failed = || Error::io("connecting to", text);
    let places = (address.host.as_str(), address.port).to_socket_addrs().map_err(failed())?;
    let mut last = None;
    for place in places {
        let connected = TcpStream::connect_timeout(&place, CONNECT_MAX).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(SILENCE_MAX))?;
            stream.set_write_timeout(Some(SILENCE_MAX))?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let none = || std::io::Error::other("it has no address");
    Err(failed()(last.unwrap_or_else(none)))
}
