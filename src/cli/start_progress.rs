//! Shows how far the start of a server is: a bar on a terminal, lines of the log elsewhere.

use crate::{
    error::{Error, Result},
    store::LoadProgress,
};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::{IsTerminal, stderr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How often it looks.
const POLL: Duration = Duration::from_millis(100);
/// How often it writes a line where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Shows progress until it is told of the end, or dropped.
pub(super) struct StartProgress {
    progress: Arc<LoadProgress>,
    started: Instant,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StartProgress {
    /// Begins to show `progress`.
    pub(super) fn show(progress: &Arc<LoadProgress>) -> Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (shown, told) = (Arc::clone(progress), Arc::clone(&is_over));
        let show = move || match stderr().is_terminal() {
            true => show_bar(&shown, &told),
            false => show_lines(&shown, &told),
        };
        let thread = thread::Builder::new().name("progress".into()).spawn(show);
        let thread = thread.map_err(Error::io("starting a thread for", "progress"))?;
        let (progress, started) = (Arc::clone(progress), Instant::now());
        Ok(Self { progress, started, is_over, thread: Some(thread) })
    }

    /// Tells what was loaded.
    pub(super) fn finish(mut self) {
        self.stop();
        let (snapshot, log) = (&self.progress.snapshot, &self.progress.log);
        let ms = self.started.elapsed().as_millis() as u64;
        if snapshot.bytes() + log.done() > 0 {
            tracing::info!(
                snapshot_rows = snapshot.done(),
                snapshot_bytes = snapshot.bytes(),
                log_records = log.done(),
                log_bytes = log.bytes(),
                ms,
                "loaded"
            );
        }
    }

    fn stop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A bar that panicked is no reason not to start.
            let _ = thread.join();
        }
    }
}

impl Drop for StartProgress {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What is going on.
fn stage(progress: &LoadProgress) -> &'static str {
    if progress.log.done() > 0 {
        "replaying the log"
    } else if progress.snapshot.bytes() > 0 {
        "loading the snapshot"
    } else {
        "checking files"
    }
}

fn show_bar(progress: &LoadProgress, is_over: &AtomicBool) {
    let bar = ProgressBar::no_length();
    let template = "{msg} {wide_bar} {bytes} of {total_bytes}, {eta}";
    // The template is the one above: it is a valid one, or the bar has the common style.
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    while !is_over.load(Ordering::Relaxed) {
        let (done, total) = progress.bytes();
        bar.set_message(stage(progress));
        bar.set_length(total);
        bar.set_position(done);
        thread::park_timeout(POLL);
    }
    bar.finish_and_clear();
}

fn show_lines(progress: &LoadProgress, is_over: &AtomicBool) {
    let mut last = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        thread::park_timeout(POLL);
        if last.elapsed() >= LINE_EVERY {
            let (bytes_done, bytes_total) = progress.bytes();
            tracing::info!(bytes_done, bytes_total, "{}", stage(progress));
            last = Instant::now();
        }
    }
}
