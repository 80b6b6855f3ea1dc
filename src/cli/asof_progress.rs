//! Shows how far a join is: on a terminal a bar for the phase it is in, elsewhere nothing.

use super::bar::Bar;
use crate::{
    error::{Error, Result},
    offline::{Phase, PhaseProgress},
};
use parking_lot::Mutex;
use std::{
    io::{IsTerminal, stderr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often it looks.
const POLL: Duration = Duration::from_millis(100);

/// Shows what goes on until it is dropped.
pub(super) struct AsofProgress {
    /// What there is to see, and the thread that looks at it; `None` where there is no terminal.
    shown: Option<(Arc<Shown>, JoinHandle<()>)>,
}

#[derive(Default)]
struct Shown {
    current: Mutex<Option<Current>>,
    is_over: AtomicBool,
}

/// The phase that goes on.
struct Current {
    bar: Bar,
    scan: Option<Arc<PhaseProgress>>,
}

impl AsofProgress {
    pub(super) fn show() -> Result<Self> {
        if !stderr().is_terminal() {
            return Ok(Self { shown: None });
        }
        let shown: Arc<Shown> = Arc::default();
        let looked_at = Arc::clone(&shown);
        let look = move || {
            while !looked_at.is_over.load(Ordering::Relaxed) {
                looked_at.current.lock().iter().for_each(Current::draw);
                thread::park_timeout(POLL);
            }
        };
        let thread = thread::Builder::new().name("progress".into()).spawn(look);
        let thread = thread.map_err(Error::io("starting a thread for", "progress"))?;
        Ok(Self { shown: Some((shown, thread)) })
    }

    /// A phase of the join begins.
    pub(super) fn enter(&self, phase: &Phase) {
        match phase {
            Phase::Scan { view, progress } => self.begin(|| Current {
                bar: Bar::of_row_groups(format!("scan of {view}")),
                scan: Some(Arc::clone(progress)),
            }),
            other => self.enter_other(other.name()),
        }
    }

    /// Something else begins.
    pub(super) fn enter_other(&self, name: &'static str) {
        self.begin(|| Current { bar: Bar::of_time(name), scan: None });
    }

    fn begin(&self, next: impl FnOnce() -> Current) {
        let Some((shown, _)) = &self.shown else { return };
        let mut current = shown.current.lock();
        if let Some(ended) = current.take() {
            ended.draw();
        }
        current.insert(next()).draw();
    }
}

impl Drop for AsofProgress {
    fn drop(&mut self) {
        let Some((shown, thread)) = self.shown.take() else { return };
        shown.current.lock().take();
        shown.is_over.store(true, Ordering::Relaxed);
        thread.thread().unpark();
        // A bar that panicked changes nothing of what was joined.
        let _ = thread.join();
    }
}

impl Current {
    fn draw(&self) {
        match &self.scan {
            None => self.bar.tick(),
            Some(scan) => match scan.done_of() {
                (_, 0) => {}
                (done, total) => self.bar.set(done, total),
            },
        }
    }
}
