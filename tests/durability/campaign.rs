//! What all campaigns share: how much, from which seed, on every core, and what is printed.
//!
//! Invariants
//! - A history depends on its seed alone; histories are numbered by consecutive seeds.
//! - A history that panics, or hangs for [`PATIENCE`], fails the campaign like one that says so.

use nowthen::disk::SimulatedFs;
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// A history that takes longer than this hangs; it takes seconds, and some more beside builds.
const PATIENCE: Duration = Duration::from_secs(600);

/// The seed that a worker is at, and since when.
type Beat = Mutex<Option<(u64, Instant)>>;

/// Numbers that look random (splitmix64): the same seed, the same numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// What a campaign counted, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(BTreeMap<&'static str, u64>);

impl Figures {
    pub(crate) fn add(&mut self, name: &'static str, count: u64) {
        *self.0.entry(name).or_default() += count;
    }

    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, count)| self.add(name, *count));
    }
}

/// What went wrong, and the disk on which it did.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    disk: Option<Contents>,
}

type Contents = BTreeMap<PathBuf, Option<Vec<u8>>>;

impl Failure {
    pub(crate) fn on(fs: &SimulatedFs, what: impl Into<String>) -> Self {
        Self { what: what.into(), disk: Some(fs.contents()) }
    }

    pub(crate) fn found(what: impl Into<String>) -> Self {
        Self { what: what.into(), disk: None }
    }

    /// The same, told in whose course it happened.
    pub(crate) fn during(self, what: &str) -> Self {
        Self { what: format!("{what}: {}", self.what), ..self }
    }
}

/// How much a campaign does.
pub(crate) struct Campaign {
    /// The name of the test.
    pub(crate) name: &'static str,
    /// Which figure must reach the count.
    pub(crate) counted: &'static str,
    count: u64,
    first_seed: u64,
}

impl Campaign {
    /// The campaign that is the test `name`, with as many `counted` as the environment asks for.
    pub(crate) fn new(name: &'static str, counted: &'static str, short_count: u64) -> Self {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let count = number("CAMPAIGN_COUNT").unwrap_or(short_count);
        let since_1970 = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        // Far apart, so that two campaigns do not repeat each other's histories.
        let random = Random(since_1970.as_nanos() as u64).next() >> 16;
        Self { name, counted, count, first_seed: number("CAMPAIGN_SEED").unwrap_or(random) }
    }

    /// Runs histories until there are enough, prints the figures, and fails if one of them did.
    pub(crate) fn run(&self, history: impl Fn(u64) -> Result<Figures, Failure> + Sync) {
        let started = Instant::now();
        let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        let (total, failed) = (Mutex::new(Figures::default()), Mutex::new(None));
        let work = |beat: &Beat| {
            while !is_over.load(Ordering::Relaxed) {
                let seed = self.first_seed + next.fetch_add(1, Ordering::Relaxed);
                *beat.lock().unwrap() = Some((seed, Instant::now()));
                match caught(|| history(seed)) {
                    Ok(figures) => {
                        let mut total = total.lock().unwrap();
                        total.merge(&figures);
                        total.add("histories", 1);
                        if total.get(self.counted) >= self.count {
                            is_over.store(true, Ordering::Relaxed);
                        }
                    }
                    Err(failure) => {
                        is_over.store(true, Ordering::Relaxed);
                        failed.lock().unwrap().get_or_insert((seed, failure));
                    }
                }
            }
            *beat.lock().unwrap() = None;
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let beats: Vec<Beat> = (0..cores).map(|_| Beat::default()).collect();
        thread::scope(|scope| {
            let workers: Vec<_> = beats.iter().map(|beat| scope.spawn(|| work(beat))).collect();
            while workers.iter().any(|worker| !worker.is_finished()) {
                thread::sleep(Duration::from_millis(10));
                self.end_if_hanging(&beats);
            }
        });
        let seconds = started.elapsed().as_secs_f64();
        self.print(&total.lock().unwrap(), seconds);
        if let Some((seed, failure)) = failed.lock().unwrap().take() {
            panic!("{}", self.report(seed, &failure));
        }
    }

    fn print(&self, figures: &Figures, seconds: f64) {
        let counted = figures.get(self.counted);
        println!("\n{} from seed {}, {seconds:.1} s", self.name, self.first_seed);
        for (name, count) in &figures.0 {
            println!("  {name:<48} {count:>12}");
        }
        println!(
            "  {:<48} {:>12.0}",
            format!("{} a second", self.counted),
            counted as f64 / seconds
        );
    }

    fn report(&self, seed: u64, failure: &Failure) -> String {
        let mut report = format!(
            "seed {seed}: {}\nreplay: CAMPAIGN_SEED={seed} CAMPAIGN_COUNT=1 cargo test --profile \
             campaign --test durability {} -- --nocapture",
            failure.what, self.name
        );
        if let Some(disk) = &failure.disk {
            let folder =
                Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{seed}", self.name));
            let kept = keep(disk, &folder);
            report += &match kept {
                Ok(()) => format!("\nthe disk: {}", folder.display()),
                Err(error) => format!("\nthe disk could not be kept: {error}"),
            };
        }
        report
    }

    fn end_if_hanging(&self, beats: &[Beat]) {
        for (seed, since) in beats.iter().filter_map(|beat| *beat.lock().unwrap()) {
            if since.elapsed() > PATIENCE {
                let hangs = Failure::found(format!("no end after {} s", PATIENCE.as_secs()));
                // Past the capture of the test harness, which would be lost.
                let _ = writeln!(io::stderr(), "{}", self.report(seed, &hangs));
                process::exit(101);
            }
        }
    }
}

fn caught<T>(history: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(history)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(Failure::found(format!("a panic: {}", text.unwrap_or_default())))
    })
}

/// Leaves a disk as real files.
fn keep(disk: &Contents, folder: &Path) -> std::io::Result<()> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    for (path, content) in disk {
        let path = folder.join(path.strip_prefix("/").unwrap_or(path));
        match content {
            None => fs::create_dir_all(path)?,
            Some(bytes) => fs::write(path, bytes)?,
        }
    }
    Ok(())
}
