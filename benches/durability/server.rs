//! A server under test: started on a free port, in a folder that outlives it, and gone afterwards.
//!
//! Invariants
//! - Whatever happens, the process is gone when the value is dropped, and its folder with the
//!   [`Place`].

use crate::{Options, Result, requests};
use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";
const START_MAX: Duration = Duration::from_secs(120);
const START_POLL: Duration = Duration::from_millis(2);

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Redis,
    Nowthen,
}

/// Both, in the order in which they take turns.
pub(super) const BOTH: [Kind; 2] = [Kind::Redis, Kind::Nowthen];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Nowthen => "nowthen",
        }
    }
}

/// The folder of one server.
pub(super) struct Place<'a> {
    pub(super) kind: Kind,
    options: &'a Options,
    folder: TempDir,
}

/// A server that answers PING.
pub(super) struct Server {
    pub(super) port: u16,
    /// From the start of the process to the first PONG that is not LOADING.
    pub(super) ready_after: Duration,
    process: Child,
}

/// Keeps the load generator away from the server's core.
pub(super) fn pin_this_process(nice: i32) -> Result<()> {
    let own = std::process::id().to_string();
    run(Command::new("taskset").args(["--all-tasks", "--cpu-list", "--pid", LOAD_CORE, &own]))?;
    match nice {
        0 => Ok(()),
        nice => run(Command::new("renice").args(["-n", &nice.to_string(), "-p", &own])),
    }
}

fn run(command: &mut Command) -> Result<()> {
    let is_ok = command.stdout(Stdio::null()).status()?.success();
    if is_ok { Ok(()) } else { Err(format!("{command:?} failed").into()) }
}

impl<'a> Place<'a> {
    pub(super) fn new(kind: Kind, options: &'a Options) -> Result<Self> {
        let folder = TempDir::with_prefix_in("nowthen-bench-", &options.folder)?;
        fs::create_dir(folder.path().join("repository"))?;
        fs::write(folder.path().join("repository/bench.toml"), requests::definitions())?;
        Ok(Self { kind, options, folder })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it on one core with one thread for connections, the load having the other.
    pub(super) fn start_pinned(&self, arguments: &[&str]) -> Result<Server> {
        let pinned = ["--cpu-list", SERVER_CORE];
        let threads: &[&str] = match self.kind {
            Kind::Redis => &[],
            Kind::Nowthen => &["--threads", "1"],
        };
        self.start_on(&pinned, &[arguments, threads].concat())
    }

    /// Starts it on all cores.
    pub(super) fn start(&self, arguments: &[&str]) -> Result<Server> {
        self.start_on(&["--cpu-list", "0,1"], arguments)
    }

    fn start_on(&self, cores: &[&str], arguments: &[&str]) -> Result<Server> {
        let port = free_port()?;
        let mut command = Command::new("taskset");
        command.args(cores);
        match self.kind {
            Kind::Redis => {
                command.arg("redis-server").arg("--port").arg(port.to_string());
                command.arg("--dir").arg(self.path()).args(["--bind", "127.0.0.1"]);
            }
            Kind::Nowthen => {
                command.arg(&self.options.nowthen).arg("serve");
                command.arg("--data").arg(self.path().join("data"));
                command.arg("--repo").arg(self.path().join("repository"));
                command.arg("--port").arg(port.to_string()).args(["--http-port", "0"]);
            }
        }
        let output = File::create(self.path().join("output"))?;
        command.args(arguments).stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        let started = Instant::now();
        let process = command.spawn()?;
        let mut server = Server { port, ready_after: Duration::ZERO, process };
        while !server.answers() {
            if started.elapsed() > START_MAX || server.process.try_wait()?.is_some() {
                let output = fs::read_to_string(self.path().join("output"))?;
                return Err(format!("{} gives no PONG:\n{output}", self.kind.name()).into());
            }
            thread::sleep(START_POLL);
        }
        server.ready_after = started.elapsed();
        Ok(server)
    }
}

impl Server {
    pub(super) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// User and system time so far, with that of children that have ended.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let (_, behind_name) = stat.rsplit_once(") ").ok_or("an odd /proc/PID/stat")?;
        let ticks: u64 = behind_name
            .split(' ')
            .skip(11)
            .take(4)
            .filter_map(|text| text.parse::<u64>().ok())
            .sum();
        let ticks_per_second = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64))
    }

    /// The reply to one command, as text.
    pub(super) fn ask(&self, words: &[&str]) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(START_MAX))?;
        stream.write_all(format!("{}\r\n", words.join(" ")).as_bytes())?;
        let (mut reply, mut piece) = (Vec::new(), [0; 16384]);
        while !is_whole(&reply) {
            let bytes = stream.read(&mut piece)?;
            reply.extend_from_slice(piece.get(..bytes).unwrap_or_default());
            if bytes == 0 {
                return Err(format!("{words:?}: the server closed the connection").into());
            }
        }
        Ok(String::from_utf8_lossy(&reply).into_owned())
    }

    /// Waits until it has ended.
    pub(super) fn wait(mut self) -> Result<()> {
        let ended = self.process.wait()?;
        if ended.success() { Ok(()) } else { Err(format!("it ended with {ended}").into()) }
    }

    fn answers(&self) -> bool {
        self.ask(&["PING"]).is_ok_and(|reply| reply == "+PONG\r\n")
    }
}

/// Whether a line, or a bulk string, is there as a whole.
fn is_whole(reply: &[u8]) -> bool {
    let text = String::from_utf8_lossy(reply);
    match text.split_once("\r\n") {
        None => false,
        Some((head, rest)) => match head.strip_prefix('$') {
            None => true,
            Some(bytes) => bytes.parse::<usize>().is_ok_and(|bytes| rest.len() >= bytes + 2),
        },
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
