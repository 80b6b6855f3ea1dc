//! Reads and writes at a stated rate, whatever the server does.
//!
//! Invariants
//! - A request is sent when it is due, even if the one before it has no reply yet, and its latency
//!   counts from then: a server that stands still for a second has a thousand late requests.
//! - All writes write what is there already, so every read can be held against the data.
//! - How late this program itself was is told: what it adds to every latency.

use crate::{
    Result,
    connection::Connections,
    histogram::Histogram,
    requests::{FEATURES, Request, mix, verify_reply},
};
use nowthen_protocol::{ReplyDecoder, Value};
use std::{
    collections::VecDeque,
    io::{Read, Write},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Half of them read.
const CONNECTIONS: usize = 50;
pub(super) const FEATURES_READ: usize = 10;
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Latencies of both kinds, and how late the requests left.
#[derive(Clone, Default)]
pub(super) struct Measured {
    pub(super) reads: Histogram,
    pub(super) writes: Histogram,
    pub(super) sent_late: Histogram,
}

struct Paced {
    connections: Connections,
    lines: Vec<Line>,
    read: Request,
    measured: Measured,
    waiting: usize,
}

/// What is on its way on one connection.
#[derive(Default)]
struct Line {
    sent: VecDeque<(Instant, usize)>,
    received: Vec<u8>,
    decoder: ReplyDecoder,
}

/// Sends `rate` reads and as many writes per second until `stop` says so.
pub(super) fn run(
    (port, prefix): (u16, &str),
    entities: usize,
    rate: u64,
    stop: &AtomicBool,
    seed: u64,
) -> Result<Measured> {
    let mut paced = Paced {
        connections: Connections::open(port, CONNECTIONS)?,
        lines: (0..CONNECTIONS).map(|_| Line::default()).collect(),
        read: Request::hmget(prefix, FEATURES_READ),
        measured: Measured::default(),
        waiting: 0,
    };
    let between = Duration::from_nanos(500_000_000 / rate.max(1));
    let start = Instant::now();
    let (mut count, mut random) = (0u32, mix(seed));
    let mut heard = start;
    while !stop.load(Ordering::Relaxed) || paced.waiting > 0 {
        let due = start + between * count;
        let now = Instant::now();
        if now >= due && !stop.load(Ordering::Relaxed) {
            random = mix(random);
            let entity = (random % entities as u64) as usize;
            paced.send(prefix, count as usize, entity, due)?;
            paced.measured.sent_late.record(now - due);
            count += 1;
            continue;
        }
        let ready = paced.connections.ready(due.saturating_duration_since(now))?;
        if !ready.is_empty() {
            heard = Instant::now();
        } else if paced.waiting > 0 && heard.elapsed() > SILENCE_MAX {
            return Err("the server fell silent".into());
        }
        for index in ready {
            paced.receive(index)?;
        }
    }
    Ok(paced.measured)
}

impl Paced {
    /// Even requests read, on even connections.
    fn send(&mut self, prefix: &str, count: usize, entity: usize, due: Instant) -> Result<()> {
        let index = count % CONNECTIONS;
        let stream = self.connections.streams.get_mut(index).ok_or("no such connection")?;
        if is_reading(index) {
            self.read.set_entity(entity);
            stream.write_all(&self.read.bytes)?;
        } else {
            stream.write_all(&Request::hset(prefix, entity, FEATURES).bytes)?;
        }
        self.lines.get_mut(index).into_iter().for_each(|line| line.sent.push_back((due, entity)));
        self.waiting += 1;
        Ok(())
    }

    fn receive(&mut self, index: usize) -> Result<()> {
        let mut piece = [0; 1 << 14];
        let stream = self.connections.streams.get_mut(index).ok_or("no such connection")?;
        let count = stream.read(&mut piece)?;
        let now = Instant::now();
        if count == 0 {
            return Err("the server closed a connection".into());
        }
        let Some(line) = self.lines.get_mut(index) else { return Ok(()) };
        line.received.extend_from_slice(piece.get(..count).unwrap_or_default());
        while let Some((reply, bytes)) = line.decoder.decode(&line.received)? {
            line.received.drain(..bytes);
            let (due, entity) = line.sent.pop_front().ok_or("a reply that nobody asked for")?;
            self.waiting -= 1;
            if is_reading(index) {
                verify_reply(entity, FEATURES_READ, &reply)?;
                self.measured.reads.record(now - due);
            } else if reply == Value::Integer(0) {
                self.measured.writes.record(now - due);
            } else {
                return Err(format!("HSET gave {reply:?}").into());
            }
        }
        Ok(())
    }
}

fn is_reading(index: usize) -> bool {
    index.is_multiple_of(2)
}
