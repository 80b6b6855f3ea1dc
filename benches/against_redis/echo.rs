//! The floor of the machine: a server that answers every request with as many bytes, and does
//! nothing else. What is between it and nowthen is ours; what is below it is the kernel's.

use crate::{
    Result, in_turns,
    nowthen_bench::{CONNECTIONS, Load},
    options::Options,
    report::{Figure, Goal, Line},
    server::Server,
    single_key::run,
};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// How this program is started to be the echo: the port and the bytes of a reply follow.
pub(super) const ECHO: &str = "--echo";

/// The entities that `nowthen bench` writes are numbered from here on.
const FIRST: u64 = 1_000_000;
const ENTITIES: u64 = 100;
const FEATURES: u64 = 50;
const ROOM_BYTES: usize = 16 * 1024;

/// What both are asked for.
struct Case {
    work: &'static str,
    words: Vec<String>,
    clients: u64,
    per_second: f64,
    goal: Goal,
}

fn cases() -> [Case; 2] {
    let names = || (0..FEATURES).map(|feature| format!("f{feature}"));
    let hmget = ["HMGET".to_owned(), format!("bench_typed50:{FIRST}")];
    let features = names().map(|name| format!("bench_typed50_view:{name}")).collect::<Vec<_>>();
    let features = format!("FS.GET FEATURES {FEATURES} {} ", features.join(" "));
    let keys = (0..ENTITIES).map(|entity| (FIRST + entity).to_string()).collect::<Vec<_>>();
    let rows = format!("FOR 1 id ROWS {ENTITIES} {} AS VECTOR", keys.join(" "));
    [
        Case {
            work: "HMGET 50 of 50, no pipeline, beside an echo",
            words: hmget.into_iter().chain(names()).collect(),
            clients: CONNECTIONS,
            per_second: 100_000.0,
            goal: Goal { figure: Figure::Throughput, times: 0.85 },
        },
        Case {
            work: "100 entities x 50 features, FS.GET AS VECTOR, 1 clients, beside an echo",
            words: (features + &rows).split(' ').map(str::to_owned).collect(),
            clients: 1,
            per_second: 6_000.0,
            goal: Goal { figure: Figure::TimePerBatch, times: Goal::NONE },
        },
    ]
}

/// nowthen beside an echo of as many bytes, in the place of Redis.
pub(super) fn compare(options: &Options) -> Result<Vec<Line>> {
    let cases = cases().into_iter().filter(|case| options.wants(case.work)).collect::<Vec<_>>();
    if cases.is_empty() {
        return Ok(Vec::new());
    }
    let nowthen = Server::start_nowthen()?;
    let moment = Duration::from_millis(100);
    let load = Load {
        port: nowthen.port,
        process_id: nowthen.process_id(),
        tier: "registered",
        entities: ENTITIES,
        features: FEATURES,
        fields: FEATURES,
        clients: 1,
        pipeline: 1,
        batch: 1,
        read: "hmget",
        mix: "read=100,write=0",
        rate: None,
        warm_up: moment,
        timed: moment,
    };
    load.fill()?;
    cases.iter().map(|case| beside_echo(options, &nowthen, case)).collect()
}

fn beside_echo(options: &Options, nowthen: &Server, case: &Case) -> Result<Line> {
    let words: Vec<&str> = case.words.iter().map(String::as_str).collect();
    let reply = ask(nowthen.port, &words)?;
    if reply.starts_with(b"-") || reply.windows(3).any(|bytes| bytes == b"$-1") {
        return Err(format!("{}: {}", case.work, reply.escape_ascii()).into());
    }
    let echo = Server::start_echo(reply.len())?;
    let part = if options.is_quick { 0.2 } else { 1.0 };
    let requests = (case.per_second * options.timed.as_secs_f64() * part) as u64;
    let at_once = [case.clients, 1];
    let mut of_echo = |_| run(options, &echo, &words, at_once, requests);
    let mut of_nowthen = |_| run(options, nowthen, &words, at_once, requests);
    let measure: [(&Server, &mut dyn FnMut(u64) -> Result<_>); 2] =
        [(&echo, &mut of_echo), (nowthen, &mut of_nowthen)];
    in_turns(options, case.goal, case.work, measure)
}

/// The bytes of the reply to one request.
fn ask(port: u16, words: &[&str]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(format!("{}\r\nQUIT\r\n", words.join(" ")).as_bytes())?;
    let mut replies = Vec::new();
    stream.read_to_end(&mut replies)?;
    Ok(replies.strip_suffix(b"+OK\r\n").ok_or("QUIT was not answered")?.to_vec())
}

/// Serves until the process is killed: a reply of `reply_bytes` bytes to whatever is read at once.
pub(super) fn serve(port: u16, reply_bytes: usize) -> Result<()> {
    let text_bytes = reply_bytes.checked_sub(3).ok_or("a reply has three bytes or more")?;
    let reply = format!("+{}\r\n", "x".repeat(text_bytes));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                loop {
                    let (mut stream, _) = listener.accept().await?;
                    let reply = reply.clone();
                    tokio::task::spawn_local(async move {
                        stream.set_nodelay(true)?;
                        let mut bytes = vec![0; ROOM_BYTES];
                        loop {
                            let count = stream.read(&mut bytes).await?;
                            match bytes.get(..count) {
                                Some(b"") | None => return std::io::Result::Ok(()),
                                Some(b"PING\r\n") => stream.write_all(b"+PONG\r\n").await?,
                                Some(_) => stream.write_all(reply.as_bytes()).await?,
                            }
                        }
                    });
                }
            })
            .await
    })
}
