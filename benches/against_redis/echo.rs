//! The floor of the machine: a server that answers every request with as many bytes, and does
//! nothing else. What is between it and nowthen is ours; what is below it is the kernel's.

use crate::{
    Result, in_turns,
    nowthen_bench::Load,
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

const WORK: &str = "HMGET 50 of 50, no pipeline, beside an echo";
/// The first entity that `nowthen bench` writes.
const KEY: &str = "bench_typed50:1000000";
const FEATURES: u64 = 50;
const ECHO_SHARE: f64 = 0.85;
const PER_SECOND: f64 = 100_000.0;
const ROOM_BYTES: usize = 16 * 1024;

/// nowthen beside an echo of as many bytes, in the place of Redis.
pub(super) fn compare(options: &Options) -> Result<Vec<Line>> {
    if !options.wants(WORK) {
        return Ok(Vec::new());
    }
    let nowthen = Server::start_nowthen()?;
    let moment = Duration::from_millis(100);
    let load = Load {
        port: nowthen.port,
        process_id: nowthen.process_id(),
        tier: "registered",
        entities: 100,
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
    let names: Vec<String> = (0..FEATURES).map(|feature| format!("f{feature}")).collect();
    let words: Vec<&str> =
        ["HMGET", KEY].into_iter().chain(names.iter().map(String::as_str)).collect();
    let reply = ask(nowthen.port, &words)?;
    if reply.windows(3).any(|bytes| bytes == b"$-1") {
        return Err(format!("{KEY} lacks features: {}", reply.escape_ascii()).into());
    }
    let echo = Server::start_echo(reply.len())?;
    let part = if options.is_quick { 0.2 } else { 1.0 };
    let requests = (PER_SECOND * options.timed.as_secs_f64() * part) as u64;
    let mut of_echo = |_| run(options, &echo, &words, 1, requests);
    let mut of_nowthen = |_| run(options, &nowthen, &words, 1, requests);
    let goal = Goal { figure: Figure::Throughput, times: ECHO_SHARE };
    let measure: [(&Server, &mut dyn FnMut(u64) -> Result<_>); 2] =
        [(&echo, &mut of_echo), (&nowthen, &mut of_nowthen)];
    Ok(vec![in_turns(options, goal, WORK, measure)?])
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
