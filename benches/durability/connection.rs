//! Connections of a load generator, and which of them have something to read.

use crate::Result;
use rustix::event::{Timespec, epoll};
use std::{net::TcpStream, os::fd::OwnedFd, time::Duration};

/// Sockets that block: one is read only when epoll says that bytes are there.
pub(super) struct Connections {
    pub(super) streams: Vec<TcpStream>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Connections {
    pub(super) fn open(port: u16, count: usize) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut streams = Vec::new();
        for index in 0..count {
            let stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_nodelay(true)?;
            let event = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, &stream, event, epoll::EventFlags::IN)?;
            streams.push(stream);
        }
        Ok(Self { streams, epoll, events: Vec::with_capacity(count) })
    }

    /// The connections that can be read, after at most `patience`.
    pub(super) fn ready(&mut self, patience: Duration) -> Result<Vec<usize>> {
        let patience = Timespec {
            tv_sec: patience.as_secs() as i64,
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        self.events.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.events);
        epoll::wait(&self.epoll, spare, Some(&patience))?;
        Ok(self.events.iter().map(|event| event.data.u64() as usize).collect())
    }
}
