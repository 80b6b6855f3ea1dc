//! A connection in the timed part: requests leave and replies are met as the socket allows.
//!
//! Invariants
//! - Nothing here waits: a server that stands still holds up no other connection.
//! - Replies are met, not decoded: where each ends, and whether it is an error.

use nowthen_protocol::FrameFinder;
use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::TcpStream,
};

/// What is kept of an error's text.
const ERROR_BYTES_MAX: usize = 200;

/// A socket with what is on its way.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) on_its_way: VecDeque<Request>,
    /// Whether the socket did not take all there was to send.
    pub(super) has_rest: bool,
    out: Vec<u8>,
    out_written: usize,
    received: Vec<u8>,
    finder: FrameFinder,
}

/// A request whose replies are not all there.
#[derive(Debug)]
pub(super) struct Request {
    /// When its latency begins.
    pub(super) since_ns: u64,
    pub(super) is_write: bool,
    pub(super) replies_left: u32,
    /// The first error among its replies.
    pub(super) error: Option<String>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            on_its_way: VecDeque::new(),
            has_rest: false,
            out: Vec::new(),
            out_written: 0,
            received: Vec::new(),
            finder: FrameFinder::default(),
        })
    }

    /// Where the next request's bytes go; [`Self::flush`] sends them.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Sends what the socket takes. Whether that was all.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while let Some(rest) = self.out.get(self.out_written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(bytes) => self.out_written += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.has_rest = true;
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.out_written = 0;
        self.has_rest = false;
        Ok(true)
    }

    /// Takes what has arrived into `received`, by way of `piece`: how many bytes; none if the
    /// server closed the connection.
    pub(super) fn read(&mut self, piece: &mut [u8]) -> io::Result<Option<usize>> {
        let bytes = match self.stream.read(piece) {
            Ok(0) => return Ok(None),
            Ok(bytes) => bytes,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => 0,
                _ => return Err(error),
            },
        };
        self.received.extend_from_slice(piece.get(..bytes).unwrap_or_default());
        Ok(Some(bytes))
    }

    /// Gives every request that now has its last reply. An error if the bytes are no replies, or
    /// replies that nobody asked for.
    pub(super) fn take_replies(&mut self, mut done: impl FnMut(Request)) -> Result<(), String> {
        let mut used = 0;
        loop {
            let rest = self.received.get(used..).unwrap_or_default();
            let found = self.finder.find(rest).map_err(|error| error.to_string())?;
            let Some(reply) = found.and_then(|bytes| rest.get(..bytes)) else { break };
            used += reply.len();
            let unasked = || "a reply that nobody asked for".to_owned();
            let request = self.on_its_way.front_mut().ok_or_else(unasked)?;
            if let Some(text) = reply.strip_prefix(b"-") {
                request.error.get_or_insert_with(|| error_text(text));
            }
            request.replies_left = request.replies_left.saturating_sub(1);
            if request.replies_left == 0
                && let Some(request) = self.on_its_way.pop_front()
            {
                done(request);
            }
        }
        self.received.drain(..used);
        Ok(())
    }
}

fn error_text(line: &[u8]) -> String {
    let line = line.get(..ERROR_BYTES_MAX).unwrap_or(line);
    String::from_utf8_lossy(line).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn replies_belong_to_requests_in_order_however_they_are_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut server = listener.accept().unwrap().0;
        let mut connection = Connection::new(stream).unwrap();
        for (since_ns, replies_left) in [(1, 2), (2, 1), (3, 1)] {
            let request = Request { since_ns, is_write: false, replies_left, error: None };
            connection.on_its_way.push_back(request);
        }
        let bytes = b"*2\r\n$1\r\n-\r\n$-1\r\n-ERR first\r\n:1\r\n+OK\r\n";
        let (mut done, mut piece) = (Vec::new(), [0; 16]);
        for byte in bytes {
            server.write_all(&[*byte]).unwrap();
            while connection.read(&mut piece).unwrap() != Some(1) {}
            connection.take_replies(|request| done.push(request)).unwrap();
        }
        let told: Vec<_> = done.iter().map(|it| (it.since_ns, it.error.as_deref())).collect();
        assert_eq!(told, [(1, Some("ERR first")), (2, None), (3, None)]);

        server.write_all(b"+OK\r\n").unwrap();
        while connection.read(&mut piece).unwrap() == Some(0) {}
        assert!(connection.take_replies(|_| ()).is_err(), "a reply too many");
        drop(server);
        while connection.read(&mut piece).unwrap().is_some() {}
    }
}
