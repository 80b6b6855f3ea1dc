//! What a reader waits at worst, at half of what Redis can do, while the server has more to do:
//! writes, a table that grows, a snapshot. An open loop: who is late counts as late.

use crate::{
    Result, in_turns,
    nowthen_bench::{CONNECTIONS, Load, Measured},
    options::{ENTITIES_MAX, Options},
    report::{Figure, Goal, Line},
    server::Server,
};
use nowthen_protocol::encode_request;
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

const FEATURES: u64 = 10;
const SEED: u64 = 1;
/// So many writes a second, in groups that leave together.
const WRITES_PER_SECOND: u64 = 10_000;
/// To so many keys, again and again.
const WRITTEN: u64 = 100_000;
/// The table grows by so many entities a second: a twelfth of what Redis can write.
const GROWTH_PER_SECOND: u64 = 25_000;
const GROUP: u64 = 50;
/// The number of the first entity of `nowthen bench`.
const FIRST_ID: u64 = 1_000_000;

/// How often a server is asked whether its snapshot is written.
const SNAPSHOT_POLL: Duration = Duration::from_millis(10);

/// What the server does beside.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    Writes,
    Growth,
    Snapshot,
}

const CASES: [(Beside, &str); 4] = [
    (Beside::Nothing, "nothing else is done"),
    (Beside::Writes, "10,000 writes a second"),
    (Beside::Growth, "the table grows by 25,000 entities of 10 features a second"),
    (Beside::Snapshot, "snapshots are written"),
];

/// The entities of a server: those that are read, and behind them those it grew by, in all rounds.
struct Entities {
    /// What stands before the number in a key.
    prefix: &'static str,
    count: AtomicU64,
}

/// A line per case: p99.9 of Redis and of nowthen.
pub(super) fn compare(options: &Options) -> Result<Vec<Line>> {
    let rows = CASES.map(|(beside, what)| {
        let to = options.grow_to.filter(|_| beside == Beside::Growth);
        let to = to.map(|to| format!(", to {to}")).unwrap_or_default();
        (beside, format!("p99.9 of HMGET 10 of 10 while {what}{to}"))
    });
    let rows: Vec<_> = rows.into_iter().filter(|(_, work)| options.wants(work)).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let (redis, nowthen) = (Server::start_redis("Redis", &[])?, Server::start_nowthen()?);
    let load = |server: &Server, tier: &'static str| Load {
        port: server.port,
        process_id: server.process_id(),
        tier,
        entities: options.entities,
        features: FEATURES,
        fields: FEATURES,
        clients: if options.is_quick { 4 } else { CONNECTIONS },
        pipeline: 1,
        batch: 1,
        read: "hmget",
        mix: "read=100,write=0",
        rate: None,
        warm_up: options.warm_up,
        timed: options.timed,
    };
    let (of_redis, of_nowthen) = (load(&redis, "plain"), load(&nowthen, "registered"));
    for load in [&of_redis, &of_nowthen] {
        Load { clients: 1, ..load.clone() }.fill()?;
    }
    let rate = Some((of_redis.measure(SEED)?.requests_per_second / 2.0) as u64);
    let [all_of_redis, all_of_nowthen] = ["bench_plain10", "bench_typed10"]
        .map(|prefix| Entities { prefix, count: options.entities.into() });
    let mut lines = Vec::new();
    for (beside, work) in rows {
        let measure = |server: &Server, load: &Load, all: &Entities, round: u64| {
            let mut load = Load { rate, ..load.clone() };
            if let (Beside::Growth, Some(to)) = (beside, options.grow_to) {
                load.timed = time_to_grow(options, to).saturating_sub(load.warm_up).max(load.timed);
            }
            let measured = while_busy(server, beside, all, || load.measure(SEED + round));
            if beside == Beside::Growth {
                eprintln!("{} holds {} entities", server.name, all.count.load(Ordering::Relaxed));
            }
            measured
        };
        let mut measure_redis = |round| measure(&redis, &of_redis, &all_of_redis, round);
        let mut measure_nowthen = |round| measure(&nowthen, &of_nowthen, &all_of_nowthen, round);
        let both: [(&Server, &mut dyn FnMut(u64) -> Result<_>); 2] =
            [(&redis, &mut measure_redis), (&nowthen, &mut measure_nowthen)];
        lines.push(in_turns(options, Goal { figure: Figure::Tail, times: 1.0 }, &work, both)?);
    }
    Ok(lines)
}

/// How long each round takes if the last one is to end with so many entities.
fn time_to_grow(options: &Options, to: u64) -> Duration {
    let entities = to.saturating_sub(options.entities) as f64 / options.rounds as f64;
    Duration::from_secs_f64(entities / GROWTH_PER_SECOND as f64)
}

/// Measures while the server has something else to do.
fn while_busy(
    server: &Server,
    beside: Beside,
    all: &Entities,
    measure: impl FnOnce() -> Result<Measured>,
) -> Result<Measured> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let busy = || keep_busy(server.port, beside, all, &is_over);
        let busy = scope.spawn(move || busy().map_err(|error| error.to_string()));
        let measured = measure();
        is_over.store(true, Ordering::Relaxed);
        busy.join().map_err(|_| "what keeps the server busy panicked")??;
        measured
    })
}

fn keep_busy(port: u16, beside: Beside, all: &Entities, is_over: &AtomicBool) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (started, mut sent) = (Instant::now(), 0);
    while !is_over.load(Ordering::Relaxed) {
        let per_second = match beside {
            Beside::Nothing => return Ok(()),
            Beside::Writes => WRITES_PER_SECOND,
            Beside::Growth if all.count.load(Ordering::Relaxed) >= ENTITIES_MAX => return Ok(()),
            Beside::Growth => GROWTH_PER_SECOND,
            Beside::Snapshot => {
                if !is_writing_snapshot(&mut stream)? {
                    ask(&mut stream, &["BGSAVE"])?;
                }
                thread::sleep(SNAPSHOT_POLL);
                continue;
            }
        };
        let due = started + Duration::from_secs_f64(sent as f64 / per_second as f64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let (mut requests, reply) =
            (Vec::new(), if beside == Beside::Growth { ":10" } else { "+OK" });
        for number in sent..sent + GROUP {
            // What nobody wrote before, or what is written again and again.
            if beside == Beside::Growth {
                let id = FIRST_ID + all.count.fetch_add(1, Ordering::Relaxed);
                encode_request(&hset(all.prefix, id), &mut requests);
            } else {
                let key = format!("written:{}", number % WRITTEN);
                encode_request(&["SET", &key, "twenty bytes of text"], &mut requests);
            }
        }
        stream.write_all(&requests)?;
        let mut replies = vec![0; (reply.len() + 2) * GROUP as usize];
        stream.read_exact(&mut replies)?;
        if replies != format!("{reply}\r\n").repeat(GROUP as usize).as_bytes() {
            return Err(String::from_utf8_lossy(&replies).into());
        }
        sent += GROUP;
    }
    // The other server's turn comes on the same core.
    while beside == Beside::Snapshot && is_writing_snapshot(&mut stream)? {
        thread::sleep(SNAPSHOT_POLL);
    }
    Ok(())
}

/// A new entity with doubles: half with four decimals, half with all digits.
fn hset(prefix: &str, id: u64) -> Vec<String> {
    let mut words = vec!["HSET".to_owned(), format!("{prefix}:{id}")];
    for feature in 0..FEATURES {
        let random = (id * FEATURES + feature).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        words.push(format!("f{feature}"));
        words.push(match feature % 2 {
            0 => ((random % 10_000_000) as f64 / 10_000.0).to_string(),
            _ => ((random >> 11) as f64 / (1_u64 << 53) as f64).to_string(),
        });
    }
    words
}

fn is_writing_snapshot(stream: &mut TcpStream) -> Result<bool> {
    Ok(!ask(stream, &["INFO", "persistence"])?.contains("bgsave_in_progress:0"))
}

/// The reply to one request, as far as it comes at once.
fn ask(stream: &mut TcpStream, words: &[&str]) -> Result<String> {
    let mut request = Vec::new();
    encode_request(words, &mut request);
    stream.write_all(&request)?;
    let mut reply = vec![0; 64 * 1024];
    let count = loop {
        match stream.read(&mut reply) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    reply.truncate(count);
    Ok(String::from_utf8_lossy(&reply).into_owned())
}
