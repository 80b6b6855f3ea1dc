//! The timed part of one thread: its share of the requests, on its connections.
//!
//! ```text
//! schedule --> due --> a connection with room --> on its way --> reply
//!    |                                                             |
//!    +------------------------- latency ---------------------------+
//! ```
//! Invariants
//! - A request is due whatever happened before, and its latency counts from then, also while every
//!   connection is full: a server that stands still is charged for all it kept waiting (no
//!   "coordinated omission").
//! - How late this program itself sent is counted from when it could have: the request was due, and
//!   some connection had room.
//! - With `--rate max` there is no schedule: a connection whose replies are all there sends anew.

use super::{
    connection::{Connection, Request},
    measured::Measured,
    options::Rate,
    schedule::Schedule,
    wire::closed,
    workload::Workload,
};
use crate::error::{Error, Result};
use rustix::{
    event::epoll::{self, EventFlags},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use std::{collections::VecDeque, io, os::fd::OwnedFd, thread, time::Instant};

/// So many are sent before it is looked whether replies have come.
const SENDS_AT_ONCE: usize = 16;
/// With more requests than this still to be sent in the end, neighbours count as one another.
const UNSENT_LOOKED_AT: u64 = 1_000_000;
/// The loop looks at the clock at least so often.
const NAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
const READ_BYTES: usize = 1 << 18;
/// Stands for the timer where else an index of a connection stands.
const TIMER: u64 = u64::MAX;

/// What all threads do together.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) workload: Workload,
    pub(super) rate: Rate,
    pub(super) pipeline: u32,
    /// Requests due before this are warm-up.
    pub(super) timed_from_ns: u64,
    pub(super) end_ns: u64,
    /// Whether threads never sleep.
    pub(super) is_spinning: bool,
    /// How much longer requests that were due have after the end.
    pub(super) patience_ns: u64,
    pub(super) threads: u64,
    /// What errors call the server.
    pub(super) address: String,
}

/// Sends from `start` on every `plan.threads`-th request, beginning with `first`.
pub(super) fn work(
    plan: &Plan,
    connections: Vec<Connection>,
    first: u64,
    start: Instant,
) -> Result<Measured> {
    let worker = Worker::new(plan, connections, first, start)?;
    thread::sleep(start.saturating_duration_since(Instant::now()));
    worker.run()
}

struct Worker<'a> {
    plan: &'a Plan,
    schedule: Option<Schedule>,
    start: Instant,
    connections: Vec<Connection>,
    epoll: OwnedFd,
    timer: OwnedFd,
    timer_is_for: Option<u64>,
    /// A connection stands here as often as it may send a request.
    room: VecDeque<usize>,
    /// When there was room again after there had been none.
    room_since_ns: u64,
    next: u64,
    on_their_way: u64,
    measured: Measured,
    piece: Vec<u8>,
    done: Vec<Request>,
}

impl<'a> Worker<'a> {
    fn new(
        plan: &'a Plan,
        connections: Vec<Connection>,
        first: u64,
        start: Instant,
    ) -> Result<Self> {
        let failed = || Error::io("watching connections to", &plan.address);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|it| failed()(it.into()))?;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        );
        let timer = timer.map_err(|it| failed()(it.into()))?;
        let watched = epoll::EventData::new_u64(TIMER);
        epoll::add(&epoll, &timer, watched, EventFlags::IN).map_err(|it| failed()(it.into()))?;
        for (index, connection) in connections.iter().enumerate() {
            let watched = epoll::EventData::new_u64(index as u64);
            let added = epoll::add(&epoll, &connection.stream, watched, EventFlags::IN);
            added.map_err(|it| failed()(it.into()))?;
        }
        let schedule = match plan.rate {
            Rate::PerSecond(per_second) => Some(Schedule::new(per_second)),
            Rate::Max => None,
        };
        Ok(Self {
            plan,
            schedule,
            start,
            room: (0..plan.pipeline).flat_map(|_| 0..connections.len()).collect(),
            connections,
            epoll,
            timer,
            timer_is_for: None,
            room_since_ns: 0,
            next: first,
            on_their_way: 0,
            measured: Measured::new()?,
            piece: vec![0; READ_BYTES],
            done: Vec::new(),
        })
    }

    fn run(mut self) -> Result<Measured> {
        let mut events = Vec::with_capacity(self.connections.len() + 1);
        if self.schedule.is_none() {
            (0..self.connections.len()).try_for_each(|index| self.send_pipeline(index))?;
        }
        loop {
            self.send_what_is_due()?;
            let now_ns = self.now_ns();
            if self.is_over(now_ns) {
                self.give_up(now_ns);
                return Ok(self.measured);
            }
            self.wait(now_ns, &mut events).map_err(self.failed("waiting for"))?;
            for event in events.drain(..) {
                self.meet(event)?;
            }
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// When the next request is due, if there is one.
    fn due_ns(&self) -> Option<u64> {
        let due_ns = self.schedule?.due_ns(self.next);
        Some(due_ns).filter(|due_ns| *due_ns < self.plan.end_ns)
    }

    fn send_what_is_due(&mut self) -> Result<()> {
        for _ in 0..SENDS_AT_ONCE {
            let now_ns = self.now_ns();
            let Some(due_ns) = self.due_ns().filter(|due_ns| *due_ns <= now_ns) else { break };
            let Some(index) = self.room.pop_front() else { break };
            if due_ns >= self.plan.timed_from_ns {
                let could_ns = due_ns.max(self.room_since_ns);
                self.measured.sent_late.record(now_ns.saturating_sub(could_ns));
            }
            self.write_request(index, due_ns);
            self.flush(index)?;
        }
        Ok(())
    }

    /// Sends as many requests as may be on their way.
    fn send_pipeline(&mut self, index: usize) -> Result<()> {
        let now_ns = self.now_ns();
        (0..self.plan.pipeline).for_each(|_| self.write_request(index, now_ns));
        self.flush(index)
    }

    fn write_request(&mut self, index: usize, since_ns: u64) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let sent = self.plan.workload.write_request(self.next, connection.out());
        connection.on_its_way.push_back(Request {
            since_ns,
            is_write: sent.is_write,
            replies_left: sent.replies,
            error: None,
        });
        self.next += self.plan.threads;
        self.on_their_way += 1;
        self.measured.requests += u64::from(since_ns >= self.plan.timed_from_ns);
    }

    /// Sends what was written; what the socket does not take yet goes when it does.
    fn flush(&mut self, index: usize) -> Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        let had_rest = connection.has_rest;
        let flushed = connection.flush().and_then(|is_all| {
            if had_rest != is_all {
                return Ok(());
            }
            let writes = if is_all { EventFlags::empty() } else { EventFlags::OUT };
            let watched = epoll::EventData::new_u64(index as u64);
            let flags = EventFlags::IN | writes;
            Ok(epoll::modify(&self.epoll, &connection.stream, watched, flags)?)
        });
        flushed.map_err(self.failed("writing to"))
    }

    fn is_over(&self, now_ns: u64) -> bool {
        let is_all_sent = match self.schedule {
            Some(_) => self.due_ns().is_none(),
            None => now_ns >= self.plan.end_ns,
        };
        (is_all_sent && self.on_their_way == 0)
            || now_ns >= self.plan.end_ns + self.plan.patience_ns
    }

    /// Waits until bytes come or the next request is due.
    fn wait(&mut self, now_ns: u64, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        let due_ns = self.due_ns().filter(|_| !self.room.is_empty());
        let patience = match due_ns {
            _ if self.plan.is_spinning => NO_TIME,
            Some(due_ns) if due_ns <= now_ns => NO_TIME,
            _ => NAP,
        };
        let timer_for = due_ns.filter(|due_ns| *due_ns > now_ns && !self.plan.is_spinning);
        if timer_for != self.timer_is_for {
            // epoll itself rounds to milliseconds. A time of zero stops the timer.
            let left_ns = timer_for.map_or(0, |due_ns| due_ns.saturating_sub(now_ns));
            let it_value = Timespec {
                tv_sec: (left_ns / 1_000_000_000).cast_signed(),
                tv_nsec: (left_ns % 1_000_000_000).cast_signed(),
            };
            let once = Itimerspec { it_interval: NO_TIME, it_value };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
            self.timer_is_for = timer_for;
        }
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&patience)) {
            Err(error) if error != rustix::io::Errno::INTR => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn meet(&mut self, event: epoll::Event) -> Result<()> {
        let (place, flags) = (event.data.u64(), event.flags);
        let Some(index) = usize::try_from(place).ok().filter(|_| place != TIMER) else {
            return Ok(());
        };
        if flags.contains(EventFlags::OUT) {
            self.flush(index)?;
        }
        if flags.difference(EventFlags::OUT).is_empty() {
            return Ok(());
        }
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        let read = connection.read(&mut self.piece);
        let now_ns = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let bytes = match read.map_err(Error::io("reading from", &self.plan.address))? {
            Some(bytes) => bytes as u64,
            None => return Err(closed(&self.plan.address)),
        };
        let done = &mut self.done;
        connection.take_replies(|request| done.push(request)).map_err(|why| {
            Error::refused(format!("{} does not speak RESP: {why}", self.plan.address))
        })?;
        self.measured.reply_bytes_in_time += if self.is_timed(now_ns) { bytes } else { 0 };
        self.finish_requests(index, now_ns)
    }

    fn is_timed(&self, at_ns: u64) -> bool {
        (self.plan.timed_from_ns..self.plan.end_ns).contains(&at_ns)
    }

    fn finish_requests(&mut self, index: usize, now_ns: u64) -> Result<()> {
        let is_in_time = self.is_timed(now_ns);
        while let Some(request) = self.done.pop() {
            self.on_their_way = self.on_their_way.saturating_sub(1);
            self.measured.replied_in_time += u64::from(is_in_time);
            if self.schedule.is_some() {
                if self.room.is_empty() {
                    self.room_since_ns = now_ns;
                }
                self.room.push_back(index);
            }
            if request.since_ns < self.plan.timed_from_ns {
                continue;
            }
            match request.error {
                Some(text) => self.measured.count_error(text, 1),
                None => {
                    let latency_ns = now_ns.saturating_sub(request.since_ns);
                    self.measured.latencies(request.is_write).record(latency_ns);
                }
            }
        }
        let is_idle = self.connections.get(index).is_some_and(|it| it.on_its_way.is_empty());
        if self.schedule.is_none() && is_idle && now_ns < self.plan.end_ns {
            self.send_pipeline(index)?;
        }
        Ok(())
    }

    /// Counts what has no reply, sent or not, with the time it has been waiting so far.
    fn give_up(&mut self, now_ns: u64) {
        for connection in std::mem::take(&mut self.connections) {
            for request in connection.on_its_way {
                self.count_unanswered(request.since_ns, request.is_write, 1, now_ns);
            }
        }
        let Some(schedule) = self.schedule else { return };
        let due = schedule.count_before(self.plan.end_ns);
        let unsent = due.saturating_sub(self.next).div_ceil(self.plan.threads.max(1));
        let together = unsent.div_ceil(UNSENT_LOOKED_AT).max(1);
        let mut counted = 0;
        while counted < unsent {
            let number = self.next + counted * self.plan.threads;
            let is_write = self.plan.workload.is_write(number);
            let count = together.min(unsent - counted);
            let is_timed = schedule.due_ns(number) >= self.plan.timed_from_ns;
            self.measured.requests += if is_timed { count } else { 0 };
            self.count_unanswered(schedule.due_ns(number), is_write, count, now_ns);
            counted += count;
        }
    }

    fn count_unanswered(&mut self, since_ns: u64, is_write: bool, count: u64, now_ns: u64) {
        if since_ns >= self.plan.timed_from_ns {
            let waited_ns = now_ns.saturating_sub(since_ns);
            self.measured.unanswered += count;
            self.measured.latencies(is_write).record_many(waited_ns, count);
        }
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
        Error::io(doing, self.plan.address.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::options::BenchOptions;
    use clap::Parser;
    use nowthen_protocol::{RequestLimits, RequestParser};
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        num::NonZero,
        time::Duration,
    };

    const MS: u64 = 1_000_000;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: BenchOptions,
    }

    /// One thread against a server that answers each request after `delay`, one after the other,
    /// and only the first `answers` of them.
    fn measure(rate: Rate, arguments: &str, delay: Duration, answers: usize) -> Measured {
        let words = std::iter::once("bench").chain(arguments.split_whitespace());
        let options = Line::parse_from(words).options;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let streams = (0..options.clients).map(|_| TcpStream::connect(address).unwrap());
        let connections = streams.map(|it| Connection::new(it).unwrap()).collect();
        let accepted: Vec<_> = (0..options.clients).map(|_| listener.accept().unwrap().0).collect();
        for stream in accepted {
            thread::spawn(move || answer(stream, delay, answers));
        }
        let plan = Plan {
            workload: Workload::new(&options),
            rate,
            pipeline: options.pipeline,
            timed_from_ns: 0,
            end_ns: 200 * MS,
            is_spinning: options.spin,
            patience_ns: if answers == usize::MAX { 30_000 * MS } else { 100 * MS },
            threads: 1,
            address: address.to_string(),
        };
        work(&plan, connections, 0, Instant::now()).unwrap()
    }

    fn answer(mut stream: TcpStream, delay: Duration, answers: usize) {
        let mut parser = RequestParser::new(RequestLimits::default());
        let (mut received, mut piece, mut answered) = (Vec::new(), [0; 4096], 0);
        while let Some(bytes) = stream.read(&mut piece).ok().filter(|bytes| *bytes > 0) {
            received.extend_from_slice(&piece[..bytes]);
            while let Some(parsed) = parser.parse(&received).unwrap() {
                received.drain(..parsed.consumed);
                answered += 1;
                thread::sleep(delay);
                let reply: &[u8] = if answered % 2 == 0 { b"*1\r\n$1\r\nx\r\n" } else { b"*0\r\n" };
                if answered <= answers && stream.write_all(reply).is_err() {
                    return;
                }
            }
        }
    }

    fn per_second(rate: u64) -> Rate {
        Rate::PerSecond(NonZero::new(rate).unwrap())
    }

    #[test]
    fn a_server_slower_than_the_rate_is_charged_for_its_queue() {
        // Request k is due at k ms and done at 2 (k + 1) ms at the earliest: it took k + 2 ms. A
        // client that waits for each reply would have told of 2 ms each.
        let delay = Duration::from_millis(2);
        for arguments in ["", "--spin", "--pipeline 16", "--pipeline 500 --spin"] {
            let arguments = format!("--clients 1 {arguments}");
            let measured = measure(per_second(1_000), &arguments, delay, usize::MAX);
            assert_eq!((measured.requests, measured.reads.count()), (200, 200), "{arguments}");
            assert!(measured.reads.quantile_ns(0.5) >= 100 * MS, "{arguments}");
            assert!(measured.reads.max_ns() >= 200 * MS, "{arguments}");
            assert_eq!((measured.unanswered, measured.failed()), (0, 0));
            assert_eq!(measured.sent_late.count(), 200);
            // The queue is the server's: this program sent as soon as there was room.
            assert!(measured.sent_late.quantile_ns(0.5) < 40 * MS, "{arguments}");
            assert!(measured.replied_in_time <= 100, "{} of 100", measured.replied_in_time);
        }
    }

    #[test]
    fn requests_without_a_reply_count_with_the_time_they_waited() {
        let at_once = Duration::ZERO;
        let measured = measure(per_second(1_000), "--clients 2", at_once, 5);
        // Each connection answers five, then its next request blocks it for ever.
        assert_eq!((measured.requests, measured.unanswered), (200, 190));
        assert_eq!(measured.reads.count(), 200);
        // Given up at 300 ms: what was due at 100 ms has waited for 200.
        assert!(measured.reads.quantile_ns(0.5) >= 190 * MS);
        assert_eq!(measured.sent_late.count(), 12, "ten, and the two that got no reply");
    }

    #[test]
    fn a_rate_beyond_reach_costs_neither_memory_nor_minutes() {
        let measured = measure(per_second(50_000_000), "--clients 1", Duration::ZERO, 0);
        assert_eq!((measured.requests, measured.unanswered), (10_000_000, 10_000_000));
        assert_eq!(measured.reads.count(), 10_000_000);
        assert!(measured.reads.quantile_ns(0.0) >= 99 * MS, "the last was due at 200 ms of 300");
    }

    #[test]
    fn without_a_schedule_each_connection_waits_for_its_replies() {
        let delay = Duration::from_millis(1);
        let measured = measure(Rate::Max, "--clients 2 --pipeline 4", delay, usize::MAX);
        let requests = measured.requests;
        assert_eq!(measured.reads.count(), requests);
        assert!(requests.is_multiple_of(4) && (8..=408).contains(&requests), "{requests}");
        assert!(measured.reads.quantile_ns(0.0) >= MS);
        assert!(measured.reads.max_ns() >= 4 * MS, "the last of four waited for all");
        assert_eq!(measured.sent_late.count(), 0);
    }
}
