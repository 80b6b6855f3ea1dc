//! A server under test: started on a free port with an empty folder, pinned, and gone afterwards.
//!
//! Invariants
//! - Servers run on core 0 with one thread, the load on core 1.
//! - Neither waits for a disk: Redis has neither RDB nor AOF; nowthen has `--durability never`, so
//!   it writes its log, and syncs nothing.
//! - While one is measured the other stands still.
//! - Whatever happens, the process and its folder are gone when the value is dropped.

use crate::{Result, echo::ECHO};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";
const START_MAX: Duration = Duration::from_secs(10);

pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) port: u16,
    process: Child,
    folder: TempDir,
}

/// Keeps the load generator, which inherits this, away from the server's core.
pub(super) fn pin_this_process() -> Result<()> {
    let own = std::process::id().to_string();
    let mut taskset = Command::new("taskset");
    taskset.args(["--all-tasks", "--cpu-list", "--pid", LOAD_CORE, &own]).stdout(Stdio::null());
    let is_pinned = taskset.status()?.success();
    if is_pinned { Ok(()) } else { Err("this needs two cores, and taskset".into()) }
}

impl Server {
    /// With `more` options beside those that keep it from the disk.
    pub(super) fn start_redis(name: &'static str, more: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let mut command = pinned("redis-server");
        command.arg("--port").arg(port.to_string()).arg("--dir").arg(folder.path());
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]).args(more);
        Self::start(name, command, port, folder)
    }

    pub(super) fn start_nowthen() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let mut command = pinned(env!("CARGO_BIN_EXE_nowthen"));
        command.arg("serve").arg("--data").arg(folder.path().join("data"));
        command.arg("--port").arg(port.to_string());
        command.arg("--http-port").arg(free_port()?.to_string());
        command.args(["--durability", "never", "--threads", "1"]);
        Self::start("nowthen", command, port, folder)
    }

    /// This program, as a server that answers everything with so many bytes.
    pub(super) fn start_echo(reply_bytes: usize) -> Result<Self> {
        let port = free_port()?;
        let own = std::env::current_exe()?;
        let mut command = pinned(own.to_str().ok_or("the path of this program is no text")?);
        command.args([ECHO, &port.to_string(), &reply_bytes.to_string()]);
        Self::start("an echo", command, port, tempfile::tempdir()?)
    }

    /// `taskset` becomes what it starts.
    pub(super) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// What it took of the CPU, user and system, since it began: fields 14 and 15 of proc(5).
    pub(super) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process_id()))?;
        let (_, fields) = stat.rsplit_once(") ").ok_or("/proc tells no CPU time")?;
        let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>);
        let ticks: u64 = ticks.collect::<std::result::Result<Vec<_>, _>>()?.iter().sum();
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// The bytes of memory it holds that belong to no file.
    pub(super) fn memory_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process_id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no RssAnon")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    fn start(name: &'static str, mut command: Command, port: u16, folder: TempDir) -> Result<Self> {
        let output = File::create(folder.path().join("output"))?;
        command.stdout(output.try_clone()?).stderr(output).stdin(Stdio::null());
        let process = command.spawn().map_err(|error| format!("starting {name}: {error}"))?;
        let mut server = Self { name, port, process, folder };
        let started = Instant::now();
        while !server.answers() {
            if started.elapsed() > START_MAX || server.process.try_wait()?.is_some() {
                let output = fs::read_to_string(server.folder.path().join("output"))?;
                return Err(format!("{name} does not answer PING; it said:\n{output}").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn answers(&self) -> bool {
        let ping = || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"PING\r\n")?;
            let mut reply = [0; 7];
            stream.read_exact(&mut reply)?;
            std::io::Result::Ok(&reply == b"+PONG\r\n")
        };
        ping().unwrap_or(false)
    }
}

/// A server that stands still until this is dropped.
pub(super) struct StoodStill<'a>(&'a Server);

impl Server {
    /// Lets the other server have the core: one with millions of keys is busy also when nobody asks
    /// it, Redis for two milliseconds at a time.
    pub(super) fn stand_still(&self) -> Result<StoodStill<'_>> {
        kill_process(Pid::from_child(&self.process), Signal::STOP)?;
        Ok(StoodStill(self))
    }
}

impl Drop for StoodStill<'_> {
    fn drop(&mut self) {
        // A process that has ended is not continued either.
        let _ = kill_process(Pid::from_child(&self.0.process), Signal::CONT);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn pinned(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", SERVER_CORE, program]);
    command
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
