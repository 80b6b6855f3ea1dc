//! Part two: what readers and writers feel of a snapshot, and what it takes of memory.

use crate::{
    Options, Result,
    memory::Memory,
    open_loop::{self, Measured},
    server::Server,
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

const MEMORY_POLL: Duration = Duration::from_millis(100);
/// Without a snapshot the load runs for so many times as long as a round of writes.
const REST_FACTOR: u32 = 3;

/// One round with one server.
pub(super) struct Round {
    pub(super) rest: Measured,
    pub(super) during: Measured,
    pub(super) rest_memory: Memory,
    pub(super) peak_memory: Memory,
    pub(super) snapshot_seconds: f64,
    pub(super) snapshot_cpu_seconds: f64,
}

/// The load without a snapshot, then the same while one is written.
pub(super) fn measure(server: &Server, options: &Options, seed: u64) -> Result<Round> {
    let target = (server.port, "wide");
    let process_id = server.process_id();
    let rest_time = options.timed * REST_FACTOR;
    let started = Instant::now();
    let (rest, rest_memory) = with_memory(
        process_id,
        |stop| open_loop::run(target, options.entities, options.rate, stop, seed),
        || Ok(started.elapsed() >= rest_time),
    )?;
    let cpu = server.cpu()?;
    let started = Instant::now();
    server.ask(&["BGSAVE"])?;
    let (during, peak_memory) = with_memory(
        process_id,
        |stop| open_loop::run(target, options.entities, options.rate, stop, seed + 1),
        || Ok(server.ask(&["INFO", "persistence"])?.contains("rdb_bgsave_in_progress:0")),
    )?;
    let cpu_seconds = server.cpu()?.saturating_sub(cpu).as_secs_f64();
    Ok(Round {
        rest,
        during,
        rest_memory,
        peak_memory,
        snapshot_seconds: started.elapsed().as_secs_f64(),
        snapshot_cpu_seconds: cpu_seconds,
    })
}

/// Runs `work` until `is_over`, and gives the most memory that the process held meanwhile.
fn with_memory(
    process_id: u32,
    work: impl Fn(&AtomicBool) -> Result<Measured>,
    is_over: impl Fn() -> Result<bool> + Sync,
) -> Result<(Measured, Memory)> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = Memory::default();
            let watched = loop {
                match Memory::of(process_id) {
                    Ok(now) => most = most.max(now),
                    Err(error) => break Err(error.to_string()),
                }
                match is_over() {
                    Ok(true) => break Ok(most),
                    Ok(false) => thread::sleep(MEMORY_POLL),
                    Err(error) => break Err(error.to_string()),
                }
            };
            stop.store(true, Ordering::Relaxed);
            watched
        });
        let measured = work(&stop);
        stop.store(true, Ordering::Relaxed);
        let most = watch.join().map_err(|_| "the watch panicked")??;
        Ok((measured?, most))
    })
}
