//! The timed loop: one thread, 50 sockets, each with one batch on its way.
//!
//! Invariants
//! - A request is written beforehand; per batch only the digits of its keys change.
//! - A batch is done when exactly the expected bytes have arrived; one byte more is an error.
//! - Sockets block: one is read only when epoll says that bytes are there, and a batch is smaller
//!   than what the kernel takes at once.

use crate::{
    CONNECTIONS, Case, Result,
    data::{Data, Replies, mix, write_id},
    histogram::Histogram,
    server::Server,
};
use rustix::event::{Timespec, epoll};
use std::{
    io::{Read, Write},
    net::TcpStream,
    ops::Range,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

#[derive(Clone, Copy)]
pub(super) struct Timing {
    pub(super) warm_up: Duration,
    pub(super) timed: Duration,
}

pub(super) struct Measured {
    pub(super) requests_per_second: f64,
    pub(super) server_cpu_us_per_request: f64,
    pub(super) latency: Histogram,
}

/// A server that says nothing for so long has lost a reply.
const SILENCE_MAX: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// One closed loop on `server` after a warm-up.
pub(super) fn measure(
    server: &Server,
    data: &Data,
    case: Case,
    replies: &Replies,
    timing: Timing,
    seed: u64,
) -> Result<Measured> {
    let mut load = Load::connect(server.port, data, case, replies, seed)?;
    load.run_for(timing.warm_up)?;
    load.latency = Histogram::default();

    let cpu = server.cpu()?;
    let elapsed = load.run_for(timing.timed)?;
    let cpu = server.cpu()?.saturating_sub(cpu);

    let requests = (load.latency.count() * case.pipeline as u64) as f64;
    Ok(Measured {
        requests_per_second: requests / elapsed.as_secs_f64(),
        server_cpu_us_per_request: cpu.as_secs_f64() * 1e6 / requests,
        latency: load.latency,
    })
}

struct Load<'a> {
    connections: Vec<Connection>,
    epoll: OwnedFd,
    request_bytes: usize,
    digits: Range<usize>,
    replies: &'a Replies,
    entities: u64,
    random: u64,
    piece: Vec<u8>,
    latency: Histogram,
}

struct Connection {
    stream: TcpStream,
    batch: Vec<u8>,
    reply_bytes_left: usize,
    sent: Instant,
}

impl<'a> Load<'a> {
    fn connect(
        port: u16,
        data: &Data,
        case: Case,
        replies: &'a Replies,
        seed: u64,
    ) -> Result<Self> {
        let (request, digits) = Data::read_request(case.width);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::new();
        for index in 0..CONNECTIONS {
            let stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_nodelay(true)?;
            let event = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, &stream, event, epoll::EventFlags::IN)?;
            let batch = request.repeat(case.pipeline);
            connections.push(Connection {
                stream,
                batch,
                reply_bytes_left: 0,
                sent: Instant::now(),
            });
        }
        Ok(Self {
            connections,
            epoll,
            request_bytes: request.len(),
            digits,
            replies,
            entities: data.entities as u64,
            random: mix(seed),
            piece: vec![0; 1 << 20],
            latency: Histogram::default(),
        })
    }

    /// Keeps every connection busy for that long, then waits for what is on its way, so that the
    /// next run starts from rest. Gives how long all of it took.
    fn run_for(&mut self, time: Duration) -> Result<Duration> {
        let start = Instant::now();
        for index in 0..self.connections.len() {
            self.send(index)?;
        }
        let mut busy = self.connections.len();
        let mut events = Vec::with_capacity(CONNECTIONS);
        while busy > 0 {
            epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&SILENCE_MAX),
            )?;
            if events.is_empty() {
                return Err("the server fell silent in the midst of a reply".into());
            }
            for event in events.drain(..) {
                let index = event.data.u64() as usize;
                if !self.receive(index)? {
                    continue;
                }
                if start.elapsed() < time {
                    self.send(index)?;
                } else {
                    busy -= 1;
                }
            }
        }
        Ok(start.elapsed())
    }

    fn send(&mut self, index: usize) -> Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        for request in connection.batch.chunks_mut(self.request_bytes) {
            self.random = mix(self.random);
            let entity = (self.random % self.entities) as usize;
            write_id(request, &self.digits, entity);
            connection.reply_bytes_left += self.replies.bytes.get(entity).copied().unwrap_or(0);
        }
        connection.sent = Instant::now();
        Ok(connection.stream.write_all(&connection.batch)?)
    }

    /// Takes what has arrived. Whether the batch is done.
    fn receive(&mut self, index: usize) -> Result<bool> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(false) };
        let bytes = connection.stream.read(&mut self.piece)?;
        if bytes == 0 {
            return Err("the server closed a connection".into());
        }
        let left = connection.reply_bytes_left.checked_sub(bytes);
        connection.reply_bytes_left = left.ok_or("a reply is longer than it was")?;
        if connection.reply_bytes_left == 0 {
            self.latency.record(connection.sent.elapsed());
        }
        Ok(connection.reply_bytes_left == 0)
    }
}
