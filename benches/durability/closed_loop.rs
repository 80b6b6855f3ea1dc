//! Writes as fast as they are acknowledged: each connection has one batch on its way.
//!
//! Invariants
//! - Requests are written beforehand, each with values of its own; only the digits of keys change.
//! - Every reply must be the one expected, `:0`: all that is written is there already.

use crate::{
    Result,
    connection::Connections,
    histogram::Histogram,
    requests::{Request, mix},
    server::Server,
};
use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

pub(super) const CONNECTIONS: usize = 50;
const REPLY: &[u8] = b":0\r\n";
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) prefix: &'static str,
    pub(super) features: usize,
    pub(super) pipeline: usize,
}

/// What came of it.
pub(super) struct Measured {
    pub(super) requests_per_second: f64,
    pub(super) cpu_us_per_request: f64,
    /// Of batches.
    pub(super) latency: Histogram,
}

struct Load {
    connections: Connections,
    batches: Vec<Batch>,
    entities: u64,
    random: u64,
    latency: Histogram,
}

struct Batch {
    requests: Vec<Request>,
    bytes: Vec<u8>,
    left: usize,
    sent: Instant,
}

/// Writes for `timed`, after a warm-up of a fifth of it.
pub(super) fn measure(
    server: &Server,
    case: Case,
    entities: usize,
    timed: Duration,
    seed: u64,
) -> Result<Measured> {
    let batch = |connection: usize| Batch {
        requests: (0..case.pipeline)
            .map(|place| connection * case.pipeline + place)
            .map(|values_of| Request::hset(case.prefix, values_of, case.features))
            .collect(),
        bytes: Vec::new(),
        left: 0,
        sent: Instant::now(),
    };
    let mut load = Load {
        connections: Connections::open(server.port, CONNECTIONS)?,
        batches: (0..CONNECTIONS).map(batch).collect(),
        entities: entities as u64,
        random: mix(seed),
        latency: Histogram::default(),
    };
    load.run_for(timed / 5)?;
    load.latency = Histogram::default();
    let cpu = server.cpu()?;
    let elapsed = load.run_for(timed)?;
    let cpu = server.cpu()?.saturating_sub(cpu);
    let requests = (load.latency.count() * case.pipeline as u64) as f64;
    Ok(Measured {
        requests_per_second: requests / elapsed.as_secs_f64(),
        cpu_us_per_request: cpu.as_secs_f64() * 1e6 / requests,
        latency: load.latency,
    })
}

impl Load {
    /// Keeps every connection busy for that long, then waits for what is on its way.
    fn run_for(&mut self, time: Duration) -> Result<Duration> {
        let start = Instant::now();
        for index in 0..CONNECTIONS {
            self.send(index)?;
        }
        let mut busy = CONNECTIONS;
        while busy > 0 {
            let ready = self.connections.ready(SILENCE_MAX)?;
            if ready.is_empty() {
                return Err("the server fell silent".into());
            }
            for index in ready {
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
        let Some(batch) = self.batches.get_mut(index) else { return Ok(()) };
        batch.bytes.clear();
        for request in &mut batch.requests {
            self.random = mix(self.random);
            request.set_entity((self.random % self.entities) as usize);
            batch.bytes.extend_from_slice(&request.bytes);
        }
        batch.left = batch.requests.len() * REPLY.len();
        batch.sent = Instant::now();
        let stream = self.connections.streams.get_mut(index).ok_or("no such connection")?;
        Ok(stream.write_all(&batch.bytes)?)
    }

    /// Takes what has arrived. Whether the batch is done.
    fn receive(&mut self, index: usize) -> Result<bool> {
        let mut piece = [0; 4096];
        let stream = self.connections.streams.get_mut(index).ok_or("no such connection")?;
        let count = stream.read(&mut piece)?;
        let Some(batch) = self.batches.get_mut(index) else { return Ok(false) };
        let received = piece.get(..count).filter(|bytes| !bytes.is_empty());
        let received = received.ok_or("the server closed a connection")?;
        let done = batch.requests.len() * REPLY.len() - batch.left;
        let expected = REPLY.iter().cycle().skip(done % REPLY.len());
        if count > batch.left || !received.iter().eq(expected.take(count)) {
            let text = String::from_utf8_lossy(received);
            return Err(format!("another reply than was expected: {text}").into());
        }
        batch.left -= count;
        if batch.left == 0 {
            self.latency.record(batch.sent.elapsed());
        }
        Ok(batch.left == 0)
    }
}
